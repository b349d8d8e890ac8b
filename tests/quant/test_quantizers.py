"""Fake quantizers and their straight-through gradients against the golden files and NumPy."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.nn.layers import eager
from src.quant.quantizers import DynamicUnsigned, LossAwareTernary, MovingAverageRange, build_quantizer
from tests.helpers import golden, needs_golden, tensors

KINDS = {
    "twn2": ("twn", 2),
    "sym8": ("symmetric", 8),
    "sym4": ("symmetric", 4),
    "asym8": ("minmax", 8),
    "asym4": ("minmax", 4),
}


class Gradient(nn.Cell):
    """Output and gradient of the first input for an upstream gradient."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer
        self.gradient = ops.GradOperation(sens_param=True)

    def construct(self, *inputs):
        return self.quantizer(*inputs[:-1]), self.gradient(self.quantizer)(*inputs)


def in_a_graph(quantizer, *inputs):
    """(output, gradient) as arrays; the last input is the upstream gradient."""
    return tuple(item.asnumpy() for item in Gradient(quantizer)(*tensors(*inputs)))


def both(quantizer, *inputs):
    """As `in_a_graph`, without one: one of each kind is compiled for golden numbers, or by `in_a_graph`."""
    with eager():
        return in_a_graph(quantizer, *inputs)


class Gradients(nn.Cell):
    """The same of several quantizers, one after the other, in one graph."""

    def __init__(self, quantizers):
        super().__init__()
        self.quantizers = nn.CellList(quantizers)
        self.gradient = ops.GradOperation(sens_param=True)

    def construct(self, x, upstream):
        found = ()
        for quantizer in self.quantizers:
            found += ((quantizer(x), self.gradient(quantizer)(x, upstream)),)
        return found


def golden_quantizer(name):
    """The quantizer of a golden case, TENSOR.QUANTIZER.clipC.GRANULARITY."""
    tensor, quantizer, *clip, part = name.split(".")
    granularity = {"layer": "tensor", "row": "head" if tensor == "scores" else "row"}[part]
    return build_quantizer(*KINDS[quantizer], granularity, float(".".join(clip).removeprefix("clip")))


