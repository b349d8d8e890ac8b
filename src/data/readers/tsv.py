"""TSV files, as GLUE's."""

from src.data.readers.rows import ROW_NAMES, RawRow, count_lines, present_columns, text_lines

count_rows = count_lines


def read_rows(path, task, test, bad_rows):
    """The `RawRow`s of a file without quoting: a quotation mark is a character like any other."""
    lines = text_lines(path, bad_rows)
    names = task.source.tsv_header(test)
    if names is None:
        _, header = next(lines, (None, None))
        if header is None:
            return
        names = header.split("\t")
    columns = present_columns(task.source.columns("tsv", test), names, path, task, test)
    own_name = next((names.index(name) for name in ROW_NAMES if test and name in names), None)
    text_at, pair_at, label_at = (
        None if name is None else names.index(name)
        for name in (columns.text, columns.text_pair, columns.label)
    )
    for where, line in lines:
        fields = line.split("\t")
        if len(fields) != len(names):
            bad_rows.add(f"{where}: {len(fields)} tab-separated fields instead of {len(names)}")
            continue
        yield RawRow(
            fields[text_at],
            None if pair_at is None else fields[pair_at],
            None if label_at is None else fields[label_at],
            where,
            "" if own_name is None else fields[own_name],
        )
