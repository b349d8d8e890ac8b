"""How a stage gets on: its bar with the present loss, the lines of the log, and how long it will take."""

from __future__ import annotations

import math
import resource
import sys
import time
from typing import TYPE_CHECKING

import mindspore as ms
from tqdm import tqdm

from src.runtime import compile_seconds
from src.terminal import LINE_SECONDS, bar, say
from src.train.callbacks import Callback, passed

if TYPE_CHECKING:
    from src.train.stage import Stage

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{remaining} left{postfix}]"
_UNLOGGED = ("grad_norm", "loss_scale", "skipped_steps")  # they are in metrics.jsonl


def outputs(values: dict[str, float], device: str) -> str:
    """A step's numbers as the published logs have them: the loss, on Ascend in a tuple with whether the
    gradients overflowed and the loss scale; its terms and the learning rate follow.

    Args:
        values: of `Stage.read_step`. device: Ascend, GPU or CPU.
    """
    loss = f"{values['loss']:.6g}"
    if device == "Ascend":
        overflow = not math.isfinite(values["grad_norm"])
        loss = (
            f"(Tensor(shape=[1], dtype=Float32, {loss}), Tensor(shape=[], dtype=Bool, {overflow}), "
            f"Tensor(shape=[], dtype=Float32, {values['loss_scale']:.6g}))"
        )
    terms = (item for item in values.items() if item[0] not in ("loss", *_UNLOGGED))
    return ", ".join([loss, *(f"{name}: {value:.4g}" for name, value in terms)])


class Progress(Callback):
    """A bar with the present loss, learning rate and speed; every `log_step` steps a line in the log and a
    record in metrics.jsonl; once, how long all of it will take.

    It stands before the other callbacks, and its `after` behind them: what they take is no part of the speed,
    nor is compiling.
    """

    SETTLED = 20  # steps that are timed before one tells how long it will take
    SETTLED_SECONDS = 60.0  # or so long, where steps are slow

    def __init__(self, log_step: int):
        self.log_step = log_step
        self.after = _After(self)
        self.bar: tqdm | None = None
        self._left_off = self._read = self._started = self._compiled = 0.0
        self._first = 0  # the step before the first that is timed; it compiles
        self._told = False

    def on_step(self, stage: Stage, step: int) -> None:
        if self.bar is None:
            self._begin(stage, step)
        self._leave_out(compile_seconds() - self._compiled)
        self._compiled = compile_seconds()
        self._show(stage, step)
        self._drawn.update(step - self._drawn.n)
        if not self._told:
            self._tell_time(stage, step)
        self._left_off = time.time()

    def on_epoch(self, stage: Stage, epoch: int) -> None:
        self._left_off = time.time()

    def go_on(self) -> None:
        """Since this callback's last turn nothing was trained."""
        self._leave_out(time.time() - self._left_off)

    @property
    def _drawn(self) -> tqdm:
        """The bar, which there is from the first step on."""
        assert self.bar is not None
        return self.bar

    def _leave_out(self, seconds):
        self._drawn.start_t += seconds
        self._drawn.last_print_t += seconds
        self._started += seconds

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _begin(self, stage, step):
        self.bar = bar(stage.name, stage.total_steps, "step", None, True, step, _BAR)
        self._first, self._started, self._compiled = step, time.time(), compile_seconds()

    def _show(self, stage, step):
        """Read a step's numbers where they are to be written, and for the bar now and then: each time the
        device is waited for.
        """
        every = 1.0 if sys.stderr.isatty() else LINE_SECONDS
        if passed(stage, step, self.log_step) or step in (stage.advance, stage.total_steps):
            values = stage.read_step()
            loss, rate = values["loss"], values["learning_rate"]
            given = outputs(values, ms.get_context("device_target"))
            say(f"epoch: {stage.epoch}, step: {step}, outputs are {given}")
            stage.run.record(stage=stage.name, epoch=stage.epoch, step=step, **values)
        elif time.time() - self._read >= every:
            loss, rate = stage.read_now()
        else:
            return
        self._read = time.time()
        speed = self._drawn.format_dict["rate"]
        tokens = f", {speed * stage.batches.tokens:,.0f} tokens/s" if speed else ""
        self._drawn.set_postfix_str(f"loss {loss:.4g}, lr {rate:.3g}{tokens}", refresh=False)

    def _tell_time(self, stage, step):
        """Once the first steps were timed: what a step takes, and all that are left."""
        steps, seconds = step - self._first, time.time() - self._started
        if steps < 2 or (steps < self.SETTLED and seconds < self.SETTLED_SECONDS):
            return
        self._told = True
        stage.read_now()  # the device may lag behind
        each, left = (time.time() - self._started) / steps, stage.total_steps - step
        if each * left >= LINE_SECONDS:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            say(
                f"{stage.name}: {each:.3g} s a step, {stage.batches.tokens / each:,.0f} tokens/s; about "
                f"{tqdm.format_interval(each * left)} for the {left} steps left, without evaluation; "
                f"{memory:,.0f} MiB of memory until now"
            )


class _After(Callback):
    """Stands behind the other callbacks of a stage; see `Progress`."""

    def __init__(self, progress: Progress):
        self.progress = progress

    def on_step(self, stage: Stage, step: int) -> None:
        self.progress.go_on()

    def on_epoch(self, stage: Stage, epoch: int) -> None:
        self.progress.go_on()
