"""Builds and fits one training stage. General distillation, both task-distillation phases and fine-tuning are its settings."""
import time

import mindspore as ms
import numpy as np
from mindspore import ops

from src import checkpoint as checkpoints
from src.data.dataset import COLUMNS
from src.errors import UserError
from src.model.layers import second_moments
from src.runtime import say
from src.train.callbacks import Progress
from src.train.optim import AdamW
from src.train.step import LossScale, TrainStep


def build_loss_scale(config, compute_type):
    """The `LossScale` for a `PhaseConfig`: auto is dynamic where products are float16 and none where they are float32."""
    kind = config.loss_scale
    if kind == "auto":
        kind = "dynamic" if compute_type == ms.float16 else "none"
    if kind == "none":
        return LossScale()
    return LossScale(float(config.loss_scale_value), float(config.scale_factor),
                     int(config.scale_window) if kind == "dynamic" else 0)


def count_steps(batches, config, epochs, sink_steps=0):
    """Optimizer steps of a stage with these arguments of `Stage`; raises what `Stage` raises, before anything is built."""
    accumulation, sink = int(config.gradient_accumulation_steps), min(sink_steps, len(batches))
    if sink and accumulation > 1:
        raise UserError(f"gradient_accumulation_steps: the data sink runs one kind of step only; set it to 1, not {accumulation}, "
                        f"or set enable_data_sink to false")
    if len(batches) < accumulation:
        raise UserError(f"gradient_accumulation_steps {accumulation} is more than the {len(batches)} batches of an epoch")
    return len(batches) // (sink or accumulation) * (sink or 1) * epochs


class Stage:
    """One stage: a loss network fitted to batches for some epochs.

    Args:
        name (str): for logs, e.g. "phase1".
        loss_network (Distiller): batch -> loss and its terms; its trainable parameters are what is trained.
        batches (Batches): training batches, remainder dropped.
        config (PhaseConfig): batch size, optimizer, clipping, loss scale.
        epochs (int): passes over the data.
        run (RunFolder): where metrics go.
        description (dict), vocabulary (sequence of str): saved beside every checkpoint.
        compute_type (mindspore.dtype): decides about loss scaling.
        sink_steps (int): > 0 lets the device pull this many batches at a time from its own queue.

    Raises:
        UserError: accumulation over more batches than an epoch has, or together with the data sink.
    """

    def __init__(self, name, loss_network, batches, config, epochs, run, description, vocabulary=None,
                 compute_type=ms.float32, sink_steps=0):
        self.name = name
        self.loss_network = loss_network
        self.batches = batches
        self.epochs = epochs
        self.run = run
        self.description = description
        self.vocabulary = vocabulary
        self.accumulation = int(config.gradient_accumulation_steps)
        self.sink_steps = min(sink_steps, len(batches))
        self.total_steps = count_steps(batches, config, epochs, sink_steps)
        optimizer = AdamW(loss_network.trained_parameters(), config.optimizer_cfg.AdamWeightDecay, self.total_steps,
                          second_moments(loss_network.student))
        self.train_step = TrainStep(loss_network, optimizer, build_loss_scale(config, compute_type),
                                    float(config.max_grad_norm), self.accumulation)
        self.epoch = 0
        self.step_number = 0
        self._last = None

    def fit(self, callbacks, log_step=50):
        """Run all steps.

        Returns:
            Seconds spent in training, evaluation and saving included.

        Raises:
            UserError: every one of the first 50 steps overflowed: the loss is not finite.
        """
        callbacks = [Progress(log_step), *callbacks]
        started = time.time()
        self.train_step.set_train(True)
        for epoch in range(1, self.epochs + 1):
            self.epoch = epoch
            for _ in self._epoch_steps():
                self.step_number += 1
                for callback in callbacks:
                    callback.on_step(self, self.step_number)
                self._check_diverged()
            for callback in callbacks:
                callback.on_epoch(self, epoch)
        for callback in callbacks:
            callback.on_end(self)
        skipped = self.read_step()["skipped_steps"]
        if skipped:
            say(f"{self.name}: {skipped} of {self.total_steps} steps were skipped for gradients that were not finite")
        return time.time() - started

    def _epoch_steps(self):
        """Run one epoch, yielding after every optimizer step."""
        if self.sink_steps:
            yield from self._sink_epoch()
            return
        micro, limit = 0, len(self.batches) // self.accumulation * self.accumulation
        for batch in self.batches:
            micro += 1
            if micro > limit:
                continue  # the epoch's iterator is exhausted all the same, so that the next one shuffles anew
            update = micro % self.accumulation == 0
            self._last = self.train_step(update, *(ms.Tensor(column) for column in batch))
            if update:
                yield

    def _sink_epoch(self):
        """The same through the device's queue; batches must all have one shape. Those that do not fill a sink are left out."""
        names = [*COLUMNS, *self.batches.extra]
        dataset = ms.dataset.GeneratorDataset(lambda: iter(self.batches), names, shuffle=False)
        pull = ms.data_sink(lambda *batch: self.train_step(True, *batch), dataset, sink_size=self.sink_steps)
        for _ in range(len(self.batches) // self.sink_steps):
            self._last = pull()
            for _ in range(self.sink_steps):
                yield

    def _check_diverged(self):
        if self.step_number == min(50, self.total_steps) and int(self._last[3].asnumpy()) >= self.step_number:
            raise UserError(f"{self.name}: the gradients of the first {self.step_number} steps were all not finite; lower the "
                            f"learning rate or check the checkpoint the network started from")

    def read_step(self):
        """{loss, each loss term, learning_rate, grad_norm, loss_scale, skipped_steps} of the last step, as numbers."""
        terms, norm, _, skipped = self._last
        names = ("loss", *self.loss_network.names)
        values = {name: float(np.mean(term.asnumpy())) for name, term in zip(names, terms)}
        optimizer = self.train_step.optimizer  # counts only the steps that were not skipped
        values["learning_rate"] = optimizer.learning_rate(ops.maximum(optimizer.global_step - 1, 0)).asnumpy().item()
        values["grad_norm"] = float(norm.asnumpy())
        values["loss_scale"] = float(self.train_step.loss_scale.scale.asnumpy())
        values["skipped_steps"] = int(skipped.asnumpy())
        return values

    def weights(self):
        """The student's weights, with the projection's under their own names: {name: float32 array}."""
        cells = [self.loss_network.student]
        if hasattr(self.loss_network, "projection"):
            cells.append(self.loss_network.projection)
        return {name: parameter.asnumpy() for cell in cells for name, parameter in cell.parameters_and_names()}

    def save(self, folder, name=checkpoints.WEIGHTS_FILE):
        """Save the student to `folder`, its weights as the file `name`."""
        checkpoints.save(folder, self.weights(), self.description, self.vocabulary, name)
