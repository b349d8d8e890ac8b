"""How answers compare with the right ones, by the kind of task."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from src.errors import UserError
from src.examples import Origin
from src.kinds import CLASSIFICATION, SPAN, SPAN_OR_NONE
from src.report.answers import view_of
from src.report.predictions import Predictions
from src.report.texts import LONGEST, Texts
from tests.reports import WORDS, classes, numbers, rows_of, tags

TEXTS = Texts(WORDS)


def many_classes(count, rows=400):
    """`Predictions` of random rows in so many classes."""
    random = np.random.default_rng(3)
    examples = rows_of(CLASSIFICATION, [(["a"], ())] * rows, random.integers(0, count, rows))
    names = tuple(f"class {number}" for number in range(count))
    return Predictions(random.normal(size=(rows, count)).astype(np.float32), examples, CLASSIFICATION, names)


def test_classes_are_counted_as_scikit_learn_counts_them():
    given = many_classes(5)
    right, found = given.examples.labels, given.logits.argmax(axis=1)
    view = view_of(given, TEXTS)
    np.testing.assert_array_equal(view.matrix.counts, sk.confusion_matrix(right, found))
    scores = sk.precision_recall_fscore_support(right, found)
    np.testing.assert_allclose(np.array([row[1:] for row in view.tables[0].rows]).T, scores)
    assert view.rows == 400 and view.wrong == (right != found).sum()


def test_of_many_classes_the_commonest_mistakes_stand_in_place_of_a_matrix():
    given = many_classes(30)
    view = view_of(given, TEXTS)
    counts = sk.confusion_matrix(given.examples.labels, given.logits.argmax(axis=1))
    np.fill_diagonal(counts, 0)
    assert view.matrix is None and len(view.tables[1].rows) == 20
    assert [row[2] for row in view.tables[1].rows] == sorted(counts.ravel(), reverse=True)[:20]


def test_a_class_that_nobody_answers_has_a_precision_of_0_and_no_warning():
    given = replace(classes(), logits=np.float32([[1, 0]] * 4))
    assert [row[1:4] for row in view_of(given, TEXTS).tables[0].rows] == [(0.5, 1.0, 2 / 3), (0.0, 0.0, 0.0)]


def test_the_surest_wrong_rows_come_first_and_can_be_read():
    first, second = view_of(classes(), TEXTS).worst
    assert (first.number, first.answered, first.right) == (2, "positive", "negative")
    assert first.texts == ["a bad films", "<b>"] and first.measure == "99.97 %"
    assert (second.number, second.texts, second.measure) == (4, ["北京"], "52.50 %")


def test_numbers_are_sorted_by_their_distance():
    view = view_of(numbers(), TEXTS)
    assert [row.number for row in view.worst] == [2, 3] and view.wrong == 2
    assert (view.worst[0].answered, view.worst[0].right, view.worst[0].measure) == ("4.500", "0.000", "4.500")
    np.testing.assert_array_equal(view.scatter.right, [1, 0, 3])


def test_entities_are_scored_by_type_and_shown_with_their_words():
    view = view_of(tags(), TEXTS)
    assert view.tables[0].rows == (
        ("person", 0.0, 0.0, 0.0, 0),
        ("place", 1.0, 0.5, 2 / 3, 2),
        ("all together", 0.5, 0.5, 0.5, 2),
    )
    (row,) = view.worst
    assert (row.number, row.answered, row.right) == (2, "person: film", "place: good")


def questions(kind=SPAN):
    """Three questions: right, half right, and (of SQuAD2) one without an answer that is given one."""
    rows = rows_of(kind, [(["a"], ["good", "film", "bad"])] * 3, [[3, 3], [3, 4], [0, 0]])
    spans = np.array([[-1, -1]] * 3 + [[0, 4], [5, 9], [10, 13]] + [[-1, -1]], np.int32)
    references = [["good"], ["good film"], [] if kind is SPAN_OR_NONE else ["bad"]]
    texts = tuple(
        {"id": str(n), "text": "good film bad", "answers": item} for n, item in enumerate(references)
    )
    logits = np.zeros((3, 7, 2), np.float32)
    logits[:, 3] = 4
    examples = replace(rows, origin=Origin(np.arange(3), np.tile(spans, (3, 1)), texts))
    return Predictions(logits.reshape((-1, 2)), examples, kind, ())


def test_questions_are_scored_by_the_length_of_their_answer():
    (table,) = view_of(questions(), TEXTS).tables
    assert table.rows == (("1", 0.5, 0.5, 2), ("2", 0.0, pytest.approx(2 / 3), 1))
    (table,) = view_of(questions(SPAN_OR_NONE), TEXTS).tables
    assert table.rows[0] == ("no answer", 0.0, 0.0, 1)


def test_a_wrong_answer_stands_with_its_question_and_the_right_ones():
    view = view_of(questions(SPAN_OR_NONE), TEXTS)
    assert [row.number for row in view.worst] == [2, 3] and view.wrong == 2
    assert view.worst[0].texts == ["a"] and view.worst[0].answered == "good"
    assert [row.right for row in view.worst] == ["good film", "no answer"]


@pytest.mark.parametrize("given", [classes, numbers, tags, questions], ids=lambda item: item.__name__)
def test_answers_come_back_from_their_file_with_rows_and_texts(tmp_path, given):
    saved = given()
    saved.save(str(tmp_path / "predictions.npz"))
    loaded = Predictions.load(str(tmp_path / "predictions.npz"))
    assert loaded.kind is saved.kind and loaded.labels == tuple(saved.labels)
    np.testing.assert_array_equal(loaded.logits, saved.logits)
    np.testing.assert_array_equal(loaded.examples.labels, saved.examples.labels)
    assert view_of(loaded, TEXTS).worst == view_of(saved, TEXTS).worst


@pytest.mark.parametrize("damage", [b"", b"PK\3\4 no archive", None])
def test_a_file_that_is_none_of_answers_is_refused(tmp_path, damage):
    path = tmp_path / "predictions.npz"
    if damage is None:
        np.savez(path, about=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(damage)
    with pytest.raises(UserError, match="is damaged, or no answers of a run"):
        Predictions.load(str(path))


def test_a_file_of_questions_without_their_texts_is_refused(tmp_path):
    path = str(tmp_path / "predictions.npz")
    saved = questions()
    replace(saved, examples=replace(saved.examples, origin=None)).save(path)
    with pytest.raises(UserError, match="is damaged, or no answers of a run: .*origin_rows"):
        Predictions.load(path)


def test_answers_that_are_not_finite_are_no_answers():
    given = replace(classes(), logits=np.float32([[0, np.nan]] * 4))
    with pytest.raises(UserError, match="not finite"):
        view_of(given, TEXTS)


def test_texts_without_a_vocabulary_are_numbers_and_long_ones_are_cut():
    assert Texts(None).of([2, 5, 6]) == "2 5 6" and Texts(WORDS).of([5, 99]) == "good [99]"
    assert len(Texts(WORDS).of([5] * 1000)) == LONGEST + 3
