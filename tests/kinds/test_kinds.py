"""What each kind of task makes of rows, logits and labels, against NumPy by hand."""

from dataclasses import dataclass

import numpy as np
import pytest

from src.distill import losses
from src.errors import UserError
from src.examples import Examples, offsets_of
from src.kinds import CLASSIFICATION, KINDS, REGRESSION, kind_named, kind_of_problem
from tests.helpers import refuses
from tests.texts import printed

NAMES = ("bad", "good", "1")


@dataclass
class Row:
    """As `src/data/readers` gives it, as far as a kind looks."""

    text: str
    text_pair: str = None
    label: float = None


class Words:
    """A tokenizer: a token a word, its id the word's length; between two texts and around them id 0."""

    def encode_flat(self, texts, pairs, max_seq_length):
        ids, segments, lengths, cut = [], [], [], 0
        for index, text in enumerate(texts):
            parts = [[len(word) for word in text.split()]]
            if pairs is not None:
                parts.append([len(word) for word in pairs[index].split()])
            row = [(0, 0)]
            for number, part in enumerate(parts):
                row += [(token, number) for token in part] + [(0, number)]
            cut += len(row) > max_seq_length
            row = row[:max_seq_length]
            ids += [token for token, _ in row]
            segments += [segment for _, segment in row]
            lengths.append(len(row))
        return np.int32(ids), np.int32(segments), np.int64(lengths), cut


def rows_labelled(values, kind):
    """`Examples` of one token a row."""
    values = np.array(values)
    zeros = np.zeros(len(values), np.int32)
    return Examples(zeros, zeros, offsets_of(np.ones(len(values), np.int64)), {kind.columns[0]: values})


# --- the table ----------------------------------------------------------------------------------------------


