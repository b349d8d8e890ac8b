"""From record rows to batches: padded in length buckets, shuffled and sharded over devices, or packed into
bins for evaluation. Training steps are made of them in `steps.py`.

A task's rows are held in memory as ragged NumPy arrays (a token costs 8 bytes: MNLI's 393k rows are about 130
MB), which makes the shuffle a true one on any number of devices and a batch a matter of microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from src.data.bins import Shape, fill_bins, widths
from src.data.micro_batches import MicroBatch, lay_out, totals_of
from src.errors import UserError
from src.examples import Examples

if TYPE_CHECKING:
    from src.settings.shared import PackingConfig

Seed = int | tuple[int, ...]
"""Of NumPy's generators."""
_ROWS_PACKED_AT_ONCE = 256  # bins are full enough with so many to choose from


def bucket_lengths(
    lengths: np.ndarray, boundaries: Sequence[int], enabled: bool, longest: int = 0
) -> tuple[int, ...]:
    """Padded lengths in use, ascending: the boundaries that some row needs, the last one cut to the longest
    row.

    Args:
        lengths: tokens of each row.
        boundaries: wanted bucket lengths.
        enabled: False gives one bucket, the longest row.
        longest: tokens of the longest row, where `lengths` are but a part of the data.
    """
    longest = max(longest, int(lengths.max()))
    if not enabled:
        return (longest,)
    ends = sorted({int(end) for end in boundaries if end < longest} | {longest})
    used = np.unique(np.searchsorted(ends, lengths))
    return tuple(ends[index] for index in used)


def check_rows(examples: Examples, least: int = 1, what: str = "") -> None:
    """Raise a `UserError` where there are no rows, or fewer than the `least` that `what` needs."""
    if len(examples) == 0:
        raise UserError("the data has no rows")
    if len(examples) < least:
        raise UserError(f"{what} is more than the {len(examples)} training rows")


