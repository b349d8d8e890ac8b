"""How a distributed job ends: well, by one process's failure, or by a signal to the launcher.

The entry scripts are stand-ins in a copy of scripts/; tests/test_distributed.py runs a job with MindSpore
itself.
"""

import json
import os
import re
import resource
import shlex
import signal
import sys
import time
import types

import pytest

from scripts.launch import commands
from scripts.launch.supervise import Job, link_log
from tests.launchers import (
    ASCEND,
    CPU,
    SIGNALS,
    Launched,
    device,
    is_alive,
    rank_table,
    refused,
    run,
    server,
    two_devices,
    wait_for,
    write_table,
)

JOBS = {"ascend": ("rank_{}/log.txt", ASCEND), "cpu": ("ms_log/worker_{}.log", CPU)}


@pytest.fixture(params=list(JOBS))
def job(request, folder, python, checkout):
    """start(ranks, ...): a `Launched` job of three ranks, by a rank table or with a scheduler."""
    log, script = JOBS[request.param]

    def start(environment=(), **todo):
        arguments = [3, 1, ".", "none", "."]
        if request.param == "ascend":
            table = rank_table(server("a", *(device(n, n) for n in range(3))))
            arguments = [3, 1, write_table(folder, table)]
        return Launched(
            checkout(**todo) / "scripts" / script, arguments, folder, PYTHON=python, **dict(environment)
        )

    start.log = lambda rank: folder / log.format(rank)
    start.names = [0, 1, 2, *(["scheduler"] if request.param == "cpu" else [])]
    return start


def test_a_job_whose_ranks_succeed_succeeds_and_shows_rank_0(job):
    job.log(0).parent.mkdir()
    job.log(0).write_text("an earlier job\n")
    status, out, err = job(scheduler="sleep").end()
    assert (status, err) == (0, "")
    first = f"starting 3 process(es); what follows is {job.log(0)}\nhello from 0 arguments ['--config_path'"
    assert out.startswith(first)
    assert "hello from 1" not in out and "earlier" not in out
    for rank in range(3):
        assert job.log(rank).read_text().startswith(f"hello from {rank} ")


def test_the_log_of_every_rank_is_also_where_the_published_launchers_have_it(job):
    """Where an earlier job's link, or a file of the user's own launcher, is replaced."""
    folder = job.log(0).parent.parent
    (folder / "LOG0").mkdir()
    (folder / "LOG0" / "log.txt").symlink_to("nowhere")
    (folder / "LOG1").mkdir()
    (folder / "LOG1" / "log.txt").write_text("an earlier job\n")
    assert job(scheduler="sleep").end()[0] == 0
    for rank in range(3):
        log = folder / f"LOG{rank}" / "log.txt"
        assert log.is_symlink() and not os.path.isabs(os.readlink(log))
        assert log.samefile(job.log(rank)) and log.read_text().startswith(f"hello from {rank} ")
    assert sorted(path.name for path in folder.glob("LOG*")) == ["LOG0", "LOG1", "LOG2"]


def test_on_ascend_a_rank_runs_on_its_cores_with_its_environment_in_a_log(folder, python, checkout):
    entry = checkout()
    (entry / "run_general_distill.py").write_text(
        "import os; print(sorted(os.sched_getaffinity(0)), os.environ['DEVICE_ID'])"
    )
    table = write_table(folder, two_devices())
    assert run(entry / "scripts" / ASCEND, [2, 1, table], folder, PYTHON=python).returncode == 0
    for rank, prefix in enumerate(commands.bind_prefixes(2)):
        log, environment = (folder / f"rank_{rank}" / name for name in ("log.txt", "env.log"))
        cores, number = log.read_text().rsplit(maxsplit=1)
        assert ",".join(map(str, json.loads(cores))) == prefix[2] and number == str(4 + rank)
        expected = {"RANK_ID": rank, "RANK_SIZE": 2, "DEVICE_ID": 4 + rank, "RANK_TABLE_FILE": table}
        lines = environment.read_text().splitlines()
        assert {f"{key}={value}" for key, value in expected.items()} <= set(lines)
        assert environment.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("victim", [0, 2])
