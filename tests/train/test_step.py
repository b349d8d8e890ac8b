"""The train step on a linear model whose gradients NumPy knows."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.distill.distiller import Distiller, LossTerms, Projection
from src.kinds import CLASSIFICATION
from src.settings.stage import AdamWeightDecayConfig
from src.train.optim import AdamW
from src.train.step import LossScale, TrainStep
from tests.helpers import answers_of, micro_batch, random_batch, tensors, tiny_network, weights_of

pytestmark = pytest.mark.usefixtures("compiled")
RATE = 0.1


class Linear(nn.Cell):
    """Squared error of x @ weight + bias, its mean over `rows` (0: over the batch's own); the second output
    must not be differentiated.
    """

    def __init__(self, rows=0):
        super().__init__()
        self.rows = rows
        self.weight = ms.Parameter(ms.Tensor([0.5, -1.0, 2.0], ms.float32), name="weight")
        self.bias = ms.Parameter(ms.Tensor([0.25], ms.float32), name="bias")

    def construct(self, x, y):
        error = (x * self.weight).sum(-1) + self.bias - y
        loss = (error * error).sum() / (self.rows or len(x))
        return loss, loss * 3.0


def step_of(network, max_grad_norm=0.0, scale=None, several=False):
    """A train step with plain gradient descent, which shows the gradient it was given."""
    return TrainStep(
        network, nn.SGD(network.trainable_params(), RATE), scale or LossScale(), max_grad_norm, several
    )


def run(step, *batches):
    """A step of some micro-batches: (sums of the terms, gradient norm, whether it was finite, skipped)."""
    terms, norm, finite, skipped = step.run(tensors(*batch) for batch in batches)
    return step.read_terms(terms), float(norm.asnumpy()), bool(finite.asnumpy()), int(skipped.asnumpy())


def linear_batch(seed=0, rows=6):
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, 3)).astype(np.float32), random.normal(size=rows).astype(np.float32)


def linear_gradient(x, y, weight=(0.5, -1.0, 2.0), bias=0.25):
    """(gradient of weight and bias as one vector (4,), loss)."""
    error = x @ np.float64(weight) + bias - y
    return np.append(2 * (error[:, None] * x).mean(0), 2 * error.mean()), (error**2).mean()


def moved(network, start=(0.5, -1.0, 2.0, 0.25)):
    """What gradient descent subtracted, divided by the learning rate."""
    return (np.float64(start) - np.append(network.weight.asnumpy(), network.bias.asnumpy())) / RATE


def test_step_returns_the_loss_terms_and_gradient_norm_and_moves_by_the_gradient():
    network, (x, y) = Linear(), linear_batch()
    gradient, loss = linear_gradient(x, y)
    terms, norm, finite, skipped = run(step_of(network), (x, y))
    assert terms == pytest.approx([loss, 3 * loss], rel=1e-5)
    assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-5) and finite and skipped == 0
    np.testing.assert_allclose(moved(network), gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bound,factor", [(0.5, None), (1000.0, 1.0)])
def test_clip_scales_all_gradients_to_the_global_norm_and_leaves_smaller_ones(bound, factor):
    network, (x, y) = Linear(), linear_batch()
    gradient, _ = linear_gradient(x, y)
    size = np.linalg.norm(gradient)
    assert 0.5 < size < 1000.0
    _, norm, _, _ = run(step_of(network, bound), (x, y))
    assert float(norm) == pytest.approx(size, rel=1e-5)  # before clipping
    np.testing.assert_allclose(moved(network), gradient * (factor or bound / size), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bound", [0.0, 0.5])
@pytest.mark.parametrize("several", [False, True])  # False: a rare step of two where one is the rule
def test_micro_batches_of_unequal_size_are_one_batch(bound, several):
    network, (x, y) = Linear(rows=8), linear_batch(rows=8)
    step = step_of(network, bound, several=several)
    for _ in range(2):  # twice: the sums must start from zero again
        start = np.append(network.weight.asnumpy(), network.bias.asnumpy())
        gradient, loss = linear_gradient(x, y, start[:3], start[3])
        terms, norm, _, _ = run(step, (x[:3], y[:3]), (x[3:], y[3:]))
        size = np.linalg.norm(gradient)
        assert norm == pytest.approx(size, rel=1e-4) and terms[0] == pytest.approx(loss, rel=1e-4)
        np.testing.assert_allclose(
            moved(network, start), gradient * (bound / size if bound else 1.0), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("several", [False, True])
def test_loss_scale_changes_neither_update_nor_reported_norm(several):
    network, (x, y) = Linear(), linear_batch()
    gradient, loss = linear_gradient(x, y)
    terms, norm, _, _ = run(step_of(network, 0.5, LossScale(1024.0), several), (x, y))
    assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-4)
    assert terms[0] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(
        moved(network), gradient * 0.5 / np.linalg.norm(gradient), rtol=1e-3, atol=1e-5
    )


def test_overflow_skips_the_update_halves_the_scale_and_clean_steps_grow_it_again():
    network, (x, y) = Linear(), linear_batch()
    scale = LossScale(1024.0, 2.0, 2)
    step = step_of(network, 1.0, scale)
    bad = x.copy()
    bad[0, 0] = np.inf
    _, _, finite, skipped = run(step, (bad, y))
    assert not finite and skipped == 1 and float(scale.scale.value()) == 512.0
    np.testing.assert_array_equal(moved(network), 0)
    scales = []
    for batch in ((x, y), (x, y), (x, y), (bad, y), (x, y), (x, y)):
        run(step, batch)
        scales.append(float(scale.scale.value()))
    assert scales == [512.0, 1024.0, 1024.0, 512.0, 512.0, 1024.0]
    assert int(scale.skipped_steps.value()) == 2 and np.isfinite(moved(network)).all()


def test_overflow_in_one_micro_batch_skips_all_of_it_and_nothing_of_it_remains():
    network, (x, y) = Linear(rows=12), linear_batch()
    step = step_of(network, several=True)
    _, _, finite, skipped = run(step, (np.full_like(x, np.nan), y), (x, y))
    assert not finite and skipped == 1
    np.testing.assert_array_equal(moved(network), 0)
    run(step, (x, y), (x, y))
    np.testing.assert_allclose(moved(network), linear_gradient(x, y)[0], rtol=1e-3, atol=1e-4)


def test_distillation_step_moves_the_student_and_its_projection_but_not_the_teacher():
    teacher, student = (
        tiny_network(1, num_hidden_layers=2),
        tiny_network(2, num_hidden_layers=1, hidden_size=12),
    )
    distiller = Distiller(
        student,
        LossTerms(attention_loss=1.0, hidden_loss=1.0, soft_loss=1.0),
        Projection(12, 16, 0.1),
        CLASSIFICATION,
    )
    optimizer = AdamW(distiller.trainable_params(), AdamWeightDecayConfig(warmup_ratio=0.0), 10)
    step = TrainStep(distiller, optimizer, LossScale(), 1.0)
    before, before_teacher, before_fit = (
        weights_of(student),
        weights_of(teacher),
        weights_of(distiller.projection),
    )
    step.set_train(True)
    batch = micro_batch(*random_batch(3))
    batch += tuple(item.asnumpy() for item in answers_of(teacher, distiller, tensors(*batch)))
    terms = [run(step, batch)[0] for _ in range(3)]
    for name, value in weights_of(teacher).items():
        np.testing.assert_array_equal(value, before_teacher[name])
    still = {
        name
        for name, value in {**weights_of(student), **weights_of(distiller.projection)}.items()
        if np.array_equal(value, {**before, **before_fit}[name])
    }
    assert still == set()
    assert terms[2][0] < terms[0][0]  # and downhill
