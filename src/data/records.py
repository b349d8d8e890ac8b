"""Record files (MindRecord, TFRecord) and the arrays they hold. Legend: N rows, T tokens of all rows
together.

A row has the columns `input_ids`, `input_mask`, `segment_ids`, `label_ids`. We write rows without padding;
published files with padded rows are read too (`input_mask` tells the padding). Files are read by MindSpore's
C++ readers, so TFRecord needs TensorFlow only for writing. MindSpore and TensorFlow are imported where they
are used: the tokenizing processes need neither.
"""

import contextlib
import json
import os
import re
import sqlite3
import struct
from array import array
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Optional

import numpy as np

from src.errors import UserError, one_line
from src.files import read_json, write_json
from src.tasks import REGRESSION

COLUMNS = ("input_ids", "input_mask", "segment_ids", "label_ids")
INFO_FILE = "dataset.json"
SCHEMA_FILE = "schema.json"
UNLABELLED = -1  # label_ids of a classification row without a label; a regression row has 0.0
HISTOGRAM_STEP = 8  # width in tokens of the length histogram's buckets
_READ_BATCH = (
    1024  # rows padded together while reading: large enough that Python's share of the time vanishes
)


@dataclass(frozen=True)
class Examples:
    """Rows of different lengths as flat arrays; row i is `[offsets[i]:offsets[i + 1]]`."""

    input_ids: np.ndarray
    """int32 (T,)"""
    segment_ids: np.ndarray
    """int32 (T,), 0 or 1"""
    offsets: np.ndarray
    """int64 (N + 1,)"""
    labels: Optional[np.ndarray]
    """int32 (class index) or float32 (regression) (N,); None where the files have no labels."""

    def __len__(self):
        return len(self.offsets) - 1

    @property
    def lengths(self):
        """Tokens of each row: int64 (N,)."""
        return np.diff(self.offsets)

    def take(self, rows):
        """The `Examples` of the given row numbers (any integer sequence), in that order."""
        rows = np.asarray(rows, np.int64)
        offsets = offsets_of(self.lengths[rows])
        tokens = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], np.diff(offsets))
        return Examples(
            self.input_ids[tokens],
            self.segment_ids[tokens],
            offsets,
            None if self.labels is None else self.labels[rows],
        )


def offsets_of(lengths):
    """Where rows of these lengths start in a flat array, and where the last one ends: int64 (N + 1,)."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _concatenate(parts):
    labels = None if parts[0].labels is None else np.concatenate([part.labels for part in parts])
    return Examples(
        np.concatenate([part.input_ids for part in parts]),
        np.concatenate([part.segment_ids for part in parts]),
        offsets_of(np.concatenate([part.lengths for part in parts])),
        labels,
    )


# --- which files serve a split ------------------------------------------------------------------------------

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "eval",
    "eval": "eval",
    "valid": "eval",
    "validation": "eval",
    "test": "test",
}
_MISMATCHED = {"mm", "mismatched"}


def _format_of(path):
    """`mindrecord`, `tfrecord` or None for a file that is no record file (or, like .db, belongs to one)."""
    name = os.path.basename(path).lower()
    if name.startswith(".") or name.endswith((".db", ".json")):
        return None
    if ".mindrecord" in name:
        return "mindrecord"
    if re.search(r"\.tf_?records?(\b|[-_.\d])", name + " "):
        return "tfrecord"
    with open(path, "rb") as file:  # published files may have no ending: their first bytes tell
        return "tfrecord" if _starts_as_tfrecord(file.read(12)) else None


def _split_of(name):
    """The split that a file name names (`train`, `eval`, `eval_mm`, `test`, `test_mm`), or None when it has
    no split word.
    """
    words = re.findall(r"[a-z]+", re.sub(r"\.(mindrecord|tf_?records?).*$", "", name.lower()))
    split = next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)
    if split in ("eval", "test") and _MISMATCHED & set(words):
        return split + "_mm"
    return split


def _files(folder):
    """(sorted names of a folder's files, {name: its record format or None})."""
    names = sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))
    return names, {name: _format_of(os.path.join(folder, name)) for name in names}


