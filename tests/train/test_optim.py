"""The learning-rate schedule and AdamW against their formulas in NumPy."""

import mindspore as ms
import numpy as np
import pytest

from src.settings.stage import AdamWeightDecayConfig
from src.train.optim import AdamW, WarmupPolynomial, is_decayed


@pytest.mark.parametrize(
    "step,expected",
    [
        (0, 1e-4),
        (4, 5e-4),
        (9, 1e-3),  # the 10 warm-up steps; the first one already moves
        (10, 1e-4 + 9e-4 * (89 / 90) ** 2),
        (54, 1e-4 + 9e-4 * 0.5**2),
        (99, 1e-4),
        (150, 1e-4),
    ],
)
def test_schedule_rises_linearly_then_decays_polynomially(step, expected):
    config = AdamWeightDecayConfig(learning_rate=1e-3, end_learning_rate=1e-4, power=2.0, warmup_ratio=0.1)
    assert float(WarmupPolynomial(config, 100)(ms.Tensor(step, ms.int32))) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("ratio,steps", [(0.0, 10), (1.0, 10), (0.1, 1)])
def test_schedule_of_extreme_warmups_stays_finite_and_within_the_peak(ratio, steps):
    schedule = WarmupPolynomial(AdamWeightDecayConfig(learning_rate=1e-3, warmup_ratio=ratio), steps)
    values = [float(schedule(ms.Tensor(step, ms.int32))) for step in range(steps)]
    assert all(0 <= value <= 1.0001e-3 for value in values) and max(values) > 5e-4


@pytest.mark.parametrize(
    "name,decayed",
    [
        ("bert.encoder.layers.0.attention.query.weight", True),
        ("bert.embeddings.word_embeddings.weight", True),
        ("fit_dense.weight", True),
        ("bert.encoder.layers.0.attention.query.bias", False),
        ("bert.embeddings.layer_norm.weight", False),
        ("bert.LayerNorm.weight", False),
    ],
)
def test_norms_and_biases_are_not_decayed(name, decayed):
    assert is_decayed(name, ("layernorm", "bias")) is decayed
    assert is_decayed(name, ())


def test_three_steps_are_adamw_without_bias_correction_with_decay_on_weights_only():
    config = AdamWeightDecayConfig(
        learning_rate=0.1,
        end_learning_rate=0.1,
        warmup_ratio=0.0,
        weight_decay=0.5,
        beta1=0.8,
        beta2=0.9,
        eps=1e-3,
    )
    random = np.random.default_rng(0)
    values = {
        name: random.normal(size=(3, 2)).astype(np.float32)
        for name in ("a.bias", "a.weight", "layer_norm.weight", "b.weight")
    }
    parameters = [ms.Parameter(value, name=name) for name, value in values.items()]
    optimizer = AdamW(parameters, config, 10)
    first, second = ({name: np.zeros((3, 2)) for name in values} for _ in range(2))
    for _ in range(3):
        gradients = {name: random.normal(size=(3, 2)).astype(np.float32) for name in values}
        optimizer(tuple(ms.Tensor(gradients[item.name]) for item in parameters))
        for name, gradient in gradients.items():
            first[name] = 0.8 * first[name] + 0.2 * gradient
            second[name] = 0.9 * second[name] + 0.1 * gradient.astype(np.float64) ** 2
            decay = 0.5 if name in ("a.weight", "b.weight") else 0.0
            values[name] = values[name] - 0.1 * (
                first[name] / (np.sqrt(second[name]) + 1e-3) + decay * values[name]
            )
    for parameter in parameters:
        np.testing.assert_allclose(parameter.asnumpy(), values[parameter.name], rtol=1e-5, atol=1e-6)
