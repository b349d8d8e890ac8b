"""What every reader gives: rows, the place each has in its file, and what happens at a malformed one."""

import io
import math
from collections.abc import Container, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, BinaryIO, NamedTuple, NoReturn, Optional, TypeGuard

from src.errors import UserError, listed
from src.sources import Columns
from src.tasks import Task

ROW_NAMES = ("index", "idx", "id")
"""The columns in which test sets have a row's own name, as GLUE and Hugging Face call them."""

NO_LABEL = "the label is empty or missing"
"""What is wrong with a row that nobody labelled."""

NO_AGREEMENT = "-"
"""The label of a row whose annotators did not agree, in the corpora of natural language inference."""
_NONE = ("nan", "null", "none", "n/a", "#n/a", "na", "<na>", "\\n", '""', NO_AGREEMENT)
"""How programs write a missing label, in small letters; `\\N` is MySQL's."""


class Row(NamedTuple):
    """One example."""

    text: str
    text_pair: Optional[str]
    """None for a row of one text."""
    label: Any
    """What the kind's `parse_label` made of the file's, which the kind alone reads: a class index, a score;
    None in an unlabelled file."""
    line_number: int
    """Line of the file (parquet: row), counted from 1."""
    id: str = ""
    """The row's own name in its file, where it has one."""
    where: str = ""
    """`file, line 12`, for messages; of texts that are to be answered at once."""


class Where:
    """`file, line 12`, put into words only when a message needs it.

    Args:
        path: the file. number: from 1. unit: what is counted. name: what is said in place of the number; ""
            for none.
    """

    __slots__ = ("path", "number", "unit", "name")

    def __init__(self, path: str, number: int, unit: str = "line", name: str = ""):
        self.path, self.number, self.unit, self.name = path, number, unit, name

    def __str__(self) -> str:
        name = self.name if len(self.name) <= 80 else f"{self.name[:80]}..."
        return f"{self.path}, {self.unit} {name or self.number}"


