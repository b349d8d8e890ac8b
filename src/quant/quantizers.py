"""Fake quantization: tensors in float32 that hold only values a low-bit code can represent.

Every quantizer's gradient is straight-through (Bengio et al., arXiv 1308.3432): rounding counts as the
identity, and where a clip is set, values outside it get no gradient. "Rows" are along the last axis; a head
is the last two axes of a 4-D tensor. `build_quantizer` makes any of them from its settings.
"""

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.ops import operations as P

GRANULARITIES = ("tensor", "row", "head")
_EPSILON = 1e-8  # keeps the range of a constant tensor from being 0


class _Reduction(nn.Cell):
    """One of the reductions over a whole tensor, each row, or each head; dimensions are kept."""

    def __init__(self, operator: nn.Cell | ops.Primitive, granularity: str):
        super().__init__()
        self.reduce = operator
        self.granularity = granularity

    def construct(self, x: Tensor) -> Tensor:
        if self.granularity == "row":
            return self.reduce(x, -1)
        if self.granularity == "head":
            return self.reduce(x.reshape((x.shape[0], x.shape[1], 1, -1)), -1)
        # Row by row first: a reduction over everything at once takes several times as long on CPU.
        rows = x.reshape((x.shape[0], -1)) if x.ndim > 2 else x.reshape((-1, x.shape[-1]))
        return self.reduce(self.reduce(rows, -1), 0).reshape((1,) * x.ndim)


class Round(nn.Cell):
    """Nearest integer, halves to even, of |x| < 2^22.

    On CPU two additions that push the fraction out of float32's 24 bits and back: the rounding operator takes
    twice as long, and graph-kernel fusion fails on it (AKG wants one input, MindSpore 2.10 gives it two).
    """

    SHIFT = 1.5 * 2**23

    def __init__(self):
        super().__init__()
        self.by_addition = ms.get_context("device_target") == "CPU"

    def construct(self, x: Tensor) -> Tensor:
        return (x + self.SHIFT) - self.SHIFT if self.by_addition else ops.round(x)


def _maximum(granularity: str) -> _Reduction:
    return _Reduction(P.ReduceMax(keep_dims=True), granularity)


class _Smallest(nn.Cell):
    """Minimum over one axis, kept, as a maximum: graph-kernel fusion on CPU knows no minimum."""

    def __init__(self):
        super().__init__()
        self.largest = P.ReduceMax(keep_dims=True)

    def construct(self, x: Tensor, axis: int) -> Tensor:
        return -self.largest(-x, axis)


def _minimum(granularity: str) -> _Reduction:
    return _Reduction(_Smallest(), granularity)


class _Sum(nn.Cell):
    """Sum over one axis, kept. On CPU rows' sums are added up by a product with ones: fused code would join
    both sums into one, which is off by 1e-4 for millions of values.
    """

    def __init__(self):
        super().__init__()
        self.by_product = ms.get_context("device_target") == "CPU"
        self.sum, self.product = P.ReduceSum(keep_dims=True), P.MatMul()

    def construct(self, x: Tensor, axis: int) -> Tensor:
        if axis == 0 and self.by_product:
            return self.product(ops.ones((1, x.shape[0]), ms.float32), x)
        return self.sum(x, axis)


class Quantizer(nn.Cell):
    """What all of them share: the clip, and the straight-through gradient.

    Args:
        granularity (str): "tensor", "row" or "head": what shares one scale.
        clip (float): values are clipped to [-clip, clip] first; 0 leaves them.

    Inputs:
        x: float32, any shape (4-D for "head").

    Outputs:
        The quantized values, float32 of x's shape.
    """

    def __init__(self, granularity: str = "tensor", clip: float = 0.0):
        super().__init__()
        if granularity not in GRANULARITIES:
            raise ValueError(f"granularity must be one of {', '.join(GRANULARITIES)}, not {granularity}")
        self.granularity = granularity
        self.clip = float(clip)

    def clipped(self, x: Tensor) -> Tensor:
        """x within the clip."""
        if self.clip > 0:
            return ops.clamp(x, -self.clip, self.clip)
        return x

    def straight_through(self, x: Tensor, dout: Tensor) -> Tensor:
        """The gradient of x for the output's."""
        if self.clip > 0:
            return dout * ops.cast(ops.abs(x) < self.clip, dout.dtype)
        return dout

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
        """Gradient of x."""
        return (self.straight_through(x, dout),)


