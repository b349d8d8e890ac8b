"""Times the operators that `src/nn/layers.py` and `src/train` build anew on CPU against MindSpore's own, in
graphs with graph-kernel fusion, as training runs them.

    python benchmarks/kernels.py [--fused false --rows 512 --width 384 --intermediate 1536 --vocabulary 30522]

Activations and LayerNorm are timed forward and with gradient, beside their largest difference from the same
function in float64; the optimizer, the sum of squares and parts of the quantizers on a word embedding table.
The candidates take turns; the figures are medians of the later half, after MindSpore has settled on a number
of threads.
"""

import argparse
import math
import os
import sys
import time

# Fusion's kernels bring a second set of threads, which must not spin while MindSpore's own work.
os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="0")
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import mindspore as ms  # noqa: E402
import numpy as np  # noqa: E402
from mindspore import nn, ops  # noqa: E402
from mindspore.ops import operations as P  # noqa: E402
from mindspore.ops.operations import _grad_ops as G  # noqa: E402
from scipy.special import erf  # noqa: E402

import src  # noqa: E402, F401  sets MindSpore's log level before it is imported
from src.nn.layers import Gelu, GeluNew, LayerNorm, SquareSum, Tanh, column_sums  # noqa: E402
from src.quant.quantizers import Quantizer, TernaryWeights, _maximum  # noqa: E402
from src.settings.stage import AdamWeightDecayConfig  # noqa: E402
from src.train.optim import AdamW  # noqa: E402

EPSILON = 1e-12


class Own(nn.Cell):
    """One of MindSpore's operators."""

    def __init__(self, operator):
        super().__init__()
        self.operator = operator

    def construct(self, x):
        return self.operator(x)


class OwnLayerNorm(nn.Cell):
    """MindSpore's fused LayerNorm with weight 1 and bias 0."""

    def __init__(self, width):
        super().__init__()
        self.weight = ms.Parameter(ops.ones(width, ms.float32), name="weight")
        self.bias = ms.Parameter(ops.zeros(width, ms.float32), name="bias")
        self.norm = P.LayerNorm(-1, -1, EPSILON)

    def construct(self, x):
        return self.norm(x, self.weight, self.bias)[0]


class OwnErfGelu(nn.Cell):
    """GELU with MindSpore's erf."""

    def construct(self, x):
        half = x * 0.5
        return half + half * ops.erf(x * math.sqrt(0.5))


class OwnSquares(nn.Cell):
    """MindSpore's sum of squares in one operator."""

    def __init__(self):
        super().__init__()
        self.half_sum = P.L2Loss()

    def construct(self, x):
        return self.half_sum(x) * 2.0


class ColumnSums(nn.Cell):
    """A bias's gradient by a product with ones."""

    def construct(self, x):
        return column_sums(x)


class OwnLargest(nn.Cell):
    """Maximum of each row, and of these, by MindSpore's ArgMaxWithValue, which is not fused."""

    def __init__(self):
        super().__init__()
        self.rows, self.all = P.ArgMaxWithValue(-1, True), P.ArgMaxWithValue(0, True)

    def construct(self, x):
        return self.all(self.rows(ops.abs(x))[1])[1]


class Largest(nn.Cell):
    """The quantizers' maximum of a tensor's sizes."""

    def __init__(self):
        super().__init__()
        self.largest = _maximum("tensor")

    def construct(self, x):
        return self.largest(ops.abs(x))


class OwnTernary(nn.Cell):
    """TWN by HShrink, which is not fused."""

    def __init__(self):
        super().__init__()
        self.keep_beyond_1, self.mean = P.HShrink(1.0), P.ReduceMean(keep_dims=True)

    def construct(self, x):
        size = ops.abs(x)
        codes = ops.clamp(self.keep_beyond_1(x / (0.7 * self.mean(size, -1))), -1.0, 1.0)
        kept = ops.abs(codes)
        return codes * ((size * kept).sum(-1, keepdims=True) / kept.sum(-1, keepdims=True))


class OwnClipGradient(nn.Cell):
    """The clip's gradient by HShrinkGrad, which is not fused."""

    def __init__(self):
        super().__init__()
        self.beyond = G.HShrinkGrad(2.5)

    def construct(self, x):
        return x - self.beyond(x, x)


class ClipGradient(nn.Cell):
    """The quantizers' gradient of a clip."""

    def __init__(self):
        super().__init__()
        self.quantizer = Quantizer("tensor", 2.5)

    def construct(self, x):
        return self.quantizer.straight_through(x, x)


class Update(nn.Cell):
    """One optimizer step on one table; returns one number, so that fetching the result costs nothing."""

    def __init__(self, make, shape):
        super().__init__()
        self.table = ms.Parameter(ops.ones(shape, ms.float32), name="table")
        self.optimizer = make([self.table])

    def construct(self, gradient):
        return ops.depend(gradient[0, 0], self.optimizer((gradient,)))