def is_text(value: str) -> bool:
    """Whether a str is what UTF-8 can hold: JSON can give half a surrogate pair, which is no character."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class RawRow(NamedTuple):
    """One example as its file has it."""

    text: str
    text_pair: Optional[str]
    label: object
    """str, int, float, `Entities` or whatever stands there; None where there is none."""
    where: Where
    id: str = ""
    """As in `Row`."""


class BadRows:
    """What happens at a malformed row: a `UserError`, or with `skip` it is counted.

    Args:
        skip: count instead of raising.
    """

    def __init__(self, skip: bool = False):
        self.skip = skip
        self.count = 0
        """Rows skipped so far."""
        self.first = ""
        """Message about the first of them."""
        self.notes: dict[str, tuple[int, str]] = {}
        """{what else was left out: (how many, where the first was)}"""

    def note(self, what: str, count: int, where: Where) -> None:
        """Something of a well-formed row is left out."""
        before, first = self.notes.get(what, (0, str(where)))
        self.notes[what] = before + count, first

    def add(self, message: str) -> None:
        """Report one malformed row."""
        if not self.skip:
            raise UserError(f"{message}; --skip_bad_rows skips such rows")
        self.first = self.first or message
        self.count += 1


class EveryRow(BadRows):
    """A malformed row ends the work, where every row must be answered: without it the others' numbers would
    be wrong.
    """

    def add(self, message: str) -> NoReturn:
        raise UserError(f"{message}; every row of the set must be answered, so none can be left out")


def tidy_label(label: object) -> object:
    """A raw label as its file means it: a text without the spaces around it, an SQL decimal as a number, a
    whole number as an int; None where there is none (empty, null or NaN).
    """
    if isinstance(label, str):
        return label.strip() or None
    if isinstance(label, Decimal):
        label = float(label) if not label.is_finite() or label != label.to_integral_value() else int(label)
    if isinstance(label, float):
        return None if math.isnan(label) else int(label) if label.is_integer() else label
    return label


def says_none(label: object) -> TypeGuard[str]:
    """Whether a label is a word that usually stands for a missing one."""
    return isinstance(label, str) and label.lower() in _NONE


def fitting_layout(layouts: Sequence[Columns], found: Container[object]) -> Columns | None:
    """The first of some `Columns` that rows with these names have, with the label or else without it; None
    where no texts fit.
    """
    fitting = [
        columns
        for columns in layouts
        if columns.text in found
        and (not columns.text_pair or columns.pair_is_optional or columns.text_pair in found)
    ]
    labelled = (columns for columns in fitting if columns.label in found)
    return next(labelled, fitting[0] if fitting else None)


def wanted_names(layouts: Iterable[Columns]) -> str:
    """The names that texts may have, for a message: `text and text_pair, or sentence1 and sentence2`."""
    texts = dict.fromkeys(
        columns.text
        + (f" and {columns.text_pair}" if columns.text_pair and not columns.pair_is_optional else "")
        for columns in layouts
        if not columns.text.isdigit()  # a column of a file without a header
    )
    return ", or ".join(texts)


def other_layout(found: Container[object]) -> str:
    """Where rows with these names have questions or tags as other programs write them: what is read instead,
    as the end of a message; "" for other rows.
    """
    if "context" in found and "answers" in found:
        return (
            "; questions with answers are read from a .json file in SQuAD's layout (docs/data.md shows one)"
        )
    if any(name in found for name in ("tokens", "words", "tags", "ner_tags")):
        return '; words with tags are read from a .conll file, a word and its tag a line, or as "entities"'
    return ""


def present_columns(
    layouts: Sequence[Columns], found: Sequence[str], path: str, task: Task, test: bool
) -> Columns:
    """A file's `Columns` without those that it lacks and may lack: an optional pair, a test set's label.

    Args:
        layouts: what the task may have. found: what the file has.

    Raises:
        UserError: a column is missing; the message starts with `path`.
    """
    columns, first = fitting_layout(layouts, found), layouts[0]
    if columns is None:
        needed = [first.text, None if first.pair_is_optional else first.text_pair]
    else:
        needed = [None if test else columns.label]
    missing = [name for name in needed if name and name not in found]
    if columns is None or missing:
        others = f" (or {wanted_names(layouts[1:])})" if columns is None and layouts[1:] else ""
        raise UserError(
            f"{path} has no column {' and '.join(missing)}, which {task.name} needs{others}; its columns are "
            f"{listed(found)}{other_layout(found) if task.is_own else ''}"
        )
    pair = columns.text_pair if columns.text_pair in found else None
    return columns._replace(text_pair=pair, label=columns.label if columns.label in found else "")


def text_lines(path: str, bad_rows: BadRows) -> Iterator[tuple[Where, str]]:
    """The lines that `all_lines` gives, without those that are no text or have no character."""
    for where, line in all_lines(path, bad_rows):
        if line:
            yield where, line


def all_lines(path: str, bad_rows: BadRows) -> Iterator[tuple[Where, str | None]]:
    """The lines of a UTF-8 text file without a byte order mark and their ends; None for one that is no UTF-8
    text.

    Only a line feed ends a line (in a file without any, a carriage return, as old Macs wrote):
    `str.splitlines` would also break sentences at characters such as U+2028.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(_lines(file), 1):
            where = Where(path, number)
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            try:
                yield where, line.rstrip(b"\r\n").decode("utf-8")
            except UnicodeDecodeError:
                bad_rows.add(f"{where}: not UTF-8 text")
                yield where, None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a binary file, with their ends."""
    head = file.read(1 << 16)
    file.seek(0)
    if b"\n" in head or b"\r" not in head:
        yield from file
    else:
        for line in io.TextIOWrapper(file, "latin-1", newline="\r"):
            yield line.encode("latin-1")


def count_lines(path: str) -> int:
    """How many line feeds a file has, or carriage returns where it has none."""
    lines = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            lines += block.count(b"\n") or block.count(b"\r")
    return lines
