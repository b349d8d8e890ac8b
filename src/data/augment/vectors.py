"""Word vectors in a text file: a word and its numbers a line, as GloVe's and fastText's files are."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from src.data.readers.rows import Where
from src.errors import UserError
from src.files import sample_checksum

MOST_WORDS = 100_000
"""Lines that are read: such files begin with the frequent words, and the published code reads as many."""


class WordVectors:
    """Vectors of words, by which words are near each other.

    Args:
        vectors: float32 (words, width), a row each.
        identity: tells one file from another.
    """

    def __init__(self, words: list[str], vectors: np.ndarray, identity: str = ""):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self.identity = identity
        self._unit = vectors / np.where(lengths > 0, lengths, 1)
        self._words = words
        self._rows = {word: row for row, word in reversed(list(enumerate(words)))}  # the first of equal ones
        self._known: dict[tuple[int, int], list[str]] = {}

    @classmethod
    def read(cls, path: str) -> WordVectors:
        """The first `MOST_WORDS` of a file; a header line with two whole numbers is skipped.

        Raises:
            UserError: it cannot be read, is not UTF-8, or a line has no word or another width than the first.
        """
        try:
            with open(path, "rb") as file:
                words, vectors = _read_lines(file, path)
        except OSError as error:
            raise UserError(f"augment_vectors: cannot read {path}: {error.strerror}") from error
        if not words:
            raise UserError(f"augment_vectors: {path} holds no word with its vector")
        return cls(words, np.stack(vectors), sample_checksum(path))

    def nearest(self, word: str, count: int) -> list[str]:
        """The `count` words with the largest cosine to `word`, the nearest first, without itself; [] where it
        has no vector. A word that is not there as it stands is looked up in lower case.
        """
        row = self._rows.get(word, self._rows.get(word.lower()))
        if row is None:
            return []
        if (row, count) not in self._known:
            cosines = self._unit @ self._unit[row]
            cosines[row] = -np.inf
            best = np.argsort(-cosines, kind="stable")[: min(count, len(self._words) - 1)]
            self._known[row, count] = [self._words[index] for index in best]
        near = self._known[row, count]
        return [other.capitalize() for other in near] if word not in self._rows and word.istitle() else near


def _read_lines(file: BinaryIO, path: str) -> tuple[list[str], list[np.ndarray]]:
    """(words, vectors) of an open binary file."""
    words: list[str] = []
    vectors: list[np.ndarray] = []
    width = 0
    for number, line in enumerate(file, 1):
        where = Where(path, number)
        try:
            fields = line.decode("utf-8").strip("\ufeff\r\n ").split(" ")
        except UnicodeDecodeError as error:
            raise UserError(f"augment_vectors: {where}: not UTF-8 text") from error
        if not line.strip():
            continue
        if number == 1 and len(fields) == 2 and all(item.isdigit() for item in fields):
            continue
        width = width or len(fields) - 1
        words.append(" ".join(fields[:-width]))
        vectors.append(_vector(fields, width, where))
        if len(words) == MOST_WORDS:
            break
    return words, vectors


def _vector(fields: list[str], width: int, where: Where) -> np.ndarray:
    """float32 (width,) at the end of a line. A word may have spaces, as some of GloVe's largest file have,
    but no number before its vector: that one is too long.
    """
    numbers = [_number(item) for item in fields[max(len(fields) - width, 1) :]]
    too_long = len(fields) > width + 1 and _number(fields[-width - 1]) is not None
    if not width or len(numbers) < width or None in numbers or too_long:
        raise UserError(
            f"augment_vectors: {where}: not a word and {width or 'its'} numbers with spaces between them"
            f"{', as the first line has' if width else ''}"
        )
    return np.array(numbers, np.float32)


def _number(text: str) -> float | None:
    """A float whose square float32 can hold, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e15 else None
