"""Record files of a corpus, too many to hold in memory, as training steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from src.data.bins import Shape
from src.data.corpus.shards import PLAN_FILE
from src.data.dataset import Seed
from src.data.info import INFO_FILE, DatasetInfo
from src.data.micro_batches import MicroBatch
from src.data.records import count_rows, find_split, read_records
from src.data.steps import Steps, steps_of
from src.errors import UserError, listed
from src.examples import Examples

if TYPE_CHECKING:
    from src.runtime import Group
    from src.settings.shared import BatchesConfig
    from src.settings.stage import PhaseConfig

ROWS_IN_MEMORY = 1 << 18  # of one part: 270 MB at 128 tokens; while one is trained on, the next is read


class ShardedSteps:
    """Training steps over parts of a corpus that are read one after another: their order and the rows within
    each are new every epoch.

    Every process reads every part and takes its own share of each step, as `Steps` does.

    Args:
        parts: record files that are read and shuffled together. rows: rows of each part.
        read: gives the `Examples` of files, without columns.
        steps: makes `Steps` of `Examples`, a seed and a shape. seed, shuffle: of the parts.

    Raises:
        UserError: a part has fewer rows than a step.
    """

    def __init__(
        self,
        parts: list[list[str]],
        rows: Sequence[int],
        read: Callable[[Sequence[str]], Examples],
        steps: Callable[[Examples, Seed, Shape | None], Steps],
        seed: int = 0,
        shuffle: bool = True,
    ):
        self.parts = parts
        self.rows = rows
        self.read = read
        self.make = steps
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0
        self.place = ""  # as of `Steps`: the files of the part that the steps are of now
        self._held = (0, read(parts[0]))  # (number, rows) of the part that was read last
        first = steps(self._held[1], (seed, 0), None)
        self._steps = sum(map(first.count, rows))
        self.shape, self.several, self.columns = first.shape, first.several, first.columns
        self.global_rows, self.tokens = first.global_rows, first.tokens
        self.summary = first.summary_of(rows)

    def __len__(self) -> int:
        """Steps of an epoch."""
        return self._steps

    def _part(self, number: int) -> Examples:
        held = self._held  # another iterator may replace it meanwhile
        if held[0] != number:
            self._held = held = (number, self.read(self.parts[number]))
        return held[1]

    def __iter__(self) -> Iterator[list[MicroBatch]]:
        """Yield the steps of the next epoch, as `Steps` does."""
        epoch, numbers = self.epoch, np.arange(len(self.parts))
        self.epoch += 1
        if self.shuffle:
            np.random.default_rng((self.seed, epoch)).shuffle(numbers)
        order = numbers.tolist()
        with ThreadPoolExecutor(1) as reader:
            part = reader.submit(self._part, order[0])
            for number, following in zip(order, [*order[1:], None]):
                steps = self.make(part.result(), (self.seed, number), self.shape)
                steps.epoch = epoch
                if following is not None:
                    part = reader.submit(self._part, following)
                self.place = listed(map(os.path.basename, self.parts[number]))
                yield from steps


def open_corpus(
    folder: str,
    config: BatchesConfig,
    phase: PhaseConfig,
    packs: bool,
    group: Group,
    check: Callable[[Examples], None],
) -> ShardedSteps:
    """`ShardedSteps` of a corpus. Its labels are left out: whether the second text follows the first is not
    what is distilled.

    Args:
        folder: as prepare_data.py writes it, or record files of the published layout.
        config: how they are read and put into batches.
        phase, packs, group: as in `steps_of`.
        check: raises where the networks cannot read some rows.

    Raises:
        UserError: a file is missing or damaged, or `check` refuses its rows.
    """
    folder = os.path.abspath(folder)  # the thread that reads is not bothered by a changed working folder
    if os.path.exists(os.path.join(folder, PLAN_FILE)) and not os.path.exists(
        os.path.join(folder, INFO_FILE)
    ):
        raise UserError(
            f"data_dir: {folder} is unfinished; run the same prepare_data.py again, which goes on with it"
        )
    files, dataset_type = find_split(folder, "train", config.dataset_type)
    info = DatasetInfo.load(folder)
    _check_present(folder, files, info)
    counts = zip(files, count_rows(files, dataset_type))
    parts, rows = _parts(counts, phase.batch_size * phase.gradient_accumulation_steps * group.size)

    def read(paths: Sequence[str]) -> Examples:
        examples = read_records(paths, dataset_type, (), config.schema_dir)
        check(examples)
        return examples

    def steps(examples: Examples, seed: Seed, shape: Shape | None) -> Steps:
        return steps_of(examples, phase, config, packs, group, seed, shape, _longest(info))

    return ShardedSteps(parts, rows, read, steps, config.seed, config.do_shuffle)


def _check_present(folder: str, files: Sequence[str], info: DatasetInfo | None) -> None:
    """Raise a `UserError` where a file that the folder's `DatasetInfo` names is not there."""
    named = info.splits.get("train", {}).get("files", ()) if info else ()
    absent = sorted(set(named) - {os.path.basename(path) for path in files})
    if absent:
        raise UserError(
            f"data_dir: {folder} lacks {absent[0]}, which its {INFO_FILE} names; run prepare_data.py again"
        )


def _parts(counts: Iterable[tuple[str, int]], least: int) -> tuple[list[list[str]], list[int]]:
    """(lists of files that are read together, rows of each) from [(file, rows)].

    A part has at most `ROWS_IN_MEMORY` rows, unless one file has more, and at least `least`: with fewer it
    would give no batch.
    """
    parts: list[list[str]] = []
    rows: list[int] = []
    for path, count in counts:
        if not parts or (rows[-1] + count > ROWS_IN_MEMORY and rows[-1] >= least):
            parts.append([])
            rows.append(0)
        parts[-1].append(path)
        rows[-1] += count
    if len(parts) > 1 and rows[-1] < least:
        files, count = parts.pop(), rows.pop()
        parts[-1] += files
        rows[-1] += count
    return parts, rows


def _longest(info: DatasetInfo | None) -> int:
    """Tokens of a corpus's longest row, or a little more, by its `DatasetInfo`; 0 where nothing says it."""
    lengths = info.splits.get("train", {}).get("length_histogram") if info else None
    return min(info.max_seq_length, max(map(int, lengths))) if info and lengths else 0
