"""How far a student's layers are from the teacher's that they learn from: `layers.json` of a run's folder.

The distance is the squared error that the losses of TinyBERT (arXiv 1909.10351, equations 7 and 8) add up,
as a share of the teacher's own squares: 0 where both are equal, 1 where the student might as well say 0.

Legend: B bins, S tokens of one, H the teacher's width.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Dict, Tuple

import numpy as np

from src.errors import UserError
from src.files import write_json
from src.json_file import Count, read_json


@dataclass(frozen=True)
class LayerDistances:
    """Of the layers that a stage compared."""

    stride: Count
    """Teacher layers that a student layer stands for."""
    attention: Tuple[float, ...]
    """Of the attention scores of student layer 1, 2 ...; () where they are not compared."""
    hidden: Tuple[float, ...]
    """Of the hidden states: the embeddings, then layer 1, 2 ...; () likewise."""
    rows: Count
    """Training rows that they were measured on."""

    def __post_init__(self):
        if self.attention and self.hidden and len(self.hidden) != len(self.attention) + 1:
            raise ValueError(
                f"{len(self.attention)} layers have attention scores, so hidden states are "
                f"{len(self.attention) + 1} with the embeddings', not {len(self.hidden)}"
            )

    @property
    def lines(self) -> list[tuple[str, int, float | None, float | None]]:
        """[(what, teacher's layer, distance of attention or None, of states or None)]"""
        depth = max(len(self.attention), len(self.hidden) - 1)
        states = self.hidden or [None] * (depth + 1)
        scores = [None, *(self.attention or [None] * depth)]
        names = ["embeddings", *(f"layer {number}" for number in range(1, depth + 1))]
        first = 0 if self.hidden else 1
        return [(names[n], n * self.stride, scores[n], states[n]) for n in range(first, depth + 1)]


def distance(student: np.ndarray, teacher: np.ndarray, counts: np.ndarray) -> float:
    """The squared distance of two arrays as a share of the teacher's squares.

    Args:
        student, teacher (ndarray): of one shape. counts (ndarray): bool, broadcast to it: what is compared.
    """
    student, teacher = (np.where(counts, values, 0).astype(np.float64) for values in (student, teacher))
    squares = np.square(teacher).sum()
    return float(np.square(student - teacher).sum() / squares) if squares else 0.0


def distances(
    states: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    teacher_states: Sequence[np.ndarray],
    teacher_scores: Sequence[np.ndarray],
    input_mask: np.ndarray,
    stride: int,
    rows: int,
) -> LayerDistances:
    """The `LayerDistances` of some bins.

    Args:
        states, teacher_states (sequences of ndarray): (B, S, H), the student's already projected.
        scores, teacher_scores (sequences of ndarray): (B, heads, S, S). All are already paired by the layer
            map, and empty where they are not compared.
        input_mask (ndarray): int (B, S), the number of the row that a token is of, 0 for none.
        stride, rows (int): as the fields.
    """
    tokens = input_mask[:, :, None] > 0
    pairs = (tokens & (input_mask[:, :, None] == input_mask[:, None, :]))[:, None]
    attention = tuple(distance(*pair, pairs) for pair in zip(scores, teacher_scores))
    hidden = tuple(distance(*pair, tokens) for pair in zip(states, teacher_states))
    return LayerDistances(stride, attention, hidden, rows)


def note(path: str, stage: str, found: LayerDistances) -> None:
    """Add a stage's `LayerDistances` to the file."""
    try:
        known = read_json(path, "distances of layers")
    except UserError:  # the first stage, or a file that is damaged
        known = {}
    write_json(path, {**known, stage: asdict(found)})


def read(path: str) -> dict[str, LayerDistances]:
    """{stage: LayerDistances} of the file.

    Raises:
        UserError: it is missing or damaged.
    """
    return read_json(path, "how far layers are from the teacher's:", Dict[str, LayerDistances])
