"""The launchers of distributed jobs: the commands they make, the rank table's faults, and how a job ends when
one process does.

Except for one job with MindSpore's own msrun, the entry scripts (and msrun) are stand-ins in a copy of
scripts/.
"""

import copy
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import distributed

ROOT = Path(__file__).resolve().parent.parent
ASCEND, GPU, CPU = (f"run_distributed_gd_{device}.sh" for device in ("ascend", "gpu", "cpu"))
SECONDS = 50  # within which everything here has happened, however busy the machine is

STAND_IN_PYTHON = f"""#!/bin/bash
case "$*" in *packages.py*) exit 0 ;; -c*) exit 0 ;; esac
exec {shlex.quote(sys.executable)} "$@"
"""

# Does what the file `do` beside the scripts says for its rank (or for the scheduler): exit:STATUS, sleep,
# stubborn (no SIGTERM).
STAND_IN_ENTRY = f"""import json, os, signal, subprocess, sys, time
scheduler = os.environ.get("MS_ROLE") == "MS_SCHED"
rank = "scheduler" if scheduler else os.environ.get("MS_NODE_ID", os.environ.get("RANK_ID"))
here = os.path.dirname(os.path.abspath(__file__))
todo = json.load(open(os.path.join(here, "do.json"))).get(rank, "exit:0")
if todo == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleeper = [sys.executable, "-c", "import time; time.sleep({2 * SECONDS})"]
child = subprocess.Popen(sleeper) if todo == "sleep" else None
print("hello from", rank, "arguments", sys.argv[1:], flush=True)
with open(f"started_{{rank}}.tmp", "w") as file:
    print(os.getpid(), *([child.pid] if child else []), file=file)
os.rename(f"started_{{rank}}.tmp", f"started_{{rank}}")
if todo.startswith("exit:"):
    time.sleep(0.5)
    if todo != "exit:0":
        print("error: this went wrong\\n[INFO] of a library", flush=True)
    sys.exit(int(todo[5:]))
time.sleep({2 * SECONDS})
"""

# Starts a scheduler and the workers as msrun does with --join=False, and ends.
STAND_IN_MSRUN = f"""#!{sys.executable}
import os, subprocess, sys
options = dict(item[2:].split("=", 1) for item in sys.argv[1:] if item.startswith("--") and "=" in item)
command = sys.argv[1 + len(options):]
if os.environ.get("MSRUN_FAILS"):
    sys.exit("msrun cannot")
assert options["join"] == "False" and options["worker_num"] == options["local_worker_num"]
workers = [("MS_WORKER", str(n), f"worker_{{n}}") for n in range(int(options["worker_num"]))]
for role, name, log in [("MS_SCHED", "", "scheduler"), *workers]:
    os.environ.update(MS_ROLE=role, MS_NODE_ID=name)
    with open(os.path.join(options["log_dir"], log + ".log"), "w") as file:
        new = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        new.returncode = 0
"""


def write_program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def python(tmp_path):
    """A Python that has everything, with an msrun beside it."""
    write_program(tmp_path / "bin" / "msrun", STAND_IN_MSRUN)
    return str(write_program(tmp_path / "bin" / "python", STAND_IN_PYTHON))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "some where").mkdir()
    return tmp_path / "some where"


@pytest.fixture
def checkout(tmp_path):
    """do(...): path of a copy of scripts/ whose entry scripts behave, rank by rank, as told."""

    def make(**todo):
        shutil.copytree(
            ROOT / "scripts", tmp_path / "copy" / "scripts", ignore=shutil.ignore_patterns("__pycache__")
        )
        for name in ("requirements.txt", "requirements-dev.txt"):
            shutil.copy(ROOT / name, tmp_path / "copy")
        for name in (*distributed.ENTRIES, "gd_config.yaml"):
            (tmp_path / "copy" / name).write_text(STAND_IN_ENTRY)
        (tmp_path / "copy" / "do.json").write_text(
            json.dumps({key.removeprefix("rank_"): value for key, value in todo.items()})
        )
        return tmp_path / "copy"

    return make


def clean_environment(**changes):
    ours = ("PYTHON", "CI", "DRY_RUN", "BACKGROUND", "GLOG_v", "ENTRY", "SERVER_ID", "MASTER_PORT")
    return {**{name: value for name, value in os.environ.items() if name not in ours}, **changes}


