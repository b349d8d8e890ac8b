"""Record files of a corpus, too many to hold in memory, as shuffled padded batches."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from src.data.corpus.shards import PLAN_FILE
from src.data.dataset import Batches, bucket_lengths
from src.data.info import INFO_FILE, DatasetInfo
from src.data.records import TOKEN_COLUMNS, count_rows, find_split, read_records
from src.errors import UserError

ROWS_IN_MEMORY = 1 << 18  # of one part: 270 MB at 128 tokens; while one is trained on, the next is read


class ShardedBatches:
    """`Batches` over parts of a corpus that are read one after another: their order and the rows within each
    are new every epoch.

    Every process reads every part and takes its own slice of each global batch, as `Batches` does. Rows that
    fill no batch at the end of a part are left out of that epoch.

    Args:
        parts (list of list of str): record files that are read and shuffled together. rows (list of int):
            rows of each part, at least those of one global batch.
        read (callable): files -> `Examples` without columns.
        batch_size, boundaries, enable_buckets, shuffle, seed, rank, device_num, longest: as in `Batches`.

    Raises:
        UserError: a part has fewer rows.
    """

    columns = TOKEN_COLUMNS

    def __init__(
        self,
        parts,
        rows,
        read,
        batch_size,
        boundaries,
        enable_buckets=True,
        shuffle=True,
        seed=0,
        rank=0,
        device_num=1,
        longest=0,
    ):
        self.parts = parts
        self.rows = rows
        self.read = read
        self.global_batch = batch_size * device_num
        self.seed = seed
        self.epoch = 0
        self.shuffle = shuffle
        self.options = {
            "batch_size": batch_size,
            "boundaries": boundaries,
            "enable_buckets": enable_buckets,
            "shuffle": shuffle,
            "drop_remainder": True,
            "rank": rank,
            "device_num": device_num,
            "longest": longest,
        }
        if min(rows) < self.global_batch:
            raise UserError(
                f"batch_size {batch_size} on {device_num} device(s) is more than the {sum(rows)} training "
                "rows"
            )
        self._held = (0, read(parts[0]))  # (number, rows) of the part that was read last
        self.buckets = bucket_lengths(self._held[1].lengths, boundaries, enable_buckets, longest)

    def __len__(self):
        """Batches of an epoch."""
        return sum(rows // self.global_batch for rows in self.rows)

    def _part(self, number):
        held = self._held  # another iterator may replace it meanwhile
        if held[0] != number:
            self._held = held = (number, self.read(self.parts[number]))
        return held[1]

    def __iter__(self):
        """Yield tuples (input_ids, input_mask, segment_ids, ...) of NumPy arrays, as `Batches` does, for the
        next epoch.
        """
        epoch, order = self.epoch, np.arange(len(self.parts))
        self.epoch += 1
        if self.shuffle:
            np.random.default_rng((self.seed, epoch)).shuffle(order)
        order = order.tolist()
        with ThreadPoolExecutor(1) as reader:
            part = reader.submit(self._part, order[0])
            for number, following in zip(order, [*order[1:], None]):
                batches = Batches(part.result(), seed=(self.seed, number), **self.options)
                batches.epoch = epoch
                if following is not None:
                    part = reader.submit(self._part, following)
                yield from batches


def open_corpus(folder, config, batch_size, group, check):
    """`ShardedBatches` of a corpus. Its labels are left out: whether the second text follows the first is not
    what is distilled.

    Args:
        folder (str): as prepare_data.py writes it, or record files of the published layout.
        config (BatchesConfig): how they are read and put into batches.
        batch_size (int): rows of a batch on one device. group (Group): the processes that train together.
        check (callable): `Examples` -> None; raises where the networks cannot read them.

    Raises:
        UserError: a file is missing or damaged, or `check` refuses its rows.
    """
    if os.path.exists(os.path.join(folder, PLAN_FILE)) and not os.path.exists(
        os.path.join(folder, INFO_FILE)
    ):
        raise UserError(
            f"data_dir: {folder} is unfinished; run the same prepare_data.py again, which goes on with it"
        )
    files, dataset_type = find_split(folder, "train", config.dataset_type)
    info = DatasetInfo.load(folder)
    _check_present(folder, files, info)
    counts = [(path, count_rows(path, dataset_type)) for path in files]
    parts, rows = _parts(counts, batch_size * group.size)

    def read(paths):
        examples = read_records(paths, dataset_type, (), config.schema_dir)
        check(examples)
        return examples

    return ShardedBatches(
        parts,
        rows,
        read,
        batch_size,
        config.bucket_boundaries,
        config.enable_buckets,
        config.do_shuffle,
        config.seed,
        group.rank,
        group.size,
        _longest(info),
    )


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
