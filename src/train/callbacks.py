"""What happens around the train steps: evaluation, checkpoints, saved states, profiles."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from mindspore import profiler

from src.checkpoint.folder import keep_steps, step_file
from src.errors import UserError
from src.metrics import percent, printed_name, short_name
from src.terminal import say

if TYPE_CHECKING:
    from src.train.stage import Stage


class Callback:
    """Hooks of a stage; `step` counts optimizer steps from 1. The data sink's are run several at once,
    `stage.advance` of them.
    """

    def on_step(self, stage: Stage, step: int) -> None:
        """After every optimizer step, or as many as the data sink runs at once."""

    def on_epoch(self, stage: Stage, epoch: int) -> None:
        """After every epoch, counted from 1."""

    def on_end(self, stage: Stage) -> None:
        """After the last step."""

    def close(self) -> None:
        """However the stage ends."""


def passed(stage: Stage, step: int, every: int) -> bool:
    """Whether a multiple of `every` is among the steps that were run since the last look."""
    return step // every > (step - stage.advance) // every


class Evaluation(Callback):
    """Evaluates every `every` steps (0: at the end of every epoch), prints the familiar lines and keeps the
    best weights.

    Args:
        evaluate: gives {metric: value}, the deciding metric first, or None where the network cannot be
            evaluated yet.
        every: steps between evaluations.
        folder: where the best checkpoint goes.
        keep: called after these weights were saved; None for no call.
    """

    def __init__(
        self,
        evaluate: Callable[[], dict[str, float] | None],
        every: int,
        folder: str,
        keep: Callable[[], None] | None = None,
    ):
        self.evaluate = evaluate
        self.every = every
        self.folder = folder
        self.keep = keep
        self.best: dict[str, float] | None = None

    def on_step(self, stage: Stage, step: int) -> None:
        if self.every and passed(stage, step, self.every):
            self._evaluate(stage, step)

    def on_epoch(self, stage: Stage, epoch: int) -> None:
        if not self.every:
            self._evaluate(stage, stage.step_number)

    def on_end(self, stage: Stage) -> None:
        if self.every and not passed(stage, stage.step_number, self.every):
            self._evaluate(stage, stage.step_number)

    def _evaluate(self, stage, step):
        stage.read_step()  # what is not sound is not the best
        results = self.evaluate()
        if results is None:
            say(f"step: {step}, not evaluated: the activations' ranges are not calibrated yet")
            return
        metric = next(iter(results))
        if self.best is None or results[metric] > self.best[metric]:
            self.best = {**results, "step": step}
            stage.save(self.folder)
            if self.keep:
                self.keep()
            say(f"The best {short_name(metric)} is {results[metric]}")
        further = "".join(  # of MNLI's mismatched set; it is shown and decides nothing
            f", {printed_name(name)} {percent(results[name])}"
            for name in results
            if name.startswith(f"{metric}/")
        )
        say(
            f"step: {step}, {printed_name(metric)} {percent(results[metric])}, "
            f"best_{printed_name(metric)} {percent(self.best[metric])}{further}"
        )
        stage.run.record(stage=stage.name, epoch=stage.epoch, step=step, **results)


class StepCheckpoints(Callback):
    """Saves the weights every `every` steps and keeps the last `keep` of these files."""

    def __init__(self, every: int, keep: int, folder: str):
        self.every = every
        self.keep = keep
        self.folder = folder

    def on_step(self, stage: Stage, step: int) -> None:
        if not passed(stage, step, self.every):
            return
        stage.save(self.folder, step_file(step))
        if stage.group.first:
            keep_steps(self.folder, self.keep)


class TrainingState(Callback):
    """Saves all that is needed to resume the stage, in one file: every `every` steps (0: never), after every
    epoch, and when the process is told to end (SIGTERM), which it then does.

    Args:
        every: steps. path: of the file. evaluation: whose best results belong to it.
    """

    def __init__(self, every: int, path: str, evaluation: Evaluation | None = None):
        self.every = every
        self.path = path
        self.evaluation = evaluation
        self.told_to_end = False
        self._before: Callable[[int, FrameType | None], Any] | int | None = None
        self._kept = self._best()  # of a stage that is resumed: the state has it already

    def on_step(self, stage: Stage, step: int) -> None:
        if self._before is None and stage.group.size == 1:  # one of several may wait for the others for ever
            self._before = signal.signal(signal.SIGTERM, self._note) or signal.SIG_DFL
        # What is evaluated after an epoch belongs to the state of its last step.
        if step == stage.total_steps or step % stage.steps_per_epoch == 0:
            return
        if self.told_to_end or self._best() != self._kept or (self.every and passed(stage, step, self.every)):
            self._save(stage)
        self.end_if_told(stage)

    def on_epoch(self, stage: Stage, epoch: int) -> None:
        if stage.step_number < stage.total_steps:
            self._save(stage)
            self.end_if_told(stage)

    def close(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def end_if_told(self, stage: Stage) -> None:
        """End the process if it was told to, now that nothing is lost."""
        if self.told_to_end:
            say(f"told to end: {stage.name} stops after step {stage.step_number}; --resume true goes on")
            sys.exit(128 + signal.SIGTERM)

    def _best(self):
        return self.evaluation and self.evaluation.best

    def _save(self, stage):
        try:
            stage.save_state(self.path, self._best())
        except (OSError, UserError) as error:  # as a full disk: the training itself can go on
            say(f"the state to resume from is not saved: {error}")
        self._kept = self._best()

    def _note(self, number, frame):
        self.told_to_end = True


class Profile(Callback):
    """Profiles some steps with MindSpore's own profiler, once MindSpore has settled on its numbers of
    threads.

    Args:
        steps: how many. device: Ascend, GPU or CPU. folder: where the profiler writes its tables and
            timeline.
    """

    SETTLED = 20  # steps before the profile

    def __init__(self, steps: int, device: str, folder: str):
        self.steps = steps
        self.device = device
        self.folder = folder
        self.seen = 0
        self.profile: profiler.profile | None = None

    def on_step(self, stage: Stage, step: int) -> None:
        self.seen += 1
        if self.seen == self.SETTLED:
            activity = profiler.ProfilerActivity
            activities = [
                activity.CPU,
                *{"Ascend": [activity.NPU], "GPU": [activity.GPU]}.get(self.device, []),
            ]
            self.profile = profiler.profile(
                activities=activities, on_trace_ready=profiler.tensorboard_trace_handler(dir_name=self.folder)
            )
            self.profile.start()
        elif self.seen == self.SETTLED + self.steps:
            self._stop()

    def on_end(self, stage: Stage) -> None:
        if self.seen < self.SETTLED:
            say(
                f"profile_steps: nothing was profiled: the first {self.SETTLED - 1} steps are left out, "
                f"and {stage.name} had {self.seen}"
            )
        self._stop()

    def _stop(self):
        if self.profile is not None:
            self.profile.step()
            self.profile.stop()
            self.profile = None
            say(f"the profile is in {self.folder}")


class LastCheckpoint(Callback):
    """Saves the weights after the last step, unless nothing was learnt: for stages that nothing evaluates."""

    def __init__(self, folder: str):
        self.folder = folder

    def on_end(self, stage: Stage) -> None:
        warning = stage.watch.check_learnt()
        if warning:
            say(f"warning: {warning}")
        stage.save(self.folder)
