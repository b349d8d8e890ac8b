"""Questions about a text: an answer is a part of it, from one token to another (SQuAD).

A row is `[CLS] question [SEP] window [SEP]`, and a long text gives several. The two outputs of each token say
how well the answer starts and ends there; [CLS] stands for no answer in this window.

Legend: N rows, T tokens of all rows together, L tokens of one row.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from src.errors import UserError, shown
from src.examples import Column, Examples, Origin, offsets_of
from src.kinds.base import BERT_WINDOWS, TaskKind, Windows, softmax

if TYPE_CHECKING:
    from src.data.readers.rows import Row, Where
    from src.data.tokenization import Tokenizer

LONGEST_ANSWER = 30
"""Tokens of the longest answer that is considered, as in BERT's `max_answer_length`."""
N_BEST = 20
"""Answers of a question that are kept, as in BERT's `n_best_size`."""


class Answer(NamedTuple):
    """A part of a text: its characters from `start` up to, not including, `end`."""

    start: int
    end: int
    text: str
    start_logit: float
    end_logit: float

    @property
    def score(self) -> float:
        """What answers are compared by."""
        return self.start_logit + self.end_logit


@dataclass(frozen=True)
class Found:
    """What a network says of one question."""

    text: dict[str, Any]
    """Of the `Origin`."""
    answers: tuple[Answer, ...]
    """The best `Answer`s over all windows, the best first; none where no window holds a token."""
    null: Answer
    """No answer: of the window whose [CLS] has the lowest score, as BERT's own script has it."""

    @property
    def null_odds(self) -> float:
        """By how much no answer is better than the best one."""
        return self.null.score - self.answers[0].score if self.answers else 0.0


