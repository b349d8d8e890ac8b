"""Task metrics, as fractions; scikit-learn and SciPy compute them.

`f1` is the F1 of class 1 (MRPC, QQP), `macro_f1` the unweighted mean over classes. The metrics of entities
are those of seqeval in strict mode: an entity is right where its beginning, end and type are; `entity_f1` is
over all of them (micro), `entity_macro_f1` the unweighted mean over types. `span_f1` and `exact_match` are
SQuAD's: answers are texts, compared as words. Both libraries are imported where they are used: that takes
most of a second, and accuracy needs neither.
"""

from __future__ import annotations

import re
import string
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from src.errors import UserError

if TYPE_CHECKING:
    from src.examples import Examples
    from src.kinds.base import TaskKind


def _quiet(function):
    """`function` without the warnings of SciPy and scikit-learn about one class or constant numbers, for
    which the value is 0: SciPy's correlation is nan then. They are imported where they are used, which makes
    every command start a second sooner.
    """

    def compute(predictions, labels):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = float(function(predictions, labels))
        return 0.0 if np.isnan(value) else value

    return compute


def _correlation(name):
    """A correlation, which needs two rows."""

    def compute(predictions, labels):
        from scipy import stats

        return getattr(stats, name)(predictions, labels)[0] if len(labels) > 1 else 0.0

    return _quiet(compute)


def _f1(average):
    def compute(predictions, labels):
        from sklearn.metrics import f1_score

        return f1_score(labels, predictions, average=average, zero_division=0.0)

    return _quiet(compute)


@_quiet
def _matthews(predictions, labels):
    from sklearn.metrics import matthews_corrcoef

    return matthews_corrcoef(labels, predictions)


