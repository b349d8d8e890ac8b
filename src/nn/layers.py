"""The cells every BERT here is built from.

Shapes: B batch, S tokens of the padded row, H hidden size, heads attention heads, D = H / heads, V
vocabulary. `compute_type` is the type matrix products run in; weights, LayerNorm and softmax stay in float32.
`quantization` is a `QuantConfig`; with 32 bits everywhere the layers compute in float.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal, initializer
from mindspore.ops import operations as P
from mindspore.ops.primitive import constexpr

from src.quant.quantizers import build_quantizer

if TYPE_CHECKING:
    from src.settings.network import QuantConfig

Tensors = tuple[Tensor, ...]
NO_TENSORS: Tensors = ()
"""What a tuple grows from in a `construct`, whose body has no room for its type."""


@constexpr
def _on_cpu():
    return ms.get_context("device_target") == "CPU"


def _weight_settings(quantization: "QuantConfig", part: str) -> tuple[str, int, str, float]:
    """Quantizer, bits, granularity and clip of a part of the weights."""
    if part == "rest":
        return "symmetric", quantization.rest_bits, "row", 0.0
    kind, bits, granularity, clip = (
        getattr(quantization, f"{part}_{name}") for name in ("quantizer", "bits", "granularity", "clip_value")
    )
    return kind, bits, granularity, clip


class WeightQuantizer(nn.Cell):
    """Quantizes a weight, or leaves it.

    Args:
        quantization: the settings, or None. part: "weight", "embedding" or "rest", whose settings apply.
        shape: of the weight. Loss-aware ternarization keeps the optimizer's second moment of
            it here, so that a network evaluates as it was trained wherever it is loaded.
    """

    def __init__(self, quantization: "QuantConfig | None", part: str, shape: tuple[int, ...]):
        super().__init__()
        cell = None
        if quantization is not None:
            self.kind, self.bits, self.granularity, self.clip = _weight_settings(quantization, part)
            cell = build_quantizer(self.kind, self.bits, self.granularity, self.clip)
        self.active = cell is not None
        self.loss_aware = self.active and self.kind == "lat"
        if cell is not None:
            self.quantizer = cell
        if self.loss_aware:
            self.second_moment = ms.Parameter(
                ops.zeros(shape, ms.float32), name="second_moment", requires_grad=False
            )

    def construct(self, weight: Tensor) -> Tensor:
        if self.loss_aware:
            return self.quantizer(weight, self.second_moment)
        if self.active:
            return self.quantizer(weight)
        return weight


class ActivationQuantizer(nn.Cell):
    """Quantizes an activation, or leaves it.

    Args:
        quantization: the settings, or None. bounds: as in `build_quantizer`. heads: the tensor is one of
            heads, (B, heads, S, X), which can have a scale each.
    """

    def __init__(
        self,
        quantization: "QuantConfig | None",
        bounds: tuple[float, float] | None = None,
        heads: bool = False,
    ):
        super().__init__()
        cell = None
        if quantization is not None:
            granularity = quantization.activation_granularity
            cell = build_quantizer(
                quantization.activation_quantizer,
                quantization.activation_bits,
                "tensor" if granularity == "head" and not heads else granularity,
                quantization.activation_clip_value,
                quantization.ema_decay,
                quantization.ema_start_step,
                bounds,
            )
        self.active = cell is not None
        if cell is not None:
            self.quantizer = cell

    def construct(self, x: Tensor) -> Tensor:
        if self.active:
            return ops.cast(self.quantizer(ops.cast(x, ms.float32)), x.dtype)
        return x


def column_sums(x: Tensor) -> Tensor:
    """Sums of the columns of a matrix, (rows, N) -> (N,), as a product with ones.

    On CPU this took 0.18 ms, BiasAddGrad 0.34 for 1024 x 1536 (0.97 and 1.37 for 2048 x 3072, no gain
    for narrow or very long ones). Graph-kernel fusion leaves a product alone; BiasAddGrad was joined to the
    activation's gradient, and that kernel took 2.3 ms where the gradient alone took 0.75.
    """
    return P.MatMul()(ops.ones((1, x.shape[0]), x.dtype), x).reshape((-1,))


class CpuBiasAdd(nn.Cell):
    """x + bias, (rows, N) and (N,), with `column_sums` for the bias's gradient."""

    def __init__(self):
        super().__init__()
        self.add = P.BiasAdd()

    def construct(self, x: Tensor, bias: Tensor) -> Tensor:
        return self.add(x, bias)

    def bprop(self, x: Tensor, bias: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of x and bias."""
        return dout, column_sums(dout)


class Dense(nn.Cell):
    """`x @ weight.T + bias` over the last axis of a 2-D tensor.

    Args:
        in_channels, out_channels: widths.
        initializer_range: standard deviation of the truncated normal that fills the weight.
        compute_type: type of the product; the output has it too.
        quantization, part: how the weight is quantized, as in `WeightQuantizer`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        initializer_range: float,
        compute_type: ms.Type,
        quantization: "QuantConfig | None" = None,
        part: str = "weight",
    ):
        super().__init__()
        self.quantize = WeightQuantizer(quantization, part, (out_channels, in_channels))
        # (out, in).
        self.weight = ms.Parameter(
            initializer(TruncatedNormal(initializer_range), (out_channels, in_channels)), name="weight"
        )
        self.bias = ms.Parameter(initializer("zeros", (out_channels,)), name="bias")
        self.compute_type = compute_type
        self.product = P.MatMul(transpose_b=True)
        self.add_bias = CpuBiasAdd() if _on_cpu() else P.BiasAdd()

    def construct(self, x: Tensor) -> Tensor:  # (rows, in)
        x, weight, bias = (
            ops.cast(item, self.compute_type) for item in (x, self.quantize(self.weight), self.bias)
        )
        return self.add_bias(self.product(x, weight), bias)  # (rows, out)


