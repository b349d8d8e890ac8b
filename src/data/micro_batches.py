"""What a network is given at once: rows of the data, packed into bins or one to a bin, as arrays of one
shape.

Legend: B bins, S tokens of a bin, R rows of the data that have a place (fewer may be there).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.data.bins import Shape
from src.data.records import TOKEN_COLUMNS
from src.examples import Examples

INPUTS = (*TOKEN_COLUMNS, "position_ids", "first_tokens")
"""What a network reads."""
TOTALS = "totals"


@dataclass(frozen=True)
class MicroBatch:
    """Some rows as arrays, and where they are there."""

    rows: np.ndarray
    """Numbers of the rows."""
    starts: np.ndarray
    """Place of each row's first token among the B x S."""
    lengths: np.ndarray
    """Tokens of each."""
    inputs: tuple[np.ndarray, ...]
    """int32: input_ids (B, S); input_mask (B, S), 0 on padding and else the number of the row inside its
    bin, from 1; segment_ids (B, S); position_ids (B, S), counted inside a row; first_tokens (R,), the
    `starts`, -1 for a row that is not there.
    """
    columns: tuple[np.ndarray, ...]
    """The values of every column: (R, ...) or, of a column per token, (B, S, ...)."""
    totals: np.ndarray
    """float32 (4,): rows, tokens, pairs of tokens of one row, and tokens with a label (at least 1) in the
    whole step, of which this is a part: what mean losses are divided by.
    """

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All that a `Distiller` reads."""
        return (*self.inputs, self.totals, *self.columns)

    @property
    def places(self) -> np.ndarray:
        """Where the tokens of all rows are among the B x S, row by row."""
        before = np.cumsum(self.lengths) - self.lengths
        return np.arange(self.lengths.sum()) + np.repeat(self.starts - before, self.lengths)


def totals_of(examples: Examples, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """The `totals` of a step of the rows of these numbers."""
    lengths, labelled = examples.lengths[rows], examples.labelled[rows].sum()
    return np.array([len(lengths), lengths.sum(), (lengths**2).sum(), max(labelled, 1)], np.float32)


def lay_out(
    examples: Examples, bins: Sequence[Sequence[int]], shape: Shape, totals: np.ndarray
) -> MicroBatch:
    """The `MicroBatch` of some rows.

    Args:
        examples: all rows. bins: numbers of the rows in each bin, at most `shape.bins`. shape: of the arrays.
            totals: of the step.
    """
    rows = np.array([row for rows in bins for row in rows], np.int64)
    lengths = examples.lengths[rows]
    starts, numbers, place = [], [], 0
    for index, held in enumerate(bins):
        place = index * shape.length
        for number in range(1, len(held) + 1):
            starts.append(place)
            numbers.append(number)
            place += lengths[len(starts) - 1]
    batch = MicroBatch(rows, np.array(starts, np.int64), lengths, (), (), totals)
    places, taken = batch.places, examples.take(rows)

    def spread(values: np.ndarray, fill: float = 0, dtype: type = np.int32) -> np.ndarray:
        array: np.ndarray = np.full((shape.tokens, *values.shape[1:]), fill, dtype)
        array[places] = values
        return array.reshape((shape.bins, shape.length, *values.shape[1:]))

    first = np.full(shape.rows, -1, np.int32)
    first[: len(rows)] = batch.starts
    positions = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    inputs = (
        spread(taken.input_ids),
        spread(np.repeat(numbers, lengths)),
        spread(taken.segment_ids),
        spread(positions),
        first,
    )
    columns = []
    for column, values in taken.columns.items():
        if column.per == "token":
            columns.append(spread(values, column.fill, column.dtype))
            continue
        filled: np.ndarray = np.zeros((shape.rows, *values.shape[1:]), column.dtype)
        filled[: len(rows)] = values
        columns.append(filled)
    return MicroBatch(batch.rows, batch.starts, lengths, inputs, tuple(columns), totals)
