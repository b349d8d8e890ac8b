"""Answers inside a text: windows, places, the best answers, worked out by hand; every text is made up."""

from dataclasses import dataclass

import numpy as np
import pytest

from src import metrics
from src.data.readers.rows import Row
from src.data.tokenization import Tokenizer
from src.errors import UserError
from src.examples import Examples, Origin
from src.kinds import SPAN, SPAN_OR_NONE, span
from src.kinds.base import Windows
from src.kinds.span import LONGEST_ANSWER, cuts
from tests.texts import printed

WORDS = "who what is red hen fox cub den the in a b c d e f g h ##s ##ward . ,".split()
TOKENIZER = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS], True)


def asked(question, context, *answers, name="q"):
    label = tuple((context.index(answer), answer) for answer in answers)
    return Row(question, context, label, 1, name)


def words_of(examples, row):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return " ".join(
        names[token] for token in examples.input_ids[examples.offsets[row] :][: examples.lengths[row]]
    )


def answer_of(examples, row):
    """The characters between a row's two places."""
    spans = examples.origin.spans[examples.offsets[row] : examples.offsets[row + 1]]
    (start, _), (_, end) = spans[examples.labels[row]]
    return examples.origin.texts[examples.origin.rows[row]]["text"][start:end]


# --- rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tokens, room, stride, expected",
    [
        (5, 5, 2, [(0, 5)]),
        (6, 5, 2, [(0, 5), (2, 6)]),
        (11, 4, 3, [(0, 4), (3, 7), (6, 10), (9, 11)]),
        (9, 4, 100, [(0, 4), (4, 8), (8, 9)]),  # a stride beyond the window leaves nothing out
        (0, 4, 2, [(0, 0)]),
    ],
)
def test_windows_are_cut_by_berts_rule(tokens, room, stride, expected):
    assert cuts(tokens, room, stride) == expected


def test_a_row_is_the_question_and_the_text_and_the_answers_places():
    examples, cut = SPAN.encode(
        TOKENIZER, [asked("Who is red?", "The fox, RED foxward hens.", "RED foxward")], 32
    )
    assert words_of(examples, 0) == "[CLS] who is red [UNK] [SEP] the fox , red fox ##ward hen ##s . [SEP]"
    assert examples.segment_ids.tolist() == [0] * 6 + [1] * 10 and cut == 0
    assert examples.labels.tolist() == [[9, 11]] and answer_of(examples, 0) == "RED foxward"
    spans = examples.origin.spans.tolist()
    assert (
        spans[:6] == [[-1, -1]] * 6 and spans[6] == [0, 3] and spans[11] == [16, 20] and spans[15] == [-1, -1]
    )
    assert examples.origin.texts == (
        {"id": "q", "text": "The fox, RED foxward hens.", "answers": ["RED foxward"]},
    )


def test_an_answer_that_cuts_a_token_takes_the_whole_of_it_and_accents_keep_their_place():
    rows = [asked("what", "a hen\u00e9s fox", "ox"), asked("what", "the r\u00e9d d\u00e9n .", "d\u00e9n")]
    examples, _ = SPAN.encode(TOKENIZER, rows, 32)
    assert [answer_of(examples, row) for row in range(2)] == ["fox", "d\u00e9n"]


def test_windows_that_do_not_hold_the_answer_point_at_cls():
    row = asked("who", "a b c d e f g h", "d e")
    examples, _ = SPAN.encode(TOKENIZER, [row], 8, Windows(doc_stride=2))  # 4 tokens of the text a window
    assert [words_of(examples, number) for number in range(3)] == [
        "[CLS] who [SEP] a b c d [SEP]",
        "[CLS] who [SEP] c d e f [SEP]",
        "[CLS] who [SEP] e f g h [SEP]",
    ]
    assert examples.labels.tolist() == [[0, 0], [4, 5], [0, 0]] and examples.origin.rows.tolist() == [0, 0, 0]
    SPAN.check_labels(examples, (), "train")
    assert SPAN.kept_answers(examples) == SPAN.count_answers(row.label) == 1
    longer, _ = SPAN.encode(TOKENIZER, [asked("who", "a b c d e f g h", "b c d e f")], 8, Windows(2))
    assert not longer.labels.any() and SPAN.kept_answers(longer) == 0


