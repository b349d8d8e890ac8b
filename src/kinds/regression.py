"""One number a row: similarity."""

import math

import numpy as np

from src.errors import UserError, shown
from src.examples import Column
from src.kinds.base import TaskKind


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

    def outputs(self, labels):
        return 1

    def check_outputs(self, outputs, source):
        if outputs != 1:
            raise UserError(
                f"{source}: problem_type '{self.problem_type}' with {outputs} outputs is not supported; a "
                "classifier has two or more and one label a row, a regression one"
            )

    def describe(self, outputs):
        return "regression"

    def parse_label(self, value, names, where):
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{where}: the label {shown(value)} is not a number")
        return number

    def check_labels(self, examples, names, split):
        if examples.labels.dtype.kind != "f":
            raise UserError(
                f"the {split} records hold whole-number labels, which do not fit a {self.name} task"
            )

    def predictions(self, logits):
        return logits[:, 0]

    def outcomes(self, logits, examples, rows, labels):
        return [{"value": value} for value in logits[:, 0].tolist()]

    def columns_of(self, outcome):
        return [(f"{outcome['value']:.4f}",)]
