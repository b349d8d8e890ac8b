"""What preparing a task and preparing a corpus have in common."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from src.checksums import Noted
from src.data.info import DatasetInfo, Split, length_histogram
from src.data.readers.rows import BadRows
from src.data.tokenization import TokenizerPool
from src.kinds.base import TaskKind, Windows
from src.terminal import bar
from src.vocabulary import vocabulary_hash


@dataclass(frozen=True)
class Options:
    """How raw files become records, whatever they hold."""

    vocabulary: Tuple[str, ...]
    """WordPiece tokens in id order."""
    lower_case: bool
    """Whether the text is lower-cased."""
    dataset_type: str
    """`mindrecord` or `tfrecord`."""
    skip_bad_rows: bool
    """Malformed rows are counted instead of ending the work."""
    num_workers: int
    """Processes that tokenize."""
    windows: Windows = Windows()
    """How texts that are too long for a row are cut into several."""
    strip_accents: Optional[bool] = None
    """Whether accents are taken off; None: where the text is lower-cased."""

    def bad_rows(self) -> BadRows:
        """A new `BadRows`."""
        return BadRows(self.skip_bad_rows)

    def pool(self, kind: TaskKind, longest: int) -> TokenizerPool:
        """The processes that tokenize rows of a kind, to at most so many tokens."""
        lengths = longest, self.num_workers, self.windows
        return TokenizerPool(self.vocabulary, self.lower_case, kind, *lengths, self.strip_accents)

    def info(
        self,
        task_name: str,
        kind: TaskKind,
        labels: tuple[str, ...],
        max_seq_length: int,
        splits: dict[str, Split],
        checksums: dict[str, Noted],
    ) -> DatasetInfo:
        """The `DatasetInfo` of what was made; arguments as its fields."""
        return DatasetInfo(
            task_name,
            kind,
            labels,
            vocabulary_hash(self.vocabulary),
            len(self.vocabulary),
            self.lower_case,
            max_seq_length,
            splits,
            self.strip_accents,
            checksums,
        )


def split_info(rows: int, labelled: bool, length_counts: np.ndarray, files: list[str]) -> Split:
    """A split in dataset.json; `length_counts` (int64) are rows by their length in tokens."""
    return {
        "rows": rows,
        "labelled": labelled,
        "length_histogram": length_histogram(length_counts),
        "files": files,
    }


class CountingBar:
    """A `bar` that also says how fast things go which are not what it counts. A context manager: leaving it
    removes the bar.

    Args:
        name: what is made. total: about how much there is to do, in `unit`s.
    """

    def __init__(self, name: str, total: int, unit: str):
        self.name, self._bar = name, bar(name, total, unit)
        self._counts: dict[str, int] = {}
        self._start = self._bar.start_t

    def __enter__(self) -> CountingBar:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def skip(self, amount: int) -> None:
        """Some of the total needs no work."""
        self._bar.initial += amount
        self._bar.n += amount
        self._bar.last_print_n += amount
        if not self._counts:
            self._start = self._bar.start_t = time.time()

    def update(self, amount: int, **counts: int) -> None:
        """Some of the total is done; `counts` is what it was, as `rows=12`."""
        for unit, count in counts.items():
            self._counts[unit] = self._counts.get(unit, 0) + count
        self._bar.set_postfix_str(self.rate, refresh=False)
        self._bar.total = max(self._bar.total, self._bar.n + amount)
        self._bar.update(amount)

    @property
    def rate(self) -> str:
        """What was counted a second, without what was skipped."""
        seconds = max(time.time() - self._start, 1e-9)
        return ", ".join(f"{count / seconds:,.0f} {unit}/s" for unit, count in self._counts.items())


def describe_lengths(counts: np.ndarray) -> str:
    """Percentiles of rows counted by their length in tokens (index)."""
    share = np.cumsum(counts) / counts.sum()
    percentiles = " / ".join(str(int(np.searchsorted(share, point))) for point in (0.5, 0.9, 0.99))
    return f"length in tokens: median / 90 % / 99 % = {percentiles}, longest {np.flatnonzero(counts)[-1]}"
