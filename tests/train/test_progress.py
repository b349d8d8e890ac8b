"""The bar of a stage, the lines of its log, and how long it says that it will take."""

import json
import time
from types import SimpleNamespace

import pytest

from src import terminal
from src.run_folder import RunFolder
from src.runtime import Group
from src.train.callbacks import Callback
from src.train.progress import Progress, outputs


class FakeStage:
    """Losses that say which step they are of."""

    name, epoch, group, advance = "phase2", 1, Group(), 1
    batches = SimpleNamespace(tokens=100.0)

    def __init__(self, folder, steps):
        self.run, self.total_steps, self.step_number, self.asked = RunFolder(str(folder)), steps, 0, []
        self.run.start("seed: 1\n")

    def read_step(self):
        return {"loss": 1 / self.step_number, "soft_loss": 2 / 3, "learning_rate": 1e-3, "grad_norm": 1.5}

    def read_now(self):
        self.asked.append(self.step_number)
        return 1 / self.step_number, 1e-3

    def go(self, progress, *others, seconds=0.0):
        for step in range(1, self.total_steps + 1):
            time.sleep(seconds)
            self.step_number = step
            for callback in (progress, *others, progress.after):
                callback.on_step(self, step)
        progress.close()


@pytest.fixture
def stage_of(tmp_path):
    return lambda steps: FakeStage(tmp_path, steps)


@pytest.mark.parametrize("norm, overflow", [(1.5, "False"), (float("inf"), "True"), (float("nan"), "True")])
def test_on_ascend_the_outputs_are_the_published_tuple(norm, overflow):
    values = {"loss": 28.2093, "hidden_loss": 3.0, "grad_norm": norm, "loss_scale": 65536.0}
    assert outputs(values, "Ascend") == (
        f"(Tensor(shape=[1], dtype=Float32, 28.2093), Tensor(shape=[], dtype=Bool, {overflow}), "
        "Tensor(shape=[], dtype=Float32, 65536)), hidden_loss: 3"
    )
    assert outputs(values, "GPU") == "28.2093, hidden_loss: 3"


def test_first_last_and_every_log_steps_losses_are_written_short_here_and_in_full_there(
    stage_of, capsys, tmp_path
):
    stage_of(6).go(Progress(4))
    with open(tmp_path / "metrics.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert [row["step"] for row in rows] == [1, 4, 6] and rows[1]["stage"] == "phase2"
    assert rows[1]["loss"] == 0.25 and rows[1]["soft_loss"] == 2 / 3 and rows[1]["grad_norm"] == 1.5
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1] == (
        "epoch: 1, step: 4, outputs are 0.25, soft_loss: 0.6667, learning_rate: 0.001"
    )
    assert len(captured.out.splitlines()) == 3 and captured.err == ""


def test_the_bar_shows_the_present_loss_and_not_the_logs(stage_of, monkeypatch, capsys):
    monkeypatch.setattr("src.train.progress.LINE_SECONDS", 0.02)
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.02)
    stage, progress = stage_of(10), Progress(100)
    stage.go(progress, seconds=0.03)
    assert stage.asked == list(range(2, 10))  # the first and the last are logged
    lines = capsys.readouterr().err.splitlines()
    line = next(line for line in lines if line.startswith("phase2: 5/10 steps, 50 %"))
    assert "loss 0.2, lr 0.001, " in line and line.endswith(" tokens/s")
    speed = float(line.split()[-2].replace(",", ""))
    assert 100 / 0.06 < speed < 100 / 0.03  # 100 tokens in a step of 0.03 s and a little


def test_evaluation_and_compiling_are_no_part_of_the_speed(tmp_path, monkeypatch, capsys):
    class Slow(Callback):
        def on_step(self, stage, step):
            time.sleep(0.2 if step == 5 else 0)

    class Compiling(FakeStage):
        @property
        def step_number(self):
            return self._step

        @step_number.setter
        def step_number(self, step):
            self._step = step
            time.sleep(0.3 if step == 3 else 0)  # a graph for another length

    monkeypatch.setattr(
        "src.train.progress.compile_seconds", lambda: 1.0 + (0.3 if stage.step_number >= 3 else 0)
    )
    monkeypatch.setattr(Progress, "SETTLED", 8)
    monkeypatch.setattr("src.train.progress.LINE_SECONDS", 0.0)
    stage = Compiling(tmp_path, 30)
    stage.go(Progress(100), Slow(), seconds=0.01)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " s a step" in line]
    words = line.split()
    assert words[:5] == ["phase2:", words[1], "s", "a", "step,"] and 0.01 < float(words[1]) < 0.03
    assert "about 00:00 for the 21 steps left, without evaluation; " in line
    assert line.endswith(" MiB of memory until now")


def test_a_short_run_is_not_told_how_long_it_takes(stage_of, capsys):
    stage_of(60).go(Progress(100))
    assert " s a step" not in capsys.readouterr().out