def _words(answer):
    """The words of an answer as SQuAD compares them: lower case, no punctuation, no articles."""
    plain = "".join(character for character in answer.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def _overlap(found, right):
    """F1 of the words that two answers share; of answers without a word whether both have none."""
    found, right = _words(found), _words(right)
    shared = sum((Counter(found) & Counter(right)).values())
    if not found or not right:
        return float(found == right)
    return 2 * shared / (len(found) + len(right))


def _same(found, right):
    return float(_words(found) == _words(right))


def _of_questions(compare):
    """The mean over questions of the best agreement with one of the right answers, as SQuAD v2.0's script has
    it (v1.1's differs only for answers without any word but articles); predictions are str, "" for none,
    references the right answers, () for none.
    """

    def compute(predictions, references):
        return float(np.mean(_agreements(compare, predictions, references)))

    return compute


def _agreements(compare, predictions, references):
    """[agreement] of each question; a right answer without any word counts as none."""
    scores = []
    for found, answers in zip(predictions, references):
        right = [answer for answer in answers if _words(answer)] or [""]
        scores.append(max(compare(found, answer) for answer in right))
    return scores


def best_threshold(
    compare: Callable[[str, str], float],
    predictions: Sequence[tuple[str, float]],
    references: Sequence[Sequence[str]],
) -> tuple[float, float]:
    """(score, threshold) of the best threshold between answers and none, as SQuAD v2.0's script has it.

    Args:
        compare (callable): `_overlap` or `_same`. predictions (list of (str, float)): the best answer, and
            by how much none is better. references (list of lists of str): the right answers.
    """
    answers, odds = zip(*predictions)
    scores = np.array(_agreements(compare, answers, references))
    none = np.array([not right for right in references])
    given = np.array([bool(answer) for answer in answers])
    # Questions are answered one by one, the surest first; what has no answer was right until then.
    gains = np.where(none, -1.0 * given, scores)
    order = np.argsort(odds, kind="stable")
    sums = np.concatenate([[none.sum()], none.sum() + np.cumsum(gains[order])])
    best = int(np.argmax(sums))
    return float(sums[best] / len(answers)), float(odds[order[best - 1]]) if best else 0.0


def best_thresholds(
    predictions: Sequence[tuple[str, float]], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """The best thresholds between answers and none, named as SQuAD v2.0's script has them; arguments as for
    `best_threshold`.
    """
    exact, f1 = (best_threshold(compare, predictions, references) for compare in (_same, _overlap))
    names = ("best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh")
    return dict(zip(names, (*exact, *f1)))


def _entity_f1(predictions, labels):
    """F1 of two sets of (start, end, type)."""
    return _share(2 * len(predictions & labels), len(predictions) + len(labels))


def _entity_macro_f1(predictions, labels):
    """The mean of every type's F1, of those that either set holds."""
    types = {item[2] for item in predictions | labels}
    of_type = [
        [{item for item in items if item[2] == name} for items in (predictions, labels)] for name in types
    ]
    return _share(sum(_entity_f1(*pair) for pair in of_type), len(types))


def _share(part, whole):
    return float(part / whole) if whole else 0.0


_METRICS: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": lambda predictions, labels: _share(np.count_nonzero(labels == predictions), len(labels)),
    "f1": _f1("binary"),
    "macro_f1": _f1("macro"),
    "matthews": _matthews,
    "pearson": _correlation("pearsonr"),
    "spearman": _correlation("spearmanr"),
    "span_f1": _of_questions(_overlap),
    "exact_match": _of_questions(_same),
    "best_span_f1": lambda predictions, references: best_threshold(_overlap, predictions, references)[0],
    "best_exact_match": lambda predictions, references: best_threshold(_same, predictions, references)[0],
    "entity_f1": _entity_f1,
    "entity_precision": lambda predictions, labels: _share(len(predictions & labels), len(predictions)),
    "entity_recall": lambda predictions, labels: _share(len(predictions & labels), len(labels)),
    "entity_macro_f1": _entity_macro_f1,
}

METRICS = tuple(_METRICS)
"""Names of all metrics."""
_PRINTED = {
    "accuracy": "Accuracy",
    "f1": "F1",
    "macro_f1": "Macro F1",
    "matthews": "Matthews",
    "pearson": "Pearsonr",
    "spearman": "Spearmanr",
    "span_f1": "F1",
    "exact_match": "Exact match",
    "best_span_f1": "Best F1",
    "best_exact_match": "Best exact match",
    "entity_f1": "Entity F1",
    "entity_precision": "Entity precision",
    "entity_recall": "Entity recall",
    "entity_macro_f1": "Entity macro F1",
}
_SHORT = {
    "accuracy": "acc",
    "f1": "f1",
    "macro_f1": "mf1",
    "matthews": "mcc",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "span_f1": "f1",
    "exact_match": "exact_match",
    "best_span_f1": "best_f1",
    "best_exact_match": "best_exact",
    "entity_f1": "entity_f1",
    "entity_precision": "entity_precision",
    "entity_recall": "entity_recall",
    "entity_macro_f1": "entity_mf1",
}
_OF_NUMBERS = ("matthews", "pearson", "spearman")
_OF_ANSWERS = ("span_f1", "exact_match", "best_span_f1", "best_exact_match")
# assessment_method's own spellings, and what they mean: the first that fits.
_METHODS = {
    "f1": ("f1", "entity_f1", "span_f1"),
    "bf1": ("f1",),
    "mf1": ("macro_f1", "entity_macro_f1"),
    **{_SHORT[name]: (name,) for name in ("accuracy", "pearson", "spearman", "matthews")},
}


def printed_name(metric: str) -> str:
    """The metric's name in a final line: `Accuracy`, `F1`, `Matthews`, `Pearsonr` ..., of a further set's
    results (`accuracy/eval_mm`) with the set's: `Accuracy/eval_mm`.
    """
    name, *split = metric.split("/")
    return "/".join([_PRINTED[name], *split])


def short_name(metric: str) -> str:
    """The metric's name in `The best acc is ...` lines, of a further set's results as `printed_name`."""
    name, *split = metric.split("/")
    return "/".join([_SHORT[name], *split])


def percent(share: float) -> str:
    """A score, or another share, as people read it everywhere: in percent with two decimals, `97.50`."""
    return f"{100 * share:.2f}"


def choose(
    task_metrics: Sequence[str], assessment_method: str, kind: TaskKind, outputs: int
) -> tuple[str, ...]:
    """The metrics to report, the deciding one first.

    Args:
        task_metrics (tuple of str): the task's own; where none of them fits, the kind's.
        assessment_method (str): `auto`, or the method the user wants to decide.
        kind (TaskKind), outputs (int): of the data's head.

    Raises:
        UserError: a metric that this kind of task, or this number of outputs, does not have.
    """
    fitting = kind.fitting_metrics(outputs)
    own = tuple(name for name in task_metrics if name in fitting) or kind.default_metrics
    if assessment_method == "auto":
        return own
    meant = [name for name in _METHODS.get(assessment_method, (assessment_method,)) if name in fitting]
    if not meant:
        spelled = dict.fromkeys(_METHODS["mf1"], "mf1")
        known = ", ".join(spelled.get(item, item) for item in fitting)
        raise UserError(
            f"assessment_method: {assessment_method} does not fit a task of {kind.describe(outputs)}; use "
            f"one of {known}"
        )
    return (meant[0],) + tuple(item for item in own if item != meant[0])


def score(
    metric_names: Sequence[str], kind: TaskKind, logits: np.ndarray, examples: Examples, labels: Sequence[str]
) -> dict[str, float]:
    """{metric: value} of each metric.

    Args:
        metric_names (tuple of str): names above. kind (TaskKind): of the task.
        logits (ndarray): float32, a row for each of the `examples` (Examples), or for each of their tokens.
        labels (tuple of str): the class names.

    Raises:
        UserError: a logit is not finite: the largest of such is no answer.
    """
    check_finite(logits)
    evidence = kind.evidence(metric_names, logits, examples, labels)
    return {name: value_of(name, *pair) for name, pair in evidence.items()}


def value_of(metric: str, predictions: Any, references: Any) -> float:
    """The value of a metric of the pair that a kind's `evidence` has for it, or of a part of that."""
    return _METRICS[metric](predictions, references)


def check_finite(logits: np.ndarray) -> None:
    """Raise a `UserError` where a logit is no finite number: the largest of such is no answer."""
    wrong = np.flatnonzero(~np.isfinite(logits).reshape(len(logits), -1).all(axis=1))
    if len(wrong):
        raise UserError(
            f"the logits of {len(wrong)} of {len(logits)} rows are not finite numbers, row {wrong[0] + 1} "
            "the first of them: the network overflows (compute_type float32 has a wider range than "
            "float16) or its weights are damaged"
        )


def result_lines(results: Mapping[str, Any]) -> list[str]:
    """A line for everything that an evaluation gave, `accuracy: 97.50` of a metric."""
    return [
        f"{name}: {percent(value) if name.partition('/')[0] in _METRICS else value}"
        for name, value in results.items()
    ]


def result_block(results: Mapping[str, Any], metric_names: Iterable[str]) -> str:
    """The lines that close an evaluation of an exported model: `============== acc is 0.8990825688073395`
    between two rules, a fraction as scripts read it that published programs wrote it for; those of further
    sets (`accuracy/eval_mm`) after the first one's.
    """
    rule, names = "=" * 65, [*metric_names, *(name for name in results if "/" in name)]
    return "\n".join([rule, *(f"{rule[:14]} {short_name(name)} is {results[name]}" for name in names), rule])


def best_line(results: Mapping[str, Any], metric: str) -> str:
    """The last line of an evaluation: `The best Pearsonr: 87.58`."""
    return f"The best {printed_name(metric)}: {percent(results[metric])}"


def running_lines(
    metric: str,
    kind: TaskKind,
    logits: np.ndarray,
    examples: Examples,
    labels: Sequence[str],
    batch_size: int,
    most: int = 10,
) -> Iterator[str]:
    """The lines of an evaluation's batches: `eval step: 0, Pearsonr: 96.91`, the metric over all rows so
    far, in the rows' own order.

    Args:
        metric, kind, logits, examples, labels: as for `score`; a row of logits for each of the examples.
        batch_size (int): rows of a step. most (int): lines; of more steps every second is shown, or third ...
    """
    steps = -(-len(examples) // batch_size)
    shown = {*range(0, steps, -(-steps // most)), steps - 1}
    for step in sorted(shown):
        rows = np.arange(min((step + 1) * batch_size, len(examples)))
        value = score((metric,), kind, logits[rows], examples.take(rows), labels)[metric]
        yield f"eval step: {step}, {printed_name(metric)}: {percent(value)}"


def undecided(metric: str, examples: Examples) -> str:
    """Why a metric is 0 of some rows whatever a model answers, in words; "" where it tells models apart."""
    rows, labels, why = len(examples), examples.labels, ""
    if metric in _OF_NUMBERS and labels.min() == labels.max():
        why = "there is one row only" if rows == 1 else f"the labels of its {rows} rows are all alike"
    elif metric == "f1" and not (labels == 1).any():
        why = f"none of its {rows} rows is of class 1"
    elif metric.startswith("entity_") and labels.max() <= 0:
        why = f"none of its {rows} rows has an entity"
    return why and f"{printed_name(metric)} is 0 whatever a model answers, for {why}"


def all_alike(examples: Examples) -> str:
    """In words that a constant answers every row right, where there is one label a row and all are the same;
    "" elsewhere.
    """
    labels = examples.labels
    if labels.ndim > 1 or len(labels) != len(examples) or labels.min() != labels.max():
        return ""
    return f"the labels of its {len(examples)} rows are all alike, which a constant gets right"


def notes(metric_names: Sequence[str], evals: Mapping[str, Examples]) -> list[str]:
    """A line for the user of each metric that is `undecided` on an evaluation set of {split: Examples}."""
    found = ((split, undecided(metric, rows)) for split, rows in evals.items() for metric in metric_names)
    return [f"note: {split}: {why}" for split, why in found if why]


def chance_level(metric: str, examples: Examples) -> float:
    """What the metric gives to the best constant answer: the share of the commonest class (of the tokens that
    have one), of questions that have no answer, or 0 for a correlation and for entities.
    """
    if metric in _OF_ANSWERS:
        assert examples.origin is not None  # evaluation rows of questions have one
        texts = examples.origin.texts
        return sum(not text["answers"] for text in texts) / len(texts)
    if metric in _OF_NUMBERS or metric.startswith("entity_"):
        return 0.0
    labels = examples.labels[examples.labels >= 0]
    return max(_METRICS[metric](np.full_like(labels, label), labels) for label in np.unique(labels))
