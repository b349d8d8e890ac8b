"""Distillation losses, each a function of tensors. Shapes as in `src/nn/layers.py`; C is the number of
classes.

Losses of logits give a value for each answer: (R,) of (R, C), or (B, S) of (B, S, C). Their mean is the
`Distiller`'s matter, for the rows of a step may come in several micro-batches.

Where outputs point at places, an answer's start and end, the tokens of a row compete: `places_of_rows` gives
(R, C, S) of (B, S, C).
"""

from mindspore import Tensor, ops

from src.nn.layers import Tensors, square_sum


def attention_loss(student_scores: Tensors, teacher_scores: Tensors, pairs: Tensor, count: Tensor) -> Tensor:
    """Mean squared error of the attention scores, summed over layers (TinyBERT, arXiv 1909.10351, equation
    7).

    Args:
        student_scores, teacher_scores: equally long tuples of float32 (B, heads, S, S), already paired by the
            layer map.
        pairs: float32, broadcast to (B, 1, S, S): 1 where a query and a key count, 0 elsewhere.
        count: float32 scalar, the pairs that the mean is over; those of other micro-batches of the step too.
    """
    total = 0.0
    for student, teacher in zip(student_scores, teacher_scores):
        total = total + square_sum((student - teacher) * pairs)
    return total / (count * student_scores[0].shape[1])


def hidden_loss(student_states: Tensors, teacher_states: Tensors, tokens: Tensor, count: Tensor) -> Tensor:
    """Mean squared error of (already projected) hidden states, summed over layers (TinyBERT, equations 8 and
    9).

    Args:
        student_states, teacher_states: equally long tuples of float32 (B, S, H).
        tokens: float32 (B, S, 1): 1 where a token counts, 0 elsewhere.
        count: float32 scalar, the tokens that the mean is over, as in `attention_loss`.
    """
    total = 0.0
    for student, teacher in zip(student_states, teacher_states):
        total = total + square_sum((student - teacher) * tokens)
    return total / (count * student_states[0].shape[-1])


def soft_cross_entropy(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """-softmax(teacher / t) . log_softmax(student / t), the mean over each answer's C logits (TinyBERT,
    equation 10).

    The published code takes the mean over logits, not over rows; so do we, for equal learning rates.
    """
    target = ops.softmax(teacher_logits / temperature, -1)
    return -(target * ops.log_softmax(student_logits / temperature, -1)).mean(-1)


def soft_mean_square(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Mean squared difference of each answer's C logits: a regression has no temperature."""
    return ops.square(student_logits - teacher_logits).mean(-1)


def label_mean_square(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared error of float32 (R, 1) logits and float32 (R,) labels."""
    return ops.square(logits[:, 0] - labels)


def label_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of float32 (R, C) logits with int32 (R,) labels, each row's."""
    return ops.cross_entropy(logits, labels, reduction="none")


def label_cross_entropy_of_tokens(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of float32 (B, S, C) logits with int32 (B, S) labels, each token's; 0 where the label is
    -1: [CLS], [SEP], padding.
    """
    values = ops.cross_entropy(
        logits.reshape((-1, logits.shape[-1])), labels.reshape((-1,)), ignore_index=-1, reduction="none"
    )
    return values.reshape(labels.shape)


_NO_PLACE = -1e9  # far below any logit, and finite: its share is exactly 0 and 0 times it no nan


def places_of_rows(logits: Tensor, input_mask: Tensor, segment_ids: Tensor, first_tokens: Tensor) -> Tensor:
    """float32 (R, C, S): the logits of each row's own tokens from its first one on, for those that may be an
    answer: [CLS] and the second text. The others, as the question and [SEP], have logits of no weight.

    Args:
        logits: float32 (B, S, C). input_mask, segment_ids, first_tokens: of a `MicroBatch`; all of a row that
            is not there are alike.
    """
    bins, width, outputs = logits.shape
    steps, first = ops.arange(width + 1), ops.maximum(first_tokens, 0).expand_dims(1)
    places = ops.minimum(first + steps, bins * width - 1)  # (R, S + 1)
    numbers = ops.gather(input_mask.reshape((-1,)), places, 0)
    own = ops.logical_and(first % width + steps < width, numbers == numbers[:, :1])
    followed = ops.logical_and(own[:, :-1], own[:, 1:])  # by a token of the row: all but its last, [SEP]
    second = ops.gather(segment_ids.reshape((-1,)), places[:, :-1], 0) == 1
    inside = ops.cast(ops.logical_and(followed, second), logits.dtype)
    # By numbers: a choice by a condition that is broadcast took [CLS] for no place in fused code on CPU.
    answers = ops.maximum(inside, ops.cast(steps[:-1] == 0, logits.dtype)).expand_dims(1)  # (R, 1, S)
    gathered = ops.gather(logits.reshape((bins * width, outputs)), places[:, :-1], 0).transpose((0, 2, 1))
    return gathered * answers + _NO_PLACE * (1.0 - answers)


def soft_cross_entropy_of_places(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float
) -> Tensor:
    """-softmax(teacher / t) . log_softmax(student / t) over the S places, the mean over the C outputs of
    float32 (R, C, S). A sum over places, not a mean as over classes: their number says how long a row is.
    """
    target = ops.softmax(teacher_logits / temperature, -1)
    return -(target * ops.log_softmax(student_logits / temperature, -1)).sum(-1).mean(-1)


def label_cross_entropy_of_places(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of float32 (R, C, S) logits with int32 (R, C) places, the mean over the C outputs."""
    return -ops.gather_elements(ops.log_softmax(logits, -1), 2, labels.expand_dims(2)).mean((1, 2))
