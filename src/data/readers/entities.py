"""The entities of a raw row, and what may be wrong with them."""

from collections.abc import Sequence
from typing import Any

from src.data.readers.rows import is_text
from src.errors import shown

_LONGEST_TYPE = 80


Entity = tuple[int, int, str]
"""(first character, the one after the last, type)"""


class Entities(tuple[Entity, ...]):
    """The raw label of a tagged text: each `Entity`, in order."""


def entities_fault(items: Sequence[Any], text: str, inclusive: bool = False) -> str | None:
    """What is wrong with entities in a `text`, or None.

    Args:
        items: three values each, of whatever types. inclusive: their file's ends are the last character's
            place, and so are the message's; those of `items` are the one after it all the same.
    """
    less, what = (1, "the last character") if inclusive else (0, "the place after the last character")
    for start, end, kind in items:
        is_type = isinstance(kind, str) and kind.strip() and len(kind) <= _LONGEST_TYPE and is_text(kind)
        if not (_is_number(start) and _is_number(end) and is_type):
            given = ", ".join(shown(item) for item in (start, end, kind))
            words = f"a type of at most {_LONGEST_TYPE} characters"
            return f"an entity must be two whole numbers and {words}, not {given}"
        place = f"the entity {kind} {start}-{end - less}"
        if end <= start:
            return f"{place} ends before it starts (the end is {what})"
        if start < 0 or end > len(text):
            return f"{place} is outside its text of {len(text)} characters"
        if not text[start:end].strip():
            return f"{place} holds no character but spaces"
    ordered = sorted(items)
    for (start, end, kind), (start2, end2, kind2) in zip(ordered, ordered[1:]):
        if start2 < end:
            places = f"{kind} {start}-{end - less} and {kind2} {start2}-{end2 - less}"
            return f"the entities {places} overlap"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31
