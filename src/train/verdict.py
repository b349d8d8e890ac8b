"""Whether a trained student is of any use: its scores against those of the best constant answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from src import metrics

if TYPE_CHECKING:
    from src.examples import Examples

LEAST_ROWS = 100
"""Rows of which a score says enough to call a run failed; of fewer it is a warning."""
NEARLY_ALWAYS = 0.9
"""The same answer may be the best one to give where it is right so often."""


def no_better_than_a_constant(
    stage: str, results: dict[str, float], metric_names: Sequence[str], examples: Examples
) -> tuple[str, bool]:
    """What is to be said of a student that has learnt nothing, and whether that is certain.

    Args:
        stage: its name. results: of `evaluate`, with the `step` where there is one.
        metric_names: the deciding one first. examples: the rows.

    Returns:
        (one line, bool); ("", False) where one of the metrics is above the best constant answer's, or none
        tells models apart.
    """
    telling = [name for name in metric_names if not metrics.undecided(name, examples)]
    chances = {name: metrics.chance_level(name, examples) for name in telling}
    if not telling or any(results[name] > chances[name] or results[name] == 1 for name in telling):
        return "", False
    metric = telling[0]
    name, score, chance = metrics.printed_name(metric), results[metric], chances[metric]
    rare = len(examples) >= LEAST_ROWS and chance < NEARLY_ALWAYS
    at = f" at step {results['step']}" if "step" in results else ""
    return (
        f"{stage}: the student has learnt nothing that its scores show: the best {name} is "
        f"{metrics.percent(score)}{at}, and {metrics.percent(chance)} is what the best constant answer "
        f"reaches on the {len(examples)} rows; lower the learning rate, train for more steps, start a "
        "student from its teacher (--student_init teacher_layers), or look whether the labels belong to the "
        "texts"
    ), rare
