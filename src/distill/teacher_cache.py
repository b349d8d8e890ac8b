"""The teacher's logits, computed once for all epochs: a frozen teacher without dropout says the same thing
every time.
"""

from src.data.dataset import Batches
from src.evaluate import predict


def teacher_logits(teacher, examples, batch_size, boundaries, enable_buckets):
    """float32 (rows, C) logits of every training row, in the rows' order.

    Args:
        teacher (Model): without dropout. examples (Examples): the training rows.
        batch_size (int), boundaries (tuple of int), enable_buckets (bool): as in `Batches`.
    """
    return predict(
        teacher, Batches(examples, batch_size, boundaries, enable_buckets), "teacher logits"
    ).logits
