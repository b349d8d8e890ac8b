"""What a run leaves for its report never costs a training its result, and is never left out in silence."""

import json
import os

import pytest

from src.kinds import CLASSIFICATION
from src.report import page
from src.report.predictions import Predictions
from src.runtime import ALONE, Group
from src.train.report_files import keep_answers, keep_layers, keep_record, write_report
from src.train.run_folder import RunFolder
from tests.reports import LABELS, classes, write_run


class Described:
    kind, label_names = CLASSIFICATION, LABELS


class Trained:
    """A stage of which there is no micro-batch to look at."""

    name, last_batch, group, sink_steps = "quantized", None, ALONE, 0

    class loss_network:
        class terms:
            compares_layers = True


def test_answers_and_the_record_of_the_command_lie_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/train.py", "--seed", "3"])
    run, given = RunFolder(str(tmp_path)), classes()
    keep_record(run, "CPU", Group(0, 2), {"accuracy": 0.5})
    keep_answers(run, Described, given.logits, given.examples)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["command"] == ["train.py", "--seed", "3"] and record["teacher"] == {"accuracy": 0.5}
    assert record["processes"] == 2 and record["versions"]["numpy"].startswith("1.")
    assert Predictions.load(str(tmp_path / "predictions.npz")).labels == LABELS


def test_only_the_first_process_leaves_anything(tmp_path):
    run, given = RunFolder(str(tmp_path), writes=False), classes()
    keep_record(run, "CPU", ALONE, None)
    keep_answers(run, Described, given.logits, given.examples)
    Trained.run = run
    keep_layers(Trained)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fault", [RuntimeError("no\nfont"), OSError(28, "No space left on device")])
def test_a_report_that_cannot_be_drawn_is_said_in_a_line(tmp_path, monkeypatch, capsys, fault):
    monkeypatch.setattr(page.figures, "panel", lambda _: (_ for _ in ()).throw(fault))
    folder = write_run(tmp_path / "run")
    assert not write_report(RunFolder(str(folder)))
    said = capsys.readouterr().out
    assert said.startswith(f"report.html is not written: {type(fault).__name__}: ") and said.count("\n") == 1
    assert not (folder / "report.html").exists()
    monkeypatch.undo()
    assert write_report(RunFolder(str(folder))) and (folder / "report.html").exists()


def test_what_cannot_be_kept_is_said_in_a_line_each(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    run, given = RunFolder(str(tmp_path / "file")), classes()
    keep_record(run, "CPU", ALONE, None)
    keep_answers(run, Described, given.logits, given.examples)
    Trained.run = run
    keep_layers(Trained)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" is not written: ")[0] for line in lines] == [
        "run.json",
        "predictions.npz",
        "layers.json",
    ]
