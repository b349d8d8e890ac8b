"""Sentences to rows, as BERT's. Legend: T tokens of a block (special ones not included), R rows."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from src.data.corpus.blocks import Block
from src.data.corpus.words import Sentences, WordTokenizer, spans
from src.data.tokenization import Tokenizer, truncate_pair
from src.errors import UserError
from src.examples import Examples, offsets_of
from src.kinds import CLASSIFICATION


@dataclass(frozen=True)
class Recipe:
    """What decides the rows of a text, besides the tokenizer."""

    max_seq_length: int
    """Longest row in tokens, special ones included."""
    short_seq_prob: float
    """Share of the documents that are packed into shorter rows."""
    next_sentence: bool
    """Rows are pairs of texts, half of them with a random second one; false: rows are one text."""
    dupe_factor: int
    """Times the corpus is packed, each time with other random choices."""
    masked_lm_prob: float
    """Share of a row's tokens that are masked."""
    seed: int
    """Of every random choice."""

    def __post_init__(self):
        if self.max_seq_length < 8:
            raise UserError(
                f"max_seq_length {self.max_seq_length} leaves no room for two texts between [CLS] and [SEP]; "
                "give 8 or more"
            )

    @property
    def budget(self) -> int:
        """Tokens of text a row has room for."""
        return self.max_seq_length - (3 if self.next_sentence else 2)


class Packed(NamedTuple):
    """What one block gives."""

    block: Block
    """Which one, without its documents."""
    examples: Examples
    """Its rows, shuffled: `[CLS] text [SEP]` or `[CLS] text [SEP] next [SEP]`, with labels (0: really next,
    1: random) in the latter.
    """
    documents: int
    sentences: int
    cut: int
    """Sentences longer than a row, which were cut into several."""
    tokens: int
    """Of the text, each counted once."""


class Packer:
    """A worker that turns blocks into rows: `packer(block)` is the `Packed` of a `Block`.

    Args:
        vocab_tokens, lower_case, strip_accents: as for `Tokenizer`; with [MASK] where tokens are masked.
        recipe: how.
    """

    def __init__(
        self, vocab_tokens: Sequence[str], lower_case: bool, recipe: Recipe, strip_accents: bool | None = None
    ):
        tokenizer = Tokenizer(vocab_tokens, lower_case, strip_accents)
        self._words, self._recipe, self._vocab_size = WordTokenizer(tokenizer), recipe, len(vocab_tokens)
        self._cls, self._sep = tokenizer.cls_id, tokenizer.sep_id
        self._mask = vocab_tokens.index("[MASK]") if recipe.masked_lm_prob else None

    def __call__(self, block: Block) -> Packed:
        recipe, rng = self._recipe, np.random.default_rng([self._recipe.seed, block.number])
        whole = self._words.encode(block.documents)
        sentences = cut_sentences(whole, recipe.budget)
        rows = np.concatenate([pack_rows(sentences, recipe, rng) for _ in range(recipe.dupe_factor)])
        examples = self._examples(sentences.tokens, rows[rng.permutation(len(rows))])
        if recipe.masked_lm_prob and len(rows):
            self._mask_tokens(examples, rng)
        lengths, begun = np.diff(whole.bounds), np.unique(whole.origins[whole.origins > 0])
        return Packed(
            block._replace(documents=()),
            examples,
            len(begun),
            len(lengths),
            int(np.count_nonzero(lengths > recipe.budget)),
            len(whole.tokens),
        )

    def _examples(self, tokens: np.ndarray, rows: np.ndarray) -> Examples:
        """The `Examples` of rows as `pack_rows` gives them."""
        first, end, second, second_end, random = rows.T
        one = np.ones(len(rows), np.int64)
        paired = one if self._recipe.next_sentence else one * 0
        # Five spans a row, of the tokens with [CLS] and [SEP] before them: [CLS], text, [SEP], next text,
        # [SEP].
        starts = np.stack([one * 0, first + 2, one, second + 2, one], axis=1)
        counts = np.stack([one, end - first, one, second_end - second, paired], axis=1)  # (R, 5)
        input_ids = np.concatenate([np.array([self._cls, self._sep], np.int32), tokens])[
            spans(starts.ravel(), counts.ravel())
        ]
        segments = np.stack([counts[:, :3].sum(axis=1), counts[:, 3:].sum(axis=1)], axis=1)  # (R, 2)
        segment_ids = np.repeat(np.tile(np.array([0, 1], np.int32), len(rows)), segments.ravel())
        (label,) = CLASSIFICATION.columns
        known = {label: random.astype(label.dtype)} if self._recipe.next_sentence else {}
        return Examples(input_ids, segment_ids, offsets_of(counts.sum(axis=1)), known)

    def _mask_tokens(self, examples: Examples, rng: np.random.Generator) -> None:
        """BERT's masking, in place: of the chosen tokens 80 % become [MASK], 10 % a random token, 10 % stay.

        As in Google's code, each row has its length times masked_lm_prob of them, rounded and at least one.
        """
        ids, lengths = examples.input_ids, examples.lengths
        text = (ids != self._cls) & (ids != self._sep)
        keys = np.where(text, rng.random(len(ids)) / 2, 0.75) + np.repeat(np.arange(len(lengths)), lengths)
        order = np.argsort(keys)  # row after row, the row's text in random order before its special tokens
        wanted = np.maximum(1, np.rint(lengths * self._recipe.masked_lm_prob)).astype(np.int64)
        wanted = np.minimum(wanted, np.add.reduceat(text, examples.offsets[:-1], dtype=np.int64))
        chosen = order[spans(examples.offsets[:-1], wanted)]
        kind = rng.random(len(chosen))
        ids[chosen[kind < 0.8]] = self._mask
        random = chosen[kind >= 0.9]
        ids[random] = rng.integers(0, self._vocab_size, len(random))


