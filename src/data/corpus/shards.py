"""Packed rows to the record files of one folder, finished ones kept from run to run."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Dict, List, Literal, TypedDict

import numpy as np

from src.checksums import Noted, check, notes
from src.data.corpus.files import CorpusFile
from src.data.corpus.packing import Packed, Recipe
from src.data.info import INFO_FILE, DatasetInfo
from src.data.plan import check_same, names_in
from src.data.record_writer import RecordWriter
from src.data.records import SCHEMA_FILE
from src.errors import UserError
from src.files import locked, make_folder, replacing, sample_checksum, sweep, working_folder, write_json
from src.json_file import Count, Text, read_json, read_lines
from src.kinds import CLASSIFICATION

FOLDER = "gd"
"""Where the records go inside output_dir, and the data set's task name."""
PLAN_FILE, SHARDS_FILE = "gd_plan.json", "shards.jsonl"
_OURS = re.compile(
    rf"{re.escape(PLAN_FILE)}|{re.escape(SHARDS_FILE)}|{re.escape(INFO_FILE)}|{re.escape(SCHEMA_FILE)}|"
    r"train-\d{5,}\.(mindrecord(\.db)?|tf_record)|\.writing-.*"
)
_LAYOUT = 2  # of the rows: to be raised with every change of this package that changes them


def make_plan(
    files: Sequence[CorpusFile],
    vocab_sha256: str,
    lower_case: bool,
    strip_accents: bool | None,
    dataset_type: str,
    shard_mb: int,
    recipe: Recipe,
) -> dict[str, Any]:
    """Everything that determines the bytes of the records, as a dict for JSON.

    Lines that are skipped (skip_bad_rows) are not in it: a run without it never gets past one, so that what
    either has made is the same.
    """
    inputs = [f"{file.name}, {file.size} bytes, {sample_checksum(file.path)[:16]}" for file in files]
    return {
        "layout": _LAYOUT,
        "vocab_sha256": vocab_sha256,
        "do_lower_case": lower_case,
        "strip_accents": strip_accents,
        "dataset_type": dataset_type,
        "shard_mb": shard_mb,
        **asdict(recipe),
        "inputs": inputs,
    }


class Counts(TypedDict):
    """What a shard holds; of each it may be asked the total."""

    rows: Count
    documents: Count
    sentences: Count
    cut: Count
    tokens: Count


class _Line(Counts):
    """A line of `shards.jsonl`: a shard that is finished."""

    number: Count
    files: List[Text]
    lengths: List[Count]
    """Rows by their length in tokens."""
    checksums: Dict[Text, Noted]
    """{name of a file: its note}, those of MindRecord's indices too."""


