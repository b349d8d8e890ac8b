"""From record rows to batches: shuffled anew every epoch, packed into bins or padded in length buckets,
sharded over devices.

A task's rows are held in memory as ragged NumPy arrays (a token costs 8 bytes: MNLI's 393k rows are about 130
MB), which makes the shuffle a true one on any number of devices and a batch a matter of microseconds.
"""

from functools import cached_property

import numpy as np

from src.data.bins import Shape, balanced_steps, choose_shape, fill_bins, widths
from src.data.micro_batches import INPUTS, TOTALS, lay_out, totals_of
from src.data.records import TOKEN_COLUMNS
from src.errors import UserError

_ROWS_PACKED_AT_ONCE = 256  # bins are full enough with so many to choose from


def bucket_lengths(lengths, boundaries, enabled, longest=0):
    """Padded lengths in use, ascending: the boundaries that some row needs, the last one cut to the longest
    row.

    Args:
        lengths (ndarray): tokens of each row.
        boundaries (tuple of int): wanted bucket lengths.
        enabled (bool): False gives one bucket, the longest row.
        longest (int): tokens of the longest row, where `lengths` are but a part of the data.
    """
    longest = max(longest, int(lengths.max()))
    if not enabled:
        return (longest,)
    ends = sorted({int(end) for end in boundaries if end < longest} | {longest})
    used = np.unique(np.searchsorted(ends, lengths))
    return tuple(ends[index] for index in used)


