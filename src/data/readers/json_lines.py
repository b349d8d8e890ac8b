"""JSON lines: an object a line, with `text`, `text_pair` where there is one, and `label` (or, of tagged text,
`entities`: [[start, end, type], ...], the end being the place after the last character). The texts may have
Hugging Face's names instead, as `sentence1` and `sentence2`: those of the first row whose texts are there.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from src.data.readers.entities import Entities, entities_fault
from src.data.readers.rows import (
    ROW_NAMES,
    BadRows,
    RawRow,
    Where,
    count_lines,
    fitting_layout,
    is_text,
    other_layout,
    text_lines,
    wanted_names,
)
from src.errors import listed
from src.json_file import parse
from src.sources import ClueTopics, Columns, GlueTsv, OwnRows
from src.tasks import Task

count_rows = count_lines


def read_rows(path: str, task: Task, test: bool, bad_rows: BadRows) -> Iterator[RawRow]:
    """The `RawRow`s of a file."""
    assert isinstance(task.source, (GlueTsv, OwnRows, ClueTopics))  # the sources with such files
    layouts, columns = task.source.layouts("jsonl", test), None
    for where, value in objects(path, bad_rows):
        if columns is None and isinstance(value, dict):
            columns = fitting_layout(layouts, value)
        fault = _fault(value, columns, layouts, test)
        if fault:
            bad_rows.add(f"{where}: {fault}")
            continue
        assert columns is not None  # or its texts were a fault
        pair = value.get(columns.text_pair)
        if columns.pair_is_optional:
            pair = pair or None
        label = value.get(columns.label)
        if columns.words:
            label = columns.words.get(str(label), label)
        if columns.entities in value:
            label = Entities(sorted(tuple(item) for item in value[columns.entities]))
        name = next((str(value[key]) for key in ROW_NAMES if test and value.get(key) is not None), "")
        yield RawRow(value[columns.text], pair, label, where, name)


def objects(path: str, bad_rows: BadRows) -> Iterator[tuple[Where, Any]]:
    """(`Where`, value) of every line of a file; None for one that is no JSON."""
    for where, line in text_lines(path, bad_rows):
        try:
            yield where, parse(line)
        except ValueError:
            yield where, None


def text_fault(value: object, text: str, pair: str | None = None) -> str | None:
    """What is wrong with an object's text, under the key `text`, and its second one; None for nothing."""
    if not isinstance(value, dict):
        return "not a JSON object"
    first, second = value.get(text), value.get(pair)
    if not isinstance(first, str):
        return f'"{text}" is missing or no string'
    if not isinstance(second, (str, type(None))):
        return f'"{pair}" is no string'
    if not is_text(first + (second or "")):
        return "a text holds half a surrogate pair, which is no character"
    return None


def _fault(value: object, columns: Columns | None, layouts: Sequence[Columns], test: bool) -> str | None:
    """What is wrong with one object, or None; `columns` is None as long as no row's texts were there."""
    if not isinstance(value, dict):
        return "not a JSON object, which every line must be"
    columns = columns or next((columns for columns in layouts if columns.text in value), layouts[0])
    pair = columns.text_pair or "text_pair"  # looked for where none belongs, too: it is refused
    fault = text_fault(value, columns.text, pair)
    if fault and not any(other.text in value for other in layouts):
        return f"{fault}; texts are called {wanted_names(layouts)}{_other_layout(value, layouts)}"
    if fault:
        return fault
    label = value.get(columns.label)
    if isinstance(label, str) and not is_text(label):
        return "its label holds half a surrogate pair, which is no character"
    given = value.get(pair) is not None
    if columns.text_pair and not given and not columns.pair_is_optional:
        return f'"{pair}" is missing'
    if columns.entities and columns.entities in value:
        return _tagged_fault(value, columns, columns.entities, pair)
    if given and not columns.text_pair:
        return f'"{pair}" is given, but the task has one text a row'
    return None if test else _no_label(value, columns)


def _no_label(value: dict[str, Any], columns: Columns) -> str | None:
    """What is wrong with an object that has no key for its label; None for one that has."""
    wanted = [key for key in (columns.label, columns.entities) if key]
    if any(key in value for key in wanted):
        return None
    names = " or ".join(f'"{key}"' for key in wanted)
    return f"{names} is missing; its keys are {listed(value)}{_other_layout(value, [columns])}"


def _other_layout(value: dict[str, Any], layouts: Sequence[Columns]) -> str:
    """`other_layout` of own rows, which may have tags."""
    return other_layout(value) if layouts[-1].entities else ""


def _tagged_fault(value: dict[str, Any], columns: Columns, entities: str, pair: str) -> str | None:
    for key in (columns.label, pair):
        if value.get(key) is not None:
            return f'"{key}" and "{entities}" are given; a text has one of them'
    items = value[entities]
    if not isinstance(items, list) or not all(isinstance(item, list) and len(item) == 3 for item in items):
        return f'"{entities}" must be a list of [start, end, "TYPE"]'
    return entities_fault(items, value[columns.text])
