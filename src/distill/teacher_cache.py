"""The teacher's logits, computed once for all epochs: a frozen teacher without dropout says the same thing
every time.
"""

import numpy as np

from src.data.dataset import Batches
from src.evaluate import predict
from src.examples import Column


def with_logits(teacher, examples, batch_size, boundaries, enable_buckets):
    """`Examples` with a column of the teacher's float32 logits, a row (or token) each.

    Args:
        teacher (Model): without dropout. examples (Examples): the training rows.
        batch_size (int), boundaries (tuple of int), enable_buckets (bool): as in `Batches`.
    """
    column = Column("teacher_logits", np.float32, teacher.description.kind.logits_per)
    batches = Batches(examples, batch_size, boundaries, enable_buckets)
    return examples.with_column(column, predict(teacher, batches, "teacher logits").logits)
