"""The files between preprocessing, inference and postprocessing on Ascend 310: one .bin a row and tensor, in
NumPy's own bytes, and beside them what a metric reads of the rows.
"""

import os
import zipfile
from dataclasses import dataclass, replace

import numpy as np

from src.data.origins import append_texts, read_texts, texts_file
from src.deploy.sessions import INPUTS
from src.description import DataFacts
from src.errors import UserError
from src.examples import Examples
from src.files import make_folder, read_json, write_json
from src.kinds import kind_named

_INFO = "rows.json"
_LEAST = {
    "rows": 1,
    "seq_length": 1,
    "longest": 1,
    "num_labels": 1,
    "largest_token_id": 0,
    "largest_segment_id": 0,
}
_AGAIN = "run preprocess.py again"
_EXAMPLES = "examples.npz"
_FLAT = ("input_ids", "segment_ids", "offsets")  # of `Examples`, in that file
_COLUMN = "column_"  # before a column's name there
OWN_INPUTS = r"rows\.json|examples\.npz|\w+\.texts\.jsonl|labels\.npy|\d\d_\w+"  # older: labels.npy
OWN_RESULTS = r"row_\d+\.bin"
"""What the names of the files and folders written here look like."""


def _row(index):
    return f"row_{index:07d}.bin"


def _folder(number, name):
    return f"{number:02d}_{name}"


@dataclass(frozen=True)
class Inputs:
    """The rows that preprocess.py wrote, and what they are."""

    folder: str
    rows: int
    seq_length: int
    """Tokens every row is filled up to."""
    split: str
    """Which of the task's they are."""
    facts: DataFacts

    def read(self, start, end):
        """The three int32 (end - start, S) columns of rows start to end."""
        columns = []
        for number, name in enumerate(INPUTS):
            part = os.path.join(self.folder, _folder(number, name))
            paths = [os.path.join(part, _row(index)) for index in range(start, end)]
            columns.append(np.stack([_read(path, self.seq_length, np.int32) for path in paths]))
        return tuple(columns)

    def examples(self):
        """The rows without padding, as preprocess.py read them: what a metric compares logits with."""
        path = os.path.join(self.folder, _EXAMPLES)
        try:
            with np.load(path, allow_pickle=False) as file:
                columns = {column: file[_COLUMN + column.name] for column in self.facts.kind.columns}
                examples = Examples(*(file[name] for name in _FLAT), columns)
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} cannot be read: {error}; {_AGAIN}") from error
        if len(examples) != self.rows:
            raise UserError(f"{path} holds {len(examples)} rows, not {self.rows}; {_AGAIN}")
        if self.facts.kind.needs_texts:
            return replace(examples, origin=read_texts(self.folder, self.split, examples))
        return examples


def write_inputs(folder, columns, examples, facts, split):
    """Write every row's int32 tensors to `folder`/00_input_ids and so on, the rows as they are, and what they
    are.

    Args:
        folder (str): an empty one.
        columns (tuple of ndarray): int32 (rows, S), in the order of INPUTS.
        examples (Examples): the same rows, with their labels.
        facts (DataFacts): of the rows. split (str): which of the task's they are.
    """
    rows, length = columns[0].shape
    for number, (name, column) in enumerate(zip(INPUTS, columns)):
        part = os.path.join(folder, _folder(number, name))
        make_folder(part)
        for index in range(rows):
            column[index].astype(np.int32).tofile(os.path.join(part, _row(index)))
    labels = {_COLUMN + column.name: array for column, array in examples.columns.items()}
    flat = {name: getattr(examples, name) for name in _FLAT}
    np.savez(os.path.join(folder, _EXAMPLES), **flat, **labels)
    if facts.kind.needs_texts:
        with open(texts_file(folder, split), "w", encoding="utf-8", newline="\n") as file:
            append_texts(file, examples)
    values = {
        "rows": rows,
        "seq_length": length,
        "task_name": facts.task_name,
        "split": split,
        "kind": facts.kind.name,
        "num_labels": facts.outputs,
        "labels": list(facts.labels),
        "vocab_sha256": facts.vocab_sha256,
        "longest": facts.longest,
        "largest_token_id": facts.largest_token_id,
        "largest_segment_id": facts.largest_segment_id,
        "do_lower_case": facts.do_lower_case,
        "strip_accents": facts.strip_accents,
    }
    write_json(os.path.join(folder, _INFO), values)


def read_inputs(folder):
    """The `Inputs` in a folder; a `UserError` where preprocess.py did not write it, or an older one did."""
    path = os.path.join(folder, _INFO)
    info = read_json(path, "the description preprocess.py writes")
    needed = *_LEAST, "task_name", "split", "kind", "labels", "vocab_sha256"
    absent = [name for name in needed if name not in info]
    if absent:
        raise UserError(f"{path} lacks {', '.join(absent)}; {_AGAIN}")
    for name, least in _LEAST.items():
        if type(info[name]) is not int or info[name] < least:
            raise UserError(
                f"{path}: {name} must be a whole number of at least {least}, not {info[name]!r}; {_AGAIN}"
            )
    facts = DataFacts(
        rows=f"the rows in {folder}",
        longest=info["longest"],
        largest_token_id=info["largest_token_id"],
        largest_segment_id=info["largest_segment_id"],
        vocab_sha256=info["vocab_sha256"],
        task_name=info["task_name"],
        kind=kind_named(info["kind"], path),
        labels=tuple(info["labels"]),
        outputs=info["num_labels"],
        do_lower_case=info.get("do_lower_case"),
        strip_accents=info.get("strip_accents"),
    )
    return Inputs(folder, info["rows"], info["seq_length"], info["split"], facts)


def write_results(folder, start, logits):
    """Write the float32 logits of rows `start` onwards, (R, C) or (R, S, C)."""
    for offset, row in enumerate(logits):
        row.astype(np.float32).tofile(os.path.join(folder, _row(start + offset)))


def read_results(folder, inputs, examples):
    """The float32 logits of all `Inputs`, whose `Examples` are these: (rows, C) or, of a head that answers
    for tokens, those of all rows' tokens (T, C), without the padding of their files.

    Raises:
        UserError: a row is missing or has a wrong number of values.
    """
    rows, outputs = inputs.rows, inputs.facts.outputs
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = sum(name.endswith(".bin") for name in names)
    if found != rows:
        raise UserError(
            f"{folder} holds {found} result files, but the data has {rows} rows; every row counts, run "
            "the inference again"
        )
    paths = [os.path.join(folder, _row(index)) for index in range(rows)]
    if inputs.facts.kind.logits_per == "row":
        return np.stack([_read(path, outputs, np.float32) for path in paths])
    found = (_read(path, inputs.seq_length * outputs, np.float32).reshape((-1, outputs)) for path in paths)
    return np.concatenate([logits[:length] for logits, length in zip(found, examples.lengths)])


def _read(path, count, dtype):
    try:
        values = np.fromfile(path, dtype)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if len(values) != count:
        raise UserError(f"{path} holds {len(values)} values of type {np.dtype(dtype).name}, not {count}")
    return values
