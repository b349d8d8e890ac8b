"""Parquet files, as Hugging Face's."""

from collections.abc import Iterator
from typing import Any

from src.data.readers.rows import ROW_NAMES, BadRows, RawRow, Where, present_columns
from src.errors import UserError, listed
from src.files import plain_path
from src.sources import ClueTopics, GlueTsv, OwnRows
from src.tasks import Task

_ROWS = 4096  # decoded at a time


def count_rows(path: str) -> int:
    """How many rows a file has."""
    return _open(path).metadata.num_rows


def read_rows(path: str, task: Task, test: bool, bad_rows: BadRows) -> Iterator[RawRow]:
    """The `RawRow`s of a file, decoded some thousand at a time."""
    file = _open(path)
    assert isinstance(task.source, (GlueTsv, OwnRows, ClueTopics))  # the sources with such files
    layouts = task.source.layouts("parquet", test)
    columns = present_columns(layouts, file.schema_arrow.names, path, task, test)
    text, pair, label = columns.text, columns.text_pair, columns.label
    own_name = next((name for name in ROW_NAMES if test and name in file.schema_arrow.names), None)
    number = 0
    for batch in _batches(path, file, [name for name in (text, pair, label, own_name) if name]):
        for value in batch:
            number += 1
            where = Where(path, number, "row")
            if not isinstance(value[text], str) or (
                pair and not isinstance(value[pair], str) and not columns.pair_is_optional
            ):
                bad_rows.add(f"{where}: a text is missing or no string")
                continue
            yield RawRow(
                value[text],
                (value[pair] or None if columns.pair_is_optional else value[pair]) if pair else None,
                value[label] if label else None,
                where,
                str(value[own_name]) if own_name else "",
            )


def _open(path: str) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        # Not only when it is absent: pyarrow 26 refuses the NumPy 1 that MindSpore needs.
        raise UserError(
            f"reading {path} needs pyarrow, which cannot be imported ({error}): pip install -r "
            "requirements-convert.txt"
        ) from error
    try:
        file = pyarrow.parquet.ParquetFile(plain_path(path))
        file.schema_arrow.names  # noqa: B018 (decoded here, where a fault is the file's)
        return file
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a parquet file or is damaged: {listed([error])}") from error


def _batches(path: str, file: Any, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Lists of rows."""
    import pyarrow

    try:
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
            yield batch.to_pylist()
    # pyarrow raises any of them for damaged pages, the last where a text is no UTF-8.
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {listed([error])}") from error
