"""JSON lines: an object a line, with `text`, `text_pair` where there is one, and `label`."""

import json

from src.data.readers.rows import ROW_NAMES, RawRow, count_lines, text_lines

count_rows = count_lines


def read_rows(path, task, test, bad_rows):
    """The `RawRow`s of a file."""
    columns = task.source.columns("jsonl", test)
    pair = columns.text_pair or "text_pair"  # looked for where none belongs, too: it is refused
    for where, line in text_lines(path, bad_rows):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        fault = _fault(value, columns, pair)
        if fault:
            bad_rows.add(f"{where}: {fault}")
            continue
        name = next((str(value[key]) for key in ROW_NAMES if test and key in value), "")
        yield RawRow(value[columns.text], value.get(pair), value.get(columns.label), where, name)


def _fault(value, columns, pair):
    """What is wrong with one object, or None."""
    if not isinstance(value, dict):
        return "not a JSON object"
    text, text_pair = value.get(columns.text), value.get(pair)
    if not isinstance(text, str):
        keys = ", ".join(filter(None, columns[:3]))
        return f'"{columns.text}" is missing or no string; the keys are {keys}'
    if not isinstance(text_pair, (str, type(None))):
        return f'"{pair}" is no string'
    try:
        (text + (text_pair or "")).encode("utf-8")
    except UnicodeEncodeError:
        return "a text holds half a surrogate pair, which is no character"
    if columns.pair_is_optional or (text_pair is not None) == (columns.text_pair is not None):
        return None
    if columns.text_pair:
        return f'"{pair}" is missing'
    return f'"{pair}" is given, but the task has one text a row'