@needs_golden
@pytest.mark.parametrize("tensor, count", [("weight", 20), ("act", 16), ("scores", 16)])
def test_golden_output_and_gradient(tensor, count):
    numbers = golden("quantizers")
    names = sorted(key[:-2] for key in numbers if key.startswith(tensor) and key.endswith(".y"))
    assert len(names) == count
    cell = Gradients([golden_quantizer(name) for name in names])
    found = cell(*tensors(numbers[f"{tensor}.x"], numbers[f"{tensor}.grad_out"]))
    for name, (output, gradient) in zip(names, found, strict=True):
        np.testing.assert_allclose(output.asnumpy(), numbers[name + ".y"], rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(gradient.asnumpy(), numbers[name + ".dx"], err_msg=name)


def some(seed, *shape, spread=1.0):
    return (spread * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_ternary_has_three_values_per_scale(granularity):
    output = both(build_quantizer("twn", 2, granularity), some(0, 6, 50), some(1, 6, 50))[0]
    groups = output if granularity == "row" else output.reshape(1, -1)
    for group in groups:
        assert len(np.unique(np.abs(group[group != 0]))) == 1 and (group == 0).any()
    assert len(np.unique(np.abs(output))) == (7 if granularity == "row" else 2)


@pytest.mark.parametrize("kind,bits", [("twn", 2), ("symmetric", 8), ("minmax", 8), ("dynamic", 8)])
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_constant_tensors_stay_finite(kind, bits, value):
    x = np.full((3, 4), value, np.float32)
    np.testing.assert_allclose(both(build_quantizer(kind, bits), x, x)[0], x, atol=1e-6)


def weighted_error(x, second_moment, output):
    return (np.sqrt(second_moment.astype(np.float64)) * (x - output) ** 2).sum()


@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_loss_aware_ternary_is_near_the_best_of_all_thresholds(granularity):
    x, second = some(2, 4, 60), some(3, 4, 60) ** 4 * 1e-9 + 1e-12  # Adam's second moments are tiny
    quantizer = LossAwareTernary(granularity, rounds=10)
    output, gradient = in_a_graph(quantizer, x, second, x)
    np.testing.assert_array_equal(gradient, x)
    found = best = 0.0
    for rows in (range(4),) if granularity == "tensor" else ([0], [1], [2], [3]):
        rows = list(rows)
        found += weighted_error(x[rows], second[rows], output[rows])
        candidates = []
        # Every ternary pattern of one threshold, with its best alpha.
        for threshold in np.unique(np.abs(x[rows])):
            kept, metric = np.abs(x[rows]) >= threshold, np.sqrt(second[rows].astype(np.float64))
            alpha = (metric * kept * np.abs(x[rows])).sum() / (metric * kept).sum()
            candidates.append(weighted_error(x[rows], second[rows], np.sign(x[rows]) * kept * alpha))
        best += min(candidates)
    plain = both(build_quantizer("twn", 2, granularity), x, x)[0]
    assert best * 0.9999 <= found <= 1.01 * best and found < weighted_error(x, second, plain)


def test_loss_aware_ternary_without_curvature_minimizes_the_plain_error():
    x = some(4, 8, 100)
    output = both(LossAwareTernary("tensor", rounds=10), x, np.zeros_like(x), x)[0]
    twn = both(build_quantizer("twn", 2), x, x)[0]
    assert ((x - output) ** 2).sum() <= ((x - twn) ** 2).sum() * 1.0001


def test_dynamic_unsigned_is_onnx_dynamic_quantize_linear():
    cell = Gradient(DynamicUnsigned())  # one graph for all of them
    for shift in (-3.0, -0.5, 0.0, 0.5, 3.0):
        x = some(5, 9, 33) + np.float32(shift)
        # As the operator's specification has it.
        low, high = (min(x.min(), np.float32(0)), max(x.max(), np.float32(0)))
        scale = (high - low) / np.float32(255)
        zero_point = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
        codes = np.clip(np.rint(x / scale) + zero_point, 0, 255).astype(np.uint8)
        expected = (codes.astype(np.int32) - zero_point) * scale
        output, gradient = (item.asnumpy() for item in cell(*tensors(x, x)))
        np.testing.assert_allclose(output, expected, rtol=1e-6, atol=1e-6, err_msg=str(shift))
        np.testing.assert_array_equal(gradient, x)
        assert len(np.unique(output)) <= 256


# --- moving-average ranges ----------------------------------------------------------------------------------


class QuantizedLinear(nn.Cell):
    """Q8BERT's linear layer: weight quantized by its max, input and optionally output by moving averages."""

    def __init__(self, weight, bias, requantize):
        super().__init__()
        self.weight, self.bias = ms.Parameter(weight, name="weight"), ms.Tensor(bias)
        self.quantize_weight = build_quantizer("symmetric", 8)
        self.quantize_input = MovingAverageRange(8, 0.9, start_step=1)
        self.quantize_output = MovingAverageRange(8, 0.9, start_step=1)
        self.requantize = requantize

    def construct(self, x, quantize_weight):
        weight = self.quantize_weight(self.weight) if quantize_weight else self.weight
        output = ops.matmul(self.quantize_input(x), weight.transpose(1, 0)) + self.bias
        return self.quantize_output(output) if self.requantize else output


class LinearGradient(nn.Cell):
    """Output, input gradient and weight gradient of one step."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.weights = ms.ParameterTuple([linear.weight])
        self.gradient = ops.GradOperation(get_all=True, get_by_list=True, sens_param=True)

    def construct(self, x, quantize_weight, upstream):
        inputs, weights = self.gradient(self.linear, self.weights)(x, quantize_weight, upstream)
        return inputs[0], weights[0]


@needs_golden
@pytest.mark.parametrize("family", ["plain", "requantize"])
def test_golden_q8bert_training_and_inference(family):
    numbers = {
        key[len(family) + 1 :]: value for key, value in golden("q8bert").items() if key.startswith(family)
    }
    linear = QuantizedLinear(numbers["weight"], numbers["bias"], family == "requantize")
    step = LinearGradient(linear)
    step.set_train(True)
    for index in range(5):
        case = {
            key.split(".")[1]: value for key, value in numbers.items() if key.startswith(f"train{index}.")
        }
        ranges = (linear.quantize_input, linear.quantize_output)
        before = [(item.threshold.asnumpy().copy(), item.steps.asnumpy().copy()) for item in ranges]
        dx, dw = step(ms.Tensor(case["x"]), index > 0, ms.Tensor(case["grad_out"]))
        np.testing.assert_allclose(dx.asnumpy(), case["dx"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(dw.asnumpy(), case["dw"], rtol=1e-5, atol=1e-5)
        for item, (threshold, steps) in zip(ranges, before):
            item.threshold.set_data(ms.Tensor(threshold))
            item.steps.set_data(ms.Tensor(steps))
        with eager():  # the same step again, for its output
            output = linear(ms.Tensor(case["x"]), index > 0)
        np.testing.assert_allclose(output.asnumpy(), case["y"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(linear.quantize_input.threshold.asnumpy(), case["input_thresh"], rtol=1e-6)
        assert linear.quantize_input.calibrated() == (index > 0)
    # At inference the golden pass rounds the bias to the product's scale too; ours keeps it in float.
    if family == "plain":
        linear.set_train(False)
        threshold = float(linear.quantize_input.threshold.asnumpy()[0])
        found = linear(ms.Tensor(numbers["infer.x"]), True).asnumpy()
        bias_step = threshold / 127 / float(numbers["infer.weight_scale"])
        np.testing.assert_allclose(found, numbers["infer.y"], atol=0.51 * bias_step + 1e-5)


def test_evaluation_leaves_the_range_alone():
    cell = MovingAverageRange(8, 0.9)
    cell.set_train(True)
    cell(ms.Tensor(some(6, 4, 4)))
    before = cell.threshold.asnumpy().copy()
    cell.set_train(False)
    output = cell(ms.Tensor(some(7, 4, 4, spread=50.0))).asnumpy()
    np.testing.assert_array_equal(cell.threshold.asnumpy(), before)
    assert np.abs(output).max() == pytest.approx(before[0], rel=1e-6)


def test_32_bits_are_no_quantizer():
    assert build_quantizer("twn", 32) is None
