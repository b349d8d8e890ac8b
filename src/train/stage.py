"""Builds and fits one training stage. General distillation, both task-distillation phases and fine-tuning are
its settings.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import mindspore as ms
from mindspore import ops

from src.checkpoint.folder import WEIGHTS_FILE
from src.errors import UserError
from src.nn.dropout import draws_for
from src.nn.layers import second_moments
from src.runtime import ALONE, Group, same_everywhere
from src.settings.stage import PhaseConfig
from src.terminal import busy, say
from src.train.optim import AdamW
from src.train.progress import Progress
from src.train.resume import read_state, write_state
from src.train.step import LossScale, Outcome, TrainStep
from src.train.watch import Taken, Watch

if TYPE_CHECKING:
    from src.data.micro_batches import MicroBatch
    from src.data.sharded import ShardedSteps
    from src.data.steps import Steps
    from src.distill.distiller import Distiller
    from src.distill.teacher import LiveTeacher
    from src.model import Model
    from src.nn.layers import Tensors
    from src.run_folder import RunFolder
    from src.train.callbacks import Callback

    TrainingSteps = Steps | ShardedSteps


def build_loss_scale(config: PhaseConfig, compute_type: ms.Type) -> LossScale:
    """The loss scale of a stage: auto is dynamic where products are float16 and none where they are
    float32.
    """
    kind = config.loss_scale
    if kind == "auto":
        kind = "dynamic" if compute_type == ms.float16 else "none"
    if kind == "none":
        return LossScale()
    return LossScale(
        float(config.loss_scale_value),
        float(config.scale_factor),
        int(config.scale_window) if kind == "dynamic" else 0,
    )


@dataclass(frozen=True)
class StagePlan:
    """How a stage goes through its batches."""

    config: PhaseConfig
    """Batch size, optimizer, clipping, loss scale."""
    epochs: int
    """Passes over the data."""
    max_steps: int = 0
    """Optimizer steps in all, in as many passes as they take; 0: as many as `epochs` passes have."""
    sink_steps: int = 0
    """Batches that the device pulls at a time from its own queue, at most an epoch's; 0: it has none."""

    def epoch_steps(self, batches: TrainingSteps) -> int:
        """Optimizer steps of one pass; those that do not fill a data sink are left out."""
        sink = self.sink_steps or 1
        return len(batches) // sink * sink

    def steps(self, batches: TrainingSteps) -> int:
        """Optimizer steps in all.

        Raises:
            UserError: the data sink cannot end there, or runs one kind of step only and there are two.
        """
        sink = self.sink_steps
        steps = self.max_steps or self.epoch_steps(batches) * self.epochs
        if sink and batches.shape is not None:
            raise UserError(
                "padding: none does not go with the data sink, which runs one kind of step only; set padding "
                "to buckets, or enable_data_sink to false"
            )
        if sink and batches.several:
            raise UserError(
                "gradient_accumulation_steps: the data sink runs one micro-batch a step; set it to 1, or set "
                "enable_data_sink to false"
            )
        if sink and steps % sink:
            raise UserError(
                f"train_steps: the data sink runs {sink} steps at once; {steps} is no multiple of that, "
                f"{steps // sink * sink or sink} would be, or set data_sink_steps to a number that divides it"
            )
        return steps


