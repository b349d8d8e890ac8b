"""The page of a run, report.html, and the page that compares several.

Jinja2 fills the pages in and escapes every text in them; matplotlib draws what has axes, as SVG inside the
page. So a page is one file that needs no network and no script, and its pictures take the page's own colours,
light and dark.
"""

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from src.files import write_text
from src.metrics import percent
from src.report import figures, layout
from src.report.answers import Scatter
from src.report.gather import report_of
from src.run_folder import REPORT_FILE
from src.settings.keys import flat

COMPARISON_FILE = "comparison.html"
_ABSENT = Markup("&ndash;")  # where a run's command has no such setting
_TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")


def write_report(folder: str, path: str = "") -> str:
    """Write the page of the run in a folder; returns its path, by default report.html there.

    Raises:
        UserError: it is no run's folder, or the page cannot be written.
    """
    report, path = report_of(folder), path or os.path.join(folder, REPORT_FILE)
    changed, usual = report.run.split_settings()
    view = report.view
    context = {
        "report": report,
        "cards": layout.cards_of(report),
        "facts": layout.facts_of(report),
        "scores": layout.scores_table(report.summary.scores),
        "pictures": [(panel.caption, Markup(figures.panel(panel))) for panel in report.panels],
        "plot": _plot(view.scatter) if view and view.scatter else None,
        "matrix": layout.matrix_lines(view.matrix) if view and view.matrix else None,
        "shares": layout.grouped_shares(report.shares),
        "changed": changed,
        "usual": usual,
        "notes": report.notes,
    }
    write_text(path, _filled("run.html", context))
    return path


def write_comparison(folders: Sequence[str], path: str) -> str:
    """Write the page that compares the runs in some folders to `path`.

    Raises:
        UserError: one is no run's folder, or the page cannot be written.
    """
    reports, names = [report_of(folder) for folder in folders], layout.names_of(folders)
    drawn = [
        (title, figures.overlay(title, is_loss, curves))
        for title, is_loss, curves in layout.overlays(names, reports)
    ]
    context = {
        "names": [(name, _link(folder, path)) for name, folder in zip(names, folders)],
        "lines": layout.comparison_lines(reports),
        "pictures": [(title, Markup(svg)) for title, svg in drawn],
        "differing": _differing([report.run.settings for report in reports]),
        "notes": [f"{name}: {note}" for name, report in zip(names, reports) for note in report.notes],
    }
    write_text(path, _filled("comparison.html", context))
    return path


def _filled(template: str, context: dict[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(fraction=percent, setting=_setting)
    return environment.get_template(template).render(context)


def _setting(value: Any) -> str:
    """A setting's value as YAML and JSON write it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)


def _plot(scatter: Scatter) -> tuple[str, Markup]:
    """(caption, SVG) of numbers."""
    svg, drawn = figures.scatter(scatter)
    some = "" if drawn == len(scatter.right) else f" ({drawn:,} of {len(scatter.right):,} rows)"
    return f"The right number and the student's{some}", Markup(svg)


def _link(folder: str, path: str) -> str:
    """From the page at `path` to a run's own page; "" where there is none."""
    own = os.path.join(folder, REPORT_FILE)
    if not os.path.isfile(own):
        return ""
    # With ./ in front, so that a name like "a:b" is no address of its own.
    return "./" + quote(os.path.relpath(own, os.path.dirname(os.path.abspath(path))))


def _differing(settings: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """{dotted key: [value of each run]} of the settings that two runs or more have, and not with the same
    value.
    """
    runs = [flat(values, "config.yaml") for values in settings]
    keys = dict.fromkeys(key for values in runs for key in values)
    rows = {key: [values.get(key, _ABSENT) for values in runs] for key in keys}
    return {key: values for key, values in rows.items() if _differ(v for v in values if v is not _ABSENT)}


def _differ(values: Iterable[Any]) -> bool:
    first, *others = values
    return any(value != first for value in others)
