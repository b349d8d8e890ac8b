"""TSV files, as GLUE's."""

from src.data.readers.rows import ROW_NAMES, RawRow, count_lines, present_columns, text_lines

count_rows = count_lines


def read_rows(path, task, test, bad_rows):
    """The `RawRow`s of a file without quoting: a quotation mark is a character like any other."""
    lines = text_lines(path, bad_rows, blanks=True)
    names = task.source.tsv_header(test)
    if names is None:
        header = next((line for _, line in lines if line), None)
        if header is None:
            return
        names = [name.strip() for name in header.split("\t")]
    columns = present_columns(task.source.layouts("tsv", test), names, path, task, test)
    own_name = next((names.index(name) for name in ROW_NAMES if test and name in names), None)
    text_at, pair_at, label_at = (
        None if name is None else names.index(name)
        for name in (columns.text, columns.text_pair, columns.label)
    )
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


def _not_blank(lines, width, bad_rows):
    """The lines that are rows. Where a row is a single column a blank line between two rows may be one."""
    blank = []
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


def _pair(text, columns):
    return text or None if columns.pair_is_optional else text
