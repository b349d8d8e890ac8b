"""The launchers of distributed jobs: the commands they make of their arguments, and arguments they refuse."""

import os
import re
import shlex
import socket

import pytest

from scripts.launch import LaunchError, commands
from tests.launchers import ASCEND, CPU, GPU, ROOT, dry_run, refused, run, two_devices, write_table


@pytest.fixture
def made(tmp_path, monkeypatch):
    """made(launcher, further arguments, ENTRY=...): (entry script, its arguments) of every command."""

    def make(launcher, further, schema="none", **environment):
        for name in ("ENTRY", "SERVER_ID", "MASTER_PORT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        if launcher == "Ascend":
            table = str(write_table(tmp_path, two_devices()))
            found, _ = commands.ascend_commands("python", ["2", "7", table, *further])
        else:
            arguments = ["2", "7", "D", schema, "T", *further]
            found, _ = commands.cluster_commands("python", launcher, arguments)
        lines = [command.arguments[command.arguments.index("-u") + 1 :] for command in found]
        assert all(line == lines[0] for line in lines)
        return os.path.relpath(lines[0][0], ROOT), lines[0][1:]

    return make


@pytest.mark.parametrize("script", [ASCEND, GPU, CPU, "run_distribute_gd.sh", "run_standalone_gd.sh"])
def test_without_arguments_or_with_h_there_is_the_usage(folder, script):
    asked = [((), 2), (("-h",), 0), (("--help",), 0)]
    if script == "run_standalone_gd.sh":  # that one has all in its YAML
        del asked[0]
    for arguments, status in asked:
        done = run(ROOT / "scripts" / script, arguments, folder)
        name = script.replace("run_distribute_gd", "run_distributed_gd_ascend")
        assert done.returncode == status
        assert done.stdout.startswith(f"usage: bash scripts/{name} ")


@pytest.mark.parametrize("script", [ASCEND, "run_distribute_gd.sh"])
def test_on_ascend_every_rank_is_a_command_with_its_device_and_cores(folder, python, script):
    path = write_table(folder, two_devices())
    lines = dry_run(script, [2, 3, path.name], folder, PYTHON=python)
    assert [environment for environment, _, _ in lines] == [
        {"RANK_TABLE_FILE": str(path), "RANK_SIZE": "2", "RANK_ID": "0", "DEVICE_ID": "4"},
        {"RANK_TABLE_FILE": str(path), "RANK_SIZE": "2", "RANK_ID": "1", "DEVICE_ID": "5"},
    ]
    assert [log for _, _, log in lines] == ["rank_0/log.txt", "rank_1/log.txt"]
    start = [
        python,
        "-u",
        str(ROOT / "run_general_distill.py"),
        "--config_path",
        str(ROOT / "gd_config.yaml"),
    ]
    group = ["--distribute", "true", "--device_num", "2", "--device_target", "Ascend"]
    for _, command, _ in lines:
        assert command[:2] == ["taskset", "-c"]
        assert command[3:] == [*start, *group, "--epoch_size", "3"]
    allowed = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    if "," in allowed:
        assert ",".join(command[2] for _, command, _ in lines) == allowed


@pytest.mark.parametrize(
    "cores, count, expected",
    [
        (range(8), 2, ["0,1,2,3", "4,5,6,7"]),
        ([0, 1, 2, 5, 6, 9, 10, 11], 3, ["0,1", "2,5,6", "9,10,11"]),
        ([3, 4], 4, ["3", "3", "3", "4"]),
        ([7], 3, ["7", "7", "7"]),
    ],
)
def test_cores_are_shared_out_without_gaps(monkeypatch, cores, count, expected):
    monkeypatch.setattr(commands.os, "sched_getaffinity", lambda _: set(cores))
    assert commands.bind_prefixes(count) == [["taskset", "-c", cores] for cores in expected]


@pytest.mark.parametrize("script, target", [(GPU, "GPU"), (CPU, "CPU")])
def test_on_gpu_and_cpu_there_are_a_scheduler_and_ranks(folder, python, script, target):
    arguments = [2, 10, "my data", "my schema", "the teacher"]
    lines = dry_run(script, arguments, folder, PYTHON=python)
    port = lines[0][0]["MS_SCHED_PORT"]
    assert re.fullmatch(r"\d{4,5}", port)
    group = {"MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": port, "MS_WORKER_NUM": "2", "RANK_SIZE": "2"}
    assert [environment for environment, _, _ in lines] == [
        {**group, "MS_ROLE": "MS_SCHED", "RANK_ID": "0"},
        {**group, "MS_ROLE": "MS_WORKER", "MS_NODE_ID": "0", "RANK_ID": "0", "DEVICE_ID": "0"},
        {**group, "MS_ROLE": "MS_WORKER", "MS_NODE_ID": "1", "RANK_ID": "1", "DEVICE_ID": "1"},
    ]
    assert [log for _, _, log in lines] == [
        "ms_log/scheduler.log",
        "ms_log/worker_0.log",
        "ms_log/worker_1.log",
    ]
    start = [
        python,
        "-u",
        str(ROOT / "run_general_distill.py"),
        "--config_path",
        str(ROOT / "gd_config.yaml"),
    ]
    group = ["--distribute", "true", "--device_num", "2", "--device_target", target, "--epoch_size", "10"]
    data = ["--data_dir", "my data", "--schema_dir", "my schema", "--load_teacher_ckpt_path", "the teacher"]
    assert all(command == [*start, *group, *data] for _, command, _ in lines)


@pytest.mark.parametrize("schema", ["", "none"])
def test_no_schema_is_left_out(made, schema):
    _, arguments = made("CPU", [], schema=schema)
    assert arguments[-6:] == ["--epoch_size", "7", "--data_dir", "D", "--load_teacher_ckpt_path", "T"]


GD = ["--data_dir", "D", "--load_teacher_ckpt_path", "T"]
TD = ["--train_data_dir", "D", "--eval_data_dir", "D", "--load_teacher_ckpt_path", "T"]
TERNARY = ["--data_dir", "D", "--teacher_model_dir", "T", "--student_model_dir", "T"]


@pytest.mark.parametrize(
    "entry, further, script, config, epochs, data",
    [
        ("", ["own.yaml"], "run_general_distill.py", "own.yaml", "--epoch_size", GD),
        (
            "run_general_distill.py",
            ["--seed", "1"],
            "run_general_distill.py",
            str(ROOT / "gd_config.yaml"),
            "--epoch_size",
            GD,
        ),
        (
            "run_task_distill.py",
            ["own.yaml", "--seed", "1"],
            "run_task_distill.py",
            "own.yaml",
            "--td_phase2_epoch_size",
            TD,
        ),
        (
            "train.py",
            ["--task_name", "sts-b"],
            "train.py",
            str(ROOT / "ternary_config.yaml"),
            "--epoch_size",
            TERNARY,
        ),
        ("train.py", ["own.yaml", "--x", "a  b"], "train.py", "own.yaml", "--epoch_size", TERNARY),
    ],
)
def test_entry_and_config_and_further_flags(made, entry, further, script, config, epochs, data):
    flags = [word for word in further if word != "own.yaml"]
    common = ["--config_path", config, "--distribute", "true", "--device_num", "2", "--device_target"]
    for target in ("CPU", "GPU"):
        assert made(target, further, ENTRY=entry) == (script, [*common, target, epochs, "7", *data, *flags])
    assert made("Ascend", further, ENTRY=entry) == (script, [*common, "Ascend", epochs, "7", *flags])


@pytest.mark.parametrize("flags", [["--config_path", "own.yaml"], ["--seed=1", "--config_path=own.yaml"]])
@pytest.mark.parametrize("entry", ["run_general_distill.py", "run_task_distill.py"])
def test_a_settings_file_among_the_flags_replaces_the_default(made, flags, entry):
    _, arguments = made("CPU", flags, ENTRY=entry)
    assert arguments[:2] == ["--distribute", "true"] and arguments[-len(flags) :] == flags


@pytest.mark.parametrize(
    "arguments, environment, said",
    [
        ("0 1 D none T", {}, "DEVICE_NUM must be a positive whole number, not '0'"),
        ("two 1 D none T", {}, "DEVICE_NUM must be a positive whole number, not 'two'"),
        ("2 1.5 D none T", {}, "EPOCH_SIZE must be a positive whole number, not '1.5'"),
        ("2 1 '' none T", {}, "DATA_DIR must be a path, not ''"),
        ("2 1 D none --seed 1", {}, "TEACHER must be a path, not '--seed'"),
        ("2 1 D none T ''", {}, "CONFIG is empty"),
        ("2 1 D none T own.yaml more", {}, "'more' follows the last argument"),
        ("2 1 D none T own.yaml --config_path a", {}, "the settings file is given twice"),
        ("2 1 D none T", {"ENTRY": "run_task_distill.py"}, "ENTRY=run_task_distill.py needs a CONFIG"),
        (
            "2 1 D none T",
            {"ENTRY": "eval.py"},
            "ENTRY=eval.py cannot be started on several devices; it must be one of "
            "run_general_distill.py, run_task_distill.py, train.py",
        ),
        ("2 1 D none T", {"MASTER_PORT": "80"}, "MASTER_PORT must be from 1024 to 65535, not 80"),
        ("2 1 D none T", {"MASTER_PORT": "x"}, "MASTER_PORT must be a positive whole number, not 'x'"),
    ],
)
def test_wrong_arguments_are_named(monkeypatch, arguments, environment, said):
    for name in ("ENTRY", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LaunchError) as error:
        commands.cluster_commands("python", "CPU", shlex.split(arguments))
    assert said in str(error.value)


def test_wrong_arguments_are_one_line(folder, python):
    for environment in ({}, {"DRY_RUN": "1"}, {"BACKGROUND": "1"}):
        done = run(
            ROOT / "scripts" / CPU, ["x", 1, "a\nb", "none", "."], folder, PYTHON=python, **environment
        )
        assert refused(done) == "error: DEVICE_NUM must be a positive whole number, not 'x'\n"
    done = run(ROOT / "scripts" / CPU, [1, "a\nb", ".", "none", "."], folder, PYTHON=python)
    assert refused(done) == "error: EPOCH_SIZE must be a positive whole number, not 'a b'\n"
    assert list(folder.iterdir()) == []


def test_paths_are_checked_before_anything_starts_but_not_in_a_dry_run(folder, python):
    script = ROOT / "scripts" / CPU
    for name in ("D", "S", "T", "own.yaml"):
        (folder / name).mkdir()
    for missing, key in (("D", "DATA_DIR"), ("S", "SCHEMA"), ("T", "TEACHER"), ("own.yaml", "CONFIG")):
        paths = [f"no {name}" if name == missing else name for name in ("D", "S", "T", "own.yaml")]
        for environment in ({}, {"BACKGROUND": "1"}):
            done = run(script, [2, 1, *paths], folder, PYTHON=python, **environment)
            assert refused(done) == f"error: {key}: no {missing} does not exist\n"
    assert run(script, [2, 1, *paths], folder, PYTHON=python, DRY_RUN="1").returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["D", "S", "T", "own.yaml"]


def test_the_port_that_is_asked_for_is_used_if_it_is_free(folder, python):
    arguments = [2, 1, ".", "none", "."]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        lines = dry_run(CPU, arguments, folder, PYTHON=python, MASTER_PORT=port)
        assert all(environment["MS_SCHED_PORT"] == port for environment, _, _ in lines)
        done = run(ROOT / "scripts" / CPU, arguments, folder, PYTHON=python, MASTER_PORT=port)
        assert f"MASTER_PORT {port} is in use" in refused(done)


def test_a_dry_run_before_anything_is_installed(folder, checkout):
    repository = checkout()
    done = run(repository / "scripts" / CPU, [2, 1, "D", "none", "T"], folder, PYTHON="false", DRY_RUN="1")
    assert done.returncode == 0 and f"{repository}/.venv/bin/python -u" in done.stdout
    assert not (repository / ".venv").exists()


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
    script = ROOT / "scripts/run_standalone_gd.sh"
    done = run(script, arguments, folder, PYTHON=python, DRY_RUN="1", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert shlex.split(done.stdout) == [python, "-u", str(ROOT / expected[0]), *expected[1:]]


@pytest.mark.parametrize(
    "entry, said",
    [
        ("eval.py", "ENTRY=eval.py is not known"),
        ("run_task_distill.py", "ENTRY=run_task_distill.py needs a CONFIG"),
    ],
)
def test_on_one_device_a_wrong_entry_is_one_line(folder, python, entry, said):
    script = ROOT / "scripts/run_standalone_gd.sh"
    done = run(script, ["--seed", "1"], folder, PYTHON=python, DRY_RUN="1", ENTRY=entry)
    assert said in refused(done)


@pytest.mark.parametrize("number", ["1000000000", "1025", "0", "-1", "1" * 5000, "\u0661", "1.5", ""])
def test_a_number_of_devices_that_no_machine_has_is_refused(number):
    with pytest.raises(LaunchError, match="^DEVICE_NUM ") as error:
        commands.cluster_commands("python", CPU, [number, "1", "D", "none", "T"])
    assert len(str(error.value)) < 300
