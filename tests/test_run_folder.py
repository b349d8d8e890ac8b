"""The folder of one run: what it holds, and when."""

import errno
import fcntl
import json
import os

import pytest

from src.errors import UserError, command
from src.files import _HOST, locked, replacing, write_text
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


DAMAGED = {
    "no UTF-8": b'{"time": 1.0, "stage": "phase1", "step": 1, "l\xb1ss": 1.0}',
    "no JSON": b'{"time": 1.0, "stage": "phase1", "step": 1, "loss": 1.0',
    "a list": b"[1]",
    "no time": b'{"stage": "phase1", "step": 1, "loss": 1.0}',
    "half a step": b'{"time": 1.0, "stage": "phase1", "step": 1.5, "loss": 1.0}',
    "a text as loss": b'{"time": 1.0, "stage": "phase1", "step": 1, "loss": "1.0"}',
    "half a character": b'{"time": 1.0, "stage": "phase1", "step": 1, "\\ud800": 1.0}',
    "a stage without name": b'{"time": 1.0, "stage": null, "step": 1, "loss": 1.0}',
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("tensorboard", [False, True])
def test_a_resumed_run_leaves_damaged_lines_out_and_says_so(used, capsys, line, tensorboard):
    if tensorboard:
        pytest.importorskip("tensorboardX")
    path = used / "metrics.jsonl"
    first, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, line + b"\n", *others]))
    (used / "state.safetensors").write_text("state")
    run = RunFolder(str(used), resume=True, tensorboard=tensorboard)
    run.start("seed: 1\n", kept={"phase1": 2})
    assert [row["step"] for row in lines(used)] == [1, 2] and path.read_bytes() == first + others[0]
    assert f"resume: left out of {path}: line 2, no record" in capsys.readouterr().out


def test_a_last_line_without_its_end_counts_where_it_is_whole(used, capsys):
    path = used / "metrics.jsonl"
    before = path.read_bytes()
    path.write_bytes(before[:-1])
    (used / "state.safetensors").write_text("state")
    RunFolder(str(used), resume=True).start("seed: 1\n", kept={"phase1": 9})
    assert path.read_bytes() == before and "left out" not in capsys.readouterr().out


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


FOLDERS = ("phase1", "sst-2", "latent/sst-2")
NETWORKS = ("phase1/eval_model.ckpt", "sst-2/step_12.ckpt", "latent/sst-2/eval_model.ckpt")
BEGUN = ("config.yaml", "metrics.jsonl")
BESIDE = (
    "phase1/config.json",
    "phase1/vocab.txt",
    "stages.json",
    "state.safetensors",
    "report.html",
    "profile/a",
)
FOREIGN = (
    *("notes.txt", "phase1/notes.txt", "teacher/eval_model.ckpt", "gd/config.json", "records/sst-2/rows"),
    *("mnli/eval_model.ckpt", "latent/mnli/eval_model.ckpt"),  # another task's
)


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def run_in(folder, **options):
    return RunFolder(str(folder), networks=FOLDERS, **options)


@pytest.mark.parametrize("left", [*NETWORKS, "stages.json", "state.safetensors"])
def test_an_earlier_runs_results_are_not_replaced_unless_it_is_said(tmp_path, left):
    put(tmp_path, left, *FOREIGN)
    before = files_of(tmp_path)
    for start in (run_in(tmp_path).claim, lambda: run_in(tmp_path).start("seed: 1\n")):
        with pytest.raises(UserError) as error:
            start()
        refuses(error, "output_dir: ", left.split("/")[0], "--resume true", "--overwrite_output_dir true")
    assert files_of(tmp_path) == before
    with pytest.raises(UserError) as error:
        run_in(tmp_path, resume=True, overwrite=True).claim()
    refuses(error, "resume, overwrite_output_dir: ", "give only one of them")


@pytest.mark.parametrize("begun", [(), BEGUN])
def test_exactly_what_runs_write_is_replaced(tmp_path, capsys, begun):
    put(tmp_path, *begun, *NETWORKS, *BESIDE, *FOREIGN)
    run_in(tmp_path, overwrite=True).start("seed: 1\n")
    assert files_of(tmp_path) == {*BEGUN, *FOREIGN}
    assert not (tmp_path / "latent" / "sst-2").exists() and not (tmp_path / "sst-2").exists()
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and said.startswith(
        f"output_dir: replaces what an earlier run left in {tmp_path}: "
    )
    assert all(
        name in said for name in ("phase1", "sst-2", "latent/sst-2", "stages.json", "state.safetensors")
    )


