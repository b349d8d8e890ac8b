"""Task metrics, as fractions; scikit-learn and SciPy compute them.

`f1` is the F1 of class 1 (MRPC, QQP), `macro_f1` the unweighted mean over classes.
"""

import warnings

import numpy as np
from scipy import stats
from sklearn import metrics as sk

from src.errors import UserError


def _correlation(function):
    def compute(predictions, labels):
        with warnings.catch_warnings():
            # A constant prediction: SciPy warns and returns nan, which means 0 here.
            warnings.simplefilter("ignore")
            value = float(function(predictions, labels)[0])
        return 0.0 if np.isnan(value) else value

    return compute


_METRICS = {
    "accuracy": lambda predictions, labels: float(sk.accuracy_score(labels, predictions)),
    "f1": lambda predictions, labels: float(
        sk.f1_score(labels, predictions, average="binary", pos_label=1, zero_division=0.0)
    ),
    "macro_f1": lambda predictions, labels: float(
        sk.f1_score(labels, predictions, average="macro", zero_division=0.0)
    ),
    "matthews": lambda predictions, labels: float(sk.matthews_corrcoef(labels, predictions)),
    "pearson": _correlation(stats.pearsonr),
    "spearman": _correlation(stats.spearmanr),
}

_PRINTED = {
    "accuracy": "Accuracy",
    "f1": "F1",
    "macro_f1": "Macro F1",
    "matthews": "Matthews",
    "pearson": "Pearsonr",
    "spearman": "Spearmanr",
}
_SHORT = {
    "accuracy": "acc",
    "f1": "f1",
    "macro_f1": "mf1",
    "matthews": "mcc",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}
_METHODS = {"bf1": "f1", "mf1": "macro_f1"}  # assessment_method's own spellings


def printed_name(metric):
    """The metric's name in a final line: `Accuracy`, `F1`, `Matthews`, `Pearsonr` ..., of a further set's
    results (`accuracy/eval_mm`) with the set's: `Accuracy/eval_mm`.
    """
    name, *split = metric.split("/")
    return "/".join([_PRINTED[name], *split])


def short_name(metric):
    """The metric's name in `The best acc is ...` lines, of a further set's results as `printed_name`."""
    name, *split = metric.split("/")
    return "/".join([_SHORT[name], *split])


def choose(task_metrics, assessment_method, kind, outputs):
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
    name = _METHODS.get(assessment_method, assessment_method)
    if name not in fitting:
        spelled = {value: key for key, value in _METHODS.items() if key != "bf1"}
        known = ", ".join(spelled.get(item, item) for item in fitting)
        raise UserError(
            f"assessment_method: {assessment_method} does not fit a task of {kind.describe(outputs)}; use "
            f"one of {known}"
        )
    return (name,) + tuple(item for item in own if item != name)


def score(metric_names, kind, logits, examples, labels):
    """{metric: value} of each metric.

    Args:
        metric_names (iterable of str): names above. kind (TaskKind): of the task.
        logits (ndarray): float32, a row for each of the `examples` (Examples), or for each of their tokens.
        labels (tuple of str): the class names.

    Raises:
        UserError: a logit is not finite: the largest of such is no answer.
    """
    check_finite(logits)
    return {name: _METRICS[name](*kind.evidence(name, logits, examples, labels)) for name in metric_names}


def check_finite(logits):
    """Raise a `UserError` where a logit is no finite number: the largest of such is no answer."""
    wrong = np.flatnonzero(~np.isfinite(logits).reshape(len(logits), -1).all(axis=1))
    if len(wrong):
        raise UserError(
            f"the logits of {len(wrong)} of {len(logits)} rows are not finite numbers, row {wrong[0] + 1} "
            "the first of them: the network overflows (compute_type float32 has a wider range than "
            "float16) or its weights are damaged"
        )


def result_block(results, metric_names):
    """The lines that close an evaluation of an exported model: `acc is 0.899083` between two rules, those of
    further sets (`accuracy/eval_mm`) after the first one's.
    """
    rule, names = "=" * 62, [*metric_names, *(name for name in results if "/" in name)]
    return "\n".join([rule, *(f"{short_name(name)} is {results[name]:.6f}" for name in names), rule])


def chance_level(metric, labels):
    """What the metric gives to the best constant answer: the share of the commonest class, or 0 for a
    correlation.
    """
    if metric in ("matthews", "pearson", "spearman"):
        return 0.0
    return max(_METRICS[metric](np.full_like(labels, label), labels) for label in np.unique(labels))
