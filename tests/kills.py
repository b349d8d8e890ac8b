"""Kills training runs at random moments and compares what they end with, byte for byte, with undisturbed
ones.

    python -m tests.kills --folder /tmp/kills --kills 100 --minutes 30

Every training command runs on a tiny network with dropout. A run is killed (SIGKILL) one to three times, by
turns after a random time and right before a random call that changes the disk or draws the report, then
goes on with --resume true to its end. Its weights, metrics and scores must be those of the undisturbed run,
and nothing else may lie in its folder. The folder keeps data and tallies: a later call goes on with them.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import runpy
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
from tabulate import tabulate

ROOT = Path(__file__).resolve().parent.parent
RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob")
COMMON = "--bucket_boundaries [16] --log_step 1 --save_ckpt_step 4"
TASK = "--task_name SST-2 --min_teacher_gain 0"
COMMANDS = {
    "run_finetune.py": f"--task_name SST-2 {COMMON} --train_data_dir sst-2 --eval_data_dir sst-2 "
    "--load_ckpt_path teacher --epoch_size 3 --finetune_cfg.batch_size 8 --net_cfg.",
    "run_task_distill.py": f"{TASK} {COMMON} --train_data_dir sst-2 --eval_data_dir sst-2 "
    "--load_teacher_ckpt_path teacher --td_phase1_epoch_size 2 --td_phase2_epoch_size 2 "
    "--phase1_cfg.batch_size 8 --phase2_cfg.batch_size 8 --td_student_net_cfg.num_hidden_layers 1 "
    "--td_student_net_cfg.",
    "train.py": f"{TASK} {COMMON} --data_dir sst-2 --teacher_model_dir teacher --student_model_dir teacher "
    "--epoch_size 2 --train_batch_size 8 --",
    "run_general_distill.py": f"{COMMON} --data_dir gd --load_teacher_ckpt_path teacher --epoch_size 2 "
    "--gd_cfg.batch_size 8 --gd_student_net_cfg.num_hidden_layers 1 --gd_student_net_cfg.",
}
"""{script: its arguments, up to the prefix of the rates of dropout}."""
TIMES = ("time", "seconds_per_1000_rows", "p50_ms", "p95_ms")


def arguments_of(script, output):
    *given, prefix = COMMANDS[script].split()
    given += [word for rate in RATES for word in (f"{prefix}{rate}", "0.1")]
    given += ["--enable_graph_kernel", "false", "--compile_cache", "off"]  # a fork has no script of its own
    return [script, *given, "--resume", "true", "--output_dir", output]


def make_inputs():
    """The rows, the corpus and the teacher, in the working folder."""
    from tests.commands import good_teacher
    from tests.helpers import make_examples, teachable, write_info, write_split

    for split, rows in (("train", 34), ("eval", 21)):
        write_split("sst-2", split, teachable(rows, rows))
    write_info("sst-2")
    for number in range(2):
        write_split("gd", f"train-{number:05d}", make_examples(20, 12, seed=number))
    write_info("gd", task="gd", labels=())
    good_teacher("teacher", teachable(21, 21))


# --- one process --------------------------------------------------------------------------------------------


def run(arguments, log, at):
    """Run an entry script in this process, which is killed right before the call number `at` of those that
    change the disk or draw the report; their number is written to LOG.calls.
    """
    import src.train.session as session

    with open(log, "a") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    calls = [0]

    def counted(function):
        def call(*given, **named):
            calls[0] += 1
            if calls[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **named)

        return call

    for name in ("replace", "rename", "remove", "rmdir", "chmod"):
        setattr(os, name, counted(getattr(os, name)))
    session.write_report = counted(session.write_report)
    sys.argv = [str(ROOT / arguments[0]), *arguments[1:]]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        Path(f"{log}.calls").write_text(str(calls[0]))


def attempt(processes, arguments, log, at=0, seconds=None):
    """(exit status, seconds) of a run that is killed before a call, after some seconds, or not."""
    started = time.monotonic()
    process = processes.Process(target=run, args=(arguments, log, at))
    process.start()
    process.join(seconds)
    if process.is_alive() and seconds is not None:
        process.kill()
    process.join()
    return process.exitcode, time.monotonic() - started


# --- what a run leaves --------------------------------------------------------------------------------------


def outcome(folder):
    """{path: what it holds, as far as two runs of the same must agree} of a run's folder."""
    found = {}
    for path in sorted(item for item in Path(folder).rglob("*") if item.is_file()):
        name = str(path.relative_to(folder))
        if name.startswith("teacher_cache") or name in ("report.html", "config.yaml"):
            found[name] = "there"
        elif name.endswith((".json", ".jsonl")):
            lines = path.read_text().splitlines() if name.endswith("l") else [path.read_text()]
            found[name] = [untimed(json.loads(line)) for line in lines]
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def untimed(value):
    """A JSON value without what is of a moment."""
    if isinstance(value, dict):
        left_out = (*TIMES, "wall_seconds", "peak_memory_mib")
        return {key: untimed(item) for key, item in value.items() if key not in left_out}
    return value


