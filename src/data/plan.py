"""A folder whose making can be stopped: what it is made from stands in a file, and only the same goes on."""

import json
import os
import re
from collections.abc import Mapping

from src.errors import UserError, listed


def names_in(folder: str, plan_file: str, ours: re.Pattern[str], result_of: str) -> list[str]:
    """The names in a folder; [] of one that is not there yet.

    Args:
        plan_file: its file that says what is made. ours: names of files written there.
        result_of: what writes them, for the message.

    Raises:
        UserError: it is a file, holds other files, or has no plan.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UserError(f"output_dir: {folder} is a file")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    foreign = [name for name in names if not ours.fullmatch(name)]
    if foreign or (names and plan_file not in names):
        raise UserError(
            f"output_dir: {folder} holds {(foreign or names)[0]} and is no earlier result of {result_of}; "
            "move it away or choose another output_dir"
        )
    return names


def check_same(folder: str, plan: Mapping[str, object], begun: Mapping[str, object]) -> None:
    """Raise a `UserError` that names the first key in which a `plan` differs from the one a folder was begun
    with; both dicts as JSON has them.
    """
    for key, value in plan.items():
        before = begun.get(key)
        if isinstance(value, list) and isinstance(before, list) and value != before:
            at = next(
                (at for at, pair in enumerate(zip(before, value)) if pair[0] != pair[1]),
                min(len(before), len(value)),
            )
            before, value = (items[at] if at < len(items) else None for items in (before, value))
            key = f"{key}[{at}]"
        if before != value:
            before, value = (listed([json.dumps(item)]) for item in (before, value))
            raise UserError(
                f"output_dir: {folder} was begun with {key} {before}, now it is {value}; continue with what "
                "it was begun with, remove that folder, or choose another output_dir"
            )