class _Ternary(Quantizer):
    """What both ternary quantizers share: sizes, thresholds, codes."""

    def __init__(self, granularity: str = "row", clip: float = 0.0):
        super().__init__(granularity, clip)
        self.divide = P.RealDiv()  # the operator `/` stands for is not fused on CPU
        self.sum = _Reduction(_Sum(), granularity)

    def sizes(self, x: Tensor) -> Tensor:
        """|x| within the clip, which changes no sign and so needs no clipped x."""
        size = ops.abs(x)
        return ops.minimum(size, self.clip) if self.clip > 0 else size

    def mean(self, x: Tensor) -> Tensor:
        """Mean of what shares a scale; MindSpore's ReduceMean is not fused on CPU."""
        total = self.sum(x)
        return total * (total.size / x.size)

    def kept(self, size: Tensor, threshold: Tensor) -> Tensor:
        """1 where the size exceeds the threshold, else 0."""
        return ops.cast(ops.maximum(threshold, _EPSILON) < size, ms.float32)

    def signed(self, x: Tensor, alpha: Tensor, kept: Tensor) -> Tensor:
        """alpha with x's sign where `kept` is 1, else 0."""
        return ops.select(x < 0.0, -kept, kept) * alpha


class TernaryWeights(_Ternary):
    """TWN (Li et al., arXiv 1605.04711): alpha x {-1, 0, 1} with threshold 0.7 mean|x| and alpha the mean of
    what exceeds it.
    """

    def construct(self, x: Tensor) -> Tensor:
        size = self.sizes(x)
        kept = self.kept(size, 0.7 * self.mean(size))
        return self.signed(x, self.divide(self.sum(size * kept), ops.maximum(self.sum(kept), 1.0)), kept)


class LossAwareTernary(_Ternary):
    """LAT (Hou and Kwok, arXiv 1802.08635): the ternary tensor nearest to x in the metric of the loss's
    curvature.

    Minimizes sum(d (x - alpha b)^2) over alpha > 0 and b in {-1, 0, 1}, d the square root of the optimizer's
    second moment as in TernaryBERT (arXiv 2009.12812, section 3.1.1), by turns: b keeps what exceeds alpha /
    2, alpha = sum(d b |x|) / sum(d b). It starts from TWN's threshold. Where the second moment is 0
    everywhere (before the first step) it counts as equal.

    Args:
        granularity, clip: as in `Quantizer`. rounds (int): turns; the paper's approximate solution takes few.

    Inputs:
        x: float32. second_moment: float32 of x's shape, not negative.
    """

    def __init__(self, granularity: str = "row", clip: float = 0.0, rounds: int = 3):
        super().__init__(granularity, clip)
        self.rounds = rounds

    def construct(self, x: Tensor, second_moment: Tensor) -> Tensor:
        size = self.sizes(x)
        # Relative to its mean, so that the small number added neither vanishes nor rules.
        root = ops.sqrt(second_moment)
        metric = root * self.divide(1.0, self.mean(root) + 1e-30) + 1e-3
        weighted = metric * size
        kept = self.kept(size, 0.7 * self.mean(size))
        for _ in range(self.rounds):
            kept = self.kept(size, 0.5 * self.alpha(weighted, metric, kept))
        return self.signed(x, self.alpha(weighted, metric, kept), kept)

    def alpha(self, weighted: Tensor, metric: Tensor, kept: Tensor) -> Tensor:
        """The best scale of what is kept."""
        return self.divide(self.sum(weighted * kept), ops.maximum(self.sum(metric * kept), 1e-30))

    def bprop(  # type: ignore[override]  # it takes what `construct` takes, which is more here
        self, x: Tensor, second_moment: Tensor, out: Tensor, dout: Tensor
    ) -> tuple[Tensor, ...]:
        """Gradients of x and, none, of the second moment."""
        return self.straight_through(x, dout), ops.zeros_like(second_moment)


