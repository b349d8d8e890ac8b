"""BERT's tokenization by the Rust `tokenizers` library: Google's WordPiece, [CLS] and [SEP], longest-first
truncation.

Parallel work is left to the caller, as processes: the Rust library's own threads scale poorly on many cores
and cannot be limited once started, so a `Tokenizer` keeps to one thread (`TokenizerPool` below runs one in
each process).
"""

import os
import unicodedata
from collections.abc import Sequence
from itertools import chain

import numpy as np

from src.data.pool import WorkerPool
from src.data.readers.rows import Row
from src.errors import UserError
from src.examples import Examples
from src.kinds.base import BERT_WINDOWS, TaskKind, Windows
from src.vocabulary import MAX_WORD_CHARACTERS

Span = tuple[int, int]
"""(first character, the one after the last) of a token in its text"""
Encoded = tuple[Examples, int]
"""What a kind of task makes of rows, and how many of these had to be cut."""


def truncate_pair(length_a: int, length_b: int, budget: int) -> tuple[int, int]:
    """How many tokens of each text stay when both may have `budget`: BERT's rule, as two numbers.

    Google's `_truncate_seq_pair` takes the last token of the longer text until both fit, of the second one
    where they are equally long. (The Rust library's own rule breaks ties the other way.)
    """
    if length_a + length_b <= budget:
        return length_a, length_b
    half = budget // 2
    if length_b <= half:
        return budget - length_b, length_b
    if length_a <= budget - half:
        return length_a, budget - length_a
    return budget - half, half


def _with_marks(text: str, spans: list[Span]) -> list[Span]:
    """Token spans that end behind the marks (accents) on their last character, which the normalizer takes
    away.
    """
    if text.isascii():
        return spans
    following, found = len(text), []
    for start, end in reversed(spans):
        while end < following and unicodedata.category(text[end]) == "Mn":
            end += 1
        found.append((start, end))
        following = start
    return found[::-1]


