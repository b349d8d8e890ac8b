"""Dropout: what share it leaves out, that masks are independent, and that they can be drawn again."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.nn.dropout import FACTORS, PRIMES, Draws, Dropout, draws_for


def residue(x, prime=PRIMES[0]):
    """The whole number nearest to 0 that leaves the same rest."""
    return (np.asarray(x, np.int64) + prime // 2) % prime - prime // 2


def residues(seeds, draw, rows, columns):
    """Those of a mask, in 64-bit whole numbers."""
    (a, c), (b, d) = (
        np.random.default_rng((*seeds, side)).integers(1, PRIMES[0], (2, count))
        for side, count in ((0, rows), (1, columns))
    )
    first, second, third = map(int, draw)
    t = residue(residue(a * first)[:, None] * b)
    return residue((t + residue(c * second)[:, None]) * (t + residue(d * third)))


def drawn(layer, x):
    return layer.set_train(True)(ms.Tensor(x)).asnumpy()


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_mask_is_the_formulas_and_its_gradient_is_the_mask(rate):
    layer, x = Dropout(rate), np.random.default_rng(1).normal(size=(4, 25, 64)).astype(np.float32)
    layer.follow(ms.Tensor([7.0, -300.0, 1500.0], ms.float32), (3, 0, 1))
    found, gradient = drawn(layer, x), ops.grad(layer)(ms.Tensor(x)).asnumpy()
    kept = residues((3, 0, 1), (7, -300, 1500), 100, 64) < round((1 - rate) * PRIMES[0]) - PRIMES[0] / 2
    expected = kept.reshape(x.shape) / np.float32(1 - rate)
    assert (found != 0).mean() == pytest.approx(1 - rate, abs=0.02)
    # A residue of half a prime may be taken for its negative: the quotient is rounded in float32.
    assert ((found != 0) == kept.reshape(x.shape)).mean() > 0.999
    same = (found != 0) == kept.reshape(x.shape)
    np.testing.assert_allclose(found[same], (x * expected)[same], rtol=1e-6)
    np.testing.assert_allclose(gradient, np.where(found != 0, np.float32(1 / (1 - rate)), 0), rtol=1e-6)


def test_outside_training_and_at_rate_0_nothing_happens():
    x = np.ones((2, 5), np.float32)
    assert (Dropout(0.5).set_train(False)(ms.Tensor(x)).asnumpy() == x).all() and (
        drawn(Dropout(0.0), x) == x
    ).all()


def masks(rate, seeds, draw, rows=400, columns=300):
    kept = residues(seeds, draw, rows, columns) < round((1 - rate) * PRIMES[0]) - PRIMES[0] / 2
    return (kept - kept.mean()) / kept.std()


def test_masks_of_rows_columns_layers_and_micro_batches_are_independent():
    draws, numbers = [], np.int64([5, 900, -1200])
    for _ in range(3):
        draws.append(numbers)
        numbers = np.int64([residue(*pair) for pair in zip(numbers * FACTORS, PRIMES)])
    one = masks(0.1, (1, 0, 0), draws[0])
    for other in (*(masks(0.1, (1, 0, 0), draw) for draw in draws[1:]), masks(0.1, (1, 0, 1), draws[0])):
        assert abs((one * other).mean()) < 4 / np.sqrt(one.size)
    for matrix in (one, one.T):
        products = (matrix @ matrix.T)[np.triu_indices(len(matrix), 1)] / np.sqrt(matrix.shape[1])
        assert abs(products.mean()) < 0.03 and 0.97 < products.std() < 1.03 and abs(products).max() < 7


def test_the_numbers_of_micro_batches_follow_each_other_and_can_be_set_back():
    network = nn.SequentialCell(Dropout(0.5), nn.Dense(4, 4), Dropout(0.0))
    draws = draws_for(network, 5, "phase1", 0)
    x, first = np.ones((8, 64), np.float32), draws.numbers.asnumpy().copy()
    seen = []
    for _ in range(3):
        seen.append(drawn(network[0], x))
        before = draws.numbers.asnumpy()
        expected = [
            residue(int(value) * factor, prime) for value, factor, prime in zip(before, FACTORS, PRIMES)
        ]
        draws()
        assert draws.numbers.asnumpy().tolist() == expected
    assert not any(np.array_equal(seen[0], other) for other in seen[1:])
    draws.numbers.set_data(ms.Tensor(first))
    np.testing.assert_array_equal(drawn(network[0], x), seen[0])
    assert draws_for(nn.SequentialCell(Dropout(0.0)), 5, "phase1", 0) is None
    assert [name for name, _ in network.parameters_and_names()] == [
        "1.weight",
        "1.bias",
    ]  # no weight is added


def test_processes_and_stages_draw_masks_of_their_own_from_the_same_numbers():
    x, seen, numbers = np.ones((8, 64), np.float32), [], []
    for name, rank in (("phase1", 0), ("phase1", 1), ("phase2", 0)):
        layer = Dropout(0.5)
        numbers.append(Draws([layer], 5, name, rank).numbers.asnumpy().tolist())
        seen.append(drawn(layer, x))
    assert numbers[0] == numbers[1] != numbers[2]
    assert all(0.4 < (seen[one] != seen[other]).mean() < 0.6 for one, other in ((0, 1), (0, 2), (1, 2)))
