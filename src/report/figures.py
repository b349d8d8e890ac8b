"""Draws what has axes: SVG with text as text, in the colours of the page it stands in."""

import html
import io
import re
import warnings
from collections.abc import Callable

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator

from src.report.answers import Scatter
from src.report.curves import LOSSES, SCORES, Panel, Point

SERIES = 6
"""Colours of curves; the page's style names so many."""
WIDTH, HEIGHT = 4.6, 3.0  # inches of 72 units: about a telephone's width, so that 11-unit text stays readable
_MOST_POINTS = 1000
# Colours that the page gives: it knows whether it is light or dark.
_INK, _GRID = "#010101", "#010102"
_COLOURS = [f"#0101{number:02x}" for number in range(16, 16 + SERIES)]
_IN_PAGE = {_INK: "currentColor", _GRID: "var(--line)"}
_IN_PAGE |= {colour: f"var(--series-{number})" for number, colour in enumerate(_COLOURS)}
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
}


def panel(shown: Panel) -> str:
    """The SVG of a `Panel`, curves against optimizer steps."""
    return _panel(shown.caption, shown)


def overlay(title: str, is_loss: bool, curves: dict[str, list[Point]]) -> str:
    """The SVG of one curve a run, by the runs' names; the picture is called `title`."""
    return _panel(title, Panel("", LOSSES if is_loss else SCORES, curves))


def _panel(name: str, shown: Panel) -> str:
    return _drawn(name, lambda axes: _curves(axes, shown.curves, shown.in_decades))


def _curves(axes: Axes, curves: dict[str, list[Point]], in_decades: bool) -> None:
    """Draw curves by their names; few points are marked."""
    for number, (name, points) in enumerate(curves.items()):
        steps, values = zip(*((step, float("nan") if value is None else value) for step, value in points))
        marker = "o" if len(points) < 10 else None
        colour, dashes = _COLOURS[number % SERIES], "-" if number < SERIES else "--"
        label = f" {name}" if name.startswith("_") else name  # matplotlib hides those
        axes.plot(
            steps, values, dashes, label=label, color=colour, marker=marker, markersize=4, linewidth=1.5
        )
    if in_decades:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(LogLocator(subs=()))
    every = {step for points in curves.values() for step, _ in points}
    # Around one step alone there is no other whole number, and parts of steps would be rounded to it.
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True) if len(every) > 1 else FixedLocator([*every]))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("optimizer step")
    axes.margins(x=0.02)
    if len(curves) > 1:
        axes.legend()


def scatter(points: Scatter) -> tuple[str, int]:
    """The SVG of a `Scatter` with the line where both are equal; of many rows an even part is drawn.

    Returns:
        (the SVG, rows drawn)
    """
    every = -(-len(points.right) // _MOST_POINTS)
    right, answered = points.right[::every], points.answered[::every]

    def draw(axes: Axes) -> None:
        ends = [min(right.min(), answered.min()), max(right.max(), answered.max())]
        axes.plot(ends, ends, color=_GRID)
        axes.plot(right, answered, ".", color=_COLOURS[0], alpha=0.5, markersize=5, markeredgewidth=0)
        axes.set(xlabel="right", ylabel="answered")

    return _drawn("scatter", draw), len(right)


def _drawn(name: str, draw: Callable[[Axes], None]) -> str:
    """The SVG that `draw` draws; `name` tells its parts from other pictures'."""
    style = {**_STYLE, "svg.hashsalt": name}
    with rc_context(style), warnings.catch_warnings():  # type: ignore[arg-type]  # newer ones name each key
        warnings.simplefilter("ignore")  # of characters that its own font lacks: the browser has others
        figure = Figure(figsize=(WIDTH, HEIGHT))
        axes = figure.add_axes((0.15, 0.16, 0.82, 0.80))
        axes.grid(color=_GRID, linewidth=0.6)
        axes.tick_params(length=0)
        draw(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue(), name)


def _inline(text: str, name: str) -> str:
    """matplotlib's SVG file as a part of a page: without a file's head, a fixed size, and names that nothing
    refers to; with a name for those who hear the page.
    """
    text = text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{html.escape(name)}"', 1)
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;]*; ", "", text)  # the page's
    text = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", text))
    used = set(re.findall(r"#([\w.-]+)", text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: found[0] if found[1] in used else "", text)
    return re.sub("#0101[0-9a-f]{2}", lambda found: _IN_PAGE.get(found[0], found[0]), text)
