"""The launchers, with stand-ins for Python and pip: no network, nothing installed."""

import fcntl
import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHELL_SCRIPTS = sorted((ROOT / "scripts").glob("*.sh")) + [ROOT / ".ci" / "run"]

# Answers as a Python that has everything; what a launcher starts prints its arguments, a progress bar, and
# ends with status 7.
STAND_IN = f"""#!/bin/bash
case "$*" in
    *packages.py*) exit 0 ;;
    *run_with_log.py*) exec {sys.executable} "$@" ;;
    -c*) exit 0 ;;
esac
printf '<%s>\\n' "$@"
echo "GLOG_v=$GLOG_v"
printf '10%%\\r20%%\\r'
[ -z "${{SLOW:-}}" ] || exec sleep 30
echo problem >&2
exit 7
"""


def write_program(path, text):
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def run(command, cwd, **environment):
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHON", "CI", "DRY_RUN", "BACKGROUND", "GLOG_v")
    }
    return subprocess.run(
        ["bash", *map(str, command)],
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


@pytest.fixture
def stand_in(tmp_path):
    return str(write_program(tmp_path / "a python", STAND_IN))


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "some where"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_bash_accepts_the_script(script):
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    if os.access(script, os.X_OK):
        assert "set -euo pipefail" in script.read_text()


@pytest.mark.parametrize("arguments, status", [((), 2), (("--help",), 0), (("--task_name", "SST-2"), 2)])
def test_distillation_without_a_config_shows_the_usage(elsewhere, arguments, status):
    done = run([ROOT / "scripts/run_standalone_td.sh", *arguments], elsewhere)
    assert done.returncode == status
    assert done.stdout.startswith("usage: bash scripts/run_standalone_td.sh CONFIG")


@pytest.mark.parametrize(
    "script, arguments, expected",
    [
        (
            "run_standalone_td.sh",
            ("my config.yaml", "--task_name", "SST-2"),
            ("run_task_distill.py", "--config_path", "my config.yaml", "--task_name", "SST-2"),
        ),
        (
            "run_finetune.sh",
            ("--output_dir", "a  b", "--x", "$y"),
            ("run_finetune.py", "--output_dir", "a  b", "--x", "$y"),
        ),
        (
            "run_train.sh",
            ("sts-b", "T", "S", "my data", "--seed", "1"),
            (
                "train.py",
                "--config_path",
                str(ROOT / "ternary_config.yaml"),
                "--task_name",
                "sts-b",
                "--teacher_model_dir",
                "T",
                "--student_model_dir",
                "S",
                "--data_dir",
                "my data",
                "--seed",
                "1",
            ),
        ),
        (
            "run_train.sh",
            ("sts-b", "T", "S", "D", "--config_path", "own.yaml"),
            (
                "train.py",
                "--task_name",
                "sts-b",
                "--teacher_model_dir",
                "T",
                "--student_model_dir",
                "S",
                "--data_dir",
                "D",
                "--config_path",
                "own.yaml",
            ),
        ),
        (
            "run_eval_onnx.sh",
            ("sts-b", "M.onnx", "D", "--batch_size", "8"),
            (
                "run_eval_onnx.py",
                "--task_name",
                "sts-b",
                "--model_file",
                "M.onnx",
                "--data_dir",
                "D",
                "--batch_size",
                "8",
            ),
        ),
        (
            "run_eval.sh",
            ("sts-b", "M", "D", "--batch_size", "8"),
            ("eval.py", "--task_name", "sts-b", "--model_dir", "M", "--data_dir", "D", "--batch_size", "8"),
        ),
    ],
)
def test_dry_run_prints_the_command_and_does_nothing(elsewhere, stand_in, script, arguments, expected):
    done = run([ROOT / "scripts" / script, *arguments], elsewhere, PYTHON=stand_in, DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    assert shlex.split(done.stdout) == [stand_in, "-u", str(ROOT / expected[0]), *expected[1:]]
    assert list(elsewhere.iterdir()) == []


def test_output_goes_to_the_terminal_and_the_log_and_the_status_is_pythons(elsewhere, stand_in):
    done = run([ROOT / "scripts/run_finetune.sh", "--output_dir", "a b"], elsewhere, PYTHON=stand_in)
    assert done.returncode == 7
    assert "<a b>" in done.stdout and "problem" in done.stdout
    log = (elsewhere / "log.txt").read_bytes()
    assert b"<a b>\nGLOG_v=3\n10%\nproblem\n" in log and b"\r" not in log


def test_bars_break_no_line_of_a_log_and_fill_none(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    log = importlib.import_module("run_with_log").Log(tmp_path / "log.txt")
    sent = b"begin\r\n\rbar 1 \rbar 2 \r      \rline\r\n\rbar 3\r\n\r\nend"
    for place in range(len(sent)):  # however it arrives
        log.write(sent[place : place + 1])
    log.close()
    assert (tmp_path / "log.txt").read_bytes() == b"begin\nbar 1\nline\nbar 3\n\nend"


def test_a_log_that_cannot_be_opened_is_one_line_and_nothing_is_started(elsewhere, stand_in):
    (elsewhere / "log.txt").mkdir()
    for environment, why in (({}, ": Is a directory"), ({"BACKGROUND": "1"}, "")):
        done = run([ROOT / "scripts/run_finetune.sh"], elsewhere, PYTHON=stand_in, **environment)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(
            rf"error: cannot write {re.escape(str(elsewhere))}/log.txt{why}; .*\n", done.stderr
        )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_log_whose_disk_is_full_does_not_end_the_run(elsewhere, stand_in):
    (elsewhere / "log.txt").symlink_to("/dev/full")
    done = run([ROOT / "scripts/run_finetune.sh"], elsewhere, PYTHON=stand_in)
    assert done.returncode == 7 and "problem" in done.stdout
    assert re.fullmatch(r"warning: .*/log.txt: No space left on device; .*\n", done.stderr)


def test_a_reader_that_has_gone_does_not_end_the_run(elsewhere, stand_in):
    command = f'bash {ROOT / "scripts/run_finetune.sh"} | head -c 3; echo "${{PIPESTATUS[0]}}"'
    slow = write_program(
        elsewhere / "slow", STAND_IN.replace("echo problem >&2", "sleep 1; echo one; sleep 1; echo two")
    )
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=elsewhere,
        env={**os.environ, "PYTHON": str(slow)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("7") and done.stderr == ""
    assert (elsewhere / "log.txt").read_text().endswith("one\ntwo\n")


@pytest.mark.parametrize("script", ["run_standalone_gd.sh", "run_standalone_td.sh"])
def test_the_settings_file_is_named_once(elsewhere, stand_in, script):
    for arguments, words in (
        (["", "--seed", "1"], "CONFIG is empty"),
        (["a.yaml", "--config_path", "b.yaml"], "given twice, as CONFIG (a.yaml) and with --config_path"),
        (["a.yaml", "--config_path=b.yaml"], "given twice"),
    ):
        done = run([ROOT / "scripts" / script, *arguments], elsewhere, PYTHON=stand_in, DRY_RUN="1")
        assert (done.returncode, done.stdout) == (2, "") and words in done.stderr


def test_on_a_terminal_the_command_sees_a_terminal(elsewhere, stand_in):
    write_program(
        Path(stand_in),
        STAND_IN.replace("echo problem >&2", "[ -t 1 ] && [ -t 2 ] && echo both are terminals"),
    )
    reading, writing = os.openpty()
    with subprocess.Popen(
        ["bash", ROOT / "scripts/run_finetune.sh"],
        cwd=elsewhere,
        env={**os.environ, "PYTHON": stand_in},
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
    ) as launcher:
        os.close(writing)
        assert launcher.wait(timeout=60) == 7
    os.close(reading)
    log = (elsewhere / "log.txt").read_bytes()
    assert b"both are terminals\n" in log and b"\r" not in log


def test_the_users_own_log_level_wins(elsewhere, stand_in):
    assert (
        "GLOG_v=1" in run([ROOT / "scripts/run_finetune.sh"], elsewhere, PYTHON=stand_in, GLOG_v="1").stdout
    )


def test_in_the_background_the_launcher_returns_and_a_termination_ends_the_run(elsewhere, stand_in):
    started = time.monotonic()
    done = run([ROOT / "scripts/run_finetune.sh"], elsewhere, PYTHON=stand_in, BACKGROUND="1", SLOW="1")
    assert done.returncode == 0 and time.monotonic() - started < 25
    process = int(re.match(r"started process (\d+); follow it with: tail -f .*log.txt", done.stdout).group(1))
    log = elsewhere / "log.txt"
    while not (log.exists() and b"10%" in log.read_bytes()):
        assert time.monotonic() - started < 50
        time.sleep(0.05)
    os.kill(process, signal.SIGTERM)
    while (
        Path(f"/proc/{process}/stat").exists() and Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    ):
        assert time.monotonic() - started < 50
        time.sleep(0.05)
    assert b"problem" not in log.read_bytes()


def test_an_environment_of_the_users_own_is_not_changed_but_told_what_it_lacks(elsewhere, tmp_path):
    python = write_program(
        tmp_path / "python",
        '#!/bin/bash\ncase "$*" in *packages.py*) echo pytest; exit 1 ;; -c*) exit 0 ;; '
        "esac\ntouch installed\n",
    )
    done = run([ROOT / "scripts/run_tests.sh"], elsewhere, PYTHON=str(python))
    assert done.returncode == 2
    assert done.stderr == f"error: {python} lacks pytest: pip install -r requirements-dev.txt\n"
    assert list(elsewhere.iterdir()) == []


def test_python3_is_used_where_python_has_no_mindspore(elsewhere, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    path = f"{folder}:{os.environ['PATH']}"
    write_program(folder / "python", "#!/bin/bash\nexit 1\n")
    write_program(folder / "python3", STAND_IN)
    dry = run([ROOT / "scripts/run_finetune.sh"], elsewhere, PATH=path, DRY_RUN="1")
    assert shlex.split(dry.stdout)[0] == "python3"
    write_program(folder / "python", STAND_IN)
    dry = run([ROOT / "scripts/run_finetune.sh"], elsewhere, PATH=path, DRY_RUN="1")
    assert shlex.split(dry.stdout)[0] == "python"
    # A PYTHON that the user names is the only one tried.
    dry = run([ROOT / "scripts/run_finetune.sh"], elsewhere, PATH=path, DRY_RUN="1", PYTHON="false")
    assert shlex.split(dry.stdout)[0] == str(ROOT / ".venv/bin/python")


@pytest.fixture
def checkout(tmp_path):
    """A copy of the repository's scripts and requirement files, without .venv."""
    folder = tmp_path / "check out"
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    for path in ROOT.glob("requirements*.txt"):
        shutil.copy(path, folder)
    return folder


def old_python(folder, version):
    """A folder whose every python is of one unsupported version."""
    folder.mkdir()
    for name in ("python", "python3", "python3.10", "python3.11", "python3.12"):
        write_program(
            folder / name,
            f'#!/bin/bash\ncase "$*" in --version) echo Python {version}.5 ;; *find_spec*) exit 1 ;; '
            f"*) echo {version} ;; esac\n",
        )
    return folder


@pytest.mark.parametrize("version", ["3.8", "3.13"])
def test_an_unsupported_python_gets_one_line_with_the_versions_that_work(checkout, tmp_path, version):
    path = f"{old_python(tmp_path / 'bin', version)}:{os.environ['PATH']}"
    done = run([checkout / "scripts/run_finetune.sh"], tmp_path, PATH=path)
    assert done.returncode == 2
    assert re.fullmatch(
        rf"error: MindSpore needs Python 3\.10/3\.11/3\.12, found only Python {version}\.5; .*\n", done.stderr
    )
    assert not (checkout / ".venv").exists()


# A Python 3.11 whose `-m venv` copies itself and whose `-m pip install` notes its arguments, failing where
# $PIP_FAILS is set.
INSTALLER = """#!/bin/bash
case "$*" in
    --version) echo Python 3.11.0 ;;
    *find_spec*) exit 1 ;;
    "-c import sys"*) echo 3.11 ;;
    "-c import pip") exit 0 ;;
    "-m venv"*) mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python"; echo made >>"$NOTES" ;;
    "-m pip install"*) echo "$*" >>"$NOTES"; exit ${PIP_FAILS:-0} ;;
    *remove_damaged*) echo repaired >>"$NOTES" ;;
    *) echo "ran $*" >>"$NOTES" ;;
esac
"""


@pytest.fixture
def installer(checkout, tmp_path):
    """environment(): notes of one launcher run with the stand-in installer, and how it ended."""
    python = write_program(tmp_path / "python", INSTALLER)

    def call(script, **environment):
        notes = tmp_path / "notes"
        notes.write_text("")
        done = run([checkout / script], tmp_path, PYTHON=str(python), NOTES=str(notes), **environment)
        return done, notes.read_text().replace(str(checkout), "ROOT").splitlines()

    return call


PIP_DEV = "-m pip install --disable-pip-version-check -r ROOT/requirements-dev.txt"
PYTEST = "ran -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder"


def test_requirements_are_installed_once_and_again_when_they_change(installer, checkout):
    done, notes = installer("scripts/run_tests.sh")
    assert done.returncode == 0, done.stderr
    assert notes == ["made", PIP_DEV, PYTEST]
    assert installer("scripts/run_tests.sh")[1] == [PYTEST]
    # Included by requirements-dev.txt.
    with open(checkout / "requirements.txt", "a", encoding="utf-8") as file:
        file.write("some-package\n")
    assert installer("scripts/run_tests.sh")[1] == [PIP_DEV, PYTEST]
    # The tests' requirements include those of the quick start.
    assert installer("scripts/quick_start.sh")[1] == ["ran -m scripts.quick_start"]


def test_a_failed_installation_is_reported_and_repaired_by_the_next_run(installer):
    done, notes = installer("scripts/run_tests.sh", PIP_FAILS="5")
    assert done.returncode == 5 and notes == ["made", PIP_DEV]
    assert installer("scripts/run_tests.sh")[1] == ["repaired", PIP_DEV, PYTEST]
    assert installer("scripts/run_tests.sh")[1] == [PYTEST]


@pytest.mark.skipif(not shutil.which("flock"), reason="no flock")
def test_launchers_started_together_install_once(checkout, tmp_path):
    """They wait for whoever has the lock, here the test; what a launcher starts does not keep it."""
    ended = '*) ! [[ "$(readlink /proc/$$/fd/*)" = *venv.lock* ]] || echo locked >>"$NOTES"; echo "ran $*"'
    python, notes = (
        write_program(tmp_path / "python", INSTALLER.replace('*) echo "ran $*"', ended)),
        tmp_path / "notes",
    )
    with open(checkout / ".venv.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        launchers = [
            subprocess.Popen(
                ["bash", checkout / "scripts/run_tests.sh"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHON": str(python), "NOTES": str(notes)},
            )
            for _ in range(2)
        ]
        for launcher in launchers:
            assert launcher.stdout.readline().startswith("waiting for another launcher")
        assert not notes.exists() and not (checkout / ".venv").exists()
    assert [launcher.communicate(timeout=60)[1] for launcher in launchers] == ["", ""]
    assert [launcher.returncode for launcher in launchers] == [0, 0]
    assert notes.read_text().replace(str(checkout), "ROOT").splitlines() == ["made", PIP_DEV, PYTEST, PYTEST]


def test_a_repository_that_cannot_be_written_is_one_line(installer, checkout):
    (checkout / ".venv.lock").mkdir()  # as good as no permission, for root too
    done, notes = installer("scripts/run_tests.sh")
    assert done.returncode == 2 and notes == []
    assert re.fullmatch(r"error: cannot write .*/\.venv\.lock; .*\n", done.stderr)


def test_a_dry_run_installs_nothing(installer, checkout):
    done, notes = installer("scripts/run_finetune.sh", DRY_RUN="1")
    assert done.returncode == 0 and notes == [] and not (checkout / ".venv").exists()


def test_ci_runs_the_one_test_command(installer):
    done, notes = installer(".ci/run")
    assert done.returncode == 0, done.stderr
    assert notes == ["made", PIP_DEV, PYTEST]


def test_ci_makes_its_own_environment_where_the_machines_lacks_packages(installer, tmp_path):
    write_program(
        tmp_path / "python",
        INSTALLER.replace("*find_spec*) exit 1", "*'packages.py missing'*) exit 1 ;;\n *find_spec*) exit 0"),
    )
    assert installer(".ci/run")[1] == ["made", PIP_DEV, PYTEST]


def package(site, name, body=b"x = 1\n", record=True):
    """A package as pip installs it: a module, its metadata, the list of its files with their sizes."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (site / f"{name}.py").write_bytes(body)
    if record:
        (info / "RECORD").write_text(f"{name}.py,,6\n__pycache__/{name}.pyc,,99\n")


def test_repair_removes_only_what_is_damaged(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import packages

    package(tmp_path, "whole")
    package(tmp_path, "truncated", body=b"x")
    package(tmp_path, "unlisted", record=False)
    package(tmp_path, "absent")
    (tmp_path / "absent.py").unlink()
    monkeypatch.setattr(packages.sysconfig, "get_path", lambda name: str(tmp_path))
    assert packages.remove_damaged() == 0
    assert [path.name for path in tmp_path.glob("*.dist-info")] == ["whole-1.0.dist-info"]


def test_missing_packages_are_named_through_included_files(tmp_path):
    (tmp_path / "base.txt").write_text("# a comment\nno-such-package-a>=1,<2   # why\npytest>=8\n")
    (tmp_path / "dev.txt").write_text("-r base.txt\nno-such-package-b[extra]==2.0\n")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/packages.py", "missing", tmp_path / "dev.txt"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "no-such-package-a, no-such-package-b\n")
