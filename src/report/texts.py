"""Readable text of rows of tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tokenizers import decoders

from src.examples import Examples

LONGEST = 400
"""Characters of a text that are shown."""
_UNSAID = {"[CLS]", "[SEP]", "[PAD]"}
# Between two characters of Chinese, or Japanese kana, stands no space; their punctuation is among them.
_WIDE = "\u2e80-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
_SPACE = re.compile(f"(?<=[{_WIDE}]) (?=[{_WIDE}])")


class Texts:
    """Turns tokens back into text, as nearly as WordPieces tell.

    Args:
        vocabulary (sequence of str): the tokens in id order; None where unknown: numbers stand for them.
    """

    def __init__(self, vocabulary: Sequence[str] | None):
        self._vocabulary = vocabulary
        self._decoder = decoders.WordPiece(prefix="##", cleanup=True)

    def of(self, ids: Iterable[int]) -> str:
        """The text of some token numbers."""
        if self._vocabulary is None:
            return cut(" ".join(map(str, ids)))
        size = len(self._vocabulary)
        tokens = [self._vocabulary[number] if number < size else f"[{number}]" for number in ids]
        text = self._decoder.decode([token for token in tokens if token not in _UNSAID])
        return cut(_SPACE.sub("", text))

    def of_row(self, examples: Examples, row: int) -> list[str]:
        """[text] or [text, second text] of a row of `Examples`."""
        tokens = slice(*examples.offsets[row : row + 2])
        ids, segments = examples.input_ids[tokens], examples.segment_ids[tokens]
        return [self.of(ids[segments == segment]) for segment in (0, 1) if (segments == segment).any()]


def cut(text: str) -> str:
    """A text that is not too long to be shown, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[:LONGEST] + "..."
