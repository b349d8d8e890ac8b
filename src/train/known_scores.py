"""What a teacher scored in an earlier run: a frozen network scores the same on the same rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Dict, Union

import numpy as np

from src.checkpoint.folder import digest
from src.checksums import read_sealed, write_sealed
from src.compile_cache import folder_of, program
from src.errors import UserError
from src.terminal import say

if TYPE_CHECKING:
    from src.examples import Examples
    from src.model import Model

TIMES = ("seconds_per_1000_rows", "p50_ms", "p95_ms")


def known_scores(
    setting: str,
    teacher: Model,
    evals: dict[str, Examples],
    how: object,
    measure: Callable[[], dict[str, float]],
) -> dict[str, float]:
    """The results of `measure`, from an earlier run where it was the very same; then without their times,
    which were of another moment.

    Args:
        setting: `compile_cache`, whose folder keeps results, a file each.
        teacher: what is evaluated. evals: by the split. how: whatever else decides, with a repr that says all
            of it.
        measure: gives {name: number}.
    """
    try:
        folder = folder_of(setting)
    except OSError:  # there is no home folder: the compiler has said so
        folder = ""
    if not folder:
        return measure()
    path = os.path.join(folder, f"{_key(teacher, evals, how)}.json")
    try:
        results = read_sealed(path, "the scores of a teacher", Dict[str, Union[int, float]])
    except UserError:  # not there yet, or damaged: as good as not there
        results = {}
    if results:
        say(f"the teacher was evaluated on these rows before; its scores are in {path}")
        return results
    results = measure()
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        write_sealed(path, {name: value for name, value in results.items() if name not in TIMES})
    except (OSError, UserError) as error:
        say(f"compile_cache: the teacher's scores are not kept: {error}")
    return results


def _key(teacher, evals, how):
    says = teacher.description
    facts = says.bert, says.kind.name, says.outputs, says.labels, says.quantization
    computes = str(teacher.network.compute_type), repr(how), program()
    return digest(teacher.weights(), repr(facts), rows_digest(evals), *computes)[:40]


def rows_digest(splits: dict[str, Examples]) -> str:
    """SHA-256 (hexadecimal) of all that is known of the rows of some splits."""
    total = hashlib.sha256()
    for split, examples in splits.items():
        total.update(split.encode())
        for array in (examples.input_ids, examples.segment_ids, examples.offsets, *examples.columns.values()):
            total.update(np.ascontiguousarray(array).data)
        if examples.origin:
            total.update(repr(examples.origin.texts).encode("utf-8", "surrogatepass"))
    return total.hexdigest()
