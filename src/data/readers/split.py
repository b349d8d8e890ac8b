"""A split's raw rows with their labels as numbers."""

from collections.abc import Iterator

from src.data.readers.files import Source
from src.data.readers.rows import NO_AGREEMENT, NO_LABEL, BadRows, Row, says_none, tidy_label
from src.errors import UserError
from src.kinds.base import TaskKind
from src.tasks import Task, plain_labels

_MINUS_ONE = (-1, "-1", "-1.0")  # Hugging Face's label of what is kept back or nobody agreed on


def read_split(
    task: Task, source: Source, kind: TaskKind, names: tuple[str, ...], bad_rows: BadRows, test: bool = False
) -> Iterator[Row]:
    """The rows of one split.

    Args:
        source: its file(s).
        kind, names: what the labels are, as `discover_labels` gives it.
        bad_rows: what happens at a malformed row: too few or too many fields, no UTF-8, no JSON, a text or a
            label missing, or a label that says that there is none.
        test: the labels may be missing, in every row alike (absent, empty, or -1 as Hugging Face has it).

    Raises:
        UserError: a column is missing, a label is none of the names (never skipped: it points at wrong
            names), a row is malformed, or there is not one row.
    """
    minus_one_is_none = test and not (task.is_own and _is_label(-1, kind, names))
    by_plain = {} if task.is_own else dict(zip(plain_labels(names), names))  # of a benchmark: Entailment
    labelled = None
    for text, pair, label, where, name in source.raw_rows(task, test, bad_rows):
        if fault := kind.pair_fault(pair):
            bad_rows.add(f"{where}: {fault}")
            continue
        if task.is_own and not test and not text.strip():
            bad_rows.add(f"{where}: the text is empty")
            continue
        label = tidy_label(label)
        if isinstance(label, str) and label not in names:
            label = by_plain.get(label.casefold(), label)
        none = says_none(label) and label not in names
        if (minus_one_is_none and label in _MINUS_ONE) or (test and none and label != NO_AGREEMENT):
            label, none = None, False
        if label is None and not test:
            bad_rows.add(f"{where}: {NO_LABEL}")
            continue
        if none or (label in _MINUS_ONE and not task.is_own):
            bad_rows.add(
                f"{where}: the label is {label}, which says that there is none: the annotators did not "
                "agree or it is kept back"
            )
            continue
        if labelled is None:
            labelled = not test or label is not None
        if labelled != (label is not None):
            raise UserError(f"{where}: {'a label is missing' if labelled else 'only some rows have a label'}")
        label = kind.parse_label(label, names, where) if labelled else None
        yield Row(text, pair, label, where.number, name)
    if labelled is None:
        raise UserError(f"{source.paths[0]} holds no {'usable ' if bad_rows.count else ''}rows")


def _is_label(value: object, kind: TaskKind, names: tuple[str, ...]) -> bool:
    try:
        kind.parse_label(value, names, "")
    except UserError:
        return False
    return True
