"""TinyBERT's algorithm 1: rows of a training set to more rows with the same labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.data.augment.candidates import LanguageModel, MaskedCandidates
from src.data.augment.vectors import WordVectors
from src.data.augment.words import Word, is_replaceable, replace_words, split_words
from src.data.readers.rows import Row
from src.data.tokenization import Tokenizer

RowMaker = Callable[[list[Row], int], list[Row]]
"""row_maker(rows, number of the first one): the new rows."""


@dataclass(frozen=True)
class AugmentRecipe:
    """How rows are augmented; the names in brackets are the paper's."""

    copies: int = 20
    """New texts of each text (N_a)."""
    probability: float = 0.4
    """For a word to be replaced (p_t)."""
    candidates: int = 15
    """Words that one is chosen from (K)."""
    seed: int = 42


@dataclass(frozen=True)
class Augmentation:
    """What a training set is augmented with."""

    augmenter: RowMaker
    identity: Mapping[str, object]
    """Everything besides the rows that determines what it gives, for JSON."""


class Augmenter:
    """Makes new rows from rows.

    As in the published code, a word's candidates come from the text as it stands, not from a copy with other
    words already replaced, so that a text is read once for all its copies; function words (`STOP_WORDS`) are
    kept; of a pair one text is changed at a time, the other one is kept; and a copy equal to its text or to
    another copy is left out.

    Args:
        tokenizer: of the language model. language_model, vocabulary, longest: as in `MaskedCandidates`.
        vectors: for words of several WordPieces; None: those are kept.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        language_model: LanguageModel,
        vocabulary: Sequence[str],
        longest: int,
        vectors: WordVectors | None,
        recipe: AugmentRecipe,
    ):
        self._tokenizer, self._vectors, self._recipe = tokenizer, vectors, recipe
        self._masked = MaskedCandidates(language_model, vocabulary, recipe.candidates, longest)

    def __call__(self, rows: list[Row], first: int) -> list[Row]:
        """The new rows of some `Row`s, in their order: at most `copies` for each of its texts.

        Args:
            first: number of the first one in the training set; with the seed it decides every choice.
        """
        fields = [
            (number, row, name)
            for number, row in enumerate(rows, first)
            for name in ("text", "text_pair")
            if getattr(row, name)
        ]
        texts = [getattr(row, name) for _, row, name in fields]
        split = split_words(self._tokenizer, texts)
        candidates = self._masked(texts, split)
        made: list[Row] = []
        for (number, row, name), text, (_, words), found in zip(fields, texts, split, candidates):
            self._add_near_words(text, words, found)
            random = np.random.default_rng([self._recipe.seed, number, name == "text_pair"])
            for copy in self._copies(text, words, found, random):
                made.append(row._replace(text=copy) if name == "text" else row._replace(text_pair=copy))
        return made

    def _add_near_words(self, text: str, words: list[Word], found: dict[int, list[str]]) -> None:
        """The candidates of words of several WordPieces, into `found`."""
        if self._vectors is None:
            return
        for index, word in enumerate(words):
            if word.pieces > 1 and is_replaceable(text[word.start : word.end]):
                near = self._vectors.nearest(text[word.start : word.end], self._recipe.candidates)
                if near:
                    found[index] = near

    def _copies(
        self, text: str, words: list[Word], candidates: dict[int, list[str]], random: np.random.Generator
    ) -> list[str]:
        """The different new texts of one."""
        copies, places = {text: None}, sorted(candidates)  # a dict keeps their order
        for _ in range(self._recipe.copies):
            replaced = random.random(len(places)) < self._recipe.probability
            choices = random.random(len(places))
            chosen = {
                place: candidates[place][int(choice * len(candidates[place]))]
                for place, choice, here in zip(places, choices, replaced)
                if here
            }
            copies[replace_words(text, words, chosen)] = None
        return list(copies)[1:]