class Gradient(nn.Cell):
    """Gradients of input and weights for an upstream gradient of ones."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.weights = ms.ParameterTuple(network.trainable_params())
        self.gradient = ops.GradOperation(get_all=True, get_by_list=len(self.weights) > 0)

    def construct(self, x):
        if len(self.weights) > 0:
            return self.gradient(self.network, self.weights)(x)[0][0]
        return self.gradient(self.network)(x)[0]


def clock(networks, x, rounds):
    """Median milliseconds of each network, taking turns."""
    times = {name: [] for name in networks}
    for _ in range(rounds):
        for name, network in networks.items():
            started = time.perf_counter()
            network(x).asnumpy()
            times[name].append(time.perf_counter() - started)
    return {name: 1000 * float(np.median(values[rounds // 2 :])) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=512, help="tokens of a batch")
    parser.add_argument("--width", type=int, default=384, help="hidden size")
    parser.add_argument("--intermediate", type=int, default=1536, help="feed-forward size")
    parser.add_argument("--vocabulary", type=int, default=30522, help="rows of the word embedding table")
    parser.add_argument("--rounds", type=int, default=100, help="calls of each candidate")
    parser.add_argument("--fused", default="true", choices=("true", "false"), help="graph-kernel fusion")
    options = parser.parse_args()
    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE, enable_graph_kernel=options.fused == "true")
    generator = np.random.default_rng(0)
    hidden = 3 * generator.standard_normal((options.rows, options.width), dtype=np.float32)
    wide = 3 * generator.standard_normal((options.rows, options.intermediate), dtype=np.float32)
    h, w = hidden.astype(np.float64), wide.astype(np.float64)
    centred = h - h.mean(1, keepdims=True)
    cases = {
        "LayerNorm": (
            hidden,
            {"MindSpore": OwnLayerNorm(options.width), "ours": LayerNorm(options.width, EPSILON)},
            centred / np.sqrt((centred**2).mean(1, keepdims=True)),
        ),
        "gelu (erf)": (
            wide,
            {"MindSpore": OwnErfGelu(), "ours": Gelu()},
            0.5 * w * (1 + erf(w / math.sqrt(2))),
        ),
        "gelu_new (tanh)": (
            wide,
            {"MindSpore": Own(P.GeLU()), "ours": GeluNew()},
            0.5 * w * (1 + np.tanh(math.sqrt(2 / math.pi) * (w + 0.044715 * w**3))),
        ),
        "tanh": (hidden, {"MindSpore": Own(P.Tanh()), "ours": Tanh()}, np.tanh(h)),
    }
    for title, (array, networks, exact) in cases.items():
        x = ms.Tensor(array)
        forward = clock(networks, x, options.rounds)
        both = clock({name: Gradient(network) for name, network in networks.items()}, x, options.rounds)
        for name, network in networks.items():
            error = np.abs(network(x).asnumpy() - exact).max()
            print(
                f"{title:16} {name:10} forward {forward[name]:6.2f} ms, gradient {both[name]:6.2f} ms, "
                f"largest error {error:.1e}"
            )
        print(
            f"{title:16} ours is {forward['MindSpore'] / forward['ours']:.1f} times as fast forward, "
            f"{both['MindSpore'] / both['ours']:.1f} times in the gradient",
            flush=True,
        )
    shape = (options.vocabulary, options.width)
    table = ms.Tensor(generator.standard_normal(shape, dtype=np.float32))
    rate = AdamWeightDecayConfig(learning_rate=1e-4, end_learning_rate=1e-4, warmup_ratio=0.0)
    cases = {
        "sum of squares": {"MindSpore": OwnSquares(), "ours": SquareSum()},
        "AdamW": {
            "MindSpore": Update(
                lambda items: nn.AdamWeightDecay(items, 1e-4, weight_decay=rate.weight_decay), shape
            ),
            "ours": Update(lambda items: AdamW(items, rate, 1000), shape),
        },
        "bias gradient": {"MindSpore": Own(G.BiasAddGrad()), "ours": ColumnSums()},
        "largest size": {"MindSpore": OwnLargest(), "ours": Largest()},
        "ternary weights": {"MindSpore": OwnTernary(), "ours": TernaryWeights()},
        "clip's gradient": {"MindSpore": OwnClipGradient(), "ours": ClipGradient()},
    }
    for title, networks in cases.items():
        times = clock(networks, table, options.rounds)
        print(
            f"{title:16} MindSpore {times['MindSpore']:6.2f} ms, ours {times['ours']:6.2f} ms: "
            f"{times['MindSpore'] / times['ours']:.1f} times as fast",
            flush=True,
        )


if __name__ == "__main__":
    main()
