"""Times the train steps against the same steps in PyTorch and transformers, in turns in one run.

    python benchmarks/steps.py --teacher_dir HF_TEACHER --glue_dir GLUE [--only phase1 --rounds 3]

Each side is a process of its own; the one that waits is stopped. Both get the same rows of SST-2 (or random
tokens of the full length, where the network is random), the same weights, losses, clipping and AdamW, and all
cores; each puts the rows into batches as it does by default, ours packed into micro-batches, PyTorch's
shuffled and padded to the longest of the batch. Dropout is 0, so the losses of the same rows must agree,
which is checked. HF_TEACHER is a Hugging Face
folder.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import Worker, add_json_option, python, report, run_command  # noqa: E402
from benchmarks.rows import Rows, occurring_tokens  # noqa: E402

TITLES = {
    "gd": "general distillation step",
    "phase1": "phase 1 step",
    "phase2": "phase 2 step, teacher in the step",
    "w2a8": "W2A8 step",
}
GROUPED = "PyTorch, grouped by length"
REACH = {
    "gd": {"PyTorch": 1.1},
    "phase1": {"PyTorch": 1.25, GROUPED: 1.25},
    "phase2": {"PyTorch": 1.25, GROUPED: 1.25},
    "w2a8": {"PyTorch": 1.8},
}
"""{step: {side: times as fast as that side that ours is held to}}."""


def networks(name, options, folder):
    """(teacher's folder, student's, layers of it or [], what they are)."""
    if name in ("phase1", "phase2"):
        return options.teacher_dir, options.teacher_dir, [1, 3, 5], "teacher 6 x 384, student 3 x 384"
    shapes = ("12x768", "4x384") if name == "gd" else ("6x768", "6x768")
    folders = [os.path.join(folder, f"{part}{shape}") for part, shape in zip(("teacher", "student"), shapes)]
    for seed, (shape, path) in enumerate(zip(shapes, folders)):
        if not os.path.exists(path):
            run_command(python("benchmarks/torch_side.py", "--make", shape, path, seed), f"{path}.log")
    return *folders, [], f"teacher {shapes[0]}, student {shapes[1]}, random weights"


def describe(name, options, folder):
    """(the step as worker.py reads it, what is measured in words)."""
    teacher, student, layers, setting = networks(name, options, folder)
    real, batch_size = name in ("phase1", "phase2"), 16 if name == "w2a8" else 32
    path, token_ids = os.path.join(folder, f"{name}.npz"), ""
    if real:
        vocabulary = os.path.join(options.teacher_dir, "vocab.txt")
        rows = Rows.of_task(options.glue_dir, "SST-2", "train", vocabulary, options.steps * batch_size)
        token_ids = os.path.join(folder, "token_ids.npy")
        np.save(token_ids, occurring_tokens(options.glue_dir, "SST-2", vocabulary))
    else:
        rows = Rows.random(batch_size * max(1, options.steps // 10), 128)
    rows.save(path)
    terms = {"gd": ["layers"], "phase1": ["layers"], "phase2": ["logits"]}.get(name, ["layers", "logits"])
    work = {
        "teacher": teacher,
        "student": student,
        "layers": layers,
        "terms": terms,
        "projection": name in ("gd", "phase1"),
        "quantized": name == "w2a8",
        "learning_rate": 5e-5,
        "batch_size": batch_size,
        "batching": "shuffled",
        "compile": options.torch_compile,
        "rows": path,
        "token_ids": token_ids,
    }
    data = f"{len(rows)} rows of SST-2" if real else f"batches of {batch_size} x 128 random tokens"
    return work, f"{setting}, batch {batch_size}, {data}"


def matrix_flop(config, rows, length, layers):
    """FLOP of the matrix products of one forward pass through so many layers of width H, inner layer 4 H."""
    tokens, width = rows * length, config["hidden_size"]
    return layers * tokens * (24 * width * width + 4 * length * width)


def step_flop(work, shapes):
    """FLOP of a round's matrix products: forward of both networks, twice that again for what learns."""
    configs = {}
    for role in ("teacher", "student"):
        with open(os.path.join(work[role], "config.json"), encoding="utf-8") as file:
            configs[role] = json.load(file)
    layers = len(work["layers"]) or configs["student"]["num_hidden_layers"]
    total = 3 * sum(matrix_flop(configs["student"], *shape, layers) for shape in shapes)
    if not work.get("cached"):
        depth = configs["teacher"]["num_hidden_layers"]
        total += sum(matrix_flop(configs["teacher"], *shape, depth) for shape in shapes)
    if work["projection"]:
        widths = configs["student"]["hidden_size"] * configs["teacher"]["hidden_size"]
        total += 3 * sum(rows * length for rows, length in shapes) * (layers + 1) * 2 * widths
    return total


