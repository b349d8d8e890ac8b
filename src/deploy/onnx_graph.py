"""A BERT with a task's head as an ONNX graph, built node by node from what the network computes with.

Activations are quantized as the network was trained; weights lie in one of the forms of `onnx_weights.py`.
Shapes as in `src/nn/layers.py`; batch and sequence length are dynamic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from src.data.records import TOKEN_COLUMNS
from src.deploy.onnx_activations import Activation, Rounding
from src.deploy.onnx_nodes import MICROSOFT, Graph, scalar, shape
from src.deploy.onnx_weights import Weights, obstacle, unpacked
from src.errors import UserError
from src.nn.bert import MASKED_SCORE

if TYPE_CHECKING:
    from src.settings.network import BertConfig, QuantConfig
_ACTIVATION_BOUNDS = (-0.1701, np.inf)
"""What GELU, in both forms, and ReLU give."""


class BertGraph:
    """Builds the graph of one network.

    Args:
        weights (dict): our parameter names -> float32 arrays, fake-quantized where the network quantizes
            them, moving-average ranges included.
        config (BertConfig): the architecture.
        quantization (QuantConfig): of the activations, or None.
        form (str): of the weights: "float", "int8" or "ternary".
        by_token (bool): the head answers for every token, without a pooler.
        inputs (tuple of str): names of the token ids, the mask and the segments.

    Raises:
        UserError: the network can have no graph of this form (`obstacle`).
    """

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        config: BertConfig,
        quantization: QuantConfig | None,
        form: str,
        by_token: bool = False,
        inputs: tuple[str, ...] = TOKEN_COLUMNS,
    ):
        why = obstacle(weights, config, quantization, form)
        if why:
            raise UserError(why)
        self.config, self.graph = config, Graph()
        self.integer = unpacked(form, config, quantization) == "int8"  # its products are of integers
        self.rounding = Rounding(self.graph, weights, quantization)
        self.layers = Weights(self.graph, weights, self.rounding, form, self.integer)
        self.width = config.hidden_size // config.num_attention_heads  # D, of a head
        self.by_token = by_token
        self.ids, self.mask, self.segments = inputs
        # A range taken from a whole tensor needs all of its rows, as does a head that answers for tokens;
        # else the last layer computes only what the pooler reads.
        rows_stand_alone = not self.rounding.active or self.rounding.fixed
        self.first_of_last = rows_stand_alone and not by_token

    def build(self, outputs: tuple[str, ...] = ("logits",)) -> Graph:
        """The graph's nodes and constants.

        Args:
            outputs (tuple of str): one name for all logits, or, of a head that answers for tokens, one for
                each of its outputs.
        """
        graph, config = self.graph, self.config
        mask = graph.node("Unsqueeze", self.mask, shape(1, 2))  # (B, 1, 1, S)
        added = graph.node("Gather", np.array([MASKED_SCORE, 0.0], np.float32), mask, name="added_mask")
        x = self.embeddings()
        for layer in range(config.num_hidden_layers):
            last = layer == config.num_hidden_layers - 1
            x = self.encoder_layer(x, f"bert.encoder.layers.{layer}", added, last and self.first_of_last)
        if self.by_token:
            self.token_classifier(x, outputs)
        else:
            self.classifier(x)
        return graph

    def embeddings(self) -> str:
        """The embedding output (B, S, H)."""
        graph, layers, name = self.graph, self.layers, "bert.embeddings."
        words = layers.rows(name + "word_embeddings", self.ids)
        types = graph.node("Gather", layers.table(name + "token_type_embeddings"), self.segments)
        total = graph.node("Add", words, types)
        if not self.config.use_relative_positions:
            length = graph.node("Shape", self.ids, start=1, end=2)
            positions = graph.node("Slice", layers.table(name + "position_embeddings"), shape(0), length)
            total = graph.node("Add", total, positions)
        return self.norm(name + "layer_norm", total)

    def encoder_layer(self, x: str, name: str, added_mask: str, first_only: bool) -> str:
        """One transformer layer on x (B, S, H); with `first_only` its output is that of the first token, (B,
        1, H).
        """
        attention, forward, dense = name + ".attention", name + ".feed_forward", self.layers.dense
        context = self.attention(x, attention, added_mask, first_only)
        attended = dense(context, attention + ".quantize_context", attention + ".output")
        x = self.norm(attention + ".layer_norm", attended, self._rows(x, first_only))
        place = forward + ".quantize_inner"
        inner = self.activation(dense(x, forward + ".quantize_input", forward + ".intermediate"))
        read: str | Activation = inner
        if self.integer:
            read = self.rounding.quantize(inner, place, bounds=_ACTIVATION_BOUNDS)
        return self.norm(forward + ".layer_norm", dense(read, place, forward + ".output"), x)

    def classifier(self, x: str) -> None:
        """Add the logits (B, C) of the last hidden state (B, S, H)."""
        graph = self.graph
        first = graph.node("Gather", x, np.array(0, np.int64), axis=1)  # (B, H)
        pooled = self.layers.dense(first, "bert.pooler.quantize_input", "bert.pooler.dense")
        pooled = graph.node("Tanh", pooled, name="pooled")
        if self.config.classifier_relu:
            pooled = graph.node("Relu", pooled)
        weight, bias = (self.layers.constant(f"classifier.{part}") for part in ("weight", "bias"))
        gemm = helper.make_node("Gemm", [pooled, weight, bias], ["logits"], name="logits", transB=1)
        graph.nodes.append(gemm)

    def token_classifier(self, x: str, outputs: tuple[str, ...]) -> None:
        """Add the logits (B, S, C) of the last hidden states (B, S, H), or each output's (B, S) by name."""
        graph, weight = self.graph, self.layers.weights["classifier.weight"].T
        if self.config.classifier_relu:
            x = graph.node("Relu", x)
        product = graph.node("MatMul", x, graph.constant(weight, "classifier.weight"))
        bias = self.layers.constant("classifier.bias")
        if len(outputs) == 1:
            graph.node("Add", product, bias, name=outputs[0])
            return
        logits = graph.node("Add", product, bias)
        for index, name in enumerate(outputs):
            graph.node("Gather", logits, np.array(index, np.int64), axis=2, name=name)

    def norm(self, name: str, x: str, residual: str | None = None) -> str:
        """LayerNorm of x (+ residual)."""
        scale, bias = (self.layers.constant(f"{name}.{part}") for part in ("weight", "bias"))
        if residual is not None:
            x = self.graph.node("Add", x, residual)
        return self.graph.node(
            "LayerNormalization", x, scale, bias, name=name, axis=-1, epsilon=self.config.layer_norm_eps
        )

    def activation(self, x: str) -> str:
        """The inner layer's activation."""
        act = self.config.hidden_act
        if act == "relu":
            return self.graph.node("Relu", x)
        return self.graph.node("Gelu", x, approximate="none" if act == "gelu" else "tanh")

    # --- attention ------------------------------------------------------------------------------------------

    def attention(self, x: str, name: str, added_mask: str, first_only: bool) -> str | Activation:
        """Context of self-attention on x (B, S, H): (B, S, H), or with `first_only` the first token's (B, 1,
        H).

        It is float, or with fixed ranges and int8 weights an `Activation`.
        """
        relative = self._relative_rows(name) if self.config.use_relative_positions else None
        if not self.rounding.active and relative is None:
            return self._rows(self._fused_attention(x, name), first_only)
        in_codes = self.integer and self.rounding.fixed
        if in_codes:
            query, key, value = self._fixed_operands(x, name, first_only)
        else:
            query, key, value = self._operands(x, name)
        probs = self._probabilities(query, key, relative, name, added_mask)
        context = self._product(probs, value)  # (B, heads, S, D)
        if relative is not None:
            by_distance = self.graph.node("Einsum", probs, relative, equation="bhqk,qkd->bhqd")
            context = self.graph.node("Add", context, by_distance)
        if in_codes:
            context = self.rounding.quantize(context, name + ".quantize_context")
            return context._replace(codes=self._joined_heads(context.codes))
        return self._rows(self._joined_heads(context), first_only)

    def _probabilities(self, query, key, relative, name, added_mask):
        """Attention's probabilities (B, heads, S, S), rounded where activations are."""
        graph = self.graph
        scale = float(np.float32(1.0 / np.sqrt(self.width)))
        scores = self._product(query, key, scale)
        if relative is not None:
            by_distance = graph.node("Einsum", query, relative, equation="bhqd,qkd->bhqk")
            scores = graph.node("Add", scores, graph.node("Mul", by_distance, scalar(scale)))
        scores = graph.node("Add", scores, added_mask, name=name + ".scores")
        probs = graph.node("Softmax", scores, axis=-1, name=name + ".probs")
        if not self.rounding.active:
            return probs
        rounded = self.rounding.quantize(probs, name + ".quantize_probs", bounds=(0.0, 1.0))
        return rounded if self.integer else self.rounding.dequantized(rounded)

    def _fused_attention(self, x, name):
        """ONNX Runtime's one operator for all of float attention but its output layer."""
        graph, parts = self.graph, [f"{name}.{part}" for part in ("query", "key", "value")]
        return graph.node(
            "Attention",
            x,
            self.layers.matrix(*parts),
            self.layers.bias(*parts),
            graph.node("Cast", self.mask, to=TensorProto.INT32),
            name=name,
            domain=MICROSOFT,
            num_heads=self.config.num_attention_heads,
            mask_filter_value=MASKED_SCORE,
        )

    def _operands(self, x, name):
        """Query, key and value of x, split into heads."""
        parts = [f"{name}.{part}" for part in ("query", "key", "value")]
        joined = self.layers.dense(x, name + ".quantize_input", *parts)
        query, key, value = self.graph.several(
            3, "Split", joined, name=name + ".split", axis=-1, num_outputs=3
        )
        return (
            self._operand(query, name + ".quantize_query", (0, 2, 1, 3)),
            self._operand(key, name + ".quantize_key", (0, 2, 3, 1)),
            self._operand(value, name + ".quantize_value", (0, 2, 1, 3)),
        )

    def _operand(self, x, place, order):
        """A quantized (or float) operand of an attention product, split into heads."""
        if not self.rounding.active:
            return self._heads(x, order)
        value = self.rounding.quantize(x, place)
        if not self.integer:
            return self._heads(self.rounding.dequantized(value), order)
        return value._replace(codes=self._heads(value.codes, order))

    def _fixed_operands(self, x, name, first_only):
        """Attention's operands with fixed ranges, in fewer operators: key and value come out of one product
        in units of their own steps, so that one operator rounds both, and what is taken apart is codes.

        `first_only`: query of the first token alone.
        """
        graph, dense, rounding = self.graph, self.layers.dense, self.rounding
        steps = [rounding.fixed_step(f"{name}.quantize_{part}") for part in ("key", "value")]
        place = name + ".quantize_input"
        codes = rounding.quantize(x, place)
        product = dense(self._rows(codes, first_only), place, name + ".query")
        query = rounding.quantize(product, name + ".quantize_query")
        product = dense(codes, place, name + ".key", name + ".value", units=steps)
        one = graph.constant(scalar(1.0))
        both = rounding.codes_of(product, one, name + ".quantize_key_value")
        key, value = graph.several(2, "Split", both.codes, name=name + ".split", axis=-1, num_outputs=2)
        return (
            query._replace(codes=self._heads(query.codes, (0, 2, 1, 3))),
            Activation(self._heads(key, (0, 2, 3, 1)), graph.constant(steps[0]), both.zero_point),
            Activation(self._heads(value, (0, 2, 1, 3)), graph.constant(steps[1]), both.zero_point),
        )

    def _product(self, left, right, scale=1.0):
        """left @ right * scale, of two `Activation`s or two float tensors."""
        graph = self.graph
        if isinstance(left, str):
            return graph.node("FusedMatMul", left, right, domain=MICROSOFT, alpha=scale)
        step = left.step if scale == 1.0 else graph.node("Mul", left.step, scalar(scale))
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

    # --- shapes ---------------------------------------------------------------------------------------------

    def _heads(self, x, order):  # (B, S, H) -> (B, heads, S, D), permuted
        x = self.graph.node("Reshape", x, shape(0, 0, self.config.num_attention_heads, self.width))
        return self.graph.node("Transpose", x, perm=order)

    def _joined_heads(self, x):  # (B, heads, S, D) -> (B, S, H)
        x = self.graph.node("Transpose", x, perm=(0, 2, 1, 3))
        return self.graph.node("Reshape", x, shape(0, 0, self.config.hidden_size))

    def _rows(self, x, first_only):  # (B, S, H), or (B, 1, H) of the first token
        if not first_only:
            return x
        if isinstance(x, Activation):
            return x._replace(codes=self._rows(x.codes, True))
        return self.graph.node("Gather", x, shape(0), axis=1)

    # --- positions ------------------------------------------------------------------------------------------

    def _positions(self):
        """0, 1, ... S - 1."""
        graph = self.graph
        length = graph.node("Gather", graph.node("Shape", self.ids), np.array(1, np.int64))
        return graph.node("Range", np.array(0, np.int64), length, np.array(1, np.int64))

    def _relative_rows(self, name):
        """Embeddings of the clipped token distances, (S, S, D) as [query, key]."""
        graph, furthest = self.graph, self.config.max_relative_position
        least, most = np.array(-furthest, np.int64), np.array(furthest, np.int64)
        positions = self._positions()
        keys, queries = (graph.node("Unsqueeze", positions, shape(axis)) for axis in (0, 1))
        distance = graph.node("Sub", keys, queries)
        row = graph.node("Add", graph.node("Clip", distance, least, most), most)
        name += ".relative_positions"
        return graph.node("Gather", graph.constant(self.layers.weights[name + ".weight"], name), row)
