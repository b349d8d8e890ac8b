"""The one BERT: embeddings, encoder, pooler. Teacher and student, float and quantized, are all this backbone.

Parameter names here are the project's own; `src/checkpoint/names.py` maps every other framework's onto them.
No sequence length is baked in: shapes come from the tensors, so one set of weights serves every bucket.
Shapes as in `layers.py`.
"""

import math
from typing import TYPE_CHECKING

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.ops import operations as P

from src.nn.dropout import Dropout
from src.nn.layers import (
    NO_TENSORS,
    ActivationQuantizer,
    Dense,
    Embedding,
    LayerNorm,
    RelativePositions,
    Tanh,
    Tensors,
    activation,
)

if TYPE_CHECKING:
    from src.settings.network import BertConfig, QuantConfig

MASKED_SCORE = -10000.0  # added to the score of a padding token, as in the original BERT


def same_row(input_mask: Tensor) -> Tensor:
    """float32 (B, S, S): 1 where query and key are tokens of one row, by the rows' numbers (B, S).

    Padding looks at the first row, as it does at the only one where rows are padded.
    """
    query, key = ops.maximum(input_mask, 1).expand_dims(2), input_mask.expand_dims(1)
    return ops.cast(query == key, ms.float32)


class Embeddings(nn.Cell):
    """Word + token-type + position embeddings, LayerNorm, dropout."""

    def __init__(self, config: "BertConfig", quantization: "QuantConfig | None"):
        super().__init__()
        width, spread = config.hidden_size, config.initializer_range
        self.word_embeddings = Embedding(
            config.vocab_size, width, spread, padded=True, quantization=quantization
        )
        self.token_type_embeddings = Embedding(
            config.type_vocab_size, width, spread, quantization=quantization, part="rest"
        )
        self.use_positions = not config.use_relative_positions
        if self.use_positions:
            self.position_embeddings = Embedding(
                config.max_position_embeddings, width, spread, quantization=quantization, part="rest"
            )
        self.layer_norm = LayerNorm(width, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def construct(
        self, input_ids: Tensor, segment_ids: Tensor, position_ids: Tensor | None
    ) -> Tensor:  # (B, S) each
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(segment_ids)
        if self.use_positions:
            table = self.position_embeddings
            if position_ids is None:
                x = x + table.quantize(table.weight[: input_ids.shape[1]])
            else:
                x = x + table(position_ids)
        return self.dropout(self.layer_norm(x))  # (B, S, H)


class Attention(nn.Cell):
    """Multi-head self-attention with its output layer, residual and LayerNorm (post-norm, as BERT has it)."""

    def __init__(self, config: "BertConfig", compute_type: ms.Type, quantization: "QuantConfig | None"):
        super().__init__()
        self.heads = config.num_attention_heads
        self.width = config.hidden_size
        self.head_width = self.width // self.heads
        spread = config.initializer_range
        self.query = Dense(self.width, self.width, spread, compute_type, quantization)
        self.key = Dense(self.width, self.width, spread, compute_type, quantization)
        self.value = Dense(self.width, self.width, spread, compute_type, quantization)
        self.output = Dense(self.width, self.width, spread, compute_type, quantization)
        self.quantize_input = ActivationQuantizer(quantization)
        self.quantize_by_head = quantization is not None and quantization.activation_granularity == "head"
        self.quantize_query = ActivationQuantizer(quantization, heads=True)
        self.quantize_key = ActivationQuantizer(quantization, heads=True)
        self.quantize_value = ActivationQuantizer(quantization, heads=True)
        self.quantize_probs = ActivationQuantizer(
            quantization, (0.0, 1.0 / (1.0 - config.attention_probs_dropout_prob)), heads=True
        )
        self.quantize_context = ActivationQuantizer(quantization)
        self.layer_norm = LayerNorm(self.width, config.layer_norm_eps)
        self.probs_dropout = Dropout(config.attention_probs_dropout_prob)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.use_relative_positions = config.use_relative_positions
        if self.use_relative_positions:
            self.relative_positions = RelativePositions(config.max_relative_position, self.head_width, spread)
        self.scale = 1.0 / math.sqrt(self.head_width)
        self.compute_type = compute_type
        self.scores_product = P.BatchMatMul(transpose_b=True)
        self.context_product = P.BatchMatMul()
        self.softmax = P.Softmax(axis=-1)

    def _split_heads(self, x, batch, length):  # (B*S, H)
        # (B, heads, S, D).
        return x.reshape((batch, length, self.heads, self.head_width)).transpose((0, 2, 1, 3))

    def _operand(self, quantize, x, batch, length):
        """x (B*S, H) quantized and split into heads."""
        if self.quantize_by_head:
            return quantize(self._split_heads(x, batch, length))
        return self._split_heads(quantize(x), batch, length)  # here a row is all of a token's heads

    def _by_query(self, x, batch, length):  # (B, heads, S, X) -> (S, B*heads, X)
        return x.transpose((2, 0, 1, 3)).reshape((length, batch * self.heads, -1))

    def _from_query(self, x, batch, length):  # (S, B*heads, X) -> (B, heads, S, X)
        return x.reshape((length, batch, self.heads, -1)).transpose((1, 2, 0, 3))

    def construct(
        self, x: Tensor, added_mask: Tensor, batch: int, length: int
    ) -> tuple[Tensor, Tensor]:  # (B*S, H), (B, 1, 1 or S, S)
        quantized = self.quantize_input(x)
        query = self._operand(self.quantize_query, self.query(quantized), batch, length)
        key = self._operand(self.quantize_key, self.key(quantized), batch, length)
        value = self._operand(self.quantize_value, self.value(quantized), batch, length)
        scores = self.scores_product(query, key)  # (B, heads, S, S)
        if self.use_relative_positions:
            relative = ops.cast(self.relative_positions(length), self.compute_type)  # (S, S, D)
            scores = scores + self._from_query(
                self.scores_product(self._by_query(query, batch, length), relative), batch, length
            )
        scores = ops.cast(scores, ms.float32) * self.scale + added_mask
        probs = ops.cast(self.quantize_probs(self.probs_dropout(self.softmax(scores))), self.compute_type)
        context = self.context_product(probs, value)  # (B, heads, S, D)
        if self.use_relative_positions:
            context = context + self._from_query(
                self.context_product(self._by_query(probs, batch, length), relative), batch, length
            )
        context = context.transpose((0, 2, 1, 3)).reshape((batch * length, self.width))
        output = ops.cast(self.dropout(self.output(self.quantize_context(context))), ms.float32)
        return self.layer_norm(output + x), scores


class FeedForward(nn.Cell):
    """The two position-wise layers with activation, residual and LayerNorm."""

    def __init__(self, config: "BertConfig", compute_type: ms.Type, quantization: "QuantConfig | None"):
        super().__init__()
        spread = config.initializer_range
        self.intermediate = Dense(
            config.hidden_size, config.intermediate_size, spread, compute_type, quantization
        )
        self.output = Dense(config.intermediate_size, config.hidden_size, spread, compute_type, quantization)
        self.quantize_input = ActivationQuantizer(quantization)
        self.quantize_inner = ActivationQuantizer(quantization)
        self.layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.activation = activation(config.hidden_act)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def construct(self, x: Tensor) -> Tensor:  # (B*S, H)
        output = self.output(self.quantize_inner(self.activation(self.intermediate(self.quantize_input(x)))))
        return self.layer_norm(ops.cast(self.dropout(output), ms.float32) + x)


class EncoderLayer(nn.Cell):
    """One transformer layer."""

    def __init__(self, config: "BertConfig", compute_type: ms.Type, quantization: "QuantConfig | None"):
        super().__init__()
        self.attention = Attention(config, compute_type, quantization)
        self.feed_forward = FeedForward(config, compute_type, quantization)

    def construct(self, x: Tensor, added_mask: Tensor, batch: int, length: int) -> tuple[Tensor, Tensor]:
        x, scores = self.attention(x, added_mask, batch, length)
        return self.feed_forward(x), scores


class Encoder(nn.Cell):
    """The stack of layers."""

    def __init__(self, config: "BertConfig", compute_type: ms.Type, quantization: "QuantConfig | None"):
        super().__init__()
        self.layers = nn.CellList(
            [EncoderLayer(config, compute_type, quantization) for _ in range(config.num_hidden_layers)]
        )

    def construct(
        self, x: Tensor, added_mask: Tensor
    ) -> tuple[Tensors, Tensors]:  # (B, S, H), (B, 1, 1 or S, S)
        batch, length, width = x.shape
        hidden_states, all_scores = NO_TENSORS + (x,), NO_TENSORS
        x = x.reshape((batch * length, width))
        for layer in self.layers:
            x, scores = layer(x, added_mask, batch, length)
            hidden_states += (x.reshape((batch, length, width)),)
            all_scores += (scores,)
        return hidden_states, all_scores


class Pooler(nn.Cell):
    """tanh of a dense layer on a row's first token."""

    def __init__(self, config: "BertConfig", compute_type: ms.Type, quantization: "QuantConfig | None"):
        super().__init__()
        self.dense = Dense(
            config.hidden_size, config.hidden_size, config.initializer_range, compute_type, quantization
        )
        self.quantize_input = ActivationQuantizer(quantization)
        self.tanh = Tanh()

    def construct(self, first: Tensor) -> Tensor:  # (B, H)
        return self.tanh(ops.cast(self.dense(self.quantize_input(first)), ms.float32))  # (B, H)


class Bert(nn.Cell):
    """Bidirectional encoder (Devlin et al., arXiv 1810.04805).

    Args:
        config: the architecture.
        compute_type: type of the matrix products.
        quantization: what is quantized; None for nothing.
        pools: whether it has the pooler; a head that answers for tokens reads none.

    Inputs:
        input_ids, input_mask, segment_ids: int32 (B, S); the mask is 0 on padding.
        position_ids, first_tokens: int32 (B, S) and (R,), where rows of the data share the B rows of the
            batch (`MicroBatch`): the mask then numbers the rows inside each, from 1, and attention stays
            inside a row; first_tokens are the places of their first tokens among the B x S, -1 for none.

    Outputs:
        hidden_states: tuple of layers + 1 float32 (B, S, H), the embedding output first.
        attention_scores: tuple of layers float32 (B, heads, S, S), before softmax, -10000 added where the
            key is padding or of another row.
        what a head reads: the pooled output, float32 (B, H), or (R, H); without a pooler the last hidden
            states.
    """

    def __init__(
        self,
        config: "BertConfig",
        compute_type: ms.Type = ms.float32,
        quantization: "QuantConfig | None" = None,
        pools: bool = True,
    ):
        super().__init__()
        self.embeddings = Embeddings(config, quantization)
        self.encoder = Encoder(config, compute_type, quantization)
        self.pools = pools
        if pools:
            self.pooler = Pooler(config, compute_type, quantization)

    def construct(
        self,
        input_ids: Tensor,
        input_mask: Tensor,
        segment_ids: Tensor,
        position_ids: Tensor | None = None,
        first_tokens: Tensor | None = None,
    ) -> tuple[Tensors, Tensors, Tensor]:
        if position_ids is None:
            attended = ops.cast(input_mask, ms.float32).expand_dims(1)  # (B, 1, S)
        else:
            attended = same_row(input_mask)  # (B, S, S)
        added_mask = (1.0 - attended.expand_dims(1)) * MASKED_SCORE
        hidden_states, scores = self.encoder(
            self.embeddings(input_ids, segment_ids, position_ids), added_mask
        )
        read = hidden_states[-1]
        if self.pools:
            if first_tokens is None:
                first = read[:, 0]
            else:
                first = ops.gather(read.reshape((-1, read.shape[-1])), ops.maximum(first_tokens, 0), 0)
            read = self.pooler(first)
        return hidden_states, scores, read