def run(script, arguments, cwd, **environment):
    return subprocess.run(
        ["bash", str(script), *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=2 * SECONDS,
    )


def device(number, rank, address=None):
    return {
        "device_id": str(number),
        "device_ip": address or f"192.168.100.{100 + rank}",
        "rank_id": str(rank),
    }


def server(name, *devices):
    return {"server_id": name, "device": list(devices), "host_nic_ip": "reserve"}


def rank_table(*servers):
    return {
        "version": "1.0",
        "server_count": str(len(servers)),
        "server_list": list(servers),
        "status": "completed",
    }


def two_devices():
    return rank_table(server("10.1.2.3", device(4, 0), device(5, 1)))


def write_table(folder, table):
    path = folder / "hccl 2p.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
    return path


def parse(line):
    """(environment, command, log) of a line that DRY_RUN=1 printed."""
    words = shlex.split(line)
    assert words[-1] == "2>&1" and words[-2].startswith(">")
    count = next(index for index, word in enumerate(words) if not re.match(r"\w+=", word))
    return dict(word.split("=", 1) for word in words[:count]), words[count:-2], words[-2][1:]


def dry_run(script, arguments, cwd, **environment):
    """What `parse` gives for every line; nothing has been started or written."""
    before = sorted(cwd.iterdir())
    done = run(ROOT / "scripts" / script, arguments, cwd, DRY_RUN="1", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(cwd.iterdir()) == before
    return [parse(line) for line in done.stdout.splitlines()]


def refused(done):
    """The one error line of a launcher that refused its input."""
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr), done.stderr
    return done.stderr


# ---------------------------------------------------------------------------------------------------------- c


@pytest.mark.parametrize("script", [ASCEND, GPU, CPU, "run_distribute_gd.sh", "run_standalone_gd.sh"])
def test_without_arguments_or_with_h_there_is_the_usage(folder, script):
    for arguments, status in (((), 2), (("-h",), 0), (("--help",), 0))[
        script == "run_standalone_gd.sh" :
    ]:  # that one has all in its YAML
        done = run(ROOT / "scripts" / script, arguments, folder)
        assert done.returncode == status
        assert done.stdout.startswith(
            f"usage: bash scripts/{script.replace('run_distribute_gd', 'run_distributed_gd_ascend')} "
        )


@pytest.mark.parametrize("script", [ASCEND, "run_distribute_gd.sh"])
def test_on_ascend_every_rank_is_a_command_with_its_device_and_cores(folder, python, script):
    path = write_table(folder, two_devices())
    lines = dry_run(script, [2, 3, path.name], folder, PYTHON=python)
    assert [environment for environment, _, _ in lines] == [
        {"RANK_TABLE_FILE": str(path), "RANK_SIZE": "2", "RANK_ID": "0", "DEVICE_ID": "4"},
        {"RANK_TABLE_FILE": str(path), "RANK_SIZE": "2", "RANK_ID": "1", "DEVICE_ID": "5"},
    ]
    assert [log for _, _, log in lines] == ["rank_0/log.txt", "rank_1/log.txt"]
    for _, command, _ in lines:
        assert command[:2] == ["taskset", "-c"]
        assert command[3:] == [
            python,
            "-u",
            str(ROOT / "run_general_distill.py"),
            "--config_path",
            str(ROOT / "gd_config.yaml"),
            "--distribute",
            "true",
            "--device_num",
            "2",
            "--device_target",
            "Ascend",
            "--epoch_size",
            "3",
        ]
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) > 1:
        assert lines[0][1][2] == distributed.core_list(allowed[: len(allowed) // 2])
        assert lines[1][1][2] == distributed.core_list(allowed[len(allowed) // 2 :])


@pytest.mark.parametrize(
    "cores, count, expected",
    [
        (range(8), 2, ["0-3", "4-7"]),
        ([0, 1, 2, 5, 6, 9, 10, 11], 3, ["0-1", "2,5-6", "9-11"]),
        ([3, 4], 4, ["3", "3", "3", "4"]),
        ([7], 3, ["7", "7", "7"]),
    ],
)
def test_cores_are_shared_out_without_gaps(monkeypatch, cores, count, expected):
    monkeypatch.setattr(distributed.os, "sched_getaffinity", lambda _: set(cores))
    assert distributed.bind_prefixes(count) == [["taskset", "-c", cores] for cores in expected]


@pytest.mark.parametrize("script, target", [(GPU, "GPU"), (CPU, "CPU")])
def test_on_gpu_and_cpu_msrun_gets_the_entry_script(folder, python, script, target):
    ((environment, command, log),) = dry_run(
        script, [4, 10, "my data", "my schema", "the teacher"], folder, PYTHON=python
    )
    assert environment == {"PATH": os.path.dirname(python) + ":$PATH"} and log == "ms_log/msrun.log"
    port = command.pop(4)
    assert re.fullmatch(r"--master_port=\d{4,5}", port)
    assert command == [
        str(Path(python).parent / "msrun"),
        "--worker_num=4",
        "--local_worker_num=4",
        "--master_addr=127.0.0.1",
        f"--log_dir={folder}/ms_log",
        "--join=False",
        "python",
        "-u",
        str(ROOT / "run_general_distill.py"),
        "--config_path",
        str(ROOT / "gd_config.yaml"),
        "--distribute",
        "true",
        "--device_num",
        "4",
        "--device_target",
        target,
        "--epoch_size",
        "10",
        "--data_dir",
        "my data",
        "--schema_dir",
        "my schema",
        "--load_teacher_ckpt_path",
        "the teacher",
    ]


def entry_arguments(script, arguments, folder, python, **environment):
    """(entry script, its arguments) of the first command of a dry run."""
    words = dry_run(script, arguments, folder, PYTHON=python, **environment)[0][1]
    start = words.index("-u") + 1
    return os.path.relpath(words[start], ROOT), words[start + 1 :]


@pytest.mark.parametrize("schema", ["", "none"])
def test_no_schema_is_left_out(folder, python, schema):
    _, arguments = entry_arguments(CPU, [1, 1, "D", schema, "T"], folder, python)
    assert arguments[arguments.index("--epoch_size") :] == [
        "--epoch_size",
        "1",
        "--data_dir",
        "D",
        "--load_teacher_ckpt_path",
        "T",
    ]


@pytest.mark.parametrize(
    "environment, further, script, config, epochs, data",
    [
        (
            {},
            ["own.yaml"],
            "run_general_distill.py",
            "own.yaml",
            "--epoch_size",
            ["--data_dir", "D", "--load_teacher_ckpt_path", "T"],
        ),
        (
            {"ENTRY": "run_general_distill.py"},
            ["--seed", "1"],
            "run_general_distill.py",
            str(ROOT / "gd_config.yaml"),
            "--epoch_size",
            ["--data_dir", "D", "--load_teacher_ckpt_path", "T"],
        ),
        (
            {"ENTRY": "run_task_distill.py"},
            ["own.yaml", "--seed", "1"],
            "run_task_distill.py",
            "own.yaml",
            "--td_phase2_epoch_size",
            ["--train_data_dir", "D", "--eval_data_dir", "D", "--load_teacher_ckpt_path", "T"],
        ),
        (
            {"ENTRY": "train.py"},
            ["--task_name", "sts-b"],
            "train.py",
            str(ROOT / "ternary_config.yaml"),
            "--epoch_size",
            ["--data_dir", "D", "--teacher_model_dir", "T", "--student_model_dir", "T"],
        ),
        (
            {"ENTRY": "train.py"},
            ["own.yaml", "--x", "a  b"],
            "train.py",
            "own.yaml",
            "--epoch_size",
            ["--data_dir", "D", "--teacher_model_dir", "T", "--student_model_dir", "T"],
        ),
    ],
)
def test_entry_and_config_and_further_flags(
    folder, python, environment, further, script, config, epochs, data
):
    flags = [word for word in further if word != "own.yaml"]
    common = ["--config_path", config, "--distribute", "true", "--device_num", "2", "--device_target"]
    for launcher, target in ((CPU, "CPU"), (GPU, "GPU")):
        assert entry_arguments(
            launcher, [2, 7, "D", "none", "T", *further], folder, python, **environment
        ) == (script, [*common, target, epochs, "7", *data, *flags])
    path = write_table(folder, two_devices())
    assert entry_arguments(ASCEND, [2, 7, path, *further], folder, python, **environment) == (
        script,
        [*common, "Ascend", epochs, "7", *flags],
    )


@pytest.mark.parametrize("flags", [["--config_path", "own.yaml"], ["--seed=1", "--config_path=own.yaml"]])
def test_a_settings_file_among_the_flags_replaces_the_default(folder, python, flags):
    for environment in ({}, {"ENTRY": "run_task_distill.py"}):
        _, arguments = entry_arguments(CPU, [2, 7, "D", "none", "T", *flags], folder, python, **environment)
        assert arguments[:2] == ["--distribute", "true"] and arguments[-len(flags) :] == flags


@pytest.mark.parametrize(
    "arguments, environment, said",
    [
        (["0", "1", "D", "none", "T"], {}, "DEVICE_NUM must be a positive whole number, not '0'"),
        (["two", "1", "D", "none", "T"], {}, "DEVICE_NUM must be a positive whole number, not 'two'"),
        (["2", "1.5", "D", "none", "T"], {}, "EPOCH_SIZE must be a positive whole number, not '1.5'"),
        (["2", "1", "", "none", "T"], {}, "DATA_DIR must be a path, not ''"),
        (["2", "1", "D", "none", "--seed", "1"], {}, "TEACHER must be a path, not '--seed'"),
        (["2", "1", "D", "none", "T", ""], {}, "CONFIG is empty"),
        (["2", "1", "D", "none", "T", "own.yaml", "more"], {}, "'more' follows the last argument"),
        (
            ["2", "1", "D", "none", "T", "own.yaml", "--config_path", "a"],
            {},
            "the settings file is given twice",
        ),
        (
            ["2", "1", "D", "none", "T"],
            {"ENTRY": "run_task_distill.py"},
            "ENTRY=run_task_distill.py needs a CONFIG",
        ),
        (
            ["2", "1", "D", "none", "T"],
            {"ENTRY": "eval.py"},
            "ENTRY=eval.py cannot be started on several devices; it must be one of "
            "run_general_distill.py, run_task_distill.py, train.py",
        ),
        (
            ["2", "1", "D", "none", "T"],
            {"MASTER_PORT": "80"},
            "MASTER_PORT must be from 1024 to 65535, not 80",
        ),
        (
            ["2", "1", "D", "none", "T"],
            {"MASTER_PORT": "x"},
            "MASTER_PORT must be a positive whole number, not 'x'",
        ),
    ],
)
def test_wrong_arguments_are_one_line(folder, python, arguments, environment, said):
    assert said in refused(
        run(ROOT / "scripts" / CPU, arguments, folder, PYTHON=python, DRY_RUN="1", **environment)
    )


def test_paths_are_checked_before_anything_starts_but_not_in_a_dry_run(folder, python, checkout):
    script = checkout() / "scripts" / CPU
    for name in ("D", "S", "T", "own.yaml"):
        (folder / name).mkdir()
    for missing, key in (("D", "DATA_DIR"), ("S", "SCHEMA"), ("T", "TEACHER"), ("own.yaml", "CONFIG")):
        arguments = [
            2,
            1,
            *(f"no {name}" if name == missing else name for name in ("D", "S", "T", "own.yaml")),
        ]
        assert (
            refused(run(script, arguments, folder, PYTHON=python))
            == f"error: {key}: no {missing} does not exist\n"
        )
        assert run(script, arguments, folder, PYTHON=python, DRY_RUN="1").returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["D", "S", "T", "own.yaml"]


def test_the_port_that_is_asked_for_is_used_if_it_is_free(folder, python, checkout):
    script = checkout() / "scripts" / CPU
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ((_, command, _),) = dry_run(
            CPU, [2, 1, ".", "none", "."], folder, PYTHON=python, MASTER_PORT=str(port)
        )
        assert f"--master_port={port}" in command
        done = run(script, [2, 1, ".", "none", "."], folder, PYTHON=python, MASTER_PORT=str(port))
        assert f"MASTER_PORT {port} is in use" in refused(done)


def test_the_pythons_own_name_is_what_msrun_can_start(tmp_path, folder, python):
    os.rename(python, tmp_path / "bin" / "python3.11")
    versioned = str(tmp_path / "bin" / "python3.11")
    done = run(ROOT / "scripts" / CPU, [2, 1, "D", "none", "T"], folder, PYTHON=versioned, DRY_RUN="1")
    assert f"{tmp_path}/bin has neither name for {versioned}" in refused(done)
    os.symlink("python3.11", tmp_path / "bin" / "python3")
    ((_, command, _),) = dry_run(CPU, [2, 1, "D", "none", "T"], folder, PYTHON=versioned)
    assert command[command.index("-u") - 1] == "python3"
    os.remove(tmp_path / "bin" / "msrun")
    ((_, command, _),) = dry_run(CPU, [2, 1, "D", "none", "T"], folder, PYTHON=versioned)
    assert command[:4] == [versioned, "-m", "mindspore.parallel.cluster.run", "--worker_num=2"]


def test_a_dry_run_before_anything_is_installed(folder, checkout):
    repository = checkout()
    done = run(repository / "scripts" / CPU, [2, 1, "D", "none", "T"], folder, PYTHON="false", DRY_RUN="1")
    assert (
        done.returncode == 0
        and f"{repository}/.venv/bin" in done.stdout
        and not (repository / ".venv").exists()
    )


@pytest.mark.parametrize(
    "arguments, environment, expected",
    [
        (
            ["own.yaml", "--seed", "1"],
            {},
            ["run_general_distill.py", "--config_path", "own.yaml", "--seed", "1"],
        ),
        (
            ["--seed", "1"],
            {},
            ["run_general_distill.py", "--config_path", str(ROOT / "gd_config.yaml"), "--seed", "1"],
        ),
        (["--config_path", "x y"], {}, ["run_general_distill.py", "--config_path", "x y"]),
        ([], {}, ["run_general_distill.py", "--config_path", str(ROOT / "gd_config.yaml")]),
        (
            ["own.yaml"],
            {"ENTRY": "run_task_distill.py"},
            ["run_task_distill.py", "--config_path", "own.yaml"],
        ),
        (
            ["--seed", "1"],
            {"ENTRY": "train.py"},
            ["train.py", "--config_path", str(ROOT / "ternary_config.yaml"), "--seed", "1"],
        ),
    ],
)
def test_on_one_device(folder, python, arguments, environment, expected):
    done = run(
        ROOT / "scripts/run_standalone_gd.sh", arguments, folder, PYTHON=python, DRY_RUN="1", **environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert shlex.split(done.stdout) == [python, "-u", str(ROOT / expected[0]), *expected[1:]]


@pytest.mark.parametrize(
    "environment, said",
    [
        ({"ENTRY": "eval.py"}, "ENTRY=eval.py is not known"),
        ({"ENTRY": "run_task_distill.py"}, "ENTRY=run_task_distill.py needs a CONFIG"),
    ],
)
def test_on_one_device_a_wrong_entry_is_one_line(folder, python, environment, said):
    assert said in refused(
        run(
            ROOT / "scripts/run_standalone_gd.sh",
            ["--seed", "1"],
            folder,
            PYTHON=python,
            DRY_RUN="1",
            **environment,
        )
    )


# ---------------------------------------------------------------------------------------------------------- r


def altered(*path_and_value):
    """A table of two devices with one value replaced (or, where it is `...`, taken out)."""
    table = copy.deepcopy(two_devices())
    *path, last, value = path_and_value
    place = table
    for key in path:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return table


FIRST = ("server_list", 0, "device", 0)
IP_FAULT = "server 10.1.2.3, device 4: device_ip must be an IPv4 or IPv6 address, not"


@pytest.mark.parametrize(
    "table, said",
    [
        ("{", "is not JSON: Expecting property name"),
        ("[" * 100000, "is not JSON: "),
        ("[]", "must hold a JSON object"),
        (altered("status", "initializing"), 'status is "initializing", not "completed"'),
        (altered("version", "0.1"), 'version "0.1" is not known'),
        (altered("server_list", ...), "has no server_list"),
        (altered("server_list", []), "has no server_list"),
        (altered("server_list", ["a"]), "has no server_list"),
        (altered("server_count", "2"), "server_count is 2, but server_list has 1"),
        (altered("server_list", 0, "server_id", ...), "server 0 of server_list has no server_id"),
        (altered("server_list", 0, "server_id", ""), "server 0 of server_list has no server_id"),
        (rank_table(server("a", device(0, 0)), server("a", device(1, 1))), "server_id a is there twice"),
        (altered("server_list", 0, "device", []), "server 10.1.2.3 has no list of devices"),
        (altered("server_list", 0, "device", ...), "server 10.1.2.3 has no list of devices"),
        (altered(*FIRST, "device_id", ...), "device_id must be a number from 0, not null"),
        (altered(*FIRST, "device_id", "-1"), 'device_id must be a number from 0, not "-1"'),
        (altered(*FIRST, "device_id", -1), "device_id must be a number from 0, not -1"),
        (altered(*FIRST, "device_id", "5"), "device 5: this device_id is there twice"),
        (altered(*FIRST, "rank_id", ...), "rank_id must be a number from 0, not null"),
        (altered(*FIRST, "rank_id", True), "rank_id must be a number from 0, not true"),
        (altered(*FIRST, "rank_id", "1"), "device 5: rank_id 1 is also that of server 10.1.2.3, device 4"),
        (altered(*FIRST, "rank_id", "2"), "2 devices need the ranks 0 to 1, but 0 is missing"),
        (altered(*FIRST, "device_ip", ...), f"{IP_FAULT} null"),
        (altered(*FIRST, "device_ip", ""), f'{IP_FAULT} ""'),
        (altered(*FIRST, "device_ip", 7), f"{IP_FAULT} 7"),
        (altered(*FIRST, "device_ip", "192.168.100.256"), f'{IP_FAULT} "192.168.100.256"'),
        (
            altered(*FIRST, "device_ip", "192.168.100.101"),
            "device 5: device_ip 192.168.100.101 is also that of server 10.1.2.3, device 4",
        ),
        (rank_table(server("a", device(0, 0))), "DEVICE_NUM is 2, but rank table"),
        (rank_table(server("a", *(device(n, n) for n in range(8)))), "has 8 device(s)\n"),
    ],
)
def test_a_fault_in_the_rank_table_is_one_line(folder, python, table, said):
    path = write_table(folder, table)
    for environment in ({"DRY_RUN": "1"}, {}):
        error = refused(run(ROOT / "scripts" / ASCEND, [2, 1, path], folder, PYTHON=python, **environment))
        assert said in error and str(path) in error
    assert list(folder.iterdir()) == [path]


def test_a_rank_table_that_cannot_be_read_is_one_line(folder, python):
    for name, said in (("none.json", "No such file or directory"), (".", "Is a directory")):
        assert f"rank table {name}: {said}" in refused(
            run(ROOT / "scripts" / ASCEND, [2, 1, name], folder, PYTHON=python, DRY_RUN="1")
        )


def test_numbers_ipv6_and_any_order_of_ranks_are_read(folder, python):
    table = rank_table(
        server("10.1.2.3", {"device_id": 0, "device_ip": "fe80::1", "rank_id": 1}, device(1, 0))
    )
    del table["status"], table["version"], table["server_count"]
    lines = dry_run(ASCEND, [2, 1, write_table(folder, table)], folder, PYTHON=python)
    assert [(environment["RANK_ID"], environment["DEVICE_ID"]) for environment, _, _ in lines] == [
        ("0", "1"),
        ("1", "0"),
    ]


def two_servers(first="240.0.0.1", second="240.0.0.2"):  # addresses that no machine has (class E)
    return rank_table(server(first, device(0, 0), device(1, 1)), server(second, device(0, 2), device(1, 3)))


@pytest.mark.parametrize("device_num", [2, 4])
def test_of_several_servers_only_this_ones_ranks_are_started(folder, python, device_num):
    named = dry_run(
        ASCEND,
        [device_num, 1, write_table(folder, two_servers())],
        folder,
        PYTHON=python,
        SERVER_ID="240.0.0.2",
    )
    found = dry_run(
        ASCEND, [device_num, 1, write_table(folder, two_servers(second="127.0.0.1"))], folder, PYTHON=python
    )
    for lines in (named, found):
        assert [
            (environment["RANK_ID"], environment["DEVICE_ID"], environment["RANK_SIZE"], log)
            for environment, _, log in lines
        ] == [("2", "0", "4", "rank_2/log.txt"), ("3", "1", "4", "rank_3/log.txt")]
        assert all(command[command.index("--device_num") + 1] == "4" for _, command, _ in lines)


@pytest.mark.parametrize(
    "table, environment, said",
    [
        (two_servers(), {}, "(240.0.0.1, 240.0.0.2) none is an address of this machine; set SERVER_ID"),
        (two_servers("127.0.0.1", "127.0.0.2"), {}, "several are addresses of this machine; set SERVER_ID"),
        (two_servers(), {"SERVER_ID": "x"}, "SERVER_ID=x is no server of rank table"),
        (two_servers(), {"SERVER_ID": "240.0.0.1"}, "has 4 device(s), 2 of them on 240.0.0.1"),
    ],
)
def test_a_server_that_is_not_known_is_one_line(folder, python, table, environment, said):
    done = run(
        ROOT / "scripts" / ASCEND,
        [3, 1, write_table(folder, table)],
        folder,
        PYTHON=python,
        DRY_RUN="1",
        **environment,
    )
    assert said in refused(done)


# ---------------------------------------------------------------------------------------------------------- r


def wait_for(condition, seconds=SECONDS):
    """The first true value of condition()."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "this did not happen"
        time.sleep(0.05)
    return value


def is_alive(pid):
    fields = distributed.stat_fields(pid)
    return fields is not None and fields[0] not in "ZX"


class Launched:
    """A launcher that was started, and the processes of its job."""

    running = []

    def __init__(self, script, arguments, cwd, **environment):
        self.cwd = cwd
        self.launcher = subprocess.Popen(
            ["bash", str(script), *map(str, arguments)],
            cwd=cwd,
            env=clean_environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Where the tests run in the background, SIGINT is ignored, and so it would be here.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.running.append(self.launcher)

    def pids(self, name):
        """[process, its child] of a rank, once it is there."""
        path = self.cwd / f"started_{name}"
        return wait_for(lambda: path.exists() and [int(word) for word in path.read_text().split()])

    def launcher_ended(self):
        """(exit status, output, errors)."""
        out, err = self.launcher.communicate(timeout=SECONDS)
        return self.launcher.returncode, out, err

    def end(self):
        """(exit status, output, errors); none of the processes that had started is left."""
        ended = self.launcher_ended()
        for path in self.cwd.glob("started_*"):
            for pid in self.pids(path.name.removeprefix("started_")):
                assert not is_alive(pid), path.name
        return ended


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    yield
    while Launched.running:  # a failed test's
        launcher = Launched.running.pop()
        launcher.terminate()
        launcher.communicate(timeout=SECONDS)


JOBS = {"ascend": ("rank_{}/log.txt", ASCEND), "cpu": ("ms_log/worker_{}.log", CPU)}


@pytest.fixture(params=list(JOBS))
def job(request, folder, python, checkout):
    """start(ranks, ...): a `Launched` job of three ranks, on "Ascend" devices or through the stand-in for
    msrun.
    """

    def start(environment=(), **todo):
        script = checkout(**todo) / "scripts" / JOBS[request.param][1]
        if request.param == "ascend":
            table = write_table(folder, rank_table(server("a", *(device(n, n) for n in range(3)))))
            return Launched(script, [3, 1, table], folder, PYTHON=python, **dict(environment))
        return Launched(script, [3, 1, ".", "none", "."], folder, PYTHON=python, **dict(environment))

    start.log = lambda rank: folder / JOBS[request.param][0].format(rank)
    start.has_scheduler = request.param == "cpu"
    return start


def test_a_job_whose_ranks_succeed_succeeds_and_shows_rank_0(job):
    job.log(0).parent.mkdir()
    job.log(0).write_text("an earlier job\n")
    status, out, err = job(scheduler="sleep").end()
    assert (status, err) == (0, "")
    assert out.startswith(
        f"starting 3 process(es); what follows is {job.log(0)}\nhello from 0 arguments ['--config_path'"
    )
    assert "hello from 1" not in out and "earlier" not in out
    for rank in range(3):
        assert job.log(rank).read_text().startswith(f"hello from {rank} ")


def test_on_ascend_a_rank_runs_on_its_cores_with_its_environment_in_a_log(folder, python, checkout):
    entry = checkout()
    (entry / "run_general_distill.py").write_text(
        "import os; print(sorted(os.sched_getaffinity(0)), os.environ['DEVICE_ID'])"
    )
    table = write_table(folder, two_devices())
    assert run(entry / "scripts" / ASCEND, [2, 1, table], folder, PYTHON=python).returncode == 0
    for rank, prefix in enumerate(distributed.bind_prefixes(2)):
        cores, number = (folder / f"rank_{rank}" / "log.txt").read_text().rsplit(maxsplit=1)
        assert distributed.core_list(json.loads(cores)) == prefix[2] and number == str(4 + rank)
        lines = (folder / f"rank_{rank}" / "env.log").read_text().splitlines()
        assert {f"RANK_ID={rank}", "RANK_SIZE=2", f"DEVICE_ID={4 + rank}", f"RANK_TABLE_FILE={table}"} <= set(
            lines
        )
        assert (folder / f"rank_{rank}" / "env.log").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("victim", [0, 2])
def test_one_rank_killed_ends_the_job_with_a_line_that_says_so(job, victim):
    launched = job(rank_0="sleep", rank_1="sleep", rank_2="sleep", scheduler="sleep")
    pids = [launched.pids(rank) for rank in range(3)]
    if job.has_scheduler:
        launched.pids("scheduler")
    time.sleep(0.5)
    killed = time.monotonic()
    os.kill(pids[victim][0], signal.SIGKILL)
    status, _, err = launched.end()
    assert time.monotonic() - killed < 15
    assert status == 128 + signal.SIGKILL
    assert (
        err == f"error: rank {victim} was killed by SIGKILL (signal 9), so the job has been ended; its log "
        f"is {job.log(victim)}\n"
    )


def test_one_rank_that_fails_ends_the_job_with_its_own_words(job):
    status, out, err = job(rank_0="sleep", rank_1="exit:3", rank_2="sleep", scheduler="sleep").end()
    assert status == 3 and "this went wrong" not in out
    assert err == (
        "error: rank 1 ended with exit status 3, so the job has been ended; "
        f"its log is {job.log(1)}, which says 'error: this went wrong'\n"
    )


def test_a_rank_that_ends_well_waits_for_the_others(job):
    launched = job(rank_0="exit:0", rank_1="sleep", rank_2="exit:0")
    first = launched.pids(0)[0]
    wait_for(lambda: not is_alive(first))
    assert is_alive(launched.pids(1)[0]) and launched.launcher.poll() is None
    time.sleep(0.5)
    os.kill(launched.pids(1)[0], signal.SIGTERM)
    status, _, err = launched.end()
    assert status == 128 + signal.SIGTERM and "rank 1 was killed by SIGTERM" in err


def test_of_ranks_that_end_together_the_killed_one_is_named():
    ranks = distributed.Job([], {f"rank {number}": f"{number}.log" for number in range(12)})
    ranks.ended.update({"rank 10": 1, "rank 2": 1, "rank 1": 0})
    assert ranks.failure() == (
        f"rank 2 ended with exit status 1, so the job has been ended; its log is {os.getcwd()}/2.log",
        1,
    )
    ranks.ended.update({"rank 11": -9})
    assert ranks.failure()[1] == -9 and ranks.failure()[0].startswith(
        "rank 11 was killed by SIGKILL (signal 9)"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_launcher_ends_every_process(job, number):
    launched = job(rank_0="sleep", rank_1="sleep", rank_2="sleep", scheduler="sleep")
    for rank in range(3):
        launched.pids(rank)
    launched.launcher.send_signal(number)
    status, _, err = launched.end()
    assert (status, err) == (
        128 + number,
        f"error: stopped by {number.name}; all processes of the job have been ended\n",
    )


def test_a_process_that_ignores_the_request_to_end_is_killed(folder, python, checkout):
    repository = checkout(rank_0="stubborn", rank_1="sleep")
    program = (
        f"import sys; sys.path.insert(0, {str(repository)!r}); from scripts import distributed; "
        f"distributed.TERM_SECONDS = 1; sys.exit(distributed.main({python!r}, 'ascend', '2', '1', "
        f"{str(write_table(folder, two_devices()))!r}))"
    )
    (folder / "launch.sh").write_text(f"exec {shlex.quote(sys.executable)} -c {shlex.quote(program)}\n")
    launched = Launched(folder / "launch.sh", [], folder)
    launched.pids(0)
    os.kill(launched.pids(1)[0], signal.SIGKILL)
    status, _, err = launched.end()
    assert status == 128 + signal.SIGKILL and "rank 1 was killed by SIGKILL" in err


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


def test_in_the_background_wrong_arguments_are_told_at_once(folder, python):
    done = run(ROOT / "scripts" / CPU, ["x", "1", ".", "none", "."], folder, PYTHON=python, BACKGROUND="1")
    assert "DEVICE_NUM must be a positive whole number" in refused(done) and list(folder.iterdir()) == []
    done = run(
        ROOT / "scripts" / CPU, [2, "1", "nowhere", "none", "."], folder, PYTHON=python, BACKGROUND="1"
    )
    assert "DATA_DIR: nowhere does not exist" in refused(done) and list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "todo, status, said",
    [
        (
            {"rank_0": "sleep", "rank_1": "sleep", "scheduler": "exit:6"},
            6,
            "scheduler ended with exit status 6, so the job has been ended",
        ),
        (
            {"rank_0": "exit:4", "rank_1": "exit:4", "scheduler": "exit:4"},
            4,
            r"rank [01] ended with exit status 4",
        ),
    ],
)
def test_a_failing_scheduler_ends_the_job_unless_a_rank_says_why(
    folder, python, checkout, todo, status, said
):
    launched = Launched(checkout(**todo) / "scripts" / CPU, [2, 1, ".", "none", "."], folder, PYTHON=python)
    ended, _, err = launched.end()
    assert ended == status and re.match(f"error: {said}", err)


def test_an_msrun_that_fails_is_one_line_with_its_log(folder, python, checkout):
    ended, _, err = Launched(
        checkout() / "scripts" / CPU, [2, 1, ".", "none", "."], folder, PYTHON=python, MSRUN_FAILS="1"
    ).end()
    assert (ended, err) == (1, "error: msrun ended with exit status 1; its output is in ms_log/msrun.log\n")
    assert (folder / "ms_log" / "msrun.log").read_text() == "msrun cannot\n"


def test_workers_that_fail_at_once_are_not_waited_for(folder, python, checkout):
    repository = checkout()
    (repository / "train.py").unlink()  # the Python that msrun starts ends within milliseconds
    arguments = [2, 1, ".", "none", ".", repository]
    ended, _, err = Launched(
        repository / "scripts" / CPU, arguments, folder, PYTHON=python, ENTRY="train.py"
    ).end()
    assert ended != 0 and re.match(r"error: rank [01] ended .*worker_[01]\.log", err)


def test_a_log_folder_that_cannot_be_made_is_one_line(folder, python, checkout):
    (folder / "rank_1").write_text("a file")
    done = run(
        checkout() / "scripts" / ASCEND, [2, 1, write_table(folder, two_devices())], folder, PYTHON=python
    )
    assert refused(done) == "error: rank_1: File exists\n"


REAL_ENTRY = """import os, sys, time
import mindspore as ms
from mindspore import communication, ops
ms.set_device("CPU")
communication.init()
ms.set_auto_parallel_context(parallel_mode="data_parallel", gradients_mean=True)
rank = communication.get_rank()
total = ops.AllReduce()
for step in range(1000):
    value = float(total(ms.Tensor([1.0 + rank], ms.float32)).asnumpy()[0])
    assert value == 3.0
    print("rank", rank, "of", communication.get_group_size(), "step", step, flush=True)
    if step == 2:
        with open(f"started_{rank}.tmp", "w") as file:
            print(os.getpid(), file=file)
        os.rename(f"started_{rank}.tmp", f"started_{rank}")
    time.sleep(0.1)
"""


def test_with_msrun_itself_a_killed_worker_ends_the_job(folder, checkout):
    repository = checkout()
    (repository / "run_general_distill.py").write_text(REAL_ENTRY)
    launched = Launched(repository / "scripts" / CPU, [2, 1, ".", "none", "."], folder, PYTHON=sys.executable)
    launched.pids(0)
    (victim,) = launched.pids(1)
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    status, out, err = launched.end()
    assert time.monotonic() - killed < 30
    assert status == 128 + signal.SIGKILL and "rank 0 of 2 step 2\n" in out
    assert err == (
        "error: rank 1 was killed by SIGKILL (signal 9), so the job has been ended; "
        f"its log is {folder}/ms_log/worker_1.log\n"
    )