def plan_sides(name, work, options):
    """{side: ("ours" or "torch", its work)}: both, and what is shown beside them."""
    sides = {"ours": ("ours", work), "PyTorch": ("torch", work)}
    if name in ("phase1", "phase2"):
        sides[GROUPED] = ("torch", {**work, "batching": "grouped"})
    if name == "phase2":
        sides["ours, teacher's logits cached"] = ("ours", {**work, "cached": True})
    if name == "w2a8":
        sides["ours in float32"] = ("ours", {**work, "quantized": False})
        sides["PyTorch in float32"] = ("torch", {**work, "quantized": False})
    return {side: part for side, part in sides.items() if part[0] == "torch" or not options.torch_only}


def check_losses(sides):
    """The loss of our first micro-batch must be PyTorch's too."""
    if "ours" in sides:
        loss, rows = sides["ours"].ask("first")
        other = sides["PyTorch"].ask("loss_of", rows)
        if abs(loss / other - 1) > 1e-3:
            raise SystemExit(f"the two sides do not compute the same loss: ours {loss}, PyTorch {other}")


def take_turns(workers, options):
    """{side: [seconds of each round that counts]}."""
    for _ in range(options.warm_up):
        for worker in workers.values():
            worker.ask("round")
    times = {side: [] for side in workers}
    for _ in range(options.rounds):
        for side, worker in workers.items():
            times[side].append(worker.ask("round"))
    return times


def measure(name, options, folder):
    """One step: start the sides, let them take turns, report."""
    work, setting = describe(name, options, folder)
    plan = plan_sides(name, work, options)
    sides = {side: Worker(*part) for side, part in plan.items()}
    try:
        check_losses(sides)
        times = take_turns(sides, options)
        peaks = {side: worker.ask("peak_mib") for side, worker in sides.items()}  # before the profilers
        fastest = max(worker.ask("matrix_peak") for worker in sides.values())
        results = {}
        for side, worker in sides.items():
            steps, shapes = worker.ask("step_count"), worker.ask("shapes")
            flop = step_flop(plan[side][1], shapes)
            results[side] = {
                "seconds": round(statistics.median(times[side]) / steps, 4),
                "peak_mib": round(peaks[side]),
                "matrix_share": round(worker.ask("matrix_share"), 3),
                "matrix_seconds_at_peak": round(flop / fastest / steps, 4),
                "tokens_a_step": round(sum(rows * length for rows, length in shapes) / steps),
            }
    finally:
        for worker in sides.values():
            worker.close()
    report(options, TITLES[name], setting, results, peak_gflops=round(fastest / 1e9), reach=REACH[name])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher_dir", required=True, help="SST-2's teacher, a Hugging Face folder")
    parser.add_argument("--glue_dir", required=True, help="folder with SST-2/train.tsv")
    parser.add_argument("--only", nargs="+", choices=TITLES, default=list(TITLES), help="which steps")
    parser.add_argument("--steps", type=int, default=20, help="batches of a round; of random tokens a tenth")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side that count")
    parser.add_argument("--warm_up", type=int, default=3, help="rounds of each side before them")
    parser.add_argument("--torch_only", action="store_true", help="measure PyTorch's side alone")
    parser.add_argument("--torch_compile", action="store_true", help="PyTorch's side under torch.compile")
    add_json_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            measure(name, options, folder)


if __name__ == "__main__":
    main()
