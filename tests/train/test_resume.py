"""Whether a stopped run can go on, and from what."""

import json
import math
import os

import mindspore as ms
import numpy as np
import pytest
import safetensors.numpy

from src.checkpoint.folder import digest
from src.checksums import write_sealed
from src.errors import UserError, one_line
from src.run_folder import STATE_FILE, RunFolder
from src.runtime import ALONE, Group
from src.train.resume import (
    FinishedStages,
    corpus_digest,
    deciding,
    inputs_of,
    read_note,
    read_state,
    repeatable,
    write_state,
)
from tests.helpers import refuses


def test_a_corpus_is_told_by_its_files_names_and_bytes(tmp_path):
    for folder, name, rows in (
        ("one", "a", b"rows"),
        ("two", "a", b"rows"),
        ("two", "b", b"rows"),
        ("3", "a", b"r"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(rows)
    made = [corpus_digest([str(tmp_path / path)]) for path in ("one/a", "two/a", "two/b", "3/a")]
    assert made[0] == made[1] and len({*made}) == 3


class TaskStage:
    """A stage that only knows what it is: one of a task's two phases."""

    step_number, total_steps = 0, 10

    def __init__(self, folder, name, group=ALONE):
        self.run, self.group, self.name = RunFolder(str(folder)), group, name

    def fingerprint(self):
        return {**MADE, "stage": self.name}

    def read_step(self):
        return {"loss": 0.25}

    def load_state(self, path):
        self.step_number = 4
        return {"accuracy": 0.5}


MADE = {"seed": 1, "the rows": "abc"}
NOTE = {**MADE, "stage": "phase1", "step": 4, "best": None, "first_loss": 2.5, "spans": [(0, 0)]}


def saved_state(folder, stage="phase1", **changes):
    write_state(str(folder / STATE_FILE), {**NOTE, "stage": stage, **changes}, {"x": np.zeros(1)})


def student_in(folder, name):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "eval_model.ckpt").write_text("weights")
    return str(folder / name)


def test_a_finished_phase_is_not_run_again_and_a_left_over_state_of_it_is_removed(tmp_path, capsys):
    first = TaskStage(tmp_path, "phase1")
    begun = FinishedStages(RunFolder(str(tmp_path)))
    assert not begun.go_on(first, student_in(tmp_path, "phase1"), None)
    begun.note(first, {"accuracy": 0.75})
    assert begun.last_step(first) == {"loss": 0.25}
    saved_state(tmp_path)  # it was killed before this was removed
    again = FinishedStages(RunFolder(str(tmp_path), resume=True))
    assert again.check(MADE, ALONE) is False and again.last_steps() == {"phase1": math.inf}
    assert again.go_on(first, str(tmp_path / "phase1"), None) and again.results(first) == {"accuracy": 0.75}
    assert not (tmp_path / STATE_FILE).exists()
    saved_state(tmp_path, "phase2")
    assert again.go_on(first, str(tmp_path / "phase1"), None) and (tmp_path / STATE_FILE).exists()
    os.remove(tmp_path / STATE_FILE)
    assert not again.go_on(TaskStage(tmp_path, "phase2"), str(tmp_path / "phase2"), None)
    assert "phase2 was not begun" in capsys.readouterr().out


def test_a_stopped_phase_goes_on_with_its_best_results(tmp_path):
    saved_state(tmp_path)
    stages, stage, evaluation = (
        FinishedStages(RunFolder(str(tmp_path), resume=True)),
        TaskStage(tmp_path, "phase1"),
        Best(),
    )
    assert stages.check(MADE, ALONE) is False and stages.last_steps() == {"phase1": 4}
    assert not stages.go_on(stage, str(tmp_path / "phase1"), evaluation)
    assert stage.step_number == 4 and evaluation.best == {"accuracy": 0.5}


class Best:
    best = None


@pytest.mark.parametrize("left", ["state", "stages", "results", "record"])
def test_what_another_run_left_is_not_replaced_but_told(tmp_path, left):
    run = RunFolder(str(tmp_path), resume=True, networks=("phase1",))
    if left == "state":
        saved_state(tmp_path, seed=2)
    elif left == "stages":
        finished = {"made": {**MADE, "seed": 2}, "results": None, "last_step": {}}
        write_sealed(str(tmp_path / "stages.json"), {"phase1": finished})
    else:
        student_in(tmp_path, "phase1")
        name = "results.json" if left == "results" else "run.json"
        (tmp_path / name).write_text(json.dumps({"made_from": {**MADE, "seed": 2}}))
    with pytest.raises(UserError) as error:
        FinishedStages(run).check(MADE, ALONE)
    refuses(error, "resume:", "was made with seed 2, now it is 1", "--overwrite_output_dir true")


def test_a_run_with_its_own_results_is_finished(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"made_from": MADE}))
    assert FinishedStages(RunFolder(str(tmp_path), resume=True)).check(MADE, ALONE) is True