class ShardFolder:
    """The numbered record files of one plan, finished ones kept from run to run.

    `gd_plan.json` says what is made, `shards.jsonl` has a line for each finished shard, `dataset.json` comes
    last.

    Args:
        folder: new, empty, or from an earlier run.
        plan: as `make_plan` gives it.

    Raises:
        UserError: the folder holds anything else, or records of another plan.
    """

    def __init__(self, folder: str, plan: dict[str, Any]):
        self.folder, self._plan = folder, plan
        self.shards: dict[int, _Line] = {}
        """{number: the shard's line} of the finished shards."""
        if names_in(folder, PLAN_FILE, _OURS, "general distillation's prepare_data.py"):
            check_same(folder, plan, read_json(os.path.join(folder, PLAN_FILE), "the plan"))
            self._read_shards()
        info = DatasetInfo.load(folder)
        self.complete = info is not None and info.splits.get("train", {}).get("files") == self.files
        """Whether nothing is left to do."""

    def _read_shards(self) -> None:
        """Take over the lines whose files are there."""
        path = os.path.join(self.folder, SHARDS_FILE)
        if not os.path.exists(path):
            return
        try:
            lines = list(read_lines(path, "the list of shards", _Line))
        except UserError as error:
            raise UserError(f"{error}; remove {self.folder} and run again") from error
        self.shards = {line["number"]: line for line in lines if self._is_whole(line)}

    def _is_whole(self, line: _Line) -> bool:
        """Whether a shard's files are there as they were written; else it is made again."""
        try:
            for name, noted in line["checksums"].items():
                check(os.path.join(self.folder, name), noted, "")
        except (UserError, OSError):
            return False
        return True

    def discard(self) -> None:
        """Take away what stands for a corpus without rows, so that another input is not refused."""
        for name in (PLAN_FILE, SHARDS_FILE):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(self.folder, name))

    @contextlib.contextmanager
    def only_writer(self) -> Iterator[None]:
        """While this lasts, no other process writes into the folder; what killed ones left is removed.

        Raises:
            UserError: another one does.
        """
        make_folder(self.folder)
        with contextlib.ExitStack() as stack:
            try:
                sure = stack.enter_context(locked(self.folder))
            except BlockingIOError as error:
                raise UserError(
                    f"output_dir: {self.folder} is being written by {error}; wait for it, or choose another "
                    "output_dir"
                ) from error
            if not sure:
                print(
                    f"output_dir: {self.folder} cannot be locked; let no other prepare_data.py write there",
                    flush=True,
                )
            sweep(self.folder)
            yield

    @contextlib.contextmanager
    def shard(self, number: int) -> Iterator["Shard"]:
        """Yield a `Shard` to fill; on success it is finished: its files are in their place and `shards.jsonl`
        has its line.
        """
        plan = os.path.join(self.folder, PLAN_FILE)
        if not os.path.exists(plan):
            write_json(plan, self._plan)
        # MindRecord files carry their own names inside: written under the final name, in a folder of their
        # own.
        with working_folder(self.folder) as temporary:
            shard = Shard(
                temporary, f"train-{number:05d}", self._plan["dataset_type"], self._plan["max_seq_length"]
            )
            yield shard
            shard.close()
            data = [shard.writer.name] if shard.writer else []
            noted = notes(temporary)
            # The data last: it has its index then.
            for name in sorted(os.listdir(temporary), key=lambda name: name in data):
                os.replace(os.path.join(temporary, name), os.path.join(self.folder, name))
        line: _Line = {
            "number": number,
            "files": data,
            "checksums": noted,
            **shard.counts,
            "lengths": shard.lengths.tolist(),
        }
        self.shards = dict(sorted({**self.shards, number: line}.items()))
        with (
            replacing(os.path.join(self.folder, SHARDS_FILE)) as path,
            open(path, "w", encoding="utf-8") as file,
        ):
            file.writelines(json.dumps(line) + "\n" for line in self.shards.values())

    def total(self, key: Literal["rows", "documents", "sentences", "cut", "tokens"]) -> int:
        """The sum of one of their `Counts` over the finished shards."""
        return sum(line[key] for line in self.shards.values())

    @property
    def lengths(self) -> np.ndarray:
        """Rows by their length in tokens: int64 (max_seq_length + 1,)."""
        return np.sum([line["lengths"] for line in self.shards.values()], axis=0)

    @property
    def checksums(self) -> dict[str, Noted]:
        """{name of a file: `Noted`} of the finished shards."""
        lines = self.shards.values()
        return {name: noted for line in lines for name, noted in line["checksums"].items()}

    @property
    def files(self) -> list[str]:
        """Names of the record files, in order."""
        return [name for line in self.shards.values() for name in line["files"]]


class Shard:
    """One record file being written; a shard without rows has no file."""

    def __init__(self, folder: str, stem: str, dataset_type: str, max_seq_length: int):
        self._file = folder, stem, dataset_type
        self.writer: RecordWriter | None = None
        self.counts: Counts = {"rows": 0, "documents": 0, "sentences": 0, "cut": 0, "tokens": 0}
        self.lengths = np.zeros(max_seq_length + 1, np.int64)

    def write(self, packed: Packed) -> None:
        """Append one block's `Packed`."""
        examples = packed.examples
        if len(examples):
            self.writer = self.writer or RecordWriter(*self._file, CLASSIFICATION.columns)
            self.writer.write(examples)
        self.lengths += np.bincount(examples.lengths, minlength=len(self.lengths))
        self.counts["rows"] += len(examples)
        self.counts["documents"] += packed.documents
        self.counts["sentences"] += packed.sentences
        self.counts["cut"] += packed.cut
        self.counts["tokens"] += packed.tokens

    def close(self) -> None:
        """Finish the file."""
        if self.writer:
            self.writer.close()