def test_one_rank_killed_ends_the_job_with_a_line_that_says_so(job, victim):
    launched = job(rank_0="sleep", rank_1="sleep", rank_2="sleep", scheduler="sleep")
    pids = {name: launched.pids(name) for name in job.names}
    killed = time.monotonic()
    os.kill(pids[victim][0], signal.SIGKILL)
    status, _, err = launched.end()
    assert time.monotonic() - killed < 15
    assert status == 128 + signal.SIGKILL
    assert err == (
        f"error: rank {victim} was killed by SIGKILL (signal 9), so the job has been ended; its log is "
        f"{job.log(victim)}\n"
    )


def test_one_rank_that_fails_ends_the_job_with_its_own_words(job):
    status, out, err = job(rank_0="sleep", rank_1="exit:3", rank_2="sleep", scheduler="sleep").end()
    assert status == 3 and "this went wrong" not in out
    assert err == (
        "error: rank 1 ended with exit status 3, so the job has been ended; "
        f"its log is {job.log(1)}, which says 'error: this went wrong'\n"
    )


def test_a_rank_that_ends_well_waits_for_the_others(job):
    launched = job(rank_0="exit:0", rank_1="sleep", rank_2="exit:0", scheduler="exit:0")
    ended = [launched.pids(name)[0] for name in job.names if name != 1]
    wait_for(lambda: not any(map(is_alive, ended)))
    time.sleep(0.3)
    assert is_alive(launched.pids(1)[0]) and launched.launcher.poll() is None
    os.kill(launched.pids(1)[0], signal.SIGTERM)
    status, _, err = launched.end()
    assert status == 128 + signal.SIGTERM and "rank 1 was killed by SIGTERM" in err


def test_of_ranks_that_end_together_the_killed_one_is_named():
    names = [*(f"rank {number}" for number in range(12)), commands.SCHEDULER]
    job = Job([commands.Command(name, [], {}, f"{name}.log") for name in names])
    assert job.failed() is None
    job.ended.update({commands.SCHEDULER: -11})
    assert job.failed() == "scheduler"
    job.ended.update({"rank 10": 1, "rank 2": 1, "rank 1": 0})
    assert job.failed() == "rank 2"
    job.ended.update({"rank 11": -9})
    assert job.failed() == "rank 11"


