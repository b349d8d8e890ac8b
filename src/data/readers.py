"""Raw data sets to rows: GLUE's TSV files, Hugging Face's parquet files, and JSON lines for a user's own
data.

Everything streams: a file is never held in memory. Errors name the file and its line (in parquet files: row),
counted from 1.
"""

import glob
import json
import math
import os
from dataclasses import dataclass
from typing import NamedTuple, Optional, Union

from src.errors import UserError
from src.tasks import CLASSIFICATION, REGRESSION

# The names a split's file may have, GLUE's own first: Hugging Face and most others say validation. MNLI from
# other sources than GLUE may have a single evaluation set under a plain name; that is looked for only if no
# file has a name of the first group.
_DEV, _TEST = ("dev", "validation", "eval", "valid"), ("test",)
_NAMES = {
    "train": (("train",),),
    "dev": (_DEV,),
    "test": (_TEST,),
    "dev_matched": (("dev_matched", "validation_matched"), _DEV),
    "test_matched": (("test_matched",), _TEST),
    "dev_mismatched": (("dev_mismatched", "validation_mismatched"),),
    "test_mismatched": (("test_mismatched",),),
}
_PARQUET_ROWS = 4096  # rows decoded at a time


class Row(NamedTuple):
    """One example."""

    text: str
    text_pair: Optional[str]
    """None for a one-text task."""
    label: Union[int, float, None]
    """Class index, or the score of a regression task; None in an unlabelled file."""
    line_number: int
    """Line of the file (parquet: row), counted from 1."""


@dataclass(frozen=True)
class Source:
    """The files that hold one split."""

    kind: str
    """`tsv`, `parquet` or `jsonl`."""
    paths: tuple
    """Their paths, in order; one, except for parquet."""


@dataclass(frozen=True)
class LabelMap:
    """How a raw label becomes a number."""

    head: str
    """CLASSIFICATION or REGRESSION."""
    names: tuple
    """Class names in index order; empty for regression."""

    def __call__(self, value, where):
        """The class index or score that `value` (str, int or float) stands for: a class's name, or else its
        index.

        Raises:
            UserError: it is neither, or not a finite number for regression; the message starts with `where`.
        """
        if self.head == REGRESSION:
            try:
                number = math.nan if isinstance(value, bool) else float(value)
            except (TypeError, ValueError):
                number = math.nan
            if not math.isfinite(number):
                raise UserError(f"{where}: the label {value!r} is not a number")
            return number
        text = str(value)
        if text in self.names:
            return self.names.index(text)
        if text.isascii() and text.isdigit() and int(text) < len(self.names):
            return int(text)
        raise UserError(
            f"{where}: the label {text!r} is none of {', '.join(self.names)} (nor an index 0 to "
            f"{len(self.names) - 1})"
        )


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

    def add(self, message):
        """Report one malformed row."""
        if not self.skip:
            raise UserError(f"{message}; --skip_bad_rows skips such rows")
        self.first = self.first or message
        self.count += 1


# --- which file ---------------------------------------------------------------------------------------------


def find_source(data_dir, stem):
    """The `Source` of a split, or None when `data_dir` has no file for it.

    Args:
        data_dir (str): folder with the raw files.
        stem (str): GLUE's name of the file without ending: `train`, `dev`, `dev_matched`, `test`, ...

    Raises:
        UserError: no such folder, several files that could serve, or a file that is empty or cannot be read.
    """
    if not os.path.isdir(data_dir):
        raise UserError(f"data_dir: {data_dir} is not a folder")
    found = next(
        filter(
            None,
            (
                [source for name in names for source in _sources_named(os.path.join(data_dir, name))]
                for names in _NAMES[stem]
            ),
        ),
        [],
    )
    if len(found) > 1:
        paths = ", ".join(source.paths[0] for source in found)
        raise UserError(f"data_dir: several files could be the {stem} set ({paths}); keep one of them")
    for path in found[0].paths if found else ():
        if not os.path.isfile(path) or not os.access(path, os.R_OK):
            raise UserError(f"{path} cannot be read")
        if os.path.getsize(path) == 0:
            raise UserError(f"{path} is empty")
    return found[0] if found else None


def _sources_named(base):
    """The sources whose files are called `base` plus an ending."""
    sources = [
        Source(kind, (f"{base}.{kind}",)) for kind in ("tsv", "jsonl") if os.path.exists(f"{base}.{kind}")
    ]
    base = glob.escape(base)
    parts = sorted(glob.glob(base + ".parquet") + glob.glob(base + "-*.parquet"))
    return sources + ([Source("parquet", tuple(parts))] if parts else [])


def require_source(data_dir, stem):
    """`find_source`, with a `UserError` that lists what was looked for when there is none."""
    source = find_source(data_dir, stem)
    if source is None:
        wanted = ", ".join(
            f"{name}.tsv, {name}.jsonl, {name}-*.parquet" for names in _NAMES[stem] for name in names
        )
        names = sorted(os.listdir(data_dir))
        raise UserError(
            f"data_dir: {data_dir} has no {stem} set; looked for {wanted}; it holds "
            f"{', '.join(names[:20]) or 'nothing'}{', ...' if len(names) > 20 else ''}"
        )
    return source


