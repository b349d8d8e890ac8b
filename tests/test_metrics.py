"""Metrics by hand-computed numbers and scikit-learn."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from src import metrics
from src.errors import UserError
from src.examples import Examples, Origin, offsets_of
from src.kinds import CLASSIFICATION, REGRESSION, SPAN, SPAN_OR_NONE, TAGGING
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
    kind = REGRESSION if metric == "pearson" else CLASSIFICATION
    ones = np.ones(len(labels), np.int32)
    examples = Examples(ones, ones, offsets_of(ones), labelled(kind, np.array(labels)))
    assert metrics.chance_level(metric, examples) == pytest.approx(expected)


def rows_with(kind, labels):
    ones = np.ones(len(labels), np.int32)
    return Examples(ones, ones, offsets_of(ones), labelled(kind, np.array(labels)))


@pytest.mark.parametrize("labels", [[1], [0], [1, 1, 1], [0, 0], [0, 1]])
@pytest.mark.parametrize("predicted", [0, 1])
def test_every_metric_of_few_rows_or_one_class_is_a_number(labels, predicted):
    logits = np.zeros((len(labels), 2), np.float32)
    logits[:, predicted] = 1
    values = score(CLASSIFICATION.metrics, logits, np.int32(labels))
    assert values["accuracy"] == pytest.approx(np.mean(np.array(labels) == predicted))
    assert values["matthews"] == 0.0 and all(0 <= value <= 1 for value in values.values())
    for metric in CLASSIFICATION.metrics:
        assert 0 <= metrics.chance_level(metric, rows_with(CLASSIFICATION, labels)) <= 1
    values = score(REGRESSION.metrics, logits[:, :1], np.float32(labels), REGRESSION)
    assert values == {"pearson": 0.0, "spearman": 0.0}


def test_metrics_of_tags_without_an_entity_are_numbers():
    names = TAGGING.tags(("x",))
    examples = rows_with(CLASSIFICATION, [0])
    examples = replace(examples, columns={TAGGING.columns[0]: np.int32([0])})
    for logits in (np.eye(5, dtype=np.float32)[:1], np.eye(5, dtype=np.float32)[4:]):
        values = metrics.score(TAGGING.metrics, TAGGING, logits, examples, names)
        assert all(0 <= value <= 1 for value in values.values()) and values["entity_f1"] == 0.0


@pytest.mark.parametrize(
    "metric, labels, words",
    [
        ("pearson", [0.5], "one row only"),
        ("spearman", [2.0, 2.0], "labels of its 2 rows are all alike"),
        ("matthews", [1, 1, 1], "labels of its 3 rows are all alike"),
        ("f1", [0, 0], "none of its 2 rows is of class 1"),
        ("entity_f1", [0, -1], "none of its 2 rows has an entity"),
        ("f1", [1, 1], ""),
        ("pearson", [0.5, 1.5], ""),
        ("accuracy", [1], ""),
        ("entity_f1", [0, 4], ""),
    ],
)
def test_a_set_that_a_metric_cannot_tell_models_apart_on_is_named(metric, labels, words):
    examples = rows_with(REGRESSION if isinstance(labels[0], float) else CLASSIFICATION, labels)
    why = metrics.undecided(metric, examples)
    assert words in why and bool(why) == bool(words)
    assert metrics.notes((metric,), {"eval": examples}) == ([f"note: eval: {why}"] if words else [])


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
    rule = "=" * 65
    assert metrics.result_block(results, ("accuracy",)).splitlines() == [
        rule,
        "============== acc is 0.8",
        "============== acc/eval_mm is 0.75",
        rule,
    ]


def test_scores_are_shown_in_percent_with_two_decimals():
    assert metrics.best_line({"pearson": 2 / 3}, "pearson") == "The best Pearsonr: 66.67"
    results = {"task": "SST-2", "accuracy": 0.975, "accuracy/eval_mm": 1.0, "rows": 40, "p50_ms": 0.2}
    assert metrics.result_lines(results) == [
        "task: SST-2",
        "accuracy: 97.50",
        "accuracy/eval_mm: 100.00",
        "rows: 40",
        "p50_ms: 0.2",
    ]


@pytest.mark.parametrize(
    "batch_size, most, ends", [(2, 10, [2, 4, 6]), (4, 10, [4, 6]), (2, 2, [2, 6]), (50, 10, [6])]
)
@pytest.mark.parametrize("metric", ["accuracy", "pearson"])
def test_an_evaluations_steps_are_told_as_the_published_program_does(batch_size, most, ends, metric):
    kind = REGRESSION if metric == "pearson" else CLASSIFICATION
    logits = LOGITS[:, :1] if metric == "pearson" else LOGITS
    labels = LABELS.astype(np.float32) if metric == "pearson" else LABELS
    zeros = np.zeros(6, np.int32)
    rows = Examples(zeros, zeros, offsets_of(zeros + 1), labelled(kind, labels))
    lines = list(metrics.running_lines(metric, kind, logits, rows, (), batch_size, most))
    assert len(lines) == len(ends)
    for line, end in zip(lines, ends):
        step, value = re.fullmatch(r"eval step: (\d+), (?:Pearsonr|Accuracy): (\S+)", line).groups()
        assert int(step) == -(-end // batch_size) - 1
        if metric == "pearson":
            expected = 100 * stats.pearsonr(logits[:end, 0], labels[:end])[0]
        else:
            expected = 100 * np.mean(np.array(PREDICTED[:end]) == labels[:end])
        assert value == f"{expected:.2f}"


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


# --- answers in a text --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found, right, exact, f1",
    [
        ("The red hen!", ["red  hen"], 1, 1),  # case, punctuation, articles and spaces are left out
        ("hens", ["hen"], 0, 0),
        ("an old red hen", ["the red hen of Ann"], 0, 4 / 7),  # 2 shared of 3 and of 4
        ("hen hen fox", ["hen fox fox"], 0, 2 / 3),  # a word is shared as often as both have it
        ("theory", ["ory"], 0, 0),  # an article is a word of its own
        ("b", ["a c", "b d", "x"], 0, 2 / 3),  # the best of the right answers
        ("", [], 1, 1),
        ("hen", [], 0, 0),
        ("", ["hen"], 0, 0),
        ("the", ["a", "hen"], 0, 0),  # a right answer without a word is none where there are others
        ("the", ["..."], 1, 1),
    ],
)
def test_answers_are_compared_as_squads_script_does(found, right, exact, f1):
    names = ("exact_match", "span_f1")
    values = [metrics._METRICS[name]([found, "x"], [right, ["x"]]) for name in names]
    assert values == pytest.approx([(exact + 1) / 2, (f1 + 1) / 2])


def test_best_threshold_between_answers_and_none():
    # By odds: right, wrong, there is none, half right, there is none.
    predictions = [("hen", -5.0), ("fox", 0.5), ("red hen", 1.0), ("cub", -1.0), ("den", 2.0)]
    references = [["hen"], [], ["red fox"], ["x"], []]
    # F1: 2 with no answer at all; +1, +0, -1, +0.5, -1 in the order of odds.
    assert metrics.best_thresholds(predictions, references) == {
        "best_exact": 3 / 5,
        "best_exact_thresh": -5.0,
        "best_f1": 3 / 5,
        "best_f1_thresh": -5.0,
    }
    predictions[1] = ("", 0.5)  # now half a word more is worth it
    assert metrics.best_thresholds(predictions, references)["best_f1"] == 3.5 / 5
    assert metrics.best_thresholds(predictions, references)["best_f1_thresh"] == 1.0
    assert metrics.best_thresholds([("hen", 1.0)], [[]])["best_exact"] == 1.0
    assert metrics.best_thresholds([("hen", 1.0)], [[]])["best_exact_thresh"] == 0.0


def test_questions_choose_their_own_f1():
    assert metrics.choose((), "auto", SPAN, 2) == ("span_f1", "exact_match")
    assert metrics.choose((), "f1", SPAN, 2)[0] == "span_f1"
    assert metrics.choose((), "exact_match", SPAN_OR_NONE, 2)[:2] == ("exact_match", "span_f1")


@pytest.mark.parametrize("answers, expected", [([["hen"], ["cat"]], 0.0), ([["hen"], [], []], 2 / 3)])
def test_chance_level_of_questions_is_the_share_that_has_no_answer(answers, expected):
    ones = np.ones(len(answers), np.int32)
    origin = Origin(
        np.arange(len(answers)), np.full((len(answers), 2), -1), [{"answers": a} for a in answers]
    )
    examples = Examples(ones, ones, offsets_of(ones), origin=origin)
    for name in SPAN_OR_NONE.metrics:
        assert metrics.chance_level(name, examples) == pytest.approx(expected)
