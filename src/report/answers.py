"""How a student's answers compare with the right ones, by the kind of task; in NumPy, nothing is drawn here.

Legend: N rows, T tokens of all rows together, C classes or tags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from src.errors import UserError
from src.kinds.base import softmax
from src.metrics import check_finite, percent, value_of
from src.report.predictions import Predictions
from src.report.texts import Texts, cut

MOST_WRONG = 10
"""Wrong rows that are shown."""
MATRIX_CLASSES = 20
"""Classes of the largest matrix that is shown whole."""
_LENGTHS = ((0, "no answer"), (1, "1"), (2, "2"), (4, "3 to 4"), (8, "5 to 8"), (np.inf, "9 or more"))
"""The most words of the right answers that a line stands for, and its name."""


@dataclass(frozen=True)
class Table:
    """Lines of text and numbers, fractions as float."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True)
class Matrix:
    """Rows of each class (first axis) and what they were taken for (second axis): int (C, C)."""

    labels: tuple[str, ...]
    counts: np.ndarray


@dataclass(frozen=True)
class Scatter:
    """Numbers: the right ones and the student's, float (N,)."""

    right: np.ndarray
    answered: np.ndarray


@dataclass(frozen=True)
class WrongRow:
    """A row that was answered wrongly."""

    number: int
    """Of the row (or question), from 1."""
    texts: list[str]
    answered: str
    right: str
    measure: str
    """What the rows are sorted by, as text."""


@dataclass(frozen=True)
class View:
    """What is shown of the answers."""

    rows: int
    """Rows (or questions) that were answered."""
    wrong: int
    """How many of them wrongly; of numbers, all that are not met exactly."""
    worst: tuple[WrongRow, ...]
    """The `WrongRow`s to look at."""
    sorted_by: str
    """What they are sorted by, in words."""
    called: str = "rows"
    """What the rows are."""
    tables: tuple[Table, ...] = ()
    matrix: Matrix | None = None
    scatter: Scatter | None = None


def view_of(predictions: Predictions, texts: Texts) -> View:
    """The `View` of some `Predictions`; `texts` makes their rows readable.

    Raises:
        UserError: there are no rows, no right answers, or a logit is not finite.
    """
    if not len(predictions.examples) or not predictions.examples.columns:
        raise UserError("the evaluation rows have no labels")
    check_finite(predictions.logits)
    return _VIEWS[predictions.kind.shown_as](predictions, texts)


def _shares(logits):
    """The largest probability of each line of (N, C) logits."""
    return softmax(logits).max(axis=1)


def _percent(share):
    return f"{percent(share)} %"


def _worst(wrong, measure):
    """The numbers of the wrong rows (bool, N) with the largest measure (float, N), the largest first."""
    rows = np.flatnonzero(wrong)
    return rows[np.argsort(-measure[rows], kind="stable")][:MOST_WRONG].tolist()


# --- classes ------------------------------------------------------------------------------------------------


def _classes(predictions: Predictions, texts: Texts) -> View:
    examples, labels = predictions.examples, predictions.labels
    right, found = examples.labels, predictions.kind.predictions(predictions.logits)
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, (right, found), 1)
    shares = _shares(predictions.logits.astype(np.float64))

    def shown(row):
        said = labels[found[row]], labels[right[row]], _percent(shares[row])
        return WrongRow(row + 1, texts.of_row(examples, row), *said)

    worst = map(shown, _worst(found != right, shares))
    whole = len(labels) <= MATRIX_CLASSES
    tables = (_scores_of_classes(labels, counts), *(() if whole else (_confusions(labels, counts),)))
    how = "confidence, the probability of the class that was answered"
    matrix = Matrix(labels, counts) if whole else None
    return View(len(right), int((found != right).sum()), tuple(worst), how, "rows", tables, matrix)


def _scores_of_classes(labels: tuple[str, ...], counts: np.ndarray) -> Table:
    hits, support, answered = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    precision, recall = _ratio(hits, answered), _ratio(hits, support)
    f1 = _ratio(2 * hits, support + answered)
    rows = zip(labels, precision.tolist(), recall.tolist(), f1.tolist(), support.tolist())
    return Table("Each class", ("class", "precision", "recall", "F1", "rows"), tuple(rows))


