"""What both sides of the step benchmarks start from: a task's rows out of GLUE's TSV files as tokens, batches
as a user of PyTorch makes them, the first projection. Needs neither MindSpore nor PyTorch.
"""

import os
from dataclasses import dataclass

import numpy as np

TASKS = {
    "SST-2": ("sentence", None, "label", int, 64),
    "MRPC": ("#1 String", "#2 String", "Quality", int, 128),
    "STS-B": ("sentence1", "sentence2", "score", float, 128),
}
"""{task: columns of the first and second text and of the label, the label's type, the longest row in
tokens}."""


def read_tsv(path, task):
    """[(text, second text or None, label)] of a GLUE file with a header."""
    first, second, label, kind, _ = TASKS[task]
    with open(path, encoding="utf-8-sig") as file:
        names = file.readline().rstrip("\r\n").split("\t")
        lines = [line.rstrip("\r\n").split("\t") for line in file]
    columns = [None if name is None else names.index(name) for name in (first, second, label)]
    picked = ([None if at is None else fields[at] for at in columns] for fields in lines)
    return [(text, pair, kind(value)) for text, pair, value in picked]


@dataclass(frozen=True)
class Rows:
    """Rows as flat arrays; row i is `[offsets[i]:offsets[i + 1]]`."""

    ids: np.ndarray
    segments: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray

    @classmethod
    def of_task(cls, folder, task, split, vocab_file, limit=0):
        """The first `limit` rows (0: all) of FOLDER/TASK/SPLIT.tsv, lower-cased."""
        from tokenizers import BertWordPieceTokenizer

        raw = read_tsv(os.path.join(folder, task, f"{split}.tsv"), task)[: limit or None]
        tokenizer = BertWordPieceTokenizer(vocab_file, lowercase=True)
        tokenizer.enable_truncation(TASKS[task][4])
        pairs = [text if pair is None else (text, pair) for text, pair, _ in raw]
        encoded = tokenizer.encode_batch(pairs)
        labels = np.array([label for _, _, label in raw])
        labels = labels.astype(np.int32 if TASKS[task][3] is int else np.float32)
        offsets = np.concatenate([[0], np.cumsum([len(row.ids) for row in encoded])]).astype(np.int64)
        ids, segments = (
            np.concatenate([getattr(row, name) for row in encoded]).astype(np.int32)
            for name in ("ids", "type_ids")
        )
        return cls(ids, segments, offsets, labels)

    @classmethod
    def random(cls, count, length, vocab_size=30522):
        """Rows of random tokens, all of one length: packed text has no padding either."""
        ids = np.random.default_rng(0).integers(1, vocab_size, count * length).astype(np.int32)
        offsets = np.arange(count + 1, dtype=np.int64) * length
        return cls(ids, np.zeros_like(ids), offsets, np.zeros(count, np.int32))

    def save(self, path):
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path):
        with np.load(path) as file:
            return cls(**{name: file[name] for name in file.files})

    def __len__(self):
        return len(self.labels)

    @property
    def lengths(self):
        """Tokens of each row."""
        return np.diff(self.offsets)

    def padded(self, numbers, length=0):
        """(ids, mask, segments, labels) of some rows, padded to `length`; 0: to the longest of them."""
        numbers = np.asarray(numbers)
        places = np.arange(length or int(self.lengths[numbers].max()))
        mask = places < self.lengths[numbers][:, None]
        at = np.where(mask, self.offsets[numbers][:, None] + places, 0)
        ids, segments = (np.where(mask, flat[at], 0) for flat in (self.ids, self.segments))
        return ids, mask.astype(np.int32), segments, self.labels[numbers]


def occurring_tokens(folder, task, vocab_file):
    """Ids of padding and of all tokens of a task's training and dev rows: int array, sorted."""
    ids = [Rows.of_task(folder, task, split, vocab_file).ids for split in ("train", "dev")]
    return np.unique(np.concatenate([[0], *ids]))


def plan_batches(lengths, batch_size, batching, seed):
    """[(row numbers, padded length or 0 for the longest's)] of one epoch, the remainder included.

    Args:
        batching (str): "shuffled"; "grouped", as transformers' LengthGroupedSampler does it: batches out of
            windows of 50 batches sorted by length; or a number, the length that every row is padded to.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    if batching == "grouped":
        window = 50 * batch_size
        windows = [order[start : start + window] for start in range(0, len(order), window)]
        order = np.concatenate([part[np.argsort(-lengths[part], kind="stable")] for part in windows])
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if batching == "grouped":
        batches = [batches[index] for index in generator.permutation(len(batches))]
    length = int(batching) if batching not in ("shuffled", "grouped") else 0
    return [(part, length) for part in batches]


def first_projection(student_width, teacher_width):
    """The projection's weight that both sides start from, (teacher_width, student_width)."""
    if student_width == teacher_width:
        return np.eye(student_width, dtype=np.float32)
    return np.random.default_rng(0).normal(0, 0.02, (teacher_width, student_width)).astype(np.float32)
