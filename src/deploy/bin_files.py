"""The files between preprocessing, inference and postprocessing on Ascend 310: one .bin a row and tensor, in
NumPy's own bytes, and beside them what a metric reads of the rows.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional, Tuple

import numpy as np
from msgspec import Struct

from src.data.origins import append_texts, read_origin, texts_file
from src.data.records import TOKEN_COLUMNS
from src.description import DataFacts, Description, Said, at_own_threshold
from src.errors import ZIP_FAULTS, UserError, one_line, shown
from src.examples import Examples, filled_up
from src.files import make_folder, write_json
from src.json_file import Count, Size, Text, read_json
from src.kinds import kind_named
from src.kinds.base import TaskKind

_INFO = "rows.json"
_MODEL = "model.json"
_AGAIN = "run preprocess.py again"
_EXAMPLES = "examples.npz"
_FLAT = ("input_ids", "segment_ids", "offsets")  # of `Examples`, in that file
_COLUMN = "column_"  # before a column's name there
OWN_INPUTS = r"rows\.json|examples\.npz|\w+\.texts\.jsonl|label_ids\.npy|\d\d_\w+"
OWN_RESULTS = r"row_\d+\.bin|model\.json"
"""What the names of the files and folders written here look like."""


class _Info(Struct):
    """The shape of rows.json."""

    rows: Size
    seq_length: Size
    task_name: Text
    split: Text
    kind: Text
    num_labels: Size
    labels: Tuple[Text, ...]
    vocab_sha256: Text
    longest: Size
    largest_token_id: Count
    largest_segment_id: Count
    layout: Text
    do_lower_case: Optional[bool] = None
    strip_accents: Optional[bool] = None


@dataclass(frozen=True)
class BinLayout:
    """How rows are put into files."""

    folders: tuple[str, ...]
    """Of the tensors, in the order of TOKEN_COLUMNS. A program takes them by their names' numbers."""
    rows: int
    """Rows of a file; the last one is filled up with copies of its first row."""
    name: str
    """Of the file with a number."""
    result: str
    """Of the file with the logits of its rows."""

    def files(self, start: int, end: int) -> range:
        """The numbers of the files that hold rows start to end."""
        return range(start // self.rows, -(-end // self.rows))


BIN_LAYOUTS = {
    "own": BinLayout(
        tuple(f"{number:02d}_{name}" for number, name in enumerate(TOKEN_COLUMNS)),
        1,
        "row_{:07d}.bin",
        "row_{:07d}.bin",
    ),
    "published": BinLayout(
        ("00_input_ids", "02_input_mask", "01_token_type_id"),
        32,
        "tinybert_bs32_{}.bin",
        "tinybert_bs32_{}_0.bin",
    ),
}
"""Ours, and that of the published TinyBERT programs, whose MINDIRs take token types before the mask."""
_LABELS = "label_ids.npy"  # for the published postprocess.py


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
    layout: BinLayout

    @property
    def kind(self) -> TaskKind:
        """Of the rows' task."""
        assert self.facts.kind is not None  # as `read_inputs` has it
        return self.facts.kind

    def read(self, start: int, end: int) -> tuple[np.ndarray, ...]:
        """The three int32 (end - start, S) columns of rows start to end."""
        layout, columns = self.layout, []
        files, count = layout.files(start, end), layout.rows * self.seq_length
        first = start - files[0] * layout.rows
        for name in layout.folders:
            paths = [os.path.join(self.folder, name, layout.name.format(number)) for number in files]
            rows = np.concatenate([_read(path, count, np.int32) for path in paths])
            columns.append(rows.reshape(-1, self.seq_length)[first : first + end - start])
        return tuple(columns)

    def examples(self) -> Examples:
        """The rows without padding, as preprocess.py read them: what a metric compares logits with."""
        path = os.path.join(self.folder, _EXAMPLES)
        try:
            with np.load(path, allow_pickle=False) as file:
                columns = {column: file[_COLUMN + column.name] for column in self.kind.columns}
                ids, segments, offsets = (file[name] for name in _FLAT)
                examples = Examples(ids, segments, offsets, columns)
        except (*ZIP_FAULTS, KeyError, MemoryError) as error:
            raise UserError(f"{path} cannot be read: {one_line(error)}; {_AGAIN}") from error
        fault = _fault(examples, self.rows)
        if fault:
            raise UserError(f"{path}: {fault}; {_AGAIN}")
        names = self.facts.labels or tuple(map(str, range(self.facts.outputs)))
        self.kind.check_labels(examples, names, self.split)
        if self.kind.needs_texts:
            return replace(examples, origin=read_origin(self.folder, self.split, examples))
        return examples


def _fault(examples: Examples, rows: int) -> str:
    """What is wrong with the types and lengths of some `Examples`' arrays; "" for nothing."""
    tokens = len(examples.input_ids) if examples.input_ids.ndim == 1 else -1
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]]
    expected = {name: (np.int32, (tokens,)) for name in _FLAT[:2]} | {_FLAT[2]: (np.int64, (rows + 1,))}
    arrays = {name: getattr(examples, name) for name in _FLAT}
    for column, values in examples.columns.items():
        count = rows if column.per == "row" else tokens
        expected[column.name] = column.dtype, (count,) if column.width == 1 else (count, column.width)
        arrays[column.name] = values
    for name, (dtype, shape) in expected.items():
        found = arrays[name]
        if found.dtype.kind != np.dtype(dtype).kind or found.shape != shape:
            return f"{name} is {found.dtype} {found.shape}, not {np.dtype(dtype)} {shape}"
    ends = examples.offsets
    if ends[0] != 0 or ends[-1] != tokens or (np.diff(ends) < 1).any():
        return "its rows do not lie one after the other"
    return ""