class Batches:
    """Padded batches of `Examples`: their rows and arrays, an epoch at a time.

    Every device computes the same order from the same seed and takes its own slice of each global batch, so
    shards are disjoint and complete and all devices see equal shapes. Rows of a bucket that do not fill a
    batch join the next larger bucket; so at most one batch an epoch is smaller than the others.

    Args:
        examples: the rows.
        batch_size: rows of a batch on one device.
        boundaries: bucket lengths in tokens; the longest row is one more.
        enable_buckets: False pads all rows to the longest.
        shuffle: a new order each epoch, and batches of all buckets mixed.
        drop_remainder: leave out the last, smaller batch (training); False keeps every row (evaluation).
        seed: of the shuffle.
        rank, device_num: this device and how many there are.
        longest: as in `bucket_lengths`.

    Raises:
        UserError: no rows, or fewer rows than one global batch while the remainder is dropped.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        boundaries: Sequence[int] = (),
        enable_buckets: bool = True,
        shuffle: bool = False,
        drop_remainder: bool = False,
        seed: Seed = 0,
        rank: int = 0,
        device_num: int = 1,
        longest: int = 0,
    ):
        batch = f"batch_size {batch_size} on {device_num} device(s)"
        check_rows(examples, batch_size * device_num if drop_remainder else 1, batch)
        if device_num > 1 and not drop_remainder:
            raise ValueError(
                "sharded batches drop the remainder: the devices' last ones would differ in size"
            )
        self.examples = examples
        self.batch_size = batch_size
        self.global_batch = batch_size * device_num
        self.shuffle = shuffle
        self.drop_remainder = drop_remainder
        self.seed = seed
        self.rank = rank
        self.buckets = bucket_lengths(examples.lengths, boundaries, enable_buckets, longest)
        self.bucket_of = np.searchsorted(self.buckets, examples.lengths)
        self.epoch = 0

    def __len__(self) -> int:
        """Batches of an epoch."""
        full, rest = divmod(len(self.examples), self.global_batch)
        return full + (1 if rest and not self.drop_remainder else 0)

    def _global_batches(self, order: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """[(padded length, row numbers)] of one epoch, smallest bucket first."""
        batches: list[tuple[int, np.ndarray]] = []
        left = np.empty(0, dtype=order.dtype)
        for index, length in enumerate(self.buckets):
            rows = np.concatenate([left, order[self.bucket_of[order] == index]])
            full = len(rows) // self.global_batch * self.global_batch
            batches += [(length, part) for part in rows[:full].reshape(-1, self.global_batch)]
            left = rows[full:]
        if len(left) and not self.drop_remainder:
            batches.append((self.buckets[-1], left))
        return batches

    def pad(self, rows: Sequence[int] | np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """input_ids, input_mask, segment_ids of some rows, int32 (rows, length).

        Args:
            rows: their numbers. length: tokens to fill up to, at least the longest row's.
        """
        rows, within = np.asarray(rows), np.arange(length)
        mask = within < self.examples.lengths[rows][:, None]
        places = np.where(mask, self.examples.offsets[rows][:, None] + within, 0)
        ids = np.where(mask, self.examples.input_ids[places], 0)
        segments = np.where(mask, self.examples.segment_ids[places], 0)
        return ids.astype(np.int32), mask.astype(np.int32), segments.astype(np.int32)

    def order(self) -> list[tuple[int, np.ndarray]]:
        """[(padded length, row numbers of all devices)] of the next epoch."""
        generator = np.random.default_rng((self.seed, self.epoch))
        self.epoch += 1
        order = np.arange(len(self.examples))
        if self.shuffle:
            generator.shuffle(order)
        batches = self._global_batches(order)
        if self.shuffle:
            generator.shuffle(batches)  # type: ignore[arg-type]  # any list, which its types forget
        return batches

    def own(self, rows: np.ndarray) -> np.ndarray:
        """This device's share of a batch."""
        return rows[self.rank * self.batch_size : (self.rank + 1) * self.batch_size]

    def with_rows(self) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]]:
        """Yield (row numbers, their arrays as `pad` gives them) of the next epoch."""
        for length, rows in self.order():
            rows = self.own(rows)
            yield rows, self.pad(rows, length)


class PackedRows:
    """All rows, in their order, packed into micro-batches of one shape: for evaluation.

    Args:
        examples: the rows. max_tokens: of a micro-batch.
    """

    def __init__(self, examples: Examples, max_tokens: int):
        check_rows(examples)
        self.examples = examples
        lengths = examples.lengths
        length = widths(int(lengths.max()))[0]
        bins: list[list[int]] = []
        for first in range(0, len(examples), _ROWS_PACKED_AT_ONCE):
            near = lengths[first : first + _ROWS_PACKED_AT_ONCE]
            bins += [[first + index for index in held] for held in fill_bins(near, length)]
        count = min(len(bins), max(1, max_tokens // length))
        self._parts = [bins[start : start + count] for start in range(0, len(bins), count)]
        rows = max(sum(map(len, part)) for part in self._parts)
        self.shape = Shape(count, length, rows)

    def __len__(self) -> int:
        """Micro-batches."""
        return len(self._parts)

    def __iter__(self) -> Iterator[MicroBatch]:
        """Yield every `MicroBatch`."""
        for bins in self._parts:
            rows = [row for held in bins for row in held]
            yield lay_out(self.examples, bins, self.shape, totals_of(self.examples, rows))


def rows_to_evaluate(
    examples: Examples, batch_size: int, config: PackingConfig, packs: bool
) -> Batches | PackedRows:
    """`PackedRows` or padded `Batches` of `Examples`, whichever `packs` says.

    Args:
        batch_size: rows of a padded batch. config: tokens of a packed one, and lengths.
    """
    if packs:
        return PackedRows(examples, config.max_tokens)
    return Batches(examples, batch_size, config.bucket_boundaries, config.enable_buckets)
