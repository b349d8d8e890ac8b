"""`SPLIT.texts.jsonl` beside a split's records: the texts that its rows were made from, a line each.

A line is what the kind of task keeps of a text, and under `rows` the characters that each token of each of
its rows stands for: start, end, start, end, ...
"""

import json
import os

import numpy as np

from src.errors import UserError
from src.examples import Origin

_AGAIN = "run prepare_data.py again"


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
        with open(path, encoding="utf-8", newline="\n") as file:
            for line in file:
                text = json.loads(line)
                rows = text.pop("rows")
                numbers += [len(texts)] * len(rows)
                spans += [np.array(row, np.int32).reshape(-1, 2) for row in rows]
                texts.append(text)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); it holds the texts of the rows: {_AGAIN}"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}, line {len(texts) + 1} is damaged; {_AGAIN}") from error
    if [len(span) for span in spans] != examples.lengths.tolist():
        raise UserError(f"{path} is of other rows than the records beside it; {_AGAIN}")
    return Origin(np.array(numbers, np.int64), np.concatenate(spans), tuple(texts))
