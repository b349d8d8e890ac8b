"""The figures of deploy.py: what the turns of a model come to, tables, ratios, JSON, a chart."""

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
MARKS = "<!-- what benchmarks/deploy.py --write docs writes -->", "<!-- its end -->"
"""In the pages of docs/."""


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


def latency_rows(figures):
    """A row a model: its medians at each shape, one number a condition."""
    for title, side in figures[0]["sides"].items():
        found = [figure["sides"].get(title, {}).get("shapes") for figure in figures]
        row = (
            " / ".join(f"{shapes[shape]['p50_ms']:.2f}" if shapes else "-" for shapes in found)
            for shape in side["shapes"]
        )
        yield [title, *row]


def ratio_rows(figures):
    """A row a comparison: how many times as fast ours is, one number a condition, and what the first of them
    is held to.
    """
    for ours, other, reach in COMPARED:
        pairs = [[figure["sides"].get(title) for title in (ours, other)] for figure in figures]
        if None in pairs[0]:
            continue
        row = [f"{ours} against {other}"]
        for shape in pairs[0][0]["shapes"]:
            found = (
                f"{times_as_fast(*(side['shapes'][shape] for side in pair)):.2f}" if all(pair) else "-"
                for pair in pairs
            )
            held = f" (reach {reach[shape]})" if shape in reach and figures[0]["name"] == "all" else ""
            row.append(" / ".join(found) + held)
        yield row


def page(figures, facts):
    """The tables as Markdown: the first condition whole, medians and ratios of them all."""
    shapes = list(next(iter(figures[0]["sides"].values()))["shapes"])
    named = " / ".join(figure["condition"] for figure in figures)
    load = " / ".join(f"{figure['load']:.1f}" for figure in figures)
    head = ["model", "bytes", "times smaller", "opens in s", "peak MiB", *shapes, "accuracy"]
    facts = ", ".join(f"{name} {value}" for name, value in facts.items())
    parts = [
        f"{facts}; load before it {load}",
        f"{figures[0]['condition']}; MiB of the process after {shapes[0]} and {shapes[-1]}; ms, median / "
        "95th percentile (times as fast as BERT-base):",
        table(head, model_rows(figures[0]["sides"])),
    ]
    if len(figures) > 1:
        parts += [f"Medians, ms: {named}:", table(["model", *shapes], latency_rows(figures))]
    parts += [f"Times as fast, medians of the turns' ratios: {named}:"]
    return "\n\n".join([*parts, table(["which", *shapes], ratio_rows(figures))])


def table(head, rows):
    """Rows as a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
    """deployment.json; deployment.svg of the first condition; and the tables into deployment.md, Chinese too,
    between the two `MARKS`.
    """
    with open(os.path.join(folder, "deployment.json"), "w", encoding="utf-8") as file:
        json.dump({"machine": facts, "figures": figures}, file, indent=2)
        file.write("\n")
    draw(figures[0], facts, os.path.join(folder, "deployment.svg"))
    tables = page(figures, facts)
    for name in ("deployment.md", os.path.join("zh", "deployment.md")):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                before, rest = file.read().split(MARKS[0])
            after = rest.split(MARKS[1])[1]
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"{before}{MARKS[0]}\n\n{tables}\n\n{MARKS[1]}{after}")
