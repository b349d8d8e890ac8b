"""Whether a stopped run can go on, and from what."""

import json
import math

import mindspore as ms
import numpy as np
import pytest

from src.checkpoint.folder import Checkpoint
from src.errors import UserError
from src.files import write_safetensors
from src.runtime import ALONE, Group
from src.train.resume import STATE_FILE, FinishedStages, deciding, forget, go_on, made_from
from src.train.run_folder import RunFolder
from tests.helpers import describe, refuses, tiny_network, weights_of

PRINT = {"stage": "gd", "total_steps": 10, "seed": 42}


class Stage:
    """A stage that only knows what it is."""

    step_number, total_steps = 0, 10

    def __init__(self, folder, group=ALONE):
        self.run, self.group = RunFolder(str(folder)), group

    def fingerprint(self):
        return PRINT

    def load_state(self, path):
        self.step_number = json.loads(open(path, encoding="utf-8").read())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "gd").mkdir()
    return tmp_path


def resumed(folder, group=ALONE):
    stage = Stage(folder, group)
    return go_on(stage, str(folder / "gd")), stage.step_number


def test_a_run_goes_on_from_its_state_or_begins_anew(folder, capsys):
    assert resumed(folder) == (False, 0)
    assert f"there is no {folder / STATE_FILE}, so training begins anew" in capsys.readouterr().out
    (folder / STATE_FILE).write_text("4")
    assert resumed(folder) == (False, 4) and "resumed after step 4 of 10" in capsys.readouterr().out


@pytest.mark.parametrize(
    "results, weights, finished",
    [
        ({"resumed_with": PRINT}, True, True),
        ({"resumed_with": PRINT}, False, False),
        ({"resumed_with": {**PRINT, "seed": 1}}, True, False),
        ({}, True, False),
        (None, True, False),  # the run was stopped while it wrote them
    ],
)
def test_a_run_is_finished_when_its_own_results_and_student_are_there(
    folder, capsys, results, weights, finished
):
    (folder / "results.json").write_text('{"resu' if results is None else json.dumps(results))
    if weights:
        (folder / "gd" / "eval_model.ckpt").write_text("weights")
    assert resumed(folder)[0] is finished
    assert ("this run is finished" in capsys.readouterr().out) is finished


@pytest.mark.parametrize("others", [(0, 2), (1, 2), (0, 0)])
def test_processes_that_find_different_things_do_not_start(folder, monkeypatch, others):
    """This one finds a state (1), the others nothing (0) or a finished run (2)."""
    (folder / STATE_FILE).write_text("4")
    theirs = np.float32([0, *others])
    monkeypatch.setattr(ms.ops, "AllReduce", lambda: lambda mine: ms.Tensor(mine.asnumpy() + theirs))
    with pytest.raises(UserError) as error:
        resumed(folder, Group(0, 3))
    refuses(error, "resume: not every process of the job finds the same", str(folder), STATE_FILE)


def test_what_a_run_is_made_from_changes_with_every_part_of_it(tmp_path):
    network = tiny_network(1, labels=2, num_hidden_layers=1)
    teacher = Checkpoint(weights_of(network), describe(network))
    student = Checkpoint(weights_of(tiny_network(2, labels=2, num_hidden_layers=1)), describe(network))
    (tmp_path / "a").write_bytes(b"rows")
    (tmp_path / "b").write_bytes(b"more")
    settings = {"seed": 1, "gd_cfg": {"batch_size": 8, "optimizer_cfg": {"filter": ("bias",)}}}
    files = [str(tmp_path / "a")]
    plain = made_from(settings, teacher, None, files)
    assert plain["gd_cfg.batch_size"] == 8 and plain["gd_cfg.optimizer_cfg.filter"] == ["bias"]
    assert plain == json.loads(json.dumps(plain)) == made_from(settings, teacher, None, files)
    for other, changed in (
        (made_from({**settings, "seed": 2}, teacher, None, files), "seed"),
        (made_from(settings, student, None, files), "the teacher's weights"),
        (made_from(settings, teacher, student, files), "the student's first weights"),
        (made_from(settings, teacher, None, [str(tmp_path / "b")]), "the corpus"),
    ):
        assert [key for key in plain if plain[key] != other[key]] == [changed]


