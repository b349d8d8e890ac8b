"""Whether the numbers of a stage are sound: a run that learns nothing is stopped, not called done.

The numbers lie on the device. Few of them are read, every `LOOK` steps and before anything is evaluated;
those of the steps in between stay there until something is wrong, and then say where it began.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, median, variance
from typing import TYPE_CHECKING

from src.errors import UserError, listed

if TYPE_CHECKING:
    import numpy as np

LOOK = 50
"""Steps between two looks; twice as many are remembered."""
SHARE = 0.5
"""Steps of so many that may be skipped where a loss scale is looked for: from 65536 to 1 takes 16."""
SANE = 10_000.0
"""A loss so many times that of the first step (or `LEAST`) has left every sane range."""
AT_END = 5.0
"""As SANE, at the end of a stage that nothing evaluates."""
LEAST = 1.0
"""The loss below which no first loss counts: a student may start where its teacher is, at 0."""
FEW = 10
"""Losses at the begin and at the end of a stage that are too few to be compared."""
CONFIRMED = 3
"""Steps in a row whose loss must have left the range: one may be an odd batch."""


@dataclass(frozen=True)
class Taken:
    """A step that was run, or the last of those that a data sink ran at once; its numbers are still on the
    device.
    """

    step: int
    """Its number, from 1."""
    sums: Callable[[], dict[str, float]]
    """{"loss": value, term: value}, of all processes, each of which must ask."""
    parts: Callable[[], list[dict[str, float]]]
    """{"loss": value, term: value} of each micro-batch of this process."""
    finite: Callable[[], bool]
    """Whether its gradients were."""
    rows: tuple[np.ndarray, ...] = ()
    """Numbers of the rows of each micro-batch of this process, from 0; () where the device took them."""
    place: str = ""
    """What these are rows of."""


class Watch:
    """Judges the numbers of one stage.

    Args:
        name: of the stage, for messages.
        total: steps in all.
        scaled: whether the loss is scaled, so that gradients may overflow now and then.
    """

    def __init__(self, name: str, total: int, scaled: bool):
        self.name, self.total, self.scaled = name, total, scaled
        self.first_loss: float | None = None
        self._first_step, self._resumed = 0, False
        self._taken: deque[Taken] = deque(maxlen=2 * LOOK)
        self._begun: list[Taken] = []
        """The first steps; those of a stage that goes on say nothing of how it began."""
        self.spans = [(0, 0)]
        """(step, steps skipped until then) of where the last two spans began that are judged as one."""

    def go_on(self, step: int, first_loss: float | None, spans: list[tuple[int, int]]) -> None:
        """Begin after a step of an earlier process, which began with this loss and had these `spans`."""
        self._resumed = True
        self._first_step, self.first_loss, self.spans = step, first_loss, spans

    def note(self, taken: Taken) -> None:
        """Remember a step."""
        self._taken.append(taken)
        if len(self._begun) < LOOK and not self._resumed:
            self._begun.append(taken)

    def due(self, step: int, advance: int) -> bool:
        """Whether the numbers are to be read after a step, of `advance` run at once."""
        return self.first_loss is None or step == self.total or step // LOOK > (step - advance) // LOOK

    def judge(self, step: int, values: dict[str, float]) -> None:
        """Take note of a step's numbers.

        Args:
            step: its number. values: as `Stage.read_step` gives them.

        Raises:
            UserError: they are not sound; it says since which step, in which loss term and with which rows.
        """
        skipped, loss = int(values["skipped_steps"]), values["loss"]
        self._check_finite(step, values, skipped - self.spans[-1][1])
        self._check_share(step, values)
        if math.isfinite(loss) and self.first_loss is None:
            self.first_loss, self._first_step = loss, step
        elif math.isfinite(loss) and loss > self._limit(SANE):
            self._check_range(step, values)
        if step - self.spans[-1][0] >= LOOK:
            self.spans = [self.spans[-1], (step, skipped)]

    def check_learnt(self) -> str:
        """Of a stage that nothing evaluates, after its last step: a warning where its loss has not fallen, or
        "". That is no proof that nothing was learnt: a student may be as good as it gets when it begins.

        Raises:
            UserError: the median loss of its last steps is above `AT_END` times the first one (or `LEAST`).
        """
        last = [taken.sums()["loss"] for taken in list(self._taken)[-LOOK:]]
        losses = list(filter(math.isfinite, last))
        if not losses or median(losses) <= self._limit(AT_END):
            return self._not_fallen(losses)
        raise UserError(
            f"{self.name}: the student has learnt nothing: the median loss of the last {len(losses)} steps "
            f"is {median(losses):.4g}, that of the first step was {self.first_loss:.4g}; lower the learning "
            "rate (optimizer_cfg.AdamWeightDecay.learning_rate)"
        )

    def _not_fallen(self, last):
        """A warning where the last losses are not below the first ones by more than they vary."""
        count = min(len(self._begun), len(self._taken) // 2, len(last))
        first = [
            loss for loss in (item.sums()["loss"] for item in self._begun[:count]) if math.isfinite(loss)
        ]
        last = last[-count:]
        if min(len(first), count) < FEW:
            return ""
        before, after = fmean(first), fmean(last)
        chance = math.sqrt(variance(first) / len(first) + variance(last) / count)
        if before - after > 2 * chance:  # other batches alone seldom make so much
            return ""
        if after - before > 2 * chance:
            happened, advice = "has risen", "a lower"
        else:
            happened, advice = "has not fallen", "a higher"
        return (
            f"{self.name}: the loss {happened}: its mean over the first {len(first)} steps is "
            f"{before:.4g}, over the last {count} {after:.4g}; unless the student was as good before, it has "
            f"learnt nothing: try {advice} learning rate (optimizer_cfg.AdamWeightDecay.learning_rate) or "
            "more epochs"
        )

    def _limit(self, times):
        return times * max(LEAST, self.first_loss or 0.0)

    def _check_finite(self, step, values, skipped):
        """A loss scale explains gradients that are not finite, and nothing else."""
        lost = not math.isfinite(values["loss"])
        explained = self.scaled and not (lost and math.isfinite(values["grad_norm"]))
        if (skipped or lost) and not explained:
            taken = self._first(lambda item: not (item.finite() and math.isfinite(item.sums()["loss"])))
            self._stop(taken, step, values, self._not_finite(taken, values))

    def _check_share(self, step, values):
        since, before = self.spans[0]
        steps, skipped = step - since, values["skipped_steps"] - before
        most = SHARE * steps if steps >= LOOK else steps - 1  # a short run may end while the scale is sought
        if (steps >= LOOK or step == self.total) and skipped > most:
            taken = self._first(lambda item: not item.finite())
            what = f"{skipped} of the last {steps} steps were skipped: {self._not_finite(taken, values)}"
            self._stop(taken, step, values, what)

    def _check_range(self, step, values):
        """Whether the loss has really left the range: an odd batch is none of the run's."""
        limit = self._limit(SANE)
        recent = [item for item in self._taken if item.step > self._first_step][-CONFIRMED:]
        enough = len(recent) == CONFIRMED or step == self.total
        if enough and not any(item.sums()["loss"] <= limit for item in recent):
            taken = self._first(lambda item: not item.sums()["loss"] <= limit)
            was = f"the loss has left every sane range: {self._terms(taken, values)}"
            self._stop(taken, step, values, f"{was}, where the first one was {self.first_loss:.4g}")

    def _first(self, wrong):
        """The first `Taken` that is wrong; None where it is not remembered any more."""
        return next((taken for taken in self._taken if wrong(taken)), None)

    def _not_finite(self, taken, values):
        sums = taken.sums() if taken else values
        if math.isfinite(sums["loss"]):
            return f"the gradients are not finite (the loss is: {self._terms(taken, values)})"
        return f"the loss is not finite: {self._terms(taken, values)}"

    def _terms(self, taken, values):
        """The loss terms of a step, those that are not finite alone where there are such."""
        known = "loss", "learning_rate", "grad_norm", "loss_scale", "skipped_steps"
        terms = {key: value for key, value in (taken.sums() if taken else values).items() if key not in known}
        wrong = {key: value for key, value in terms.items() if not math.isfinite(value)}
        return ", ".join(f"{key} {value:.4g}" for key, value in (wrong or terms).items())

    def _stop(self, taken, step, values, what):
        """Raise the `UserError` of something wrong since a step, or since one that none of the `Taken` is; it
        is seen after `step`.
        """
        since = f"step {taken.step}" if taken else f"a step up to {step}"
        rate = f"optimizer_cfg.AdamWeightDecay.learning_rate, {values['learning_rate']:.3g} at step {step}"
        advice = f"lower the learning rate ({rate})"
        if taken and taken.step == 1:  # before any weight has changed
            advice = "no weight has changed yet, so check what the student and its teacher start from"
        if self.scaled:
            advice += "; compute_type float32 has a wider range than float16"
        raise UserError(f"{self.name}, {since}: {what}{_rows(taken)}; {advice}; what was saved before stays")


def _rows(taken):
    """Words for the rows of a step: of the micro-batches whose loss is not finite where there are such."""
    if not taken or not taken.rows:
        return ""
    total = taken.sums()["loss"]  # asked by every process, whatever its own rows are like
    wrong = [not math.isfinite(part["loss"]) for part in taken.parts()]
    if not any(wrong) and not math.isfinite(total):
        return ", in another process's rows"
    chosen = [rows for rows, bad in zip(taken.rows, wrong) if bad or not any(wrong)]
    numbers = sorted({int(row) + 1 for rows in chosen for row in rows})
    return f", with rows {listed(numbers, 80)} of {taken.place}"
