"""What stops a stage: losses and flags as a device would give them, without one."""

import numpy as np
import pytest

from src.errors import UserError
from src.train.watch import LOOK, Taken, Watch
from tests.helpers import refuses

NAN, INF = float("nan"), float("inf")


class Fed:
    """A `Watch` that is fed with losses; a loss that is not finite has gradients that are not, too.

    Args:
        total (int): steps. scaled (bool): as in `Watch`. advance (int): steps run at once.
    """

    def __init__(self, total, scaled=False, advance=1):
        self.watch = Watch("phase1", total, scaled)
        self.total, self.advance = total, advance
        self.step, self.skipped, self.looks = 0, 0, []

    def take(self, *parts, finite=None, rows=((0, 7), (3,))):
        """A step of micro-batches whose hidden loss is `parts`; their attention loss is 0.5."""
        parts = [{"loss": part + 0.5, "attention_loss": 0.5, "hidden_loss": part} for part in parts]
        sums = {key: float(np.sum([part[key] for part in parts])) for key in parts[0]}
        finite = np.isfinite(sums["loss"]) if finite is None else finite
        self.step += self.advance
        self.skipped += 0 if finite else self.advance
        rows = tuple(map(np.array, rows[: len(parts)])) if self.advance == 1 else ()
        taken = Taken(self.step, lambda: sums, lambda: parts, lambda: finite, rows, "the training rows")
        self.watch.note(taken)
        if self.watch.due(self.step, self.advance):
            self.looks.append(self.step)
            norm = 1.0 if finite else NAN
            further = {"learning_rate": 1e-3, "grad_norm": norm, "loss_scale": 1.0}
            self.watch.judge(self.step, {**sums, **further, "skipped_steps": self.skipped})

    def go(self, losses, **options):
        for loss in losses:
            self.take(loss, **options)
        return self


def stopped(fed, losses, **options):
    """The message of the `UserError` that these losses give, and the step at which it came."""
    with pytest.raises(UserError) as caught:
        fed.go(losses, **options)
    return caught, fed.step


def test_sound_numbers_are_read_seldom():
    losses = np.random.default_rng(1).lognormal(0.0, 2.0, 160)
    assert Fed(160).go(losses).looks == [1, 50, 100, 150, 160]
    assert Fed(1000, advance=100).go([1.0] * 10).looks == list(range(100, 1001, 100))
    assert Fed(1000, advance=20).go([1.0] * 10).looks == [20, 60, 100, 160, 200]


def test_without_a_loss_scale_one_loss_that_is_not_finite_is_one_too_many():
    error, step = stopped(Fed(200), [2.0] * 60 + [NAN] + [2.0] * 100)
    assert step == 100  # the next look, which says where it began
    refuses(
        error,
        "phase1, step 61: the loss is not finite: hidden_loss nan, with rows 1, 8 of the training rows; ",
        "lower the learning rate (optimizer_cfg.AdamWeightDecay.learning_rate, 0.001 at step 100); what was",
    )
    assert "attention_loss" not in str(error.value) and "float16" not in str(error.value)


def test_of_several_micro_batches_the_rows_of_the_bad_one_are_named():
    fed = Fed(10)
    fed.take(1.0, 2.0)
    with pytest.raises(UserError) as error:
        for parts in [(1.0, INF), *[(1.0, 1.0)] * 8]:
            fed.take(*parts)
    refuses(error, "step 2: the loss is not finite: hidden_loss inf, with rows 4 of")


def test_gradients_that_are_not_finite_though_the_loss_is():
    fed = Fed(60).go([2.0] * 5)
    fed.take(1.5, finite=False)
    error, step = stopped(fed, [2.0] * 60)
    assert step == 50
    refuses(error, "step 6: the gradients are not finite (the loss is: attention_loss 0.5, hidden_loss 1.5)")


def test_what_is_wrong_before_a_weight_has_changed_is_not_the_learning_rates_fault():
    error, step = stopped(Fed(60), [NAN])
    assert step == 1 and "learning rate" not in str(error.value)
    refuses(error, "phase1, step 1: ", "check what the student and its teacher start from")


@pytest.mark.parametrize("total, skipped, stops", [(60, 25, False), (60, 26, True), (20, 19, False)])
def test_a_loss_scale_may_be_looked_for_in_half_the_steps(total, skipped, stops):
    fed = Fed(total, scaled=True).go([2.0] * skipped, finite=False)
    if not stops:
        assert fed.go([2.0] * (total - skipped)).step == total
        return
    error, step = stopped(fed, [2.0] * (total - skipped))
    assert step == LOOK
    words = "phase1, step 1: 26 of the last 50 steps were skipped: the gradients are not finite (the loss is:"
    refuses(error, words, "compute_type float32 has a wider range")


def test_a_short_run_whose_every_step_is_skipped_is_stopped_at_its_end():
    error, step = stopped(Fed(20, scaled=True), [NAN] * 20)
    assert step == 20
    refuses(error, "20 of the last 20 steps were skipped: the loss is not finite: hidden_loss nan, with rows")


def test_a_later_span_of_skipped_steps_stops_a_long_run():
    error, step = stopped(Fed(1000, scaled=True).go([2.0] * 200), [NAN] * 800)
    assert step == 300
    refuses(error, "phase1, step 201: 100 of the last 100 steps were skipped")


