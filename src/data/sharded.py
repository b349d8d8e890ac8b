"""Record files of a corpus, too many to hold in memory, as training steps."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from src.data.corpus.shards import PLAN_FILE
from src.data.info import INFO_FILE, DatasetInfo
from src.data.records import count_rows, find_split, read_records
from src.data.steps import steps_of
from src.errors import UserError, listed

ROWS_IN_MEMORY = 1 << 18  # of one part: 270 MB at 128 tokens; while one is trained on, the next is read


class ShardedSteps:
    """Training steps over parts of a corpus that are read one after another: their order and the rows within
    each are new every epoch.

    Every process reads every part and takes its own share of each step, as `Steps` does.

    Args:
        parts (list of list of str): record files that are read and shuffled together. rows (list of int):
            rows of each part.
        read (callable): files -> `Examples` without columns.
        steps (callable): `Examples`, seed, shape -> `Steps`. seed (int), shuffle (bool): of the parts.

    Raises:
        UserError: a part has fewer rows than a step.
    """

    def __init__(self, parts, rows, read, steps, seed=0, shuffle=True):
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

    def __len__(self):
        """Steps of an epoch."""
        return self._steps

    def _part(self, number):
        held = self._held  # another iterator may replace it meanwhile
        if held[0] != number:
            self._held = held = (number, self.read(self.parts[number]))
        return held[1]

    def __iter__(self):
        """Yield the steps of the next epoch, as `Steps` does."""
        epoch, order = self.epoch, np.arange(len(self.parts))
        self.epoch += 1
        if self.shuffle:
            np.random.default_rng((self.seed, epoch)).shuffle(order)
        order = order.tolist()
        with ThreadPoolExecutor(1) as reader:
            part = reader.submit(self._part, order[0])
            for number, following in zip(order, [*order[1:], None]):
                steps = self.make(part.result(), (self.seed, number), self.shape)
                steps.epoch = epoch
                if following is not None:
                    part = reader.submit(self._part, following)
                self.place = listed(map(os.path.basename, self.parts[number]))
                yield from steps


def open_corpus(folder, config, phase, packs, group, check):
    """`ShardedSteps` of a corpus. Its labels are left out: whether the second text follows the first is not
    what is distilled.

    Args:
        folder (str): as prepare_data.py writes it, or record files of the published layout.
        config (BatchesConfig): how they are read and put into batches.
        phase (PhaseConfig), packs (bool), group (Group): as in `steps_of`.
        check (callable): `Examples` -> None; raises where the networks cannot read them.

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

    def read(paths):
        examples = read_records(paths, dataset_type, (), config.schema_dir)
        check(examples)
        return examples

    def steps(examples, seed, shape):
        return steps_of(examples, phase, config, packs, group, seed, shape, _longest(info))

    return ShardedSteps(parts, rows, read, steps, config.seed, config.do_shuffle)


def _check_present(folder, files, info):
    """Raise a `UserError` where a file that the folder's `DatasetInfo` (or None) names is not there."""
    named = info.splits.get("train", {}).get("files", ()) if info else ()
    absent = sorted(set(named) - {os.path.basename(path) for path in files})
    if absent:
        raise UserError(
            f"data_dir: {folder} lacks {absent[0]}, which its {INFO_FILE} names; run prepare_data.py again"
        )


def _parts(counts, least):
    """(lists of files that are read together, rows of each) from [(file, rows)].

    A part has at most `ROWS_IN_MEMORY` rows, unless one file has more, and at least `least`: with fewer it
    would give no batch.
    """
    parts, rows = [], []
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


def _longest(info):
    """Tokens of a corpus's longest row, or a little more, by its `DatasetInfo`; 0 where nothing says it."""
    lengths = info.splits.get("train", {}).get("length_histogram") if info else None
    return min(info.max_seq_length, max(map(int, lengths))) if lengths else 0
