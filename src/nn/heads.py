"""BERT with a task's head."""

from typing import TYPE_CHECKING

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import initializer

from src.nn.bert import Bert
from src.nn.dropout import Dropout
from src.nn.layers import Dense, LayerNorm, Tensors, activation

if TYPE_CHECKING:
    from src.settings.network import BertConfig, QuantConfig


class BertForSequence(nn.Cell):
    """BERT with a classifier, or with one output for regression, on the pooled first token.

    Args:
        config: the architecture.
        num_labels: outputs; 1 for regression.
        compute_type: type of the matrix products.
        quantization: what is quantized; None for nothing.

    Inputs as of `Bert`.

    Outputs:
        logits float32 (B, num_labels), or (R, num_labels) of packed rows, and `Bert`'s hidden states and
        attention scores.
    """

    pools = True

    def __init__(
        self,
        config: "BertConfig",
        num_labels: int,
        compute_type: ms.Type = ms.float32,
        quantization: "QuantConfig | None" = None,
    ):
        super().__init__()
        self.config = config
        self.quantization = quantization
        self.compute_type = compute_type
        self.num_labels = num_labels
        self.bert = Bert(config, compute_type, quantization, self.pools)
        self.dropout = Dropout(config.head_dropout)
        # A small matrix product that decides everything: it is computed in float32.
        self.classifier = Dense(
            config.hidden_size, num_labels, config.initializer_range, ms.float32, quantization, "rest"
        )

    def construct(
        self,
        input_ids: Tensor,
        input_mask: Tensor,
        segment_ids: Tensor,
        position_ids: Tensor | None = None,
        first_tokens: Tensor | None = None,
    ) -> tuple[Tensor, Tensors, Tensors]:
        hidden_states, scores, read = self.bert(
            input_ids, input_mask, segment_ids, position_ids, first_tokens
        )
        return self.answer(read), hidden_states, scores

    def answer(self, read: Tensor) -> Tensor:
        """The logits of what `Bert` gives the head to read."""
        return self.classify(read)

    def classify(self, read: Tensor) -> Tensor:  # (rows, H) -> (rows, num_labels)
        """Logits of what the head reads: `classifier_relu` is a ReLU before the classifier."""
        if self.config.classifier_relu:
            read = ops.relu(read)
        return self.classifier(self.dropout(read))


class BertForTokens(BertForSequence):
    """A BERT with an answer for every token: the classifier reads the last hidden states, and there is no
    pooler, as in Hugging Face's networks.

    Outputs:
        logits float32 (B, S, num_labels), and `Bert`'s hidden states and attention scores.
    """

    pools = False

    def answer(self, read: Tensor) -> Tensor:  # (B, S, H) -> (B, S, num_labels)
        batch, length, width = read.shape
        return self.classify(read.reshape((batch * length, width))).reshape((batch, length, -1))


class BertEncoder(nn.Cell):
    """BERT without a task's head: what general distillation trains.

    Args:
        config, compute_type: as in `BertForSequence`.

    Outputs:
        pooled states float32 (B, H) in the logits' place, and `Bert`'s hidden states and attention scores.
    """

    def __init__(self, config: "BertConfig", compute_type: ms.Type = ms.float32):
        super().__init__()
        self.config = config
        self.compute_type = compute_type
        self.bert = Bert(config, compute_type)

    def construct(
        self,
        input_ids: Tensor,
        input_mask: Tensor,
        segment_ids: Tensor,
        position_ids: Tensor | None = None,
        first_tokens: Tensor | None = None,
    ) -> tuple[Tensor, Tensors, Tensors]:
        hidden_states, scores, pooled = self.bert(
            input_ids, input_mask, segment_ids, position_ids, first_tokens
        )
        return pooled, hidden_states, scores


class MaskedWords(nn.Cell):
    """What stands at masked places: a dense layer with activation and LayerNorm, then the word embedding as
    the output layer, with a bias of its own.
    """

    def __init__(self, config: "BertConfig", compute_type: ms.Type):
        super().__init__()
        width = config.hidden_size
        self.compute_type = compute_type
        self.dense = Dense(width, width, config.initializer_range, compute_type)
        self.activation = activation(config.hidden_act)
        self.layer_norm = LayerNorm(width, config.layer_norm_eps)
        self.bias = ms.Parameter(initializer("zeros", (config.vocab_size,)), name="bias")
        self.product = ops.MatMul(transpose_b=True)

    def construct(self, tokens: Tensor, words: Tensor) -> Tensor:  # (R, H), (V, H)
        x = self.layer_norm(self.activation(self.dense(tokens)))
        logits = self.product(ops.cast(x, self.compute_type), ops.cast(words, self.compute_type))
        return ops.cast(logits, ms.float32) + self.bias  # (R, V)


class BertForMaskedLM(nn.Cell):
    """BERT as a masked-language model, for inference: logits at the places asked for and nowhere else.

    Args:
        config, compute_type: as in `BertForSequence`.

    Inputs:
        input_ids, input_mask, segment_ids: as of `Bert`.
        places: int32 (R,), of masked tokens among the B x S.

    Outputs:
        logits float32 (R, V).
    """

    def __init__(self, config: "BertConfig", compute_type: ms.Type = ms.float32):
        super().__init__()
        self.config = config
        self.bert = Bert(config, compute_type, pools=False)
        self.predictions = MaskedWords(config, compute_type)

    def construct(self, input_ids: Tensor, input_mask: Tensor, segment_ids: Tensor, places: Tensor) -> Tensor:
        last = self.bert(input_ids, input_mask, segment_ids)[2]
        tokens = ops.gather(last.reshape((-1, last.shape[-1])), places, 0)
        return self.predictions(tokens, self.bert.embeddings.word_embeddings.weight)


HEADS = {"row": BertForSequence, "token": BertForTokens}
"""The networks for a task, by what a `TaskKind` has logits for."""
Network = BertForSequence | BertEncoder
"""One that distillation trains, or learns from."""


class Logits(nn.Cell):
    """A network for a task reduced to its logits, (B, num_labels) or (B, S, num_labels): what evaluation and
    export run.
    """

    def __init__(self, network: BertForSequence):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(
        self,
        input_ids: Tensor,
        input_mask: Tensor,
        segment_ids: Tensor,
        position_ids: Tensor | None = None,
        first_tokens: Tensor | None = None,
    ) -> Tensor:
        return self.network(input_ids, input_mask, segment_ids, position_ids, first_tokens)[0]