def test_a_loss_scale_explains_no_loss_that_is_not_finite_with_gradients_that_are():
    error, _ = stopped(Fed(60, scaled=True), [1.0, *[INF] * 49], finite=True)
    refuses(error, "step 2: the loss is not finite: hidden_loss inf")


def test_a_loss_that_has_left_every_sane_range_stops_the_run():
    """As fine-tuning at a learning rate of 10,000 does."""
    error, step = stopped(Fed(8), [0.7, 0.6, *[6e14] * 6])
    assert step == 8
    words = "phase1, step 3: the loss has left every sane range: attention_loss 0.5, hidden_loss 6e+14"
    refuses(error, words, "where the first one was 1.2", "rows 1, 8 of the training rows")


def test_an_odd_batch_and_a_small_start_stop_nothing():
    assert Fed(60).go([1e-6, *[5.0] * 48, 1e9, *[5.0] * 10]).looks == [1, 50, 60]
    assert Fed(60).go([1e7, *[5.0] * 48, 1e9, *[5.0] * 10]).step == 60  # a regression of large numbers


def test_a_resumed_run_is_held_against_its_own_first_loss():
    fed = Fed(300)
    fed.step, fed.skipped = 100, 3
    fed.watch.go_on(100, 0.7, [(100, 3)])
    error, step = stopped(fed, [1e6] * 200)
    assert step == 150 and "step 101" in str(error.value)
    refuses(error, "where the first one was 0.7")


def test_in_a_data_sink_the_steps_in_between_are_not_known():
    fed = Fed(400, advance=100)
    fed.take(1.0)
    fed.skipped = 7
    error, _ = stopped(fed, [1.0])
    refuses(error, "phase1, a step up to 200: the gradients are not finite")
    assert "rows" not in str(error.value)


def test_another_processs_rows_are_not_named_as_ones_own_and_every_process_asks_for_the_same_sums():
    """A sum is an AllReduce, in which a process that asks once more than the others waits for ever."""

    def asked(loss, words):
        watch, sums, calls = Watch("gd", 4, False), {"loss": NAN, "hidden_loss": NAN}, []
        own = [{"loss": loss, "hidden_loss": loss}]
        rows = (np.arange(3),), "part-0"
        watch.note(Taken(1, lambda: calls.append(1) or sums, lambda: own, lambda: False, *rows))
        with pytest.raises(UserError) as error:
            watch.judge(1, {**sums, "learning_rate": 0.1, "grad_norm": NAN, "skipped_steps": 1})
        refuses(error, f"hidden_loss nan, {words}")
        return len(calls)

    assert asked(1.0, "in another process's rows;") == asked(NAN, "with rows 1, 2, 3 of part-0")


@pytest.mark.parametrize("begun, stops", [(59, False), (30, True)])
def test_a_run_resumed_near_its_end_is_held_against_the_steps_before(begun, stops):
    """One skipped step is no half of them; where the earlier ones were skipped too, they count."""
    before = Fed(60, scaled=True)
    before.go([1.0], finite=True).go([1.0] * (begun - 1), finite=not stops)
    again = Fed(60, scaled=True)
    again.step, again.skipped = before.step, before.skipped
    again.watch.go_on(before.step, 1.5, before.watch.spans)
    if stops:
        error, _ = stopped(again, [2.0] * (60 - begun), finite=False)
        refuses(error, "49 of the last 50 steps were skipped")
    else:
        assert again.go([2.0] * (60 - begun), finite=False).step == 60


@pytest.mark.parametrize("last, learnt", [(0.9, True), (9.0, True), (20.0, False)])
def test_a_stage_that_nothing_evaluates_must_not_end_above_its_start(last, learnt):
    fed = Fed(90).go([1.5, *[2.0] * 29, *[last] * 59, 100.0])  # an odd last batch decides nothing
    if learnt:
        fed.watch.check_learnt()
        return
    with pytest.raises(UserError) as error:
        fed.watch.check_learnt()
    refuses(error, f"learnt nothing: the median loss of the last {LOOK} steps is 20.5, that of the first")


def noisy(means):
    """Losses around these."""
    return np.array(means) * np.random.default_rng(3).normal(1.0, 0.05, len(means))


@pytest.mark.parametrize("steps", [24, 60, 500])
def test_a_loss_that_does_not_fall_is_told_with_what_to_try(steps):
    words = Fed(steps).go(noisy([2.0] * steps)).watch.check_learnt()
    assert (
        words.startswith("phase1: the loss has not fallen: its mean over the first")
        and "over the last" in words
    )
    assert "try a higher learning rate (optimizer_cfg.AdamWeightDecay.learning_rate) or more epochs" in words
    rising = Fed(steps).go(noisy(np.linspace(2.0, 4.0, steps))).watch.check_learnt()
    assert rising.startswith("phase1: the loss has risen: ") and "try a lower learning rate" in rising


@pytest.mark.parametrize("steps", [24, 60, 500])
def test_a_loss_that_falls_a_little_is_not_told(steps):
    assert Fed(steps).go(noisy(np.linspace(2.0, 1.7, steps))).watch.check_learnt() == ""


def test_of_few_steps_and_of_a_stage_that_goes_on_nothing_is_told():
    assert Fed(15).go(noisy([2.0] * 15)).watch.check_learnt() == ""
    again = Fed(200)
    again.step = 100
    again.watch.go_on(100, 4.0, [(0, 0)])
    assert again.go(noisy([2.0] * 100)).watch.check_learnt() == ""
