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
    seconds_per_1000_rows: float
    """Wall time of the network alone, graph compilation left out."""


def _filled(batch, size):
    """The network's three inputs with the first row repeated until there are `size` rows, so that no graph is compiled for
    the last, smaller batch."""
    missing = size - len(batch[0])
    return [ms.Tensor(np.concatenate([column, np.repeat(column[:1], missing, axis=0)]) if missing else column)
            for column in batch[:3]]


def predict(network, batches, title="evaluate"):
    """Run `network` over every row.

    Args:
        network (Cell): (input_ids, input_mask, segment_ids) -> logits (B, C); runs in evaluation mode.
        batches (Batches): unshuffled, remainder kept.
        title (str): of the progress bar.
    """
    training = network.training
    network.set_train(False)
    rows_done, logits_done, timed_rows, timed_seconds, shapes = [], [], 0, 0.0, set()
    for rows, batch in tqdm(batches.with_rows(), total=len(batches), desc=title, leave=False, disable=None):
        inputs = _filled(batch, batches.batch_size)
        if inputs[0].shape not in shapes:  # compiles; run it once unclocked
            shapes.add(inputs[0].shape)
            network(*inputs).asnumpy()
        started = time.perf_counter()
        logits = network(*inputs).asnumpy()
        timed_seconds += time.perf_counter() - started
        timed_rows += len(inputs[0])
        rows_done.append(rows)
        logits_done.append(logits[:len(rows)])
    network.set_train(training)
    logits = np.concatenate(logits_done)
    ordered = np.empty_like(logits)
    ordered[np.concatenate(rows_done)] = logits
    return Prediction(ordered, 1000.0 * timed_seconds / timed_rows)


def evaluate(network, eval_batches, metric_names):
    """Metrics over every row of each evaluation set.

    Args:
        network (Cell): as in `predict`.
        eval_batches (dict): {split: Batches}, the deciding one first.
        metric_names (tuple of str): the deciding one first.

    Returns:
        {metric: value} for the first split, {"metric/split": value} for further ones, and `rows` and
        `seconds_per_1000_rows` of the first.
    """
    results = {}
    for index, (split, batches) in enumerate(eval_batches.items()):
        prediction = predict(network, batches, f"evaluate {split}")
        values = metrics.compute(metric_names, prediction.logits, batches.examples.labels)
        if index == 0:
            first = {"rows": len(prediction.logits), "seconds_per_1000_rows": round(prediction.seconds_per_1000_rows, 4)}
        results.update({name if index == 0 else f"{name}/{split}": value for name, value in values.items()})
    return {**results, **first}
