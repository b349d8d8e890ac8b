"""What the benchmark scripts share: machine and versions, commands with their time and memory, two sides that
take turns, and where MindSpore's kernels spend their time. Imports neither MindSpore nor PyTorch: a process
inherits the peak memory of the one that started it.
"""

import contextlib
import csv
import glob
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


# --- the machine --------------------------------------------------------------------------------------------


def cpu_name():
    """The processor's name as Linux gives it."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine(*further):
    """{what: value} of the machine and the versions that a result belongs to; of `further` packages too, as
    far as they are there.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "processor": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("mindspore", "torch", "transformers", "numpy")},
        **{name: version for name in further if (version := _version(name))},
        "commit": commit.stdout.strip() or "unknown",
        "date": time.strftime("%Y-%m-%d"),
    }


def _version(name):
    """A package's version, or None where it is not installed."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)


def peak_mib():
    """Most memory that this process has had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- commands -----------------------------------------------------------------------------------------------


def run_command(arguments, log, cwd=ROOT, environment=None):
    """{"seconds", "peak_mib"} of a whole command: wall time, and the most memory of its process or of one
    that it started and waited for. Its output goes to the file `log`.

    Raises:
        SystemExit: it failed; the end of its output is shown.
    """
    with open(log, "wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            arguments, cwd=cwd, env={**os.environ, **(environment or {})}, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        with open(log, encoding="utf-8", errors="replace") as file:
            tail = "".join(file.readlines()[-15:])
        raise SystemExit(f"{' '.join(arguments)} failed with status {process.returncode}:\n{tail}")
    return {"seconds": round(seconds, 2), "peak_mib": round(usage.ru_maxrss / 1024)}


def python(script, *arguments):
    """The command line of a Python script of this repository."""
    return [sys.executable, os.path.join(ROOT, script), *map(str, arguments)]


def last_json(log):
    """The last line of a log that is a JSON object."""
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = [line for line in file if line.startswith("{")]
    return json.loads(lines[-1])


# --- two sides in turns -------------------------------------------------------------------------------------


class Worker:
    """One side in a process of its own, stopped while it waits, so that its threads take no time.

    Args:
        side (str): "ours", "torch" or "deployed". work (dict): what it is to compute, as worker.py reads it.
        environment (dict): variables that its process has beside this one's.
    """

    def __init__(self, side, work, environment=None):
        self.process = subprocess.Popen(
            python("benchmarks/worker.py", side, json.dumps(work)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            text=True,
        )

    def ask(self, call, *arguments):
        """The worker's answer to one request."""
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.stdin.write(json.dumps([call, *arguments]) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("answer "):
                os.kill(self.process.pid, signal.SIGSTOP)
                return json.loads(line[7:])
        raise SystemExit("a worker ended before it answered; its error is above")

    def close(self):
        """End the process."""
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait()


# --- results ------------------------------------------------------------------------------------------------


def add_json_option(parser):
    """--json, the file a script appends its figures to."""
    parser.add_argument("--json", default="", help="append the figures to this file, one JSON line each")


def report(options, name, setting, sides, **further):
    """Print one figure and append it to --json.

    Args:
        name (str), setting (str): what was measured, and on what. sides (dict): {side: {"seconds",
            "peak_mib", ...}}, ours first. further: more of the figure.
    """
    figure = {"figure": name, "setting": setting, "sides": sides, **further}
    print(f"{name}: {setting}")
    for side, values in sides.items():
        print(f"    {side}: " + ", ".join(f"{key} {value}" for key, value in values.items()), flush=True)
    if options.json:
        with open(options.json, "a", encoding="utf-8") as file:
            file.write(json.dumps(figure) + "\n")


# --- MindSpore's kernels ------------------------------------------------------------------------------------


def kernel_times(run):
    """{operator type: milliseconds of kernel time} of one call of `run`, by MindSpore's profiler."""
    from mindspore import profiler

    with tempfile.TemporaryDirectory() as folder:
        with profiler.profile(
            activities=[profiler.ProfilerActivity.CPU],
            on_trace_ready=profiler.tensorboard_trace_handler(dir_name=folder),
        ) as profile:
            run()
            profile.step()
        (path,) = glob.glob(f"{folder}/*/FRAMEWORK/cpu_op_type_info_0.csv")
        with open(path, encoding="utf-8") as file:
            return {row["op_type"]: float(row["total_compute_time"]) for row in csv.DictReader(file)}


def matrix_share(run):
    """Share of the kernels' time that matrix products take in one call of `run`."""
    times = kernel_times(run)
    return sum(times.get(name, 0.0) for name in ("MatMul", "BatchMatMul")) / sum(times.values())
