"""Rows of tokens and what is known about them, as flat arrays. Legend: N rows, T tokens of all rows
together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Optional

import numpy as np


@dataclass(frozen=True)
class Column:
    """What a kind of task keeps of a row besides its tokens: labels, tags, answer positions."""

    name: str
    """In record files, as `label_ids`."""
    dtype: type
    """np.int32 or np.float32."""
    per: str = "row"
    """"row": one value a row; "token": one value a token."""
    fill: float = 0
    """The value of what has no label: a row of a test set, a padding token."""
    width: int = 1
    """Values of a row (or token)."""


@dataclass(frozen=True)
class Origin:
    """Which characters rows were made from, for kinds whose answers are parts of a text."""

    rows: np.ndarray
    """int64 (N,): which text a row is of, ascending; a long text gives several rows, its windows."""
    spans: np.ndarray
    """int32 (T, 2): first character of the text that a token stands for, and the one after the last; -1, -1
    for a token of none, as [CLS] and a question's.
    """
    texts: tuple[dict[str, Any], ...] = ()
    """A dict a text, as its kind reads it: the characters, the right answers; () where nobody needs them."""


@dataclass(frozen=True)
class Examples:
    """Rows of different lengths as flat arrays; row i is `[offsets[i]:offsets[i + 1]]`."""

    input_ids: np.ndarray
    """int32 (T,)"""
    segment_ids: np.ndarray
    """int32 (T,), 0 or 1"""
    offsets: np.ndarray
    """int64 (N + 1,)"""
    columns: dict[Column, np.ndarray] = field(default_factory=dict)
    """{Column: array (N, ...) or, of a column per token, (T, ...)}; {} where nothing is known about the
    rows.
    """
    origin: Optional[Origin] = None
    """None where nobody asks for it."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each row: int64 (N,)."""
        return np.diff(self.offsets)

    @property
    def labels(self) -> np.ndarray:
        """The values of the only column.

        Raises:
            ValueError: there is none, or there are several.
        """
        (values,) = self.columns.values()
        return values

    @cached_property
    def labelled(self) -> np.ndarray:
        """Tokens of each row that have a label: int64 (N,); 0 where labels are the rows', or unknown."""
        for column, values in self.columns.items():  # labels come first
            if column.per == "token" and values.ndim == 1:
                return np.diff(offsets_of(values != column.fill)[self.offsets])
            break
        return np.zeros(len(self), np.int64)

    def with_column(self, column: Column, values: np.ndarray) -> "Examples":
        """These `Examples` with one more column at the end."""
        return replace(self, columns={**self.columns, column: values})

    def take(self, rows: Sequence[int] | np.ndarray) -> "Examples":
        """The `Examples` of the given row numbers (any integer sequence), in that order."""
        rows = np.asarray(rows, np.int64)
        lengths = self.lengths[rows]
        offsets = offsets_of(lengths)
        tokens = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        columns = {
            column: values[tokens if column.per == "token" else rows]
            for column, values in self.columns.items()
        }
        origin = self.origin and replace(
            self.origin, rows=self.origin.rows[rows], spans=self.origin.spans[tokens]
        )
        return Examples(self.input_ids[tokens], self.segment_ids[tokens], offsets, columns, origin)


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where rows of these lengths start in a flat array, and where the last one ends: int64 (N + 1,)."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def filled_up(array: np.ndarray, rows: int) -> np.ndarray:
    """An array with its first row repeated until there are `rows` of them, for graphs of one size."""
    return np.concatenate([array, np.repeat(array[:1], rows - len(array), axis=0)])


def concatenate(parts: Sequence[Examples]) -> Examples:
    """Several `Examples` of the same columns as one; with an origin if all have one."""
    origins = [part.origin for part in parts]
    return Examples(
        np.concatenate([part.input_ids for part in parts]),
        np.concatenate([part.segment_ids for part in parts]),
        offsets_of(np.concatenate([part.lengths for part in parts])),
        {column: np.concatenate([part.columns[column] for part in parts]) for column in parts[0].columns},
        None if None in origins else _one_origin(origins),
    )


def _one_origin(origins):
    rows, texts = [], 0
    for origin in origins:
        rows.append(origin.rows + texts)
        texts += len(origin.texts) or int(origin.rows[-1]) + 1
    spans = np.concatenate([origin.spans for origin in origins])
    return Origin(np.concatenate(rows), spans, tuple(text for origin in origins for text in origin.texts))
