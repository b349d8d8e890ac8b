"""`dataset.json`: what a folder of records says about itself."""

import os
from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Optional, Tuple, TypedDict

import msgspec
import numpy as np

from src.checksums import Noted
from src.errors import UserError
from src.files import write_json
from src.json_file import Count, Digits, Text, read_json
from src.kinds import kind_named
from src.kinds.base import TaskKind

INFO_FILE = "dataset.json"
HISTOGRAM_STEP = 8  # width in tokens of the length histogram's buckets
_KEYS = {"kind": "head"}  # dataset.json's word for a field, where it differs
_LEFT_OUT: dict[str, Any] = {
    "strip_accents": None,
    "checksums": {},
}  # from the file, where a field has this value


class Split(TypedDict, total=False):
    """What `dataset.json` says of a split."""

    rows: Count
    labelled: bool
    length_histogram: Dict[Digits, Count]
    """{largest length: rows}"""
    files: List[Text]
    skipped: Count
    """Malformed rows that were left out, where there were any."""


class _File(msgspec.Struct, rename=_KEYS):
    """The file's shape; the fields are those of `DatasetInfo`."""

    task_name: Text
    kind: Text
    labels: Tuple[Text, ...]
    vocab_sha256: Text
    vocab_size: Count
    do_lower_case: bool
    max_seq_length: Count
    splits: Dict[Text, Split]
    strip_accents: Optional[bool] = None
    checksums: Dict[Text, Noted] = {}


def length_histogram(counts: np.ndarray) -> dict[str, int]:
    """Row counts by length (index = tokens) as {bucket's largest length as string: rows}, empty buckets left
    out.
    """
    buckets: dict[str, int] = {}
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
    labels: tuple[str, ...]
    """Class names in index order; empty for regression."""
    vocab_sha256: str
    """`vocabulary.vocabulary_hash` of the vocabulary."""
    vocab_size: int
    """Tokens in the vocabulary."""
    do_lower_case: bool
    """Whether the text was lower-cased."""
    max_seq_length: int
    """Longest row in tokens, special ones included."""
    splits: dict[str, Split]
    strip_accents: Optional[bool] = None
    """Whether accents were taken off; None, which the file leaves out: where the text was lower-cased."""
    checksums: dict[str, Noted] = field(default_factory=dict)
    """{name of a file: its note} of all that is read of the folder; {} where it notes none."""

    def save(self, folder: str) -> None:
        """Write `dataset.json` into `folder`."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["kind"] = self.kind.name
        kept = {name: value for name, value in values.items() if _LEFT_OUT.get(name, ...) != value}
        write_json(
            os.path.join(folder, INFO_FILE), {_KEYS.get(name, name): value for name, value in kept.items()}
        )

    @classmethod
    def load(cls, folder: str) -> "DatasetInfo | None":
        """The folder's `DatasetInfo`, or None when it has no `dataset.json` (the published layout).

        Raises:
            UserError: the file is not JSON, lacks a key, has a value of another type, or names an unknown
                kind.
        """
        path = os.path.join(folder, INFO_FILE)
        if not os.path.exists(path):
            return None
        try:
            values = msgspec.structs.asdict(read_json(path, "the data set's description", _File))
        except UserError as error:
            raise UserError(f"{error}; run prepare_data.py again") from error
        return cls(**{**values, "kind": kind_named(values["kind"], path)})
