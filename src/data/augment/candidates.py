"""What a masked-language model would put in the place of a word.

Legend: B rows of a batch, S tokens of a padded row, V entries of the vocabulary, K candidates.
"""

from collections.abc import Callable, Sequence
from itertools import groupby, islice

import numpy as np

from src.data.augment.words import SplitText, has_letters, is_chinese, is_replaceable

LanguageModel = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""language_model(input_ids, input_mask, places): the logits, float32 (B, V), of the tokens at `places`, int32
(B,), of B rows of S tokens, int32 (B, S) each."""

LENGTHS = (16, 32, 64, 128, 256, 512)
"""Padded lengths in tokens; a graph is compiled for each that occurs."""
BATCH_TOKENS = 2048
"""Tokens of one forward pass, padding included."""


class MaskedCandidates:
    """The K most probable words for masked ones, of many texts in few forward passes.

    Args:
        vocabulary: the tokens in id order, [MASK] among them.
        count: K. longest: tokens of a row, special ones included; words beyond are left out.
    """

    def __init__(self, language_model: LanguageModel, vocabulary: Sequence[str], count: int, longest: int):
        self._language_model, self._vocabulary = language_model, vocabulary
        # Only whole words: a piece would join the word before it, [UNK] or a comma say nothing.
        fits = [
            has_letters(token) and not token.startswith("##") and not (token[0] == "[" and token[-1] == "]")
            for token in vocabulary
        ]
        self._unfit = ~np.array(fits)
        # A character for a character: of a Chinese vocabulary's Latin words many are scraps such as 52sykb.
        chinese = [len(token) == 1 and is_chinese(token) for token in vocabulary]
        self._unfit_chinese = self._unfit | ~np.array(chinese)
        self._count, self._longest = min(count, sum(fits)), longest
        ids = {token: index for index, token in enumerate(vocabulary)}
        self._cls, self._sep, self._mask = (ids[token] for token in ("[CLS]", "[SEP]", "[MASK]"))

    def __call__(self, texts: Sequence[str], split: Sequence[SplitText]) -> list[dict[int, list[str]]]:
        """Candidates for every word of one WordPiece that may be replaced.

        Args:
            split: what `split_words` gives of the texts.

        Returns:
            of each text {index of a word: K words, the most probable first}; for a Chinese character Chinese
            characters
        """
        found: list[dict[int, list[str]]] = [{} for _ in texts]
        masked: list[tuple[int, int, list[int], int, bool]] = []
        for number, (text, (ids, words)) in enumerate(zip(texts, split)):
            ids = ids[: self._longest - 2]
            for index, word in enumerate(words):
                whole, written = word.pieces == 1 and word.place < len(ids), text[word.start : word.end]
                if whole and is_replaceable(written):
                    masked.append((number, index, ids, word.place, is_chinese(written[0])))
        masked.sort(key=lambda item: len(item[2]))
        for length, rows in groupby(masked, lambda item: self._padded(len(item[2]) + 2)):
            while batch := list(islice(rows, max(BATCH_TOKENS // length, 1))):
                best = self._best([item[2:] for item in batch], length)
                for (number, index, *_), tokens in zip(batch, best):
                    if tokens:
                        found[number][index] = [self._vocabulary[token] for token in tokens]
        return found

    def _padded(self, length: int) -> int:
        return min(next((bound for bound in LENGTHS if bound >= length), length), self._longest)

    def _best(self, rows: list[tuple[list[int], int, bool]], length: int) -> list[list[int]]:
        """The K best tokens at the masked places of some rows, fewer where no more fit.

        Args:
            rows: (WordPiece ids, place of the one to mask, whether it is a Chinese character) of each.
            length: what they are padded to. A batch always has the same shape: the first row fills it up.
        """
        size = max(BATCH_TOKENS // length, 1)
        ids, mask = np.zeros((size, length), np.int32), np.zeros((size, length), np.int32)
        places = np.ones(size, np.int32)
        for row in range(size):
            pieces, place, _ = rows[row if row < len(rows) else 0]
            ids[row, : len(pieces) + 2] = [self._cls, *pieces, self._sep]
            mask[row, : len(pieces) + 2] = 1
            places[row] = place + 1
        ids[np.arange(size), places] = self._mask
        logits = self._language_model(ids, mask, places)[: len(rows), : len(self._unfit)]
        chinese = np.array([row[2] for row in rows])[:, None]
        logits = np.where(np.where(chinese, self._unfit_chinese, self._unfit), -np.inf, logits)
        best = np.argpartition(-logits, self._count - 1, axis=1)[:, : self._count]
        best.sort(axis=1)  # of equal ones the first in the vocabulary comes first
        scores = np.take_along_axis(logits, best, 1)
        order = np.argsort(-scores, axis=1, kind="stable")
        best, scores = (np.take_along_axis(values, order, 1) for values in (best, scores))
        return [tokens[fits].tolist() for tokens, fits in zip(best, scores > -np.inf)]
