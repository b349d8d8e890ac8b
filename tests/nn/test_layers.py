"""Cells against PyTorch and NumPy."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.nn.layers import CpuLayerNorm, Dense, Embedding, LayerNorm, RelativePositions, activation, square_sum

torch = pytest.importorskip("torch")


class WeightedSum(nn.Cell):
    """sum(f(x, weight, bias) * upstream): its gradients are those of f for the upstream gradient."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def construct(self, x, weight, bias, upstream):
        return (self.norm(x, weight, bias)[0] * upstream).sum()


@pytest.mark.parametrize("shape", [(7,), (5, 3), (2, 3, 4), (300, 200), (8, 12, 256, 256)])
def test_sum_of_squares_and_its_gradient_are_numpys_however_large_the_tensor(shape):
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)

    class Scaled(nn.Cell):
        """Half the sum, as a loss takes it."""

        def construct(self, x):
            return square_sum(x) * 0.5

    found, gradient = ms.value_and_grad(Scaled())(ms.Tensor(values))
    assert found.shape == () and float(found) == pytest.approx(
        np.square(values, dtype=np.float64).sum() / 2, rel=1e-5
    )
    np.testing.assert_allclose(gradient.asnumpy(), values, rtol=1e-6)


def layer_norm_case(rows, width, offset):
    random = np.random.default_rng(rows)
    return [
        array.astype(np.float32)
        for array in (
            random.normal(size=(rows, width)) * 3 + offset,
            random.normal(size=width),
            random.normal(size=width),
            random.normal(size=(rows, width)),
        )
    ]


@pytest.mark.parametrize("rows,width,epsilon,offset", [(7, 48, 1e-12, 0.0), (64, 384, 1e-5, 2.0)])
def test_cpu_layer_norm_and_its_gradients_are_those_of_torch(rows, width, epsilon, offset):
    x, weight, bias, upstream = layer_norm_case(rows, width, offset)
    theirs = [torch.tensor(item, dtype=torch.float64, requires_grad=True) for item in (x, weight, bias)]
    expected = torch.nn.functional.layer_norm(theirs[0], (width,), theirs[1], theirs[2], epsilon)
    (expected * torch.tensor(upstream)).sum().backward()
    norm = CpuLayerNorm(width, epsilon)
    np.testing.assert_allclose(
        norm(*map(ms.Tensor, (x, weight, bias)))[0].asnumpy(), expected.detach().numpy(), atol=2e-5
    )
    found = ms.grad(WeightedSum(norm), grad_position=(0, 1, 2))(*map(ms.Tensor, (x, weight, bias, upstream)))
    for ours, their, name in zip(found, theirs, ("x", "weight", "bias")):
        reference = their.grad.numpy()
        assert ours.shape == reference.shape, name
        assert np.linalg.norm(ours.asnumpy() - reference) < 2e-6 * np.linalg.norm(reference), name


def test_layer_norm_takes_three_dimensional_input_and_starts_as_plain_normalization():
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
    found = LayerNorm(8, 1e-12)(ms.Tensor(x)).asnumpy()
    np.testing.assert_allclose(found, (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(
    "name,reference",
    [
        ("gelu", lambda x: torch.nn.functional.gelu(x)),
        ("gelu_new", lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
        ("relu", torch.nn.functional.relu),
    ],
)
def test_activation_and_its_gradient_are_those_of_torch(name, reference):
    x = np.linspace(-6, 6, 401).astype(np.float32)
    theirs = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    expected = reference(theirs)
    expected.sum().backward()
    cell = activation(name)
    np.testing.assert_allclose(cell(ms.Tensor(x)).asnumpy(), expected.detach().numpy(), atol=2e-6)
    inner = np.abs(x) > 1e-3  # relu has no gradient at 0
    np.testing.assert_allclose(
        ms.grad(cell)(ms.Tensor(x)).asnumpy()[inner], theirs.grad.numpy()[inner], atol=3e-6
    )


def test_the_two_gelu_forms_differ_where_they_should():
    x = ms.Tensor(np.linspace(-6, 6, 401).astype(np.float32))
    assert 3e-4 < np.abs((activation("gelu")(x) - activation("gelu_new")(x)).asnumpy()).max() < 1e-3


def test_dense_multiplies_by_the_transposed_weight_and_adds_the_bias():
    random = np.random.default_rng(1)
    layer = Dense(5, 3, 0.02, ms.float32)
    weight, bias, x = (random.normal(size=shape).astype(np.float32) for shape in ((3, 5), (3,), (4, 5)))
    layer.weight.set_data(ms.Tensor(weight))
    layer.bias.set_data(ms.Tensor(bias))
    np.testing.assert_allclose(layer(ms.Tensor(x)).asnumpy(), x @ weight.T + bias, atol=1e-5)


def test_embedding_gathers_rows():
    table = Embedding(6, 4, 0.5)
    ids = np.int32([[0, 5], [2, 2]])
    np.testing.assert_array_equal(table(ms.Tensor(ids)).asnumpy(), table.weight.asnumpy()[ids])


@pytest.mark.parametrize("length", [3, 7])
def test_relative_positions_look_up_the_clipped_distance_from_query_to_key(length):
    cell = RelativePositions(2, 4, 0.5)
    table, found = cell.weight.asnumpy(), cell(length).asnumpy()
    for query in range(length):
        for key in range(length):
            np.testing.assert_array_equal(found[query, key], table[min(max(key - query, -2), 2) + 2])


def test_initial_weights_have_the_asked_spread_and_differ_between_equal_layers():
    first, second = (Dense(200, 200, 0.02, ms.float32).weight.asnumpy() for _ in range(2))
    assert 0.015 < first.std() < 0.022 and abs(first.mean()) < 0.001
    assert not np.array_equal(first, second)
