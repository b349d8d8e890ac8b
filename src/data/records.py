"""Record files (MindRecord, TFRecord) and the arrays they hold. Legend: N rows, T tokens of all rows
together.

A row has `input_ids`, `input_mask`, `segment_ids` and the columns of its kind of task, as `label_ids`. We
write rows without padding; published files with padded rows are read too (`input_mask` tells the padding).
MindSpore reads both formats and writes MindRecord; TensorFlow writes TFRecord. Both are imported where they
are used: the tokenizing processes need neither.
"""

import contextlib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from src.data.info import INFO_FILE
from src.data.readers.files import check_parts
from src.data.whole import check_files
from src.errors import UserError, one_line
from src.examples import Column, Examples, concatenate, offsets_of
from src.files import plain_path
from src.json_file import read_json

TOKENS, MASK, SEGMENTS = TOKEN_COLUMNS = ("input_ids", "input_mask", "segment_ids")
SCHEMA_FILE = "schema.json"
_REAL = "is_real_example"  # of run_classifier.py's rows: 0 for those that only fill a batch
_READ_BATCH = 1024  # rows padded together while reading: Python's share of the time vanishes
# Pads what a batch's longer rows add, so that a row whose columns differ in length is noticed.
_ABSENT = -(2**31)


# --- which files serve a split ------------------------------------------------------------------------------

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "eval",
    "eval": "eval",
    "valid": "eval",
    "validation": "eval",
    "test": "test",
    "predict": "test",  # as Google's run_classifier.py calls its file
}
_MISMATCHED = {"mm", "mismatched"}
_NO_RECORDS = (
    *(".jsonl", ".txt", ".tsv", ".csv", ".parquet", ".npz", ".npy", ".yaml", ".yml", ".md"),
    *(".html", ".log", ".py", ".sh", ".zip", ".gz", ".tar", ".ckpt", ".safetensors"),
)
"""Endings that say another format, so that MindSpore need not open such a file to know."""


def _format_of(path: str) -> str | None:
    """`mindrecord`, `tfrecord` or None for a file that is no record file (or, like .db, belongs to one)."""
    name = os.path.basename(path).lower()
    if name.startswith(".") or name.endswith((".db", ".json")):
        return None
    if ".mindrecord" in name:
        return "mindrecord"
    if re.search(r"\.tf_?records?(\b|[-_.\d])", name + " "):
        return "tfrecord"
    if name.endswith(_NO_RECORDS):
        return None
    return "tfrecord" if _is_tfrecord(path) else None  # published files may have no ending


def _split_of(name: str) -> str | None:
    """The split that a file name names (`train`, `eval`, `eval_mm`, `test`, `test_mm`), or None when it has
    no split word.
    """
    words = re.findall(r"[a-z]+", re.sub(r"\.(mindrecord|tf_?records?).*$", "", name.lower()))
    split = next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)
    if split in ("eval", "test") and _MISMATCHED & set(words):
        return split + "_mm"
    return split


def _files(folder: str) -> tuple[list[str], dict[str, str | None]]:
    """(sorted names of a folder's files, {name: its record format or None})."""
    names = sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))
    return names, {name: _format_of(os.path.join(folder, name)) for name in names}


def has_records(folder: str) -> bool:
    """Whether any file of `folder` holds records, or its dataset.json promises some."""
    names, formats = _files(folder)
    return INFO_FILE in names or any(formats.values())


def has_split(folder: str, split: str) -> bool:
    """Whether some record file of `folder` serves `split`, as `find_split` takes them."""
    splits = {_split_of(name) for name, kind in _files(folder)[1].items() if kind}
    return split in splits or splits == {None}


