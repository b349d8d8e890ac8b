"""What every reader gives: rows, the place each has in its file, and what happens at a malformed one."""

from typing import NamedTuple, Optional

from src.errors import UserError

ROW_NAMES = ("index", "idx", "id")
"""The columns in which test sets have a row's own name, as GLUE and Hugging Face call them."""

NO_LABEL = "the label is empty"
"""What is wrong with a row that nobody labelled."""


class Row(NamedTuple):
    """One example."""

    text: str
    text_pair: Optional[str]
    """None for a row of one text."""
    label: object
    """What the kind's `parse_label` made of the file's: a class index, a score; None in an unlabelled
    file."""
    line_number: int
    """Line of the file (parquet: row), counted from 1."""
    id: str = ""
    """The row's own name in its file, where it has one."""


class Where:
    """`file, line 12`, put into words only when a message needs it.

    Args:
        path (str): the file. number (int): from 1. unit (str): what is counted. name (str): what is said in
            place of the number; "" for none.
    """

    __slots__ = ("path", "number", "unit", "name")

    def __init__(self, path, number, unit="line", name=""):
        self.path, self.number, self.unit, self.name = path, number, unit, name

    def __str__(self):
        name = self.name if len(self.name) <= 80 else f"{self.name[:80]}..."
        return f"{self.path}, {self.unit} {name or self.number}"


def is_text(value):
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
        skip (bool): count instead of raising.
    """

    def __init__(self, skip=False):
        self.skip = skip
        self.count = 0
        """Rows skipped so far."""
        self.first = ""
        """Message about the first of them."""
        self.notes = {}
        """{what else was left out: [how many, where the first was]}"""

    def note(self, what, count, where):
        """Something of a well-formed row is left out."""
        self.notes.setdefault(what, [0, str(where)])[0] += count

    def add(self, message):
        """Report one malformed row."""
        if not self.skip:
            raise UserError(f"{message}; --skip_bad_rows skips such rows")
        self.first = self.first or message
        self.count += 1


def present_columns(columns, found, path, task, test):
    """A file's `Columns` without those that it lacks and may lack: an optional pair, a test set's label.

    Args:
        columns (Columns): what `task` (Task) has. found (list of str): what the file has.

    Raises:
        UserError: a column is missing; the message starts with `path`.
    """
    pair = None if columns.pair_is_optional and columns.text_pair not in found else columns.text_pair
    needed = [columns.text, pair, None if test else columns.label]
    missing = [name for name in needed if name and name not in found]
    if missing:
        names = ", ".join(found)
        raise UserError(
            f"{path} has no column {' and '.join(missing)}, which {task.name} needs; its columns are "
            f"{names if len(names) <= 200 else f'{names[:200]}...'}"
        )
    return columns._replace(text_pair=pair, label=columns.label if columns.label in found else None)


def text_lines(path, bad_rows, blanks=False):
    """(`Where`, line) of a UTF-8 text file; a byte order mark, line ends and lines without any character are
    dropped. With `blanks` such lines are given, and None for one that is no UTF-8 text.

    Only a line feed ends a line: `str.splitlines` would also break sentences at characters such as U+2028.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            where = Where(path, number)
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            if not line and not blanks:
                continue
            try:
                yield where, line.decode("utf-8")
            except UnicodeDecodeError:
                bad_rows.add(f"{where}: not UTF-8 text")
                if blanks:
                    yield where, None


def count_lines(path):
    """How many line feeds a file has."""
    lines = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            lines += block.count(b"\n")
    return lines
