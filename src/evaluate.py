"""Run a network over every row of a data set."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from src import metrics
from src.examples import filled_up
from src.terminal import bar, busy

if TYPE_CHECKING:
    from src.data.dataset import Batches, PackedRows
    from src.examples import Examples
    from src.model import Model


@dataclass(frozen=True)
class Prediction:
    """What a pass over a data set gave."""

    logits: np.ndarray
    """float32 (rows, C), in the rows' own order; of a head that answers for tokens (tokens of all rows,
    C).
    """
    rows: int
    batch_seconds: tuple[float, ...]
    """Wall time of the network alone on each batch, graph compilation left out."""

    @property
    def seconds_per_1000_rows(self) -> float:
        """Seconds of network time per 1,000 rows of the data."""
        return 1000.0 * sum(self.batch_seconds) / self.rows


def _padded(model, batches):
    """Yield (inputs, row numbers, a callable from logits to their answers) of padded `Batches`."""
    by_token, lengths = model.description.head_kind.logits_per == "token", batches.examples.lengths
    for rows, batch in batches.with_rows():

        def answers(logits, rows=rows):
            return [answer[: lengths[row]] if by_token else answer for row, answer in zip(rows, logits)]

        # The last, smaller batch is filled up, so that no graph is compiled for it.
        yield [filled_up(array, batches.batch_size) for array in batch], rows, answers


def _packed(model, batches):
    """Yield (inputs, row numbers, a callable from logits to their answers) of `PackedRows`."""
    by_token = model.description.head_kind.logits_per == "token"
    for batch in batches:

        def answers(logits, batch=batch):
            if not by_token:
                return logits[: len(batch.rows)]
            tokens = logits.reshape((-1, logits.shape[-1]))[batch.places]
            return np.split(tokens, np.cumsum(batch.lengths)[:-1])

        yield batch.inputs, batch.rows, answers


def predict(model: Model, batches: Batches | PackedRows, title: str = "evaluate") -> Prediction:
    """Run `model` over every row.

    Args:
        model (Model): of a task; runs in evaluation mode.
        batches (Batches or PackedRows): unshuffled, remainder kept.
        title (str): of the progress bar.
    """
    count = len(batches.examples)
    by_token = model.description.head_kind.logits_per == "token"
    seconds, shapes = [], set()
    found: dict[int, np.ndarray] = {}  # by row
    parts = _padded(model, batches) if hasattr(batches, "with_rows") else _packed(model, batches)
    with model.evaluating():
        for inputs, rows, answers in bar(title, len(batches), "batch", parts):
            if inputs[0].shape not in shapes:  # compiles; run it once unclocked
                shapes.add(inputs[0].shape)
                model(*inputs)
            started = time.perf_counter()
            logits = model(*inputs)
            seconds.append(time.perf_counter() - started)
            for row, answer in zip(rows, answers(logits)):
                found[row] = answer
    rows_in_order = [found[row] for row in range(count)]
    logits = np.concatenate(rows_in_order) if by_token else np.stack(rows_in_order)
    return Prediction(logits, count, tuple(seconds))


def evaluate(
    model: Model,
    eval_batches: Mapping[str, Batches | PackedRows],
    metric_names: Sequence[str],
    keep: Callable[[np.ndarray, Examples], object] | None = None,
) -> dict[str, float]:
    """Metrics over every row of each evaluation set.

    Args:
        model (Model): of a task.
        eval_batches (dict): {split: Batches or PackedRows}, the deciding one first.
        metric_names (tuple of str): the deciding one first.
        keep (callable): is given the logits and the Examples of the first split; None for no call.

    Returns:
        {metric: value} for the first split, {"metric/split": value} for further ones, and of the first
        `rows`, `seconds_per_1000_rows`, and the median and 95th percentile of a batch's milliseconds,
        `p50_ms` and `p95_ms`.
    """
    results: dict[str, float] = {}
    for index, (split, batches) in enumerate(eval_batches.items()):
        prediction = predict(model, batches, f"evaluate {split}")
        examples, description = batches.examples, model.description
        with busy(f"scoring {split}"):
            values = metrics.score(
                metric_names, description.head_kind, prediction.logits, examples, description.label_names
            )
        if index == 0 and keep:
            keep(prediction.logits, examples)
        if index == 0:
            middle, late = 1000 * np.percentile(prediction.batch_seconds, (50, 95))
            first = {
                "rows": prediction.rows,
                "seconds_per_1000_rows": round(prediction.seconds_per_1000_rows, 4),
                "p50_ms": round(middle, 3),
                "p95_ms": round(late, 3),
            }
        results.update({name if index == 0 else f"{name}/{split}": value for name, value in values.items()})
    return {**results, **first}
