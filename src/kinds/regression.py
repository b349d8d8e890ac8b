"""One number a row: similarity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from src.errors import UserError, shown
from src.examples import Column, Examples
from src.kinds.base import TaskKind

if TYPE_CHECKING:
    from src.data.readers.rows import Row, Where


class Regression(TaskKind):
    """One number a row, from the pooled output."""

    name = "regression"
    problem_type = "regression"
    architecture = "BertForSequenceClassification"
    columns = (Column("label_ids", np.float32),)
    soft_loss = "soft_mean_square"
    label_loss = "label_mean_square"
    metrics = ("pearson", "spearman")
    default_metrics = ("pearson", "spearman")
    shown_as = "numbers"

    def outputs(self, labels: Sequence[str]) -> int:
        return 1

    def check_outputs(self, outputs: int, source: str) -> None:
        if outputs != 1:
            raise UserError(
                f"{source}: problem_type '{self.problem_type}' with {outputs} outputs is not supported; a "
                "classifier has two or more and one label a row, a regression one"
            )

    def describe(self, outputs: int) -> str:
        return "regression"

    def parse_label(self, value: Any, names: tuple[str, ...], where: str | Where) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{where}: the label {shown(value)} is not a number")
        return number

    def check_labels(self, examples: Examples, names: Sequence[str], split: str) -> None:
        if examples.labels.dtype.kind != "f":
            raise UserError(
                f"the {split} records hold whole-number labels, which do not fit a {self.name} task"
            )

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        return logits[:, 0]

    def outcomes(
        self, logits: np.ndarray, examples: Examples, rows: Sequence[Row], labels: Sequence[str]
    ) -> list[dict[str, Any]]:
        return [{"value": value} for value in logits[:, 0].tolist()]

    def columns_of(self, outcome: dict[str, Any]) -> list[tuple[str, ...]]:
        return [(f"{outcome['value']:.4f}",)]
