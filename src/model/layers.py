"""The cells every BERT here is built from.

Shapes: B batch, S tokens of the padded row, H hidden size, heads attention heads, D = H / heads, V vocabulary.
`compute_type` is the type matrix products run in; weights, LayerNorm and softmax stay in float32.
"""
import math

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import TruncatedNormal, initializer
from mindspore.ops import operations as P


class Dense(nn.Cell):
    """`x @ weight.T + bias` over the last axis of a 2-D tensor.

    Args:
        in_channels (int), out_channels (int): widths.
        initializer_range (float): standard deviation of the truncated normal that fills the weight.
        compute_type (mindspore.dtype): type of the product; the output has it too.
    """

    def __init__(self, in_channels, out_channels, initializer_range, compute_type):
        super().__init__()
        self.weight = ms.Parameter(initializer(TruncatedNormal(initializer_range), (out_channels, in_channels)),
                                   name="weight")  # (out, in)
        self.bias = ms.Parameter(initializer("zeros", (out_channels,)), name="bias")
        self.compute_type = compute_type
        self.product = P.MatMul(transpose_b=True)
        self.add_bias = P.BiasAdd()

    def construct(self, x):  # (rows, in)
        x, weight, bias = (ops.cast(item, self.compute_type) for item in (x, self.weight, self.bias))
        return self.add_bias(self.product(x, weight), bias)  # (rows, out)


class Embedding(nn.Cell):
    """Rows of a (`rows`, `width`) table."""

    def __init__(self, rows, width, initializer_range):
        super().__init__()
        self.weight = ms.Parameter(initializer(TruncatedNormal(initializer_range), (rows, width)), name="weight")

    def construct(self, ids):  # any shape
        return ops.gather(self.weight, ids, 0)  # ids' shape + (width,)


class CpuLayerNorm(nn.Cell):
    """LayerNorm over the last axis of a 2-D tensor out of operators that are fast on CPU, with its own gradient.

    MindSpore's fused CPU kernels take several times as long (benchmarks/kernels.py): 3.6 ms forward and 15.6 ms backward for
    512 x 384 where this takes about 1 and 2. Broadcasting is the slow part of its element-wise operators, so rows and
    columns are spread out by outer products, which the matrix library does almost for free.

    Args:
        width (int): H. epsilon (float): added to the variance.
    """

    def __init__(self, width, epsilon):
        super().__init__()
        self.epsilon = epsilon
        self.ones_row = ops.ones((1, width), ms.float32)
        self.mean = P.ReduceMean(keep_dims=True)
        self.outer = P.MatMul()
        self.add_bias = P.BiasAdd()

    def construct(self, x, weight, bias):  # (rows, H), (H,), (H,)
        centred = x - self.outer(self.mean(x, -1), self.ones_row)
        inverse = ops.rsqrt(self.mean(centred * centred, -1) + self.epsilon)  # (rows, 1)
        output = self.add_bias(centred * self.outer(inverse, weight.expand_dims(0)), bias)
        return output, centred, inverse

    def bprop(self, x, weight, bias, out, dout):
        """Gradients of x, weight and bias from the output's."""
        _, centred, inverse = out
        dy = dout[0]
        inverse_full = self.outer(inverse, self.ones_row)
        normed = centred * inverse_full
        dy_normed = dy * normed
        ones_column = ops.ones((x.shape[0], 1), ms.float32)
        weight_row = weight.expand_dims(0)
        dw = self.outer(ones_column.transpose(), dy_normed)[0]
        db = self.outer(ones_column.transpose(), dy)[0]
        # With g = dy * weight: dx = (g - mean(g) - normed * mean(g * normed)) / deviation.
        mean_g = self.outer(dy, weight.expand_dims(1)) / x.shape[1]  # (rows, 1)
        mean_gn = self.outer(dy_normed, weight.expand_dims(1)) / x.shape[1]
        dx = (dy * self.outer(inverse, weight_row) - self.outer(mean_g * inverse, self.ones_row)
              - normed * self.outer(mean_gn * inverse, self.ones_row))
        return dx, dw, db


class LayerNorm(nn.Cell):
    """LayerNorm over the last axis, in float32."""

    def __init__(self, width, epsilon):
        super().__init__()
        self.weight = ms.Parameter(initializer("ones", (width,)), name="weight")
        self.bias = ms.Parameter(initializer("zeros", (width,)), name="bias")
        self.on_cpu = ms.get_context("device_target") == "CPU"
        self.norm = CpuLayerNorm(width, epsilon) if self.on_cpu else P.LayerNorm(-1, -1, epsilon)

    def construct(self, x):  # (..., H)
        x = ops.cast(x, ms.float32)
        if self.on_cpu:
            rows = x.reshape((-1, x.shape[-1]))
            return self.norm(rows, self.weight, self.bias)[0].reshape(x.shape)
        return self.norm(x, self.weight, self.bias)[0]


class Gelu(nn.Cell):
    """x * Phi(x), Phi the normal distribution function: Hugging Face's `gelu`, exact (erf)."""

    def construct(self, x):
        half = x * 0.5
        return half + half * ops.erf(x * math.sqrt(0.5))


class GeluNew(nn.Cell):
    """The tanh approximation of GELU: Hugging Face's `gelu_new`, and what MindSpore calls "gelu".

    0.5 (1 + tanh z) = sigmoid(2 z), so one sigmoid replaces the tanh and two passes over the tensor; on CPU MindSpore's
    own kernel of the same function takes several times as long (benchmarks/kernels.py).
    """

    def construct(self, x):
        slope = 2.0 * math.sqrt(2.0 / math.pi)
        return x * ops.sigmoid(x * (slope + 0.044715 * slope * (x * x)))


def activation(name):
    """The cell for a `hidden_act` of `BertConfig`."""
    return {"gelu": Gelu, "gelu_new": GeluNew, "relu": nn.ReLU}[name]()


class RelativePositions(nn.Cell):
    """Embeddings of clipped token distances, shared by keys and values of one attention (Shaw et al., arXiv 1803.02155).

    Args:
        max_distance (int): distances are clipped to [-max_distance, max_distance].
        width (int): D, the size of a head.
    """

    def __init__(self, max_distance, width, initializer_range):
        super().__init__()
        self.max_distance = max_distance
        self.weight = ms.Parameter(initializer(TruncatedNormal(initializer_range), (2 * max_distance + 1, width)),
                                   name="weight")

    def construct(self, length):
        positions = ops.arange(length)
        distance = ops.clamp(positions.expand_dims(0) - positions.expand_dims(1), -self.max_distance, self.max_distance)
        return ops.gather(self.weight, distance + self.max_distance, 0)  # (S, S, D), [query, key]