def test_kinds_are_found_by_their_names_and_by_hugging_faces():
    assert kind_named("classification", "x") is CLASSIFICATION and kind_named("regression", "x") is REGRESSION
    assert kind_of_problem("single_label_classification", "x") is CLASSIFICATION
    assert kind_of_problem("regression", "x") is REGRESSION
    with pytest.raises(UserError) as error:
        kind_named("tagging", "dataset.json")
    refuses(error, "dataset.json: 'tagging' is no kind of task", "classification, regression")
    with pytest.raises(UserError) as error:
        kind_of_problem("multi_label_classification", "config.json")
    refuses(
        error,
        "config.json: problem_type 'multi_label_classification' is not supported",
        "single_label_classification, regression",
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_a_kind_names_is_there(kind):
    assert callable(getattr(losses, kind.soft_loss)) and callable(getattr(losses, kind.label_loss))
    assert set(kind.default_metrics) <= set(kind.metrics)
    # Transformers has no class of its own for a regression.
    assert (kind.architecture == "BertForSequenceClassification") == (kind.logits_per == "row")
    assert len(kind.columns) == 1


# --- classification -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, expected", [("good", 1), ("bad", 0), ("0", 0), (2, 2), ("1", 2)])
def test_a_class_is_given_by_its_name_or_else_by_its_index(value, expected):
    assert CLASSIFICATION.parse_label(value, NAMES, "a.tsv line 2") == expected  # "1" is the third one's name


@pytest.mark.parametrize("value", ["Good", "3", "-1", "1.5", "", 1.5, None, True, "\u0662"])
def test_what_is_no_class_is_refused(value):
    with pytest.raises(UserError) as error:
        CLASSIFICATION.parse_label(value, NAMES, "a.tsv line 2")
    refuses(error, f"a.tsv line 2: the label {str(value)!r} is none of bad, good, 1", "0 to 2")


def test_a_number_is_no_index_where_the_names_are_numbers():
    assert CLASSIFICATION.parse_label(1, ("1", "2"), "") == 0
    with pytest.raises(UserError) as error:
        CLASSIFICATION.parse_label("0", ("1", "2"), "a.tsv line 2")
    refuses(error, "a.tsv line 2: the label '0' is none of 1, 2")
    assert "index" not in str(error.value)


def test_a_classs_prediction_is_the_largest_logit_and_its_answer_has_a_probability():
    logits = np.float32([[1.0, 3.0, 2.0], [1000.0, -1000.0, 0.0], [-1000.0, -999.0, -1000.0]])
    np.testing.assert_array_equal(CLASSIFICATION.predictions(logits), [1, 0, 1])
    answers = [line for (line,) in printed(CLASSIFICATION, logits, None, (), NAMES)]
    assert [name for name, _ in answers] == ["good", "bad", "good"]
    e = np.e
    expected = [e**3 / (e + e**2 + e**3), 1.0, e / (2 + e)]  # softmax by hand, far from float32's range too
    assert [probability for _, probability in answers] == [f"{value:.4f}" for value in expected]
    (first,) = CLASSIFICATION.outcomes(logits[:1], None, (), NAMES)
    shares = [np.e ** (power - 3) * expected[0] for power in (1, 3, 2)]
    assert first["label"] == "good" and first["probability"] == pytest.approx(expected[0])
    assert first["probabilities"] == pytest.approx(dict(zip(NAMES, shares)))


def test_classifiers_have_two_outputs_or_more():
    assert CLASSIFICATION.outputs(NAMES) == 3 and CLASSIFICATION.outputs(()) == 0
    assert CLASSIFICATION.describe(3) == "3 classes"
    CLASSIFICATION.check_outputs(2, "model/")
    for outputs in (0, 1):
        with pytest.raises(UserError) as error:
            CLASSIFICATION.check_outputs(outputs, "model/")
        refuses(error, f"model/: problem_type 'single_label_classification' with {outputs} outputs")


def test_f1_of_class_1_fits_two_classes_only():
    assert "f1" in CLASSIFICATION.fitting_metrics(2) and "f1" not in CLASSIFICATION.fitting_metrics(3)
    assert {"accuracy", "macro_f1", "matthews"} <= set(CLASSIFICATION.fitting_metrics(3))


@pytest.mark.parametrize(
    "labels, words",
    [
        (np.int32([0, 3, 1]), ("labels from 0 to 3", "3 labels bad, good, 1")),
        (np.int32([0, -1, 1]), ("labels from -1 to 1",)),
        (np.float32([0, 1, 1]), ("fractional labels", "a classification task")),
    ],
)
def test_records_whose_labels_are_no_classes_are_refused(labels, words):
    with pytest.raises(UserError) as error:
        CLASSIFICATION.check_labels(rows_labelled(labels, CLASSIFICATION), NAMES, "eval")
    refuses(error, "the eval records hold", *words)
    CLASSIFICATION.check_labels(rows_labelled(np.int32([0, 2, 1]), CLASSIFICATION), NAMES, "eval")


# --- regression ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, expected", [("2.5", 2.5), (3, 3.0), ("-1e-1", -0.1), (" 4 ", 4.0)])
def test_a_regressions_label_is_a_number(value, expected):
    assert REGRESSION.parse_label(value, (), "a.tsv line 2") == expected


@pytest.mark.parametrize("value", ["", "four", "nan", "inf", None, True, float("-inf"), [1]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(UserError) as error:
        REGRESSION.parse_label(value, (), "a.tsv line 2")
    refuses(error, f"a.tsv line 2: the label {value!r} is not a number")


def test_a_regressions_prediction_and_answer_are_its_only_logit():
    logits = np.float32([[1.25], [-0.00004]])
    np.testing.assert_array_equal(REGRESSION.predictions(logits), np.float32([1.25, -0.00004]))
    assert printed(REGRESSION, logits, None, (), ()) == [[("1.2500",)], [("-0.0000",)]]
    assert REGRESSION.outcomes(logits[:1], None, (), ()) == [{"value": 1.25}]


def test_a_regression_has_one_output_and_no_class_names():
    assert REGRESSION.outputs(()) == 1 and REGRESSION.describe(1) == "regression"
    assert REGRESSION.fitting_metrics(1) == ("pearson", "spearman")
    REGRESSION.check_outputs(1, "model/")
    with pytest.raises(UserError) as error:
        REGRESSION.check_outputs(2, "model/")
    refuses(error, "model/: problem_type 'regression' with 2 outputs is not supported")


def test_records_of_classes_are_no_regressions():
    with pytest.raises(UserError) as error:
        REGRESSION.check_labels(rows_labelled(np.int32([0, 3]), REGRESSION), (), "train")
    refuses(error, "the train records hold whole-number labels", "a regression task")
    REGRESSION.check_labels(rows_labelled(np.float32([0, 3.5]), REGRESSION), (), "train")


# --- rows to examples ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, labels, dtype", [(CLASSIFICATION, (1, 0), np.int32), (REGRESSION, (2.5, 0.0), np.float32)]
)
def test_rows_are_encoded_with_a_label_each(kind, labels, dtype):
    rows = [Row("a bb", "ccc", labels[0]), Row("dddd", "", labels[1])]
    examples, cut = kind.encode(Words(), rows, 5)
    np.testing.assert_array_equal(examples.input_ids, [0, 1, 2, 0, 3, 0, 4, 0, 0])
    np.testing.assert_array_equal(examples.segment_ids, [0, 0, 0, 0, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(examples.offsets, [0, 5, 9])
    assert cut == 1 and list(examples.columns) == list(kind.columns)
    assert examples.labels.dtype == dtype
    np.testing.assert_array_equal(examples.labels, np.array(labels, dtype))


@pytest.mark.parametrize("kind", [CLASSIFICATION, REGRESSION], ids=lambda kind: kind.name)
def test_rows_without_labels_have_no_column_and_single_texts_no_second_segment(kind):
    examples, cut = kind.encode(Words(), [Row("a bb"), Row("c")], 16)
    np.testing.assert_array_equal(examples.input_ids, [0, 1, 2, 0, 0, 1, 0])
    assert not examples.segment_ids.any() and examples.columns == {} and cut == 0
