"""The folder of one run: what it holds, and when."""

import fcntl
import json
import os

import pytest

from src.errors import UserError
from src.files import replacing
from src.run_folder import RunFolder
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
    (tmp_path / "run" / "results.json").write_text("{}")
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
    (used / "state.safetensors").write_text("state")
    RunFolder(str(used), resume=True).start("seed: 1\n", kept={"phase1": 2})
    assert [row["step"] for row in lines(used)] == [1, 2]
    RunFolder(str(used)).record(stage="phase1", step=3)
    assert [row["step"] for row in lines(used)] == [1, 2, 3]


def test_a_resumed_run_without_metrics_begins_them(tmp_path):
    (tmp_path / "stages.json").write_text("{}")
    RunFolder(str(tmp_path), resume=True).start("seed: 1\n", kept={"phase1": 2})
    assert lines(tmp_path) == []


def test_only_the_first_process_writes(used, tmp_path):
    for folder in (used, tmp_path / "new"):
        run = RunFolder(str(folder), writes=False)
        run.start("seed: 9\n")
        run.record(step=9)
        assert run.join("a", "b") == os.path.join(str(folder), "a", "b")
    assert len(lines(used)) == 3 and (used / "config.yaml").read_text() == "seed: 1\n"
    assert not (tmp_path / "new").exists()


def test_two_runs_do_not_share_a_folder_and_the_holder_is_named(tmp_path):
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    run = RunFolder(str(tmp_path))
    with pytest.raises(UserError) as error:
        run.start("seed: 1\n")
    words = (
        f"output_dir: another run is writing to {tmp_path} (process {os.getpid()}, ",
        "name another folder",
    )
    refuses(error, *words)
    assert os.listdir(tmp_path) == []
    os.close(other)  # as the system does when a process ends
    run.start("seed: 1\n")
    run.start("seed: 2\n")


NETWORKS = ("phase1/eval_model.ckpt", "sst-2/step_12.ckpt", "latent/mnli/eval_model.ckpt")
BESIDE = (
    "phase1/config.json",
    "phase1/vocab.txt",
    "stages.json",
    "state.safetensors",
    "report.html",
    "profile/a",
)
FOREIGN = ("notes.txt", "phase1/notes.txt", "teacher/eval_model.ckpt", "gd/config.json", "records/sst-2/rows")


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("left", [*NETWORKS, "stages.json", "state.safetensors", "gd/step_1.ckpt"])
def test_an_earlier_runs_results_are_not_replaced_unless_it_is_said(tmp_path, left):
    put(tmp_path, left, *FOREIGN)
    before = files_of(tmp_path)
    for start in (RunFolder(str(tmp_path)).claim, lambda: RunFolder(str(tmp_path)).start("seed: 1\n")):
        with pytest.raises(UserError) as error:
            start()
        refuses(error, "output_dir: ", left.split("/")[0], "--resume true", "--overwrite_output_dir true")
    assert files_of(tmp_path) == before
    with pytest.raises(UserError) as error:
        RunFolder(str(tmp_path), resume=True, overwrite=True).claim()
    refuses(error, "resume, overwrite_output_dir: ", "give only one of them")


def test_exactly_what_runs_write_is_replaced(tmp_path, capsys):
    put(tmp_path, *NETWORKS, *BESIDE, *FOREIGN)
    RunFolder(str(tmp_path), overwrite=True).start("seed: 1\n")
    assert files_of(tmp_path) == {"config.yaml", "metrics.jsonl", *FOREIGN}
    assert not (tmp_path / "latent").exists() and not (tmp_path / "sst-2").exists()
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and said.startswith(
        f"output_dir: replaces what an earlier run left in {tmp_path}: "
    )
    assert all(
        name in said for name in ("phase1", "sst-2", "latent/mnli", "stages.json", "state.safetensors")
    )


def test_a_network_that_a_run_reads_is_never_replaced(tmp_path):
    put(tmp_path, *NETWORKS)
    for options in ({}, {"overwrite": True}):
        run = RunFolder(str(tmp_path), inputs={"load_td1_ckpt_path": str(tmp_path / "phase1")}, **options)
        with pytest.raises(UserError) as error:
            run.claim()
        refuses(error, f"output_dir: {tmp_path / 'phase1'} is where load_td1_ckpt_path lies")
    assert files_of(tmp_path) == set(NETWORKS)


@pytest.mark.parametrize(
    "left,kept",
    [
        (("state.safetensors", *NETWORKS), True),
        (("stages.json", "results.json", *NETWORKS), True),
        (("config.yaml", *NETWORKS), False),  # killed before its first state
        (("config.yaml",), False),
    ],
)
def test_a_resumed_run_keeps_what_it_goes_on_from_and_nothing_of_one_that_left_no_state(tmp_path, left, kept):
    put(tmp_path, *left)
    RunFolder(str(tmp_path), resume=True).start("seed: 1\n")
    assert files_of(tmp_path) - {"config.yaml", "metrics.jsonl", "results.json"} == (
        {*left} - {"results.json"} if kept else set()
    )


@pytest.mark.parametrize("left", [("config.yaml", "results.json"), ()])
def test_networks_of_a_run_that_does_not_say_what_it_was_are_kept_from_a_resumed_one(tmp_path, left):
    put(tmp_path, *NETWORKS, *left)
    with pytest.raises(UserError) as error:
        RunFolder(str(tmp_path), resume=True).claim()
    refuses(error, "nothing there says how to go on with it", "--overwrite_output_dir true")
    assert files_of(tmp_path) == {*NETWORKS, *left}


def test_what_killed_processes_left_half_written_is_swept_out_and_what_is_being_written_is_not(tmp_path):
    put(
        tmp_path,
        ".writing-12345678-state.safetensors",
        "phase1/.writing-abcdefgh-x.tmp",
        "teacher_cache/.writing-a-b",
    )
    put(tmp_path, "records/.writing-abcdefgh-sst-2/rows", "other/.writing-12345678-x", ".writing.txt")
    with replacing(str(tmp_path / "sst-2" / "a.json")) as temporary:
        RunFolder(str(tmp_path)).claim()
        assert files_of(tmp_path) == {
            os.path.relpath(temporary, tmp_path),
            "other/.writing-12345678-x",
            ".writing.txt",
        }
