"""How a message tells what of some weights does not fit."""

from src.errors import UserError


def refuse(what, problems):
    """Raise a `UserError` where any of `problems` ({words: list of names}) has an item; it gives the first
    three of each and their number.
    """
    parts = [f"{len(items)} {kind} ({_first(items)})" for kind, items in problems.items() if items]
    if parts:
        raise UserError(f"{what}: {'; '.join(parts)}")


def shape(array):
    """An array's, tensor's or parameter's shape as a tuple of int."""
    return tuple(int(size) for size in array.shape)


def _first(items, count=3):
    return ", ".join(items[:count]) + (", ..." if len(items) > count else "")
