"""Kills training runs at random moments and compares what they end with, byte for byte, with undisturbed
ones.

    python -m tests.kills --folder /tmp/kills --kills 100 --minutes 40

Every training command runs on a tiny network with dropout. A run is killed (SIGKILL) and started again with
--resume true until it comes to its end: by turns in the middle of something that it does, and right before a
call that changes the disk. Its weights, metrics and scores must then be those of the undisturbed run, and
nothing else may lie in its folder. The folder keeps data, graphs and the tally: a later call goes on with
them, and with --kills 0 it only prints the tally.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import runpy
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

ROOT = Path(__file__).resolve().parent.parent
RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob")
COMMON = "--log_step 1 --resume true"
OFTEN = "--save_ckpt_step 2"
UNFUSED = "--enable_graph_kernel false"
TASK = f"{COMMON} --task_name SST-2 --min_teacher_gain 0"
DATA = "--train_data_dir sst-2 --eval_data_dir sst-2"
QUANTIZED = (
    f"{TASK} --data_dir sst-2 --teacher_model_dir teacher --student_model_dir teacher --epoch_size 2 "
    "--train_batch_size 8"
)
RUNS = {
    "fine-tuning": f"run_finetune.py {COMMON} {OFTEN} {UNFUSED} --task_name SST-2 {DATA} "
    "--load_ckpt_path encoder --epoch_size 3 --eval_cfg.eval_step 2 --finetune_cfg.batch_size 8 "
    "--finetune_cfg.optimizer_cfg.AdamWeightDecay.learning_rate 1e-3 --net_cfg.",
    "task distillation": f"run_task_distill.py {TASK} {OFTEN} {UNFUSED} {DATA} "
    "--load_teacher_ckpt_path teacher --td_phase1_epoch_size 2 --td_phase2_epoch_size 2 "
    "--phase1_cfg.batch_size 8 --phase2_cfg.batch_size 8 --phase1_cfg.loss_scale dynamic "
    "--phase1_cfg.loss_scale_value 1024 --phase1_cfg.scale_window 3 "
    "--td_student_net_cfg.num_hidden_layers 1 --td_student_net_cfg.",
    "ternary, fused": f"train.py {QUANTIZED} {OFTEN} --quant_cfg.weight_quantizer lat --",
    "Q8BERT": f"train.py {QUANTIZED} {UNFUSED} --save_ckpt_step 0 --quantization q8bert "
    "--quant_cfg.ema_decay 0.9 --quant_cfg.ema_start_step 3 --",
    "general distillation": f"run_general_distill.py {COMMON} {OFTEN} {UNFUSED} --data_dir gd "
    "--load_teacher_ckpt_path teacher --epoch_size 2 --gd_cfg.batch_size 4 "
    "--gd_cfg.gradient_accumulation_steps 2 --gd_student_net_cfg.num_hidden_layers 1 --gd_student_net_cfg.",
}
"""{name: script and its arguments, up to the prefix of the rates of dropout}."""
OWN = (
    "command",
    "time",
    "started",
    "seconds_per_1000_rows",
    "p50_ms",
    "p95_ms",
    "wall_seconds",
    "peak_memory_mib",
    "sha256",
)
"""What a run says of itself alone; the checksum of stages.json is of its times too."""
UNDISTURBED = 2  # runs; from the second one on all graphs are kept
MOST_KILLS = 6  # of one run


class Kill(NamedTuple):
    """When a run is killed."""

    call: int = 0
    """Right before its call of this number that changes the disk; 0: in the middle of something."""
    moment: str = ""
    number: int = 0
    seconds: float = 0.0
    """So long after it began to do that for this time."""


def arguments_of(name, output):
    *given, prefix = RUNS[name].split()
    return [*given, *(word for rate in RATES for word in (f"{prefix}{rate}", "0.1")), "--output_dir", output]


def make_inputs():
    """The rows, the corpus and the teacher, in the working folder."""
    from tests.commands import good_teacher
    from tests.helpers import make_examples, save_network, teachable, tiny_network, write_info, write_split

    for split, rows in (("train", 34), ("eval", 21)):
        write_split("sst-2", split, teachable(rows, rows))
    write_info("sst-2")
    for number in range(2):
        write_split("gd", f"train-{number:05d}", make_examples(20, 12, seed=number))
    write_info("gd", task="gd", labels=())
    save_network("encoder", tiny_network(5, labels=2))
    good_teacher("teacher", teachable(21, 21))


# --- one process --------------------------------------------------------------------------------------------


class Watched:
    """What this process does, told to the one that will kill it.

    Args:
        sender (Connection): of words for what it does, each as it begins. call (int): as a `Kill`'s.
    """

    def __init__(self, sender, call):
        self.sender, self.call = sender, call
        self.calls, self.doing, self.place = 0, [], "starting"

    def tell(self):
        self.sender.send(", ".join([self.place, *self.doing]))

    def counted(self, function):
        def call(*given, **named):
            self.calls += 1
            if self.calls == self.call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **named)

        return call

    def during(self, words, function):
        def call(*given, **named):
            self.doing.append(words)
            self.tell()
            try:
                return function(*given, **named)
            finally:
                self.doing.remove(words)
                self.tell()

        return call

    def stage(self, fit):
        def call(stage, *given, **named):
            self.place = stage.name
            self.tell()
            try:
                return fit(stage, *given, **named)
            finally:
                self.place = f"after {stage.name}"
                self.tell()

        return call

    def watch(self):
        from src import compiler
        from src.run_folder import RunFolder
        from src.train import packed_result, resume, session, stage

        for name in ("replace", "rename", "remove", "rmdir", "chmod"):
            setattr(os, name, self.counted(getattr(os, name)))
        for place, name, words in (
            (compiler.Compiler, "_compile", "compiling"),
            (RunFolder, "start", "beginning the folder"),
            (session, "evaluate", "evaluating"),
            (session, "with_logits", "asking the teacher"),
            (session, "keep_layers", "comparing layers"),
            (stage.Stage, "save", "saving weights"),
            (stage.Stage, "save_state", "saving the state"),
            (resume.FinishedStages, "note", "noting a finished stage"),
            (packed_result.PackedResult, "pack", "packing"),
            (session, "write_json", "saving the results"),
            (session, "write_report", "drawing the report"),
        ):
            setattr(place, name, self.during(words, getattr(place, name)))
        stage.Stage.fit = self.stage(stage.Stage.fit)


def run(arguments, log, call, sender):
    """Run an entry script in this process. `sender` takes words for what it does, and at its end the number
    of its calls that change the disk.
    """
    from mindspore.graph import api

    with open(log, "a") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.argv = [str(ROOT / arguments[0]), *arguments[1:]]
    api.entry_script_path = sys.argv[0]  # which the compile cache reads; a fork has none of its own
    watched = Watched(sender, call)
    watched.tell()
    watched.watch()
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        sender.send(watched.calls)


class Attempt(NamedTuple):
    """How a process went."""

    status: int
    spans: list
    """(what it did, seconds) in turn; the last is what it did as it ended."""
    calls: int = 0


def attempt(processes, arguments, log, kill):
    """An `Attempt` at a run, which is killed (`Kill`, or None)."""
    receiver, sender = processes.Pipe(duplex=False)
    given = arguments, log, kill.call if kill else 0, sender
    process = processes.Process(target=run, args=given)
    process.start()
    sender.close()
    told, calls, started = [], 0, time.monotonic()
    while process.exitcode is None or receiver.poll():
        if not receiver.poll(0.05):
            continue
        try:
            words = receiver.recv()
        except EOFError:
            break
        if isinstance(words, int):
            calls = words
            continue
        told.append((words, time.monotonic()))
        if kill and words == kill.moment and sum(word == words for word, _ in told) == kill.number:
            time.sleep(kill.seconds)
            process.kill()
    process.join()
    for left in Path("cache").glob(f"*/graphs/work-{process.pid}-*"):  # a fork has no exit handlers
        shutil.rmtree(left, ignore_errors=True)  # its kernel compiler may still write for a moment
    ends = [*(when for _, when in told[1:]), time.monotonic()]
    spans = [(words, end - when) for (words, when), end in zip(told, ends)]
    return Attempt(process.exitcode, spans or [("starting", time.monotonic() - started)], calls)


# --- what a run leaves --------------------------------------------------------------------------------------


def outcome(folder):
    """{path: what it holds, as far as two runs of the same must agree} of a run's folder."""
    found = {}
    for path in sorted(item for item in Path(folder).rglob("*") if item.is_file()):
        name = str(path.relative_to(folder))
        if name == "report.html":
            found[name] = "lacks something" if "Not shown here" in path.read_text() else "whole"
        elif name.startswith("teacher_cache") or name == "config.yaml":  # it names the folder
            found[name] = "there"
        elif name.endswith((".json", ".jsonl")):
            lines = path.read_text().splitlines() if name.endswith("l") else [path.read_text()]
            found[name] = [untimed(json.loads(line)) for line in lines]
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def untimed(value):
    """A JSON value without what is of a moment or names the folder."""
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if key not in OWN}
    return value


