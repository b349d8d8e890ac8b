"""Record files of a corpus, too many to hold in memory, as shuffled padded batches."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from src.data import records
from src.data.corpus.shards import PLAN_FILE
from src.data.dataset import COLUMNS, Batches, bucket_lengths
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
        read (callable): files -> `Examples` without labels.
        batch_size, boundaries, enable_buckets, shuffle, seed, rank, device_num, longest: as in `Batches`.

    Raises:
        UserError: a part has fewer rows.
    """

    columns = COLUMNS[:3]

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


def open_corpus(settings, check, batch_size, group):
    """`ShardedBatches` of a `GeneralDistillConfig`'s data_dir.

    Args:
        settings: data_dir, dataset_type, schema_dir, bucket_boundaries, enable_buckets, do_shuffle, seed.
        check (callable): `Examples` -> None; raises where the networks cannot read them.
        batch_size (int): rows of a batch on one device. group (Group): the processes that train together.

    Raises:
        UserError: a file is missing or damaged, or `check` refuses its rows.
    """
    folder = settings.data_dir
    if os.path.exists(os.path.join(folder, PLAN_FILE)) and not os.path.exists(
        os.path.join(folder, records.INFO_FILE)
    ):
        raise UserError(
            f"data_dir: {folder} is unfinished; run the same prepare_data.py again, which goes on with it"
        )
    files, dataset_type = records.find_split(folder, "train", settings.dataset_type)
    info = records.DatasetInfo.load(folder)
    absent = (
        sorted(
            set(info.splits.get("train", {}).get("files", ())) - {os.path.basename(path) for path in files}
        )
        if info
        else ()
    )
    if absent:
        raise UserError(
            f"data_dir: {folder} lacks {absent[0]}, which its {records.INFO_FILE} names; run "
            "prepare_data.py again"
        )
    count = records.check_tfrecord if dataset_type == "tfrecord" else records.check_mindrecord
    parts, rows, least = [], [], batch_size * group.size  # a part with fewer rows would give no batch
    for path in files:
        here = count(path)
        if not parts or (rows[-1] + here > ROWS_IN_MEMORY and rows[-1] >= least):
            parts.append([])
            rows.append(0)
        parts[-1].append(path)
        rows[-1] += here
    if len(parts) > 1 and rows[-1] < least:
        last, count_of_last = parts.pop(), rows.pop()
        parts[-1] += last
        rows[-1] += count_of_last

    def read(paths):
        examples = records.read_records(paths, dataset_type, settings.schema_dir, need_labels=False)
        check(examples)
        return replace(
            examples, labels=None
        )  # whether the second text follows the first is not what is distilled

    return ShardedBatches(
        parts,
        rows,
        read,
        batch_size,
        settings.bucket_boundaries,
        settings.enable_buckets,
        settings.do_shuffle,
        settings.seed,
        group.rank,
        group.size,
        _longest(info),
    )


def _longest(info):
    """Tokens of a corpus's longest row, or a little more, by its `DatasetInfo`; 0 where nothing says it."""
    lengths = info.splits.get("train", {}).get("length_histogram") if info else None
    return min(info.max_seq_length, max(map(int, lengths))) if lengths else 0
