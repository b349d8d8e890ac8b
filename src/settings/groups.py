"""How `--help` shows a setting: said beside its field, so that there is no second list.

A field is in the group of its dataclass (`GROUP`, a title of `GROUPS`; without one, in what one needs), a
section's fields in the section's. Each has a line in `--help`: at the top if it is `needed`, only in
`--help_all` if it is `rare`. That line has the first sentence of its docstring, of at most 60 characters.
"""

from collections.abc import Callable
from dataclasses import field
from typing import TypeVar

T = TypeVar("T")
"""Type of a setting, and so of its field to whoever reads it."""

NEEDED = "What one needs"
GROUPS = (
    NEEDED,
    "Teacher and student",
    "Student network",
    "Phase 1",
    "Phase 2",
    "Training",
    "Quantization",
    "Evaluation",
    "Answers",
    "Exported file",
    "Checkpoint",
    "Text corpus (task_name gd)",
    "Augmentation",
    "Data",
    "Raw texts",
    "Batches",
    "Teacher network",
    "Network of the checkpoint",
    "Run and log",
    "Device",
    "ModelArts",
)
"""Titles, in the order of the help."""
ORDER = ("config", "task", "model", "data", "epochs", "batch", "rate", "output")
"""What one needs, in this order."""


def needed(default: T, what: str) -> T:
    """A field that `--help` shows first; `what` is of `ORDER`."""
    return field(default=default, metadata={"needed": ORDER.index(what)})


def grouped(default: T, group: str) -> T:
    """A field in another group than its class's."""
    return field(default=default, metadata={"group": group})


def rare(default: T) -> T:
    """A field that only `--help_all` shows."""
    return field(default=default, metadata={"rare": True})


def section(factory: Callable[[], T], group: str, hidden: bool = False) -> T:
    """A field that is a dataclass of its own, made by `factory`.

    Args:
        group: the title of what is in it. hidden: all of it is `rare`.
    """
    return field(default_factory=factory, metadata={"group": group, "rare": hidden})
