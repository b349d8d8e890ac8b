"""Run a network over every row of a data set."""

import time
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from src import metrics


@dataclass(frozen=True)
class Prediction:
    """What a pass over a data set gave."""

    logits: np.ndarray
    """float32 (rows, C), in the rows' own order; of a head that answers for tokens (tokens of all rows,
    C).
    """
    rows: int
    batch_seconds: tuple
    """Wall time of the network alone on each batch, graph compilation left out."""

    @property
    def seconds_per_1000_rows(self):
        """The same by rows; those that fill up the last batch are none of the data's."""
        return 1000.0 * sum(self.batch_seconds) / self.rows


def _filled(batch, size):
    """The network's three inputs with the first row repeated until there are `size` rows, so that no graph is
    compiled for the last, smaller batch."""
    missing = size - len(batch[0])
    return [
        np.concatenate([column, np.repeat(column[:1], missing, axis=0)]) if missing else column
        for column in batch[:3]
    ]


def predict(model, batches, title="evaluate"):
    """Run `model` over every row.

    Args:
        model (Model): of a task; runs in evaluation mode.
        batches (Batches): unshuffled, remainder kept.
        title (str): of the progress bar.
    """
    lengths, count = batches.examples.lengths, len(batches.examples)
    by_token = model.description.kind.logits_per == "token"
    answers, seconds, shapes = [None] * count, [], set()
    with model.evaluating():
        for rows, batch in tqdm(
            batches.with_rows(), total=len(batches), desc=title, leave=False, disable=None
        ):
            inputs = _filled(batch, batches.batch_size)
            if inputs[0].shape not in shapes:  # compiles; run it once unclocked
                shapes.add(inputs[0].shape)
                model(*inputs)
            started = time.perf_counter()
            logits = model(*inputs)
            seconds.append(time.perf_counter() - started)
            for row, answer in zip(rows, logits):
                answers[row] = answer[: lengths[row]] if by_token else answer
    logits = np.concatenate(answers) if by_token else np.stack(answers)
    return Prediction(logits, count, tuple(seconds))


def evaluate(model, eval_batches, metric_names):
    """Metrics over every row of each evaluation set.

    Args:
        model (Model): of a task.
        eval_batches (dict): {split: Batches}, the deciding one first.
        metric_names (tuple of str): the deciding one first.

    Returns:
        {metric: value} for the first split, {"metric/split": value} for further ones, and of the first
        `rows`, `seconds_per_1000_rows`, and the median and 95th percentile of a batch's milliseconds,
        `p50_ms` and `p95_ms`.
    """
    results = {}
    for index, (split, batches) in enumerate(eval_batches.items()):
        prediction = predict(model, batches, f"evaluate {split}")
        values = metrics.score(metric_names, model.description.kind, prediction.logits, batches.examples)
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