class SymmetricUniform(Quantizer):
    """2^bits - 1 evenly spaced values around 0, the outermost at max|x|.

    x is divided by the step, which takes longer than a product with its reciprocal, because that is what
    ONNX's QuantizeLinear does: codes at the border between two values then come out the same where the model
    runs.

    Args:
        bits (int): 2 to 8. granularity, clip: as in `Quantizer`. nonnegative (bool): x never holds negative
            values.
    """

    def __init__(self, bits: int, granularity: str = "tensor", clip: float = 0.0, nonnegative: bool = False):
        super().__init__(granularity, clip)
        self.levels = float(2 ** (bits - 1) - 1)
        self.nonnegative = nonnegative
        self.max = _maximum(granularity)
        self.round = Round()
        self.divide = P.RealDiv()

    def construct(self, x: Tensor) -> Tensor:
        largest = self.max(x if self.nonnegative else ops.abs(x))
        if self.clip > 0:
            largest = ops.minimum(largest, self.clip)
        step = ops.maximum(largest, _EPSILON) / self.levels
        codes = self.divide(x, step)
        if self.clip > 0:
            codes = ops.clamp(codes, -self.levels, self.levels)
        return self.round(codes) * step


class MinMaxUniform(Quantizer):
    """2^bits evenly spaced values from min(x) to max(x)."""

    def __init__(self, bits: int, granularity: str = "tensor", clip: float = 0.0):
        super().__init__(granularity, clip)
        self.levels = float(2**bits - 1)
        self.max, self.min = _maximum(granularity), _minimum(granularity)
        self.round = Round()

    def construct(self, x: Tensor) -> Tensor:
        x = self.clipped(x)
        low = self.min(x)
        width = self.max(x) - low + _EPSILON
        return self.round((x - low) / width * self.levels) / self.levels * width + low


class DynamicUnsigned(Quantizer):
    """ONNX's DynamicQuantizeLinear and its dequantization: unsigned 8 bits, a range with 0 in it, an integer
    zero point.
    """

    def __init__(self, clip: float = 0.0):
        super().__init__("tensor", clip)
        self.max, self.min = _maximum("tensor"), _minimum("tensor")
        self.round = Round()

    def construct(self, x: Tensor) -> Tensor:
        x = self.clipped(x)
        low = ops.minimum(self.min(x), 0.0)
        scale = (ops.maximum(self.max(x), 0.0) - low) / 255.0
        scale = ops.select(scale == 0, ops.ones_like(scale), scale)  # all zeros: any scale represents them
        zero_point = ops.clamp(self.round(-low / scale), 0.0, 255.0)
        # Clamped before the zero point is added rather than after: the same numbers, one operation fewer. x /
        # scale, not x * (1 / scale), is what the operator computes.
        codes = ops.clamp(self.round(x / scale), -zero_point, 255.0 - zero_point)
        return codes * scale


class _StaticUniform(Quantizer):
    """`SymmetricUniform` for a given outermost value; what lies beyond is clamped but keeps its gradient, as
    in Q8BERT.
    """

    def __init__(self, bits: int):
        super().__init__("tensor")
        self.levels = float(2 ** (bits - 1) - 1)
        self.round = Round()
        self.divide = P.RealDiv()

    def construct(self, x: Tensor, threshold: Tensor) -> Tensor:
        step = ops.maximum(threshold, _EPSILON) / self.levels
        return self.round(ops.clamp(self.divide(x, step), -self.levels, self.levels)) * step

    def bprop(  # type: ignore[override]  # as of `LossAwareTernary`
        self, x: Tensor, threshold: Tensor, out: Tensor, dout: Tensor
    ) -> tuple[Tensor, ...]:
        """Gradients of x and, none, of the threshold."""
        return dout, ops.zeros_like(threshold)


