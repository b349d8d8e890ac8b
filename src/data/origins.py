"""`SPLIT.texts.jsonl` beside a split's records: the texts that its rows were made from, a line each.

A line is what the kind of task keeps of a text, and under `rows` the characters that each token of each of
its rows stands for: start, end, start, end, ...
"""

import json
import os
from typing import Annotated, List, Optional, TypedDict

import numpy as np
from msgspec import Meta

from src.data.info import DatasetInfo
from src.data.whole import check_noted
from src.errors import UserError
from src.examples import Origin
from src.json_file import Text, read_lines

_AGAIN = "run prepare_data.py again"


class _Line(TypedDict):
    """What the file keeps of a text."""

    id: Text
    text: Text
    answers: Optional[List[Text]]
    """None where they are not known."""
    rows: List[List[Annotated[int, Meta(ge=-1, le=2**31 - 1)]]]


def texts_file(folder, split):
    """Its path."""
    return os.path.join(folder, f"{split}.texts.jsonl")


def append_texts(file, examples):
    """Write the texts of some `Examples` with their `Origin` to an open text file."""
    origin = examples.origin
    ends = np.searchsorted(origin.rows, np.arange(len(origin.texts)), "right").tolist()
    row = 0
    for text, end in zip(origin.texts, ends):
        tokens = (slice(*examples.offsets[number : number + 2]) for number in range(row, end))
        rows = [origin.spans[part].ravel().tolist() for part in tokens]
        file.write(json.dumps({**text, "rows": rows}, ensure_ascii=False, separators=(",", ":")) + "\n")
        row = end


def read_texts(folder, split, examples):
    """The `Origin` of a split's `Examples`.

    Raises:
        UserError: the file is missing, damaged, or of other records.
    """
    path = texts_file(folder, split)
    texts, spans, numbers = [], [], []
    try:
        check_noted(path, DatasetInfo.load(folder))
        for text in read_lines(path, "the texts of the rows", _Line):
            rows = text.pop("rows")
            numbers += [len(texts)] * len(rows)
            spans += [np.array(row, np.int32).reshape(-1, 2) for row in rows]
            texts.append(text)
    except (OSError, UserError) as error:
        raise UserError(f"{error}; {_AGAIN}") from error
    except ValueError as error:  # an odd number of places
        raise UserError(f"{path}, line {len(texts) + 1} is damaged; {_AGAIN}") from error
    if [len(span) for span in spans] != examples.lengths.tolist():
        raise UserError(f"{path} is of other rows than the records beside it; {_AGAIN}")
    return Origin(np.array(numbers, np.int64), np.concatenate(spans), tuple(texts))
