"""`SPLIT.texts.jsonl` beside a split's records: the texts that its rows were made from, a line each.

A line is what the kind of task keeps of a text, and under `rows` the characters that each token of each of
its rows stands for: start, end, start, end, ...
"""

import json
import os
from typing import Annotated, Any, List, Optional, TextIO, TypedDict

import numpy as np
from msgspec import Meta

from src.data.info import DatasetInfo
from src.data.whole import check_noted
from src.errors import UserError
from src.examples import Examples, Origin
from src.json_file import Text, read_lines

_AGAIN = "run prepare_data.py again"


class _Line(TypedDict):
    """What the file keeps of a text."""

    id: Text
    text: Text
    answers: Optional[List[Text]]
    """None where they are not known."""
    rows: List[List[Annotated[int, Meta(ge=-1, le=2**31 - 1)]]]


def texts_in(examples: Examples) -> int:
    """How many texts the rows are windows of; 0 where each row is a text of its own."""
    return len(examples.origin.texts) if examples.origin else 0


def texts_file(folder: str, split: str) -> str:
    """Its path."""
    return os.path.join(folder, f"{split}.texts.jsonl")


def append_texts(file: TextIO, examples: Examples) -> None:
    """Write the texts of some `Examples` with their `Origin` to an open text file."""
    origin = examples.origin
    assert origin is not None  # who needs texts keeps it
    ends = np.searchsorted(origin.rows, np.arange(len(origin.texts)), "right").tolist()
    row = 0
    for text, end in zip(origin.texts, ends):
        tokens = (slice(*examples.offsets[number : number + 2]) for number in range(row, end))
        rows = [origin.spans[part].ravel().tolist() for part in tokens]
        file.write(json.dumps({**text, "rows": rows}, ensure_ascii=False, separators=(",", ":")) + "\n")
        row = end


def read_origin(folder: str, split: str, examples: Examples) -> Origin:
    """The `Origin` of a split's `Examples`.

    Raises:
        UserError: the file is missing, damaged, or of other records.
    """
    path = texts_file(folder, split)
    texts: list[dict[str, Any]] = []
    spans: list[np.ndarray] = []
    numbers: list[int] = []
    try:
        check_noted(path, DatasetInfo.load(folder))
        for line in read_lines(path, "the texts of the rows", _Line):
            numbers += [len(texts)] * len(line["rows"])
            spans += [np.array(row, np.int32).reshape(-1, 2) for row in line["rows"]]
            texts.append({key: value for key, value in line.items() if key != "rows"})
    except (OSError, UserError) as error:
        raise UserError(f"{error}; {_AGAIN}") from error
    except ValueError as error:  # an odd number of places
        raise UserError(f"{path}, line {len(texts) + 1} is damaged; {_AGAIN}") from error
    if [len(span) for span in spans] != examples.lengths.tolist():
        raise UserError(f"{path} is of other rows than the records beside it; {_AGAIN}")
    return Origin(np.array(numbers, np.int64), np.concatenate(spans), tuple(texts))