class PaddedLookup(nn.Cell):
    """Rows of a table, of which row 0 ([PAD]) gets no gradient: what PyTorch's `padding_idx` does.

    It is row 0 in every network, also where a vocabulary has [PAD] at another id: that row then learns, and
    the token of id 0 keeps the vector it started with.
    """

    def construct(self, table: Tensor, ids: Tensor) -> Tensor:
        return ops.gather(table, ids, 0)

    def bprop(self, table: Tensor, ids: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of the output's gradient by id; negative ids are left out."""
        kept = ops.select(ids == 0, ops.full_like(ids, -1), ids).reshape((-1,))
        gradient = ops.unsorted_segment_sum(dout.reshape((-1, table.shape[1])), kept, table.shape[0])
        return gradient, ops.zeros_like(ids)


class Embedding(nn.Cell):
    """Rows of a (`rows`, `width`) table.

    Args:
        rows, width: of the table.
        initializer_range: standard deviation of the truncated normal that fills it.
        padded: row 0 stands for padding, whose hidden states a distillation loss may reach; it is not
            trained.
        quantization, part: how the table is quantized, as in `WeightQuantizer`.
    """

    def __init__(
        self,
        rows: int,
        width: int,
        initializer_range: float,
        padded: bool = False,
        quantization: "QuantConfig | None" = None,
        part: str = "embedding",
    ):
        super().__init__()
        self.weight = ms.Parameter(
            initializer(TruncatedNormal(initializer_range), (rows, width)), name="weight"
        )
        self.lookup = PaddedLookup() if padded else P.Gather()
        self.padded = padded
        self.quantize = WeightQuantizer(quantization, part, (rows, width))
        # The other tables are small.
        self.by_row = self.quantize.active and self.quantize.granularity == "row" and part == "embedding"
        # (vocabulary,) of the ids' rows, while the table is narrowed (`OccurringRows`).
        self.places: ms.Parameter | None = None

    @property
    def by_itself(self) -> bool:
        """Whether a row's values depend on no other row."""
        return not self.quantize.active or (self.by_row and not self.quantize.loss_aware)

    def _rows(self, table, ids):
        if self.padded:
            return self.lookup(table, ids)
        return self.lookup(table, ids, 0)

    def construct(self, ids: Tensor) -> Tensor:  # any shape
        if self.places is not None:
            ids = ops.gather(self.places, ids, 0)
        if not self.by_row:
            return self._rows(self.quantize(self.weight), ids)  # ids' shape + (width,)
        # A row's scale is its own: only the rows looked up need be quantized. As a matrix, like the whole
        # table when it is packed: MindSpore adds up the rows of a tensor of three axes in another order,
        # which would give other last bits.
        flat = ids.reshape(-1)
        rows = self._rows(self.weight, flat)
        if self.quantize.loss_aware:
            rows = self.quantize.quantizer(rows, ops.gather(self.quantize.second_moment, flat, 0))
        else:
            rows = self.quantize.quantizer(rows)
        return rows.reshape(*ids.shape, -1)


class CpuLayerNorm(nn.Cell):
    """LayerNorm over the last axis of a 2-D tensor out of operators that graph-kernel fusion knows, with its
    own gradient.

    MindSpore's own CPU kernels are not fused and take several times as long, and its ReduceMean is not fused
    (benchmarks/kernels.py).

    Args:
        width: H. epsilon: added to the variance.
    """

    def __init__(self, width: int, epsilon: float):
        super().__init__()
        self.epsilon = epsilon
        self.share = 1.0 / width
        self.row_sum = P.ReduceSum(keep_dims=True)

    def mean(self, x: Tensor) -> Tensor:
        """(rows, H) -> (rows, 1)."""
        return self.row_sum(x, -1) * self.share

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensors:  # (rows, H), (H,), (H,)
        centred = x - self.mean(x)
        inverse = ops.rsqrt(self.mean(centred * centred) + self.epsilon)  # (rows, 1)
        normed = centred * inverse
        return normed * weight + bias, normed, inverse

    def bprop(self, x: Tensor, weight: Tensor, bias: Tensor, out: Tensors, dout: Tensors) -> Tensors:
        """Gradients of x, weight and bias from the output's."""
        _, normed, inverse = out
        dy = dout[0]
        g = dy * weight
        dx = (g - self.mean(g) - normed * self.mean(g * normed)) * inverse
        return dx, column_sums(dy * normed), column_sums(dy)


class SquareSum(nn.Cell):
    """Sum of x^2 over every element of a float32 tensor, with its own gradient.

    On CPU each row adds up its squares, in one fused pass, and a product with ones adds up the rows. One
    sum over everything is not exact: MindSpore's L2Loss adds up in one float32 number, 0.8 % too small at
    six million elements, and fused code joins two sums in a row into one, off by 1.6e-4 at four million.
    """

    def __init__(self):
        super().__init__()
        self.half = P.L2Loss()
        self.product = P.MatMul()

    def construct(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or not _on_cpu():
            return self.half(x) * 2.0
        rows = (x * x).sum(-1).reshape((1, -1))
        return self.product(rows, ops.ones((rows.shape[1], 1), ms.float32)).reshape(())

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> Tensors:
        """d(sum x^2) = 2 x."""
        return (x * (2.0 * dout),)


square_sum = SquareSum()


class LayerNorm(nn.Cell):
    """LayerNorm over the last axis, in float32."""

    def __init__(self, width: int, epsilon: float):
        super().__init__()
        self.weight = ms.Parameter(initializer("ones", (width,)), name="weight")
        self.bias = ms.Parameter(initializer("zeros", (width,)), name="bias")
        self.on_cpu = _on_cpu()
        self.norm = CpuLayerNorm(width, epsilon) if self.on_cpu else P.LayerNorm(-1, -1, epsilon)

    def construct(self, x: Tensor) -> Tensor:  # (..., H)
        x = ops.cast(x, ms.float32)
        if self.on_cpu:
            rows = x.reshape((-1, x.shape[-1]))
            return self.norm(rows, self.weight, self.bias)[0].reshape(x.shape)
        return self.norm(x, self.weight, self.bias)[0]


def _sixteenth_power(x):
    x = x * x
    x = x * x
    x = x * x
    return x * x


class CpuGelu(nn.Cell):
    """Exact GELU on CPU, x * Phi(x), and its own gradient, out of operators that graph-kernel fusion knows.

    MindSpore's erf and sigmoid kernels are not fused, and the exponential in fused code is off by 1e-4. The
    tail 1 - Phi(u), u >= 0, is 0.5 / p(u)^16 (Abramowitz and Stegun, 26.2.19), so x * Phi(x) = max(x, 0) - u
    tail(u) with u = |x|, at most 8e-7 off in float32; the density is 1 / (sqrt(2 pi) r(u^2)^16) with r(s) the
    minimax polynomial of exp(s / 32). Beyond u = 6 the tail is 1e-9 and counts as constant.
    """

    TAIL = (1.0, 0.0498673470, 0.0211410061, 0.0032776263, 0.0000380036, 0.0000488906, 0.0000053830)
    ROOT = (1.0, 0.03124985575591264, 0.0004884518377468256, 5.0283985604295785e-06, 4.6712886048054515e-08)

    def polynomial(self, coefficients: tuple[float, ...], x: Tensor) -> Tensor:
        """coefficients[0] + coefficients[1] x + ..."""
        total = coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            total = total * x + coefficient
        return total

    def tail(self, size: Tensor) -> Tensor:
        """1 - Phi of values from 0 to 6."""
        return P.RealDiv()(0.5, _sixteenth_power(self.polynomial(self.TAIL, size)))

    def construct(self, x: Tensor) -> Tensor:
        size = ops.minimum(ops.abs(x), 6.0)
        return ops.maximum(x, 0.0) - size * self.tail(size)

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> Tensors:
        """d(x Phi) = Phi + x * density(x)."""
        near = ops.maximum(ops.minimum(x, 6.0), -6.0)
        tail = self.tail(ops.abs(near))
        phi = ops.select(x < 0.0, tail, 1.0 - tail)
        root = _sixteenth_power(self.polynomial(self.ROOT, near * near))
        return (dout * (phi + P.RealDiv()(near * math.sqrt(0.5 / math.pi), root)),)


class Gelu(nn.Cell):
    """x * Phi(x), Phi the normal distribution function: Hugging Face's `gelu`, exact (erf)."""

    def __init__(self):
        super().__init__()
        self.on_cpu = _on_cpu()
        self.cpu = CpuGelu()

    def construct(self, x: Tensor) -> Tensor:
        if self.on_cpu:
            return self.cpu(x)
        half = x * 0.5
        return half + half * ops.erf(x * math.sqrt(0.5))


class GeluNew(nn.Cell):
    """The tanh approximation of GELU: Hugging Face's `gelu_new`, and what MindSpore calls "gelu".

    0.5 (1 + tanh z) = sigmoid(2 z), so one sigmoid replaces the tanh and two passes over the tensor; on CPU
    MindSpore's own kernel of the same function takes longer (benchmarks/kernels.py).
    """

    def construct(self, x: Tensor) -> Tensor:
        slope = 2.0 * math.sqrt(2.0 / math.pi)
        return x * ops.sigmoid(x * (slope + 0.044715 * slope * (x * x)))


class Tanh(nn.Cell):
    """tanh(x) as 2 sigmoid(2 x) - 1: on CPU MindSpore's tanh kernel is off by up to 1e-4, its sigmoid is
    not.
    """

    def construct(self, x: Tensor) -> Tensor:
        return 2.0 * ops.sigmoid(2.0 * x) - 1.0


def activation(name: str) -> nn.Cell:
    """The cell for a `hidden_act` of `BertConfig`."""
    return {"gelu": Gelu, "gelu_new": GeluNew, "relu": nn.ReLU}[name]()


class RelativePositions(nn.Cell):
    """Embeddings of clipped token distances, shared by keys and values of one attention (Shaw et al., arXiv
    1803.02155).

    Args:
        max_distance: distances are clipped to [-max_distance, max_distance].
        width: D, the size of a head.
    """

    def __init__(self, max_distance: int, width: int, initializer_range: float):
        super().__init__()
        self.max_distance = max_distance
        self.weight = ms.Parameter(
            initializer(TruncatedNormal(initializer_range), (2 * max_distance + 1, width)), name="weight"
        )

    def construct(self, length: int) -> Tensor:
        positions = ops.arange(length)
        distance = ops.clamp(
            positions.expand_dims(0) - positions.expand_dims(1), -self.max_distance, self.max_distance
        )
        return ops.gather(self.weight, distance + self.max_distance, 0)  # (S, S, D), [query, key]


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """While this lasts operators run one by one: the same numbers, without a graph that would take longer to
    compile than to run.
    """
    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        yield
    finally:
        ms.set_context(mode=mode)


def quantized_weights(network: nn.Cell) -> "dict[str, Dense | Embedding]":
    """{parameter name in `network`: the cell whose weight it is} of every quantized weight."""
    return {
        f"{name}.weight": cell
        for name, cell in network.cells_and_names()
        if isinstance(cell, (Dense, Embedding)) and cell.quantize.active
    }


def rounded(cell: "Dense | Embedding") -> np.ndarray:
    """What a network computes with for a cell's weight: fake-quantized, as a float32 array."""
    with eager():
        return cell.quantize(cell.weight).asnumpy()


def computed_weights(network: nn.Cell) -> dict[str, np.ndarray]:
    """{parameter name in `network`: float32 array} as the network computes with them: quantized weights
    fake-quantized.
    """
    weights = {name: parameter.asnumpy() for name, parameter in network.parameters_and_names()}
    weights.update({name: rounded(cell) for name, cell in quantized_weights(network).items()})
    return weights


def second_moments(network: nn.Cell) -> list[tuple[ms.Parameter, ms.Parameter]]:
    """[(weight, second moment)] of every weight that is ternarized by the loss: the optimizer keeps its own
    state there.
    """
    return [
        (cell.weight, cell.quantize.second_moment)
        for cell in quantized_weights(network).values()
        if cell.quantize.loss_aware
    ]