class Stage:
    """One stage: a loss network fitted to batches for some epochs.

    Args:
        name: for logs, e.g. "phase1".
        student: what is trained and saved.
        loss_network: batch -> loss and its terms; its trainable parameters are what is trained.
        batches: the training rows as steps of micro-batches.
        plan: steps, optimizer.
        teacher: a micro-batch and its inputs as tensors -> further inputs of the loss network.
        run: where metrics go.
        group: the processes that train together; only the first one saves.
        made_from: further {key: JSON value} that a saved state must have been made with.
    """

    def __init__(
        self,
        name: str,
        student: Model,
        loss_network: Distiller,
        batches: TrainingSteps,
        plan: StagePlan,
        run: RunFolder,
        group: Group = ALONE,
        made_from: dict[str, Any] | None = None,
        teacher: LiveTeacher | None = None,
    ):
        self.name = name
        self.student = student
        self.loss_network = loss_network
        self.batches = batches
        self.group = group
        self.run = run
        self.made_from = made_from or {}
        self.teacher = teacher
        self.sink_steps = plan.sink_steps
        self.steps_per_epoch = plan.epoch_steps(batches)
        self.total_steps = plan.steps(batches)
        seed = batches.seed
        assert isinstance(seed, int)  # of all the data; parts of a corpus have others
        loss_scale = build_loss_scale(plan.config, student.network.compute_type)
        self.train_step = TrainStep(
            loss_network,
            AdamW(
                loss_network.trained_parameters(),
                plan.config.optimizer_cfg.AdamWeightDecay,
                self.total_steps,
                second_moments(loss_network.student),
            ),
            loss_scale,
            float(plan.config.max_grad_norm),
            batches.several or group.size > 1,
            group.size,
            draws_for(loss_network, seed, name, group.rank),
        )
        self.epoch = 0
        self.step_number = 0
        self.advance = 1  # steps between two looks of the callbacks: the data sink's are done at once
        self.watch = Watch(name, self.total_steps, scaled=loss_scale.in_use)
        self._last: Outcome  # of the step that was run last
        self._read: tuple[int, dict[str, float]] = (0, {})  # the step that was read last, and its numbers
        self.last_batch: MicroBatch | None = None
        """The `MicroBatch` that was trained on last; None where the device pulls its own."""

    def fit(self, callbacks: list[Callback], log_step: int = 50) -> float:
        """Run all steps.

        Returns:
            Seconds spent in training, evaluation and saving included.

        Raises:
            UserError: its numbers are not sound (see `Watch`).
        """
        started, progress = time.time(), Progress(log_step)
        say(f"{self.name}: {self.total_steps} steps; {self.batches.summary}; {self._held()}")
        try:
            self._run([progress, *callbacks, progress.after])
        finally:
            for callback in (progress, *callbacks):  # what is said next is then below the bar
                callback.close()
        skipped = self.read_step()["skipped_steps"]
        if skipped:
            say(
                f"{self.name}: {skipped} of {self.total_steps} steps were skipped for gradients that were "
                "not finite"
            )
        return time.time() - started

    def _run(self, callbacks):
        """All steps that are left, with what the callbacks do around them."""
        self.train_step.set_train(True)
        while self.step_number < self.total_steps:
            self.epoch, done = (
                self.step_number // self.steps_per_epoch + 1,
                self.step_number % self.steps_per_epoch,
            )
            for advance in self._epoch_steps(done):
                self.advance = advance
                self.step_number += advance
                if self.watch.due(self.step_number, advance):
                    self.read_step()
                for callback in callbacks:
                    callback.on_step(self, self.step_number)
                if self.step_number == self.total_steps:
                    break
            for callback in callbacks:
                callback.on_epoch(self, self.epoch)
        for callback in callbacks:
            callback.on_end(self)

    def _epoch_steps(self, done):
        """Run what is left of one epoch after `done` optimizer steps, yielding how many have been run since
        the last time.
        """
        steps = self._steps_of_epoch(done)
        if self.sink_steps:
            yield from self._sink_epoch(steps)
            return
        for step in steps():
            self._note(1, self.train_step.run(self._tensors(batch) for batch in step), step)
            yield 1

    def _steps_of_epoch(self, done):
        """A callable: () -> the steps of this epoch after the first `done`."""

        def steps():
            self.batches.epoch = self.epoch - 1  # its number is the shuffle's seed
            yield from islice(self.batches, done, self.steps_per_epoch)

        return steps

    def _tensors(self, batch):
        """The loss network's inputs for a micro-batch."""
        self.last_batch = batch
        arrays, answers = self.ask(batch)
        return arrays + answers

    def ask(self, batch: MicroBatch) -> tuple[Tensors, Tensors]:
        """(a micro-batch's arrays, the teacher's answers to it), as tensors."""
        arrays = tuple(ms.Tensor(array) for array in batch.arrays)
        return arrays, self.teacher(batch, arrays) if self.teacher else ()

    def _sink_epoch(self, steps):
        """Steps of an epoch through the device's queue, which may ask for the batches more than once, as to
        learn their shape; they must all have one."""

        def batches():
            for (batch,) in steps():
                yield batch.arrays

        def run(*arrays):
            return self.train_step(*arrays, *(self.teacher.network(*arrays[:5]) if self.teacher else ()))

        dataset = ms.dataset.GeneratorDataset(batches, list(self.batches.columns), shuffle=False)
        pull = ms.data_sink(run, dataset, sink_size=self.sink_steps)
        for _ in range((self.steps_per_epoch - self.step_number % self.steps_per_epoch) // self.sink_steps):
            terms, *outcome = pull()
            self._note(self.sink_steps, ([terms], *outcome))
            yield self.sink_steps

    def _note(self, advance: int, outcome: Outcome, batches: Iterable[MicroBatch] = ()) -> None:
        """Keep what `TrainStep.run` has returned for the `MicroBatch`es of a step, the last of `advance`."""
        terms, _, finite, _ = self._last = outcome
        names, step = ("loss", *self.loss_network.names), self.train_step
        place = self.batches.place if self.group.size == 1 else f"{self.batches.place} (this process's share)"
        self.watch.note(
            Taken(
                self.step_number + advance,
                lambda: dict(zip(names, step.read_terms(terms))),
                lambda: [dict(zip(names, part)) for part in step.own_terms(terms)],
                lambda: bool(finite.asnumpy()),
                tuple(batch.rows for batch in batches),
                place,
            )
        )

    def read_step(self) -> dict[str, float]:
        """{loss, each loss term, learning_rate, grad_norm, loss_scale, skipped_steps} of the last step, as
        numbers; read from the device once, by all processes of the group.

        Raises:
            UserError: they are not sound (see `Watch`).
        """
        if self._read[0] != self.step_number:
            self._read = self.step_number, self._numbers()
            self.watch.judge(*self._read)
        return self._read[1]

    def _numbers(self):
        terms, norm, _, skipped = self._last
        names = ("loss", *self.loss_network.names)
        values = dict(zip(names, self.train_step.read_terms(terms)))
        values["learning_rate"] = self._learning_rate()
        values["grad_norm"] = float(norm.asnumpy())
        values["loss_scale"] = float(self.train_step.loss_scale.scale.asnumpy())
        values["skipped_steps"] = int(skipped.asnumpy())
        return values

    def read_now(self) -> tuple[float, float]:
        """(loss, learning rate) of the last step as this process knows them: of a group, its own rows' loss.
        No other process need ask.
        """
        own = sum(float(part[0].asnumpy()) for part in self._last[0])
        return own * self.group.size, self._learning_rate()

    def _learning_rate(self):
        optimizer = self.train_step.optimizer  # counts only the steps that were not skipped
        return optimizer.learning_rate(ops.maximum(optimizer.global_step - 1, 0)).asnumpy().item()

    def _held(self):
        """Words for the memory that is known before the first step."""
        trained = sum(item.nbytes for item in self.train_step.optimizer.parameters)
        sums = trained if self.train_step.several else 0
        held = sum(item.nbytes for item in self._state().values()) + trained + sums
        return f"{held / 2**20:,.0f} MiB for weights, gradients and moments, what a step computes on top"

    def save(self, folder: str, name: str = WEIGHTS_FILE) -> None:
        """Save the student to `folder`, its weights (and the projection's) as the file `name`."""
        if not self.group.first:
            return
        projection = getattr(self.loss_network, "projection", None)
        further = projection.parameters_and_names() if projection is not None else ()
        with busy(f"saving {name}"):
            self.student.save(folder, name, {key: item.asnumpy() for key, item in further})

    def _state(self):
        """{name: Parameter} of everything that steps change: weights, moments, loss scale, quantizer ranges,
        counters.
        """
        sums = self.train_step.sums or ()  # zero between two steps
        left_out = {id(item) for item in sums}
        return {
            name: item for name, item in self.train_step.parameters_and_names() if id(item) not in left_out
        }

    def fingerprint(self) -> dict[str, Any]:
        """What a saved state must have been made with to be gone on from: {key: JSON value}."""
        return {
            "stage": self.name,
            "total_steps": self.total_steps,
            "steps_per_epoch": self.steps_per_epoch,
            "rows_per_step": self.batches.global_rows,
            "seed": self.batches.seed,
            "the teacher's answers (teacher_cache_gb)": self.teacher and self.teacher.kept,
            **self.made_from,
        }

    def save_state(self, path: str, best: dict[str, float] | None = None) -> None:
        """Write all that `load_state` needs to go on after the last step, atomically; the seed of the next
        rows is the epoch's number. `best` are the best results so far, or None.
        """
        if not self.group.first:
            return
        note = {**self.fingerprint(), "step": self.step_number, "best": best}
        note |= {"first_loss": self.watch.first_loss, "spans": self.watch.spans}
        with busy("saving the state to resume from"):
            write_state(path, note, {name: item.asnumpy() for name, item in self._state().items()})

    def load_state(self, path: str) -> dict[str, float] | None:
        """Go on after the last step of the run that wrote the state `path`.

        Returns:
            The best results that it was saved with, or None.

        Raises:
            UserError: the file is damaged, or of a run with other settings.
        """
        state = self._state()
        note, values = read_state(path)
        for name, value in self.fingerprint().items():
            if note.get(name) != value:
                raise UserError(
                    f"resume: {path} was written with {name} {note.get(name)}, now it is {value}; use the "
                    "same settings and data, or replace that run by --overwrite_output_dir true"
                )
        shapes = {name: item.shape for name, item in state.items()}
        if {name: value.shape for name, value in values.items()} != shapes:
            raise UserError(
                f"resume: {path} is of another network; use the same settings, or replace that run by "
                "--overwrite_output_dir true"
            )
        for name, value in values.items():
            state[name].set_data(ms.Tensor(value))
        self.step_number = int(note["step"])
        self.watch.go_on(self.step_number, note["first_loss"], note["spans"])
        if not same_everywhere(self.step_number, self.group):
            raise UserError(
                "resume: the processes of the job have states of different steps; put the same "
                f"{os.path.basename(path)} into output_dir on every machine"
            )
        return note.get("best")
