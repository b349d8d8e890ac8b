"""How an ONNX graph rounds activations: the network's own quantizers as ONNX operators.

symmetric and ema are QuantizeLinear with a step from the tensor's range, dynamic is DynamicQuantizeLinear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from src.deploy.onnx_nodes import Graph, scalar

if TYPE_CHECKING:
    from src.settings.network import QuantConfig


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

    def __init__(self, graph: Graph, ranges: dict[str, np.ndarray], settings: QuantConfig | None):
        self.graph, self.ranges = graph, ranges
        bits, self.quantizer, self.clip = 32, "", 0.0
        if settings is not None:
            bits, self.quantizer = settings.activation_bits, settings.activation_quantizer
            self.clip = settings.activation_clip_value
        # Whether activations are rounded at all.
        self.active = settings is not None and settings.rounds_activations
        # The largest code; the smallest is as far below 0.
        self.levels = 2 ** (bits - 1) - 1
        # Fixed ranges: constants in place of a maximum over the tensor, and a shorter way through attention.
        self.fixed = self.active and self.quantizer == "ema"

    def quantize(self, x: str, place: str, bounds: tuple[float, float] | None = None) -> Activation:
        """Quantize a tensor as `place`'s quantizer was trained to.

        Args:
            x (str): the tensor.
            place (str): our name of the `ActivationQuantizer`.
            bounds (tuple): what the values lie in, or None.

        Returns:
            Activation.
        """
        clip = self._clip_value(bounds)
        if self.quantizer == "dynamic":
            x = self._clipped(x, clip)
            return Activation(*self.graph.several(3, "DynamicQuantizeLinear", x, name=place))
        return self.codes_of(x, self._step(x, place, clip, bounds), place, clip, bounds)

    def dequantized(self, value: Activation) -> str:
        """The float tensor of an `Activation`."""
        return self.graph.node("DequantizeLinear", *value)

    def rounded(self, x: str, place: str) -> str:
        """x as the network computes with it, in float32."""
        return self.dequantized(self.quantize(x, place)) if self.active else x

    def fixed_step(self, place: str) -> np.float32:
        """The step of a fixed range, float32."""
        return self._threshold(place) / np.float32(self.levels)

    def codes_of(
        self, x: str, step: str, place: str, clip: float = 0.0, bounds: tuple[float, float] | None = None
    ) -> Activation:
        """The `Activation` of x for a step; arguments as in `quantize`, `clip` its clip or 0.

        Codes are uint8 on both sides of attention's products: on processors without VNNI ONNX Runtime's sums
        of uint8 times int8 saturate.
        """
        levels, zero = self.levels, 128
        zero_point = self.graph.constant(np.array(zero, np.uint8))
        codes = self.graph.node("QuantizeLinear", x, step, zero_point, name=place)
        lowest = self._threshold(place) if self.fixed and bounds is not None else clip
        beyond = clip > 0 or self.fixed  # values may lie outside the codes' range
        if beyond and (bounds is None or bounds[0] < -lowest or levels < 127):
            # 8-bit codes saturate above, but one lower than the network's below.
            highest = np.array(zero + levels, np.uint8) if levels < 127 else ""
            codes = self.graph.node("Clip", codes, np.array(zero - levels, np.uint8), highest)
        return Activation(codes, step, zero_point)

    def _step(self, x: str, place: str, clip: float, bounds: tuple[float, float] | None) -> str:
        graph = self.graph
        if self.fixed:
            return graph.constant(self.fixed_step(place), place + ".step")
        size = x if bounds is not None and bounds[0] >= 0 else graph.node("Abs", x)
        largest = graph.node("ReduceMax", size, keepdims=0)
        if clip:
            largest = graph.node("Min", largest, scalar(clip))
        return graph.node("Div", graph.node("Max", largest, scalar(1e-8)), scalar(self.levels))

    def _threshold(self, place: str) -> np.float32:
        value = np.float32(self.ranges[f"{place}.quantizer.threshold"].reshape(()))
        return np.maximum(value, np.float32(1e-8))

    def _clip_value(self, bounds: tuple[float, float] | None) -> float:
        """The clip that can change a value in `bounds`, or 0."""
        clip = 0.0 if self.fixed else self.clip
        return 0.0 if bounds is not None and max(-bounds[0], bounds[1]) < clip else clip

    def _clipped(self, x: str, clip: float) -> str:
        return self.graph.node("Clip", x, scalar(-clip), scalar(clip)) if clip else x
