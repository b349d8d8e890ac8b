"""A BERT classifier as an ONNX graph, built node by node from what the network computes with.

Three kinds of weights: "float"; "int8", where quantized weights are int8 codes in integer matrix products;
"2bit", where ternary weights lie packed, 4 to a byte, and ONNX Runtime's low-bit kernel multiplies by them.
Activations are quantized as the network was trained. Shapes as in `src/nn/layers.py`; batch and sequence
length are dynamic.
"""

import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from src.deploy.sessions import INPUTS
from src.errors import UserError
from src.quant.packing import integer_codes, pack_2_bits, pack_symmetric

OPSET, OLDEST_ONNX = 21, "1.16"
LARGEST = (1 << 31) - (1 << 20)
"""Bytes of weights in one file: a protocol buffer holds less than 2 GiB."""
MICROSOFT = "com.microsoft"
OLDEST_RUNTIME = {"float": "1.20", "int8": "1.20", "2bit": "1.31"}
"""The oldest ONNX Runtime that graphs of a kind were run with."""
_MASKED = -10000.0
_ACTIVATION_BOUNDS = (-0.1701, np.inf)
"""What GELU, in both forms, and ReLU give."""


def _needs_codes(kind, name):
    return (
        f"onnx_weights: an ONNX graph of {kind} weights needs quantized ones, but {name} has no integer "
        "codes: it is not quantized, or by min-max; train it with python train.py, or export with "
        "--onnx_weights float"
    )


def obstacle(weights, config, quantization, kind):
    """Why a network can have no graph of a kind, as one line; "" where it can. Arguments as in
    `BertGraph`.
    """
    rounds = quantization is not None and quantization.activation_bits < 32
    if kind == "int8" and not rounds:
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
    if kind == "float":
        return ""
    if config.use_relative_positions:
        return f"use_relative_positions has no ONNX graph of {kind} weights; export with --onnx_weights float"
    name = "bert.encoder.layers.0.attention.query.weight"
    return "" if name not in weights or integer_codes(weights[name]) is not None else _needs_codes(kind, name)


class Activation(NamedTuple):
    """A quantized tensor: names of its codes, their step (a scalar) and zero point."""

    codes: str
    step: str
    zero_point: str


@dataclass(frozen=True)
class Layer:
    """A dense layer of quantized weights: int8 codes (in, out), a step an output column, float32 bias."""

    codes: np.ndarray
    steps: np.ndarray
    bias: np.ndarray


class _Graph:
    """Nodes and constants of a graph under construction; its methods return the name of what they add."""

    def __init__(self):
        self.nodes, self.constants, self._known, self._used = [], [], {}, {}

    def _fresh(self, name):
        count = self._used[name] = self._used.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"

    def constant(self, value, name="constant"):
        """A constant; equal small ones are stored once."""
        value = np.asarray(value, order="C")  # ascontiguousarray would turn a scalar into a vector
        key = (value.dtype.str, value.shape, value.tobytes()) if value.size <= 16 else None
        if key in self._known and key is not None:
            return self._known[key]
        fresh = self._fresh(name)
        self.constants.append(numpy_helper.from_array(value, fresh))
        self._known[key] = fresh
        return fresh

    def node(self, operator, *inputs, name="", outputs=1, domain="", **attributes):
        """Add a node; its output's name, or a list of them for several. Inputs that are no names become
        constants; "" leaves one out.
        """
        names = [item if isinstance(item, str) else self.constant(item) for item in inputs]
        made = [self._fresh(name or operator) for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, names, made, name=made[0], domain=domain, **attributes))
        return made[0] if outputs == 1 else made


def _float(value):
    return np.array(value, np.float32)


def _shape(*sizes):
    return np.array(sizes, np.int64)


