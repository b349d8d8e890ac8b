"""Rows laid out in bins, written out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from src.data.bins import Shape
from src.data.micro_batches import lay_out, totals_of
from src.examples import Column, Examples

LABELS = Column("label_ids", np.int32)
LOGITS = Column("teacher_logits", np.float32)
TAGS = Column("tag_ids", np.int32, "token", fill=-100)
ANSWERS = Column("token_logits", np.float32, "token")
IDS = [10, 11, 20, 30, 31, 32]


@pytest.fixture
def examples():
    """Rows of 2, 1 and 3 tokens."""
    columns = {
        LABELS: np.int32([7, 8, 9]),
        LOGITS: np.float32([[1, 2], [3, 4], [5, 6]]),
        TAGS: np.int32(IDS) + 100,
        ANSWERS: np.stack([np.float32(IDS), -np.float32(IDS)], 1),
    }
    return Examples(np.int32(IDS), np.int32([0, 1, 0, 0, 1, 1]), np.array([0, 2, 3, 6]), columns)


def test_rows_lie_one_after_another_in_their_bins(examples):
    totals = totals_of(examples, [2, 0, 1])
    batch = lay_out(examples, [[2], [0, 1]], Shape(3, 4, 5), totals)
    ids, mask, segments, positions, first = batch.inputs
    assert ids.tolist() == [[30, 31, 32, 0], [10, 11, 20, 0], [0, 0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 2, 0], [0, 0, 0, 0]]
    assert segments.tolist() == [[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert positions.tolist() == [[0, 1, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert first.tolist() == [0, 4, 6, -1, -1]
    assert {array.dtype for array in batch.inputs} == {np.dtype(np.int32)}
    assert batch.rows.tolist() == [2, 0, 1] and batch.lengths.tolist() == [3, 2, 1]
    assert batch.places.tolist() == [0, 1, 2, 4, 5, 6]
    labels, logits, tags, answers = batch.columns
    assert labels.tolist() == [9, 7, 8, 0, 0] and labels.dtype == np.int32
    assert logits.tolist() == [[5, 6], [1, 2], [3, 4], [0, 0], [0, 0]] and logits.dtype == np.float32
    assert tags.tolist() == [[130, 131, 132, -100], [110, 111, 120, -100], [-100] * 4]
    assert answers.shape == (3, 4, 2) and answers[1, 2].tolist() == [20, -20] and not answers[2].any()
    assert batch.arrays[5] is totals and len(batch.arrays) == 10


def test_one_row_fills_its_bin(examples):
    batch = lay_out(examples, [[2]], Shape(1, 3, 1), totals_of(examples, [2]))
    assert batch.inputs[0].tolist() == [[30, 31, 32]] and batch.inputs[4].tolist() == [0]


def test_totals_are_rows_tokens_pairs_and_tokens_with_a_label(examples):
    assert totals_of(examples, [0, 1, 2]).tolist() == [3, 6, 14, 1]  # labels are the rows'
    tags = np.int32([-100, 3, -100, -100, 0, 5])
    tagged = replace(examples, columns={TAGS: tags, ANSWERS: examples.columns[ANSWERS]})
    assert totals_of(tagged, [2, 0]).tolist() == [2, 5, 13, 3] and totals_of(tagged, [0]).dtype == np.float32
    assert totals_of(tagged, [1]).tolist() == [1, 1, 1, 1]  # nothing is divided by 0
    assert totals_of(replace(examples, columns={}), [2]).tolist() == [1, 3, 9, 1]