def _confusions(labels: tuple[str, ...], counts: np.ndarray) -> Table:
    """The commonest mistakes where there are too many classes for a matrix."""
    wrong = counts * (1 - np.eye(len(labels), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MATRIX_CLASSES]
    pairs = [(right, found) for right, found in zip(*np.unravel_index(order, wrong.shape))]
    rows = tuple((labels[a], labels[b], int(wrong[a, b])) for a, b in pairs if wrong[a, b])
    return Table("The commonest mistakes", ("right", "answered", "rows"), rows)


def _ratio(part, whole):
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


# --- numbers ------------------------------------------------------------------------------------------------


def _numbers(predictions: Predictions, texts: Texts) -> View:
    examples = predictions.examples
    right, found = examples.labels, predictions.kind.predictions(predictions.logits)
    off = np.abs(found - right).astype(np.float64)

    def shown(row):
        answered, should, distance = (f"{value:.3f}" for value in (found[row], right[row], off[row]))
        return WrongRow(row + 1, texts.of_row(examples, row), answered, should, distance)

    worst, how = map(shown, _worst(off > 0, off)), "distance from the right number"
    return View(len(right), int((off > 0).sum()), tuple(worst), how, scatter=Scatter(right, found))


# --- entities -----------------------------------------------------------------------------------------------


def _entities(predictions: Predictions, texts: Texts) -> View:
    examples, labels = predictions.examples, predictions.labels
    evidence = predictions.kind.evidence(("entity_f1",), predictions.logits, examples, labels)
    found, right = evidence["entity_f1"]
    rows, sure = len(examples), _shares(predictions.logits.astype(np.float64))
    confidence = np.zeros(rows)
    for first, after, _ in found ^ right:
        row = np.searchsorted(examples.offsets, first, side="right") - 1
        confidence[row] = max(confidence[row], sure[first:after].mean())
    wrong = confidence > 0

    def shown(row):
        answered, should = (_listed(items, examples, row, texts) for items in (found, right))
        return WrongRow(row + 1, texts.of_row(examples, row), answered, should, _percent(confidence[row]))

    worst = map(shown, _worst(wrong, confidence))
    how = "confidence, the mean probability of the tags of its surest wrong or missed entity"
    table = _scores_of_types(found, right)
    return View(rows, int(wrong.sum()), tuple(worst), how, "texts", (table,))


def _listed(entities, examples, row, texts):
    """The entities of a row as text."""
    start, end = examples.offsets[row : row + 2]
    own = sorted(item for item in entities if start <= item[0] < end)
    said = (f"{kind}: {texts.of(examples.input_ids[first:after])}" for first, after, kind in own)
    return cut("; ".join(said)) or "no entity"


def _scores_of_types(found, right):
    rows = []
    for name in [*sorted({item[2] for item in found | right}), None]:
        pair = [{item for item in items if name in (item[2], None)} for items in (found, right)]
        values = [value_of(f"entity_{metric}", *pair) for metric in ("precision", "recall", "f1")]
        rows.append((name or "all together", *values, len(pair[1])))
    return Table("Each type of entity", ("type", "precision", "recall", "F1", "entities"), tuple(rows))


# --- answers in a text --------------------------------------------------------------------------------------


def _questions(predictions: Predictions, texts: Texts) -> View:
    kind, examples, logits = predictions.kind, predictions.examples, predictions.logits
    evidence = kind.evidence(("exact_match",), logits, examples, predictions.labels)
    found, references = evidence["exact_match"]
    exact = np.array([value_of("exact_match", [a], [b]) for a, b in zip(found, references)])
    shares = np.array([outcome["score"] for outcome in kind.outcomes(logits, examples, (), ())])
    assert examples.origin is not None  # `Predictions` of questions have one
    _, first_rows = np.unique(examples.origin.rows, return_index=True)

    def shown(place):
        answered, should = (
            cut(" | ".join(dict.fromkeys(items))) or "no answer"
            for items in ([found[place]], references[place])
        )
        question = texts.of_row(examples, first_rows[place])[:1]
        return WrongRow(place + 1, question, answered, should, _percent(shares[place]))

    worst = map(shown, _worst(exact < 1, shares))
    how = "confidence, the share of the answer among the best ones"
    table = _scores_by_length(found, references)
    return View(len(found), int((exact < 1).sum()), tuple(worst), how, "questions", (table,))


def _scores_by_length(found, references):
    """Scores of the questions whose (first) right answer has so many words."""
    words = np.array([len(answers[0].split()) if answers else 0 for answers in references])
    rows: list[tuple[str | float, ...]] = []
    least = -1.0
    for most, name in _LENGTHS:
        places = np.flatnonzero((least < words) & (words <= most)).tolist()
        least = most
        if places:
            pair = [found[place] for place in places], [references[place] for place in places]
            rows.append((name, value_of("exact_match", *pair), value_of("span_f1", *pair), len(places)))
    columns = ("words of the right answer", "exact match", "F1", "questions")
    return Table("By the length of the answer", columns, tuple(rows))


_VIEWS: dict[str, Callable[[Predictions, Texts], View]] = {
    "classes": _classes,
    "numbers": _numbers,
    "entities": _entities,
    "questions": _questions,
}
