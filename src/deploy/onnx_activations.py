"""How an ONNX graph rounds activations: the network's own quantizers as ONNX operators.

symmetric and ema are QuantizeLinear with a step from the tensor's range, dynamic is DynamicQuantizeLinear.
"""

from typing import NamedTuple

import numpy as np

from src.deploy.onnx_nodes import scalar


class Activation(NamedTuple):
    """A quantized tensor: names of its codes, their step (a scalar) and zero point."""

    codes: str
    step: str
    zero_point: str


class Rounding:
    """Rounds a network's activations in a graph.

    Args:
        graph (Graph): takes the nodes.
        ranges (dict): the network's weights; those that end in `.quantizer.threshold` are read.
        settings (QuantConfig): of the network, or None.
    """

    def __init__(self, graph, ranges, settings):
        self.graph, self.ranges = graph, ranges
        self.settings = settings if settings is not None and settings.activation_bits < 32 else None
        # Fixed ranges: constants in place of a maximum over the tensor, and a shorter way through attention.
        self.fixed = self.settings is not None and self.settings.activation_quantizer == "ema"

    @property
    def active(self):
        """Whether activations are rounded at all."""
        return self.settings is not None

    @property
    def levels(self):
        """The largest code; the smallest is as far below 0."""
        return 2 ** (self.settings.activation_bits - 1) - 1

    def quantize(self, x, place, bounds=None, signed=False):
        """Quantize a tensor as `place`'s quantizer was trained to.

        Args:
            x (str): the tensor.
            place (str): our name of the `ActivationQuantizer`.
            bounds (tuple): what the values lie in, or None.
            signed (bool): int8 codes around 0 where the quantizer allows: the right operand of an integer
                product.

        Returns:
            Activation.
        """
        clip = self._clip_value(bounds)
        if self.settings.activation_quantizer == "dynamic":
            x = self._clipped(x, clip)
            return Activation(*self.graph.node("DynamicQuantizeLinear", x, name=place, outputs=3))
        return self.codes_of(x, self._step(x, place, clip, bounds), place, clip, bounds, signed)

    def dequantized(self, value):
        """The float tensor of an `Activation`."""
        return self.graph.node("DequantizeLinear", *value)

    def rounded(self, x, place):
        """x as the network computes with it, in float32."""
        return self.dequantized(self.quantize(x, place)) if self.active else x

    def fixed_step(self, place):
        """The step of a fixed range, float32."""
        return self._threshold(place) / np.float32(self.levels)

    def codes_of(self, x, step, place, clip=0.0, bounds=None, signed=False):
        """The `Activation` of x for a step; arguments as in `quantize`, `clip` its clip or 0."""
        levels, kind = self.levels, np.int8 if signed else np.uint8
        zero = 0 if signed else 128
        zero_point = self.graph.constant(np.array(zero, kind))
        codes = self.graph.node("QuantizeLinear", x, step, zero_point, name=place)
        lowest = self._threshold(place) if self.fixed and bounds is not None else clip
        beyond = clip > 0 or self.fixed  # values may lie outside the codes' range
        if beyond and (bounds is None or bounds[0] < -lowest or levels < 127):
            # 8-bit codes saturate above, but one lower than the network's below.
            highest = np.array(zero + levels, kind) if levels < 127 else ""
            codes = self.graph.node("Clip", codes, np.array(zero - levels, kind), highest)
        return Activation(codes, step, zero_point)

    def _step(self, x, place, clip, bounds):
        graph = self.graph
        if self.fixed:
            return graph.constant(self.fixed_step(place), place + ".step")
        size = x if bounds is not None and bounds[0] >= 0 else graph.node("Abs", x)
        largest = graph.node("ReduceMax", size, keepdims=0)
        if clip:
            largest = graph.node("Min", largest, scalar(clip))
        return graph.node("Div", graph.node("Max", largest, scalar(1e-8)), scalar(self.levels))

    def _threshold(self, place):
        value = np.float32(self.ranges[f"{place}.quantizer.threshold"].reshape(()))
        return np.maximum(value, np.float32(1e-8))

    def _clip_value(self, bounds):
        """The clip that can change a value in `bounds`, or 0."""
        clip = 0.0 if self.fixed else self.settings.activation_clip_value
        return 0.0 if bounds is not None and max(-bounds[0], bounds[1]) < clip else clip

    def _clipped(self, x, clip):
        return self.graph.node("Clip", x, scalar(-clip), scalar(clip)) if clip else x
