"""The folder of one run: what it holds, and when."""

import fcntl
import json
import os

import pytest

from src.errors import UserError
from src.train.run_folder import RunFolder
from tests.helpers import refuses


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def used(tmp_path):
    """The folder of a run that recorded three steps and ended."""
    run = RunFolder(str(tmp_path / "run"))
    run.start("seed: 1\n")
    for step in (1, 2, 3):
        run.record(stage="phase1", step=step, loss=1.0 / step)
    for name in ("results.json", "report.html", "predictions.npz", "layers.json"):
        (tmp_path / "run" / name).write_text("{}")
    return tmp_path / "run"


def test_a_run_starts_with_its_settings_and_empty_metrics(used):
    RunFolder(str(used)).start("seed: 2\n")
    assert (used / "config.yaml").read_text() == "seed: 2\n" and lines(used) == []
    assert sorted(os.listdir(used)) == ["config.yaml", "metrics.jsonl"]  # older results are not its own


def test_nothing_is_written_before_the_start(used, tmp_path):
    RunFolder(str(used))
    RunFolder(str(tmp_path / "new"))
    assert len(lines(used)) == 3 and (used / "results.json").exists() and not (tmp_path / "new").exists()


def test_records_are_lines_of_json_with_their_time(used):
    assert [(row["stage"], row["step"], row["loss"]) for row in lines(used)][1] == ("phase1", 2, 0.5)
    assert all(isinstance(row["time"], float) for row in lines(used))


def test_a_resumed_run_keeps_the_lines_up_to_its_step(used):
    with open(used / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"stage": "phase1", "st')  # the process was killed here
    RunFolder(str(used)).start("seed: 1\n", kept={"phase1": 2})
    kept = ["config.yaml", "layers.json", "metrics.jsonl", "predictions.npz"]
    assert [row["step"] for row in lines(used)] == [1, 2] and sorted(os.listdir(used)) == kept
    RunFolder(str(used)).record(stage="phase1", step=3)
    assert [row["step"] for row in lines(used)] == [1, 2, 3]


def test_a_resumed_run_without_metrics_begins_them(tmp_path):
    RunFolder(str(tmp_path)).start("seed: 1\n", kept={"phase1": 2})
    assert lines(tmp_path) == []


def test_only_the_first_process_writes(used, tmp_path):
    for folder in (used, tmp_path / "new"):
        run = RunFolder(str(folder), writes=False)
        run.start("seed: 9\n")
        run.record(step=9)
        assert run.join("a", "b") == os.path.join(str(folder), "a", "b")
    assert len(lines(used)) == 3 and (used / "config.yaml").read_text() == "seed: 1\n"
    assert not (tmp_path / "new").exists()


def test_two_runs_do_not_share_a_folder(tmp_path):
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    run = RunFolder(str(tmp_path))
    with pytest.raises(UserError) as error:
        run.start("seed: 1\n")
    refuses(error, f"output_dir: another run is writing to {tmp_path}", "name another folder")
    assert os.listdir(tmp_path) == []
    os.close(other)  # as the system does when a process ends
    run.start("seed: 1\n")
    run.start("seed: 2\n")
