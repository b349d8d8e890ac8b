"""How an ONNX graph holds weights: dense layers and embedding tables, in one of three forms.

"float"; "int8", where quantized weights are int8 codes in integer matrix products; "2bit", where ternary
weights lie packed, 4 to a byte, and ONNX Runtime's low-bit kernel multiplies by them.
"""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from src.deploy.onnx_activations import Activation
from src.deploy.onnx_nodes import MICROSOFT
from src.errors import UserError
from src.quant.packing import integer_codes, pack_2_bits, pack_symmetric

OLDEST_RUNTIME = {"float": "1.20", "int8": "1.20", "2bit": "1.31"}
"""The forms, each with the oldest ONNX Runtime that its graphs were run with."""


def obstacle(weights, config, quantization, form):
    """Why a network can have no graph of a form, as one line; "" where it can.

    Arguments as in `BertGraph`.
    """
    rounds = quantization is not None and quantization.activation_bits < 32
    if form == "int8" and not rounds:
        return (
            "onnx_weights: an ONNX graph of int8 weights needs quantized activations, and this network's "
            "are not quantized: train it with python train.py and activation_bits 8, or export with "
            "--onnx_weights 2bit or float"
        )
    if rounds and (
        quantization.activation_quantizer == "minmax" or quantization.activation_granularity != "tensor"
    ):
        return (
            f"the activation quantizer {quantization.activation_quantizer} by "
            f"{quantization.activation_granularity} has no operator in ONNX; train with symmetric (by "
            "tensor), dynamic or ema, or export MINDIR"
        )
    if form == "float":
        return ""
    if config.use_relative_positions:
        return f"use_relative_positions has no ONNX graph of {form} weights; export with --onnx_weights float"
    name = "bert.encoder.layers.0.attention.query.weight"
    return "" if name not in weights or integer_codes(weights[name]) is not None else _needs_codes(form, name)


def _needs_codes(form, name):
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
        form (str): "float", "int8" or "2bit".
    """

    def __init__(self, graph, weights, rounding, form):
        self.graph, self.weights, self.rounding, self.form = graph, weights, rounding, form

    def constant(self, name):
        """A weight as it is."""
        return self.graph.constant(self.weights[name], name)

    # --- dense layers ---------------------------------------------------------------------------------------

    def dense(self, x, place, *names, units=None):
        """Outputs, side by side, of the dense layers `names` on a tensor x (..., in), quantized as at
        `place`.

        Args:
            x (str or Activation): float, or quantized at `place` already.
            units (list of float): what each layer's output is divided by, not in "float" graphs; default 1.
        """
        if self.form == "float":
            return self._float_product(x, place, names)
        layer = self._layer(names, units or [np.float32(1)] * len(names))
        if self.form == "2bit":
            return self._low_bit_product(x, place, layer, names[0])
        return self._integer_product(x, place, layer, names[0])

    def _float_product(self, x, place, names):
        weight = np.concatenate([self.weights[name + ".weight"] for name in names]).T
        bias = np.concatenate([self.weights[name + ".bias"] for name in names])
        x = self.rounding.rounded(x, place)
        product = self.graph.node("MatMul", x, self.graph.constant(weight, names[0] + ".weight"))
        return self.graph.node("Add", product, self.graph.constant(bias, names[0] + ".bias"))

    def _integer_product(self, x, place, layer, label):
        graph = self.graph
        value = x if isinstance(x, Activation) else self.rounding.quantize(x, place)
        return graph.node(
            "MatMulIntegerToFloat",
            value.codes,
            graph.constant(layer.codes, label + ".codes"),
            value.step,
            graph.constant(layer.steps, label + ".steps"),
            value.zero_point,
            "",
            graph.constant(layer.bias, label + ".bias"),
            name=label,
            domain=MICROSOFT,
        )

    def _low_bit_product(self, x, place, layer, label):
        if np.abs(layer.codes).max() > 1:
            raise UserError(
                f"{label} is not ternary: 2-bit ONNX graphs hold ternary weights; export with "
                "--onnx_weights int8"
            )
        graph, (inner, outer) = self.graph, layer.codes.shape
        block = min((16, 32, 64, 128, 256), key=lambda size: (-(-inner // size)) * (size // 4 + 4))
        blocks = -(-inner // block)
        packed = pack_2_bits(layer.codes.T, blocks * block).reshape(outer, blocks, block // 4)
        steps = np.repeat(layer.steps.astype(np.float32), blocks)
        # The kernel rounds its input to 8 bits by blocks itself, where training rounds activations at all
        # (accuracy_level 4).
        level = {"accuracy_level": 4} if self.rounding.active else {}
        return graph.node(
            "MatMulNBits",
            self.rounding.within_range(x, place),
            graph.constant(packed, label + ".codes"),
            graph.constant(steps, label + ".steps"),
            "",
            "",
            graph.constant(layer.bias, label + ".bias"),
            name=label,
            domain=MICROSOFT,
            K=inner,
            N=outer,
            bits=2,
            block_size=block,
            **level,
        )

    def _layer(self, names, units):
        """The `Layer` that computes the outputs of all these dense layers side by side, each divided by its
        unit.
        """
        parts = [self._codes(name + ".weight") for name in names]
        steps = [np.broadcast_to(steps, len(codes)) / unit for (codes, steps), unit in zip(parts, units)]
        biases = [self.weights[name + ".bias"] / unit for name, unit in zip(names, units)]
        codes = np.concatenate([codes for codes, _ in parts]).T
        return Layer(codes, np.concatenate(steps), np.concatenate(biases))

    def _codes(self, name):
        """int8 codes and steps of a quantized weight."""
        found = integer_codes(self.weights[name])
        if found is None:
            raise UserError(_needs_codes(self.form, name))
        return found

    # --- embedding tables -----------------------------------------------------------------------------------

    def table(self, name, ids, rest=False):
        """Rows of an embedding table (..., H).

        `rest`: a table that training leaves in float; 2-bit graphs store it as 8-bit codes.
        """
        graph, values = self.graph, self.weights[name + ".weight"]
        found = self._table_codes(values, rest)
        if found is None:
            return graph.node("Gather", graph.constant(values, name), ids, name=name)
        codes, steps = found
        whole_bytes = codes.shape[1] % 4 == 0  # the operator knows no partly filled one
        if self.form == "2bit" and np.abs(codes).max() <= 1 and whole_bytes:
            return self._low_bit_rows(codes, steps, ids, name)
        rows = graph.node("Gather", graph.constant(codes, name + ".codes"), ids, name=name)
        rows = graph.node("Cast", rows, to=TensorProto.FLOAT)
        if len(steps) > 1:
            steps = graph.node("Gather", graph.constant(steps[:, None], name + ".steps"), ids)
        return graph.node("Mul", rows, steps)

    def _table_codes(self, values, rest):
        """int8 codes and steps of a table, or None where it stays in float."""
        if self.form == "float":
            return None
        if not rest:
            return integer_codes(values)
        return pack_symmetric(values, 8, "row") if self.form == "2bit" else None

    def _low_bit_rows(self, codes, steps, ids, name):
        rows, width = codes.shape
        block = min(16 << power for power in range(8) if 16 << power >= width)
        scales = np.broadcast_to(steps, rows).astype(np.float32)[:, None]
        return self.graph.node(
            "GatherBlockQuantized",
            self.graph.constant(pack_2_bits(codes, width), name + ".codes"),
            ids,
            self.graph.constant(scales, name + ".steps"),
            name=name,
            domain=MICROSOFT,
            bits=2,
            block_size=block,
            gather_axis=0,
            quantize_axis=1,
        )