class BertGraph:
    """Builds the graph of one network.

    Args:
        weights (dict): our parameter names -> float32 arrays, fake-quantized where the network quantizes
            them, moving-average
            ranges included. config (BertConfig): the architecture. quantization (QuantConfig): of the
                activations, or None.
        kind (str): "float", "int8" or "2bit".

    Raises:
        UserError: the network can have no graph of this kind (`obstacle`).
    """

    def __init__(self, weights, config, quantization, kind):
        self.weights, self.config, self.kind = weights, config, kind
        self.quantization = (
            quantization if quantization is not None and quantization.activation_bits < 32 else None
        )
        self.graph = _Graph()
        why = obstacle(weights, config, quantization, kind)
        if why:
            raise UserError(why)
        # Static ranges: constants in place of a maximum over the tensor, and a shorter way through attention.
        self.static = self.quantization is not None and self.quantization.activation_quantizer == "ema"
        # A range taken from a whole tensor needs all of its rows; else the last layer computes only what the
        # pooler reads.
        self.rows_stand_alone = (
            self.quantization is None
            or self.static
            or (kind == "2bit" and self.quantization.activation_bits == 8)
        )

    # --- activations ----------------------------------------------------------------------------------------

    def _clip_value(self, bounds):
        """The clip that can change a value in `bounds`, or 0."""
        settings = self.quantization
        clip = 0.0 if self.static else settings.activation_clip_value
        return 0.0 if bounds is not None and max(-bounds[0], bounds[1]) < clip else clip

    def _clipped(self, x, clip):
        return self.graph.node("Clip", x, _float(-clip), _float(clip)) if clip else x

    def quantize(self, x, place, bounds=None, signed=False):
        """Quantize a tensor as `place`'s quantizer was trained to.

        Args:
            x (str): the tensor. place (str): our name of the `ActivationQuantizer`. bounds: what the values
                lie in, or None.
            signed (bool): int8 codes around 0 where the quantizer allows: the right operand of an integer
                product.

        Returns:
            Activation.
        """
        graph, settings = self.graph, self.quantization
        clip = self._clip_value(bounds)
        if settings.activation_quantizer == "dynamic":
            return Activation(
                *graph.node("DynamicQuantizeLinear", self._clipped(x, clip), name=place, outputs=3)
            )
        levels = 2 ** (settings.activation_bits - 1) - 1
        return self._codes_of(
            x, self._step(x, place, clip, levels, bounds), place, levels, clip, bounds, signed
        )

    def _codes_of(self, x, step, place, levels, clip=0.0, bounds=None, signed=False):
        """The `Activation` of x for a step."""
        graph = self.graph
        lower, zero = (-levels, np.int8(0)) if signed else (128 - levels, np.uint8(128))
        zero = graph.constant(np.array(zero))
        codes = graph.node("QuantizeLinear", x, step, zero, name=place)
        lowest = self._static_threshold(place) if self.static and bounds is not None else clip
        beyond = clip > 0 or self.static  # values may lie outside the codes' range
        if beyond and (bounds is None or bounds[0] < -lowest or levels < 127):
            kind = (
                np.int8 if signed else np.uint8
            )  # 8-bit codes saturate above, but one lower than the network's below
            codes = graph.node(
                "Clip",
                codes,
                np.array(lower, kind),
                np.array(lower + 2 * levels, kind) if levels < 127 else "",
            )
        return Activation(codes, step, zero)

    def _step(self, x, place, clip, levels, bounds):
        graph = self.graph
        if self.static:
            return graph.constant(self._static_step(place, levels), place + ".step")
        size = x if bounds is not None and bounds[0] >= 0 else graph.node("Abs", x)
        largest = graph.node("ReduceMax", size, keepdims=0)
        if clip:
            largest = graph.node("Min", largest, _float(clip))
        return graph.node("Div", graph.node("Max", largest, _float(1e-8)), _float(levels))

    def _static_threshold(self, place):
        return np.maximum(
            np.float32(self.weights[f"{place}.quantizer.threshold"].reshape(())), np.float32(1e-8)
        )

    def _static_step(self, place, levels):
        return self._static_threshold(place) / np.float32(levels)

    def _dequantized(self, value):
        return self.graph.node("DequantizeLinear", *value)

    def fake_quantized(self, x, place, bounds=None):
        """x as the network computes with it, in float32."""
        return self._dequantized(self.quantize(x, place, bounds)) if self.quantization else x

    # --- weights --------------------------------------------------------------------------------------------

    def _codes(self, name):
        """int8 codes and steps of a quantized weight."""
        found = integer_codes(self.weights[name])
        if found is None:
            raise UserError(_needs_codes(self.kind, name))
        return found

    def _layer(self, names, units):
        """The `Layer` that computes the outputs of all these dense layers side by side, each divided by its
        unit.
        """
        parts = [self._codes(name + ".weight") for name in names]
        return Layer(
            np.concatenate([codes for codes, _ in parts]).T,
            np.concatenate(
                [np.broadcast_to(steps, len(codes)) / unit for (codes, steps), unit in zip(parts, units)]
            ),
            np.concatenate([self.weights[name + ".bias"] / unit for name, unit in zip(names, units)]),
        )

    def dense(self, x, place, *names, units=None):
        """Outputs, side by side, of the dense layers `names` on a tensor x (..., in), quantized as at
        `place`.

        Args:
            x (str or Activation): float, or quantized at `place` already. units (list of float): what each
                layer's output is divided by, not in "float" graphs; default 1.
        """
        graph, label = self.graph, names[0]
        if self.kind == "float":
            weight = np.concatenate([self.weights[name + ".weight"] for name in names]).T
            bias = np.concatenate([self.weights[name + ".bias"] for name in names])
            product = graph.node(
                "MatMul", self.fake_quantized(x, place), graph.constant(weight, label + ".weight")
            )
            return graph.node("Add", product, graph.constant(bias, label + ".bias"))
        layer = self._layer(names, units or [np.float32(1)] * len(names))
        if self.kind == "2bit":
            return self._low_bit_product(x, place, layer, label)
        value = x if isinstance(x, Activation) else self.quantize(x, place)
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
        inner, outer = layer.codes.shape
        block = min((16, 32, 64, 128, 256), key=lambda size: (-(-inner // size)) * (size // 4 + 4))
        blocks = -(-inner // block)
        packed = pack_2_bits(layer.codes.T, blocks * block).reshape(outer, blocks, block // 4)
        steps = np.repeat(layer.steps.astype(np.float32), blocks)
        # The kernel rounds its input to 8 bits by blocks itself, where training rounds activations at all
        # (accuracy_level 4).
        level = {"accuracy_level": 4} if self.quantization else {}
        return self.graph.node(
            "MatMulNBits",
            self._within_range(x, place),
            self.graph.constant(packed, label + ".codes"),
            self.graph.constant(steps, label + ".steps"),
            "",
            "",
            self.graph.constant(layer.bias, label + ".bias"),
            name=label,
            domain=MICROSOFT,
            K=inner,
            N=outer,
            bits=2,
            block_size=block,
            **level,
        )

    def _within_range(self, x, place):
        """x as a kernel that rounds to 8 bits itself needs it: clipped as in training, or rounded to fewer
        bits.
        """
        if self.quantization is None:
            return x
        if self.quantization.activation_bits < 8:
            return self.fake_quantized(x, place)
        if self.static:
            return self._clipped(x, float(self.weights[f"{place}.quantizer.threshold"].reshape(())))
        return self._clipped(x, self._clip_value(None))

    def table(self, name, ids, rest=False):
        """Rows of an embedding table (..., H). `rest`: a table that training leaves in float; 2-bit graphs
        store it as 8-bit codes.
        """
        graph, values = self.graph, self.weights[name + ".weight"]
        found = (
            None
            if self.kind == "float"
            else pack_symmetric(values, 8, "row")
            if rest and self.kind == "2bit"
            else None
            if rest
            else integer_codes(values)
        )
        if found is None:
            return graph.node("Gather", graph.constant(values, name), ids, name=name)
        codes, steps = found
        if (
            self.kind == "2bit" and np.abs(codes).max() <= 1 and codes.shape[1] % 4 == 0
        ):  # the operator knows no partly filled byte
            return self._low_bit_rows(codes, steps, ids, name)
        rows = graph.node(
            "Cast",
            graph.node("Gather", graph.constant(codes, name + ".codes"), ids, name=name),
            to=TensorProto.FLOAT,
        )
        scale = (
            graph.node("Gather", graph.constant(steps[:, None], name + ".steps"), ids)
            if len(steps) > 1
            else steps
        )
        return graph.node("Mul", rows, scale)

    def _low_bit_rows(self, codes, steps, ids, name):
        rows, width = codes.shape
        block = min(16 << power for power in range(8) if 16 << power >= width)
        packed = pack_2_bits(codes, width)
        scales = np.broadcast_to(steps, rows).astype(np.float32)[:, None]
        return self.graph.node(
            "GatherBlockQuantized",
            self.graph.constant(packed, name + ".codes"),
            ids,
            self.graph.constant(scales, name + ".steps"),
            name=name,
            domain=MICROSOFT,
            bits=2,
            block_size=block,
            gather_axis=0,
            quantize_axis=1,
        )

    # --- the network ----------------------------------------------------------------------------------------

    def norm(self, name, x, residual=None):
        """LayerNorm of x (+ residual)."""
        graph = self.graph
        scale, bias = (
            graph.constant(self.weights[f"{name}.{part}"], f"{name}.{part}") for part in ("weight", "bias")
        )
        if residual is not None:
            x = graph.node("Add", x, residual)
        return graph.node(
            "LayerNormalization", x, scale, bias, name=name, axis=-1, epsilon=self.config.layer_norm_eps
        )

    def _heads(self, x, order):  # (B, S, H) -> (B, heads, S, D), permuted
        heads, width = (
            self.config.num_attention_heads,
            self.config.hidden_size // self.config.num_attention_heads,
        )
        return self.graph.node(
            "Transpose", self.graph.node("Reshape", x, _shape(0, 0, heads, width)), perm=order
        )

    def _fused_attention(self, x, name):
        """ONNX Runtime's one operator for all of float attention but its output layer."""
        graph, parts = self.graph, [f"{name}.{part}" for part in ("query", "key", "value")]
        weight, bias = (
            np.concatenate([self.weights[f"{part}.{leaf}"] for part in parts]) for leaf in ("weight", "bias")
        )
        return graph.node(
            "Attention",
            x,
            graph.constant(weight.T, name + ".weight"),
            graph.constant(bias, name + ".bias"),
            "input_mask",
            name=name,
            domain=MICROSOFT,
            num_heads=self.config.num_attention_heads,
            mask_filter_value=_MASKED,
        )

    def _product(self, left, right, scale=1.0):
        """left @ right * scale, of two `Activation`s or two float tensors."""
        graph = self.graph
        if isinstance(left, str):
            return graph.node("FusedMatMul", left, right, domain=MICROSOFT, alpha=scale)
        step = left.step if scale == 1.0 else graph.node("Mul", left.step, _float(scale))
        return graph.node(
            "MatMulIntegerToFloat",
            left.codes,
            right.codes,
            step,
            right.step,
            left.zero_point,
            right.zero_point,
            domain=MICROSOFT,
        )

    def _operand(self, x, place, order, signed=False):
        """A quantized (or float) operand of an attention product, split into heads."""
        if self.quantization is None:
            return self._heads(x, order)
        # ONNX Runtime rearranges float graphs around the rounding and expects one type of codes there.
        value = self.quantize(x, place, signed=signed and self.kind != "float")
        if self.kind == "float":
            return self._heads(self._dequantized(value), order)
        return value._replace(codes=self._heads(value.codes, order))

    def _relative_rows(self, name):
        """Embeddings of the clipped token distances, (S, S, D) as [query, key]."""
        graph, furthest = self.graph, self.config.max_relative_position
        length = graph.node("Gather", graph.node("Shape", "input_ids"), np.array(1, np.int64))
        positions = graph.node("Range", np.array(0, np.int64), length, np.array(1, np.int64))
        distance = graph.node(
            "Sub",
            graph.node("Unsqueeze", positions, _shape(0)),
            graph.node("Unsqueeze", positions, _shape(1)),
        )
        row = graph.node(
            "Add",
            graph.node("Clip", distance, np.array(-furthest, np.int64), np.array(furthest, np.int64)),
            np.array(furthest, np.int64),
        )
        return graph.node(
            "Gather",
            graph.constant(self.weights[name + ".relative_positions.weight"], name + ".relative_positions"),
            row,
        )

    def _operands(self, x, name):
        """Query, key and value of x, split into heads."""
        joined = self.dense(
            x, name + ".quantize_input", *(f"{name}.{part}" for part in ("query", "key", "value"))
        )
        query, key, value = self.graph.node(
            "Split", joined, name=name + ".split", outputs=3, axis=-1, num_outputs=3
        )
        return (
            self._operand(query, name + ".quantize_query", (0, 2, 1, 3)),
            self._operand(key, name + ".quantize_key", (0, 2, 3, 1), signed=True),
            self._operand(value, name + ".quantize_value", (0, 2, 1, 3), signed=True),
        )

    def _rows(self, x, first_only):  # (B, S, H), or (B, 1, H) of the first token
        if not first_only:
            return x
        if isinstance(x, Activation):
            return x._replace(codes=self._rows(x.codes, True))
        return self.graph.node("Gather", x, _shape(0), axis=1)

    def _static_operands(self, x, name, first_only):
        """The same with static ranges in fewer operators: key and value come out of one product in units of
        their own steps, so that one operator rounds both, and what is taken apart is codes. `first_only`:
        query of the first token alone.
        """
        graph, levels = self.graph, 2 ** (self.quantization.activation_bits - 1) - 1
        key_step, value_step = (
            self._static_step(f"{name}.quantize_{part}", levels) for part in ("key", "value")
        )
        place = name + ".quantize_input"
        x = self.quantize(x, place) if self.kind == "int8" else x
        query = self.quantize(
            self.dense(self._rows(x, first_only), place, name + ".query"), name + ".quantize_query"
        )
        both = self.dense(x, place, name + ".key", name + ".value", units=[key_step, value_step])
        both = self._codes_of(
            both, graph.constant(_float(1.0)), name + ".quantize_key_value", levels, signed=True
        )
        key, value = graph.node("Split", both.codes, name=name + ".split", outputs=2, axis=-1, num_outputs=2)
        return (
            query._replace(codes=self._heads(query.codes, (0, 2, 1, 3))),
            Activation(self._heads(key, (0, 2, 3, 1)), graph.constant(key_step), both.zero_point),
            Activation(self._heads(value, (0, 2, 1, 3)), graph.constant(value_step), both.zero_point),
        )

    def _joined_heads(self, x):  # (B, heads, S, D) -> (B, S, H)
        return self.graph.node(
            "Reshape",
            self.graph.node("Transpose", x, perm=(0, 2, 1, 3)),
            _shape(0, 0, self.config.hidden_size),
        )

    def attention(self, x, name, added_mask, first_only):
        """Context (B, S, H), or with `first_only` the first token's (B, 1, H), of self-attention on x (B, S,
        H): float, or with static ranges and int8 weights an `Activation`."""
        graph = self.graph
        relative = self._relative_rows(name) if self.config.use_relative_positions else None
        if self.quantization is None and self.kind == "float" and relative is None:
            return self._rows(self._fused_attention(x, name), first_only)
        in_codes = self.static and self.kind != "float"
        query, key, value = (
            self._static_operands(x, name, first_only) if in_codes else self._operands(x, name)
        )
        scale = float(np.float32(1.0 / np.sqrt(self.config.hidden_size // self.config.num_attention_heads)))
        scores = self._product(query, key, scale)
        if relative is not None:
            by_distance = graph.node("Einsum", query, relative, equation="bhqd,qkd->bhqk")
            scores = graph.node("Add", scores, graph.node("Mul", by_distance, _float(scale)))
        probs = graph.node(
            "Softmax",
            graph.node("Add", scores, added_mask, name=name + ".scores"),
            axis=-1,
            name=name + ".probs",
        )
        if self.quantization:
            quantized = self.quantize(probs, name + ".quantize_probs", bounds=(0.0, 1.0))
            probs = self._dequantized(quantized) if self.kind == "float" else quantized
        context = self._product(probs, value)  # (B, heads, S, D)
        if relative is not None:
            context = graph.node(
                "Add", context, graph.node("Einsum", probs, relative, equation="bhqk,qkd->bhqd")
            )
        if in_codes and self.kind == "int8":
            context = self.quantize(context, name + ".quantize_context")
            return context._replace(codes=self._joined_heads(context.codes))
        return self._rows(self._joined_heads(context), first_only and not in_codes)

    def activation(self, x):
        """The inner layer's activation."""
        act = self.config.hidden_act
        if act == "relu":
            return self.graph.node("Relu", x)
        return self.graph.node("Gelu", x, approximate="none" if act == "gelu" else "tanh")

    def encoder_layer(self, x, name, added_mask, first_only):
        """One transformer layer on x (B, S, H); with `first_only` its output is that of the first token, (B,
        1, H).
        """
        attention, forward = name + ".attention", name + ".feed_forward"
        context = self.dense(
            self.attention(x, attention, added_mask, first_only),
            attention + ".quantize_context",
            attention + ".output",
        )
        x = self.norm(attention + ".layer_norm", context, self._rows(x, first_only))
        inner = self.activation(self.dense(x, forward + ".quantize_input", forward + ".intermediate"))
        if self.kind == "int8":
            inner = self.quantize(inner, forward + ".quantize_inner", bounds=_ACTIVATION_BOUNDS)
        return self.norm(
            forward + ".layer_norm", self.dense(inner, forward + ".quantize_inner", forward + ".output"), x
        )

    def embeddings(self):
        """The embedding output (B, S, H)."""
        graph, name = self.graph, "bert.embeddings."
        words = self.table(name + "word_embeddings", "input_ids")
        total = graph.node("Add", words, self.table(name + "token_type_embeddings", "segment_ids", rest=True))
        if not self.config.use_relative_positions:
            length = graph.node("Gather", graph.node("Shape", "input_ids"), np.array(1, np.int64))
            positions = graph.node("Range", np.array(0, np.int64), length, np.array(1, np.int64))
            total = graph.node("Add", total, self.table(name + "position_embeddings", positions, rest=True))
        return self.norm(name + "layer_norm", total)

    def build(self):
        """The graph's nodes and constants; its output is `logits`."""
        graph, config = self.graph, self.config
        mask = graph.node("Cast", "input_mask", to=TensorProto.FLOAT)
        added = graph.node("Mul", graph.node("Sub", _float(1.0), mask), _float(_MASKED))
        added = graph.node("Unsqueeze", added, _shape(1, 2), name="added_mask")  # (B, 1, 1, S)
        x = self.embeddings()
        for layer in range(config.num_hidden_layers):
            last = layer == config.num_hidden_layers - 1
            x = self.encoder_layer(x, f"bert.encoder.layers.{layer}", added, last and self.rows_stand_alone)
        first = graph.node("Gather", x, np.array(0, np.int64), axis=1)  # (B, H)
        pooled = graph.node(
            "Tanh", self.dense(first, "bert.pooler.quantize_input", "bert.pooler.dense"), name="pooled"
        )
        if config.classifier_relu:
            pooled = graph.node("Relu", pooled)
        weight = graph.constant(self.weights["classifier.weight"], "classifier.weight")
        graph.nodes.append(
            helper.make_node(
                "Gemm",
                [pooled, weight, graph.constant(self.weights["classifier.bias"], "classifier.bias")],
                ["logits"],
                name="logits",
                transB=1,
            )
        )
        return graph


def build_model(weights, config, num_labels, quantization, kind, metadata):
    """The checked `onnx.ModelProto` of a network.

    Args:
        weights, config, quantization, kind: as in `BertGraph`. num_labels (int): outputs.
        metadata (dict): {key: JSON value} that travels with the model.

    Raises:
        UserError: as `BertGraph`, or the weights are too large for one file, or the package onnx is too old.

    Inputs of the model: input_ids, input_mask, segment_ids, int32 (batch, sequence). Output: logits float32
    (batch, num_labels).
    """
    if onnx.defs.onnx_opset_version() < OPSET:
        raise UserError(
            f"file_format: onnx {onnx.__version__} knows operators up to opset "
            f"{onnx.defs.onnx_opset_version()}, and these graphs are of opset {OPSET}; pip install "
            f"'onnx>={OLDEST_ONNX}'"
        )
    graph = BertGraph(weights, config, quantization, kind).build()
    size = sum(item.ByteSize() for item in graph.constants)
    if size > LARGEST:
        raise UserError(
            f"file_format: {size:,} bytes of weights are too many for one ONNX file (at most {LARGEST:,})"
        )
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "sequence"]) for name in INPUTS
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", num_labels])]
    proto = helper.make_graph(graph.nodes, "bert", inputs, outputs, graph.constants)
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
        producer_name="bert-distillation",
        ir_version=10,
    )
    helper.set_model_props(
        model,
        {
            key: json.dumps(value, ensure_ascii=False)
            for key, value in {
                **metadata,
                "onnx_weights": kind,
                "oldest_onnxruntime": OLDEST_RUNTIME[kind],
            }.items()
        },
    )
    onnx.checker.check_model(model)
    return model