class QuestionAnswering(TaskKind):
    """The answer to a question as a part of a text that is sure to hold it (SQuAD v1.1)."""

    name = "span"
    problem_type = "question_answering"
    architecture = "BertForQuestionAnswering"
    columns = (Column("answer_positions", np.int32, width=2),)
    logits_per = "token"
    answers_called = "answers"
    submission = "squad"
    shown_as = "questions"
    picks_tokens = True
    needs_texts = True
    soft_loss = "soft_cross_entropy_of_places"
    label_loss = "label_cross_entropy_of_places"
    metrics: tuple[str, ...] = ("span_f1", "exact_match")
    default_metrics = metrics
    prediction_files: tuple[str, ...] = ("predictions.json", "nbest_predictions.json")
    may_be_none = False

    def outputs(self, labels: Sequence[str]) -> int:
        return 2

    def check_outputs(self, outputs: int, source: str) -> None:
        if outputs != 2:
            raise UserError(
                f"{source}: problem_type '{self.problem_type}' with {outputs} outputs is not supported; it "
                "has two, for an answer's start and end"
            )

    def describe(self, outputs: int) -> str:
        return "answers in a text" + (" or none" if self.may_be_none else "")

    def parse_label(
        self, value: Any, names: tuple[str, ...], where: str | Where
    ) -> tuple[tuple[int, str], ...]:
        """((first character, answer), ...) as the reader gives it."""
        if not isinstance(value, tuple):
            raise UserError(
                f"{where}: answers in a text are needed, not {shown(value)}; use SQuAD's JSON layout"
            )
        if not value and not self.may_be_none:
            raise UserError(
                f"{where}: it has no answer, as SQuAD v2.0's questions; use --task_name SQuAD2 (or custom "
                "with such a question in its training file)"
            )
        return value

    def check_labels(self, examples: Examples, names: Sequence[str], split: str) -> None:
        places = examples.labels
        inside = (0 <= places[:, 0]) & (places[:, 0] <= places[:, 1]) & (places[:, 1] < examples.lengths)
        if places.dtype.kind != "i" or not inside.all():
            raise UserError(
                f"the {split} records hold answers that are no places of a row's tokens, as row "
                f"{int(np.argmin(inside)) + 1}; run prepare_data.py again"
            )

    # --- rows to examples -----------------------------------------------------------------------------------

    def encode(
        self, tokenizer: Tokenizer, rows: Sequence[Row], max_seq_length: int, windows: Windows = BERT_WINDOWS
    ) -> tuple[Examples, int]:
        """The windows of each row's context, with its `Origin`. A window that does not hold the (first) right
        answer says that there is none, as in BERT's own training code.
        """
        questions = [ids for ids, _ in tokenizer.pieces([row.text for row in rows])]
        contexts = _contexts(tokenizer, rows)
        ids, segments, spans, places, lengths, texts = [], [], [], [], [], []
        for number, (row, question) in enumerate(zip(rows, questions)):
            context, characters = contexts[row.text_pair]
            head = [tokenizer.cls_id, *question[: windows.max_query_length], tokenizer.sep_id]
            room = _room(max_seq_length, len(head), row)
            label: Any = row.label  # ((first character, answer), ...) or None
            first, last = _tokens_of(label, characters)
            for start, end in cuts(len(context), room, windows.doc_stride):
                ids += [*head, *context[start:end], tokenizer.sep_id]
                segments.append(np.repeat(np.array([0, 1], np.int32), [len(head), end - start + 1]))
                spans += [np.full((len(head), 2), -1), characters[start:end], np.full((1, 2), -1)]
                held = start <= first and last < end
                places.append([len(head) + place - start for place in (first, last)] if held else [0, 0])
                lengths.append((number, len(segments[-1])))
            answers = None if label is None else [text for _, text in label]
            texts.append({"id": row.id, "text": row.text_pair, "answers": answers})
        of_text, lengths = np.array(lengths, np.int64).reshape(-1, 2).T
        columns = {} if rows[0].label is None else {self.columns[0]: np.array(places, np.int32)}
        origin = Origin(of_text, np.concatenate(spans).astype(np.int32), tuple(texts))
        flat = np.array(ids, np.int32), np.concatenate(segments)
        cut = sum(len(question) > windows.max_query_length for question in questions)
        return Examples(*flat, offsets_of(lengths), columns, origin), cut

    def pair_fault(self, text_pair: str | None) -> str | None:
        return "a question needs the text it is about" if text_pair is None else None

    def count_answers(self, label: Any) -> int:
        return int(bool(label))

    def kept_answers(self, examples: Examples) -> int:
        if not examples.columns:
            return 0
        assert examples.origin is not None  # `encode` gives one
        return len(np.unique(examples.origin.rows[examples.labels[:, 0] > 0]))

    # --- logits to answers ----------------------------------------------------------------------------------

    def evidence(
        self, metrics: Sequence[str], logits: np.ndarray, examples: Examples, labels: Sequence[str]
    ) -> dict[str, tuple[Any, Any]]:
        """Of `best_...` the best answers and by how much none is better than each; else the chosen ones."""
        found = find_answers(logits, examples, 1)
        references = [item.text["answers"] for item in found]
        chosen = [self.choose(item) for item in found], references
        best = [(best_text(item), item.null_odds) for item in found], references
        return {name: best if name.startswith("best_") else chosen for name in metrics}

    def choose(self, found: Found) -> str:
        """The answer (str) to a question, "" for none."""
        return best_text(found)

    def outcomes(
        self, logits: np.ndarray, examples: Examples, rows: Sequence[Row], labels: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Answer, first character, the one after the last, and its share among the best ones; None for
        none.
        """
        outcomes: list[dict[str, Any]] = []
        for found in find_answers(logits, examples, N_BEST):
            chosen = self.choose(found)
            answer, share = next(item for item in self._ranked(found) if item[0].text == chosen)
            place = (answer.start, answer.end) if chosen else (None, None)
            outcomes.append(
                {"answer": chosen or None, "start": place[0], "end": place[1], "score": float(share)}
            )
        return outcomes

    def columns_of(self, outcome: dict[str, Any]) -> list[tuple[str, ...]]:
        """One line; `-` for what there is not."""
        answer = " ".join((outcome["answer"] or "").split()) or "-"
        place = ["-" if outcome[key] is None else str(outcome[key]) for key in ("start", "end")]
        return [(answer, *place, f"{outcome['score']:.4f}")]

    def _ranked(self, found):
        """[(Answer, share)] the best first; the shares are a softmax over them."""
        listed = list(found.answers)
        if self.may_be_none or not listed:
            listed.append(found.null)
        listed.sort(key=lambda answer: -answer.score)
        return list(zip(listed, softmax(np.array([answer.score for answer in listed]))))

    def predictions_of(self, logits: np.ndarray, examples: Examples) -> dict[str, dict[str, Any]]:
        """In the layout of BERT's own script: {id: answer}, and {id: the best ones}."""
        found = find_answers(logits, examples, N_BEST)
        chosen = {item.text["id"]: self.choose(item) for item in found}
        best = {
            item.text["id"]: [
                {
                    "text": answer.text,
                    "probability": float(share),
                    "start_logit": answer.start_logit,
                    "end_logit": answer.end_logit,
                }
                for answer, share in self._ranked(item)
            ]
            for item in found
        }
        return dict(zip(self.prediction_files, (chosen, best, {i.text["id"]: i.null_odds for i in found})))


class QuestionAnsweringOrNone(QuestionAnswering):
    """The answer to a question as a part of a text that may not hold it (SQuAD v2.0)."""

    name = "span_or_none"
    problem_type = "question_answering_or_none"
    metrics = default_metrics = ("span_f1", "exact_match", "best_span_f1", "best_exact_match")
    prediction_files = ("predictions.json", "nbest_predictions.json", "null_odds.json")
    may_be_none = True

    def at_threshold(self, threshold: float, where: str = "") -> QuestionAnsweringOrNone:
        if threshold == self.threshold:
            return self
        kind = copy.copy(self)
        kind.threshold = threshold
        return kind

    def choose(self, found: Found) -> str:
        return "" if found.null_odds > self.threshold else best_text(found)


def cuts(tokens: int, room: int, stride: int) -> list[tuple[int, int]]:
    """[(first token, the one after the last)] of the windows of a text: BERT's rule, at least one.

    Args:
        tokens (int): of the text. room (int): of a window. stride (int): between two windows' starts; where
            it is more than `room`, no token is left out either.
    """
    windows = [(0, min(tokens, room))]
    while windows[-1][1] < tokens:
        start = windows[-1][0] + min(stride, room)
        windows.append((start, min(tokens, start + room)))
    return windows


def _contexts(tokenizer, rows):
    """{context: (ids, spans as an array)}; most contexts have several questions."""
    texts = list(dict.fromkeys(row.text_pair for row in rows))
    pieces = ((ids, np.array(spans, np.int32).reshape(-1, 2)) for ids, spans in tokenizer.pieces(texts))
    return dict(zip(texts, pieces))


def _room(max_seq_length, head, row):
    """Tokens of a window."""
    room = max_seq_length - head - 1
    if room < 1:
        raise UserError(
            f"max_seq_length {max_seq_length} leaves no room for the text beside "
            f"{row.where or f'question {row.id or row.line_number}'}, which has {head - 2} tokens"
        )
    return room


def _tokens_of(label, characters):
    """(first, last) token of the first right answer; (-1, -1) where there is none."""
    if not label:
        return -1, -1
    start, text = label[0]
    first = int(np.searchsorted(characters[:, 1], start, "right"))
    last = int(np.searchsorted(characters[:, 0], start + len(text))) - 1
    return (first, last) if first <= last else (-1, -1)


def best_text(found: Found) -> str:
    """The best answer of a question, whatever speaks for none."""
    return found.answers[0].text if found.answers else ""


def find_answers(logits: np.ndarray, examples: Examples, count: int) -> list[Found]:
    """What a network says of every question.

    Args:
        logits (ndarray): (T, 2), how well an answer starts and ends at a token. examples (Examples): with
            their `Origin`. count (int): answers to keep.

    Returns:
        list of `Found`, in the order of the texts

    Raises:
        UserError: the texts are not known.
    """
    origin = examples.origin
    if origin is None or not origin.texts:
        raise UserError("the rows' texts are not known, of which answers are parts; give evaluation records")
    order = np.argsort(origin.rows, kind="stable")
    numbers, firsts = np.unique(origin.rows[order], return_index=True)
    found = []
    for number, rows in zip(numbers, np.split(order, firsts[1:])):
        text, candidates, nulls = origin.texts[number], [], []
        for row in rows:
            tokens = slice(examples.offsets[row], examples.offsets[row + 1])
            here = logits[tokens].astype(np.float64)
            nulls.append(Answer(0, 0, "", *here[0].tolist()))
            candidates += _candidates(here, origin.spans[tokens], text["text"], count)
        null = min(nulls, key=lambda answer: answer.score)
        found.append(Found(text, _best(candidates, count), null))
    return found


def _candidates(logits, spans, text, count):
    """The best `Answer`s in one window: (L, 2) logits and characters."""
    inside = spans[:, 0] >= 0
    if not inside.any():
        return []
    spans, (starts, ends) = spans[inside], logits[inside].T
    ends_from = sliding_window_view(
        np.concatenate([ends, np.full(LONGEST_ANSWER - 1, -np.inf)]), LONGEST_ANSWER
    )
    scores = (starts[:, None] + ends_from).ravel()  # of every start and every end that is not too far
    if len(scores) > count:
        kept = np.argpartition(-scores, count - 1)[:count]
    else:
        kept = np.arange(len(scores))
    answers = []
    for first, more in zip(*np.divmod(kept[np.isfinite(scores[kept])], LONGEST_ANSWER)):
        start, end = int(spans[first, 0]), int(spans[first + more, 1])
        answers.append(Answer(start, end, text[start:end], float(starts[first]), float(ends[first + more])))
    return answers


def _best(candidates, count):
    """The `count` best of all windows; a text that stands in several places counts once."""
    best: dict[str, Answer] = {}
    for answer in sorted(candidates, key=lambda answer: (-answer.score, answer.start, answer.end)):
        best.setdefault(answer.text, answer)
    return tuple(best.values())[:count]
