"""`dataset.json`: what a folder of records says about itself."""

import os
from dataclasses import dataclass, fields
from typing import Optional

import numpy as np

from src.errors import UserError
from src.files import read_json, write_json
from src.kinds import kind_named
from src.kinds.base import TaskKind

INFO_FILE = "dataset.json"
HISTOGRAM_STEP = 8  # width in tokens of the length histogram's buckets
_KEYS = {"kind": "head"}  # dataset.json's word for a field, where it differs


def length_histogram(counts):
    """Row counts by length (index = tokens) as {bucket's largest length as string: rows}, empty buckets left
    out.
    """
    buckets = {}
    for length in np.flatnonzero(counts):
        bound = str(-(-int(length) // HISTOGRAM_STEP) * HISTOGRAM_STEP)
        buckets[bound] = buckets.get(bound, 0) + int(counts[length])
    return buckets


@dataclass(frozen=True)
class DatasetInfo:
    """`dataset.json`: what was prepared, and with which vocabulary."""

    task_name: str
    """Name in `src.tasks`, or `gd` for a corpus."""
    kind: TaskKind
    """In the file its name, under the key `head`; a corpus is called a classification without labels."""
    labels: tuple
    """Class names in index order; empty for regression."""
    vocab_sha256: str
    """`vocabulary.vocabulary_hash` of the vocabulary."""
    vocab_size: int
    """Tokens in the vocabulary."""
    do_lower_case: bool
    """Whether the text was lower-cased."""
    max_seq_length: int
    """Longest row in tokens, special ones included."""
    splits: dict
    """{split: {"rows": int, "labelled": bool, "length_histogram": {largest length as string: rows}, "files":
    [names], and where malformed rows were left out, "skipped": int}}
    """
    strip_accents: Optional[bool] = None
    """Whether accents were taken off; None, which the file leaves out: where the text was lower-cased."""

    def save(self, folder):
        """Write `dataset.json` into `folder`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["kind"] = self.kind.name
        if self.strip_accents is None:
            del values["strip_accents"]
        write_json(
            os.path.join(folder, INFO_FILE), {_KEYS.get(name, name): value for name, value in values.items()}
        )

    @classmethod
    def load(cls, folder):
        """The folder's `DatasetInfo`, or None when it has no `dataset.json` (the published layout).

        Raises:
            UserError: the file is not JSON, lacks a key, or names an unknown kind.
        """
        path = os.path.join(folder, INFO_FILE)
        if not os.path.exists(path):
            return None
        value = read_json(path, "the data set's description")
        keys = {field.name: _KEYS.get(field.name, field.name) for field in fields(cls)}
        value.setdefault("strip_accents", None)
        missing = [key for key in keys.values() if key not in value]
        if missing:
            raise UserError(f"{path} lacks {', '.join(missing)}; run prepare_data.py again")
        values = {name: value[key] for name, key in keys.items()}
        values["kind"], values["labels"] = kind_named(values["kind"], path), tuple(values["labels"])
        return cls(**values)