def differing(one, other):
    """The first file in which two outcomes differ; "" if none."""
    return next((name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)), "")


# --- all of it ----------------------------------------------------------------------------------------------


class Kills:
    """The runs of one folder, which is the working folder, with their tally."""

    def __init__(self):
        self.tally, self.random = Path("tally.jsonl"), np.random.default_rng()
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["src", "mindspore", "src.train.session", "src.report.page"])

    def undisturbed(self, name):
        """{outcome, calls, spans} of a whole run, known from before or made now."""
        note, output, log = (f"{name}{end}" for end in (".json", "-undisturbed", ".log"))
        if not os.path.exists(note):
            found = []
            for _ in range(UNDISTURBED):
                shutil.rmtree(output, ignore_errors=True)
                last = attempt(self.processes, arguments_of(name, output), log, None)
                found.append(outcome(output))
                seconds = sum(span for _, span in last.spans)
                print(f"{name}: undisturbed, exit status {last.status}, {seconds:.0f} s", flush=True)
                fault = last.status or differing(found[0], found[-1])
                if fault:
                    raise SystemExit(f"{name}: undisturbed runs are not the same: {fault}; see {log}")
            values = {"outcome": found[0], "calls": last.calls, "spans": last.spans}
            Path(note).write_text(json.dumps(values))
        return json.loads(Path(note).read_text())

    def a_kill(self, known, before):
        """Some `Kill` of a run of which all that is known is its undisturbed self; `before`: how the last one
        was, as they take turns.
        """
        if not before.moment:
            doings = [words.rpartition(", ")[2] for words, _ in known["spans"]]
            doing = self.random.choice(sorted({*doings}))
            at = self.random.choice([place for place, words in enumerate(doings) if words == doing])
            moment, seconds = known["spans"][at]
            number = sum(words == moment for words, _ in known["spans"][: at + 1])
            return Kill(0, moment, number, float(self.random.uniform(0, seconds)))
        return Kill(int(self.random.integers(1, known["calls"] + 1)))

    def disturbed(self, name):
        """Kill a run until it comes to its end, and note what came of it; returns the note."""
        known, output = self.undisturbed(name), f"{name}-killed"
        shutil.rmtree(output, ignore_errors=True)
        log, started, kills = f"{output}.log", time.monotonic(), []
        Path(log).unlink(missing_ok=True)
        kill = Kill(moment="any") if self.random.integers(2) else Kill()
        while True:
            kill = self.a_kill(known, kill) if len(kills) < MOST_KILLS else None
            last = attempt(self.processes, arguments_of(name, output), log, kill)
            if last.status != -signal.SIGKILL:
                break
            kills.append(["amid" if kill.moment else "before a call", last.spans[-1][0]])
        fault = f"exit status {last.status}" if last.status else ""
        fault = fault or differing(known["outcome"], outcome(output))
        if fault:
            for path in filter(os.path.exists, (output, log)):
                os.rename(path, f"fault-{int(time.time())}-{path}")
        note = {"run": name, "kills": kills, "fault": fault, "seconds": time.monotonic() - started}
        with open(self.tally, "a") as file:
            file.write(json.dumps(note) + "\n")
        return note

    def notes(self):
        """Of all runs so far."""
        return (
            [json.loads(line) for line in self.tally.read_text().splitlines()] if self.tally.exists() else []
        )

    def tables(self):
        """Text: the kills by run, and by what they interrupted."""
        notes = self.notes()
        rows = []
        for name in RUNS:
            own = [note for note in notes if note["run"] == name]
            hows = Counter(how for note in own for how, _ in note["kills"])
            faults = [note["fault"] for note in own if note["fault"]]
            counts = hows["amid"], hows["before a call"], len(own) - len(faults)
            rows.append([name, len(own), *counts, "; ".join(faults)])
        head = ["run", "ends", "kills amid something", "before a call", "identical", "differing"]
        moments = Counter(words for note in notes for _, words in note["kills"])
        return "\n\n".join(
            [
                tabulate(rows, head, tablefmt="github"),
                tabulate(sorted(moments.items()), ["killed while", "times"], tablefmt="github"),
                summary(notes),
            ]
        )