def cut_sentences(sentences: Sentences, longest: int) -> Sentences:
    """`Sentences` with those of more than `longest` tokens cut into several."""
    lengths = np.diff(sentences.bounds)
    pieces = -(-lengths // longest)
    within = spans(np.zeros(len(pieces), np.int64), pieces)  # a piece's number in its sentence
    lengths = np.minimum(longest, np.repeat(lengths, pieces) - within * longest)
    return sentences._replace(bounds=offsets_of(lengths), documents=offsets_of(pieces)[sentences.documents])


def pack_rows(sentences: Sentences, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Sentences to rows, document by document, as in Google's create_pretraining_data.py.

    With `short_seq_prob` a document's rows are aimed at a length drawn from 2 to the full one. Without next
    sentences a row takes whole sentences as long as they fit, so that every token is in exactly one row.

    Args:
        sentences: none longer than `recipe.budget`.

    Returns:
        int64 (R, 5): the text's first token and end, the next text's (0, 0: none), 1 where the next text is a
            random one.
    """
    bounds, documents = sentences.bounds.tolist(), sentences.documents.tolist()
    # Documents first[j] to end[j] are document j and the other pieces of the same one: no random next text
    # comes from there.
    first = np.searchsorted(sentences.origins, sentences.origins).tolist()
    end = np.searchsorted(sentences.origins, sentences.origins, side="right").tolist()
    found: list[_Place] = []
    draw = rng.random
    for number in range(len(documents) - 1):
        target = recipe.budget
        if draw() < recipe.short_seq_prob:
            target = 2 + int(draw() * (recipe.budget - 1))
        here = bounds, documents[number], documents[number + 1], target
        if recipe.next_sentence:
            found += _pairs(*here, (documents, first[number], end[number]), draw)
        else:
            found += _singles(*here)
    rows = np.array(found, np.int64).reshape(-1, 5)
    return _truncated(rows, recipe.budget, rng) if recipe.next_sentence else rows


_Place = tuple[int, int, int, int, int]
"""A row, as `pack_rows` gives it."""


def _singles(bounds: list[int], at: int, last: int, target: int) -> Iterator[_Place]:
    while at < last:
        end = max(bisect_right(bounds, bounds[at] + target, at + 1, last + 1) - 1, at + 1)
        yield bounds[at], bounds[end], 0, 0, 0
        at = end


def _pairs(
    bounds: list[int],
    at: int,
    last: int,
    target: int,
    others: tuple[list[int], int, int],
    draw: Callable[[], float],
) -> Iterator[_Place]:
    """Sentences are collected until there are `target` tokens, and divided at a random one into text and next
    text. In half of the rows (and where there is one sentence) the next text is replaced by sentences of
    another document, and what it held is used again.
    """
    while at < last:
        end = bisect_left(bounds, bounds[at] + target, at + 1, last)
        middle = at + 1 + int(draw() * (end - at - 1))
        if end - at > 1 and draw() >= 0.5:
            yield bounds[at], bounds[middle], bounds[middle], bounds[end], 0
            at = end
        else:
            start, limit = _random_sentences(*others, draw)
            wanted = target - (bounds[middle] - bounds[at])
            yield (
                bounds[at],
                bounds[middle],
                bounds[start],
                bounds[bisect_left(bounds, bounds[start] + wanted, start + 1, limit)],
                1,
            )
            at = middle


def _random_sentences(
    documents: list[int], first: int, end: int, draw: Callable[[], float]
) -> tuple[int, int]:
    """(a random sentence, the end of its document) of any document but `first` to `end`; of these where there
    are no others.
    """
    others = len(documents) - 1 - (end - first)
    chosen = int(draw() * (others or end - first))
    if others and chosen >= first:
        chosen += end - first
    start, limit = documents[chosen], documents[chosen + 1]
    return start + int(draw() * (limit - start)), limit


def _truncated(rows: np.ndarray, budget: int, rng: np.random.Generator) -> np.ndarray:
    """Rows (R, 5) cut to `budget` tokens of text: of the longer text first, each token at its front or its
    end by chance.
    """
    lengths = rows[:, [1, 3]] - rows[:, [0, 2]]  # (R, 2)
    long = np.flatnonzero(lengths.sum(axis=1) > budget)
    kept = np.array(
        [truncate_pair(one, other, budget) for one, other in lengths[long].tolist()], np.int64
    ).reshape(-1, 2)
    rows[long[:, None], [0, 2]] += rng.binomial(lengths[long] - kept, 0.5)
    rows[long[:, None], [1, 3]] = rows[long[:, None], [0, 2]] + kept
    return rows
