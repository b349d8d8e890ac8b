"""From a batch to the loss terms of one training stage: frozen teacher, student, projection, layer map.

General distillation, both phases of task distillation and fine-tuning differ only in the `LossTerms` they ask
for.
"""

from dataclasses import dataclass, fields

import mindspore as ms
from mindspore import nn, ops

from src.distill import losses
from src.distill.losses import attention_loss, hidden_loss
from src.errors import UserError
from src.nn.layers import Dense


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
    def compares_layers(self):
        """Whether the student's layers are compared with the teacher's."""
        return self.attention_loss > 0 or self.hidden_loss > 0

    @property
    def reaches_logits(self):
        """Whether a term fits the logits."""
        return self.soft_loss > 0 or self.label_loss > 0

    def names(self):
        """The terms in use, in order."""
        return tuple(item.name for item in fields(self) if getattr(self, item.name) > 0)

    @classmethod
    def intermediate(cls, config, section):
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


def uniform_layer_map(student_layers, teacher_layers, section="td_student_net_cfg"):
    """Teacher layers a student layer stands for, g(m) = m x teacher / student (TinyBERT, section 4.1).

    Raises:
        UserError: the teacher's depth is not a multiple of the student's; `section` is the student's key, for
            the message.
    """
    if teacher_layers % student_layers:
        raise UserError(
            f"{section}.num_hidden_layers: the uniform layer map needs a student depth that divides the "
            f"teacher's {teacher_layers} layers, not {student_layers}"
        )
    return teacher_layers // student_layers


class Projection(nn.Cell):
    """TinyBERT's learnt W_h of equation 8: student width -> teacher width, one for all layers.

    Starts as the identity where both widths are equal: a student that already resembles its teacher stays so.
    """

    def __init__(self, student_width, teacher_width, initializer_range):
        super().__init__()
        self.fit_dense = Dense(student_width, teacher_width, initializer_range, ms.float32)
        if student_width == teacher_width:
            self.fit_dense.weight.set_data(ops.eye(student_width, student_width, ms.float32))

    def construct(self, x):  # (B, S, student width)
        batch, length, width = x.shape
        return self.fit_dense(x.reshape((batch * length, width))).reshape((batch, length, -1))


class Distiller(nn.Cell):
    """Loss terms of a batch.

    Args:
        student (BertForSequence or BertEncoder): the network that learns; the latter has no logits to fit.
        terms (LossTerms): which terms, and their weights.
        teacher (BertForSequence or BertEncoder): needed by the attention and hidden terms, and by the soft
            term unless its logits come with the batch. It gets no gradient; its config must have no dropout.
        projection (Projection): of the student's hidden states; None compares them as they are (equal
            widths).
        kind (TaskKind): names the losses of the soft and label terms; None where neither is used.
        temperature (float): of the soft cross-entropy.
        cached_logits (bool): the batch has a fifth tensor, the teacher's logits (B, C).

    Inputs:
        input_ids, input_mask, segment_ids: int32 (B, S); labels: int32 (B,) or, for regression, float32 (B,),
        unless no term fits logits;
        teacher_logits: float32 (B, C), only with cached_logits.

    Outputs:
        The weighted sum, then each unweighted term in the order of `terms.names()`; all float32 scalars.
    """

    def __init__(
        self, student, terms, teacher=None, projection=None, kind=None, temperature=1.0, cached_logits=False
    ):
        super().__init__(auto_prefix=False)
        self.student = student
        self.terms = terms
        self.names = terms.names()
        if kind is not None:
            self.soft_loss = getattr(losses, kind.soft_loss)
            self.label_loss = getattr(losses, kind.label_loss)
        self.temperature = temperature
        self.cached_logits = cached_logits
        self.run_teacher = terms.compares_layers or (terms.soft_loss > 0 and not cached_logits)
        if self.run_teacher:
            for parameter in teacher.get_parameters():
                parameter.requires_grad = False
            self.teacher = teacher
        if terms.compares_layers:
            self.stride = uniform_layer_map(
                student.config.num_hidden_layers, teacher.config.num_hidden_layers
            )
        self.project = terms.hidden_loss > 0 and projection is not None
        if self.project:
            self.projection = projection

    def trained_parameters(self):
        """The parameters that some loss term reaches: without one on the logits, pooler and classifier stay
        out of the optimizer.

        Weight decay would otherwise shrink them step by step.
        """
        if self.terms.reaches_logits:
            return self.trainable_params()
        heads = [
            self.student.bert.pooler,
            *([self.student.classifier] if hasattr(self.student, "classifier") else []),
        ]
        idle = {id(item) for cell in heads for item in cell.get_parameters()}
        return [item for item in self.trainable_params() if id(item) not in idle]

    def construct(self, input_ids, input_mask, segment_ids, labels=None, teacher_logits=None):
        logits, states, scores = self.student(input_ids, input_mask, segment_ids)
        teacher_states, teacher_scores = (), ()
        if self.run_teacher:
            computed_logits, teacher_states, teacher_scores = self.teacher(input_ids, input_mask, segment_ids)
            if not self.cached_logits:
                teacher_logits = computed_logits
        total, values = 0.0, ()
        if self.terms.attention_loss > 0:
            value = attention_loss(
                scores,
                ops.stop_gradient(teacher_scores[self.stride - 1 :: self.stride]),
                ops.cast(input_mask, ms.float32),
            )
            total, values = total + self.terms.attention_loss * value, values + (value,)
        if self.terms.hidden_loss > 0:
            if self.project:
                projected = ()
                for state in states:
                    projected += (self.projection(state),)
                states = projected
            value = hidden_loss(states, ops.stop_gradient(teacher_states[:: self.stride]))
            total, values = total + self.terms.hidden_loss * value, values + (value,)
        if self.terms.soft_loss > 0:
            value = self.soft_loss(logits, ops.stop_gradient(teacher_logits), self.temperature)
            total, values = total + self.terms.soft_loss * value, values + (value,)
        if self.terms.label_loss > 0:
            value = self.label_loss(logits, labels)
            total, values = total + self.terms.label_loss * value, values + (value,)
        return (total,) + values