def test_long_questions_are_cut_and_those_that_leave_no_room_refused():
    rows = [asked("who is in the den", "a b", "b", name="q9")]
    examples, cut = SPAN.encode(TOKENIZER, rows, 32, Windows(max_query_length=2))
    assert words_of(examples, 0) == "[CLS] who is [SEP] a b [SEP]" and cut == 1
    with pytest.raises(
        UserError, match="max_seq_length 8 leaves no room for the text beside question q9, .* 5 to"
    ):
        SPAN.encode(TOKENIZER, rows, 8)
    with pytest.raises(UserError, match="beside lines.txt, line 3, which"):
        SPAN.encode(TOKENIZER, [rows[0]._replace(where="lines.txt, line 3")], 8)
    assert SPAN.pair_fault(None) == "a question needs the text it is about" and SPAN.pair_fault("a") is None


def test_unlabelled_and_impossible_questions():
    examples, _ = SPAN.encode(TOKENIZER, [Row("who", "a b", None, 1, "q")], 16)
    assert examples.columns == {} and examples.origin.texts[0]["answers"] is None
    assert SPAN.kept_answers(examples) == 0
    examples, _ = SPAN_OR_NONE.encode(TOKENIZER, [Row("who", "a b", (), 1, "q")], 16)
    assert examples.labels.tolist() == [[0, 0]] and examples.origin.texts[0]["answers"] == []


def test_labels_outside_a_row_or_the_wrong_way_round_are_refused():
    examples, _ = SPAN.encode(TOKENIZER, [asked("who", "a b", "a"), asked("who", "a b", "b")], 16)
    for places in ([4, 6], [4, 3], [-1, 3]):
        examples.labels[1] = places
        with pytest.raises(UserError, match="the eval records hold answers that are no places .* row 2"):
            SPAN.check_labels(examples, (), "eval")


# --- answers ------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """Two questions: one whose text gave two windows, one of a single window; logits are all 0 at first."""

    examples: Examples
    logits: np.ndarray

    def put(self, row, places, start=None, end=None):
        """Logits of a row: of the start at the first place, of the end at the other one."""
        self.logits[self.examples.offsets[row] + places[0], 0] = start
        self.logits[self.examples.offsets[row] + places[-1], 1] = end


@pytest.fixture
def case():
    rows = [asked("who", "a b c d e f", "c d", name="long"), Row("what", "the red hen", (), 2, "short")]
    examples, _ = SPAN_OR_NONE.encode(TOKENIZER, rows, 8, Windows(doc_stride=2))
    assert len(examples) == 3  # [CLS] who [SEP] and a b c d, then c d e f; [CLS] what [SEP] the red hen [SEP]
    found = Case(examples, np.zeros((len(examples.input_ids), 2), np.float32))
    found.logits[:] = -1.0
    return found


def test_the_best_pair_of_all_windows_is_the_answer(case):
    case.put(0, (5, 6), 3, 2)
    case.put(1, (3, 4), 4, 2)  # the same words, better in the second window
    case.put(1, (1, 2), 9, 9)  # question and [SEP] are no answers
    case.put(2, (5, 4), 6, 5)  # an end before its start is none: the best of the others
    assert SPAN.evidence(("span_f1",), case.logits, case.examples, ())["span_f1"][0] == ["c d", "hen"]
    (line,), (other,) = printed(SPAN, case.logits, case.examples, (), ())
    assert line[:3] == ("c d", "4", "7") and other[:3] == ("hen", "8", "11")
    assert 0 < float(line[3]) <= 1
    predictions = SPAN.predictions_of(case.logits, case.examples)
    assert list(predictions) == ["predictions.json", "nbest_predictions.json"]
    best = predictions["nbest_predictions.json"]["long"]
    assert best[0] == {
        "text": "c d",
        "probability": pytest.approx(best[0]["probability"]),
        "start_logit": 4,
        "end_logit": 2,
    }
    assert sum(entry["probability"] for entry in best) == pytest.approx(1)
    assert len({entry["text"] for entry in best}) == len(best)


