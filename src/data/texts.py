"""Texts that a user wants labelled: where they come from, and the rows they become."""

import os
import sys
from collections.abc import Sequence
from typing import Literal

import numpy as np

from src.data.readers.files import Source
from src.data.readers.rows import EveryRow, Row, Where, is_text
from src.data.tokenization import Encoded, Tokenizer
from src.errors import UserError
from src.json_file import parse
from src.kinds.base import TaskKind
from src.tasks import TEXTS
from src.terminal import say


def read_texts(text: str | Literal[False], text_pair: str | Literal[False], path: str) -> list[Row]:
    """The texts as a list of `Row`s without labels.

    Args:
        text, text_pair: the only text and its second one; False for none.
        path: a file with one text a line, a tab between the two of a pair, blank lines left out; or with rows
            that name their texts, as JSON lines (.jsonl, .json) or parquet, SQuAD's .json or tagged words
            (.conll); "" for none. Without it and without `text`, lines are read from standard input.

    Raises:
        UserError: no text, an empty one, or a file that cannot be read.
    """
    if text is False and text_pair is not False:
        raise UserError("text_pair: needs a text before it: give --text")
    if text is not False and path:
        raise UserError("text, file: give only one of them")
    if text is not False:
        return [_row(text, None if text_pair is False else text_pair)]
    ending = os.path.splitext(path)[1].lower().removeprefix(".")
    if ending == "json" or ending in TEXTS.source.formats:
        return _named_texts(path, ending)
    where = path or "standard input"
    rows = []
    for number, line in _lines(path, where):
        first, tab, second = line.partition("\t")
        rows.append(_row(first, second if tab else None, Where(where, number)))
    return rows


def _named_texts(path: str, ending: str) -> list[Row]:
    """The texts of a file whose rows have keys, columns or tags; their labels are not read."""
    if not os.path.isfile(path):
        raise UserError(f"file: {path} does not exist")
    reader = _json_reader(path) if ending == "json" else TEXTS.source.formats[ending]
    found = Source(reader, (path,)).raw_rows(TEXTS, True, EveryRow())
    rows = [_row(raw.text, raw.text_pair, raw.where) for raw in found]
    if not rows:
        raise UserError(f"{path} holds no text")
    return rows


def _json_reader(path: str) -> str:
    """What reads a .json file: it has an object a line, as CLUE's, or else must be in SQuAD's layout."""
    with open(path, "rb") as file:
        first = next((line for line in file if line.strip()), b"{}")
    try:
        value = parse(first)
    except ValueError:
        return "squad"
    return "json_lines" if isinstance(value, dict) and "data" not in value else "squad"


def _lines(path: str, where: str) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    if not path and sys.stdin is None:
        raise UserError("text is needed: give --text or --file; standard input is closed")
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
    try:
        with open(path, encoding="utf-8-sig") if path else sys.stdin as file:
            lines = [line.rstrip("\r\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"file: {where} cannot be read as UTF-8 text: {error}") from error
    while lines and not lines[-1].strip():  # an editor's blank line at the end is no text
        lines.pop()
    if not lines and path:
        raise UserError(f"{path} holds no text")
    if not lines:
        raise UserError("text is needed: give --text, --file, or lines on standard input")
    blank = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if blank:
        say(f"{len(blank)} blank line(s) of {where} are left out, line {blank[0]} the first of them")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _row(text: str, pair: str | None, where: Where | None = None) -> Row:
    """A `Row`; without `where`, the text stands in the command."""
    named = str(where or "text")
    if not is_text(text + (pair or "")):
        raise UserError(f"{named}: not UTF-8 text")
    if not text.strip() or pair is not None and not pair.strip():
        raise UserError(f"{named}: a text is empty; every text needs at least one word")
    return Row(text, pair, None, where.number if where else 1, where=named)


def encode_texts(rows: Sequence[Row], kind: TaskKind, tokenizer: Tokenizer, longest: int) -> Encoded:
    """The texts' `Examples`, and how many had to be cut.

    Args:
        rows: of `read_texts`.
        kind: of the model that reads them.
        tokenizer: with the model's vocabulary.
        longest: tokens of a row, special ones included.

    Raises:
        UserError: a text without any token, or with a second text where none belongs or the other way round.
    """
    for row in rows:
        if fault := kind.pair_fault(row.text_pair):
            raise UserError(f"{row.where}: {fault}")
    examples, cut = kind.encode(tokenizer, rows, longest)
    second = np.add.reduceat(examples.segment_ids, examples.offsets[:-1])  # tokens of the pair and its [SEP]
    first = examples.lengths - second  # tokens of the text, [CLS] and [SEP]
    empty = np.flatnonzero((first == 2) | (second == 1))
    if len(empty):
        row = empty[0] if examples.origin is None else examples.origin.rows[empty[0]]
        raise UserError(
            f"{rows[row].where}: a text holds no word, only characters that BERT's tokenizer leaves out"
        )
    return examples, cut
