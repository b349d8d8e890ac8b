"""The label names of a task; of the user's own data what the training file holds."""

import re
import shlex
from collections.abc import Iterable, Sequence
from itertools import chain

from src.data.readers.entities import Entities
from src.data.readers.files import Source
from src.data.readers.rows import NO_AGREEMENT, NO_LABEL, BadRows, RawRow, Where, says_none, tidy_label
from src.errors import UserError, listed, shown
from src.kinds import CLASSIFICATION, REGRESSION, SPAN, SPAN_OR_NONE, TAGGING
from src.kinds.base import TaskKind
from src.kinds.classification import whole
from src.tasks import Task

_NUMBER = re.compile(r"[+-]?([0-9]{1,15}([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,3})?")
"""As Python, pandas and people write them; longer ones are names."""


def discover_labels(
    task: Task, source: Source, names: Sequence[str] = (), bad_rows: BadRows | None = None
) -> tuple[TaskKind, tuple[str, ...]]:
    """(kind, class names) of a task; own data without `names` take both from the training file.

    Own data: labels that are all numbers, at least one with a fraction, make a regression; words or whole
    numbers are class names, sorted (whole numbers by value). Numbers may be written as strings. Entities make
    tags, of their types in order. In SQuAD's layout one question without an answer tells its version 2.

    Args:
        source: the training set.
        names: class names in index order as the user gives them; of tags, types of entities.
        bad_rows: what happens at a malformed row. Default: a `UserError`.

    Raises:
        UserError: `names` contradict the task or repeat, or the training labels are of mixed kinds or of one
            class only.
    """
    if len(set(names)) != len(names):
        raise UserError(f"labels: a name is given twice in {listed(names)}")
    if task.kind is not None:  # not the user's own data
        if names and tuple(names) != task.labels:
            raise UserError(
                f"labels: {task.name} has the labels "
                f"{', '.join(task.labels) or f'(none, it is a {task.kind.name})'}; --labels is for own data "
                "(--task_name custom)"
            )
        return task.kind, task.labels
    if source.reader == "squad":
        if names:
            raise UserError(f"labels: {source.paths[0]} holds questions about a text, which have no classes")
        answers = (row.label for row in source.raw_rows(task, False, bad_rows or BadRows()))
        return (SPAN_OR_NONE if any(found == () for found in answers) else SPAN), ()
    rows = source.raw_rows(task, False, bad_rows or BadRows())
    first = next(rows, None)
    if first is not None and isinstance(first.label, Entities):
        return TAGGING, TAGGING.tags(names or _types_in(chain([first], rows), source))
    if names:
        if len(names) == 1:
            raise UserError(f"labels: give two or more different names, not {names[0]}")
        return CLASSIFICATION, tuple(names)
    return _labels_in([] if first is None else chain([first], rows), source, bad_rows or BadRows())


def _types_in(rows: Iterable[RawRow], source: Source) -> list[str]:
    """The types of the entities of tagged rows, sorted."""
    types: set[str] = set()
    for row in rows:
        if not isinstance(row.label, Entities):
            raise UserError(f"{row.where}: entities are missing, which the rows above have")
        types.update(kind for _, _, kind in row.label)
    if not types:
        raise UserError(f"{source.paths[0]}: no row has an entity")
    return sorted(types)


def _labels_in(rows: Iterable[RawRow], source: Source, bad_rows: BadRows) -> tuple[TaskKind, tuple[str, ...]]:
    """(TaskKind, class names) that the labels of untagged rows tell."""
    seen: set[str] = set()
    types: set[str] = set()
    nones: dict[str, Where] = {}
    for _, _, label, where, _ in rows:
        if isinstance(label, Entities):
            raise UserError(f"{where}: entities are given, where the rows above have a label")
        label = tidy_label(label)
        if label is None:
            bad_rows.add(f"{where}: {NO_LABEL}")
            continue
        if says_none(label):
            nones.setdefault(label, where)
            continue
        types.add(_type_of(label, where))
        if any(pair <= types for pair in _UNLIKE):
            raise UserError(
                f"{where}: the label {shown(label)} is of another kind than those above; use names or "
                "numbers, not both"
            )
        if not types & _FRACTIONS:  # a regression's many values need not be kept
            seen.add(whole(str(label)))
    if types == {"word"} and not all(any(map(str.isalnum, name)) for name in seen):
        seen.update({NO_AGREEMENT} & nones.keys())  # one sign of several, as + and -
    for label, where in nones.items():
        if label not in seen:
            bad_rows.add(
                f"{where}: the label is {label}, which usually says that there is none; where it is a class, "
                f"give all of them as --labels {shlex.quote(f'NAME,{label}')}"
            )
    if types & _FRACTIONS:
        return REGRESSION, ()
    if len(seen) < 2:
        raise UserError(f"{source.paths[0]}: two or more different labels are needed, found {len(seen)}")
    by_value = types <= {"number", "number as text"}
    return CLASSIFICATION, tuple(sorted(seen, key=lambda name: (float(name) if by_value else 0.0, name)))


_FRACTIONS = {"fraction", "fraction as text"}
_UNLIKE = [{"word", other} for other in ("number", *_FRACTIONS)]
"""Types of labels that do not go together."""


def _type_of(label: object, where: Where) -> str:
    """`word`, `number` (whole) or `fraction`; of a number in a string with `as text`."""
    if isinstance(label, str):
        if not _NUMBER.fullmatch(label):
            return "word"
        return "number as text" if float(label).is_integer() else "fraction as text"
    if isinstance(label, bool) or not isinstance(label, (int, float)):
        raise UserError(f"{where}: the label must be a string or a number, not {shown(label)}")
    return "fraction" if isinstance(label, float) else "number"
