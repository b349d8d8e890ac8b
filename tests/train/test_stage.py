"""A whole stage on a tiny student: steps, logs, loss scale, evaluation in the middle, divergence."""

import json
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.checkpoint import folder as checkpoints
from src.data.dataset import Batches
from src.data.steps import steps_of
from src.distill.distiller import Distiller, LossTerms, Projection
from src.distill.teacher import LiveTeacher
from src.distill.teacher_cache import CachedTeacher
from src.errors import UserError
from src.evaluate import predict
from src.kinds import CLASSIFICATION
from src.runtime import ALONE
from src.settings.shared import BatchesConfig
from src.settings.stage import AdamWeightDecayConfig, OptimizerConfig, PhaseConfig
from src.train.callbacks import Callback, Evaluation, LastCheckpoint
from src.train.stage import Stage, StagePlan, build_loss_scale
from src.train.step import LossScale
from tests.helpers import VOCABULARY, as_model, make_examples, refuses, teachable, tiny_network, weights_of


class Run:
    """A run folder that remembers."""

    def __init__(self):
        self.rows = []

    def record(self, **values):
        self.rows.append(json.loads(json.dumps(values)))


class Weights(Callback):
    """The first layer's weights and whether dropout is on, after every step."""

    def __init__(self):
        self.steps, self.epochs, self.ended = [], [], 0

    def on_step(self, stage, step):
        self.steps.append(step)

    def on_epoch(self, stage, epoch):
        self.epochs.append((epoch, stage.step_number))

    def on_end(self, stage):
        self.ended += 1


def small_student(**changes):
    """Without an encoder layer: a stage is the same, and its graph takes half as long to compile."""
    student = tiny_network(1, labels=2, num_hidden_layers=1, **changes)
    student.bert.encoder.layers = nn.CellList([])
    return student


def make_stage(
    run=None,
    examples=None,
    batch_size=4,
    epochs=2,
    student=None,
    rate=1e-2,
    sink_steps=0,
    max_steps=0,
    padding="buckets",
    max_tokens=1024,
    **phase,
):
    config = PhaseConfig(
        batch_size=batch_size,
        optimizer_cfg=OptimizerConfig(AdamWeightDecayConfig(learning_rate=rate)),
        **phase,
    )
    examples = examples or make_examples(18, 12)
    rows = BatchesConfig(bucket_boundaries=(16,), seed=3, padding=padding, max_tokens=max_tokens)
    batches = steps_of(examples, config, rows, padding == "none", ALONE)
    student = student or small_student()
    return Stage(
        "phase2",
        as_model(student),
        Distiller(student, LossTerms(label_loss=1.0), kind=CLASSIFICATION),
        batches,
        StagePlan(config, epochs, max_steps, sink_steps),
        run or Run(),
    )


def test_stage_runs_every_step_logs_them_and_learns(compiled, capsys):
    run, watch = Run(), Weights()
    student = tiny_network(1, labels=2, num_hidden_layers=1)
    stage = make_stage(run, teachable(64, 5), batch_size=16, epochs=15, student=student)
    stage.fit([watch], log_step=10)
    assert stage.total_steps == 60 and watch.steps == list(range(1, 61)) and watch.ended == 1
    assert watch.epochs[0] == (1, 4) and watch.epochs[-1] == (15, 60)
    assert [row["step"] for row in run.rows] == [1, 10, 20, 30, 40, 50, 60]
    assert (
        run.rows[-1]["label_loss"] == pytest.approx(run.rows[-1]["loss"])
        and run.rows[-1]["loss"] < 0.3 < run.rows[0]["loss"]
    )
    assert (
        run.rows[0]["learning_rate"] == pytest.approx(1e-2 / 6, rel=1e-4)
        and run.rows[0]["skipped_steps"] == 0
    )
    last = run.rows[-1]
    assert stage.read_now() == pytest.approx((last["loss"], last["learning_rate"]))
    out = capsys.readouterr().out
    tokens = len(teachable(64, 5).input_ids) / 4  # four steps an epoch
    assert out.startswith(f"phase2: 60 steps; 16 rows, {tokens:.0f} tokens a step, ")
    assert " MiB for weights, gradients and moments, what a step computes on top\n" in out


def test_accumulation_divides_the_steps_and_an_epochs_odd_batches_are_left_out(compiled):
    # 5 batches, 2 steps an epoch.
    stage = make_stage(examples=make_examples(23, 12), gradient_accumulation_steps=2)
    watch = Weights()
    stage.fit([watch])
    assert stage.total_steps == 4 and watch.epochs == [(1, 2), (2, 4)]
    assert stage.batches.epoch == 2


def test_a_step_of_more_rows_than_there_are_is_refused():
    with pytest.raises(UserError) as error:
        make_stage(gradient_accumulation_steps=9)
    refuses(error, "batch_size 4 x 9", "18 training rows")


def test_evaluating_in_the_middle_of_an_epoch_does_not_turn_dropout_off(compiled, tmp_path):
    student = small_student(hidden_dropout_prob=0.5)
    examples, model, modes = make_examples(16, 12), as_model(student), []

    def evaluate():
        modes.append(predict(model, Batches(examples, 4, (16,))).logits)
        return {"accuracy": 0.5}

    watch = SimpleNamespace(
        on_step=lambda *_: modes.append(student.dropout.training),
        on_epoch=lambda *_: None,
        on_end=lambda *_: None,
        close=lambda: None,
    )
    make_stage(examples=examples, student=student, epochs=1).fit(
        [Evaluation(evaluate, 2, str(tmp_path)), watch]
    )
    assert [item for item in modes if isinstance(item, bool)] == [True] * 4 and len(modes) == 6


