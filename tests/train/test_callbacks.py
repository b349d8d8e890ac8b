"""Checkpoints and the familiar lines."""

import csv
import glob
import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from src.checkpoint import folder as checkpoints
from src.run_folder import RunFolder
from src.runtime import Group
from src.train.callbacks import Callback, Evaluation, LastCheckpoint, Profile, StepCheckpoints, TrainingState
from src.train.progress import Progress
from src.train.session import results_table
from src.train.watch import Watch
from tests.helpers import VOCABULARY, describe, random_batch, tensors, tiny_network, weights_of

NETWORK = tiny_network(1, labels=2, num_hidden_layers=1)
DESCRIPTION = describe(NETWORK)


class FakeStage:
    """Weights that say in their classifier's bias which step they are of."""

    name, epoch, total_steps, group, advance = "phase2", 1, 6, Group(), 1
    steps_per_epoch, batches = 3, SimpleNamespace(tokens=100.0)

    def __init__(self, folder):
        self.run = RunFolder(str(folder))
        self.run.start("seed: 1\n")
        self.step_number = 0
        self.watch = Watch(self.name, self.total_steps, scaled=False)

    def read_step(self):
        return {"loss": 1.0 / self.step_number, "soft_loss": 0.5, "learning_rate": 1e-3}

    def read_now(self):
        return 1.0 / self.step_number, 1e-3

    def save(self, folder, name=checkpoints.WEIGHTS_FILE):
        weights = {**weights_of(NETWORK), "classifier.bias": np.float32([self.step_number, 0])}
        checkpoints.save(folder, weights, DESCRIPTION, VOCABULARY, name)

    def save_state(self, path, best=None):
        with open(path, "w", encoding="utf-8") as file:
            json.dump([self.step_number, best], file)

    def go(self, *callbacks, steps_per_epoch=3):
        for step in range(self.advance, self.total_steps + 1, self.advance):
            self.step_number = step
            for callback in callbacks:
                callback.on_step(self, step)
            if step % steps_per_epoch == 0:
                for callback in callbacks:
                    callback.on_epoch(self, step // steps_per_epoch)
        for callback in callbacks:
            callback.on_end(self)


def step_of(path):
    return int(checkpoints.load(path).weights["classifier.bias"][0])


def scores(*values):
    values = iter(values)
    return lambda: {"accuracy": next(values), "f1": 0.5, "rows": 10}


@pytest.fixture
def stage(tmp_path):
    return FakeStage(tmp_path / "run")


def rows_of(stage):
    with open(stage.run.join("metrics.jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_best_checkpoint_is_kept_and_the_familiar_lines_are_printed(stage, tmp_path, capsys):
    evaluation = Evaluation(scores(0.5, 0.8, 0.6, 0.8), 2, str(tmp_path / "best"))
    stage.total_steps = 7  # the last step is evaluated too
    stage.go(evaluation)
    assert step_of(tmp_path / "best") == 4 and evaluation.best == {
        "accuracy": 0.8,
        "f1": 0.5,
        "rows": 10,
        "step": 4,
    }
    lines = [
        line
        for line in capsys.readouterr().out.splitlines()
        if "acc" in line.lower() and "_" not in line.split(":")[0]
    ]
    assert [line for line in lines if line.startswith("The best acc is ")] == [
        "The best acc is 0.5",
        "The best acc is 0.8",
    ]
    assert "step: 6, Accuracy 60.00, best_Accuracy 80.00" in lines
    assert [(row["step"], row["accuracy"]) for row in rows_of(stage)] == [
        (2, 0.5),
        (4, 0.8),
        (6, 0.6),
        (7, 0.8),
    ]


def test_a_metric_is_printed_in_percent_with_two_decimals(stage, tmp_path, capsys):
    stage.total_steps = 2
    stage.go(Evaluation(lambda: {"pearson": 2 / 3}, 2, str(tmp_path / "best")))
    assert "step: 2, Pearsonr 66.67, best_Pearsonr 66.67\n" in capsys.readouterr().out


def test_mnlis_mismatched_set_is_shown_and_decides_nothing(stage, tmp_path, capsys):
    answers = iter([(0.7, 0.9), (0.8, 0.6), (0.75, 0.95)])
    evaluation = Evaluation(
        lambda: dict(zip(("accuracy", "accuracy/eval_mm"), next(answers))), 2, str(tmp_path / "best")
    )
    stage.go(evaluation)
    assert evaluation.best == {"accuracy": 0.8, "accuracy/eval_mm": 0.6, "step": 4}
    assert step_of(tmp_path / "best") == 4
    said = capsys.readouterr().out
    assert "step: 6, Accuracy 75.00, best_Accuracy 80.00, Accuracy/eval_mm 95.00" in said
    assert [row["accuracy/eval_mm"] for row in rows_of(stage)] == [0.9, 0.6, 0.95]


def test_without_eval_step_every_epoch_is_evaluated_once(stage, tmp_path):
    stage.go(Evaluation(scores(0.2, 0.1), 0, str(tmp_path / "best")))
    assert [row["step"] for row in rows_of(stage)] == [3, 6] and step_of(tmp_path / "best") == 3


def test_a_metric_of_zero_or_below_is_still_saved(stage, tmp_path):
    stage.go(Evaluation(scores(-0.3, -0.2), 0, str(tmp_path / "best")))
    assert step_of(tmp_path / "best") == 6


def test_what_cannot_be_evaluated_yet_is_neither_scored_nor_saved(stage, tmp_path, capsys):
    answers = iter([None, {"accuracy": 0.4}, {"accuracy": 0.3}])
    evaluation = Evaluation(lambda: next(answers), 2, str(tmp_path / "best"))
    stage.go(evaluation)
    assert evaluation.best == {"accuracy": 0.4, "step": 4} and step_of(tmp_path / "best") == 4
    assert "step: 2, not evaluated" in capsys.readouterr().out and [
        row["step"] for row in rows_of(stage)
    ] == [4, 6]


def test_step_checkpoints_are_rotated_and_can_be_loaded(stage, tmp_path):
    folder = str(tmp_path / "steps")
    stage.go(StepCheckpoints(2, 2, folder))
    assert sorted(os.listdir(folder)) == ["config.json", "step_4.ckpt", "step_6.ckpt", "vocab.txt"]
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        assert sorted(json.load(file)["weights_sha256"]) == ["step_4.ckpt", "step_6.ckpt"]
    assert (
        step_of(os.path.join(folder, "step_4.ckpt")) == 4
        and step_of(os.path.join(folder, "step_6.ckpt")) == 6
    )


def test_last_checkpoint_is_the_one_after_the_last_step(stage, tmp_path):
    stage.go(LastCheckpoint(str(tmp_path / "last")))
    assert step_of(tmp_path / "last") == 6
    assert sorted(os.listdir(tmp_path / "last")) == ["config.json", "eval_model.ckpt", "vocab.txt"]


def test_steps_that_are_run_at_once_are_looked_at_together(stage, tmp_path):
    stage.advance, stage.total_steps = 4, 12
    stage.go(
        Progress(3),
        Evaluation(scores(0.5, 0.6, 0.7), 3, str(tmp_path / "best")),
        StepCheckpoints(8, 3, str(tmp_path / "steps")),
        steps_per_epoch=12,
    )
    assert [row["step"] for row in rows_of(stage) if "loss" in row] == [4, 8, 12]
    assert [row["step"] for row in rows_of(stage) if "accuracy" in row] == [4, 8, 12]
    assert [name for name in sorted(os.listdir(tmp_path / "steps")) if name.startswith("step")] == [
        "step_8.ckpt"
    ]


def test_the_answers_of_the_best_evaluation_are_kept_after_its_weights(stage, tmp_path):
    kept, folder = [], str(tmp_path / "best")
    stage.go(Evaluation(scores(0.5, 0.4, 0.9), 2, folder, lambda: kept.append(step_of(tmp_path / "best"))))
    assert kept == [2, 6]


def test_results_table_has_a_row_a_model_and_percents():
    models = {
        "teacher": {
            "parameters": 1234567,
            "accuracy": 0.9,
            "accuracy/eval_mm": 0.85,
            "seconds_per_1000_rows": 1.5,
        }
    }
    table = results_table(models, ("accuracy",))
    for word in ("teacher", "1,234,567", "90.00", "85.00", "1.50", "Accuracy/eval_mm"):
        assert word in table


def test_a_stage_too_short_for_a_profile_says_so(stage, tmp_path, capsys):
    stage.go(Profile(3, "CPU", str(tmp_path / "profile")))
    assert (
        "profile_steps: nothing was profiled: the first 19 steps are left out, and phase2 had 6"
        in capsys.readouterr().out
    )
    assert not (tmp_path / "profile").exists()


def test_profile_covers_the_steps_asked_for_and_writes_its_tables(stage, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Profile, "SETTLED", 2)
    batch = tensors(*random_batch(labels=2)[:3])

    class Step(Callback):
        def on_step(self, stage, step):
            NETWORK(*batch)

    profile = Profile(3, "CPU", str(tmp_path / "profile"))
    stage.go(Step(), profile)
    assert "the profile is in" in capsys.readouterr().out and profile.profile is None
    (table,) = glob.glob(str(tmp_path / "profile" / "*" / "FRAMEWORK" / "cpu_op_type_info_0.csv"))
    with open(table, encoding="utf-8") as file:
        counts = {row["op_type"]: int(row["type_occurrences"]) for row in csv.DictReader(file)}
    assert counts["MatMul"] % 3 == 0 and counts["MatMul"] > 0


class Told(Callback):
    """Sends the process a signal after a step."""

    def __init__(self, step):
        self.at = step

    def on_step(self, stage, step):
        if step == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


def state_of(path):
    return json.loads(path.read_text()) if path.exists() else None


@pytest.mark.parametrize("every, last", [(2, 4), (0, 3)])
def test_a_state_is_saved_every_so_many_steps_and_epochs_but_not_at_the_end(stage, tmp_path, every, last):
    saving = TrainingState(every, str(tmp_path / "state"))
    stage.go(saving)
    saving.close()
    assert state_of(tmp_path / "state") == [last, None]


@pytest.mark.parametrize("at", [4, 3])
def test_a_run_that_is_told_to_end_saves_its_state_first(stage, tmp_path, capsys, at):
    evaluation = Evaluation(None, 0, "")
    evaluation.best = {"accuracy": 0.5}
    before = signal.getsignal(signal.SIGTERM)
    saving = TrainingState(0, str(tmp_path / "state"), evaluation)
    with pytest.raises(SystemExit) as caught:
        stage.go(Told(at), saving)
    saving.close()
    assert caught.value.code == 143 and state_of(tmp_path / "state") == [at, {"accuracy": 0.5}]
    assert f"phase2 stops after step {at}; --resume true goes on" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_that_is_told_to_end_at_its_last_step_keeps_its_result_first(stage, tmp_path):
    saving = TrainingState(0, str(tmp_path / "state"))
    stage.go(Told(6), saving, LastCheckpoint(str(tmp_path / "last")))
    saving.close()
    assert step_of(str(tmp_path / "last")) == 6
    with pytest.raises(SystemExit):
        saving.end_if_told(stage)


def test_a_new_best_and_its_state_belong_together(stage, tmp_path):
    evaluation = Evaluation(scores(0.5, 0.4, 0.9), 2, str(tmp_path / "best"))
    saving = TrainingState(0, str(tmp_path / "state"), evaluation)
    stage.total_steps = 5
    stage.go(evaluation, saving)
    saving.close()
    assert state_of(tmp_path / "state")[0] == 3 and step_of(str(tmp_path / "best")) == 5


def test_a_resumed_stage_with_a_best_score_does_not_save_what_it_was_read_from(stage, tmp_path):
    evaluation = Evaluation(None, 0, "")
    evaluation.best = {"accuracy": 0.5}
    saving = TrainingState(0, str(tmp_path / "state"), evaluation)
    stage.total_steps = 2
    stage.go(saving)
    saving.close()
    assert not (tmp_path / "state").exists()


def test_a_state_that_the_disk_does_not_take_ends_nothing(stage, tmp_path, capsys):
    saving = TrainingState(2, str(tmp_path / "absent" / "state"))
    stage.go(saving)
    saving.close()
    assert "the state to resume from is not saved" in capsys.readouterr().out
