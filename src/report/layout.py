"""The numbers of a report as the words and lines that its pages show."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

import numpy as np

from src.metrics import METRICS, percent, printed_name
from src.report.answers import Matrix, Table
from src.report.curves import LOSSES, SCORES, Point
from src.report.gather import Report, Shares
from src.report.run import Network, Run, Summary

_EMULATED = "in MindSpore, which rounds in floats; export it for speed"
_KEPT = "the teacher's scores are kept from an earlier run, without its time"
_LAYER = re.compile(r"bert\.encoder\.layers\.(\d+)\.")


# --- one run ------------------------------------------------------------------------------------------------


def cards_of(report: Report) -> list[tuple[str, str, str]]:
    """[(title, value, what else there is to say)] of what one wants to know first."""
    run, summary = report.run, report.summary
    cards = []
    if summary.score is not None:
        cards.append((printed_name(summary.metric), percent(summary.score), _kept(run, summary)))
    elif "loss" in run.results.losses:
        cards.append(("Loss of the last step", f"{run.results.losses['loss']:.4g}", ""))
    if summary.bytes:
        smaller = _times(summary.smaller, "smaller than", "as large as")
        cards.append(("Size", _size(summary.bytes), smaller and f"{smaller} the teacher's float32 weights"))
    if summary.seconds:
        cards.append(("Time of 1,000 rows", f"{summary.seconds:.2f} s", _speed(run, summary)))
    if summary.parameters:
        of_teacher = summary.teacher_parameters
        more = f"the teacher has {of_teacher:,}" if of_teacher else ""
        cards.append(("Weights", f"{summary.parameters:,}", more))
    if run.results.wall_seconds is not None:
        memory = run.results.peak_memory_mib
        said = "" if memory is None else f"peak memory {memory:,} MiB"
        cards.append(("The whole run", _duration(run.results.wall_seconds), said))
    return cards


def _kept(run: Run, summary: Summary) -> str:
    said = [] if run.finished else ["the best so far"]
    if summary.kept is not None and summary.teacher_score is not None:
        said.append(f"{percent(summary.kept)} % of the teacher's {percent(summary.teacher_score)}")
    return "; ".join(said) or "in percent"


def _speed(run: Run, summary: Summary) -> str:
    """What a student's time is beside the teacher's."""
    if summary.network.is_quantized:
        return _EMULATED
    faster = _times(summary.faster, "faster than", "as long as")
    if summary.teacher_score is None:
        return ""
    device = run.record.device or "this device"
    return f"{faster} the teacher, both on {device}" if faster else _KEPT


def _times(times: float | None, better: str, worse: str) -> str:
    if not times:
        return ""
    return f"{times:.1f} times {better}" if times >= 1 else f"{1 / times:.1f} times {worse}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _duration(seconds: float) -> str:
    minutes, hours = divmod(round(seconds), 60), divmod(round(seconds) // 60, 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{hours[0]} h {hours[1]} min" if hours[0] else f"{minutes[0]} min {minutes[1]} s"


def facts_of(report: Report) -> list[tuple[str, str]]:
    """[(name, value)] of where things lie."""
    summary = report.summary
    facts = {
        "teacher": summary.teacher,
        "started from": summary.started_from,
        "student": summary.student,
        "its network": shape_of(summary.network),
        "its file": f"{summary.bytes:,} bytes" if summary.bytes else "",
    }
    return [(name, value) for name, value in facts.items() if value]


def shape_of(network: Network) -> str:
    """A `Network` in words; "" for an empty one."""
    layers, bits = network.num_hidden_layers, network.quantization
    if not layers:
        return ""
    said = f"{layers} layer{'s' if layers > 1 else ''}, {network.hidden_size} wide"
    if bits is not None and network.is_quantized:
        said += f", {bits.weight_bits}-bit weights, {bits.activation_bits}-bit activations"
    return said


def scores_table(models: dict[str, dict[str, float]]) -> Table | None:
    """A `Table` of everything that was evaluated; None for nothing."""
    is_metric = {name: name.partition("/")[0] in METRICS for found in models.values() for name in found}
    names = [name for name, is_one in is_metric.items() if is_one]
    rows = tuple((title, *(found.get(name, "") for name in names)) for title, found in models.items())
    return Table("Scores in percent", ("", *map(printed_name, names)), rows) if names else None


def matrix_lines(matrix: Matrix) -> list[tuple[str, list[tuple[int, float]]]]:
    """[(class, [(rows, their share of the class's)])] of a `Matrix`."""
    whole = np.maximum(matrix.counts.sum(axis=1, keepdims=True), 1)
    shares = np.round(matrix.counts / whole, 3).tolist()
    return [(name, list(zip(*pair))) for name, *pair in zip(matrix.labels, matrix.counts.tolist(), shares)]


def grouped_shares(shares: Shares) -> list[tuple[str, int, tuple[float, ...]]]:
    """[(part of the network, its ternary weights, (share of -1, of 0, of 1))] of {weight: (how many, those)},
    a layer being one part.
    """
    groups: dict[str, list[tuple[int, tuple[float, ...]]]] = {}
    for name, (count, parts) in shares.items():
        layer = _LAYER.match(name)
        own = name.removeprefix("bert.").removeprefix("embeddings.").partition(".")[0]
        title = f"layer {int(layer[1]) + 1}" if layer else own
        groups.setdefault(title.replace("_", " "), []).append((count, parts))
    lines = []
    for title, items in groups.items():
        counts = np.array([count for count, _ in items])
        mean = np.average([parts for _, parts in items], axis=0, weights=counts)
        lines.append((title, int(counts.sum()), tuple(mean.tolist())))
    return lines


# --- several runs -------------------------------------------------------------------------------------------


def names_of(folders: Sequence[str]) -> list[str]:
    """What runs are called: the names of their folders, or where two have the same their paths."""
    names = [os.path.basename(os.path.abspath(folder)) for folder in folders]
    return names if len(set(names)) == len(names) else list(folders)


def comparison_lines(reports: Sequence[Report]) -> list[tuple[str, list[tuple[str, bool]]]]:
    """[(what, [(value of each run, whether it is the best one)])]"""
    summaries = [report.summary for report in reports]
    lines = [
        ("task", [summary.task for summary in summaries], None),
        ("command", [report.run.script or "-" for report in reports], None),
        ("finished", [_ended(report.run) for report in reports], None),
        ("teacher", [summary.teacher or "-" for summary in summaries], None),
        ("student's network", [shape_of(summary.network) or "-" for summary in summaries], None),
    ]
    alike = len({summary.metric for summary in summaries}) == 1
    score, names = "score", dict.fromkeys(filter(None, (summary.metric for summary in summaries)))
    if names:
        score = ", ".join(map(printed_name, names)) + " in percent"
    emulates = any(summary.network.is_quantized for summary in summaries)
    seconds = "seconds for 1,000 rows" + (f" (a quantized student: {_EMULATED})" if emulates else "")
    plain, two = "{:,}".format, "{:.2f}".format
    numbers = (
        (score, [item.score for item in summaries], percent, max if alike else None),
        ("the teacher's", [item.teacher_score for item in summaries], percent, None),
        ("percent of the teacher's that is kept", [item.kept for item in summaries], percent, max),
        ("bytes", [item.bytes for item in summaries], plain, min),
        ("times smaller than the teacher", [item.smaller for item in summaries], "{:.1f}".format, max),
        (seconds, [item.seconds for item in summaries], two, min),
        ("times faster than the teacher", [item.faster for item in summaries], "{:.1f}".format, max),
        ("weights", [item.parameters for item in summaries], plain, None),
        ("seconds of the whole run", [report.run.results.wall_seconds for report in reports], plain, None),
        ("peak MiB", [report.run.results.peak_memory_mib for report in reports], plain, None),
    )
    found = [(title, [(value, False) for value in values]) for title, values, _ in lines]
    return found + [(title, _ranked(values, form, best)) for title, values, form, best in numbers]


def _ended(run: Run) -> str:
    """Whether a run came to its end, and whether that is one."""
    fault = run.results.fault.partition(";")[0]
    return f"failed: {fault}" if fault else "yes" if run.finished else "no"


def _ranked(
    values: Sequence[float | None], form: Callable[[float], str], best: Callable[[list[float]], float] | None
) -> list[tuple[str, bool]]:
    """[(text, whether it is the best)] of numbers or None; nothing is best where all are alike."""
    known = [value for value in values if value is not None]
    top = best(known) if best and len(set(known)) > 1 else None
    return [("-" if value is None else form(value), value is not None and value == top) for value in values]


def overlays(
    names: Sequence[str], reports: Sequence[Report]
) -> list[tuple[str, bool, dict[str, list[Point]]]]:
    """[(title, whether it is a loss, {run: points})] of curves that two runs have or more: the whole loss,
    the metrics.
    """
    found: dict[tuple[str, bool], dict[str, list[Point]]] = {}
    for name, report in zip(names, reports):
        for panel in report.panels:
            for curve, points in panel.curves.items():
                if panel.title == SCORES or (panel.title == LOSSES and curve == "loss"):
                    found.setdefault((f"{panel.stage}: {curve}", panel.title == LOSSES), {})[name] = points
    return [(*key, curves) for key, curves in found.items() if len(curves) > 1]
