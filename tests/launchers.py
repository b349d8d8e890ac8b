"""What the tests of the launchers of distributed jobs share: stand-ins for Python and the entry scripts, rank
tables, and a started launcher.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ASCEND, GPU, CPU = (f"run_distributed_gd_{device}.sh" for device in ("ascend", "gpu", "cpu"))
SECONDS = 50  # within which everything here has happened, however busy the machine is
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

STAND_IN_PYTHON = f"""#!/bin/bash
case "$*" in *packages.py*) exit 0 ;; -c*) exit 0 ;; esac
exec {shlex.quote(sys.executable)} "$@"
"""

# Does what the file `do.json` beside it says for its rank (or for the scheduler): exit:STATUS, stubborn (no
# SIGTERM), kill (itself), or sleep with a child, which is stubborn.
STAND_IN_ENTRY = f"""import json, os, signal, subprocess, sys, time
rank = "scheduler" if os.environ.get("MS_ROLE") == "MS_SCHED" else os.environ["RANK_ID"]
here = os.path.dirname(os.path.abspath(__file__))
todo = json.load(open(os.path.join(here, "do.json"))).get(rank, "exit:0")
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep({2 * SECONDS})"
child = subprocess.Popen([sys.executable, "-c", stubborn]) if todo == "sleep" else None
if todo == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("hello from", rank, "arguments", sys.argv[1:], flush=True)
with open(f"started_{{rank}}.tmp", "w") as file:
    print(os.getpid(), *([child.pid] if child else []), file=file)
os.rename(f"started_{{rank}}.tmp", f"started_{{rank}}")
if todo == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if todo.startswith("exit:"):
    time.sleep(0.2)
    if todo != "exit:0":
        print("error: this went wrong\\n[INFO] of a library", flush=True)
    sys.exit(int(todo[5:]))
time.sleep({2 * SECONDS})
"""


def write_program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def clean_environment(**changes):
    ours = ("PYTHON", "CI", "DRY_RUN", "BACKGROUND", "GLOG_v", "ENTRY", "SERVER_ID", "MASTER_PORT")
    return {**{name: value for name, value in os.environ.items() if name not in ours}, **changes}


def run(script, arguments, cwd, **environment):
    """A launcher that ends by itself, with its output."""
    return subprocess.run(
        ["bash", str(script), *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=2 * SECONDS,
    )


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


# --- rank tables --------------------------------------------------------------------------------------------


def device(number, rank, address=None):
    address = address or f"192.168.100.{100 + rank}"
    return {"device_id": str(number), "device_ip": address, "rank_id": str(rank)}


def server(name, *devices):
    return {"server_id": name, "device": list(devices), "host_nic_ip": "reserve"}


def rank_table(*servers):
    count = str(len(servers))
    return {"version": "1.0", "server_count": count, "server_list": list(servers), "status": "completed"}


def two_devices():
    return rank_table(server("10.1.2.3", device(4, 0), device(5, 1)))


def write_table(folder, table):
    path = folder / "hccl 2p.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
    return path


# --- a job that runs ----------------------------------------------------------------------------------------


def wait_for(condition, seconds=SECONDS):
    """The first true value of condition()."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "this did not happen"
        time.sleep(0.02)
    return value


def is_alive(pid):
    """Whether a process runs. One that has ended may stay listed until its parent asks after it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def default_signals():
    """Under nohup or in the background the tests ignore signals, and what they start would inherit that."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


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
            preexec_fn=default_signals,
        )
        self.running.append(self.launcher)

    def pids(self, name):
        """[process, its child] of a rank or the scheduler, once it is there."""
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
                wait_for(lambda: not is_alive(pid), seconds=5)  # noqa: B023 (called at once)
        return ended