def test_loss_that_is_never_finite_stops_with_a_message():
    student = small_student()
    student.classifier.bias.set_data(ms.Tensor([np.nan, 0.0], ms.float32))
    with pytest.raises(UserError) as error:
        make_stage(student=student, epochs=1).fit([])
    rows = sorted(row + 1 for batch in next(iter(make_stage().batches)) for row in batch.rows.tolist())
    words = (
        f"phase2, step 1: the loss is not finite: label_loss nan, with rows {', '.join(map(str, rows))} of"
    )
    refuses(error, words, "check what the student and its teacher start from")


@pytest.mark.parametrize(
    "kind,compute_type,value,window",
    [
        ("auto", ms.float32, 1.0, 0),
        ("auto", ms.float16, 256.0, 7),
        ("none", ms.float16, 1.0, 0),
        ("static", ms.float32, 256.0, 0),
        ("dynamic", ms.float32, 256.0, 7),
    ],
)
def test_loss_scale_of_each_setting(kind, compute_type, value, window):
    scale = build_loss_scale(
        PhaseConfig(loss_scale=kind, loss_scale_value=256.0, scale_window=7), compute_type
    )
    assert (float(scale.scale.value()), scale.window) == (value, window)


@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_loss_scale_without_a_window_is_fixed_and_a_dynamic_one_never_falls_below_one(kind):
    scale = LossScale(2.0, 4.0, 0 if kind == "fixed" else 5)
    for _ in range(3):
        scale(ms.Tensor(False))
    assert float(scale.scale.value()) == (2.0 if kind == "fixed" else 1.0)
    assert int(scale.skipped_steps.value()) == 3


def test_saved_student_holds_its_projection_and_not_the_teacher(tmp_path):
    student = tiny_network(2, labels=2, num_hidden_layers=1, hidden_size=12)
    stage = make_stage(student=student)
    stage.loss_network = Distiller(student, LossTerms(hidden_loss=1.0), Projection(12, 16, 0.1))
    LastCheckpoint(str(tmp_path)).on_end(stage)
    saved = checkpoints.load(tmp_path)
    assert set(saved.weights) == set(weights_of(student)) | {"fit_dense.weight", "fit_dense.bias"}
    assert saved.vocabulary == VOCABULARY and saved.description.task_name == "SST-2"


def test_a_stage_goes_on_only_with_its_teachers_answers_as_it_had_them(tmp_path):
    """Kept ones are rounded."""
    stage, path = make_stage(), str(tmp_path / "state")
    stage.teacher = LiveTeacher(None)
    stage.save_state(path, {"accuracy": 0.5})
    assert stage.load_state(path) == {"accuracy": 0.5}
    stage.teacher.kept = CachedTeacher.kept
    with pytest.raises(UserError) as error:
        stage.load_state(path)
    refuses(error, "resume:", "(teacher_cache_gb) as computed, now it is kept in float16", "same settings")


def test_logged_learning_rate_is_the_one_of_the_steps_really_taken():
    run, student = Run(), small_student()
    # 60 steps, 6 of warm-up; a loss scale may make one of them overflow.
    stage = make_stage(run, student=student, epochs=15, loss_scale="static")

    class Break(Callback):
        """Makes one step's loss infinite."""

        def on_step(self, stage, step):
            student.classifier.bias.set_data(ms.Tensor([np.inf if step == 1 else 0.0, 0.0], ms.float32))

    stage.fit([Break()], log_step=3)
    assert run.rows[1]["step"] == 3 and run.rows[1]["skipped_steps"] == 1
    assert run.rows[1]["learning_rate"] == pytest.approx(1e-2 * 2 / 6, rel=1e-4)


def test_data_sink_with_accumulation_is_refused():
    with pytest.raises(UserError) as error:
        make_stage(gradient_accumulation_steps=2, sink_steps=2)
    refuses(error, "gradient_accumulation_steps", "enable_data_sink")


def test_stage_has_what_the_device_queue_needs():
    stage = make_stage(sink_steps=3)  # one batch an epoch does not fill a sink
    taken = []

    def data_sink(function, dataset, sink_size):
        iterator = dataset.create_tuple_iterator(num_epochs=1)

        def pull():
            for _ in range(sink_size):
                taken.append(function(*next(iterator)))
            return taken[-1]

        return pull

    with pytest.MonkeyPatch.context() as patch:  # CPU has no queue
        patch.setattr(ms, "data_sink", data_sink)
        watch = Weights()
        stage.fit([watch])
    assert len(taken) == stage.step_number == stage.total_steps == 6
    assert watch.steps == [3, 6] and watch.epochs == [(1, 3), (2, 6)]


# --- how many steps ----------------------------------------------------------------------------------------


class TenSteps:
    """An epoch of ten steps of one micro-batch."""

    several, shape = False, None

    def __len__(self):
        return 10


@pytest.mark.parametrize(
    "max_steps, sink, epoch, steps",
    [
        (0, 0, 10, 30),
        (7, 0, 10, 7),
        (100, 0, 10, 100),
        (0, 4, 8, 24),  # those that do not fill a sink are left out
        (8, 4, 8, 8),
    ],
)
def test_steps_of_a_plan(max_steps, sink, epoch, steps):
    plan = StagePlan(PhaseConfig(), 3, max_steps, sink)
    assert (plan.epoch_steps(TenSteps()), plan.steps(TenSteps())) == (epoch, steps)


def test_a_number_of_steps_in_which_no_sink_ends_is_refused():
    with pytest.raises(UserError) as error:
        StagePlan(PhaseConfig(), 3, 10, 4).steps(TenSteps())
    refuses(error, "train_steps: the data sink runs 4 steps at once; 10 is no multiple of that, 8 would be")
