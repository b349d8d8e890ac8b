"""All that a report shows of a run, in plain numbers and text."""

from __future__ import annotations

import os
from dataclasses import dataclass

from src.checkpoint.folder import VOCABULARY_FILE, packed_folder
from src.report import layers
from src.report.answers import View, view_of
from src.report.curves import Panel, panels_of
from src.report.layers import LayerDistances
from src.report.predictions import Predictions
from src.report.run import Run, Summary, or_note, summary_of
from src.report.texts import Texts
from src.run_folder import LAYERS_FILE, PREDICTIONS_FILE
from src.vocabulary import read_vocabulary

Shares = dict[str, tuple[int, tuple[float, ...]]]
"""{ternary weight: (how many, (share of -1, of 0, of 1))}"""


@dataclass(frozen=True)
class Report:
    """A run, and what is drawn of it; None or empty where the run has none of it."""

    run: Run
    summary: Summary
    panels: list[Panel]
    """Of curves."""
    view: View | None
    """Of the answers to the evaluation rows."""
    layers: dict[str, LayerDistances]
    """By stage."""
    shares: Shares
    notes: list[str]
    """What is not there although other runs have it, and why: a line each."""


def report_of(folder: str) -> Report:
    """The `Report` of the run in a folder, whatever there is of it.

    Raises:
        UserError: it is no run's folder.
    """
    run = Run.read(folder)
    summary, notes = summary_of(run), list(run.notes)
    view = compared = None
    if run.answers_rows:
        view = or_note(lambda: _view(run, summary.student, notes), "answers to evaluation rows", notes)
    if run.record.compares_layers:
        compared = or_note(lambda: layers.read(_join(run, LAYERS_FILE)), "", notes)
    shares = or_note(lambda: _shares(summary.student), "ternary weights", notes)
    panels = panels_of(run.lines)
    return Report(run, summary, panels, view, compared or {}, shares or {}, notes)


def _join(run: Run, name: str) -> str:
    return os.path.join(run.folder, name)


def _view(run: Run, student: str, notes: list[str]) -> View:
    predictions = Predictions.load(_join(run, PREDICTIONS_FILE))
    path = os.path.join(student or run.folder, VOCABULARY_FILE)
    vocabulary = or_note(lambda: read_vocabulary(path), "texts, shown as numbers of tokens", notes)
    return view_of(predictions, Texts(vocabulary))


def _shares(student: str) -> Shares:
    """As the field; {} where the student is not packed."""
    packed = packed_folder(student) if student else ""
    if not packed:
        return {}
    from src.checkpoint.packed import ternary_shares  # it loads MindSpore, which other runs' pages need not

    return ternary_shares(packed)
