"""What two workers may lose, by hand: the seconds from the fault to the job's end, its line, and that it then
goes on to its end.

    mount -t tmpfs -o size=256k tmpfs /tmp/small
    python -m tests.lost --folder /tmp/lost --small /tmp/small

Without --small, a disk that the cases "output" (of the first worker), "log" and "kernels" (of the second)
fill, these are left out.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SMALL = {
    "cfg.batch_size": 2,
    "student_net_cfg.num_hidden_layers": 1,
    "student_net_cfg.num_attention_heads": 2,
    "student_net_cfg.hidden_size": 16,
    "student_net_cfg.intermediate_size": 24,
}
LOSSES = {"scheduler": ("MS_ROLE=MS_SCHED",), "worker": ("MS_ROLE=MS_WORKER", "MS_NODE_ID=1")}
"""{what is killed: variables of its environment}."""

FULL = ("log", "kernels")
"""Places that are full from the beginning: they are rarely written to."""


def make_inputs(folder):
    """The corpus and the teacher of a job in a folder."""
    from tests.helpers import make_examples, save_network, tiny_network, write_info, write_split

    write_split(folder / "gd", "train", make_examples(40, 12, shortest=12))
    write_info(folder / "gd", task="gd", labels=())
    save_network(folder / "teacher", tiny_network(3, labels=2, num_hidden_layers=1))


def launch(folder, *arguments, output="out", python=sys.executable, fuse=False):
    """The CPU launcher's process for two workers on the corpus and teacher in `folder`."""
    command = ["bash", ROOT / "scripts" / "run_distributed_gd_cpu.sh", 2, 10, "gd", "none", "teacher"]
    command += ["--output_dir", output, "--save_ckpt_step", 10, "--log_step", 10]
    # Building kernels takes most of the time; the workers of tests/test_distributed.py have fused graphs.
    command += ["--bucket_boundaries", "[16]", "--enable_graph_kernel", str(fuse).lower()]
    command += [word for name, value in SMALL.items() for word in (f"--gd_{name}", value)]
    return subprocess.Popen(
        [*map(str, command), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHON": str(python), "GLOG_v": "3"},
    )


def wait_for_state(job, output):
    """Wait until a job has saved a state."""
    deadline = time.monotonic() + 120
    while not (output / "state.safetensors").exists():
        assert job.poll() is None and time.monotonic() < deadline, job.communicate()
        time.sleep(0.01)


def process(folder, *wanted):
    """Id of the process of a job in `folder` whose environment has these variables."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            here = os.readlink(f"/proc/{name}/cwd") == str(folder)
            with open(f"/proc/{name}/environ", "rb") as file:
                variables = file.read().split(b"\0")
        except OSError:  # another user's process, or one that has just ended
            continue
        if here and {*map(str.encode, wanted)} <= {*variables}:
            return int(name)
    raise AssertionError(f"no process with {wanted} is running")


def fill(disk):
    """Fill a disk to its last byte."""
    with open(disk / "fill", "ab", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def python_of(folder, small):
    """A Python whose second worker has its cache and its temporary files on the small disk."""
    path = folder / "python"
    second = '[ "$MS_ROLE" = MS_WORKER ] && [ "$MS_NODE_ID" = 1 ]'
    places = f"export XDG_CACHE_HOME={small}/cache TMPDIR={small}"
    path.write_text(f'#!/bin/sh\nif {second}; then {places}; fi\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def lose(case, folder, small):
    """One fault, and what comes of it, printed."""
    output = (small if case == "output" else folder) / "out"
    for path in (folder / "ms_log", output):
        shutil.rmtree(path, ignore_errors=True)
    kernels = {"python": python_of(folder, small), "fuse": True} if case == "kernels" else {}
    if case == "log":
        (folder / "ms_log").mkdir()
        (folder / "ms_log" / "worker_1.log").symlink_to(small / "worker_1.log")
    if case in FULL:
        fill(small)
    job, started = launch(folder, output=output, **kernels), time.monotonic()
    if case not in FULL:
        wait_for_state(job, output)
        started = time.monotonic()
        if case == "output":
            fill(small)
        else:
            os.kill(process(folder, *LOSSES[case]), signal.SIGKILL)
    _, err = job.communicate(timeout=200)
    print(f"{case}: ended {time.monotonic() - started:.1f} s later with {job.returncode}: {err}", end="")
    if small:
        (small / "fill").unlink(missing_ok=True)
    job = launch(folder, "--resume", "true", output=output)
    out, err = job.communicate(timeout=200)
    lines = [line[:60] for line in out.splitlines() if line.startswith(("gd resumed", "resume:", "done:"))]
    print(f"    then {job.returncode}: {'; '.join(lines)}{err}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True, type=lambda path: Path(path).resolve())
    parser.add_argument("--small", type=lambda path: Path(path).resolve(), help="a small disk to fill")
    parser.add_argument("--cases", nargs="*", choices=[*LOSSES, "output", *FULL])
    options = parser.parse_args()
    if not (options.folder / "gd").exists():
        options.folder.mkdir(parents=True, exist_ok=True)
        make_inputs(options.folder)
    for case in options.cases or [*LOSSES, *(["output", *FULL] if options.small else [])]:
        lose(case, options.folder, options.small)


if __name__ == "__main__":
    main()
