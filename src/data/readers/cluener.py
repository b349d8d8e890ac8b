"""CLUENER's files: `{"text", "label": {type: {surface: [[start, end], ...]}}}` a line, `end` the last
character; those of the test set are `{"id", "text"}`.
"""

from collections.abc import Iterator
from typing import Any

from src.data.readers.entities import Entities, Entity, entities_fault
from src.data.readers.json_lines import objects, text_fault
from src.data.readers.rows import BadRows, RawRow, count_lines
from src.errors import shown
from src.tasks import Task

count_rows = count_lines


def read_rows(path: str, task: Task, test: bool, bad_rows: BadRows) -> Iterator[RawRow]:
    """The `RawRow`s of a file. Of entities inside one another the outermost is kept, and `bad_rows` told."""
    for where, value in objects(path, bad_rows):
        fault = text_fault(value, "text") or _shape_fault(value)
        items = [] if fault else _items(value)
        fault = fault or _surface_fault(items, value["text"])
        outer = _outermost(items) if not fault else []
        fault = fault or entities_fault(outer, value["text"], inclusive=True)
        if fault:
            bad_rows.add(f"{where}: {fault}")
            continue
        if len(outer) < len(items):
            bad_rows.note("entities inside another one, which were left out", len(items) - len(outer), where)
        label = Entities(outer) if "label" in value else None
        yield RawRow(value["text"], None, label, where, str(value.get("id", "")))


def _shape_fault(value: dict[str, Any]) -> str | None:
    label = value.get("label", {})
    by_type = label.values() if isinstance(label, dict) else [None]
    if not all(isinstance(surfaces, dict) for surfaces in by_type):
        return '"label" must be {type: {surface: [[start, end], ...]}}'
    for kind, surfaces in label.items():
        for surface, places in surfaces.items():
            if not isinstance(places, list) or not all(_is_place(place) for place in places):
                return f'"label" gives {shown(kind)} {shown(surface)} no list of [start, end]'
    return None


def _is_place(place: object) -> bool:
    return isinstance(place, list) and len(place) == 2 and all(type(number) is int for number in place)


def _items(value: dict[str, Any]) -> list[tuple[Entity, str]]:
    """[((start, end, type), surface)], the end exclusive."""
    return [
        ((start, end + 1, kind), surface)
        for kind, surfaces in value.get("label", {}).items()
        for surface, places in surfaces.items()
        for start, end in places
    ]


def _surface_fault(items: list[tuple[Entity, str]], text: str) -> str | None:
    for (start, end, kind), surface in items:
        fault = entities_fault([(start, end, kind)], text, inclusive=True)
        if fault:
            return fault
        if text[start:end] != surface:
            place = f"{start}-{end - 1}, where {shown(text[start:end])} stands"
            return f"the {kind} {shown(surface)} is not at its place {place}"
    return None


def _outermost(items: list[tuple[Entity, str]]) -> list[Entity]:
    """The (start, end, type) that lie inside no other, in order."""
    kept: list[Entity] = []
    for entity, _ in sorted(items, key=lambda item: (item[0][0], -item[0][1])):
        if not kept or entity[1] > kept[-1][1] or entity[:2] == kept[-1][:2]:
            kept.append(entity)
    return kept
