"""One class a row: sentiment, inference, topics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from src.errors import UserError, listed, shown
from src.examples import Column, Examples
from src.kinds.base import TaskKind, softmax

if TYPE_CHECKING:
    from src.data.readers.rows import Row, Where

UNLABELLED = -1
_NUMBER = re.compile(r"[+]?(-?[0-9]+)(?:[.]0*)?")
_POWER = re.compile(r"[+-]?(?:[0-9]+(?:[.][0-9]*)?|[.][0-9]+)[eE][+-]?[0-9]{1,3}")


class SequenceClassification(TaskKind):
    """One of two or more classes a row, from the pooled output."""

    name = "classification"
    problem_type = "single_label_classification"
    architecture = "BertForSequenceClassification"
    columns = (Column("label_ids", np.int32, fill=UNLABELLED),)
    soft_loss = "soft_cross_entropy"
    label_loss = "label_cross_entropy"
    metrics = ("accuracy", "f1", "macro_f1", "matthews")
    default_metrics = ("accuracy", "macro_f1")
    shown_as = "classes"

    def check_outputs(self, outputs: int, source: str) -> None:
        if outputs < 2:
            raise UserError(
                f"{source}: problem_type '{self.problem_type}' with {outputs} outputs is not supported; a "
                "classifier has two or more and one label a row, a regression one"
            )

    def describe(self, outputs: int) -> str:
        return f"{outputs} classes"

    def fitting_metrics(self, outputs: int) -> tuple[str, ...]:
        return tuple(name for name in self.metrics if name != "f1" or outputs == 2)

    def parse_label(self, value: Any, names: tuple[str, ...], where: str | Where) -> int:
        """The index of a class given by its name, or else by its index; a whole number may have decimals, as
        1.0.
        """
        text = str(value)
        if text in names:
            return names.index(text)
        text = whole(text)
        same = [index for index, name in enumerate(names) if whole(name) == text]
        if len(same) == 1:
            return same[0]
        # Where all names are numbers, a number that is none of them is no index either.
        numbered = not all(_NUMBER.fullmatch(name) for name in names)
        if numbered and re.fullmatch("[0-9]{1,9}", text) and int(text) < len(names):
            return int(text)
        index = f" (nor an index 0 to {len(names) - 1})" if numbered else ""
        raise UserError(f"{where}: the label {shown(text)} is none of {listed(names)}{index}")

    def check_labels(self, examples: Examples, names: Sequence[str], split: str) -> None:
        labels = examples.labels
        if labels.dtype.kind != "i":
            raise UserError(
                f"the {split} records hold fractional labels, which do not fit a {self.name} task"
            )
        if not (0 <= labels.min() and labels.max() < len(names)):
            raise UserError(
                f"the {split} records hold labels from {labels.min()} to {labels.max()}, but the task has "
                f"the {len(names)} labels {listed(names)}"
            )

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        return logits.argmax(axis=1)

    def outcomes(
        self, logits: np.ndarray, examples: Examples, rows: Sequence[Row], labels: Sequence[str]
    ) -> list[dict[str, Any]]:
        best = self.predictions(logits).tolist()
        return [
            {"label": labels[index], "probability": row[index], "probabilities": dict(zip(labels, row))}
            for index, row in zip(best, softmax(logits).tolist())
        ]

    def columns_of(self, outcome: dict[str, Any]) -> list[tuple[str, ...]]:
        return [(outcome["label"], f"{outcome['probability']:.4f}")]


def whole(text: str) -> str:
    """A whole number without decimals, plus or power of ten (1 for 1.0, +1, 1e0); other texts as they are."""
    number = _NUMBER.fullmatch(text)
    if number is None and _POWER.fullmatch(text) and float(text).is_integer():
        return str(int(float(text)))
    return re.sub("^-0+$", "0", number[1]) if number else text