def has_split(folder, split):
    """Whether some record file of `folder` serves `split`, as `find_split` takes them."""
    splits = {_split_of(name) for name, kind in _files(folder)[1].items() if kind}
    return split in splits or splits == {None}


def find_split(folder, split, dataset_type="auto"):
    """The record files of `folder` that serve `split`.

    Files are taken by name: `train.mindrecord`, `train_0.tf_record`, `dev-00001-of-00002.tfrecord` (dev and
    valid count as eval), `eval_mm.mindrecord`. Where no file of the folder names any split the whole folder
    serves the split asked for: the published layout has one folder a split. Where files do name splits,
    others never serve.

    Args:
        folder (str): folder with record files.
        split (str): `train`, `eval`, `eval_mm`, `test` or `test_mm`.
        dataset_type (str): `mindrecord`, `tfrecord`, or `auto` to go by the file endings.

    Returns:
        (files, dataset_type): sorted paths, and `mindrecord` or `tfrecord`.

    Raises:
        UserError: no such folder, no file serves the split, or `auto` met both formats.
    """
    if not os.path.isdir(folder):
        raise UserError(f"data folder {folder} does not exist")
    names, kinds = _files(folder)
    records = [name for name in names if kinds[name]]
    if any(_split_of(name) for name in records):
        serving = [name for name in records if _split_of(name) == split]
    else:
        serving = records
    formats = sorted({kinds[name] for name in serving})
    if dataset_type == "auto":
        if len(formats) > 1:
            raise UserError(
                f"{folder} holds {split} files of both formats ({', '.join(serving)}); choose one with "
                f"--dataset_type mindrecord or --dataset_type tfrecord"
            )
        dataset_type = formats[0] if formats else "auto"
    serving = [name for name in serving if kinds[name] == dataset_type]
    if not serving:
        kind = "record" if dataset_type == "auto" else dataset_type
        listing = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else "nothing"
        raise UserError(f"{folder} holds no {kind} files for the split '{split}'; it holds {listing}")
    return [os.path.join(folder, name) for name in serving], dataset_type


# --- reading ------------------------------------------------------------------------------------------------


def read_records(files, dataset_type, schema="", need_labels=True):
    """All rows of some record files, in file order, without padding.

    Args:
        files (list of str): as `find_split` gives them.
        dataset_type (str): `mindrecord` or `tfrecord`.
        schema (str): schema JSON of TFRecord files, or its folder. Default: `schema.json` beside the first
            file if there is one; without any the columns' types come from the first row.
        need_labels (bool): whether a missing `label_ids` column is an error; otherwise `labels` is then None.

    Returns:
        Examples

    Raises:
        UserError: a file is missing, truncated, renamed, of another format, without rows, or lacks a column;
            an `input_mask` is not ones followed by zeros; columns of one row differ in length.
    """
    schema = _schema_file(schema, files[0]) if dataset_type == "tfrecord" else None
    return _concatenate([_read_file(path, dataset_type, schema, need_labels) for path in files])


def _schema_file(schema, first_file):
    if not schema:
        beside = os.path.join(os.path.dirname(first_file), SCHEMA_FILE)
        return beside if os.path.exists(beside) else None
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
    return schema


def _read_file(path, dataset_type, schema, need_labels):
    rows = check_tfrecord(path) if dataset_type == "tfrecord" else check_mindrecord(path)
    try:
        columns, batches = _open(path, dataset_type, schema, need_labels, rows)
        parts = [_unpad(path, dict(zip(columns, batch))) for batch in batches]
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read as {dataset_type}: {_reason(error)}") from error
    if sum(map(len, parts)) != rows or not rows:
        raise UserError(
            f"{path}: {sum(map(len, parts))} rows could be read of {rows}"
            if rows
            else f"{path} holds no rows"
        )
    return _concatenate(parts)


