"""Augmented rows as files, so that a run that was stopped goes on where it was.

The folder lies beside the records: `plan.json` says what determines its rows, `part-00000.jsonl` has the new
rows of the first `PART_ROWS` training rows, and so on. A part's last line counts its rows: one that was cut
is made again. The folder stays when the records are done, for another run and for whoever wants to read it.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, List, Optional, TypedDict

from src.data.augment.augmenter import RowMaker
from src.data.plan import check_same, names_in
from src.data.prepare import CountingBar
from src.data.readers.rows import Row
from src.errors import UserError
from src.files import make_folder, sweep, write_json, write_text
from src.json_file import Count, Text, checked, parse, read_json, read_lines

PART_ROWS = 256
"""Training rows of a part: what a stop can cost."""
PLAN_FILE = "plan.json"
_OURS = re.compile(rf"{re.escape(PLAN_FILE)}|part-\d{{5,}}\.jsonl|\.writing-.*")


class _Row(TypedDict):
    """A `Row` as a part has it."""

    text: Text
    text_pair: Optional[Text]
    label: Any
    line_number: Count
    id: Text


class Parts:
    """The folder of one plan.

    Args:
        folder: new, empty, or from an earlier run. plan: for JSON.

    Raises:
        UserError: the folder holds anything else, or parts of another plan.
    """

    def __init__(self, folder: str, plan: Mapping[str, object]):
        self.folder = folder
        self._parts = 0
        self.count = 0
        """New rows, after `fill`."""
        path = os.path.join(folder, PLAN_FILE)
        if not names_in(folder, PLAN_FILE, _OURS, "prepare_data.py --augment"):
            make_folder(folder)
            write_json(path, plan)
        sweep(folder)
        check_same(folder, parse(json.dumps(plan)), read_json(path, "the plan"))

    def fill(self, rows: Iterator[Row], total: int, augmenter: RowMaker) -> None:
        """Make the parts that are lacking.

        Args:
            rows: the training set. total: how many they are.
        """
        self._parts = self.count = 0
        with CountingBar("augment", total, "row") as progress:
            while chunk := list(islice(rows, PART_ROWS)):
                made = self._read(self._parts)
                if made is None:
                    made = augmenter(chunk, self._parts * PART_ROWS)
                    lines = [*(row._asdict() for row in made), {"rows": len(made)}]
                    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
                    write_text(self._path(self._parts), text)
                    progress.update(len(chunk), rows=len(chunk))
                else:
                    progress.skip(len(chunk))
                self._parts, self.count = self._parts + 1, self.count + len(made)

    def rows(self) -> Iterator[Row]:
        """Every new `Row`, after `fill`."""
        for number in range(self._parts):
            made = self._read(number)
            if made is None:
                raise UserError(f"{self._path(number)} was lost or damaged meanwhile; run it again")
            yield from made

    def _path(self, number: int) -> str:
        return os.path.join(self.folder, f"part-{number:05d}.jsonl")

    def _read(self, number: int) -> list[Row] | None:
        """A part's rows; None where it is not there or not whole."""
        try:
            *lines, end = read_lines(self._path(number), "the part")
            rows = checked(lines, List[_Row], self._path(number))
        except (UserError, ValueError):  # not there, damaged, or nothing in it
            return None
        return [Row(**row) for row in rows] if end == {"rows": len(rows)} else None
