"""How an ONNX graph holds weights: dense layers and embedding tables, in one of three forms.

"float"; "int8", where quantized weights are int8 codes in integer matrix products; "ternary", where ternary
codes lie 5 to a byte and the graph itself unpacks them, by operators on constants that ONNX Runtime computes
once, as the session opens. From there on it is the graph of int8 weights or, of a network without an
integer graph, of float ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
from onnx import TensorProto

from src.deploy.onnx_activations import Activation, Rounding
from src.deploy.onnx_nodes import MICROSOFT, Graph, shape
from src.errors import UserError
from src.quant.packing import digit_table, integer_codes, is_ternary, pack_digits, unpack_symmetric

if TYPE_CHECKING:
    from src.settings.network import BertConfig, QuantConfig
OLDEST_RUNTIME = "1.17"
"""The oldest ONNX Runtime that the graphs were run with."""
_SAMPLE = "bert.encoder.layers.0.attention.query.weight"
"""The weight that stands for all of a network's, which are quantized alike."""


def unpacked(form: str, config: BertConfig, quantization: QuantConfig | None) -> str:
    """The form whose graph a graph of `form` computes: of "ternary" it is "int8" or "float".

    Arguments as in `BertGraph`.
    """
    if form != "ternary":
        return form
    return "int8" if _rounds(quantization) and not config.use_relative_positions else "float"


def _rounds(quantization: QuantConfig | None) -> TypeGuard[QuantConfig]:
    return quantization is not None and quantization.rounds_activations


def obstacle(
    weights: dict[str, np.ndarray], config: BertConfig, quantization: QuantConfig | None, form: str
) -> str:
    """Why a network can have no graph of a form, as one line; "" where it can.

    Arguments as in `BertGraph`.
    """
    if form == "int8" and not _rounds(quantization):
        return (
            "onnx_weights: an ONNX graph of int8 weights needs quantized activations, and this network's "
            "are not quantized: train it with python train.py and activation_bits 8, or export with "
            "--onnx_weights float, or ternary where its weights are"
        )
    if _rounds(quantization) and (
        quantization.activation_quantizer == "minmax" or quantization.activation_granularity != "tensor"
    ):
        return (
            f"the activation quantizer {quantization.activation_quantizer} by "
            f"{quantization.activation_granularity} has no operator in ONNX; train with symmetric (by "
            "tensor), dynamic or ema, or export MINDIR"
        )
    if form == "float":
        return ""
    if form == "int8" and config.use_relative_positions:
        return f"use_relative_positions has no ONNX graph of {form} weights; export with --onnx_weights float"
    if _SAMPLE not in weights:
        return ""
    found = integer_codes(weights[_SAMPLE])
    if found is None:
        return _needs_codes(form, _SAMPLE)
    if form == "ternary" and not is_ternary(found[0]):
        return (
            f"onnx_weights: {_SAMPLE} is not ternary: it has codes beyond -1, 0 and 1; export with "
            f"--onnx_weights {'int8' if _rounds(quantization) else 'float'}"
        )
    return ""


def _needs_codes(form: str, name: str) -> str:
    return (
        f"onnx_weights: an ONNX graph of {form} weights needs quantized ones, but {name} has no integer "
        "codes: it is not quantized, or by min-max; train it with python train.py, or export with "
        "--onnx_weights float"
    )


@dataclass(frozen=True)
class Layer:
    """A dense layer of quantized weights: int8 codes (in, out), a step an output column, float32 bias."""

    codes: np.ndarray
    steps: np.ndarray
    bias: np.ndarray