def count_rows(source):
    """About how many rows a `Source` has (text files: lines, an unended last one left out), for a progress
    bar.
    """
    if source.kind == "parquet":
        return sum(_parquet(path).metadata.num_rows for path in source.paths)
    lines = 0
    with open(source.paths[0], "rb") as file:
        while block := file.read(1 << 20):
            lines += block.count(b"\n")
    return lines


# --- labels -------------------------------------------------------------------------------------------------


def label_map(task, source, names=(), bad_rows=None):
    """The `LabelMap` of a task; own data without `names` take theirs from the training file.

    Own data: labels that are all numbers, at least one with a decimal point, make a regression; strings or
    whole numbers are class names, sorted (whole numbers by value).

    Args:
        task (Task): row of the task table.
        source (Source): the training set.
        names (tuple of str): class names in index order as the user gives them.
        bad_rows (BadRows): what happens at a malformed row. Default: a `UserError`.

    Raises:
        UserError: `names` contradict the task or repeat, or the training labels are of mixed kinds or of one
            class only.
    """
    if len(set(names)) != len(names) or len(names) == 1:
        raise UserError(f"labels: give two or more different names, not {', '.join(names)}")
    if task.head == REGRESSION or task.labels:
        if names and tuple(names) != task.labels:
            raise UserError(
                f"labels: {task.name} has the labels "
                f"{', '.join(task.labels) or '(none, it is a regression)'}; --labels is for own data "
                "(--task_name custom)"
            )
        return LabelMap(task.head, task.labels)
    if names:
        return LabelMap(CLASSIFICATION, tuple(names))
    return _labels_in(source, task, bad_rows or BadRows())


def _labels_in(source, task, bad_rows):
    seen, kinds = set(), set()
    for _, _, label, where in _raw_rows(source, task, bad_rows, "train"):
        if label is None or isinstance(label, bool) or not isinstance(label, (str, int, float)):
            raise UserError(f"{where}: the label must be a string or a number, not {json.dumps(label)}")
        kinds.add(type(label))
        if kinds == {str, int} or kinds >= {str, float}:
            raise UserError(
                f"{where}: the label {label!r} is of another kind than those above; use strings or "
                "numbers, not both"
            )
        if float not in kinds:  # a regression's many values need not be kept
            seen.add(label)
    if float in kinds:
        return LabelMap(REGRESSION, ())
    if len(seen) < 2:
        raise UserError(f"{source.paths[0]}: two or more different labels are needed, found {len(seen)}")
    return LabelMap(CLASSIFICATION, tuple(str(label) for label in sorted(seen)))


# --- rows ---------------------------------------------------------------------------------------------------


def read_split(task, source, labels, bad_rows, test=False):
    """The rows of one split.

    Args:
        task (Task): row of the task table.
        source (Source): its file(s).
        labels (LabelMap): turns raw labels into numbers.
        bad_rows (BadRows): what happens at a malformed row: too few or too many fields, no UTF-8, no JSON, a
            text missing.
        test (bool): the labels may be missing, in every row alike (absent, or -1 as Hugging Face has it).

    Yields:
        Row

    Raises:
        UserError: a column is missing, a label is outside the map (never skipped: it points at a wrong map),
            a row is malformed, or there is not one row.
    """
    split = "test" if test else "train"
    labelled, rows = None, 0
    for text, pair, label, where in _raw_rows(source, task, bad_rows, split):
        if test and label == -1 and not _is_own_minus_one(task, labels):
            label = None
        if labelled is None:
            labelled = not test or label is not None
        if labelled != (label is not None):
            raise UserError(f"{where}: {'a label is missing' if labelled else 'only some rows have a label'}")
        rows += 1
        yield Row(text, pair, labels(label, where) if labelled else None, where.line_number)
    if not rows:
        raise UserError(f"{source.paths[0]} holds no {'usable ' if bad_rows.count else ''}rows")


def _is_own_minus_one(task, labels):
    """Whether -1 is a label of the user's own data, and not Hugging Face's mark of an unlabelled row."""
    return task.name == "custom" and (labels.head == REGRESSION or "-1" in labels.names)


class _Where:
    """`file, line 12`, put into words only when a message needs it."""

    __slots__ = ("path", "line_number", "unit")

    def __init__(self, path, line_number, unit="line"):
        self.path, self.line_number, self.unit = path, line_number, unit

    def __str__(self):
        return f"{self.path}, {self.unit} {self.line_number}"


def _raw_rows(source, task, bad_rows, split):
    """(text, text_pair, raw label or None, where) of every well-formed row."""
    for path in source.paths:
        reader = {"tsv": _read_tsv, "parquet": _read_parquet, "jsonl": _read_json_lines}[source.kind]
        yield from reader(path, task, bad_rows, split)


