"""Curves of a run, from the lines of its metrics.jsonl."""

import math
from dataclasses import dataclass
from typing import Any

from src.errors import UserError
from src.json_file import parse
from src.metrics import METRICS, printed_name

Point = tuple[int, float | None]
"""An optimizer step and the value there; None where that is no finite number."""
LOSSES, RATE, SCORES = "Loss terms", "Learning rate", "Metrics in percent"
_FEW = 800
"""Points of a curve that are drawn; of a longer one every second, or third ..., and the last."""


@dataclass(frozen=True)
class Panel:
    """Some curves with the same axes."""

    stage: str
    title: str
    """LOSSES, RATE or SCORES."""
    curves: dict[str, list[Point]]
    """By name."""

    @property
    def caption(self) -> str:
        """Of the picture; a single curve has no legend, so its name stands here."""
        names = list(self.curves)
        alone = f" ({names[0]})" if len(names) == 1 and self.title != RATE else ""
        return f"{self.stage}: {self.title.lower()}{alone}"

    @property
    def in_decades(self) -> bool:
        """Whether the values have a logarithmic axis: losses above 0, where the largest is ten times the
        smallest.
        """
        points = (point for curve in self.curves.values() for point in curve)
        values = [value for _, value in points if value is not None]
        return self.title == LOSSES and bool(values) and 0 < 10 * min(values) <= max(values)


def read_lines(path: str) -> tuple[list[dict[str, Any]], int]:
    """(the JSON objects of a metrics.jsonl, the number of lines that are none): a process that was killed
    may leave half a line.

    Raises:
        UserError: the file cannot be read.
    """
    found, broken = [], 0
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line for line in file if line.strip()]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    for line in lines:
        try:
            row = parse(line)
            row["stage"], row["step"] = str(row["stage"]), int(row["step"])
            found.append(row)
        except (ValueError, TypeError, KeyError, OverflowError):
            broken += 1
    return found, broken


def panels_of(lines: list[dict[str, Any]]) -> list[Panel]:
    """The `Panel`s of some lines: of every stage its loss terms, learning rate and metrics, as far as they
    are there. Values that are no finite numbers leave a gap.
    """
    panels: dict[tuple[str, str], dict[str, list[Point]]] = {}
    for row in lines:
        for name, value in row.items():
            title = _panel_of(name)
            if title and isinstance(value, (int, float)):
                curves = panels.setdefault((row["stage"], title), {})
                shown, value = (printed_name(name), 100 * value) if title == SCORES else (name, value)
                curves.setdefault(shown, []).append((row["step"], value if math.isfinite(value) else None))
    stages = list(dict.fromkeys(row["stage"] for row in lines))
    order = sorted(panels, key=lambda key: (stages.index(key[0]), (LOSSES, RATE, SCORES).index(key[1])))
    return [
        Panel(stage, title, {name: _thinned(points) for name, points in panels[stage, title].items()})
        for stage, title in order
    ]


def _panel_of(name: str) -> str:
    """The panel that a value of a line belongs to; "" for none."""
    if name == "loss" or name.endswith("_loss"):
        return LOSSES
    if name == "learning_rate":
        return RATE
    return SCORES if name.partition("/")[0] in METRICS else ""


def _thinned(points: list[Point]) -> list[Point]:
    every = -(-len(points) // _FEW)
    return points[:-1:every] + points[-1:]


def scores_of(lines: list[dict[str, Any]]) -> list[tuple[str, int, dict[str, float]]]:
    """[(stage, step, {metric: value}, the deciding one first)] of the evaluations, in their order."""
    found = []
    for row in lines:
        numbers = ((name, value) for name, value in row.items() if isinstance(value, (int, float)))
        scores = {name: value for name, value in numbers if _panel_of(name) == SCORES}
        if scores:
            found.append((row["stage"], row["step"], scores))
    return found
