"""Tagged words as in CoNLL's files: a word a line with its tag in the last column, between them a tab or
spaces; a blank line between sentences. Lines of -DOCSTART- separate, too.

Tags are BIO, BIOES or BMES (M for I; also L for E and U for S): an entity begins with B- or S- and goes on
with I-, M- or E- of its type. A test set may have the words alone.

The words become a text: with spaces between them, but none beside a Chinese or Japanese character or
full-width mark, and none in a sentence that has such and whose every word is a single character (of a file
with a character a line, where `i P h o n e` is one word).
"""

import re
from collections.abc import Iterator

from src.data.readers.entities import Entities, Entity
from src.data.readers.rows import BadRows, RawRow, Where, all_lines
from src.errors import shown
from src.tasks import Task

_Sentence = list[tuple[Where, list[str]]]
"""The columns of its lines."""

_BEGINS, _GOES_ON, _ENDS = "BSU", "IMEL", "SUEL"
_UNSPACED = re.compile(  # scripts without spaces between words, and their punctuation
    "[\u2e80-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff9f\U00020000-\U0003ffff]"
)


def count_rows(path: str) -> int:
    """About how many sentences a file has: its blank lines."""
    with open(path, "rb") as file:
        return sum(not line.strip() for line in file)


def read_rows(path: str, task: Task, test: bool, bad_rows: BadRows) -> Iterator[RawRow]:
    """The `RawRow`s of a file, a sentence each; `where` is its first line."""
    width = 0  # not known yet
    for lines in _sentences(path, bad_rows):
        if not width and (test or len(lines[0][1]) > 1):
            width = len(lines[0][1])
        fault = _columns_fault(lines, width, test)
        text, places = join([columns[0] for _, columns in lines])
        label = None
        if not fault and width > 1:
            label, fault = _entities([(where, columns[-1]) for where, columns in lines], places)
        if fault:
            bad_rows.add(fault)
            continue
        yield RawRow(text, None, label, lines[0][0])


def _sentences(path: str, bad_rows: BadRows) -> Iterator[_Sentence]:
    """A sentence with a line that is no UTF-8 text is left out."""
    lines: _Sentence = []
    whole = True
    for where, line in all_lines(path, bad_rows):
        columns = _columns(line or "")
        if columns and columns[0] != "-DOCSTART-":
            lines.append((where, columns))
            continue
        if line is None:
            whole = False
            continue
        if lines and whole:
            yield lines
        lines, whole = [], True
    if lines and whole:
        yield lines


def _columns(line: str) -> list[str]:
    """A line's columns; [] of a blank one. No other space than U+0020 and the tab separates: a word may be
    one.
    """
    if not line.strip(" \t"):
        return []
    return line.split("\t") if "\t" in line else [part for part in line.split(" ") if part]


def _columns_fault(lines: _Sentence, width: int, test: bool) -> str | None:
    for where, columns in lines:
        if len(columns) == 1 and not test:
            return f"{where}: a word without a tag; a line is a word and, after a tab or a space, its tag"
        if len(columns) != width:
            return f"{where}: {len(columns)} columns instead of {width}"
        if not columns[0]:
            return f"{where}: the word is missing"
    return None


def join(words: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """(text, [(start, end)] of each word) by the rule above."""
    characters = all(len(word) == 1 for word in words) and any(map(_UNSPACED.search, words))
    text = ""
    places: list[tuple[int, int]] = []
    for word in words:
        if text and not characters and not _UNSPACED.match(text[-1]) and not _UNSPACED.match(word):
            text += " "
        places.append((len(text), len(text) + len(word)))
        text += word
    return text, places


def _entities(
    tags: list[tuple[Where, str]], places: list[tuple[int, int]]
) -> tuple[Entities | None, str | None]:
    """(Entities, None), or (None, what is wrong).

    Args:
        tags, places: of each word, (start, end) of its characters in the text.
    """
    found: list[Entity] = []
    open_type = None
    for (where, tag), (start, end) in zip(tags, places):
        prefix, dash, kind = tag.partition("-")
        if tag != "O" and not (dash and kind and len(prefix) == 1 and prefix in _BEGINS + _GOES_ON):
            return None, f"{where}: the tag {shown(tag)} is neither O nor B-, I-, E-, S- or M- with a type"
        if prefix in _GOES_ON and kind != open_type:
            return None, (
                f"{where}: the tag {shown(tag)} goes on with an entity that no B- of its type began; tags "
                "must be BIO, BIOES or BMES"
            )
        if prefix in _BEGINS:
            found.append((start, end, kind))
        elif prefix in _GOES_ON:
            found[-1] = (found[-1][0], end, kind)
        open_type = None if prefix in _ENDS or tag == "O" else kind
    return Entities(found), None