class Tokenizer:
    """Texts to BERT's token ids.

    Equal to Google's tokenizer, but for characters that are newer than the Rust library's tables (Unicode 8:
    rare scripts) and for private-use ones, which it drops like control characters.

    Args:
        vocab_tokens: the vocabulary in id order, with [UNK], [CLS] and [SEP].
        lower_case: lower-case the text and, unless `strip_accents` says otherwise, strip accents.
        strip_accents: None for where the text is lower-cased, as BERT does.
    """

    def __init__(self, vocab_tokens: Sequence[str], lower_case: bool, strip_accents: bool | None = None):
        # Read by the library at every batch; see the module's docstring.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        from tokenizers import Tokenizer as RustTokenizer
        from tokenizers import models, normalizers, pre_tokenizers

        # With a token listed twice the later line wins, as in Google's load_vocab.
        ids = {token: index for index, token in enumerate(vocab_tokens)}
        self.cls_id, self.sep_id = ids["[CLS]"], ids["[SEP]"]
        # No token is registered as special: "[SEP]" inside a user's text is three ordinary words, never a
        # separator.
        self._rust = RustTokenizer(
            models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=MAX_WORD_CHARACTERS)
        )
        stripped = lower_case if strip_accents is None else strip_accents
        self._rust.normalizer = normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=True, strip_accents=stripped, lowercase=lower_case
        )
        self._rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def normalized(self, text: str) -> str:
        """A text as it is split into words: clean, spaces around Chinese characters, and where this
        lower-cases, so and without accents.
        """
        return self._rust.normalizer.normalize_str(text)

    def split(self, text: str) -> list[str]:
        """The words and punctuation marks of a normalized text, in order."""
        return [word for word, _ in self._rust.pre_tokenizer.pre_tokenize_str(text)]

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The WordPiece ids of each text, without [CLS] and [SEP] and uncut."""
        return [encoding.ids for encoding in self._rust.encode_batch_fast(texts, add_special_tokens=False)]

    def pieces(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        """[(ids, spans)] of each text, uncut, without [CLS] and [SEP]; spans are of the text as it was
        given.
        """
        return [(ids, spans) for ids, _, spans in self.words(texts)]

    def words(self, texts: Sequence[str]) -> list[tuple[list[int], list[int | None], list[Span]]]:
        """[(ids, numbers, spans)] of each text, as `pieces` gives them; `numbers` say which word of its text
        a token is of.
        """
        encodings = self._rust.encode_batch(texts, add_special_tokens=False)
        return [
            (encoding.ids, encoding.word_ids, _with_marks(text, encoding.offsets))
            for text, encoding in zip(texts, encodings)
        ]

    def encode_flat(
        self, texts: Sequence[str], pairs: Sequence[str | None] | None = None, max_seq_length: int = 128
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """The rows BERT reads, `[CLS] text [SEP]`, or `[CLS] text [SEP] pair [SEP]` where there is a pair, as
        flat arrays.

        Args:
            texts: first or only texts.
            pairs: second texts, None for a row without one. Default: no row has one.
            max_seq_length: longest row in tokens, special ones included; at least 3 (with pairs: 5).

        Returns:
            (input_ids, segment_ids, lengths, cut): int32 (total tokens,), int32 (total tokens,), int64
                (rows,) and the number of rows that were longer than `max_seq_length`. Segment 1 is the second
                text and its [SEP].
        """
        rows, cut = self._rows(texts, pairs, max_seq_length)
        lengths = np.fromiter((len(ids) for ids, _ in rows), np.int64, len(rows))
        first = np.fromiter((count for _, count in rows), np.int64, len(rows))
        input_ids = np.fromiter(chain.from_iterable(ids for ids, _ in rows), np.int32, int(lengths.sum()))
        segment_ids = np.repeat(
            np.tile(np.array([0, 1], np.int32), len(rows)), np.stack([first, lengths - first], axis=1).ravel()
        )
        return input_ids, segment_ids, lengths, cut

    def _rows(
        self, texts: Sequence[str], pairs: Sequence[str | None] | None, max_seq_length: int
    ) -> tuple[list[tuple[list[int], int]], int]:
        """([(ids with [CLS] and [SEP], how many of them are segment 0)], number of rows that had to be
        cut).
        """
        if max_seq_length < (3 if pairs is None else 5):
            raise UserError(
                f"max_seq_length {max_seq_length} leaves no room for text between [CLS] and [SEP]"
            )
        cls, sep, cut, rows = [self.cls_id], [self.sep_id], 0, []
        firsts = self.token_ids(texts)
        seconds: list[list[int] | None]
        if pairs is None:
            seconds = [None] * len(texts)
        else:
            encoded = iter(self.token_ids([pair for pair in pairs if pair is not None]))
            seconds = [None if pair is None else next(encoded) for pair in pairs]
        for first, second in zip(firsts, seconds):
            if second is None:
                keep = min(len(first), max_seq_length - 2)
                cut += keep < len(first)
                rows.append((cls + first[:keep] + sep, keep + 2))
            else:
                keep, keep_second = truncate_pair(len(first), len(second), max_seq_length - 3)
                cut += keep < len(first) or keep_second < len(second)
                rows.append((cls + first[:keep] + sep + second[:keep_second] + sep, keep + 2))
        return rows, cut


class Encoder:
    """A worker that tokenizes: `encoder(rows)` is what the task's `TaskKind.encode` gives.

    Args:
        vocab_tokens, lower_case, strip_accents: the `Tokenizer`'s.
        kind: what the rows are of.
        max_seq_length, windows: of the rows.
    """

    def __init__(
        self,
        vocab_tokens: Sequence[str],
        lower_case: bool,
        kind: TaskKind,
        max_seq_length: int,
        windows: Windows = BERT_WINDOWS,
        strip_accents: bool | None = None,
    ):
        self._tokenizer, self._kind = Tokenizer(vocab_tokens, lower_case, strip_accents), kind
        self._lengths = max_seq_length, windows

    def __call__(self, rows: list[Row]) -> Encoded:
        return self._kind.encode(self._tokenizer, rows, *self._lengths)


class TokenizerPool(WorkerPool[list[Row], Encoded]):
    """`Encoder`s in several processes: `map` takes lists of rows.

    Args:
        vocab_tokens, lower_case, kind, max_seq_length, windows, strip_accents: the `Encoder`'s.
        num_workers: processes, 1 or more.
    """

    def __init__(
        self,
        vocab_tokens: Sequence[str],
        lower_case: bool,
        kind: TaskKind,
        max_seq_length: int,
        num_workers: int,
        windows: Windows = BERT_WINDOWS,
        strip_accents: bool | None = None,
    ):
        arguments = vocab_tokens, lower_case, kind, max_seq_length, windows, strip_accents
        super().__init__(Encoder, arguments, num_workers)