def differing(one, other):
    """The first file in which two outcomes differ; "" if none."""
    return next((name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)), "")


# --- all of it ----------------------------------------------------------------------------------------------


class Kills:
    """The runs of one folder, with their tally.

    Args:
        folder (Path): of data, undisturbed runs and tallies; the working folder.
    """

    def __init__(self, folder):
        self.tally = folder / "tally.jsonl"
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["src", "mindspore", "src.train.session", "src.masked_lm"])

    def undisturbed(self, script):
        """{outcome, calls, seconds} of a whole run, known from before or made now."""
        note = Path(f"{script}.json")
        if not note.exists():
            output = f"{script}-undisturbed"
            shutil.rmtree(output, ignore_errors=True)
            status, seconds = attempt(self.processes, arguments_of(script, output), f"{script}.log")
            if status:
                raise SystemExit(f"{script} ended with {status}; see {script}.log")
            calls = int(Path(f"{script}.log.calls").read_text())
            note.write_text(json.dumps({"outcome": outcome(output), "calls": calls, "seconds": seconds}))
        return json.loads(note.read_text())

    def disturbed(self, script, kills, random):
        """Kill a run so many times, let it go on to its end, and note what came of it."""
        known, output = self.undisturbed(script), f"{script}-killed"
        shutil.rmtree(output, ignore_errors=True)
        log, fault = f"{output}.log", ""
        Path(log).unlink(missing_ok=True)
        done = {"script": script, "by time": 0, "at a call": 0}
        for number in range(kills):
            by_time = bool((number + random.integers(2)) % 2)
            how = (
                {"seconds": float(random.uniform(0.3, known["seconds"]))}
                if by_time
                else {"at": int(random.integers(1, known["calls"] + 1))}
            )
            status, _ = attempt(self.processes, arguments_of(script, output), log, **how)
            if status == -signal.SIGKILL:
                done["by time" if by_time else "at a call"] += 1
            elif status:
                fault = f"exit status {status} before kill {number + 1}"
                break
        if not fault:
            status, _ = attempt(self.processes, arguments_of(script, output), log)
            fault = (
                f"exit status {status} at last" if status else differing(known["outcome"], outcome(output))
            )
        if fault:
            with contextlib.suppress(FileNotFoundError):
                os.rename(output, f"{output}-{int(time.time())}")
        with open(self.tally, "a") as file:
            file.write(json.dumps({**done, "fault": fault}) + "\n")

    def table(self):
        """(the table of all runs so far, their kills)."""
        runs = (
            [json.loads(line) for line in self.tally.read_text().splitlines()] if self.tally.exists() else []
        )
        rows = []
        for script in COMMANDS:
            own = [run for run in runs if run["script"] == script]
            counts = [sum(run[how] for run in own) for how in ("by time", "at a call")]
            same = sum(not run["fault"] for run in own)
            rows.append(
                [
                    script,
                    len(own),
                    sum(counts),
                    *counts,
                    same,
                    "; ".join(run["fault"] for run in own if run["fault"]),
                ]
            )
        total = [sum(row[column] for row in rows) for column in range(1, 6)]
        head = ["command", "runs", "kills", "after a time", "before a call", "identical", "faults"]
        return tabulate([*rows, ["all", *total, ""]], head, tablefmt="github"), total[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder", required=True, help="of data, runs and tallies; an earlier one is gone on with"
    )
    parser.add_argument("--kills", type=int, default=100, help="of all runs in the folder together")
    parser.add_argument("--minutes", type=float, default=30.0, help="no run is begun after so long")
    parser.add_argument("--commands", nargs="*", default=[*COMMANDS], choices=[*COMMANDS])
    options = parser.parse_args()
    folder, started = Path(options.folder).resolve(), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(XDG_CACHE_HOME=str(folder / "cache"), PYTHONPATH=str(ROOT), GLOG_v="3")
    os.chdir(folder)
    kills, random, number = Kills(folder), np.random.default_rng(int(time.time())), 0
    if not Path("teacher").exists():
        make_inputs()
    while kills.table()[1] < options.kills and time.monotonic() - started < 60 * options.minutes:
        kills.disturbed(options.commands[number % len(options.commands)], int(random.integers(1, 4)), random)
        number += 1
    print(kills.table()[0])


if __name__ == "__main__":
    main()
