"""From the command to the first step: train.py on STS-B, ternary, started three times with one compile cache.

    python benchmarks/starts.py --teacher_dir HF_TEACHER --glue_dir GLUE

The first start finds the cache empty. A run is ended as soon as its first step is in its log.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import add_json_option, python, report  # noqa: E402
from benchmarks.our_commands import OurCommands  # noqa: E402

FIRST_STEP = "epoch: 1, step: 1,"
LONGEST = 300
"""Seconds that a start may take."""


def seconds_to_first_step(arguments, log, environment):
    """Start a command, wait for its first step, end it."""
    with open(log, "wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(arguments, env={**os.environ, **environment}, stdout=output, stderr=output)
        try:
            while time.perf_counter() - started < LONGEST:
                with open(log, encoding="utf-8", errors="replace") as file:
                    if FIRST_STEP in file.read():
                        return round(time.perf_counter() - started, 2)
                if process.poll() is not None:
                    break
                time.sleep(0.05)
        finally:
            process.terminate()
            process.wait()
    raise SystemExit(f"no first step; see {log}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher_dir", required=True, help="STS-B's teacher, a Hugging Face folder")
    parser.add_argument("--glue_dir", required=True, help="folder with STS-B/train.tsv and dev.tsv")
    add_json_option(parser)
    options = parser.parse_args()
    sides = {}
    with tempfile.TemporaryDirectory() as folder:
        commands = OurCommands(folder)
        data, teacher = os.path.join(folder, "data"), os.path.join(folder, "teacher")
        commands.prepare("STS-B", os.path.join(options.glue_dir, "STS-B"), options.teacher_dir, data)
        commands.convert(options.teacher_dir, teacher, "--task_name", "STS-B")
        for name in ("first start", "second start", "third start"):
            arguments = python(
                "train.py",
                "--config_path", os.path.join(ROOT, "ternary_config.yaml"), "--task_name", "sts-b",
                "--teacher_model_dir", teacher, "--student_model_dir", teacher,
                "--data_dir", f"{data}/sts-b", "--output_dir", os.path.join(folder, name),
            )  # fmt: skip
            log = os.path.join(folder, "log.txt")
            sides[name] = {"seconds": seconds_to_first_step(arguments, log, commands.environment)}
    report(options, "command to first step", "STS-B, W2A8 6 x 384, teacher evaluated before", sides)


if __name__ == "__main__":
    main()
