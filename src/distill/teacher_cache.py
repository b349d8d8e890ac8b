"""The teacher's logits, computed once for all epochs: a frozen teacher without dropout says the same thing
every time.
"""

import numpy as np

from src.evaluate import predict
from src.examples import Column


def with_logits(teacher, batches):
    """The `Examples` of some batches with a column of the teacher's float32 logits, a row (or token) each.

    Args:
        teacher (Model): without dropout. batches (Batches or PackedRows): of the training rows.
    """
    column = Column("teacher_logits", np.float32, teacher.description.kind.logits_per)
    return batches.examples.with_column(column, predict(teacher, batches, "teacher logits").logits)
