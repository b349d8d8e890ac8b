"""Run a network over every row of a data set."""

import time
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from tqdm import tqdm

from src import metrics


@dataclass(frozen=True)
class Prediction:
    """What a pass over a data set gave."""

    logits: np.ndarray
    """float32 (rows, C), in the rows' own order."""
    batch_seconds: tuple
    """Wall time of the network alone on each batch, graph compilation left out."""

    @property
    def seconds_per_1000_rows(self):
        """The same by rows; those that fill up the last batch are none of the data's."""
        return 1000.0 * sum(self.batch_seconds) / len(self.logits)


def _filled(batch, size):
    """The network's three inputs with the first row repeated until there are `size` rows, so that no graph is
    compiled for the last, smaller batch."""
    missing = size - len(batch[0])
    return [
        np.concatenate([column, np.repeat(column[:1], missing, axis=0)]) if missing else column
        for column in batch[:3]
    ]


def predict(network, batches, title="evaluate"):
    """Run `network` over every row.

    Args:
        network (Cell or callable): (input_ids, input_mask, segment_ids) -> logits (B, C). A cell runs in
            evaluation mode; any other callable (an exported model) takes and gives NumPy arrays.
        batches (Batches): unshuffled, remainder kept.
        title (str): of the progress bar.
    """
    run, training = network, None
    if isinstance(network, ms.nn.Cell):
        training = network.training
        network.set_train(False)

        def run(*columns):
            return network(*(ms.Tensor(column) for column in columns)).asnumpy()

    rows_done, logits_done, seconds, shapes = [], [], [], set()
    for rows, batch in tqdm(batches.with_rows(), total=len(batches), desc=title, leave=False, disable=None):
        inputs = _filled(batch, batches.batch_size)
        if inputs[0].shape not in shapes:  # compiles; run it once unclocked
            shapes.add(inputs[0].shape)
            run(*inputs)
        started = time.perf_counter()
        logits = run(*inputs)
        seconds.append(time.perf_counter() - started)
        rows_done.append(rows)
        logits_done.append(logits[: len(rows)])
    if training is not None:
        network.set_train(training)
    logits = np.concatenate(logits_done)
    ordered = np.empty_like(logits)
    ordered[np.concatenate(rows_done)] = logits
    return Prediction(ordered, tuple(seconds))


def evaluate(network, eval_batches, metric_names):
    """Metrics over every row of each evaluation set.

    Args:
        network (Cell or callable): as in `predict`.
        eval_batches (dict): {split: Batches}, the deciding one first.
        metric_names (tuple of str): the deciding one first.

    Returns:
        {metric: value} for the first split, {"metric/split": value} for further ones, and of the first
        `rows`, `seconds_per_1000_rows`, and the median and 95th percentile of a batch's milliseconds,
        `p50_ms` and `p95_ms`.
    """
    results = {}
    for index, (split, batches) in enumerate(eval_batches.items()):
        prediction = predict(network, batches, f"evaluate {split}")
        values = metrics.compute(metric_names, prediction.logits, batches.examples.labels)
        if index == 0:
            middle, late = 1000 * np.percentile(prediction.batch_seconds, (50, 95))
            first = {
                "rows": len(prediction.logits),
                "seconds_per_1000_rows": round(prediction.seconds_per_1000_rows, 4),
                "p50_ms": round(middle, 3),
                "p95_ms": round(late, 3),
            }
        results.update({name if index == 0 else f"{name}/{split}": value for name, value in values.items()})
    return {**results, **first}
