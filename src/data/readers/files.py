"""Which files hold a split, and what reads them.

A new format is a file beside this one, with `read_rows` and `count_rows`, a line in `READERS`, and its
ending in `formats` of the sources (`src/sources.py`) that have it.
"""

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Protocol

from src.data.readers import cluener, conll, json_lines, parquet, squad, tsv
from src.data.readers.rows import BadRows, RawRow
from src.errors import UserError, listed
from src.tasks import Task


class Reader(Protocol):
    """The module of a format."""

    def read_rows(self, path: str, task: Task, test: bool, bad_rows: BadRows) -> Iterator[RawRow]:
        """Every well-formed row of a file; the others go to `bad_rows`."""

    def count_rows(self, path: str) -> int:
        """About how many rows a file has."""


READERS: dict[str, Reader] = {
    "tsv": tsv,
    "json_lines": json_lines,
    "parquet": parquet,
    "conll": conll,
    "cluener": cluener,
    "squad": squad,
}
"""{name of a reader in a task's source: the module}"""
BESIDE = ("diagnostic",)
"""The sets that GLUE's download has in folders of their own, beside their task's."""
_PART = re.compile(r"^(.+)-([0-9]+)-of-([0-9]+)(?![0-9])")
_IN_PARTS = ("parquet",)  # whose split may be several files, as train-00000-of-00002.parquet

# The names a split's file may have, GLUE's own first: Hugging Face and most others say validation. MNLI from
# other sources than GLUE may have a single evaluation set under a plain name; that is looked for only if no
# file has a name of the first group.
_DEV, _TEST = ("dev", "validation", "eval", "valid"), ("test",)
_NAMES = {
    "train": (("train",),),
    "train_aug": (("train_aug",),),
    "dev": (_DEV,),
    "test": (_TEST,),
    "dev_matched": (("dev_matched", "validation_matched"), _DEV),
    "test_matched": (("test_matched",), _TEST),
    "dev_mismatched": (("dev_mismatched", "validation_mismatched"),),
    "test_mismatched": (("test_mismatched",),),
    "diagnostic": (("diagnostic", "AX"),),
}


@dataclass(frozen=True)
class Source:
    """The files that hold one split."""

    reader: str
    """A key of `READERS`."""
    paths: tuple[str, ...]
    """Their paths, in order."""

    def raw_rows(self, task: Task, test: bool, bad_rows: BadRows) -> Iterator[RawRow]:
        """Every well-formed `RawRow`; arguments as for `read_split`."""
        for path in self.paths:
            yield from READERS[self.reader].read_rows(path, task, test, bad_rows)


def find_source(data_dir: str, stem: str, formats: Mapping[str, str]) -> Source | None:
    """The `Source` of a split, or None when `data_dir` has no file for it.

    Args:
        data_dir: folder with the raw files.
        stem: GLUE's name of the file without ending: `train`, `dev`, `dev_matched`, `test`, ...; the
            diagnostic set may also lie in the folder `diagnostic` beside `data_dir`.
        formats: of the task's source.

    Raises:
        UserError: no such folder, several files that could serve, or a file that is empty or cannot be read.
    """
    if not os.path.isdir(data_dir):
        raise UserError(f"data_dir: {data_dir} is not a folder")
    beside = [os.path.join(os.path.dirname(os.path.abspath(data_dir)), stem)] if stem in BESIDE else []
    found: list[Source] = []
    for folder, names in product([data_dir, *beside], _NAMES[stem]):
        bases = [os.path.join(folder, name) for name in names]
        found = found or [source for base in bases for source in _sources_named(base, formats)]
    if not found:
        return None
    if len(found) > 1:
        paths = ", ".join(source.paths[0] for source in found)
        raise UserError(f"data_dir: several files could be the {stem} set ({paths}); keep one of them")
    check_parts(found[0].paths)
    for path in found[0].paths:
        if not os.path.isfile(path) or not os.access(path, os.R_OK):
            raise UserError(f"{path} cannot be read")
        if os.path.getsize(path) == 0:
            raise UserError(f"{path} is empty")
    return found[0]


def check_parts(paths: Sequence[str]) -> None:
    """Raise a `UserError` where files whose names number them, as train-00000-of-00002.parquet, are not the
    whole set.
    """
    sets: dict[str, list[tuple[int, int, str]]] = {}
    for path in paths:
        if found := _PART.search(os.path.basename(path)):
            sets.setdefault(found[1], []).append((int(found[2]), int(found[3]), path))
    for path in paths:
        for _, _, part in sets.get(os.path.basename(path).split(".")[0], ()):
            raise UserError(f"{path} and {part}, one of several parts, lie side by side; keep one of them")
    for parts in sets.values():
        held = {number for number, _, _ in parts}
        total = max(total for _, total, _ in parts)
        first = 1 if 0 not in held and total in held else 0
        wanted = range(first, first + total)  # as many as a name says, which may be any number
        lacking = list(islice((number for number in wanted if number not in held), 100))
        if lacking or len(parts) != total:
            fault = f"part {listed(lacking)} is missing" if lacking else "a part is there twice"
            raise UserError(f"{parts[0][2]} is one of {total} files of its split, of which {fault}")


def _sources_named(base: str, formats: Mapping[str, str]) -> Iterator[Source]:
    """The sources whose files are called `base` plus an ending."""
    for ending, reader in formats.items():
        paths = glob.glob(_named(glob.escape(base), ending))
        if ending in _IN_PARTS:
            paths += glob.glob(f"{glob.escape(base)}-*.{ending}")
        if paths:
            yield Source(reader, tuple(sorted(paths)))


def _named(base: str, ending: str) -> str:
    """A file's name; an ending with more than a format in it brings its own separator, as `-v1.1.json`."""
    return base + ending if ending.startswith("-") else f"{base}.{ending}"


def require_source(data_dir: str, stem: str, formats: Mapping[str, str]) -> Source:
    """`find_source`, with a `UserError` that lists what was looked for when there is none."""
    source = find_source(data_dir, stem, formats)
    if source is None:
        wanted = ", ".join(
            f"{name}-*.{ending}" if ending in _IN_PARTS else _named(name, ending)
            for names in _NAMES[stem]
            for name in names
            for ending in formats
        )
        held = listed(sorted(os.listdir(data_dir))) or "nothing"
        raise UserError(f"data_dir: {data_dir} has no {stem} set; looked for {wanted}; it holds {held}")
    return source


def count_rows(source: Source) -> int:
    """About how many rows a `Source` has (text files: lines, an unended last one left out), for a progress
    bar.
    """
    return sum(READERS[source.reader].count_rows(path) for path in source.paths)