RECORDS = ("results.json", "run.json", "report.html", "layers.json")
OTHERS = ("profile/mine/a.txt", "mnli/eval_model.ckpt", "phase1/notes.txt")


@pytest.mark.parametrize("stages", [(), ("stages.json",)])
def test_records_of_a_run_without_networks_here_are_replaced_and_it_is_said(tmp_path, capsys, stages):
    """A run that only evaluated, or one of another task."""
    put(tmp_path, *BEGUN, *RECORDS, *stages, *OTHERS)
    run_in(tmp_path).start("seed: 1\n")
    assert files_of(tmp_path) == {*BEGUN, *OTHERS}
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and all(name in said for name in (*BEGUN, *RECORDS, *stages))


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("left", [*RECORDS, *BEGUN, "events.out.tfevents.1.mine"])
def test_what_no_run_proves_to_have_written_is_not_replaced_unless_it_is_said(tmp_path, capsys, left, resume):
    put(tmp_path, left, *OTHERS)
    resume = resume and left != "config.yaml"  # what a run leaves that is killed as it begins
    with pytest.raises(UserError) as error:
        run_in(tmp_path, resume=resume).start("seed: 1\n")
    refuses(error, f"output_dir: {tmp_path} holds {left}, which would be replaced", "--overwrite_output_dir")
    assert files_of(tmp_path) == {left, *OTHERS} and capsys.readouterr().out == ""
    run_in(tmp_path, overwrite=True).start("seed: 1\n")
    assert left in capsys.readouterr().out


def test_the_users_own_files_do_not_keep_a_run_from_a_folder(tmp_path, capsys):
    put(tmp_path, *OTHERS)
    run_in(tmp_path).start("seed: 1\n")
    assert files_of(tmp_path) == {*BEGUN, *OTHERS} and capsys.readouterr().out == ""


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"resume": True}])
@pytest.mark.parametrize("name", ["phase1", "sst-2"])
def test_where_a_run_reads_it_does_not_write(tmp_path, options, name):
    put(tmp_path, *NETWORKS, "state.safetensors")
    inputs = {"load_td1_ckpt_path": str(tmp_path / name)}
    with pytest.raises(UserError) as error:
        run_in(tmp_path, inputs=inputs, **options).claim()
    refuses(error, f"output_dir: {tmp_path / name} is where load_td1_ckpt_path lies")
    assert files_of(tmp_path) == {*NETWORKS, "state.safetensors"}


def test_phase_2_begins_where_an_earlier_run_ended_with_phase_1(tmp_path):
    put(tmp_path, *BEGUN, "results.json", "stages.json", "phase1/eval_model.ckpt")
    inputs = {"load_td1_ckpt_path": str(tmp_path / "phase1")}
    RunFolder(str(tmp_path), networks=("sst-2",), inputs=inputs).start("seed: 1\n")
    assert files_of(tmp_path) == {*BEGUN, "phase1/eval_model.ckpt"}


@pytest.mark.parametrize(
    "left,kept",
    [
        (("state.safetensors", *NETWORKS), True),
        (("stages.json", "results.json", *NETWORKS), True),
        (("config.yaml",), False),  # killed before its first state
        (BEGUN, False),
    ],
)
def test_a_resumed_run_keeps_what_it_goes_on_from_and_nothing_of_one_that_left_no_state(tmp_path, left, kept):
    put(tmp_path, *left)
    run = run_in(tmp_path, resume=True)
    assert run.replaced() == []
    run.start("seed: 1\n")
    assert files_of(tmp_path) - {*BEGUN, "results.json"} == ({*left} - {"results.json"} if kept else set())


@pytest.mark.parametrize("left", [("config.yaml", "results.json"), ("config.yaml",), ()])
def test_networks_of_a_run_that_does_not_say_what_it_was_are_kept_from_a_resumed_one(tmp_path, left):
    put(tmp_path, *NETWORKS, *left)
    with pytest.raises(UserError) as error:
        run_in(tmp_path, resume=True).claim()
    refuses(error, "nothing there says how to go on with it", "--overwrite_output_dir true")
    assert files_of(tmp_path) == {*NETWORKS, *left}