def test_only_the_first_process_removes_the_state(folder):
    (folder / STATE_FILE).write_text("4")
    forget(RunFolder(str(folder), writes=False))
    assert (folder / STATE_FILE).exists()
    for _ in range(2):
        forget(RunFolder(str(folder)))
        assert not (folder / STATE_FILE).exists()


class TaskStage(Stage):
    """One of a task's two phases."""

    def __init__(self, folder, name, group=ALONE):
        super().__init__(folder, group)
        self.name = name

    def fingerprint(self):
        return {**MADE, "stage": self.name}

    def load_state(self, path):
        self.step_number = 4
        return {"accuracy": 0.5}


MADE = {"seed": 1, "the rows": "abc"}


def saved_state(folder, stage="phase1", **changes):
    note = {**MADE, "stage": stage, "step": 4, "best": None, **changes}
    write_safetensors(str(folder / STATE_FILE), {"x": np.zeros(1)}, {"state": json.dumps(note)})


def student_in(folder, name):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "eval_model.ckpt").write_text("weights")
    return str(folder / name)


def test_a_finished_phase_is_not_run_again_and_a_left_over_state_of_it_is_ignored(tmp_path, capsys):
    run, first = RunFolder(str(tmp_path)), TaskStage(tmp_path, "phase1")
    begun = FinishedStages(run, resume=False)
    assert not begun.go_on(first, student_in(tmp_path, "phase1"), None)
    begun.note(first, {"accuracy": 0.75})
    saved_state(tmp_path)  # it was killed before this was removed
    again = FinishedStages(run, resume=True)
    assert again.check(MADE, ALONE) is False and again.last_steps() == {"phase1": math.inf}
    assert again.go_on(first, str(tmp_path / "phase1"), None) and again.results(first) == {"accuracy": 0.75}
    assert not again.go_on(TaskStage(tmp_path, "phase2"), str(tmp_path / "phase2"), None)
    assert "phase2 was not begun" in capsys.readouterr().out


def test_a_stopped_phase_goes_on_with_its_best_results(tmp_path):
    saved_state(tmp_path)
    stages, stage, evaluation = (
        FinishedStages(RunFolder(str(tmp_path)), True),
        TaskStage(tmp_path, "phase1"),
        Best(),
    )
    assert stages.check(MADE, ALONE) is False and stages.last_steps() == {"phase1": 4}
    assert not stages.go_on(stage, str(tmp_path / "phase1"), evaluation)
    assert stage.step_number == 4 and evaluation.best == {"accuracy": 0.5}


class Best:
    best = None


@pytest.mark.parametrize("left", ["state", "stages", "results"])
def test_what_another_run_left_is_not_replaced_but_told(tmp_path, left):
    run = RunFolder(str(tmp_path))
    if left == "state":
        saved_state(tmp_path, seed=2)
    elif left == "stages":
        (tmp_path / "stages.json").write_text(
            json.dumps({"phase1": {"made": {**MADE, "seed": 2}, "results": None}})
        )
    else:
        (tmp_path / "results.json").write_text(json.dumps({"made_from": {**MADE, "seed": 2}}))
    with pytest.raises(UserError) as error:
        FinishedStages(run, True).check(MADE, ALONE)
    refuses(error, "resume:", "was made with seed 2, now it is 1", "--resume false")
    FinishedStages(run, False).forget()
    assert sorted(path.name for path in tmp_path.iterdir()) == (["results.json"] if left == "results" else [])


def test_a_run_with_its_own_results_is_finished(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"made_from": MADE}))
    assert FinishedStages(RunFolder(str(tmp_path)), True).check(MADE, ALONE) is True


def test_only_settings_that_decide_must_be_the_same():
    made = deciding("seed: 1\noutput_dir: a\nlog_step: 5\nphase1_cfg:\n  batch_size: 8\n  words: [a, b]\n")
    assert made == {"seed": 1, "phase1_cfg.batch_size": 8, "phase1_cfg.words": ["a", "b"]}