def test_only_settings_that_decide_must_be_the_same():
    made = deciding("seed: 1\noutput_dir: a\nlog_step: 5\nphase1_cfg:\n  batch_size: 8\n  words: [a, b]\n")
    assert made == {"seed": 1, "phase1_cfg.batch_size": 8, "phase1_cfg.words": ["a", "b"]}


@pytest.mark.parametrize("key", ["resume", "overwrite_output_dir"])
def test_what_one_start_may_do_to_an_earlier_run_is_not_repeated(key):
    assert repeatable(f"seed: 1\n{key}: true\nphase1_cfg:\n  {key}: x\n名: 'on'\n") == (
        f"seed: 1\nphase1_cfg:\n  {key}: x\n名: 'on'\n"
    )


@pytest.mark.parametrize("others", [(0, 2), (1, 2), (0, 0)])
def test_processes_that_find_different_things_do_not_start(tmp_path, monkeypatch, others):
    """This one finds a state (1), the others nothing (0) or a finished stage (2)."""
    saved_state(tmp_path)
    theirs = np.float32([0, *others])
    monkeypatch.setattr(ms.ops, "AllReduce", lambda: lambda mine: ms.Tensor(mine.asnumpy() + theirs))
    stages = FinishedStages(RunFolder(str(tmp_path), resume=True))
    with pytest.raises(UserError) as error:
        stages.go_on(TaskStage(tmp_path, "phase1", Group(0, 3)), str(tmp_path / "phase1"), None)
    refuses(error, "resume: not every process of the job finds the same", str(tmp_path), STATE_FILE)


def test_only_the_first_process_writes_what_is_finished(tmp_path):
    saved_state(tmp_path)
    for writes in (False, True):
        FinishedStages(RunFolder(str(tmp_path), writes)).note(TaskStage(tmp_path, "phase1"), None)
        assert (tmp_path / "stages.json").exists() is writes is not (tmp_path / STATE_FILE).exists()


def refused_stages(folder):
    with pytest.raises(UserError) as error:
        FinishedStages(RunFolder(str(folder), resume=True))
    refuses(error, "resume: the note of finished stages", "stages.json", "--overwrite_output_dir true")
    return one_line(error.value)


FINISHED = {"made": MADE, "results": {"accuracy": 0.75}, "last_step": {"loss": 0.25}}


@pytest.mark.parametrize(
    "finished, words",
    [
        (1, "must be an object"),
        ({**FINISHED, "made": []}, "made must be an object"),
        ({"made": MADE, "last_step": {}}, "lacks results"),
        ({**FINISHED, "results": {"accuracy": "0.75"}}, "results[...] must be"),
        ({**FINISHED, "last_step": None}, "last_step must be an object"),
    ],
)
def test_notes_of_finished_stages_have_a_shape(tmp_path, finished, words):
    write_sealed(str(tmp_path / "stages.json"), {"phase1": finished})
    assert words in refused_stages(tmp_path)