def write_inputs(
    folder: str,
    columns: Sequence[np.ndarray],
    examples: Examples,
    facts: DataFacts,
    split: str,
    layout: str = "own",
) -> None:
    """Write the rows' int32 tensors to `folder`/00_input_ids and so on, the rows as they are, and what they
    are.

    Args:
        folder: an empty one. columns: int32 (rows, S), in the order of TOKEN_COLUMNS.
        examples: the same rows, with their labels. facts: of the rows.
        split: which of the task's they are. layout: one of BIN_LAYOUTS.
    """
    (rows, length), form, kind = columns[0].shape, BIN_LAYOUTS[layout], facts.kind
    assert kind is not None  # of a task
    for name, column in zip(form.folders, columns):
        part = os.path.join(folder, name)
        make_folder(part)
        for number, start in enumerate(range(0, rows, form.rows)):
            held = filled_up(column[start : start + form.rows], form.rows)
            held.astype(np.int32).tofile(os.path.join(part, form.name.format(number)))
    if form.rows > 1 and kind.logits_per == "row":
        parts = (examples.labels[start : start + form.rows] for start in range(0, rows, form.rows))
        np.save(os.path.join(folder, _LABELS), np.stack([filled_up(part, form.rows) for part in parts]))
    labels = {_COLUMN + column.name: array for column, array in examples.columns.items()}
    flat = {name: getattr(examples, name) for name in _FLAT}
    np.savez(os.path.join(folder, _EXAMPLES), **flat, **labels)
    if kind.needs_texts:
        with open(texts_file(folder, split), "w", encoding="utf-8", newline="\n") as file:
            append_texts(file, examples)
    values = {
        "layout": layout,
        "rows": rows,
        "seq_length": length,
        "task_name": facts.task_name,
        "split": split,
        "kind": kind.name,
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


def read_inputs(folder: str) -> Inputs:
    """The `Inputs` in a folder; a `UserError` where preprocess.py did not write it."""
    path = os.path.join(folder, _INFO)
    try:
        info = read_json(path, "the description preprocess.py writes", _Info)
    except UserError as error:
        raise UserError(f"{error}; {_AGAIN}") from error
    facts = DataFacts(
        rows=f"the rows in {folder}",
        longest=info.longest,
        largest_token_id=info.largest_token_id,
        largest_segment_id=info.largest_segment_id,
        vocab_sha256=info.vocab_sha256,
        task_name=info.task_name,
        kind=kind_named(info.kind, path),
        labels=info.labels,
        outputs=info.num_labels,
        do_lower_case=info.do_lower_case,
        strip_accents=info.strip_accents,
    )
    if info.layout not in BIN_LAYOUTS:
        raise UserError(
            f"{path}: layout must be one of {', '.join(BIN_LAYOUTS)}, not {shown(info.layout)}; {_AGAIN}"
        )
    return Inputs(folder, info.rows, info.seq_length, info.split, facts, BIN_LAYOUTS[info.layout])


def write_results(folder: str, start: int, logits: np.ndarray) -> None:
    """Write the float32 logits of rows `start` onwards, (R, C) or (R, S, C)."""
    for offset, row in enumerate(logits):
        row.astype(np.float32).tofile(os.path.join(folder, BIN_LAYOUTS["own"].result.format(start + offset)))


def write_model(folder: str, description: Description) -> None:
    """Write what the model whose logits `folder` holds says of itself."""
    write_json(os.path.join(folder, _MODEL), description.to_json())


def kind_of_results(folder: str, inputs: Inputs, threshold: float | None = None) -> TaskKind:
    """The kind of the rows of `Inputs`, as the model answers whose logits `folder` holds, where that says it.

    Args:
        threshold (float): as in `Description.at_threshold`.
    """
    path = os.path.join(folder, _MODEL)
    if threshold is None and os.path.isfile(path):
        said = read_json(path, "the description infer_mindir.py writes", Said)
        return at_own_threshold(inputs.kind, said, path)
    return inputs.kind.at_threshold(threshold or 0.0)


def read_results(folder: str, inputs: Inputs, examples: Examples) -> np.ndarray:
    """The float32 logits of all `Inputs`, whose `Examples` are these: (rows, C) or, of a head that answers
    for tokens, those of all rows' tokens (T, C), without the padding of their files.

    Raises:
        UserError: a row is missing or has a wrong number of values.
    """
    rows, outputs, layout = inputs.rows, inputs.facts.outputs, BIN_LAYOUTS["own"]
    if not os.path.exists(os.path.join(folder, layout.result.format(0))):
        layout = inputs.layout  # not infer_mindir.py wrote them
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found, files = sum(name.endswith(".bin") for name in names), layout.files(0, rows)
    if found != len(files):
        raise UserError(
            f"{folder} holds {found} result files, but the data has {rows} rows in {len(files)} files; every "
            "row counts, run the inference again"
        )
    by_row = inputs.kind.logits_per == "row"
    width = outputs if by_row else inputs.seq_length * outputs
    paths = (os.path.join(folder, layout.result.format(number)) for number in files)
    logits = np.concatenate([_read(path, layout.rows * width, np.float32) for path in paths])
    logits = logits.reshape(-1, width)[:rows]
    if by_row:
        return logits
    return np.concatenate(
        [row.reshape(-1, outputs)[:length] for row, length in zip(logits, examples.lengths)]
    )


def _read(path: str, count: int, dtype: type[np.generic]) -> np.ndarray:
    try:
        values = np.fromfile(path, dtype)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if len(values) != count:
        raise UserError(f"{path} holds {len(values)} values of type {np.dtype(dtype).name}, not {count}")
    return values