class Batches:
    """Iterates over padded batches of `Examples`, one epoch an iteration.

    Every device computes the same order from the same seed and takes its own slice of each global batch, so
    shards are disjoint and complete and all devices see equal shapes. Rows of a bucket that do not fill a
    batch join the next larger bucket; so at most one batch an epoch is smaller than the others.

    Args:
        examples (Examples): the rows.
        batch_size (int): rows of a batch on one device.
        boundaries (tuple of int): bucket lengths in tokens.
        enable_buckets (bool): False pads all rows to the longest.
        shuffle (bool): a new order each epoch, and batches of all buckets mixed.
        drop_remainder (bool): leave out the last, smaller batch (training); False keeps every row
            (evaluation).
        seed (int): of the shuffle.
        rank (int), device_num (int): this device and how many there are.
        longest (int): as in `bucket_lengths`.

    Raises:
        UserError: no rows, or fewer rows than one global batch while the remainder is dropped.
    """

    def __init__(
        self,
        examples,
        batch_size,
        boundaries=(16, 32, 64, 128),
        enable_buckets=True,
        shuffle=False,
        drop_remainder=False,
        seed=0,
        rank=0,
        device_num=1,
        longest=0,
    ):
        if len(examples) == 0:
            raise UserError("the data has no rows")
        if device_num > 1 and not drop_remainder:
            raise ValueError(
                "sharded batches drop the remainder: the devices' last ones would differ in size"
            )
        if drop_remainder and len(examples) < batch_size * device_num:
            raise UserError(
                f"batch_size {batch_size} on {device_num} device(s) is more than the {len(examples)} "
                "training rows"
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

    def __len__(self):
        """Batches of an epoch."""
        full, rest = divmod(len(self.examples), self.global_batch)
        return full + (1 if rest and not self.drop_remainder else 0)

    def _global_batches(self, order):
        """[(padded length, row numbers)] of one epoch, smallest bucket first."""
        batches, left = [], np.empty(0, dtype=order.dtype)
        for index, length in enumerate(self.buckets):
            rows = np.concatenate([left, order[self.bucket_of[order] == index]])
            full = len(rows) // self.global_batch * self.global_batch
            batches += [(length, part) for part in rows[:full].reshape(-1, self.global_batch)]
            left = rows[full:]
        if len(left) and not self.drop_remainder:
            batches.append((self.buckets[-1], left))
        return batches

    @property
    def columns(self):
        """Names of a batch's arrays."""
        return (*TOKEN_COLUMNS, *(column.name for column in self.examples.columns))

    def pad(self, rows, length):
        """input_ids, input_mask, segment_ids of some rows, int32 (rows, length).

        Args:
            rows (sequence of int): their numbers. length (int): tokens to fill up to, at least the longest
                row's.
        """
        mask, places = self._places(np.asarray(rows), length)
        ids = np.where(mask, self.examples.input_ids[places], 0)
        segments = np.where(mask, self.examples.segment_ids[places], 0)
        return ids.astype(np.int32), mask.astype(np.int32), segments.astype(np.int32)

    def _places(self, rows, length):
        """(whether it is a token, where it stands in the flat arrays) of each place of some padded rows."""
        starts, sizes = self.examples.offsets[rows], self.examples.lengths[rows]
        places = np.arange(length)
        mask = places < sizes[:, None]
        return mask, np.where(mask, starts[:, None] + places, 0)

    def _column(self, column, values, rows, length):
        """One column of some rows: (rows, ...), or of a column per token (rows, length, ...)."""
        if column.per == "row":
            return values[rows]
        mask, places = self._places(rows, length)
        padded = values[places]
        padded[~mask] = column.fill
        return padded

    def __iter__(self):
        """Yield a batch's arrays as a tuple: input_ids, input_mask, segment_ids, the columns."""
        for _, batch in self.with_rows():
            yield batch

    def order(self):
        """[(padded length, row numbers of all devices)] of the next epoch."""
        generator = np.random.default_rng((self.seed, self.epoch))
        self.epoch += 1
        order = np.arange(len(self.examples))
        if self.shuffle:
            generator.shuffle(order)
        batches = self._global_batches(order)
        if self.shuffle:
            generator.shuffle(batches)
        return batches

    def own(self, rows):
        """This device's share of a batch."""
        return rows[self.rank * self.batch_size : (self.rank + 1) * self.batch_size]

    def with_rows(self):
        """Yield (row numbers, batch) of the next epoch."""
        for length, rows in self.order():
            rows = self.own(rows)
            columns = [
                self._column(column, values, rows, length) for column, values in self.examples.columns.items()
            ]
            yield rows, (*self.pad(rows, length), *columns)


class PackedRows:
    """All rows, in their order, packed into micro-batches of one shape: for evaluation.

    Args:
        examples (Examples): the rows. max_tokens (int): of a micro-batch.
    """

    def __init__(self, examples, max_tokens):
        if len(examples) == 0:
            raise UserError("the data has no rows")
        self.examples = examples
        lengths = examples.lengths
        length = widths(int(lengths.max()))[0]
        bins = []
        for first in range(0, len(examples), _ROWS_PACKED_AT_ONCE):
            near = lengths[first : first + _ROWS_PACKED_AT_ONCE]
            bins += [[first + index for index in held] for held in fill_bins(near, length)]
        count = min(len(bins), max(1, max_tokens // length))
        self._parts = [bins[start : start + count] for start in range(0, len(bins), count)]
        rows = max(sum(map(len, part)) for part in self._parts)
        self.shape = Shape(count, length, rows)

    def __len__(self):
        """Micro-batches."""
        return len(self._parts)

    def __iter__(self):
        """Yield every `MicroBatch`."""
        for bins in self._parts:
            rows = [row for held in bins for row in held]
            yield lay_out(self.examples, bins, self.shape, totals_of(self.examples.take(rows).lengths))


def rows_to_evaluate(examples, batch_size, config, packs):
    """`PackedRows` or padded `Batches` of `Examples`, whichever `packs` says.

    Args:
        batch_size (int): rows of a padded batch. config (PackingConfig): tokens of a packed one, and lengths.
    """
    if packs:
        return PackedRows(examples, config.max_tokens)
    return Batches(examples, batch_size, config.bucket_boundaries, config.enable_buckets)


class Steps:
    """Training batches: iterates over optimizer steps, one epoch an iteration; a step is a list of
    `MicroBatch`es.

    Args:
        examples (Examples): the rows.
        rows (int): of a step on one device.
        shuffle (bool): a new order each epoch. seed (int): of the shuffle.
        rank (int), device_num (int): this device and how many there are.

    Raises:
        UserError: no rows, or fewer than one step has.
    """

    def __init__(self, examples, rows, shuffle=True, seed=0, rank=0, device_num=1):
        if len(examples) == 0:
            raise UserError("the data has no rows")
        if len(examples) < rows * device_num:
            raise UserError(
                f"batch_size x gradient_accumulation_steps: a step's {rows} rows on each of {device_num} "
                f"device(s) are more than the {len(examples)} training rows"
            )
        self.examples = examples
        self.global_rows = rows * device_num
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.device_num = device_num
        self.epoch = 0

    @property
    def columns(self):
        """Names of a micro-batch's arrays."""
        return (*INPUTS, TOTALS, *(column.name for column in self.examples.columns))

    def __len__(self):
        """Steps of an epoch."""
        return self.count(len(self.examples))

    def __iter__(self):
        """Yield the steps of the next epoch."""
        generator = np.random.default_rng((self.seed, self.epoch))
        self.epoch += 1
        yield from self._epoch(generator)


class PackedSteps(Steps):
    """Steps whose rows share bins: every row once an epoch, one `Shape` for all micro-batches, hardly any
    padding.

    Steps have `rows` rows or one less, and as nearly equal numbers of tokens as may be; a step that does not
    fit into its usual number of micro-batches takes one more.

    Args:
        max_tokens (int): of a micro-batch. shape (Shape): of another part of the same data; None: chosen
            for these rows. longest (int): tokens of the longest row of all parts. Others as in `Steps`.
    """

    def __init__(self, examples, rows, max_tokens, shape=None, longest=0, **options):
        super().__init__(examples, rows, **options)
        self.max_tokens = max_tokens
        self.longest = max(longest, int(examples.lengths.max()))
        self.shape = shape or choose_shape(self._lengths, max_tokens, self.longest)

    def count(self, rows):
        """Steps of so many rows."""
        return -(-rows // self.global_rows)

    def _global_steps(self, generator):
        """Row numbers of each step of all devices."""
        if self.shuffle:
            return balanced_steps(self.examples.lengths, self.global_rows, generator)
        return np.array_split(np.arange(len(self.examples)), len(self))

    def _own(self, rows):
        """This device's share of a step: of rows in order of length each device takes every n-th."""
        if self.device_num == 1:
            return rows
        lengths = self.examples.offsets[rows + 1] - self.examples.offsets[rows]
        return rows[np.argsort(-lengths, kind="stable")][self.rank :: self.device_num]

    @cached_property
    def _lengths(self):
        """Lengths of this device's rows in each step of the first epoch."""
        steps, lengths = self._global_steps(np.random.default_rng((self.seed, 0))), self.examples.lengths
        return [lengths[rows[:: self.device_num]] for rows in steps]

    @cached_property
    def micro_batches(self):
        """How many each step of the first epoch has (ndarray)."""
        bins = [len(fill_bins(lengths, self.shape.length)) for lengths in self._lengths]
        return -(-np.array(bins) // self.shape.bins)

    @property
    def several(self):
        """Whether a step usually has several micro-batches."""
        return np.median(self.micro_batches) > 1

    @property
    def padding(self):
        """Share of the first epoch's computed tokens that are padding."""
        return 1 - np.concatenate(self._lengths).sum() / (self.micro_batches.sum() * self.shape.tokens)

    @property
    def summary(self):
        """One line for the log."""
        tokens, parts = np.concatenate(self._lengths).sum() / len(self), np.median(self.micro_batches)
        return (
            f"{self.global_rows // self.device_num} rows, {tokens:.0f} tokens a step, computed as "
            f"{parts:.0f} x {self.shape.bins} x {self.shape.length}: {100 * self.padding:.1f} % are padding"
        )

    def _epoch(self, generator):
        offsets, shape = self.examples.offsets, self.shape
        for step in self._global_steps(generator):
            totals, rows = totals_of(offsets[step + 1] - offsets[step]), self._own(step)
            bins = fill_bins(offsets[rows + 1] - offsets[rows], shape.length)
            parts = -(-len(bins) // shape.bins)
            # Dealt out, not cut: the first bins hold the long rows.
            yield [
                lay_out(self.examples, [rows[held].tolist() for held in bins[part::parts]], shape, totals)
                for part in range(parts)
            ]


class PaddedSteps(Steps):
    """Steps of padded batches, a row to a bin: what devices with static shapes and data queues of their own
    take.

    Args:
        batch_size (int): rows of a batch on one device. accumulation (int): batches of a step.
        boundaries, enable_buckets, longest: as in `Batches`. Others as in `Steps`.
    """

    def __init__(
        self, examples, batch_size, accumulation=1, boundaries=(), enable_buckets=True, longest=0, **options
    ):
        super().__init__(examples, batch_size * accumulation, **options)
        self.accumulation = accumulation
        self._batches = Batches(
            examples, batch_size, boundaries, enable_buckets, drop_remainder=True, longest=longest, **options
        )
        self.shape = None  # each bucket has its own

    def count(self, rows):
        """Steps of so many rows; the last ones, which fill no step, are left out of an epoch."""
        return rows // (self.global_rows // self.accumulation) // self.accumulation

    @property
    def several(self):
        """Whether a step has several micro-batches."""
        return self.accumulation > 1

    @property
    def summary(self):
        """One line for the log."""
        batches, rows, count = self._batches, len(self.examples), self.global_rows
        computed = np.array(batches.buckets)[batches.bucket_of].mean()
        tokens, left_out = self.examples.lengths.mean(), rows - len(self) * count
        count //= self.device_num
        return (
            f"{count} rows, {tokens * count:.0f} tokens a step, padded to "
            f"{', '.join(map(str, batches.buckets))}: {100 * (1 - tokens / computed):.1f} % are padding"
            + (f"; {left_out} rows, other ones each time, are left out of an epoch" if left_out else "")
        )

    def _epoch(self, generator):
        self._batches.epoch = self.epoch - 1  # the same order as `generator` would draw
        order, lengths = self._batches.order(), self.examples.lengths
        for first in range(0, len(self) * self.accumulation, self.accumulation):
            parts = order[first : first + self.accumulation]
            totals = totals_of(lengths[np.concatenate([rows for _, rows in parts])])
            yield [
                lay_out(
                    self.examples,
                    self._batches.own(rows)[:, None].tolist(),
                    Shape(self._batches.batch_size, length, self._batches.batch_size),
                    totals,
                )
                for length, rows in parts
            ]


def steps_of(examples, phase, config, packs, group, seed=None, shape=None, longest=0):
    """`PackedSteps` or `PaddedSteps` of training rows, whichever `packs` says.

    Args:
        phase (PhaseConfig): rows of a step. config (BatchesConfig): lengths, shuffle, seed. group (Group):
            the processes that train together.
        seed: in place of the config's. shape, longest: as in `PackedSteps`.
    """
    options = {
        "shuffle": config.do_shuffle,
        "seed": config.seed if seed is None else seed,
        "rank": group.rank,
        "device_num": group.size,
        "longest": longest,
    }
    size, accumulation = phase.batch_size, phase.gradient_accumulation_steps
    if packs:
        return PackedSteps(examples, size * accumulation, config.max_tokens, shape, **options)
    lengths = config.bucket_boundaries, config.enable_buckets
    return PaddedSteps(examples, size, accumulation, *lengths, **options)
