"""What a user can deploy, and what else there is: bytes, memory, time to open, latency, SST-2 accuracy.

    python benchmarks/deploy.py [--write docs]
    python benchmarks/deploy.py --student_dir STUDENT_DIR --glue_dir GLUE

Each model runs alone in a process of its own; the processes take turns, so that their ratios are of one run
on a machine that drifts. Once with the runtime's own defaults (all threads, which spin while they wait), once
without spinning, and with 1 and 2 threads. deploy_models.py says which models. Without --student_dir the
student is a 4-layer, 384-wide W2A8 network of random weights, and BERT-base is always one: how fast a network
is does not depend on what it learned. STUDENT_DIR is any model's folder, or one of export.py --onnx_layout
huggingface, whose file is measured beside files of random weights of its shape. GLUE holds SST-2/train.tsv
(for calibration) and dev.tsv (for the accuracies of trained weights).

In pieces, with a folder that keeps the files and the figures:

    for part in all all-quiet 1; do python benchmarks/deploy.py --folder FOLDER --only $part; done
    python benchmarks/deploy.py --folder FOLDER --only --write docs
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.deploy_report import page, summary, write  # noqa: E402
from benchmarks.measure import Worker, machine, python, run_command  # noqa: E402

SHAPES = ((1, 16), (1, 64), (8, 32), (32, 64))
"""Rows and tokens of the batches, the smallest first: a process's peak memory only grows."""
PACKAGES = ("onnx", "onnxruntime", "openvino")


def conditions(cores):
    """{name: (what it is, threads of each model or 0 for the runtime's own number, whether they spin)}."""
    found = {
        "all": (f"the runtimes' defaults ({cores} threads, spinning)", 0, True),
        "all-quiet": (f"{cores} threads, no spinning", 0, False),
        "1": ("1 thread", 1, True),
    }
    if cores > 2:
        found["2"] = "2 threads, spinning", 2, True
        found["2-quiet"] = "2 threads, no spinning", 2, False
    return found


def made_models(folder, options):
    """What deploy_models.py left in the folder; it makes the files where they are not there yet."""
    path, commit = os.path.join(folder, "models.json"), machine()["commit"]
    if not os.path.isfile(path):
        wanted = {
            "student_dir": options.student_dir and os.path.abspath(options.student_dir),
            "glue_dir": options.glue_dir and os.path.abspath(options.glue_dir),
            "activation_quantizer": options.activation_quantizer,
            "sides": options.sides,
            "commit": commit,
        }
        command = python("benchmarks/deploy_models.py", folder, json.dumps(wanted))
        run_command(command, os.path.join(folder, "log.txt"))
    with open(path, encoding="utf-8") as file:
        made = json.load(file)
    if made["commit"] != commit:
        raise SystemExit(
            f"{folder} holds files of commit {made['commit']}; this is {commit}: name a new folder"
        )
    for title, reason in made["skipped"].items():
        print(f"skipped: {title}: {reason}", flush=True)
    return made


def start(model, made, folder, threads, spinning):
    """A `Worker` with one model."""
    work = {**model, "threads": threads, "spinning": spinning, "vocab_size": made["vocab_size"]}
    work["rows"] = os.path.join(folder, "rows.npz")
    environment = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    if not spinning:  # PyTorch's threads are OpenMP's
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    return Worker("deployed", work, environment)


def measure(name, made, folder, options):
    """The figures of one condition: how it was measured, and of each model bytes, seconds to open, in the
    first condition accuracy where its weights are trained, and a `summary` of each shape.
    """
    condition, threads, spinning = conditions(os.cpu_count())[name]
    models = made["models"]
    if not spinning:  # OpenVINO cannot be told
        models = {title: model for title, model in models.items() if model["runtime"] != "openvino"}
    workers, sides, load = {}, {}, os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        for title, model in models.items():
            workers[title] = start(model, made, folder, threads, spinning)
            stack.callback(workers[title].close)
            sides[title] = {"bytes": model["bytes"], "open_seconds": workers[title].ask("opened")}
        turns = {title: {shape: [] for shape in SHAPES} for title in workers}
        for _ in range(options.rounds):
            for shape in SHAPES:
                for title, worker in workers.items():
                    turns[title][shape].append(worker.ask("turn", *shape, options.seconds))
        for title, worker in workers.items():
            sides[title]["shapes"] = {"%d x %d" % shape: summary(of) for shape, of in turns[title].items()}
            if models[title]["trained"] and options.glue_dir and name == options.only[0]:
                sides[title]["accuracy"] = worker.ask("accuracy")
            if options.profile and models[title]["runtime"] == "onnx":
                for shape in SHAPES:
                    print_profile(title, shape, *worker.ask("profile", *shape))
    how = {"rounds": options.rounds, "seconds": options.seconds, "commit": made["commit"]}
    return {"name": name, "condition": condition, **how, "load": load, "sides": sides}


def print_profile(title, shape, total, operators, times):
    """What a graph spends its time on."""
    shares = (f"{name} {value:.2f} ms ({100 * value / total:.0f} %)" for name, value in times)
    print(f"{title} at {shape[0]} x {shape[1]}: {operators} operators, {total:.2f} ms: " + ", ".join(shares))


def figures_of(folder):
    """What was measured so far, in the order of `conditions`."""
    for name in conditions(os.cpu_count()):
        path = os.path.join(folder, f"figures-{name}.json")
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                yield json.load(file)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student_dir", default="", help="a model's folder; without it, random weights")
    parser.add_argument("--glue_dir", default="", help="folder with SST-2/, for calibration and accuracies")
    parser.add_argument(
        "--only", nargs="*", choices=conditions(os.cpu_count()), default=list(conditions(os.cpu_count())),
        help="conditions to measure; none: print and write what --folder holds",
    )  # fmt: skip
    parser.add_argument("--sides", nargs="+", default=[""], help="words; models with one in their title run")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every model")
    parser.add_argument("--seconds", type=float, default=0.3, help="of a turn, for each shape")
    parser.add_argument("--folder", default="", help="keeps files and figures; unset: a temporary one")
    parser.add_argument("--write", default="", help="docs: write JSON, chart and the pages' tables")
    parser.add_argument(
        "--activation_quantizer", choices=("ema", "dynamic", "symmetric"), default="ema",
        help="how the student of random weights rounds its activations",
    )  # fmt: skip
    parser.add_argument("--profile", action="store_true", help="print what the ONNX graphs' operators take")
    options = parser.parse_args()
    if options.glue_dir and not options.student_dir:
        parser.error("--glue_dir needs --student_dir, whose vocabulary reads the rows")
    return options


def main():
    options = parse()
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        os.environ.pop(name, None)  # defaults are what is measured
    with contextlib.ExitStack() as stack:
        folder = (
            os.path.abspath(options.folder)
            if options.folder
            else stack.enter_context(tempfile.TemporaryDirectory())
        )
        os.makedirs(folder, exist_ok=True)
        made = made_models(folder, options)
        for name in options.only:
            figures = measure(name, made, folder, options)
            with open(os.path.join(folder, f"figures-{name}.json"), "w", encoding="utf-8") as file:
                json.dump(figures, file)
        figures = list(figures_of(folder))
    if not figures:
        raise SystemExit(f"{folder} holds no figures yet; leave --only out")
    facts = {**machine(*PACKAGES), "student": made["student"]}
    print(page(figures, facts))
    if options.write:
        write(figures, facts, options.write)


if __name__ == "__main__":
    main()
