"""What preparing a task and preparing a corpus have in common."""

import time
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from src.data.info import DatasetInfo, length_histogram
from src.data.readers.rows import BadRows
from src.kinds.base import Windows
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

    def bad_rows(self):
        """A new `BadRows`."""
        return BadRows(self.skip_bad_rows)

    def info(self, task_name, kind, labels, max_seq_length, splits, checksums):
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


def split_info(rows, labelled, length_counts, files):
    """A split in dataset.json; `length_counts` (int64 array) are rows by their length in tokens."""
    return {
        "rows": rows,
        "labelled": labelled,
        "length_histogram": length_histogram(length_counts),
        "files": files,
    }


class Progress:
    """A `bar` that also says how fast things go which are not what it counts. A context manager: leaving it
    removes the bar.

    Args:
        name (str): what is made. total (int): about how much there is to do, in `unit`s (str).
    """

    def __init__(self, name, total, unit):
        self.name, self._bar, self._counts = name, bar(name, total, unit), {}
        self._start = self._bar.start_t

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._bar.close()

    def skip(self, amount):
        """Some of the total needs no work."""
        self._bar.initial += amount
        self._bar.n += amount
        self._bar.last_print_n += amount
        if not self._counts:
            self._start = self._bar.start_t = time.time()

    def update(self, amount, **counts):
        """Some of the total is done; `counts` is what it was, as `rows=12`."""
        for unit, count in counts.items():
            self._counts[unit] = self._counts.get(unit, 0) + count
        self._bar.set_postfix_str(self.rate, refresh=False)
        self._bar.total = max(self._bar.total, self._bar.n + amount)
        self._bar.update(amount)

    @property
    def rate(self):
        """What was counted a second, without what was skipped."""
        seconds = max(time.time() - self._start, 1e-9)
        return ", ".join(f"{count / seconds:,.0f} {unit}/s" for unit, count in self._counts.items())


def describe_lengths(counts):
    """Percentiles of rows counted by their length in tokens (index)."""
    share = np.cumsum(counts) / counts.sum()
    percentiles = " / ".join(str(int(np.searchsorted(share, point))) for point in (0.5, 0.9, 0.99))
    return f"length in tokens: median / 90 % / 99 % = {percentiles}, longest {np.flatnonzero(counts)[-1]}"
