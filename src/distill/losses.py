"""Distillation losses, each a function of tensors. Shapes as in `src/nn/layers.py`; C is the number of
classes.
"""

from mindspore import ops

from src.nn.layers import square_sum


def mean_of_squares(x):
    """Mean of x^2 over every element."""
    return square_sum(x) * (1.0 / x.size)


def mean_square(x, y):
    """Mean of (x - y)^2 over every element."""
    return mean_of_squares(x - y)


def attention_loss(student_scores, teacher_scores, input_mask):
    """Mean squared error of the attention scores, summed over layers (TinyBERT, arXiv 1909.10351, equation
    7).

    Padding keys carry -10000 in both; they count as equal, so the mean is over all S x S scores but sums only
    real keys.

    Args:
        student_scores, teacher_scores: equally long tuples of float32 (B, heads, S, S), already paired by the
        layer map.
        input_mask: float32 (B, S), 1 on tokens.
    """
    keys = input_mask.expand_dims(1).expand_dims(1)  # (B, 1, 1, S)
    total = 0.0
    for student, teacher in zip(student_scores, teacher_scores):
        total = total + mean_of_squares((student - teacher) * keys)
    return total


def hidden_loss(student_states, teacher_states):
    """Mean squared error of (already projected) hidden states, summed over layers (TinyBERT, equations 8 and
    9).

    Args:
        student_states, teacher_states: equally long tuples of float32 (B, S, H).
    """
    total = 0.0
    for student, teacher in zip(student_states, teacher_states):
        total = total + mean_square(student, teacher)
    return total


def soft_cross_entropy(student_logits, teacher_logits, temperature):
    """-softmax(teacher / t) . log_softmax(student / t), the mean over all B x C logits (TinyBERT, equation
    10).

    The published code takes the mean over logits, not over rows; so do we, for equal learning rates.
    """
    target = ops.softmax(teacher_logits / temperature, -1)
    return -(target * ops.log_softmax(student_logits / temperature, -1)).mean()


def soft_mean_square(student_logits, teacher_logits, temperature):
    """Mean of the squared differences of float32 (B, C) logits: a regression has no temperature."""
    return mean_square(student_logits, teacher_logits)


def label_mean_square(logits, labels):
    """Mean squared error of float32 (B, 1) logits and float32 (B,) labels."""
    return mean_square(logits[:, 0], labels)


def label_cross_entropy(logits, labels):
    """Cross-entropy of float32 (B, C) logits with int32 (B,) labels, the mean over rows."""
    return ops.cross_entropy(logits, labels)
