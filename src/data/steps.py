"""Training steps: which rows one optimizer step takes, as `MicroBatch`es, packed into bins or padded in
length buckets; shuffled anew every epoch, shared by the devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from src.data.bins import Shape, at_least, balanced_steps, choose_shape, fill_bins
from src.data.dataset import Batches, Seed, check_rows
from src.data.micro_batches import INPUTS, TOTALS, MicroBatch, lay_out, totals_of
from src.examples import Examples

if TYPE_CHECKING:
    from src.runtime import Group
    from src.settings.shared import BatchesConfig
    from src.settings.stage import PhaseConfig

_SAMPLE = 1000  # steps at most, of all devices together, that speak for an epoch


class Steps:
    """Training batches: iterates over optimizer steps, one epoch an iteration; a step is a list of
    `MicroBatch`es. What has no body here says how rows become steps: a subclass's.

    Args:
        examples: the rows.
        batch_size, accumulation: their product is the rows of a step on one device.
        shuffle: a new order each epoch. seed: of the shuffle.
        rank, device_num: this device and how many there are.

    Raises:
        UserError: no rows, or fewer than one step has.
    """

    shape: Shape | None
    """Of all micro-batches; None where each length has its own."""

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        accumulation: int = 1,
        shuffle: bool = True,
        seed: Seed = 0,
        rank: int = 0,
        device_num: int = 1,
    ):
        rows = batch_size * accumulation
        words = f"{batch_size} x {accumulation}" if accumulation > 1 else str(batch_size)
        check_rows(examples, rows * device_num, f"batch_size {words} on {device_num} device(s)")
        self.examples = examples
        self.global_rows = rows * device_num
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.device_num = device_num
        self.epoch = 0
        self.place = "the training rows"  # what a micro-batch's rows are rows of, for messages

    def count(self, rows: int) -> int:
        """Steps of so many rows."""
        raise NotImplementedError

    @property
    def several(self) -> bool:
        """Whether a step usually has several micro-batches."""
        raise NotImplementedError

    @property
    def fewest(self) -> int:
        """Micro-batches of the step with the fewest, of those that speak for an epoch."""
        raise NotImplementedError

    @property
    def described(self) -> str:
        """What a step of one device is."""
        raise NotImplementedError

    def _epoch(self, generator: np.random.Generator) -> Iterator[list[MicroBatch]]:
        """The steps of an epoch whose order `generator` draws."""
        raise NotImplementedError

    def summary_of(self, parts: Iterable[int]) -> str:
        """One line for the log, where the data has parts of so many rows."""
        left_out = sum(max(0, rows - self.count(rows) * self.global_rows) for rows in parts)
        which = ", other ones each time," if self.shuffle else ""
        return self.described + (f"; {left_out} rows{which} are left out of an epoch" if left_out else "")

    @property
    def summary(self) -> str:
        """One line for the log."""
        return self.summary_of([len(self.examples)])

    @property
    def tokens(self) -> float:
        """Tokens of a step of all devices, without padding: the mean."""
        return self.examples.lengths.mean() * min(self.global_rows, len(self.examples) / len(self))

    @property
    def grouping(self) -> str:
        """What decides which of the rows share a micro-batch, and how: among others, the last bits of a
        network's answer for a row may be other ones.
        """
        facts = type(self).__name__, self.global_rows, self.shuffle, self.seed, self.rank, self.device_num
        return repr((*facts, self.shape))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of a micro-batch's arrays."""
        return (*INPUTS, TOTALS, *(column.name for column in self.examples.columns))

    def __len__(self) -> int:
        """Steps of an epoch."""
        return self.count(len(self.examples))

    def __iter__(self) -> Iterator[list[MicroBatch]]:
        """Yield the steps of the next epoch."""
        generator = np.random.default_rng((self.seed, self.epoch))
        self.epoch += 1
        yield from self._epoch(generator)


