"""Run by test_fused_cells.py in a process of its own: our cells in graphs with graph-kernel fusion, whose
kernels round in their own ways (its exponential is off by 1e-4), against NumPy in float64.
"""

import os

os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="0")  # before MindSpore is imported
import mindspore as ms  # noqa: E402
import numpy as np  # noqa: E402
from mindspore import nn, ops  # noqa: E402
from scipy.special import erf  # noqa: E402

from src.distill.losses import label_cross_entropy_of_places, places_of_rows  # noqa: E402
from src.nn.layers import CpuLayerNorm, Dense, Gelu, SquareSum  # noqa: E402
from src.quant.quantizers import build_quantizer  # noqa: E402

WIDTH = 96
RANDOM = np.random.default_rng(0)


def numbers(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


class Gradients(nn.Cell):
    """A cell's output and its inputs' gradients for an upstream one, in one graph."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.gradient = ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, upstream, *inputs):
        return self.network(*inputs), self.gradient(self.network)(*inputs, upstream)


class NormOnly(nn.Cell):
    """The first output of `CpuLayerNorm`."""

    def __init__(self):
        super().__init__()
        self.norm = CpuLayerNorm(WIDTH, 1e-12)

    def construct(self, x, weight, bias):
        return self.norm(x, weight, bias)[0]


def close(found, expected, tolerance, what):
    """The largest difference, relative to the largest value beyond 1, is within `tolerance`."""
    error = np.abs(found.asnumpy() - expected).max() / max(1.0, np.abs(expected).max())
    assert error <= tolerance, f"{what}: off by {error:.1e}"


def check_gelu():
    x, upstream = 3 * numbers(64, WIDTH), numbers(64, WIDTH)
    x[0, :4] = -1e4, 1e4, -30, 0
    output, (gradient,) = Gradients(Gelu())(ms.Tensor(upstream), ms.Tensor(x))
    wide = x.astype(np.float64)
    phi = 0.5 * (1 + erf(wide / np.sqrt(2)))
    inner = np.abs(x) < 100
    close(output[0], (wide * phi)[0], 1e-6, "gelu far from 0")
    np.testing.assert_allclose(output.asnumpy()[inner], (wide * phi)[inner], atol=1e-6, rtol=1e-7)
    density = np.exp(-wide * wide / 2) / np.sqrt(2 * np.pi)
    close(gradient, upstream * (phi + wide * density), 4e-6, "gelu's gradient")


def check_layer_norm():
    x, weight, bias, upstream = 3 * numbers(64, WIDTH) + 1, numbers(WIDTH), numbers(WIDTH), numbers(64, WIDTH)
    output, gradients = Gradients(NormOnly())(ms.Tensor(upstream), *map(ms.Tensor, (x, weight, bias)))
    wide = x.astype(np.float64)
    deviation = wide.std(1, keepdims=True)
    normed = (wide - wide.mean(1, keepdims=True)) / deviation
    g = upstream * weight
    dx = (g - g.mean(1, keepdims=True) - normed * (g * normed).mean(1, keepdims=True)) / deviation
    expected = (normed * weight + bias, dx, (upstream * normed).sum(0), upstream.sum(0))
    for found, wanted, what in zip((output, *gradients), expected, ("output", "x", "weight", "bias")):
        close(found, wanted, 2e-6, f"LayerNorm's {what}")


def check_sums():
    for shape in ((20000, 200), (8, 12, 64, 64), (7,)):
        x = numbers(*shape)
        output, (gradient,) = Gradients(SquareSum())(ms.Tensor(0.5, ms.float32), ms.Tensor(x))
        close(output, np.square(x, dtype=np.float64).sum(), 2e-6, f"sum of squares of {shape}")
        close(gradient, x, 1e-6, "gradient of a sum of squares")


def check_dense():
    layer = Dense(WIDTH, 32, 0.5, ms.float32)
    gradient = ops.GradOperation(get_by_list=True, sens_param=True)(layer, [layer.bias])
    upstream = numbers(1000, 32)
    close(gradient(ms.Tensor(numbers(1000, WIDTH)), ms.Tensor(upstream))[0], upstream.sum(0), 2e-6, "bias")


def check_sums_of_a_quantizer():
    x = numbers(20000, 200)
    size = np.abs(x, dtype=np.float64)
    alpha = size[size > 0.7 * size.mean()].mean()
    found = build_quantizer("twn", 2, "tensor")(ms.Tensor(x)).asnumpy()
    np.testing.assert_allclose(found.max(), alpha, rtol=1e-5)


def check_quantizers():
    x = 2 * numbers(40, WIDTH)
    wide = x.astype(np.float64)
    size = np.minimum(np.abs(wide), 2.5)
    kept = size > 0.7 * size.mean(1, keepdims=True)
    alpha = (size * kept).sum(1, keepdims=True) / kept.sum(1, keepdims=True)
    step = min(np.abs(wide).max(), 2.5) / 127
    uniform = np.round(np.clip(wide / step, -127, 127)) * step
    for kind, bits, granularity, expected in (
        ("twn", 2, "row", np.sign(wide) * kept * alpha),
        ("symmetric", 8, "tensor", uniform),
    ):
        cell = build_quantizer(kind, bits, granularity, 2.5)
        output, (gradient,) = Gradients(cell)(ms.Tensor(np.ones_like(x)), ms.Tensor(x))
        differ = np.abs(output.asnumpy() - expected) > 1e-5
        assert differ.mean() < 1e-3, f"{kind}: {differ.sum()} values differ"  # a few lie at a border
        close(gradient, np.abs(x) <= 2.5, 0, f"{kind}'s gradient")


class PlacesLoss(nn.Cell):
    """Of a head whose two outputs point at places of rows."""

    def construct(self, states, weight, mask, segments, first, labels):
        logits = ops.matmul(states.reshape((-1, WIDTH)), weight).reshape((*mask.shape, 2))
        return label_cross_entropy_of_places(places_of_rows(logits, mask, segments, first), labels)


def check_places():
    """Two rows in each of two bins; the second text begins at token 4, and half of the labels are [CLS]."""
    bins, width, lengths = 2, 24, (10, 12, 13, 11)
    states, weight = numbers(bins, width, WIDTH), numbers(WIDTH, 2)
    mask, segments = np.zeros((2, bins, width), np.int32)
    first = np.int32([0, lengths[0], width, width + lengths[2]])
    labels = np.int32([[0, 0], [5, 7], [0, 0], [4, 9]])
    logits, expected = (states.astype(np.float64) @ weight).reshape(-1, 2), []
    for row, (start, length) in enumerate(zip(first, lengths)):
        mask.reshape(-1)[start : start + length] = row % 2 + 1
        segments.reshape(-1)[start + 4 : start + length] = 1
        answers = [0, *range(4, length - 1)]
        own = logits[start : start + length][answers]
        shares = own - np.log(np.exp(own).sum(0))
        expected.append(-np.mean([shares[answers.index(label), k] for k, label in enumerate(labels[row])]))
    arrays = [ms.Tensor(item) for item in (states, weight, mask, segments, first, labels)]
    values, gradients = Gradients(PlacesLoss())(ms.Tensor(np.ones(4, np.float32)), *arrays)
    close(values, np.array(expected), 1e-5, "cross-entropy of places")
    assert np.abs(gradients[0].asnumpy()[0, 0]).max() > 0, "[CLS] has no gradient"


if __name__ == "__main__":
    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE, enable_graph_kernel=True)
    for check in (
        check_gelu,
        check_layer_norm,
        check_sums,
        check_dense,
        check_sums_of_a_quantizer,
        check_quantizers,
        check_places,
    ):
        check()
        print(check.__name__, "passed", flush=True)