def test_all_pairs_of_a_window_are_ranked():
    context = " ".join(f"w{number}" for number in range(60))  # each is one [UNK]
    examples, _ = SPAN.encode(TOKENIZER, [Row("who", context, (), 1, "q")], 128)
    logits = np.random.default_rng(0).normal(size=(len(examples.input_ids), 2)).astype(np.float32)
    spans, best = examples.origin.spans, {}
    for start in range(3, 63):  # every pair, one by one
        for end in range(start, min(start + LONGEST_ANSWER, 63)):
            best[context[spans[start, 0] : spans[end, 1]]] = float(logits[start, 0]) + float(logits[end, 1])
    expected = sorted(best, key=lambda text: -best[text])[:20]
    found = SPAN.predictions_of(logits, examples)["nbest_predictions.json"]["q"]
    assert [entry["text"] for entry in found] == expected
    scores = np.exp([best[text] for text in expected])
    np.testing.assert_allclose([entry["probability"] for entry in found], scores / scores.sum(), rtol=1e-5)


def test_no_answer_wins_where_the_lowest_cls_of_the_windows_beats_the_best_answer(case, monkeypatch):
    case.put(0, (0, 0), 5, 5)
    case.put(1, (0, 0), 1, 1)  # the lowest: 2
    case.put(0, (5, 6), 2, 1)  # 3
    case.put(2, (0, 0), 4, 4)  # 8
    case.put(2, (3, 3), 2, 2)  # 4
    texts = [{"long": "c d", "short": ""}, {"long": -1.0, "short": 4.0}]
    files = SPAN_OR_NONE.predictions_of(case.logits, case.examples)
    assert [files["predictions.json"], files["null_odds.json"]] == texts
    assert files["nbest_predictions.json"]["short"][0] == {
        "text": "", "probability": pytest.approx(files["nbest_predictions.json"]["short"][0]["probability"]),
        "start_logit": 4, "end_logit": 4,
    }  # fmt: skip
    (line,), (none,) = printed(SPAN_OR_NONE, case.logits, case.examples, (), ())
    assert line[:3] == ("c d", "4", "7") and none[:3] == ("-", "-", "-")
    first, second = SPAN_OR_NONE.outcomes(case.logits, case.examples, (), ())
    assert first == {"answer": "c d", "start": 4, "end": 7, "score": pytest.approx(float(line[3]), abs=1e-4)}
    assert second == {"answer": None, "start": None, "end": None, "score": second["score"]}
    eager = SPAN_OR_NONE.at_threshold(4.0)
    assert eager.predictions_of(case.logits, case.examples)["predictions.json"]["short"] == "the"
    assert SPAN_OR_NONE.threshold == 0.0
    with pytest.raises(UserError, match="null_score_diff_threshold"):
        SPAN.at_threshold(1.0)
    assert SPAN.at_threshold(0.0) is SPAN
    names = SPAN_OR_NONE.default_metrics
    find, calls = span.find_answers, []
    monkeypatch.setattr(span, "find_answers", lambda *arguments: calls.append(1) or find(*arguments))
    assert metrics.score(names, SPAN_OR_NONE, case.logits, case.examples, ()) == dict.fromkeys(names, 1.0)
    assert len(calls) == 1  # for all four metrics


def test_metrics_count_the_questions_that_are_there_and_need_their_texts(case):
    part = case.examples.take([2])
    found, right = SPAN.evidence(("span_f1",), case.logits[part.offsets[0] - 7 :], part, ())["span_f1"]
    assert len(found) == 1 and right == [[]]
    bare = Examples(part.input_ids, part.segment_ids, part.offsets, part.columns)
    for examples in (bare, part.__class__(*vars(bare).values())):
        with pytest.raises(UserError, match="texts are not known"):
            SPAN.evidence(("span_f1",), case.logits, examples, ())


def test_a_text_without_tokens_has_no_answer():
    zeros = np.zeros(3, np.int32)
    origin = Origin(
        np.int64([0]), np.full((3, 2), -1, np.int32), ({"id": "q", "text": "\u200b", "answers": ["x"]},)
    )
    examples = Examples(zeros, zeros, np.int64([0, 3]), {}, origin)
    assert SPAN.evidence(("span_f1",), np.zeros((3, 2), np.float32), examples, ())["span_f1"] == (
        [""],
        [["x"]],
    )
    assert printed(SPAN, np.zeros((3, 2), np.float32), examples, (), ())[0][0][:3] == ("-", "-", "-")
