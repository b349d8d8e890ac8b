"""How a message tells what of some weights does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from mindspore import Tensor


def refuse(what: str, problems: dict[str, list[str]]) -> None:
    """Raise a `UserError` where any of `problems` ({words: list of names}) has an item; it gives the first
    three of each and their number.
    """
    parts = [f"{len(items)} {kind} ({_first(items)})" for kind, items in problems.items() if items]
    if parts:
        raise UserError(f"{what}: {'; '.join(parts)}")


def shape(array: np.ndarray | Tensor) -> tuple[int, ...]:
    """An array's, tensor's or parameter's shape; Python's integers also where a library has its own."""
    return tuple(int(size) for size in array.shape)


def _first(items, count=3):
    return ", ".join(items[:count]) + (", ..." if len(items) > count else "")
