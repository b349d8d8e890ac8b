"""Rows as flat arrays: choosing and joining them, with a value a row and a value a token."""

from dataclasses import replace

import numpy as np
import pytest

from src.examples import Column, Examples, concatenate, filled_up, offsets_of

LABEL = Column("label_ids", np.int32, fill=-1)
TAG = Column("tag_ids", np.int32, per="token", fill=-100)
SCORE = Column("score", np.float32)
ROWS = [[10, 11, 12], [20], [], [30, 31]]


def examples(rows=ROWS, first=0, columns=(LABEL, TAG, SCORE)):
    """Rows whose label is their number, tags the ids and 1000, score half the number."""
    ids = np.array([token for row in rows for token in row], np.int32)
    numbers = np.arange(first, first + len(rows))
    values = {LABEL: numbers.astype(np.int32), TAG: ids + 1000, SCORE: (numbers / 2).astype(np.float32)}
    lengths = np.array([len(row) for row in rows], np.int64)
    return Examples(ids, ids % 2, offsets_of(lengths), {column: values[column] for column in columns})


def rows_of(found):
    """[(tokens, segments, tags)] of each row, as lists."""
    arrays = (found.input_ids, found.segment_ids, found.columns[TAG])
    bounds = list(zip(found.offsets[:-1], found.offsets[1:]))
    return [tuple(array[start:end].tolist() for array in arrays) for start, end in bounds]


def test_offsets_are_where_rows_start_and_the_last_one_ends():
    found = offsets_of([3, 1, 0, 2])
    assert found.dtype == np.int64 and found.tolist() == [0, 3, 4, 4, 6]
    assert offsets_of([]).tolist() == [0]


def test_length_and_lengths():
    found = examples()
    assert len(found) == 4 and found.lengths.tolist() == [3, 1, 0, 2]
    assert found.lengths is found.lengths  # every batch asks
    assert replace(found, offsets=offsets_of([6])).lengths.tolist() == [6]


@pytest.mark.parametrize("rows", [[3, 0], [1, 1, 2, 1], (0, 1, 2, 3), np.array([2]), []])
def test_take_gives_the_rows_asked_for_with_their_values_and_their_tokens_values(rows):
    found = examples().take(rows)
    assert len(found) == len(rows) and found.offsets.dtype == np.int64
    assert rows_of(found) == [
        (ROWS[row], [token % 2 for token in ROWS[row]], [token + 1000 for token in ROWS[row]]) for row in rows
    ]
    assert found.columns[LABEL].tolist() == list(rows) and found.columns[LABEL].dtype == np.int32
    assert found.columns[SCORE].tolist() == [row / 2 for row in rows]
    assert found.input_ids.dtype == np.int32 and found.columns[SCORE].dtype == np.float32


def test_arrays_are_filled_up_with_their_first_row():
    assert filled_up(np.array([[1, 2], [3, 4]]), 4).tolist() == [[1, 2], [3, 4], [1, 2], [1, 2]]
    assert filled_up(np.array([5, 6]), 2).tolist() == [5, 6]


def test_concatenate_joins_rows_in_order():
    parts = [examples(ROWS[:2]), examples(ROWS[2:3], 2), examples(ROWS[3:], 3)]
    whole, expected = concatenate(parts), examples()
    assert rows_of(whole) == rows_of(expected) and whole.offsets.tolist() == [0, 3, 4, 4, 6]
    for column in (LABEL, TAG, SCORE):
        np.testing.assert_array_equal(whole.columns[column], expected.columns[column])
        assert whole.columns[column].dtype == column.dtype


def test_rows_of_which_nothing_is_known_are_chosen_and_joined_too():
    bare = examples(columns=())
    assert bare.take([3, 1]).columns == {}
    assert concatenate([bare, bare]).columns == {} and len(concatenate([bare, bare])) == 8


def test_labels_are_the_values_of_the_only_column():
    assert examples(columns=(LABEL,)).labels.tolist() == [0, 1, 2, 3]
    assert examples(columns=(SCORE,)).labels.tolist() == [0, 0.5, 1, 1.5]
    for columns in ((), (LABEL, TAG)):
        with pytest.raises(ValueError):
            _ = examples(columns=columns).labels  # of none or several none is the one


def test_one_more_column_leaves_the_rows_as_they_were():
    logits = Column("teacher_logits", np.float32)
    values = np.arange(8, dtype=np.float32).reshape(4, 2)
    rows = examples(columns=(LABEL,))
    found = rows.with_column(logits, values)
    assert list(found.columns) == [LABEL, logits] and list(rows.columns) == [LABEL]
    np.testing.assert_array_equal(found.take([3, 1]).columns[logits], [[6, 7], [2, 3]])
    states = Column("states", np.float32, per="token")
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    found = rows.with_column(states, values)
    np.testing.assert_array_equal(found.take([1, 3]).columns[states], [[6, 7], [8, 9], [10, 11]])
    np.testing.assert_array_equal(concatenate([found, found]).columns[states], np.concatenate([values] * 2))