def test_a_process_whose_disk_is_full_cannot_say_so_itself(tmp_path):
    log = tmp_path / "worker_1.log"
    log.write_text("step: 7\n")
    job = Job([commands.Command("rank 1", [], {}, str(log))])
    job.ended["rank 1"] = 1
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        said = job.describe("rank 1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert said.endswith(f"its log is {log}, which takes no more: File too large")
    assert job.describe("rank 1").endswith(f"its log is {log}")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_the_launcher_ends_every_process(job, number):
    launched = job(rank_0="sleep", rank_1="sleep", rank_2="sleep", scheduler="sleep")
    for name in job.names:
        launched.pids(name)
    launched.launcher.send_signal(number)
    status, _, err = launched.end()
    said = f"error: stopped by {number.name}; all processes of the job have been ended\n"
    assert (status, err) == (128 + number, said)


def test_under_nohup_the_job_goes_on_after_logging_out(folder, python, checkout):
    script = checkout(rank_0="sleep", rank_1="exit:0") / "scripts" / ASCEND
    (folder / "nohup.sh").write_text('trap "" HUP; exec bash "$@"')
    arguments = [script, 2, 1, write_table(folder, two_devices())]
    launched = Launched(folder / "nohup.sh", arguments, folder, PYTHON=python)
    rank = launched.pids(0)[0]
    launched.launcher.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert launched.launcher.poll() is None and is_alive(rank)
    launched.launcher.terminate()
    assert launched.end()[0] == 128 + signal.SIGTERM


def with_constants(repository, folder, launcher, arguments, **values):
    """A `Launched` job whose supervisor has other seconds."""
    program = (
        f"import sys; sys.path.insert(0, {str(repository / 'scripts')!r}); import distributed; "
        f"from launch import supervise; vars(supervise).update({values}); "
        f"sys.exit(distributed.main({sys.executable!r}, {launcher!r}, *{list(map(str, arguments))}))"
    )
    script = folder / "starter.sh"
    script.write_text(f"exec {shlex.quote(sys.executable)} -c {shlex.quote(program)}\n")
    return Launched(script, [], folder)


def test_a_process_that_ignores_the_request_to_end_is_killed(folder, checkout):
    repository, table = checkout(rank_0="stubborn", rank_1="sleep"), write_table(folder, two_devices())
    launched = with_constants(repository, folder, "ascend", [2, 1, table], TERM_SECONDS=0.5)
    launched.pids(0)
    os.kill(launched.pids(1)[0], signal.SIGKILL)
    status, _, err = launched.end()
    assert status == 128 + signal.SIGKILL and "rank 1 was killed by SIGKILL" in err


@pytest.mark.parametrize(
    "rank, scheduler, status, said",
    [
        ("sleep", "exit:6", 6, "scheduler ended with exit status 6, so the job has been ended"),
        ("sleep", "kill", 137, r"scheduler was killed by SIGKILL \(signal 9\), so the job has been ended"),
        ("exit:4", "exit:4", 4, "rank [01] ended with exit status 4"),
        ("exit:0", "exit:4", 0, None),
    ],
)
def test_a_failing_scheduler_ends_the_job_unless_a_rank_says_why(
    folder, checkout, rank, scheduler, status, said
):
    repository = checkout(rank_0=rank, rank_1=rank, scheduler=scheduler)
    arguments = [2, 1, ".", "none", "."]
    launched = with_constants(repository, folder, "cpu", arguments, SCHEDULER_SECONDS=2)
    launched.pids("scheduler")
    begun = time.monotonic()
    ended, _, err = launched.end()
    assert time.monotonic() - begun < 30 and ended == status
    assert re.match(f"error: {said}", err) if said else err == ""


def test_in_the_background_the_launcher_returns_and_a_log_has_the_line(job, folder):
    launched = job(
        environment={"BACKGROUND": "1"}, rank_0="exit:5", rank_1="sleep", rank_2="sleep", scheduler="sleep"
    )
    status, out, _ = launched.launcher_ended()
    assert status == 0 and re.fullmatch(r"started process \d+; follow it with: tail -f .*log.txt\n", out)
    log = folder / "log.txt"
    wait_for(lambda: log.exists() and "rank 0 ended with exit status 5" in log.read_text())
    process = int(out.split()[2].rstrip(";"))
    wait_for(lambda: not is_alive(process))
    assert "hello from 0" in log.read_text()


def test_workers_that_fail_at_once_are_not_waited_for(folder, python, checkout):
    repository = checkout()
    (repository / "train.py").unlink()
    arguments = [2, 1, ".", "none", ".", repository]
    script = repository / "scripts" / CPU
    ended, _, err = Launched(script, arguments, folder, PYTHON=python, ENTRY="train.py").end()
    assert ended == 2 and re.match(r"error: rank [01] ended with exit status 2.*worker_[01]\.log", err)


def test_a_reader_of_the_output_that_has_gone_does_not_end_the_job(job):
    launched = job(rank_0="exit:0", rank_1="exit:0", rank_2="exit:3")
    assert launched.launcher.stdout.readline().startswith("starting 3 process(es)")
    launched.launcher.stdout.close()
    launched.launcher.stdout = None
    status, _, err = launched.end()
    assert status == 3 and "rank 2 ended with exit status 3" in err


def test_what_cannot_be_started_is_one_line(folder, python, checkout):
    (folder / "rank_1").write_text("a file")
    table = write_table(folder, two_devices())
    repository = checkout()
    done = run(repository / "scripts" / ASCEND, [2, 1, table], folder, PYTHON=python)
    assert refused(done) == "error: rank_1: File exists\n"


def test_a_log_of_a_published_run_is_kept_beside_the_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "LOG0").mkdir()
    (tmp_path / "LOG0" / "log.txt").write_text("hours of work")
    command = types.SimpleNamespace(environment={"RANK_ID": "0"}, log="rank_0.log")
    for _ in range(2):
        link_log(command)
        assert (tmp_path / "LOG0" / "log.txt.old").read_text() == "hours of work"
        assert os.readlink(tmp_path / "LOG0" / "log.txt") == os.path.join("..", "rank_0.log")