def summary(notes):
    """A line of all runs."""
    kills, faults = sum(len(note["kills"]) for note in notes), sum(bool(note["fault"]) for note in notes)
    seconds = sum(note["seconds"] for note in notes)
    return f"{kills} kills of {len(notes)} runs, {faults} of them differ, {seconds:.0f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True, help="of data and tally; an earlier one is gone on with")
    parser.add_argument("--kills", type=int, default=100, help="of all runs in the folder together")
    parser.add_argument("--minutes", type=float, default=40.0, help="no run is begun after so long")
    parser.add_argument("--runs", nargs="*", default=[*RUNS], choices=[*RUNS])
    options = parser.parse_args()
    folder, end = Path(options.folder).resolve(), time.monotonic() + 60 * options.minutes
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(XDG_CACHE_HOME=str(folder / "cache"), PYTHONPATH=str(ROOT), GLOG_v="3")
    os.chdir(folder)
    kills = Kills()
    if options.kills and not Path("teacher").exists():
        make_inputs()
    number = len(kills.notes())  # the runs take turns
    while sum(len(note["kills"]) for note in kills.notes()) < options.kills and time.monotonic() < end:
        note = kills.disturbed(options.runs[number % len(options.runs)])
        said = f"DIFFERS: {note['fault']}" if note["fault"] else "identical"
        words = ", ".join(f"{how} {doing!r}" for how, doing in note["kills"]) or "not killed"
        print(f"{note['run']}: {said}; {words}\n    {summary(kills.notes())}", flush=True)
        number += 1
    print(kills.tables())


if __name__ == "__main__":
    main()
