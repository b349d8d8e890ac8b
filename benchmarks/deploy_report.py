"""The figures of deploy.py: what the turns of a model come to, tables, ratios, JSON and a chart."""

import json
import os
import statistics

import numpy as np

from benchmarks.deploy_models import (
    BERT_BASE,
    DYNAMIC,
    FLOAT,
    INT8,
    OPENVINO,
    OPENVINO_FLOAT,
    OPTIMIZER,
    STATIC,
    TERNARY,
    TORCH,
    TORCH_INT8,
)
from benchmarks.report import bars_of

COMPARED = (
    (TERNARY, BERT_BASE, {"1 x 16": 75, "32 x 64": 50}),
    (TERNARY, INT8, dict.fromkeys(("1 x 16", "1 x 64", "8 x 32", "32 x 64"), 0.97)),
    (TERNARY, DYNAMIC, {"1 x 16": 1.15, "32 x 64": 1.35}),
    (TERNARY, STATIC, {}),
    (TERNARY, TORCH_INT8, {}),
    (TERNARY, OPENVINO, {}),
    (FLOAT, OPTIMIZER, {"1 x 16": 1.0, "32 x 64": 1.2}),
    (FLOAT, OPENVINO_FLOAT, {}),
    (FLOAT, TORCH, {}),
)
"""(ours, the other, {shape: how many times as fast ours is to be with the runtimes' defaults})."""


def summary(turns):
    """{"p50_ms", "p95_ms" of all calls, "peak_mib" after the first turn, "turns_ms": each one's median}."""
    calls = np.concatenate([turn["ms"] for turn in turns])
    return {
        "p50_ms": round(float(np.median(calls)), 3),
        "p95_ms": round(float(np.percentile(calls, 95)), 3),
        "calls": len(calls),
        "peak_mib": round(turns[0]["peak_mib"]),
        "turns_ms": [round(statistics.median(turn["ms"]), 3) for turn in turns],
    }


def times_as_fast(own, other):
    """How many times as fast one `summary` is as another: the median of what each turn says."""
    pairs = zip(own["turns_ms"], other["turns_ms"])
    return statistics.median(theirs / ours for ours, theirs in pairs)


def model_rows(sides):
    """A row a model: bytes, times smaller than BERT-base, seconds to open, memory, latencies, accuracy."""
    base = sides.get(BERT_BASE)
    for title, side in sides.items():
        shapes = list(side["shapes"].values())
        row = [title, f"{side['bytes']:,}", f"{base['bytes'] / side['bytes']:.1f}" if base else ""]
        row += [f"{side['open_seconds']:.2f}", f"{shapes[0]['peak_mib']}, {shapes[-1]['peak_mib']}"]
        for shape, values in side["shapes"].items():
            faster = f" ({times_as_fast(values, base['shapes'][shape]):.1f}x)" if base else ""
            row.append(f"{values['p50_ms']:.2f} / {values['p95_ms']:.2f}{faster}")
        yield [*row, f"{100 * side['accuracy']:.2f}" if "accuracy" in side else "-"]


def ratio_rows(figures):
    """A row of each comparison and condition: how many times as fast ours is, and what it is held to."""
    for ours, other, reach in COMPARED:
        for figure in figures:
            sides = figure["sides"]
            if ours not in sides or other not in sides:
                continue
            row = [f"{ours} against {other}", figure["condition"]]
            for shape, values in sides[ours]["shapes"].items():
                held = f" (reach {reach[shape]})" if shape in reach and figure["name"] == "all" else ""
                row.append(f"{times_as_fast(values, sides[other]['shapes'][shape]):.2f}{held}")
            yield row


def print_figures(figures, facts):
    """Of each condition a table, and one of the ratios."""
    from tabulate import tabulate

    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    shapes = list(next(iter(figures[0]["sides"].values()))["shapes"])
    print(f"peak MiB of the process: after {shapes[0]}, and after {shapes[-1]}")
    print("ms of a batch: median / 95th percentile (times as fast as BERT-base)")
    head = ["model", "bytes", "times smaller", "opens in s", "peak MiB", *shapes, "accuracy"]
    for figure in figures:
        print(f"\n{figure['condition']}, {figure['rounds']} turns of {figure['seconds']} s a cell:\n")
        rows = list(model_rows(figure["sides"]))
        print(tabulate(rows, head, tablefmt="github", disable_numparse=True))
    print("\ntimes as fast (medians of the turns' ratios):\n")
    rows = list(ratio_rows(figures))
    print(tabulate(rows, ["which", "where", *shapes], tablefmt="github", disable_numparse=True))


def draw(figure, facts, path):
    """File, memory and latencies of every model in one condition."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    sides = figure["sides"]
    shapes = list(next(iter(sides.values()))["shapes"])
    panels = {
        "file, MB": [side["bytes"] / 1e6 for side in sides.values()],
        f"memory of the process at {shapes[0]}, MiB": [
            side["shapes"][shapes[0]]["peak_mib"] for side in sides.values()
        ],
    }
    for shape in (shapes[0], shapes[-1]):
        panels[f"{shape}, ms (median)"] = [side["shapes"][shape]["p50_ms"] for side in sides.values()]
    colours = ["tab:blue" if title.startswith("ours") else "tab:gray" for title in sides]
    chart, axes = pyplot.subplots(1, len(panels), figsize=(15, 1.2 + 0.28 * len(sides)), sharey=True)
    for axis, (title, values) in zip(axes, panels.items()):
        bars_of(axis, list(sides), values, colours, title)
        axis.set_xscale("log")
        axis.set_xlim(min(values) / 2, max(values) * 4)  # room for the numbers
    chart.suptitle(f"{facts['processor']}, {facts['date']}; {figure['condition']}", fontsize=9)
    chart.tight_layout()
    chart.savefig(path)


def write(figures, facts, folder):
    """deployment.json, and deployment.svg of the first condition."""
    with open(os.path.join(folder, "deployment.json"), "w", encoding="utf-8") as file:
        json.dump({"machine": facts, "figures": figures}, file, indent=2)
        file.write("\n")
    draw(figures[0], facts, os.path.join(folder, "deployment.svg"))