class PackedSteps(Steps):
    """Steps whose rows share bins: every row once an epoch, one `Shape` for all micro-batches, hardly any
    padding.

    Steps have at most `batch_size * accumulation` rows a device, as nearly equal numbers of rows and of
    tokens as may be; a step that does not fit into its usual number of micro-batches takes one more.

    Args:
        max_tokens: of a micro-batch. shape: of another part of the same data; None, or one that does not hold
            the longest row: chosen for these rows. longest: tokens of the longest row of all parts. Others as
            in `Steps`.
    """

    shape: Shape

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        accumulation: int,
        max_tokens: int,
        shape: Shape | None = None,
        longest: int = 0,
        **options: Any,
    ):
        super().__init__(examples, batch_size, accumulation, **options)
        longest = max(longest, int(examples.lengths.max()))
        if shape is None or shape.length < longest:
            # Other parts have steps of other sizes. Single rows that are left over join the other steps.
            most = max(self.global_rows // self.device_num, min(self.device_num, 2))
            shape = choose_shape(self._lengths, max_tokens, longest, most)
        self.shape = shape

    def count(self, rows: int) -> int:
        """Steps of so many rows; each device has a row in every one."""
        return min(-(-rows // self.global_rows), rows // self.device_num)

    def _global_steps(self, generator: np.random.Generator) -> list[np.ndarray]:
        """Row numbers of each step of all devices."""
        if self.shuffle:
            return balanced_steps(self.examples.lengths, len(self), generator)
        return np.array_split(np.arange(len(self.examples)), len(self))

    def _shares(self, rows: np.ndarray) -> list[np.ndarray]:
        """Each device's rows of a step: dealt out by length, there and back again, so that nobody has all the
        longer ones and the others wait for it."""
        devices = self.device_num
        if devices == 1:
            return [rows]
        places = np.arange(len(rows)) % (2 * devices)
        device = np.minimum(places, 2 * devices - 1 - places)
        rows = rows[np.argsort(-self.examples.lengths[rows], kind="stable")]
        return [rows[device == rank] for rank in range(devices)]

    @cached_property
    def _lengths(self) -> list[np.ndarray]:
        """Lengths of the rows of each of some steps of the first epoch, of the first device, then of the
        others: all devices choose by the same numbers."""
        steps = self._global_steps(np.random.default_rng((self.seed, 0)))
        some = steps[:: -(-len(steps) * self.device_num // _SAMPLE)]
        shares, lengths = [self._shares(rows) for rows in some], self.examples.lengths
        return [lengths[share[rank]] for rank in range(self.device_num) for share in shares]

    @cached_property
    def micro_batches(self) -> np.ndarray:
        """How many each of these steps has, on every device: the one that needs most says it."""
        bins = [len(fill_bins(lengths, self.shape.length)) for lengths in self._lengths]
        return -(-np.array(bins).reshape((self.device_num, -1)) // self.shape.bins).max(axis=0)

    @property
    def several(self) -> bool:
        return bool(np.median(self.micro_batches) > 1)

    @property
    def fewest(self) -> int:
        return int(self.micro_batches.min())

    @property
    def padding(self) -> float:
        """Share of their computed tokens that are padding."""
        computed = self.micro_batches.sum() * self.device_num * self.shape.tokens
        return 1 - sum(map(np.sum, self._lengths)) / computed

    @property
    def described(self) -> str:
        shape, steps, parts = self.shape, len(self) * self.device_num, np.unique(self.micro_batches)
        tokens = self.examples.lengths.sum() / steps
        times = f"{parts[0]} to {parts[-1]}" if len(parts) > 1 else parts[0]
        return (
            f"{len(self.examples) / steps:.4g} rows, {tokens:.0f} tokens a step, "
            f"computed as {times} x {shape.bins} x {shape.length}: {100 * self.padding:.1f} % are padding"
        )

    def _epoch(self, generator: np.random.Generator) -> Iterator[list[MicroBatch]]:
        lengths, shape = self.examples.lengths, self.shape
        for step in self._global_steps(generator):
            totals, shares = totals_of(self.examples, step), self._shares(step)
            filled = [fill_bins(lengths[rows], shape.length) for rows in shares]
            # Equally many on every device: quantizers whose ranges are the group's wait for each other.
            parts = -(-max(map(len, filled)) // shape.bins)
            rows, bins = shares[self.rank], at_least(filled[self.rank], parts)
            # Dealt out, not cut: the first bins hold the long rows.
            yield [
                lay_out(self.examples, [rows[held].tolist() for held in bins[part::parts]], shape, totals)
                for part in range(parts)
            ]


class PaddedSteps(Steps):
    """Steps of padded batches, a row to a bin: what devices with static shapes and data queues of their own
    take.

    Args:
        batch_size: rows of a batch on one device. accumulation: batches of a step.
        boundaries, enable_buckets, longest: as in `Batches`. Others as in `Steps`.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        accumulation: int = 1,
        boundaries: Sequence[int] = (),
        enable_buckets: bool = True,
        longest: int = 0,
        **options: Any,
    ):
        super().__init__(examples, batch_size, accumulation, **options)
        self.accumulation = accumulation
        options = {**options, "shuffle": self.shuffle, "drop_remainder": True, "longest": longest}
        self._batches = Batches(examples, batch_size, boundaries, enable_buckets, **options)
        self.shape = None

    @property
    def grouping(self) -> str:
        return f"{super().grouping} {self.accumulation} {self._batches.buckets}"

    def count(self, rows: int) -> int:
        """Steps of so many rows; the last ones, which fill no step, are left out of an epoch."""
        return rows // (self.global_rows // self.accumulation) // self.accumulation

    @property
    def several(self) -> bool:
        return self.fewest > 1

    @property
    def fewest(self) -> int:
        return self.accumulation

    @cached_property
    def padding(self) -> float:
        """Share of the first epoch's computed tokens that are padding."""
        self._batches.epoch = 0
        order, lengths = self._batches.order()[: len(self) * self.accumulation], self.examples.lengths
        computed = sum(length * len(rows) for length, rows in order)
        return 1 - sum(lengths[rows].sum() for _, rows in order) / computed

    @property
    def described(self) -> str:
        rows = self.global_rows // self.device_num
        return (
            f"{rows} rows, {self.examples.lengths.mean() * rows:.0f} tokens a step, padded to "
            f"{', '.join(map(str, self._batches.buckets))}: {100 * self.padding:.1f} % are padding"
        )

    def _epoch(self, generator: np.random.Generator) -> Iterator[list[MicroBatch]]:
        self._batches.epoch = self.epoch - 1  # the same order as `generator` would draw
        order = self._batches.order()
        for first in range(0, len(self) * self.accumulation, self.accumulation):
            parts = order[first : first + self.accumulation]
            totals = totals_of(self.examples, np.concatenate([rows for _, rows in parts]))
            yield [
                lay_out(
                    self.examples,
                    self._batches.own(rows)[:, None].tolist(),
                    Shape(self._batches.batch_size, length, self._batches.batch_size),
                    totals,
                )
                for length, rows in parts
            ]


def steps_of(
    examples: Examples,
    phase: PhaseConfig,
    config: BatchesConfig,
    packs: bool,
    group: Group,
    seed: Seed | None = None,
    shape: Shape | None = None,
    longest: int = 0,
) -> PackedSteps | PaddedSteps:
    """`PackedSteps` or `PaddedSteps` of training rows, whichever `packs` says.

    Args:
        phase: rows of a step. config: lengths, shuffle, seed. group: the processes that train together.
        seed: in place of the config's. shape, longest: as in `PackedSteps`.
    """
    options: dict[str, Any] = {
        "shuffle": config.do_shuffle,
        "seed": config.seed if seed is None else seed,
        "rank": group.rank,
        "device_num": group.size,
        "longest": longest,
    }
    size, accumulation = phase.batch_size, phase.gradient_accumulation_steps
    if packs:
        return PackedSteps(examples, size, accumulation, config.max_tokens, shape, **options)
    lengths = config.bucket_boundaries, config.enable_buckets
    return PaddedSteps(examples, size, accumulation, *lengths, **options)