@pytest.mark.parametrize("record,known", [('{"made_from": {"seed": 1}}', True), ("{}", False), ("[]", False)])
def test_a_run_that_was_killed_between_its_first_network_and_its_first_state_is_known_by_its_record(
    tmp_path, record, known
):
    put(tmp_path, *BEGUN, *NETWORKS)
    (tmp_path / "run.json").write_text(record)
    run = run_in(tmp_path, resume=True)
    assert run.goes_on is known
    if known:
        run.start("seed: 1\n", kept={})
        assert files_of(tmp_path) == {*BEGUN, *NETWORKS, "run.json"} and lines(tmp_path) == []
    else:
        with pytest.raises(UserError):
            run.claim()
    assert not RunFolder(str(tmp_path), resume=True).goes_on  # without networks it begins anew


def test_a_folder_elsewhere_is_as_well_kept_and_named_by_its_setting(tmp_path, capsys):
    folder = tmp_path / "student"
    put(folder, "eval_model.ckpt", "notes.txt")

    def run(**options):
        return RunFolder(str(tmp_path / "run"), elsewhere={"save_ckpt_path": str(folder)}, **options)

    with pytest.raises(UserError) as error:
        run().claim()
    refuses(error, f"save_ckpt_path: {folder} holds an earlier run's results (eval_model.ckpt)")
    with pytest.raises(UserError) as error:
        run(overwrite=True, inputs={"load_gd_ckpt_path": str(folder)}).claim()
    refuses(error, f"save_ckpt_path: {folder} is where load_gd_ckpt_path lies")
    assert not (tmp_path / "run").exists()
    run(overwrite=True).start("seed: 1\n")
    assert files_of(folder) == {"notes.txt"} and str(folder) in capsys.readouterr().out
    other = tmp_path / "other"
    other.mkdir()
    with locked(str(other)), pytest.raises(UserError) as error:
        RunFolder(str(tmp_path / "run"), elsewhere={"save_ckpt_path": str(other)}).claim()
    refuses(error, f"save_ckpt_path: another run is writing to {other}")


def test_a_file_in_a_networks_place_is_told(tmp_path):
    put(tmp_path, "phase1")
    with pytest.raises(UserError) as error:
        run_in(tmp_path).claim()
    refuses(error, f"output_dir: {tmp_path / 'phase1'} is a file")


@pytest.mark.parametrize("writes", [False, True])
def test_a_new_folder_is_locked_before_the_start_and_goes_again_if_nothing_is_written(tmp_path, writes):
    path = tmp_path / "new" / "run"

    @command
    def main():
        run_in(path).claim()
        with pytest.raises(BlockingIOError), locked(str(path)):
            pass
        if writes:
            put(path, "config.yaml")
        raise UserError("refused")

    with pytest.raises(SystemExit):
        main()
    assert path.exists() is (tmp_path / "new").exists() is writes


def test_a_file_system_without_locks_is_told_once(tmp_path, capsys, monkeypatch):
    def flock(*_):
        raise OSError(errno.EBADF, "as NFS says of what is open for reading")

    monkeypatch.setattr(fcntl, "flock", flock)
    run = run_in(tmp_path)
    run.claim()
    run.start("seed: 1\n")
    run_in(tmp_path).start("seed: 2\n")
    said = [line for line in capsys.readouterr().out.splitlines() if "cannot be locked" in line]
    assert said == [f"output_dir: {tmp_path} cannot be locked; let no other run write there"]


def test_what_killed_processes_left_half_written_is_swept_out_and_what_is_being_written_is_not(tmp_path):
    left = f".writing-abcdefgh-{_HOST}"
    for place in (f"{left}/state.safetensors", f"phase1/{left}/x.tmp", f"teacher_cache/{left}/b"):
        put(tmp_path, place)
    put(tmp_path, f"records/{left}/rows", f"other/{left}/x", ".writing.txt")
    with replacing(str(tmp_path / "sst-2" / "a.json")) as temporary:
        write_text(temporary, "x")
        run_in(tmp_path).claim()
        assert files_of(tmp_path) == {os.path.relpath(temporary, tmp_path), f"other/{left}/x", ".writing.txt"}
