"""From a batch to the loss terms of one training stage: frozen teacher, student, projection, layer map.

General distillation, both phases of task distillation and fine-tuning differ only in the `LossTerms` they ask
for.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import mindspore as ms
from mindspore import Tensor, nn, ops

from src.distill import losses
from src.distill.losses import attention_loss, hidden_loss
from src.errors import UserError
from src.nn.bert import same_row
from src.nn.heads import Network
from src.nn.layers import NO_TENSORS, Dense, Tensors

if TYPE_CHECKING:
    from src.kinds.base import TaskKind
    from src.settings.network import BertConfig
    from src.settings.stage import Phase1Config


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """Weights of the loss terms; a term of weight 0 is not computed. The field's name is the term's name in
    every log.
    """

    attention_loss: float = 0.0
    hidden_loss: float = 0.0
    soft_loss: float = 0.0
    label_loss: float = 0.0

    @property
    def compares_layers(self) -> bool:
        """Whether the student's layers are compared with the teacher's."""
        return self.attention_loss > 0 or self.hidden_loss > 0

    @property
    def reaches_logits(self) -> bool:
        """Whether a term fits the logits."""
        return self.soft_loss > 0 or self.label_loss > 0

    def names(self) -> tuple[str, ...]:
        """The terms in use, in order."""
        return tuple(item.name for item in fields(self) if getattr(self, item.name) > 0)

    @classmethod
    def intermediate(cls, config: "Phase1Config", section: str) -> "LossTerms":
        """The attention and hidden terms, as a settings' section switches them on; `section` is its key, for
        messages.

        Raises:
            UserError: it switches on neither.
        """
        terms = cls(attention_loss=float(config.attention_loss), hidden_loss=float(config.hidden_loss))
        if not terms.names():
            raise UserError(
                f"{section}: attention_loss and hidden_loss are both false: there is nothing to learn from"
            )
        return terms


def has_layer_map(student_layers: int, teacher_layers: int) -> bool:
    """Whether the uniform layer map joins these depths: the student's divides the teacher's."""
    return teacher_layers % student_layers == 0


def uniform_layer_map(student_layers: int, teacher_layers: int, section: str = "td_student_net_cfg") -> int:
    """Teacher layers a student layer stands for, g(m) = m x teacher / student (TinyBERT, section 4.1).

    Raises:
        UserError: the teacher's depth is not a multiple of the student's; `section` is the student's key, for
            the message.
    """
    if not has_layer_map(student_layers, teacher_layers):
        raise UserError(
            f"{section}: num_hidden_layers is {student_layers}; the uniform layer map needs a student depth "
            f"that divides the teacher's {teacher_layers} layers"
        )
    return teacher_layers // student_layers


def incomparable(
    terms: LossTerms, student: "BertConfig", teacher: "BertConfig", projected: bool
) -> tuple[str, int, int] | None:
    """What keeps the terms from comparing a student's layers with its teacher's: (name, the student's value,
    the teacher's) of a field, or None. `projected`: a `Projection` stands between their widths.
    """
    heads, widths = terms.attention_loss > 0, terms.hidden_loss > 0 and not projected
    for name, compared in (("num_attention_heads", heads), ("hidden_size", widths)):
        own, other = getattr(student, name), getattr(teacher, name)
        if compared and own != other:
            return name, own, other
    depths = student.num_hidden_layers, teacher.num_hidden_layers
    if terms.compares_layers and not has_layer_map(*depths):
        return "num_hidden_layers", *depths
    return None


def check_comparable(
    terms: LossTerms,
    student: "BertConfig",
    teacher: "BertConfig",
    section: str,
    switch: str,
    projected: bool = True,
) -> None:
    """Refuse a student whose layers the terms cannot compare with its teacher's.

    Args:
        section: the student's key, for messages. switch: the key of what asks for equal heads and widths.
        projected: as of `incomparable`.

    Raises:
        UserError: heads or widths that are compared differ in number, or no uniform layer map joins the
            depths.
    """
    if terms.compares_layers:
        uniform_layer_map(student.num_hidden_layers, teacher.num_hidden_layers, section)
    if found := incomparable(terms, student, teacher, projected):
        name, own, other = found
        raise UserError(
            f"{section}: {name} is {own}, the teacher's is {other}; layers are compared one by one, so both "
            f"must be equal: take another student or teacher, or set {switch} to false"
        )


class Projection(nn.Cell):
    """TinyBERT's learnt W_h of equation 8: student width -> teacher width, one for all layers.

    Starts as the identity where both widths are equal: a student that already resembles its teacher stays so.
    """

    def __init__(self, student_width: int, teacher_width: int, initializer_range: float):
        super().__init__()
        self.fit_dense = Dense(student_width, teacher_width, initializer_range, ms.float32)
        if student_width == teacher_width:
            self.fit_dense.weight.set_data(ops.eye(student_width, student_width, ms.float32))

    def construct(self, x: Tensor) -> Tensor:  # (B, S, student width)
        batch, length, width = x.shape
        return self.fit_dense(x.reshape((batch * length, width))).reshape((batch, length, -1))


class TeacherAnswers(nn.Cell):
    """What some loss terms need of a frozen teacher.

    Args:
        network: without dropout; it gets no gradient.
        terms, logits: what is compared; whether the logits are.
        stride: the layer map, as `uniform_layer_map` gives it.

    Inputs: the first five of a `MicroBatch`'s arrays.

    Outputs: tuple of float32: the hidden states (B, S, H) of the layers that are compared, their attention
        scores (B, heads, S, S), the logits.
    """

    def __init__(self, network: Network, terms: LossTerms, logits: bool, stride: int):
        super().__init__(auto_prefix=False)
        for parameter in network.get_parameters():
            parameter.requires_grad = False
        self.network = network
        self.states = terms.hidden_loss > 0
        self.scores = terms.attention_loss > 0
        self.logits = logits
        self.stride = stride

    def construct(self, *inputs: Tensor) -> Tensors:
        logits, states, scores = self.network(*inputs)
        answers = NO_TENSORS
        if self.states:
            answers += states[:: self.stride]
        if self.scores:
            answers += scores[self.stride - 1 :: self.stride]
        if self.logits:
            answers += (logits,)
        return answers


class Distiller(nn.Cell):
    """Loss terms of a micro-batch: its share of each mean over the rows, tokens or pairs of tokens of the
    whole step, or over its tokens with a label. Padding counts nowhere.

    Args:
        student: the network that learns; a `BertEncoder` has no logits to fit.
        terms: which terms, and their weights.
        projection: of the student's hidden states; None compares them as they are (equal widths).
        kind: names the losses of the soft and label terms; None where neither is used.
        temperature: of the soft cross-entropy.
        cached_logits: the teacher's logits are the batch's last column.

    Inputs: a `MicroBatch`'s arrays (the first column is the labels, unless no term fits logits), then the
        `TeacherAnswers`.

    Outputs:
        The weighted sum, then each unweighted term in the order of `terms.names()`; all float32 scalars.
    """

    def __init__(
        self,
        student: Network,
        terms: LossTerms,
        projection: Projection | None = None,
        kind: "TaskKind | None" = None,
        temperature: float = 1.0,
        cached_logits: bool = False,
    ):
        super().__init__(auto_prefix=False)
        self.student = student
        self.terms = terms
        self.names = terms.names()
        self.weights = tuple(getattr(terms, name) for name in self.names)
        self.picks_tokens = kind is not None and kind.picks_tokens
        self.by_token = kind is not None and kind.logits_per == "token" and not self.picks_tokens
        if kind is not None:
            self.soft_loss = getattr(losses, kind.soft_loss)
            self.label_loss = getattr(losses, kind.label_loss)
        self.temperature = temperature
        self.cached_logits = cached_logits
        self.project = False
        if terms.hidden_loss > 0 and projection is not None:
            self.project = True
            self.projection = projection
        depth = student.config.num_hidden_layers
        self.states = depth + 1 if terms.hidden_loss > 0 else 0
        self.scores = depth if terms.attention_loss > 0 else 0
        self.asks_logits = terms.soft_loss > 0 and not cached_logits

    def ask(self, teacher: Network) -> TeacherAnswers | None:
        """The `TeacherAnswers` of a network for this loss; None where it needs none."""
        if not (self.terms.compares_layers or self.asks_logits):
            return None
        stride = 1
        if self.terms.compares_layers:
            depths = self.student.config.num_hidden_layers, teacher.config.num_hidden_layers
            stride = uniform_layer_map(*depths)
        return TeacherAnswers(teacher, self.terms, self.asks_logits, stride)

    def trained_parameters(self) -> list[ms.Parameter]:
        """The parameters that some loss term reaches: without one on the logits, pooler and classifier stay
        out of the optimizer.

        Weight decay would otherwise shrink them step by step.
        """
        if self.terms.reaches_logits:
            return self.trainable_params()
        heads = [getattr(self.student.bert, "pooler", None), getattr(self.student, "classifier", None)]
        idle = {id(item) for cell in heads if cell is not None for item in cell.get_parameters()}
        return [item for item in self.trainable_params() if id(item) not in idle]

    def _pairs(self, input_mask):
        """float32 (B, 1, S, S): the pairs of tokens whose scores are compared."""
        return (same_row(input_mask) * self._tokens(input_mask)).expand_dims(1)

    def _tokens(self, input_mask):
        """float32 (B, S, 1): the tokens whose states are compared."""
        return ops.cast(input_mask > 0, ms.float32).expand_dims(2)

    def _projected(self, states):
        if not self.project:
            return states
        projected = NO_TENSORS
        for state in states:
            projected += (self.projection(state),)
        return projected

    def _answers(self, logits, batch):
        """The logits that compete with each other along the last axis."""
        return losses.places_of_rows(logits, batch[1], batch[2], batch[4]) if self.picks_tokens else logits

    def _mean(self, values, batch, tokens):
        """The share that these answers' losses have of the mean over the step's rows, or over so many of its
        tokens.
        """
        if self.by_token:
            return (values * self._tokens(batch[1])[:, :, 0]).sum() / tokens
        return (values * ops.cast(batch[4] >= 0, ms.float32)).sum() / batch[5][0]

    def construct(self, *batch: Tensor) -> Tensors:
        input_mask, totals = batch[1], batch[5]
        logits, states, scores = self.student(*batch[:5])
        end = len(batch) - self.asks_logits  # columns, the teacher's states, scores, logits
        teacher_scores = batch[end - self.scores : end]
        columns_end = end - self.scores - self.states
        teacher_states = batch[columns_end : columns_end + self.states]
        values = NO_TENSORS  # in the order of `names`
        if self.terms.attention_loss > 0:
            values += (attention_loss(scores, teacher_scores, self._pairs(input_mask), totals[2]),)
        if self.terms.hidden_loss > 0:
            tokens = self._tokens(input_mask)
            values += (hidden_loss(self._projected(states), teacher_states, tokens, totals[1]),)
        logits = self._answers(logits, batch)
        if self.terms.soft_loss > 0:
            teacher_logits = batch[-1] if self.asks_logits else batch[columns_end - 1]
            teacher_logits = self._answers(teacher_logits, batch)
            value = self.soft_loss(logits, teacher_logits, self.temperature)
            values += (self._mean(value, batch, totals[1]),)
        if self.terms.label_loss > 0:
            values += (self._mean(self.label_loss(logits, batch[6]), batch, totals[3]),)
        total = 0.0
        for weight, value in zip(self.weights, values):
            total = total + weight * value
        return (total,) + values
