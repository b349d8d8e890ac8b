"""Documents to sentences and tokens. Legend: D documents, M sentences, T tokens, W words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np

from src.data.corpus.documents import Document
from src.data.tokenization import Tokenizer
from src.examples import offsets_of

# A full stop after one of these, or after a single letter (an initial, e.g., U.S.), ends no sentence.
_ABBREVIATIONS = (
    "Mr Mrs Ms Dr Prof Rev Hon Gen Col Maj Capt Cpt Cmdr Lt Sgt Gov Sen Rep Pres St Mt Ft Jr Sr vs cf al "
    "ca no No Nos Vol vol Fig fig pp Op op Ed ed Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec"
).split()
_NOT_ABBREVIATED = "".join(
    rf"(?<!\b(?:{'|'.join(sorted(words))})\.)"  # one a length: what a look-behind matches has a fixed width
    for _, words in groupby(sorted(_ABBREVIATIONS, key=len), len)
)
_END = re.compile(
    rf"[.!?](?<!\b[A-Za-z]\.){_NOT_ABBREVIATED}[.!?]*[\"')\]”’»]*[ \t]+(?=[\"'(\[“‘«]*[A-Z0-9À-ÖØ-ÞΑ-ΩА-Я])"
)
_CHINESE_END = re.compile(r"[。！？]+[”’」』）)]*")

_CHINESE_WORDS = re.compile(r"[^ \n!-/:-@\[-`{-~\u4e00-\u9fff]+|[!-/:-@\[-`{-~\u4e00-\u9fff]|\n")
_SENTENCE_END, _DOCUMENT_END = "\n", "\n\n"  # the latter is no word: divide_words never gives it
_BATCH_WORDS = 8192  # looked up at a time: few enough to be still in the processor's cache
_MOST_WORDS, _MOST_CHARACTERS = 1 << 18, 1 << 22  # remembered, with some 150 bytes a word


def split_sentences(text: str) -> str:
    """`text` with a line feed after every sentence; line feeds that are there stay."""
    text = _END.sub(lambda end: end[0] + "\n", text)
    return (
        _CHINESE_END.sub(lambda end: end[0] + "\n", text) if any(mark in text for mark in "。！？") else text
    )


def divide_words(text: str) -> list[str]:
    """Pieces whose tokens, one after the other, are the text's, and a piece for each line feed.

    Google's tokenizer divides text at white space, around every punctuation mark and around every Chinese
    character. This divides at spaces only, which is by far the quickest, and in Chinese text at the other
    places too (not all of them): any division at some of these places leaves whole words. Frequent pieces are
    what matters.
    """
    if "。" in text or "，" in text:
        return _CHINESE_WORDS.findall(text)
    return text.replace("\n", " \n ").split(" ")


class Sentences(NamedTuple):
    """The tokens of a block's documents; documents without any token are left out."""

    tokens: np.ndarray
    """int32 (T,)"""
    bounds: np.ndarray
    """int64 (M + 1,): sentence i is `tokens[bounds[i]:bounds[i + 1]]`, never empty."""
    documents: np.ndarray
    """int64 (D + 1,): document j is the sentences `documents[j]` to `documents[j + 1]`."""
    origins: np.ndarray
    """int64 (D,), ascending: pieces of one document have the same number; 0 is one that began in the block
    before.
    """


class _Numbers(dict[str, int]):
    """{word: its number}; a new word takes the next number and is kept in `unseen`."""

    def __init__(self):
        super().__init__({_SENTENCE_END: 0, _DOCUMENT_END: 1})
        self.unseen: list[str] = []

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        self.unseen.append(word)
        return number


class WordTokenizer:
    """`Tokenizer` for much text: the ids of words seen before are remembered, which is some ten times as
    fast.

    Args:
        tokenizer: whose ids it gives.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._forget()

    def _forget(self):
        self._numbers, self._characters = _Numbers(), 0
        self._ids, self._starts, self._counts = (
            np.zeros(0, np.int32),
            np.zeros(2, np.int64),
            np.zeros(2, np.int64),
        )
        # The tokens of word n are _ids[_starts[n]:][:_counts[n]].

    def encode(self, documents: Sequence[Document]) -> Sentences:
        """The `Sentences` of some `Document`s."""
        parts: list[np.ndarray] = []
        words: list[str] = []
        for document in documents:
            words += divide_words(split_sentences(document.text))
            words.append(_DOCUMENT_END)
            if len(words) > _BATCH_WORDS:
                parts.append(self._number(words))
                words = []
        numbers = np.concatenate([*parts, self._number(words)])
        self._learn()
        counts = self._counts[numbers]  # (W,)
        tokens = self._ids[spans(self._starts[numbers], counts)]
        if len(self._numbers) > _MOST_WORDS or self._characters > _MOST_CHARACTERS:
            self._forget()

        ends = np.flatnonzero(numbers <= 1)  # of sentences
        lengths = np.diff(np.cumsum(counts)[ends], prepend=0)
        last = numbers[ends] == 1  # of its document
        # Of each document.
        sentences = np.bincount((np.cumsum(last) - last)[lengths > 0], minlength=len(documents))
        origins = np.cumsum([not document.continues for document in documents])
        return Sentences(
            tokens,
            offsets_of(lengths[lengths > 0]),
            offsets_of(sentences[sentences > 0]),
            origins[sentences > 0],
        )

    def _number(self, words: list[str]) -> np.ndarray:
        return np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words))

    def _learn(self):
        """Take in the tokens of the words that were new."""
        unseen, self._numbers.unseen = self._numbers.unseen, []
        ids = [self._ids]
        counts: list[int] = []
        for start in range(0, len(unseen), 4096):  # the Rust library's own objects are large
            tokens = self._tokenizer.token_ids(unseen[start : start + 4096])
            ids.append(np.fromiter(chain.from_iterable(tokens), np.int32))
            counts += map(len, tokens)
        self._ids = np.concatenate(ids)
        self._counts = np.append(self._counts, np.array(counts, np.int64))
        self._starts = np.cumsum(self._counts) - self._counts
        self._characters += sum(map(len, unseen))


def spans(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The indices of spans one after the other: `starts[0], starts[0] + 1, ...` (`counts[0]` of them),
    `starts[1]`, ...
    """
    ends = np.cumsum(counts)
    return np.repeat(starts - ends + counts, counts) + np.arange(counts.sum())