def test_no_changed_bit_of_a_finished_stage_is_believed(tmp_path):
    stage, path = TaskStage(tmp_path, "phase1"), tmp_path / "stages.json"
    FinishedStages(RunFolder(str(tmp_path))).note(stage, {"accuracy": 0.75})
    data = path.read_bytes()
    for place, byte in enumerate(data):
        path.write_bytes(data[:place] + bytes([byte ^ 1]) + data[place + 1 :])
        try:
            assert FinishedStages(RunFolder(str(tmp_path), resume=True)).results(stage) == {"accuracy": 0.75}
        except UserError as error:
            assert one_line(error).startswith("resume: the note of finished stages")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"phase1": 1}'])
def test_what_is_no_note_of_finished_stages_is_told(tmp_path, content):
    (tmp_path / "stages.json").write_text(content)
    refused_stages(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"made_from": [1]}'])
@pytest.mark.parametrize("name", ["results.json", "run.json"])
def test_damaged_records_of_a_run_are_said_and_left_out(tmp_path, capsys, name, content):
    saved_state(tmp_path)
    (tmp_path / name).write_text(content)
    assert FinishedStages(RunFolder(str(tmp_path), resume=True)).check(MADE, ALONE) is False
    assert f"resume: left out: an earlier run's file {tmp_path / name}" in capsys.readouterr().out


def test_a_changed_byte_of_a_state_is_noticed(tmp_path):
    path = tmp_path / STATE_FILE
    write_state(str(path), {**NOTE, "spans": [(0, 1)]}, {"x": np.arange(5.0)})
    note, values = read_state(str(path))
    assert values["x"].tolist() == [0, 1, 2, 3, 4] and note["spans"] == [(0, 1)] and note["seed"] == 1
    path.write_bytes(path.read_bytes()[:-3] + b"\1" + path.read_bytes()[-2:])
    with pytest.raises(UserError) as error:
        read_state(str(path))
    refuses(error, STATE_FILE, "is damaged", "its checksum differs")


def test_no_changed_bit_of_a_state_is_believed(tmp_path):
    saved_state(tmp_path)
    path = tmp_path / STATE_FILE
    data, expected = path.read_bytes(), read_state(str(path))
    for place, byte in enumerate(data):
        path.write_bytes(data[:place] + bytes([byte ^ 1]) + data[place + 1 :])
        for read, right in ((read_state, expected), (read_note, expected[0])):
            try:
                assert read(str(path)) == right
            except UserError as error:
                assert one_line(error).startswith(f"resume: {path} is damaged")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"step": 1.5}, "step must be a whole number"),
        ({"first_loss": [2.5]}, "first_loss must be a number or null"),
        ({"spans": []}, "spans"),
        ({"spans": [(0, -1)]}, "spans[0][1] must be a whole number of at least 0"),
        ({"best": {"accuracy": "0.5"}}, "best[...] must be"),
        ({"stage": None}, "stage must be a text"),
    ],
)
def test_a_states_note_has_a_shape(tmp_path, changes, words):
    write_state(str(tmp_path / STATE_FILE), {**NOTE, **changes}, {})
    with pytest.raises(UserError) as error:
        read_note(str(tmp_path / STATE_FILE))
    refuses(error, "resume:", STATE_FILE, words)


def test_a_state_whose_note_has_no_checksum_is_told(tmp_path):
    path = str(tmp_path / STATE_FILE)
    safetensors.numpy.save_file({}, path, {"state": json.dumps({**NOTE, "sha256": digest({})})})
    with pytest.raises(UserError) as error:
        read_note(path)
    refuses(error, "resume:", STATE_FILE, "it lacks 'sha256'")


def test_what_a_run_reads_is_known_from_its_settings():
    given = "data_dir: a\nload_ckpt_path: b\nvocab_file: ''\noutput_dir: c\nseed: 1\n"
    assert inputs_of(given) == {"data_dir": "a", "load_ckpt_path": "b"}
