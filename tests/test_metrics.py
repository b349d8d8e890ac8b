"""Metrics by hand-computed numbers and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from src import metrics
from src.errors import UserError
from src.examples import Examples, offsets_of
from src.kinds import CLASSIFICATION, REGRESSION
from tests.helpers import labelled, refuses

LOGITS = np.float32([[2, 1, 0], [0, 3, 1], [1, 2, 0], [0, 0, 5], [4, 0, 0], [0, 1, 0]])
LABELS = np.int32([0, 1, 2, 2, 0, 0])
PREDICTED = [0, 1, 1, 2, 0, 1]


def score(names, logits, labels, kind=CLASSIFICATION):
    """`metrics.score` of rows of one token."""
    zeros = np.zeros(len(labels), np.int32)
    examples = Examples(zeros, zeros, offsets_of(zeros + 1), labelled(kind, labels))
    return metrics.score(names, kind, logits, examples, ())


def test_classification_metrics_are_scikit_learns():
    values = score(("accuracy", "macro_f1", "matthews"), LOGITS, LABELS)
    assert values["accuracy"] == pytest.approx(4 / 6)
    assert values["macro_f1"] == pytest.approx(sk.f1_score(LABELS, PREDICTED, average="macro"))
    assert values["matthews"] == pytest.approx(sk.matthews_corrcoef(LABELS, PREDICTED))
    assert values["macro_f1"] != pytest.approx(values["accuracy"])


def test_f1_counts_only_class_one_as_a_hit():
    logits = np.float32([[0, 1], [0, 1], [1, 0], [1, 0], [1, 0]])  # predicts 1 1 0 0 0
    labels = np.int32([1, 0, 0, 1, 0])  # one true positive, one false positive, one false negative
    assert score(("f1",), logits, labels)["f1"] == pytest.approx(0.5)


def test_correlations_are_scipys_and_a_constant_prediction_has_none():
    random = np.random.default_rng(0)
    predictions, targets = (
        random.normal(size=(20, 1)).astype(np.float32),
        random.normal(size=20).astype(np.float32),
    )
    values = score(("pearson", "spearman"), predictions, targets, REGRESSION)
    assert values["pearson"] == pytest.approx(stats.pearsonr(predictions[:, 0], targets)[0])
    assert values["spearman"] == pytest.approx(stats.spearmanr(predictions[:, 0], targets)[0])
    assert score(("pearson", "spearman"), np.ones((20, 1)), targets, REGRESSION) == {
        "pearson": 0.0,
        "spearman": 0.0,
    }


@pytest.mark.parametrize(
    "metric,labels,expected",
    [
        ("accuracy", [0, 0, 1], 2 / 3),
        ("accuracy", [2, 2, 0, 2], 0.75),
        ("f1", [1, 0, 0, 1], 2 / 3),
        ("matthews", [0, 1, 1], 0.0),
        ("pearson", [0.5, 1.5], 0.0),
        ("macro_f1", [0, 1], 1 / 3),
    ],
)
def test_chance_level_is_the_best_constant_answers(metric, labels, expected):
    assert metrics.chance_level(metric, np.array(labels)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "method,expected",
    [
        ("auto", ("f1", "accuracy")),
        ("accuracy", ("accuracy", "f1")),
        ("bf1", ("f1", "accuracy")),
        ("mf1", ("macro_f1", "f1", "accuracy")),
        ("matthews", ("matthews", "f1", "accuracy")),
    ],
)
def test_assessment_method_decides_and_the_tasks_metrics_are_still_reported(method, expected):
    assert metrics.choose(("f1", "accuracy"), method, CLASSIFICATION, 2) == expected


def test_own_data_of_either_kind_has_metrics():
    for own in ((), ("accuracy", "macro_f1")):
        assert metrics.choose(own, "auto", REGRESSION, 1) == ("pearson", "spearman")
        assert metrics.choose(own, "spearman", REGRESSION, 1) == ("spearman", "pearson")
        assert metrics.choose(own, "auto", CLASSIFICATION, 5) == ("accuracy", "macro_f1")


def test_a_task_none_of_whose_metrics_fits_has_those_of_its_kind_and_no_correlation():
    assert metrics.choose(("f1",), "auto", CLASSIFICATION, 3) == ("accuracy", "macro_f1")
    assert metrics.choose(("f1",), "accuracy", CLASSIFICATION, 3) == ("accuracy", "macro_f1")
    assert metrics.choose(("f1", "accuracy"), "auto", CLASSIFICATION, 3) == ("accuracy",)


@pytest.mark.parametrize("method", ["f1", "bf1"])
def test_f1_of_class_1_needs_two_classes(method):
    with pytest.raises(UserError) as error:
        metrics.choose(("accuracy",), method, CLASSIFICATION, 3)
    refuses(error, method, "3 classes", "mf1")
    assert "macro_f1" not in str(error.value)


@pytest.mark.parametrize(
    "method,kind,words",
    [
        ("pearson", CLASSIFICATION, ("2 classes", "accuracy, f1, mf1, matthews")),
        ("accuracy", REGRESSION, ("regression", "pearson, spearman")),
        ("mf1", REGRESSION, ("regression",)),
    ],
)
def test_metric_of_the_other_kind_of_task_is_refused(method, kind, words):
    with pytest.raises(UserError) as error:
        metrics.choose(("accuracy",), method, kind, kind.outputs(("no", "yes")))
    refuses(error, "assessment_method", method, *words)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_answers_that_are_no_numbers_are_refused(wrong):
    logits = np.zeros((5, 2), np.float32)
    logits[3, 1] = wrong
    with pytest.raises(UserError) as error:
        score(("accuracy",), logits, np.zeros(5, np.int64))
    refuses(error, "the logits of 1 of 5 rows are not finite numbers, row 4 the first")


def test_a_further_sets_results_stand_below_the_first_ones():
    results = {"accuracy": 0.8, "rows": 5, "accuracy/eval_mm": 0.75}
    rule = "=" * 62
    assert metrics.result_block(results, ("accuracy",)).splitlines() == [
        rule,
        "acc is 0.800000",
        "acc/eval_mm is 0.750000",
        rule,
    ]


def test_printed_names():
    assert [metrics.printed_name(name) for name in ("accuracy", "f1", "pearson")] == [
        "Accuracy",
        "F1",
        "Pearsonr",
    ]
    assert [metrics.short_name(name) for name in ("accuracy", "macro_f1", "matthews")] == [
        "acc",
        "mf1",
        "mcc",
    ]