def find_split(folder: str, split: str, dataset_type: str = "auto") -> tuple[list[str], str]:
    """The record files of `folder` that serve `split`.

    Files are taken by name: `train.mindrecord`, `train_0.tf_record`, `dev-00001-of-00002.tfrecord` (dev and
    valid count as eval), `eval_mm.mindrecord`. Where no file of the folder names any split the whole folder
    serves the split asked for: the published layout has one folder a split. Where files do name splits,
    others never serve.

    Args:
        folder: folder with record files.
        split: `train`, `eval`, `eval_mm`, `test` or `test_mm`.
        dataset_type: `mindrecord`, `tfrecord`, or `auto` to go by the file endings.

    Returns:
        (files, dataset_type): sorted paths, and `mindrecord` or `tfrecord`.

    Raises:
        UserError: no such folder, no file serves the split, or `auto` met both formats.
    """
    if not os.path.isdir(folder):
        raise UserError(f"data folder {folder} does not exist")
    names, kinds = _files(folder)
    records = {name: kind for name, kind in kinds.items() if kind}
    if any(_split_of(name) for name in records):
        serving = [name for name in records if _split_of(name) == split]
    else:
        serving = list(records)
    formats = sorted({records[name] for name in serving})
    if dataset_type == "auto":
        if len(formats) > 1:
            raise UserError(
                f"{folder} holds {split} files of both formats ({', '.join(serving)}); choose one with "
                f"--dataset_type mindrecord or --dataset_type tfrecord"
            )
        dataset_type = formats[0] if formats else "auto"
    serving = [name for name in serving if records[name] == dataset_type]
    if not serving:
        kind = "record" if dataset_type == "auto" else dataset_type
        listing = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else "nothing"
        raise UserError(f"{folder} holds no {kind} files for the split '{split}'; it holds {listing}")
    files = [os.path.join(folder, name) for name in serving]
    check_parts(files)
    return files, dataset_type


# --- reading ------------------------------------------------------------------------------------------------


def read_records(
    files: Sequence[str], dataset_type: str, columns: Sequence[Column], schema: str = ""
) -> Examples:
    """All rows of some record files, in file order, without padding.

    Args:
        files: as `find_split` gives them.
        dataset_type: `mindrecord` or `tfrecord`.
        columns: what to read besides the tokens. Whole numbers come as int32 and others as float32, whatever
            `Column.dtype` says: the kind of task judges them.
        schema: schema JSON of TFRecord files, or its folder. Default: `schema.json` beside the first file if
            there is one; without any the types come from the first row.

    Raises:
        UserError: a file is missing, truncated, renamed, of another format, without rows, or lacks a column;
            an `input_mask` is not ones followed by zeros; columns of one row differ in length.
    """
    schema_file = _schema_file(schema, files[0]) if dataset_type == "tfrecord" else None
    check_whole(files, dataset_type)
    parts = [_read_file(path, dataset_type, columns, schema_file) for path in files]
    return concatenate(parts)


def _schema_file(schema: str, first_file: str) -> str | None:
    if not schema:
        beside = os.path.join(os.path.dirname(first_file), SCHEMA_FILE)
        return plain_path(beside) if os.path.exists(beside) else None
    if os.path.isdir(schema):
        names = sorted(name for name in os.listdir(schema) if name.endswith(".json") and name != INFO_FILE)
        if SCHEMA_FILE in names:
            names = [SCHEMA_FILE]
        if len(names) != 1:
            raise UserError(
                f"schema_dir: {schema} must hold {SCHEMA_FILE} or one other schema file; "
                f"it holds {', '.join(names) or 'none'}"
            )
        schema = os.path.join(schema, names[0])
    read_json(schema, "schema_dir: the schema file")
    return plain_path(schema)


def read_alone(path: str) -> None:
    """Read the tokens of a MindRecord file that nothing vouches for; errors as `read_records`."""
    _read_file(path, "mindrecord", (), None)


