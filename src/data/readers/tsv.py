"""TSV files, as GLUE's."""

from collections.abc import Iterable, Iterator

from src.data.readers.rows import ROW_NAMES, BadRows, RawRow, Where, all_lines, count_lines, present_columns
from src.sources import Columns, GlueTsv, OwnRows
from src.tasks import Task

count_rows = count_lines


def read_rows(path: str, task: Task, test: bool, bad_rows: BadRows) -> Iterator[RawRow]:
    """The `RawRow`s of a file without quoting: a quotation mark is a character like any other."""
    assert isinstance(task.source, (GlueTsv, OwnRows))  # the sources with such files
    lines = all_lines(path, bad_rows)
    names = task.source.tsv_header(test)
    if names is None:
        header = next((line for _, line in lines if line), None)
        if header is None:
            return
        names = [name.strip() for name in header.split("\t")]
    columns = present_columns(task.source.layouts("tsv", test), names, path, task, test)
    own_name = next((names.index(name) for name in ROW_NAMES if test and name in names), None)
    text_at = names.index(columns.text)
    pair_at, label_at = (names.index(name) if name else None for name in (columns.text_pair, columns.label))
    for where, line in _not_blank(lines, len(names), bad_rows):
        fields = line.split("\t")
        if len(fields) != len(names):
            bad_rows.add(f"{where}: {len(fields)} tab-separated fields instead of {len(names)}")
            continue
        yield RawRow(
            fields[text_at],
            None if pair_at is None else _pair(fields[pair_at], columns),
            None if label_at is None else fields[label_at],
            where,
            "" if own_name is None else fields[own_name],
        )


def _not_blank(
    lines: Iterable[tuple[Where, str | None]], width: int, bad_rows: BadRows
) -> Iterator[tuple[Where, str]]:
    """The lines that are rows. Where a row is a single column a blank line between two rows may be one."""
    blank: list[Where] = []
    for where, line in lines:
        if line == "" and width == 1:
            blank.append(where)
        elif line:
            for place in blank:
                bad_rows.add(
                    f"{place}: a blank line in a file of one column; take it out, or, where it is a row "
                    "without a text, put a space there"
                )
            blank.clear()
            yield where, line


def _pair(text: str, columns: Columns) -> str | None:
    return text or None if columns.pair_is_optional else text