def _reason(error):
    """The telling line of MindSpore's many-line errors."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("[ERROR]")] or lines or [type(error).__name__]
    return one_line(telling[0].removeprefix("[ERROR]"))[:300]


def _open(path, dataset_type, schema, need_labels, rows):
    """(column names, iterator over padded NumPy batches in their order) of one file."""
    import mindspore.dataset as ds

    if dataset_type == "mindrecord":
        data = ds.MindDataset([path], shuffle=False)
        found = data.get_col_names()
    else:
        found = (
            _features(path) if schema is None else ds.TFRecordDataset([path], schema=schema).get_col_names()
        )
    missing = [name for name in COLUMNS if name not in found and (name != "label_ids" or need_labels)]
    if missing:
        raise UserError(
            f"{path} lacks the column {' and '.join(missing)}; its columns are {', '.join(sorted(found))}"
        )
    columns = [name for name in COLUMNS if name in found]
    if dataset_type == "tfrecord":
        # Without num_samples a schema's "numRows" would silently drop the rows beyond it.
        data = ds.TFRecordDataset(
            [path], schema=schema, columns_list=columns, num_samples=rows, shuffle=False
        )
    # -1 marks what the batch's longest row added, so that a row whose columns differ in length is noticed.
    padding = {"input_ids": ([None], -1), "input_mask": ([None], 0), "segment_ids": ([None], -1)}
    data = data.project(columns).padded_batch(_READ_BATCH, drop_remainder=False, pad_info=padding)
    return columns, data.create_tuple_iterator(num_epochs=1, output_numpy=True)


def _features(path):
    """The feature names of a TFRecord file's first row, read from its bytes: `Example{1: Features{1: {1:
    name, 2: value}}}`.
    """
    with open(path, "rb") as file:
        data = file.read(int.from_bytes(file.read(12)[:8], "little"))
    try:
        return [
            bytes(name).decode("utf-8")
            for features in _protobuf(data, 1)
            for entry in _protobuf(features, 1)
            for name in _protobuf(entry, 1)
        ]
    except (IndexError, ValueError) as error:
        raise UserError(f"{path}: its first row is not a tf.train.Example") from error


def _protobuf(data, wanted):
    """The values of a protobuf message's length-delimited fields with the number `wanted`."""
    position, values = 0, []

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position, value, shift = position + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while position < len(data):
        key = varint()
        if key & 7 != 2:
            raise ValueError("not a length-delimited field")
        end = varint() + position
        if end > len(data):
            raise ValueError("a field runs past the end")
        if key >> 3 == wanted:
            values.append(data[position:end])
        position = end
    return values


def _unpad(path, batch):
    """`Examples` of one padded batch: what `input_mask` marks, row after row."""
    ids, mask, segments = batch["input_ids"], batch["input_mask"], batch["segment_ids"]  # (B, S) each
    if not ids.shape == mask.shape == segments.shape or ids.ndim != 2:
        raise UserError(
            f"{path}: input_ids, input_mask and segment_ids must be lists of one length a row; a batch has "
            f"{ids.shape}, {mask.shape} and {segments.shape}"
        )
    lengths = np.count_nonzero(mask, axis=1)
    keep = np.arange(mask.shape[1]) < lengths[:, None]  # (B, S)
    if not np.array_equal(mask, keep) or lengths.min(initial=1) < 1:
        raise UserError(
            f"{path}: an input_mask is not ones followed by zeros, so which tokens are padding is unknown"
        )
    ids, segments = ids[keep].astype(np.int32), segments[keep].astype(np.int32)
    if ids.min() < 0 or segments.min() < 0:
        raise UserError(
            f"{path}: a row's input_ids or segment_ids are shorter than its input_mask, or negative"
        )
    return Examples(ids, segments, offsets_of(lengths), _labels(path, batch.get("label_ids"), len(lengths)))


def _labels(path, labels, rows):
    if labels is None:
        return None
    if labels.size != rows:
        raise UserError(f"{path}: label_ids holds {labels.size // max(rows, 1)} values a row; 1 is expected")
    return labels.reshape(rows).astype(np.int32 if np.issubdtype(labels.dtype, np.integer) else np.float32)


# --- cheap checks before MindSpore sees a file (its own errors are pages long) ------------------------------


def _size(path):
    try:
        size = os.path.getsize(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if size == 0:
        raise UserError(f"{path} is empty")
    return size


def check_mindrecord(path):
    """The number of rows of a MindRecord file; a `UserError` unless it is complete and has its index, `path +
    '.db'`.

    A MindRecord file starts with the length of a JSON header (8 bytes, little endian) and that header, which
    lists the file's pages; page i starts at `header_size + i * page_size`.
    """
    size = _size(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length)) if length < size else None
            end = max(
                (
                    header["header_size"] + page["page_id"] * header["page_size"] + page["page_size"]
                    for page in header["page"]
                ),
                default=header["header_size"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a MindRecord file or its beginning is damaged") from error
    if size < end:
        raise UserError(f"{path} is truncated: {size} bytes of {end}")
    return _index_rows(path + ".db", os.path.basename(path))


def _index_rows(path, name):
    if not os.path.exists(path):
        raise UserError(f"{path} is missing: a MindRecord file needs its index beside it")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            names = [row[0] for row in connection.execute("select NAME from SHARD_NAME")]
            rows = connection.execute("select count(*) from INDEXES").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise UserError(f"{path} is not a MindRecord index: {error}") from error
    if name not in names:
        raise UserError(
            f"{path} is the index of {', '.join(names)}: MindRecord files carry their names "
            f"inside and must keep them"
        )
    return rows


def check_tfrecord(path):
    """The number of records of a TFRecord file; a `UserError` unless it is a chain of whole records.

    A record is its length (8 bytes, little endian), a CRC of that (4 bytes), the data, a CRC of the data (4
    bytes). Every length is followed to the end of the file; the CRC of the first one tells foreign files.
    """
    size, position, rows = _size(path), 0, 0
    with open(path, "rb") as file:
        while position < size:
            start = file.read(12)
            if position == 0 and not _starts_as_tfrecord(start):
                raise UserError(f"{path} is not a TFRecord file")
            length = int.from_bytes(start[:8], "little")
            position += 12 + length + 4
            if len(start) < 12 or position > size:
                raise UserError(f"{path} is truncated or damaged near byte {file.tell()} of {size}")
            file.seek(position)
            rows += 1
    return rows


def _starts_as_tfrecord(start):
    return len(start) == 12 and _masked_crc32c(start[:8]) == struct.unpack("<I", start[8:])[0]


def _masked_crc32c(data):
    """TFRecord's checksum: CRC-32C (Castagnoli), rotated and offset."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


# --- writing ------------------------------------------------------------------------------------------------


class RecordWriter:
    """Write one split's rows, chunk by chunk, as `<folder>/<split>.mindrecord` (+ .db) or `.tf_record` (+
    schema.json).

    MindRecord files carry their own names inside, so write into a temporary folder under the final file names
    and rename the folder (`files.replacing_folder`).

    Args:
        folder (str): an existing folder.
        split (str): the file's stem.
        dataset_type (str): `mindrecord` or `tfrecord`.
        regression (bool): labels are float32, not int32.

    Raises:
        UserError: TFRecord is asked for and TensorFlow is not installed.
    """

    def __init__(self, folder, split, dataset_type, regression):
        self.name = split + (".mindrecord" if dataset_type == "mindrecord" else ".tf_record")
        self._label_type = np.float32 if regression else np.int32
        path = os.path.join(folder, self.name)
        self._file = (
            _MindRecordFile(path, regression)
            if dataset_type == "mindrecord"
            else _TFRecordFile(path, regression)
        )

    def write(self, examples):
        """Append `Examples`; rows with `labels` None are marked as unlabelled."""
        labels = examples.labels
        if labels is None:
            labels = np.full(len(examples), 0 if self._label_type == np.float32 else UNLABELLED)
        self._file.write(examples, labels.astype(self._label_type))

    def close(self):
        """Finish the file; it is not readable before."""
        self._file.close()


_HEADER_BYTES = 1 << 21  # lists the pages, about 150 bytes each: room for some 12,000, or 12 GB
_PAGE_BYTES = (
    1 << 20
)  # MindSpore indexes page by page, at 1 kB of memory a row: small pages keep that to some 100 MB


class _MindRecordFile:
    """A MindRecord file (version 3.0), byte for byte what MindSpore's `FileWriter` writes for all rows in one
    call, and its index.

    Not written by that one, because MindSpore takes 1.6 s and 350 MiB to import, and its writer (even without
    its check of every row) several times as long a row, which was most of the time that a corpus took.
    (tests/data/test_records.py compares the files.)

    The file is a header (its length, then JSON) and pages of equal size, the last of them cut off at its end.
    Blob pages hold the rows, one after the other. Raw pages hold what rows have outside their blobs, here the
    same 13 bytes each: the rows of a blob page are a row group, and no group is divided between raw pages.
    The index is an SQLite table of each row's places.
    """

    _RAW_ROW = struct.pack("<Q", 5) + b"\x81\xa2id\x00"  # in MessagePack: {"id": 0}, the schema's number

    def __init__(self, path, regression):
        self._path, self._regression = path, regression
        self._file = open(path, "wb")  # closed by close()
        self._pages = []  # of each blob page: where its rows end in it
        self._used = _PAGE_BYTES
        self._saved = 0  # bytes, by the compression of integers; below 0 where rows are very short

    def write(self, examples, labels):
        lengths, rows = examples.lengths, np.arange(len(examples) + 1)
        masks = {
            length: _compressed(np.ones(length, np.int32), [0, length])[0]
            for length in np.unique(lengths).tolist()
        }
        labels = (
            [struct.pack(">Q", 4) + struct.pack("<f", label) for label in labels]
            if self._regression
            else _compressed(labels, rows)
        )
        columns = zip(
            _compressed(examples.input_ids, examples.offsets),
            map(masks.get, lengths.tolist()),
            labels,
            _compressed(examples.segment_ids, examples.offsets),
        )
        written = 0
        for blob in map(b"".join, columns):  # the columns in their names' order
            if self._used + 8 + len(blob) > _PAGE_BYTES:
                self._file.seek(_HEADER_BYTES + len(self._pages) * _PAGE_BYTES)
                self._pages.append(array("L"))
                self._used = 0
            self._file.write(struct.pack("<Q", len(blob)) + blob)
            self._used += 8 + len(blob)
            self._pages[-1].append(self._used)
            written += len(blob)
        self._saved += 12 * int(lengths.sum()) + 36 * len(examples) - written

    def close(self):
        rows = [0, *accumulate(map(len, self._pages))]  # blob page i holds the rows rows[i] to rows[i + 1]
        pages = [
            {
                "page_type": "BLOB_DATA",
                "page_type_id": page,
                "page_size": ends[-1],
                "row_group_ids": [{"id": 0, "offset": 0}],
                "start_row_id": rows[page],
                "end_row_id": rows[page + 1],
            }
            for page, ends in enumerate(self._pages)
        ]
        places = []  # of each blob page: its rows' raw page and where they start there
        for group, ends in enumerate(self._pages):
            size = len(ends) * len(self._RAW_ROW)
            if not places or pages[-1]["page_size"] + size > _PAGE_BYTES:
                self._file.seek(_HEADER_BYTES + len(pages) * _PAGE_BYTES)
                pages.append(
                    {
                        "page_type": "RAW_DATA",
                        "page_type_id": len(pages) if places else 0,
                        "page_size": 0,
                        "row_group_ids": [],
                        "start_row_id": 0,
                        "end_row_id": 0,
                    }
                )
            places.append((len(pages) - 1, pages[-1]["page_size"]))
            pages[-1]["row_group_ids"].append({"id": group, "offset": pages[-1]["page_size"]})
            pages[-1]["page_size"] += size
            self._file.write(self._RAW_ROW * len(ends))
        self._file.seek(0)
        self._file.write(
            self._header(
                [
                    dict(sorted({**page, "page_id": number, "shard_id": 0}.items()))
                    for number, page in enumerate(pages)
                ]
            )
        )
        self._file.close()
        self._write_index(rows, places)

    def _header(self, pages):
        schema = {name: {"shape": [-1], "type": "int32"} for name in sorted(COLUMNS)}
        if self._regression:
            schema["label_ids"]["type"] = "float32"
        header = json.dumps(
            {
                "header_size": _HEADER_BYTES,
                "index_fields": None,
                "page": pages,
                "page_size": _PAGE_BYTES,
                "compression_size": max(0, self._saved),
                "schema": [
                    {"blob_fields": sorted(COLUMNS), "desc": "BERT rows without padding", "schema": schema}
                ],
                "shard_addresses": [os.path.basename(self._path)],
                "shard_id": 0,
                "statistics": None,
                "version": "3.0",
            },
            separators=(",", ":"),
        )
        if 8 + len(header) > _HEADER_BYTES:
            raise UserError(
                f"{self._path}: {len(pages):,} MiB are more than one MindRecord file holds; split the "
                "data, or use --dataset_type tfrecord"
            )
        return struct.pack("<Q", len(header)) + header.encode()

    def _write_index(self, rows, places):
        def entries():
            for page, ends in enumerate(self._pages):
                raw_page, raw = places[page]
                start = 0
                for row, end in enumerate(ends, rows[page]):
                    yield row, raw_page, raw, raw + len(self._RAW_ROW), page, page, start, end
                    start, raw = end, raw + len(self._RAW_ROW)

        try:
            with contextlib.closing(sqlite3.connect(self._path + ".db")) as connection, connection:
                connection.execute("pragma synchronous = off")  # the file is renamed only after it is whole
                fields = (
                    "ROW_ID",
                    "PAGE_ID_RAW",
                    "PAGE_OFFSET_RAW",
                    "PAGE_OFFSET_RAW_END",
                    "ROW_GROUP_ID",
                    "PAGE_ID_BLOB",
                    "PAGE_OFFSET_BLOB",
                    "PAGE_OFFSET_BLOB_END",
                )
                connection.execute(
                    f"CREATE TABLE INDEXES({', '.join(name + ' INT NOT NULL' for name in fields)}, "
                    "PRIMARY KEY(ROW_ID))"
                )
                connection.execute("CREATE TABLE SHARD_NAME(NAME TEXT NOT NULL)")
                connection.execute("INSERT INTO SHARD_NAME VALUES (?)", (os.path.basename(self._path),))
                connection.executemany("INSERT INTO INDEXES VALUES (?, ?, ?, ?, ?, ?, ?, ?)", entries())
        except sqlite3.Error as error:
            raise UserError(f"{self._path}.db cannot be written: {error}") from error


_column_head = struct.Struct(">QI").pack


def _compressed(values, offsets):
    """The rows of an int32 column as MindRecord holds them, as a list of bytes.

    That is the number of bytes that follow (8, big endian), the number of values (4, big endian), each
    value's width in 2 bits (0, 1, 2: 1, 2, 4 bytes; the first value in the highest ones), and the values,
    little endian.
    """
    lengths = np.diff(offsets)
    if values.min(initial=0) >= -0x80 and values.max(initial=0) <= 0x7F:  # all but the token ids
        data = values.astype(np.int8).tobytes()
        return [
            _column_head(4 + -(-length // 4) + length, length)
            + bytes(-(-length // 4))
            + data[start : start + length]
            for length, start in zip(lengths.tolist(), offsets)
        ]
    codes = ((values < -0x80) | (values > 0x7F)).astype(np.uint8) + ((values < -0x8000) | (values > 0x7FFF))
    widths = 1 << codes.astype(np.int64)
    code_ends = offsets_of(-(-lengths // 4))
    padded = np.zeros(4 * code_ends[-1], np.uint8)
    padded[np.repeat(4 * code_ends[:-1] - offsets[:-1], lengths) + np.arange(len(values))] = codes
    codes = (padded.reshape(-1, 4) @ np.array([64, 16, 4, 1], np.uint8)).tobytes()
    data = values.astype("<i4").view(np.uint8).reshape(-1, 4)[np.arange(4) < widths[:, None]].tobytes()
    code_ends, data_ends = code_ends.tolist(), offsets_of(widths)[offsets].tolist()
    return [
        _column_head(4 + code_end - code + data_end - start, length)
        + codes[code:code_end]
        + data[start:data_end]
        for length, code, code_end, start, data_end in zip(
            lengths.tolist(), code_ends, code_ends[1:], data_ends, data_ends[1:]
        )
    ]


class _TFRecordFile:
    def __init__(self, path, regression):
        self._tf = import_tensorflow()
        self._path, self._regression = path, regression
        self._writer = self._tf.io.TFRecordWriter(path)
        columns = {name: {"type": "int64", "rank": 1} for name in COLUMNS}
        if regression:
            columns["label_ids"]["type"] = "float32"
        write_json(
            os.path.join(os.path.dirname(path), SCHEMA_FILE), {"datasetType": "TF", "columns": columns}
        )

    def write(self, examples, labels):
        train = self._tf.train
        ids, segments, ends, labels = (
            array.tolist() for array in (examples.input_ids, examples.segment_ids, examples.offsets, labels)
        )
        for row, (start, end) in enumerate(zip(ends[:-1], ends[1:])):
            values = {
                "input_ids": ids[start:end],
                "input_mask": [1] * (end - start),
                "segment_ids": segments[start:end],
            }
            feature = {
                name: train.Feature(int64_list=train.Int64List(value=value)) for name, value in values.items()
            }
            if self._regression:
                feature["label_ids"] = train.Feature(float_list=train.FloatList(value=labels[row : row + 1]))
            else:
                feature["label_ids"] = train.Feature(int64_list=train.Int64List(value=labels[row : row + 1]))
            example = train.Example(features=train.Features(feature=feature))
            # Maps have no order of their own: without this flag equal rows may give different bytes.
            self._checked(self._writer.write, example.SerializeToString(deterministic=True))

    def close(self):
        self._checked(self._writer.close)

    def _checked(self, function, *arguments):
        try:
            function(*arguments)
        except self._tf.errors.OpError as error:
            raise UserError(f"{self._path} cannot be written: {error.message}") from error


def import_tensorflow():
    """The tensorflow module; a `UserError` that says how to install it where it is missing."""
    os.environ.setdefault(
        "TF_CPP_MIN_LOG_LEVEL", "3"
    )  # otherwise its import prints a page about the processor;
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # we compute nothing with it
    try:
        import tensorflow
    except ImportError as error:
        raise UserError(
            f"writing TFRecord files needs TensorFlow, which cannot be imported ({error}): pip install -r "
            f"requirements-convert.txt, or use --dataset_type mindrecord"
        ) from error
    return tensorflow


# --- what a folder of records says about itself -------------------------------------------------------------


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
    """Name in `src.tasks`."""
    head: str
    """`classification` or `regression`."""
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
    [names]}}
    """

    @property
    def regression(self):
        return self.head == REGRESSION

    def save(self, folder):
        """Write `dataset.json` into `folder`."""
        write_json(os.path.join(folder, INFO_FILE), asdict(self))

    @classmethod
    def load(cls, folder):
        """The folder's `DatasetInfo`, or None when it has no `dataset.json` (the published layout).

        Raises:
            UserError: the file is not JSON or lacks a key.
        """
        path = os.path.join(folder, INFO_FILE)
        if not os.path.exists(path):
            return None
        value = read_json(path, "the data set's description")
        missing = [name for name in cls.__dataclass_fields__ if name not in value]
        if missing:
            raise UserError(f"{path} lacks {', '.join(missing)}; run prepare_data.py again")
        return cls(
            **{
                name: tuple(item) if isinstance(item, list) else item
                for name, item in value.items()
                if name in cls.__dataclass_fields__
            }
        )
