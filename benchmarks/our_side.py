"""This project's side of the step benchmarks: the steps as the training commands build them. All that these
benchmarks know of src/ is here.
"""

import time
from dataclasses import replace

import mindspore as ms
import numpy as np

from benchmarks.measure import matrix_share
from benchmarks.rows import first_projection
from src.checkpoint.assign import assign
from src.checkpoint.folder import QUANTIZER_STATE
from src.checkpoint.formats import read_any
from src.data.dataset import Batches
from src.distill.distiller import Distiller, LossTerms, Projection
from src.examples import Examples
from src.kinds import CLASSIFICATION
from src.model import Model, layer_weights, new_network
from src.nn.layers import second_moments
from src.settings.network import QuantConfig
from src.settings.shared import PaddingConfig
from src.settings.stage import AdamWeightDecayConfig
from src.train.optim import AdamW
from src.train.step import LossScale, TrainStep

W2A8 = QuantConfig(embedding_bits=2, weight_bits=2, activation_bits=8, rest_bits=8)


def networks(work):
    """(teacher's `Model`, student's network) without dropout."""
    teacher = Model.from_checkpoint(read_any(work["teacher"]).checkpoint)
    source = Model.from_checkpoint(read_any(work["student"]).checkpoint)
    weights, description = source.weights(), source.description
    if work["layers"]:
        bert = replace(description.bert, num_hidden_layers=len(work["layers"]))
        description, weights = replace(description, bert=bert), layer_weights(weights, work["layers"])
    student = new_network(replace(description, quantization=W2A8 if work["quantized"] else None))
    assign(student, weights, work["student"], allow_missing_endings=QUANTIZER_STATE)
    return teacher, student


def distiller(work):
    """The loss network of a step."""
    model, student = networks(work)
    layers, logits = (float(term in work["terms"]) for term in ("layers", "logits"))
    terms = LossTerms(attention_loss=layers, hidden_loss=layers, soft_loss=logits)
    projection, cached = None, work.get("cached", False)
    if work["projection"] and layers:
        widths = student.config.hidden_size, model.config.hidden_size
        projection = Projection(*widths, 0.02)
        projection.fit_dense.weight.set_data(ms.Tensor(first_projection(*widths)))
    kind = model.description.kind
    return Distiller(student, terms, model.network, projection, kind, cached_logits=cached)


class Side:
    """One step and its batches; the calls of worker.py."""

    def __init__(self, work, rows):
        ms.set_device("CPU")
        ms.set_context(mode=ms.GRAPH_MODE)
        loss = distiller(work)
        rate = work["learning_rate"]
        schedule = AdamWeightDecayConfig(learning_rate=rate, end_learning_rate=rate, warmup_ratio=0.0)
        moments = second_moments(loss.student)
        optimizer = AdamW(loss.trained_parameters(), schedule, 10**9, moments)
        self.step = TrainStep(loss, optimizer, LossScale(), 1.0)
        self.step.set_train(True)
        self.cached = work.get("cached", False)
        labels = {next(iter(CLASSIFICATION.columns)): rows.labels}
        examples = Examples(rows.ids, rows.segments, rows.offsets, labels)
        bounds = PaddingConfig().bucket_boundaries
        batches = Batches(examples, work["batch_size"], bounds, shuffle=True, drop_remainder=True, seed=1)
        self.batches = list(batches.with_rows())

    def shapes(self):
        """[(rows, padded length)] of a round's batches."""
        return [list(batch[0].shape) for _, batch in self.batches]

    def first(self):
        """(loss of the first batch, its row numbers, its padded length), and one update."""
        rows, batch = self.batches[0]
        return float(self._run(batch)[0][0].asnumpy()), rows.tolist(), batch[0].shape[1]

    def round(self):
        """Seconds of one pass over the batches."""
        started = time.perf_counter()
        for _, batch in self.batches:
            self._run(batch)[1].asnumpy()  # wait for the step
        return time.perf_counter() - started

    def matrix_share(self):
        """Share of the kernels' time that matrix products take, by MindSpore's profiler."""
        return matrix_share(self.round)

    def matrix_peak(self):
        """FLOP a second of a large matrix product."""
        size, product = 2048, ms.ops.MatMul()
        x = ms.Tensor(np.ones((size, size), np.float32))
        product(x, x).asnumpy()
        times = []
        for _ in range(10):
            started = time.perf_counter()
            product(x, x).asnumpy()
            times.append(time.perf_counter() - started)
        return 2 * size**3 / min(times)

    def _run(self, batch):
        tensors = [ms.Tensor(column) for column in batch]
        if self.cached:
            tensors.append(ms.Tensor(np.zeros((len(batch[0]), 2), np.float32)))
        return self.step(True, *tensors)