class MovingAverageRange(nn.Cell):
    """Static symmetric quantization whose range is a moving average of max|x| over training steps (Q8BERT,
    arXiv 1910.06188).

    Until `start_step` training passes x through unchanged; at that step the range starts as max|x|.
    Evaluation uses the range as it is; 0 means that it was never calibrated, which `calibrated` tells.
    Processes that train together take the mean of their max|x|.

    Args:
        bits (int): 2 to 8. decay (float): of the average. start_step (int): training steps before
            quantization starts.
    """

    def __init__(self, bits: int = 8, decay: float = 0.9999, start_step: int = 0):
        super().__init__()
        self.threshold = ms.Parameter(ms.Tensor([0.0], ms.float32), name="threshold", requires_grad=False)
        self.steps = ms.Parameter(ms.Tensor([0], ms.int32), name="steps", requires_grad=False)
        self.decay = float(decay)
        self.start_step = int(start_step)
        self.max = _maximum("tensor")
        self.quantize = _StaticUniform(bits)
        self.group_size = ms.get_auto_parallel_context("device_num")
        if self.group_size > 1:
            self.sum_over_group = P.AllReduce()  # of the reductions, CPU has only the sum

    def construct(self, x: Tensor) -> Tensor:
        if self.training:
            largest = self.max(ops.abs(ops.stop_gradient(x))).reshape((1,))
            if self.group_size > 1:
                largest = self.sum_over_group(largest) / self.group_size
            average = self.threshold - (1.0 - self.decay) * (self.threshold - largest)
            begun = ops.cast(self.steps >= self.start_step, ms.float32)
            fresh = ops.cast(self.threshold <= 0, ms.float32)
            threshold = begun * (fresh * largest + (1.0 - fresh) * average)
            stored = ops.assign(self.threshold, threshold)
            counted = ops.assign_add(self.steps, ops.ones_like(self.steps))
            threshold = ops.depend(ops.depend(threshold, stored), counted)
            if self.start_step == 0:
                return self.quantize(x, threshold)
            return ops.select(begun.reshape((1,) * x.ndim) > 0, self.quantize(x, threshold), x)
        return self.quantize(x, self.threshold)

    def calibrated(self) -> bool:
        """Whether training has set the range."""
        return float(self.threshold.asnumpy()[0]) > 0


def use_rounding_operator(network: nn.Cell) -> None:
    """Make every quantizer in `network` round by the operator, for a graph that will run elsewhere:
    `Round`'s additions need float32.
    """
    for _, cell in network.cells_and_names():
        if isinstance(cell, Round):
            cell.by_addition = False


def build_quantizer(
    kind: str,
    bits: int,
    granularity: str = "tensor",
    clip: float = 0.0,
    decay: float = 0.9999,
    start_step: int = 0,
    bounds: tuple[float, float] | None = None,
) -> Quantizer | MovingAverageRange | None:
    """The quantizer cell for its settings, or None for 32 bits.

    Args:
        kind (str): "twn", "lat", "symmetric", "minmax", "dynamic" or "ema".
        bits (int): a `QuantConfig`'s, which has those that the kind can have.
        bounds ((float, float)): what the values are known to lie in. A clip beyond them would change nothing
            and is left out.

    Raises:
        ValueError: an unknown kind.
    """
    if bits == 32:
        return None
    nonnegative = bounds is not None and bounds[0] >= 0
    if bounds is not None and max(-bounds[0], bounds[1]) < clip:
        clip = 0.0
    if kind == "ema":
        return MovingAverageRange(bits, decay, start_step)
    if kind == "dynamic":
        return DynamicUnsigned(clip)
    if kind in ("twn", "lat"):
        return {"twn": TernaryWeights, "lat": LossAwareTernary}[kind](granularity, clip)
    if kind == "symmetric":
        return SymmetricUniform(bits, granularity, clip, nonnegative)
    if kind == "minmax":
        return MinMaxUniform(bits, granularity, clip)
    raise ValueError(f"unknown quantizer '{kind}'")
