"""What a kind of task is: its rows, head, losses, metrics and answers. One file beside this one for each
kind.

A kind knows NumPy only, so that the processes that tokenize load nothing else. What it names of other rooms
it names by text: its losses are functions of `src/distill/losses.py`, its metrics those of `src/metrics.py`,
which scores what `predictions` gives.

Legend: N rows, T tokens of all rows together, C outputs of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from src.errors import UserError
from src.examples import Column, Examples, offsets_of

if TYPE_CHECKING:
    from src.data.readers.rows import Row, Where
    from src.data.tokenization import Tokenizer


@dataclass(frozen=True)
class Windows:
    """How a text that is too long for a row is cut into several, by kinds that do so; BERT's values."""

    doc_stride: int = 128
    """Tokens between the starts of two windows."""
    max_query_length: int = 64
    """Tokens of a question that are kept."""


BERT_WINDOWS = Windows()


def softmax(scores: np.ndarray) -> np.ndarray:
    """The shares (..., C) that scores (..., C) mean, without overflow: those of a line add up to 1."""
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


class TaskKind:
    """One kind of task. A subclass sets the attributes and answers the questions below; `src/kinds` lists
    it.
    """

    name = ""
    """In settings (`task_type`) and in dataset.json (`head`)."""
    problem_type = ""
    """Hugging Face's word for it, in config.json."""
    architecture = ""
    """Hugging Face's class for a BERT with such a head."""
    columns: tuple[Column, ...] = ()
    """The `Column`s of a record besides its tokens."""
    logits_per = "row"
    """"row": the head reads the pooled output, logits are (N, C); "token": it reads every hidden state."""
    picks_tokens = False
    """Whether each output points at one of the row's tokens, so that these compete and not the outputs."""
    needs_texts = False
    """Whether metrics compare texts, so that evaluation records keep their `Origin`."""
    submission = "glue"
    """How answers to a test set are written where the task names no layout: a key of `LAYOUTS` in
    `src/submission.py`."""
    prediction_files: tuple[str, ...] = ()
    """Names of the files that `predictions_of` is for; () where the kind has no layout of its own."""
    soft_loss = ""
    """Loss of the student's logits against the teacher's."""
    label_loss = ""
    """Loss of the logits against the labels."""
    metrics: tuple[str, ...] = ()
    """Every metric that fits."""
    default_metrics: tuple[str, ...] = ()
    """The metrics of data that name none, the deciding one first."""
    threshold = 0.0
    """A text has no answer where that is better than the best one by more than this; 0 for kinds whose texts
    all have one."""
    shown_as = ""
    """How a report shows its answers: a key of `_VIEWS` in `src/report/answers.py`."""
    answers_called = ""
    """What a text may have several of, of which the cut to the longest row may lose some, as `entities`; ""
    for one label a row."""

    def outputs(self, labels: Sequence[str]) -> int:
        """C for these class names: one for each."""
        return len(labels)

    def asked_labels(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """What `--labels` must be for these class names; () where nothing gives them."""
        return names

    def check_outputs(self, outputs: int, source: str) -> None:
        """Raise a `UserError` where a head with so many outputs is none of this kind; `source` is the
        model.
        """
        raise NotImplementedError

    def describe(self, outputs: int) -> str:
        """The kind in words, as `2 classes`."""
        raise NotImplementedError

    def fitting_metrics(self, outputs: int) -> tuple[str, ...]:
        """The `metrics` that a head with so many outputs has."""
        return self.metrics

    def parse_label(self, value: Any, names: tuple[str, ...], where: str | Where) -> object:
        """A raw label as a number; `names` are the class names.

        Raises:
            UserError: it is none of this kind; the message starts with `where`.
        """
        raise NotImplementedError

    def pair_fault(self, text_pair: str | None) -> str | None:
        """What is wrong with a row's second text, or that it has none; None for nothing."""
        return None

    def count_answers(self, label: Any) -> int:
        """How many of what `answers_called` says a parsed label holds."""
        return 0

    def kept_answers(self, examples: Examples) -> int:
        """How many of them `Examples` hold that `encode` made."""
        return 0

    def check_labels(self, examples: Examples, names: Sequence[str], split: str) -> None:
        """Raise a `UserError` where the labels of a `split`'s `Examples` are none of this kind and these
        names.
        """
        raise NotImplementedError

    def encode(
        self, tokenizer: Tokenizer, rows: Sequence[Row], max_seq_length: int, windows: Windows = BERT_WINDOWS
    ) -> tuple[Examples, int]:
        """Rows to `Examples`: `[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]`, a label a row.

        Args:
            tokenizer (Tokenizer): of `src/data/tokenization.py`. rows (list of Row): all with a label or
                none.
            max_seq_length (int): longest row in tokens, special ones included. windows (Windows): for kinds
                that cut a text into several rows.

        Returns:
            (Examples, rows that had to be cut). Kinds whose answers are parts of a text give the `origin`.
        """
        texts, seconds = [row.text for row in rows], [row.text_pair for row in rows]
        pairs = None if all(second is None for second in seconds) else seconds
        ids, segments, lengths, cut = tokenizer.encode_flat(texts, pairs, max_seq_length)
        columns: dict[Column, np.ndarray] = {}
        if rows and rows[0].label is not None:
            (column,) = self.columns
            columns[column] = np.array([row.label for row in rows], column.dtype)
        return Examples(ids, segments, offsets_of(lengths), columns), cut

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """What the logits of rows (N, C) or tokens (T, C) say, comparable with the labels: (N,) or (T,)."""
        raise NotImplementedError

    def evidence(
        self, metrics: Sequence[str], logits: np.ndarray, examples: Examples, labels: Sequence[str]
    ) -> dict[str, tuple[Any, Any]]:
        """What metrics compare, found once for all of them.

        Args:
            metrics (tuple of str): some of the kind's `metrics`. logits (ndarray): (N, C) or, of a head that
                answers for tokens, (T, C). examples (Examples): the rows. labels (tuple of str): the class
                names.

        Returns:
            {metric: (predictions, references)} in their order, as the metric's function in `src/metrics.py`
            takes them
        """
        return dict.fromkeys(metrics, (self.predictions(logits), examples.labels))

    def outcomes(
        self, logits: np.ndarray, examples: Examples, rows: Sequence[Row], labels: Sequence[str]
    ) -> list[dict[str, Any]]:
        """What is said of each text, as `predict.py --json true` prints it.

        Args:
            logits, examples, labels: as for `evidence`. rows (list of Row): the texts they were made from.

        Returns:
            list of dicts of JSON values
        """
        raise NotImplementedError

    def columns_of(self, outcome: dict[str, Any]) -> list[tuple[str, ...]]:
        """The lines that predict.py prints of one of the `outcomes`."""
        raise NotImplementedError

    def at_threshold(self, threshold: float, where: str = "") -> TaskKind:
        """This kind with another `threshold`; `where` says in messages what names it.

        Raises:
            UserError: every text has an answer, and it is not 0.
        """
        if threshold == self.threshold:
            return self
        raise UserError(
            f"{where}null_score_diff_threshold: it is for questions that may have no answer (SQuAD2)"
        )

    def predictions_of(self, logits: np.ndarray, examples: Examples) -> dict[str, dict[str, Any]]:
        """{name of `prediction_files`: its content as JSON has it}."""
        raise NotImplementedError
