"""Writes record files, MindRecord by MindSpore and TFRecord by TensorFlow; `records.py` reads them."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from src.data.records import MASK, SCHEMA_FILE, SEGMENTS, TOKEN_COLUMNS, TOKENS, telling
from src.errors import UserError
from src.examples import Column, Examples
from src.files import is_utf8, plain_path, set_mode, write_json


class RecordWriter:
    """Write one split's rows, chunk by chunk, as `<folder>/<stem>.mindrecord` (+ .db) or `.tf_record` (+
    schema.json). The same chunks give the same bytes.

    MindRecord files carry their own names inside, so write into a temporary folder under the final file names
    and rename the folder (`files.replacing_folder`).

    Args:
        folder: an existing folder.
        stem: the file's name without its ending.
        dataset_type: `mindrecord` or `tfrecord`.
        columns: what to write besides the tokens.

    Raises:
        UserError: the disk does not take it, or TFRecord is asked for and TensorFlow is not installed.
    """

    def __init__(self, folder: str, stem: str, dataset_type: str, columns: Sequence[Column]):
        self.name = stem + (".mindrecord" if dataset_type == "mindrecord" else ".tf_record")
        self._columns = columns
        path = os.path.join(folder, self.name)
        self._file: _MindRecordFile | _TFRecordFile = (
            _MindRecordFile(path, columns) if dataset_type == "mindrecord" else _TFRecordFile(path, columns)
        )

    def write(self, examples: Examples) -> None:
        """Append `Examples`; a column that they lack is written as its `fill`."""
        if len(examples):  # MindSpore refuses to write nothing
            self._file.write(self._rows(examples))

    def _rows(self, examples: Examples) -> list[dict[str, np.ndarray]]:
        """[{name: array}] of the rows."""
        ones = np.ones(examples.lengths.max(), np.int32)
        count = {"row": len(examples), "token": len(examples.input_ids)}
        columns: dict[Column, np.ndarray] = {}
        for column in self._columns:
            none = np.full(count[column.per] * column.width, column.fill)
            flat = examples.columns.get(column, none).reshape(-1, column.width)
            columns[column] = flat.astype(column.dtype)
        offsets, rows = examples.offsets.tolist(), []
        for row, (start, end) in enumerate(zip(offsets, offsets[1:])):
            values = {
                TOKENS: examples.input_ids[start:end],
                MASK: ones[: end - start],
                SEGMENTS: examples.segment_ids[start:end],
            }
            for column, flat in columns.items():
                values[column.name] = flat[start:end, 0] if column.per == "token" else flat[row]
            rows.append(values)
        return rows

    def close(self) -> None:
        """Finish the file; it is not readable before."""
        self._file.close()


class _KnownHeader:
    """What a `FileWriter` asks its header for, as plain values: MindSpore's own parses its schema seven times
    a row, which is more than half of the time of writing.
    """

    def __init__(self, header: Any):
        self.header, self.schema, self.blob_fields = header.header, header.schema, header.blob_fields


class _MindRecordFile:
    # MindSpore's own sizes take 48 MB for a single row; the header has room for the list of some 12,000
    # pages. It also indexes page by page, at 1 kB of memory a row.
    HEADER_BYTES, PAGE_BYTES = 1 << 21, 1 << 20

    def __init__(self, path: str, columns: Sequence[Column]):
        from mindspore.mindrecord import FileWriter

        # Its index needs a whole path in UTF-8, links resolved: where that is not so, the files come later.
        self._elsewhere = None if is_utf8(os.path.realpath(path)) else tempfile.TemporaryDirectory()
        self._folder = self._elsewhere.name if self._elsewhere else os.path.dirname(path)
        self._path = path
        types = {name: "int32" for name in TOKEN_COLUMNS} | {c.name: np.dtype(c.dtype).name for c in columns}
        with telling(path, "cannot be written"):
            self._writer = FileWriter(os.path.join(self._folder, os.path.basename(path)), overwrite=True)
            self._writer.set_header_size(self.HEADER_BYTES)
            self._writer.set_page_size(self.PAGE_BYTES)
            schema = {name: {"type": kind, "shape": [-1]} for name, kind in types.items()}
            self._writer.add_schema(schema, "BERT rows without padding")
            self._writer._header = _KnownHeader(self._writer._header)
            # It would compare every value's type with the schema, which takes as long again as writing, and
            # leave out rows that differ without a word; ours are made to fit.
            self._writer._verify_based_on_schema = lambda rows: None

    def write(self, rows: list[dict[str, np.ndarray]]) -> None:
        with telling(self._path, "cannot be written"):
            self._writer.write_raw_data(rows)

    def close(self) -> None:
        with telling(self._path, "cannot be written"):
            self._writer.commit()
        for path in (self._path, self._path + ".db"):
            if self._elsewhere:
                shutil.move(os.path.join(self._folder, os.path.basename(path)), path)
            set_mode(path)  # MindSpore lets nobody else read them
        if self._elsewhere:
            self._elsewhere.cleanup()


class _TFRecordFile:
    def __init__(self, path: str, columns: Sequence[Column]):
        self._tf = import_tensorflow()
        self._path = path
        self._writer = self._tf.io.TFRecordWriter(plain_path(path))
        types = {name: "int64" for name in TOKEN_COLUMNS}
        types |= {c.name: "float32" if c.dtype == np.float32 else "int64" for c in columns}
        described = {name: {"type": kind, "rank": 1} for name, kind in types.items()}
        schema = {"datasetType": "TF", "columns": described}
        write_json(os.path.join(os.path.dirname(path), SCHEMA_FILE), schema)

    def write(self, rows: list[dict[str, np.ndarray]]) -> None:
        train = self._tf.train
        for row in rows:
            feature = {}
            for name, values in row.items():
                if values.dtype == np.float32:
                    feature[name] = train.Feature(float_list=train.FloatList(value=values.tolist()))
                else:
                    feature[name] = train.Feature(int64_list=train.Int64List(value=values.tolist()))
            example = train.Example(features=train.Features(feature=feature))
            # Maps have no order of their own: without this flag equal rows may give different bytes.
            self._checked(self._writer.write, example.SerializeToString(deterministic=True))

    def close(self) -> None:
        self._checked(self._writer.close)

    def _checked(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            function(*arguments)
        except self._tf.errors.OpError as error:
            raise UserError(f"{self._path} cannot be written: {error.message}") from error


def import_tensorflow() -> ModuleType:
    """The tensorflow module; a `UserError` that says how to install it where it is missing."""
    # Otherwise its import prints a page about the processor.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # we compute nothing with it
    try:
        import tensorflow
    except ImportError as error:
        raise UserError(
            f"writing TFRecord files needs TensorFlow, which cannot be imported ({error}): pip install -r "
            f"requirements-convert.txt, or use --dataset_type mindrecord"
        ) from error
    return tensorflow
