"""One table, JSON and a chart of the figures that the other scripts measured.

    python benchmarks/report.py FIGURES.jsonl [--write docs]

FIGURES.jsonl is what their --json wrote. --write puts benchmarks.json and benchmarks.svg into a folder.
"""

import argparse
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import machine  # noqa: E402

HEAD = (
    "what",
    "side",
    "time",
    "peak MiB",
    "ours is",
    "its memory",
    "matrix products",
    "alone at peak",
    "dev",
)


def seconds(value):
    return f"{value:.0f} s" if value >= 10 else f"{1000 * value:.0f} ms"


def is_compared(figure, side):
    """Whether ours, the first side, is compared with this one."""
    return next(iter(figure["sides"])).startswith("ours") and not side.startswith("ours")


def memory(figure, side):
    """Our peak memory in units of this side's; and what it is held to."""
    if not is_compared(figure, side):
        return ""
    reach, own = figure.get("memory_reach"), next(iter(figure["sides"].values()))["peak_mib"]
    ratio = own / figure["sides"][side]["peak_mib"]
    return f"{ratio:.2f} times" + (f" (reach {reach})" if reach else "")


def times_as_fast(figure, side):
    """How many times as fast ours, the first side, is; and what it is held to."""
    if not is_compared(figure, side):
        return ""
    own, name = figure["sides"][side]["seconds"], next(iter(figure["sides"]))
    reach = figure.get("reach", {}).get(side)
    ratio = own / figure["sides"][name]["seconds"]
    return f"{ratio:.2f} times as fast" + (
        f" (reach {reach})" if reach and side.startswith("PyTorch") else ""
    )


def table_rows(figures):
    """One row a side of each figure."""
    for figure in figures:
        for side, values in figure["sides"].items():
            share, alone = values.get("matrix_share"), values.get("matrix_seconds_at_peak")
            yield (
                figure["figure"],
                side,
                seconds(values["seconds"]),
                values.get("peak_mib", ""),
                times_as_fast(figure, side),
                memory(figure, side),
                "" if share is None else f"{100 * share:.0f} %",
                "" if alone is None else seconds(alone),
                values.get("dev", ""),
            )


def print_table(figures, facts):
    from tabulate import tabulate

    print(", ".join(f"{name} {value}" for name, value in facts.items()), "\n")
    print(tabulate(list(table_rows(figures)), HEAD, tablefmt="github", disable_numparse=True), "\n")
    for figure in figures:
        peak = f"; matrix products peak at {figure['peak_gflops']} GFLOP/s" if "peak_gflops" in figure else ""
        print(f"{figure['figure']}: {figure['setting']}{peak}")


def compared(figures):
    """Those with PyTorch beside ours."""
    return [figure for figure in figures if any(side.startswith("PyTorch") for side in figure["sides"])]


def bars_of(axis, labels, values, colours, title):
    """One panel: a bar each, from the top, with its number of three digits or more."""
    places = range(len(labels), 0, -1)
    axis.margins(x=0.12)
    axis.barh(places, values, color=colours)
    axis.set_yticks(list(places), labels, fontsize=7)
    axis.set_title(title, fontsize=9)
    for place, value in zip(places, values):
        axis.text(value, place, f" {value:.2f}" if value < 10 else f" {value:.0f}", va="center", fontsize=7)


def bars(axis, figures, value, title):
    """One panel: a bar a side and figure, relative to the first side whose name begins with PyTorch."""
    labels, heights, colours = [], [], []
    for figure in compared(figures):
        sides = figure["sides"]
        base = next(values[value] for side, values in sides.items() if side.startswith("PyTorch"))
        for side, values in sides.items():
            labels.append(f"{figure['figure']}: {side}")
            heights.append(values[value] / base)
            colours.append("tab:blue" if side.startswith("ours") else "tab:gray")
    bars_of(axis, labels, heights, colours, title)
    axis.axvline(1.0, color="black", linewidth=0.8)


def draw(figures, facts, path):
    """Time and peak memory of every side, PyTorch's first one as 1."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    count = sum(len(figure["sides"]) for figure in compared(figures))
    chart, axes = pyplot.subplots(1, 2, figsize=(13, 1.2 + 0.28 * count), sharey=True)
    bars(axes[0], figures, "seconds", "time, PyTorch = 1")
    bars(axes[1], figures, "peak_mib", "peak memory, PyTorch = 1")
    chart.suptitle(f"{facts['processor']}, {facts['cores']} cores, {facts['date']}", fontsize=9)
    chart.tight_layout()
    chart.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", help="the file that the scripts' --json wrote")
    parser.add_argument("--write", default="", help="folder for benchmarks.json and benchmarks.svg")
    options = parser.parse_args()
    with open(options.figures, encoding="utf-8") as file:
        figures = [json.loads(line) for line in file]
    facts = machine()
    print_table(figures, facts)
    if options.write:
        with open(os.path.join(options.write, "benchmarks.json"), "w", encoding="utf-8") as file:
            json.dump({"machine": facts, "figures": figures}, file, indent=2)
            file.write("\n")
        draw(figures, facts, os.path.join(options.write, "benchmarks.svg"))


if __name__ == "__main__":
    main()
