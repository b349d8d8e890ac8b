"""What preparing a task and preparing a corpus have in common."""

import time
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np
from tqdm import tqdm

from src.data.info import DatasetInfo, length_histogram
from src.data.readers.rows import BadRows
from src.kinds.base import Windows
from src.vocabulary import vocabulary_hash

LINE_SECONDS = 30  # between two lines where there is no terminal for a bar


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
    """How fast it goes and how long it will take: a bar on a terminal, elsewhere a line every `LINE_SECONDS`,
    and a line at the end. A context manager: leaving it removes the bar.

    Args:
        name (str): what is made. total (int): about how much there is to do, in `unit`s. unit (str)
    """

    def __init__(self, name, total, unit):
        scale = unit == "B"
        unit = unit if scale else f" {unit}"
        self._bar = tqdm(total=total, desc=name, unit=unit, unit_scale=scale, leave=False, disable=None)
        self.name, self._total, self._skipped, self._done, self._counts = name, total, 0, 0, {}
        self._start = self._printed = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._bar.close()

    def skip(self, amount):
        """Some of the total needs no work."""
        self._skipped += amount
        self._bar.initial = self._bar.n = self._bar.last_print_n = self._skipped + self._done
        if not self._done:
            self._start = self._bar.start_t = time.monotonic()

    def update(self, amount, **counts):
        """Some of the total is done; `counts` is what it was, as `rows=12`."""
        self._done += amount
        for unit, count in counts.items():
            self._counts[unit] = self._counts.get(unit, 0) + count
        self._bar.set_postfix_str(self.rate, refresh=False)
        self._bar.update(amount)
        now = time.monotonic()
        if self._bar.disable and now - self._printed >= LINE_SECONDS:
            self._printed, position = now, self._skipped + self._done
            seconds = (now - self._start) / max(self._done, 1) * max(self._total - position, 0)
            print(
                f"{self.name}: {100 * position / max(self._total, position):.1f} % of the input, "
                f"{self.rate}, {tqdm.format_interval(seconds)} left",
                flush=True,
            )

    @property
    def rate(self):
        """What was counted a second, without what was skipped."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        return ", ".join(f"{count / seconds:,.0f} {unit}/s" for unit, count in self._counts.items())


def describe_lengths(counts):
    """Percentiles of rows counted by their length in tokens (index)."""
    share = np.cumsum(counts) / counts.sum()
    percentiles = " / ".join(str(int(np.searchsorted(share, point))) for point in (0.5, 0.9, 0.99))
    return f"length in tokens: median / 90 % / 99 % = {percentiles}, longest {np.flatnonzero(counts)[-1]}"