class Weights:
    """Adds layers with a network's weights to a graph.

    Args:
        graph (Graph): takes the nodes.
        weights (dict): our parameter names -> float32 arrays as the network computes with them.
        rounding (Rounding): of the layers' inputs.
        form (str): "float", "int8" or "ternary".
        integer (bool): the products are of integers.
    """

    def __init__(
        self, graph: Graph, weights: dict[str, np.ndarray], rounding: Rounding, form: str, integer: bool
    ):
        self.graph, self.weights, self.rounding, self.form = graph, weights, rounding, form
        self.integer = integer
        self._digits = ""  # once it is a constant, its name

    def constant(self, name: str) -> str:
        """A weight as it is."""
        return self.graph.constant(self.weights[name], name)

    # --- dense layers ---------------------------------------------------------------------------------------

    def dense(
        self, x: str | Activation, place: str, *names: str, units: Sequence[np.float32] | None = None
    ) -> str:
        """Outputs, side by side, of the dense layers `names` on a tensor x (..., in), quantized as at
        `place`.

        Args:
            x: float, or in integer graphs quantized at `place` already.
            units: what each layer's output is divided by, in integer graphs; default 1.
        """
        if not self.integer:
            assert isinstance(x, str)
            product = self.graph.node("MatMul", self.rounding.rounded(x, place), self.matrix(*names))
            return self.graph.node("Add", product, self.bias(*names))
        value = x if isinstance(x, Activation) else self.rounding.quantize(x, place)
        graph, layer, label = self.graph, self._layer(names, units), names[0]
        return graph.node(
            "MatMulIntegerToFloat",
            value.codes,
            self._stored(layer.codes, label + ".codes"),
            value.step,
            graph.constant(layer.steps, label + ".steps"),
            value.zero_point,
            "",
            graph.constant(layer.bias, label + ".bias"),
            name=label,
            domain=MICROSOFT,
        )

    def matrix(self, *names: str) -> str:
        """The float weights (in, out) of dense layers side by side."""
        if self.form == "ternary":
            layer = self._layer(names)
            return self._dequantized(layer.codes, layer.steps, names[0])
        weight = np.concatenate([self.weights[name + ".weight"] for name in names]).T
        return self.graph.constant(weight, names[0] + ".weight")

    def bias(self, *names: str) -> str:
        """Their biases (out,)."""
        bias = np.concatenate([self.weights[name + ".bias"] for name in names])
        return self.graph.constant(bias, names[0] + ".bias")

    def _layer(self, names: Sequence[str], units: Sequence[np.float32] | None = None) -> Layer:
        """The `Layer` that computes the outputs of all these dense layers side by side, each divided by its
        unit.
        """
        units = units or [np.float32(1)] * len(names)
        parts = [self._codes(name + ".weight") for name in names]
        steps = [np.broadcast_to(steps, len(codes)) / unit for (codes, steps), unit in zip(parts, units)]
        biases = [self.weights[name + ".bias"] / unit for name, unit in zip(names, units)]
        codes = np.concatenate([codes for codes, _ in parts]).T
        return Layer(codes, np.concatenate(steps), np.concatenate(biases))

    def _codes(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """int8 codes and steps of a quantized weight."""
        found = integer_codes(self.weights[name])
        if found is None:
            raise UserError(_needs_codes(self.form, name))
        return found

    # --- embedding tables -----------------------------------------------------------------------------------

    def rows(self, name: str, ids: str) -> str:
        """Rows of an embedding table (..., H), which stays in codes as it is stored."""
        graph, values = self.graph, self.weights[name + ".weight"]
        found = self._table_codes(values)
        if found is None:
            return graph.node("Gather", graph.constant(values, name), ids, name=name)
        codes, steps = found
        rows = graph.node("Gather", self._stored(codes, name + ".codes"), ids, name=name)
        rows = graph.node("Cast", rows, to=TensorProto.FLOAT)
        if len(steps) == 1:
            return graph.node("Mul", rows, steps)
        of_rows = graph.node("Gather", graph.constant(steps[:, None], name + ".steps"), ids)
        return graph.node("Mul", rows, of_rows)

    def table(self, name: str) -> str:
        """A small embedding table (rows, H), whose codes become floats as the session opens."""
        values = self.weights[name + ".weight"]
        found = self._table_codes(values)
        if found is None:
            return self.graph.constant(values, name)
        codes, steps = found
        return self._dequantized(codes, steps[:, None], name)

    def _table_codes(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """int8 codes and steps of a table, or None where it stays in float."""
        found = None if self.form == "float" else integer_codes(values)
        # Codes may give floats back but for the last bit; the float graph has the network's own.
        if found and not self.integer and not np.array_equal(unpack_symmetric(*found), values):
            return None
        return found

    # --- codes ----------------------------------------------------------------------------------------------

    def _stored(self, codes: np.ndarray, name: str) -> str:
        """The name of int8 codes (rows, columns); in "ternary" graphs ternary ones are unpacked from bytes of
        five.
        """
        graph = self.graph
        if self.form != "ternary" or not is_ternary(codes):
            return graph.constant(codes, name)
        self._digits = self._digits or graph.constant(digit_table(), "digits")
        packed = graph.constant(pack_digits(codes.ravel()), name + ".packed")
        found = graph.node("Gather", self._digits, graph.node("Cast", packed, to=TensorProto.INT32))
        if codes.size % 5:  # the last byte is filled up
            found = graph.node("Reshape", found, shape(-1))
            found = graph.node("Slice", found, shape(0), shape(codes.size))
        return graph.node("Reshape", found, shape(*codes.shape), name=name)

    def _dequantized(self, codes: np.ndarray, steps: np.ndarray, name: str) -> str:
        """The name of the floats codes * steps, which are a constant once the session is open."""
        floats = self.graph.node("Cast", self._stored(codes, name + ".codes"), to=TensorProto.FLOAT)
        return self.graph.node("Mul", floats, self.graph.constant(steps, name + ".steps"), name=name)
