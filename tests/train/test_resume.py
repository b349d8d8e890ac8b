"""Whether a stopped run can go on, and from what."""

import json

import mindspore as ms
import numpy as np
import pytest

from src.checkpoint.folder import Checkpoint
from src.errors import UserError
from src.runtime import ALONE, Group
from src.train.resume import STATE_FILE, forget, go_on, made_from
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
