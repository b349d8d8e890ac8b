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
from src.data.dataset import PackedRows
from src.data.micro_batches import totals_of
from src.data.steps import PackedSteps
from src.distill.distiller import Distiller, LossTerms, Projection
from src.distill.teacher import LiveTeacher
from src.distill.teacher_cache import with_logits
from src.examples import Examples
from src.kinds import CLASSIFICATION
from src.model import Model, layer_weights, new_network
from src.nn.layers import second_moments
from src.runtime import set_up
from src.settings.network import QuantConfig
from src.settings.shared import DeviceConfig, PackingConfig
from src.settings.stage import AdamWeightDecayConfig
from src.train.optim import AdamW
from src.train.step import LossScale, TrainStep

W2A8 = QuantConfig(embedding_bits=2, weight_bits=2, activation_bits=8, rest_bits=8)


def networks(work):
    """(teacher's `Model`, student's network) without dropout; as in a run on the task, only the rows of the
    word embeddings that occur there are trained.
    """
    teacher = Model.from_checkpoint(read_any(work["teacher"]).checkpoint)
    source = Model.from_checkpoint(read_any(work["student"]).checkpoint)
    weights, description = source.weights(), source.description
    if work["layers"]:
        bert = replace(description.bert, num_hidden_layers=len(work["layers"]))
        description, weights = replace(description, bert=bert), layer_weights(weights, work["layers"])
    description = replace(description, quantization=W2A8 if work["quantized"] else None)
    student = Model(description, new_network(description))
    assign(student.network, weights, work["student"], allow_missing_endings=QUANTIZER_STATE)
    if work["token_ids"]:
        student.narrow(np.load(work["token_ids"]))
    return teacher, student.network


def distiller(work, teacher, student):
    """The loss network of a step."""
    layers, logits = (float(term in work["terms"]) for term in ("layers", "logits"))
    terms = LossTerms(attention_loss=layers, hidden_loss=layers, soft_loss=logits)
    projection, kind = None, teacher.description.kind
    if work["projection"] and layers:
        widths = student.config.hidden_size, teacher.config.hidden_size
        projection = Projection(*widths, 0.02)
        projection.fit_dense.weight.set_data(ms.Tensor(first_projection(*widths)))
    return Distiller(student, terms, projection, kind, cached_logits=work.get("cached", False))


class Side:
    """One step and its batches; the calls of worker.py. Graphs are fused, and compiled in this process."""

    def __init__(self, work, rows):
        set_up(DeviceConfig(device_target="CPU", compile_cache="off"), seed=1)
        teacher, student = networks(work)
        loss = distiller(work, teacher, student)
        labels = {next(iter(CLASSIFICATION.columns)): rows.labels}
        examples = Examples(rows.ids, rows.segments, rows.offsets, labels)
        tokens = PackingConfig().max_tokens
        if work.get("cached"):
            examples = with_logits(teacher, PackedRows(examples, tokens))
        self.teacher = LiveTeacher.of(teacher, loss)
        self.examples = examples
        steps = PackedSteps(examples, work["batch_size"], 1, tokens, seed=1)
        self.steps = list(steps)
        rate = work["learning_rate"]
        schedule = AdamWeightDecayConfig(learning_rate=rate, end_learning_rate=rate, warmup_ratio=0.0)
        optimizer = AdamW(loss.trained_parameters(), schedule, 10**9, second_moments(loss.student))
        self.step = TrainStep(loss, optimizer, LossScale(), 1.0, steps.several)
        self.step.set_train(True)

    def step_count(self):
        """Steps of a round."""
        return len(self.steps)

    def shapes(self):
        """[(bins, tokens of one)] of a round's micro-batches."""
        return [list(batch.inputs[0].shape) for step in self.steps for batch in step]

    def first(self):
        """(loss of the first micro-batch's rows alone, their numbers), and one update with them."""
        batch = self.steps[0][0]
        batch = replace(batch, totals=totals_of(self.examples, batch.rows))
        return self.step.read_terms(self._run([batch])[0])[0], batch.rows.tolist()

    def round(self):
        """Seconds of one pass over the batches."""
        started = time.perf_counter()
        for step in self.steps:
            self._run(step)[1].asnumpy()  # wait for the step
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

    def _run(self, step):
        return self.step.run(self._inputs(batch) for batch in step)

    def _inputs(self, batch):
        """A `MicroBatch` as the loss network reads it, the teacher's answers included."""
        arrays = tuple(ms.Tensor(array) for array in batch.arrays)
        return arrays + (self.teacher(batch, arrays) if self.teacher else ())