def _read_file(path: str, dataset_type: str, columns: Sequence[Column], schema: str | None) -> Examples:
    # Not `count_rows`: a corpus is read by a thread, and MindSpore's `get_dataset_size` releases whatever
    # iterators other threads create meanwhile.
    rows = _count_tfrecord(path) if dataset_type == "tfrecord" else None
    parts: list[Examples] = []
    read = 0
    with telling(path, f"cannot be read as {dataset_type}, it may be truncated or damaged"):
        names, batches = _open(path, dataset_type, columns, schema, rows)
        for batch in batches:
            read += len(batch[0])
            kept = _without_fillers(dict(zip(names, batch)))
            parts += [_unpad(path, kept, columns)] if len(kept[MASK]) else []
    if not parts:
        raise UserError(f"{path} holds no rows")
    if rows not in (None, read):
        raise UserError(f"{path}: {read} rows could be read of {rows}")
    return concatenate(parts)


def _without_fillers(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A batch without the rows that Google's run_classifier.py writes to fill the last batch of a TPU."""
    if _REAL not in batch:
        return batch
    real = batch[_REAL].reshape(len(batch[MASK])) != 0
    return {name: values[real] for name, values in batch.items() if name != _REAL}


@contextlib.contextmanager
def telling(path: str, fault: str) -> Iterator[None]:
    """MindSpore's many-line errors as a `UserError`: the file, the fault and the line that tells most."""
    from mindspore.mindrecord.common.exceptions import MindRecordException

    try:
        yield
    except (RuntimeError, ValueError, MindRecordException) as error:  # a ValueError: of the file's name
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        best = next((line for line in lines if line.startswith("[ERROR]")), lines[0])
        raise UserError(f"{path} {fault}: {one_line(best.removeprefix('[ERROR]'))[:300]}") from error


def _open(
    path: str, dataset_type: str, columns: Sequence[Column], schema: str | None, rows: int | None
) -> tuple[list[str], Iterator[list[np.ndarray]]]:
    """(column names, iterator over padded NumPy batches in their order) of one file."""
    import mindspore.dataset as ds

    if dataset_type == "mindrecord":
        data = ds.MindDataset([plain_path(path)], shuffle=False)
    else:
        data = ds.TFRecordDataset(_pattern(path), schema=schema)
    found = data.get_col_names()
    names = [*TOKEN_COLUMNS, *(column.name for column in columns)]
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(
            f"{path} lacks the column {' and '.join(missing)}; its columns are {', '.join(sorted(found))}"
        )
    names += [_REAL] if _REAL in found else []
    if dataset_type == "tfrecord":
        # Without num_samples a schema's "numRows" would silently drop the rows beyond it.
        data = ds.TFRecordDataset(_pattern(path), schema, names, num_samples=rows, shuffle=False)
    padding: dict[str, Any] = {TOKENS: ([None], _ABSENT), MASK: ([None], 0), SEGMENTS: ([None], _ABSENT)}
    padding |= {c.name: ([None], _ABSENT) for c in columns if c.per == "token" and c.name in names}
    data = data.project(names).padded_batch(_READ_BATCH, drop_remainder=False, pad_info=padding)
    return names, data.create_tuple_iterator(num_epochs=1, output_numpy=True)


def _pattern(path: str) -> list[str]:
    """`path` for MindSpore's TFRecord reader, which takes patterns: brackets in a name are none."""
    return [glob.escape(plain_path(path))]


def _unpad(path: str, batch: dict[str, np.ndarray], columns: Sequence[Column]) -> Examples:
    """`Examples` of one padded batch: what `input_mask` marks, row after row."""
    mask = batch[MASK]  # (B, S)
    per_token = [column for column in columns if column.per == "token" and column.name in batch]
    names = [*TOKEN_COLUMNS, *(column.name for column in per_token)]
    if mask.ndim != 2 or any(batch[name].shape != mask.shape for name in names):
        raise UserError(
            f"{path}: {', '.join(names)} must be lists of one length a row; a batch has "
            f"{', '.join(str(batch[name].shape) for name in names)}"
        )
    lengths = np.count_nonzero(mask, axis=1)
    keep = np.arange(mask.shape[1]) < lengths[:, None]  # (B, S)
    if not np.array_equal(mask, keep) or lengths.min(initial=1) < 1:
        raise UserError(
            f"{path}: an input_mask is not ones followed by zeros, so which tokens are padding is unknown"
        )
    tokens = {name: batch[name][keep] for name in names if name != MASK}
    for name, values in tokens.items():
        if values.min() == _ABSENT or (name in TOKEN_COLUMNS and values.min() < 0):
            raise UserError(f"{path}: a row's {name} are shorter than its input_mask, or negative")
    kept = {column: _narrow(tokens[column.name]) for column in per_token}
    for column in columns:
        if column.per == "row" and column.name in batch:
            kept[column] = _narrow(_of_rows(path, column, batch[column.name], len(lengths)))
    return Examples(
        tokens[TOKENS].astype(np.int32),
        tokens[SEGMENTS].astype(np.int32),
        offsets_of(lengths),
        {column: kept[column] for column in columns if column in kept},
    )


def _of_rows(path: str, column: Column, values: np.ndarray, rows: int) -> np.ndarray:
    if values.size != rows * column.width:
        raise UserError(
            f"{path}: {column.name} holds {values.size // rows} values a row; {column.width} is expected"
        )
    return values.reshape(rows if column.width == 1 else (rows, column.width))


def _narrow(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int32 if np.issubdtype(values.dtype, np.integer) else np.float32)


# --- how many rows, and whether the file is whole -----------------------------------------------------------


def count_rows(files: Sequence[str], dataset_type: str) -> list[int]:
    """The number of rows of each record file, without reading them all.

    Raises:
        UserError: a file is missing, empty, damaged, of another format, truncated, or (MindRecord) renamed
            or without its index `path + ".db"`.
    """
    check_whole(files, dataset_type)  # all of them at once: what looks at them takes its time to start
    return [*map(_count_tfrecord if dataset_type == "tfrecord" else _count_mindrecord, files)]


def check_whole(files: Sequence[str], dataset_type: str) -> None:
    """Raise a `UserError` where one of some record files is missing, or damaged as far as that can be told
    before MindSpore opens it.
    """
    for path in files:
        _check_there(path, dataset_type)
    check_files(files, dataset_type)


def _check_there(path: str, dataset_type: str) -> None:
    try:
        size = os.path.getsize(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if size == 0:
        raise UserError(f"{path} is empty")
    if dataset_type == "mindrecord" and not os.path.exists(path + ".db"):
        raise UserError(f"{path}.db is missing: a MindRecord file needs its index beside it")


def _count_mindrecord(path: str) -> int:
    import mindspore.dataset as ds

    with telling(path, "is not a whole MindRecord file"):
        rows = ds.MindDataset([plain_path(path)], shuffle=False).get_dataset_size()
    if rows:
        # The count is the index's own; the last row ends where the file does.
        with telling(path, "is truncated: its last row cannot be read"):
            last = ds.MindDataset([plain_path(path)], sampler=ds.SequentialSampler(rows - 1, 1))
            list(last.create_tuple_iterator(num_epochs=1, output_numpy=True))
    return rows


def _count_tfrecord(path: str) -> int:
    """MindSpore counts a record that is cut, and reads it too where its values are whole up to the cut; so
    the lengths are followed here.

    A record is its length (8 bytes, little endian), a checksum of that (4 bytes), the data, a checksum of the
    data (4 bytes).
    """
    if not _is_tfrecord(path):
        raise UserError(f"{path} is not a TFRecord file")
    size, position, rows = os.path.getsize(path), 0, 0
    with open(path, "rb") as file:
        while position < size:
            file.seek(position)
            position += 8 + 4 + int.from_bytes(file.read(8), "little") + 4
            rows += 1
    if position != size:
        raise UserError(f"{path} is truncated or damaged: its last record ends at byte {position} of {size}")
    return rows


def _is_tfrecord(path: str) -> bool:
    """Whether MindSpore takes a file for TFRecord: it checks the first record's length and features."""
    import mindspore.dataset as ds

    try:
        ds.TFRecordDataset(_pattern(path)).get_col_names()
    except RuntimeError:
        return False
    return True