def _lines(path, bad_rows):
    """(where, line) of a UTF-8 text file; a byte order mark, line ends and lines without any character are
    dropped.

    Only a line feed ends a line: `str.splitlines` would also break sentences at characters such as U+2028.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            where = _Where(path, number)
            if number == 1 and line.startswith(b"\xef\xbb\xbf"):
                line = line[3:]
            line = line[:-1] if line.endswith(b"\n") else line
            line = line[:-1] if line.endswith(b"\r") else line
            if not line:
                continue
            try:
                yield where, line.decode("utf-8")
            except UnicodeDecodeError:
                bad_rows.add(f"{where}: not UTF-8 text")


def _read_tsv(path, task, bad_rows, split):
    """Rows of a TSV file without quoting: a quotation mark is a character like any other."""
    lines = _lines(path, bad_rows)
    text, header = task.text, None
    if split == "test" and task.test_text:
        text = task.test_text
    if task.header or text != task.text:
        first = next(lines, None)
        if first is None:
            return
        header = first[1].split("\t")
    text_at, pair_at, label_at, width = _columns(path, task, text, header, split)
    for where, line in lines:
        fields = line.split("\t")
        if len(fields) != width:
            bad_rows.add(f"{where}: {len(fields)} tab-separated fields instead of {width}")
            continue
        yield (
            fields[text_at],
            None if pair_at is None else fields[pair_at],
            None if label_at is None else fields[label_at],
            where,
        )


def _columns(path, task, text, header, split):
    """Positions of text, pair and label (None: has none), and the number of fields in a row."""
    if header is None:  # addressed by number; CoLA's four columns are the only such layout
        return int(task.text), None, int(task.label), 4
    needed = [name for name in (text, task.text_pair) if name] + ([task.label] if split != "test" else [])
    _check_columns(path, needed, header, task)
    return (
        header.index(text),
        header.index(task.text_pair) if task.text_pair else None,
        header.index(task.label) if task.label in header else None,
        len(header),
    )


def _check_columns(path, needed, found, task):
    missing = [name for name in needed if name not in found]
    if missing:
        raise UserError(
            f"{path} has no column {' and '.join(missing)}, which {task.name} needs; its columns are "
            f"{', '.join(found)}"
        )


def _read_json_lines(path, task, bad_rows, split):
    """Rows of `{"text": ..., "text_pair": ..., "label": ...}` objects, one a line."""
    own = task.name == "custom"
    for where, line in _lines(path, bad_rows):
        try:
            value = json.loads(line)
        except ValueError:
            bad_rows.add(f"{where}: not a JSON object")
            continue
        fault = _json_fault(value, own, bool(task.text_pair))
        if fault:
            bad_rows.add(f"{where}: {fault}")
            continue
        yield value["text"], value.get("text_pair"), value.get("label"), where


def _json_fault(value, own, wants_pair):
    """What is wrong with one object of a JSON-lines file, or None."""
    if not isinstance(value, dict):
        return "not a JSON object"
    if not isinstance(value.get("text"), str):
        return '"text" is missing or no string'
    pair = value.get("text_pair")
    if not isinstance(pair, (str, type(None))):
        return '"text_pair" is no string'
    try:
        (value["text"] + (pair or "")).encode("utf-8")
    except UnicodeEncodeError:
        return "a text holds half a surrogate pair, which is no character"
    if not own and (pair is not None) != wants_pair:
        return (
            '"text_pair" is missing'
            if wants_pair
            else '"text_pair" is given, but the task has one text a row'
        )
    return None


def _parquet(path):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        # Not only when it is absent: pyarrow 26 refuses the NumPy 1 that MindSpore needs.
        raise UserError(
            f"reading {path} needs pyarrow, which cannot be imported ({error}): pip install -r "
            f"requirements-convert.txt"
        ) from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a parquet file or is damaged: {error}") from error


def _batches(path, file, columns):
    try:
        yield from file.iter_batches(batch_size=_PARQUET_ROWS, columns=columns)
    except OSError as error:  # what pyarrow raises for damaged pages
        raise UserError(f"{path} is damaged: {error}") from error


def _read_parquet(path, task, bad_rows, split):
    """Rows of a Hugging Face parquet file, decoded some thousand at a time."""
    file = _parquet(path)
    text, pair = task.parquet_text or task.text, task.parquet_text_pair or task.text_pair
    found = file.schema_arrow.names
    pair = None if task.name == "custom" and pair not in found else pair
    _check_columns(
        path, [name for name in (text, pair) if name] + (["label"] if split != "test" else []), found, task
    )
    columns = [name for name in (text, pair, "label") if name in found]
    number = 0
    for batch in _batches(path, file, columns):
        for value in batch.to_pylist():
            number += 1
            where = _Where(path, number, "row")
            if not isinstance(value[text], str) or (
                pair and not isinstance(value[pair], str) and task.name != "custom"
            ):
                bad_rows.add(f"{where}: a text is missing or no string")
                continue
            yield value[text], value[pair] if pair else None, value.get("label"), where
