"""WordPiece vocabularies: one token a line, the line number is the token's id. Their hash travels with data
and models. How text is written before it is cut into tokens is in `src/tokenizer_files.py`.
"""

import hashlib
import os
import unicodedata
from collections.abc import Collection, Iterable

from src.errors import UserError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
"""What a BERT vocabulary must have."""
MAX_WORD_CHARACTERS = 100
"""A longer word is [UNK], as in Google's WordpieceTokenizer."""


def read_vocabulary(path: str) -> list[str]:
    """The tokens of a vocabulary file in id order. A byte order mark and blank last lines, which editors
    leave, are no tokens; a blank line between two tokens has a number like any other. [PAD] may have any id:
    a row's mask tells its padding.

    Raises:
        UserError: the file is missing, not UTF-8, empty, lacks one of BERT's special tokens, or has no
            others.
    """
    try:
        with open(path, encoding="utf-8-sig", newline=None) as file:
            tokens = [line.rstrip("\r\n") for line in file]
    except OSError as error:
        raise UserError(f"vocab_file: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"vocab_file: {path} is not UTF-8 text") from error
    while tokens and not tokens[-1].strip(" \t"):
        tokens.pop()
    check_tokens(tokens, f"vocab_file: {path}")
    return tokens


def check_tokens(tokens: Collection[str], where: str) -> None:
    """Raise a `UserError` that begins with `where` unless some tokens are a BERT vocabulary."""
    missing = [token for token in SPECIAL if token not in tokens]
    if missing:
        raise UserError(
            f"{where} holds {len(tokens)} tokens but not {', '.join(missing)}; "
            f"it must be a BERT vocabulary with one token a line"
        )
    if not any(map(str.strip, _plain(tokens))):
        raise UserError(
            f"{where} holds {len(tokens)} tokens, all of them special: every word would be [UNK]; it must be "
            "the whole BERT vocabulary"
        )


def vocabulary_hash(tokens: Iterable[str]) -> str:
    """SHA-256 (hex) of the tokens joined by line feeds: the same for any line ending and with or without a
    final one.
    """
    return hashlib.sha256("\n".join(tokens).encode("utf-8")).hexdigest()


def is_lower_case(tokens: Iterable[str]) -> bool:
    """Whether a vocabulary is of lower-cased text: it has letters of scripts that have capitals, and under
    1 % of the tokens with such letters have a capital. A script without capitals has nothing to lower.

    Special tokens in square brackets do not count. A cased vocabulary has thousands of capitals in any
    script; the Chinese one, which is lower-cased, has two (<S> and <T>).
    """
    capitals, letters = _capitals_and_letters(tokens)
    return capitals < 0.01 * letters


def has_capitals(tokens: Iterable[str]) -> bool:
    """Whether a vocabulary is of text with its capitals, by the same measure."""
    capitals, letters = _capitals_and_letters(tokens)
    return capitals >= 0.01 * letters > 0


def _capitals_and_letters(tokens):
    """How many tokens have a capital, and how many have letters of a script that has capitals."""
    letters = [token for token in _plain(tokens) if token.lower() != token.upper()]
    return sum(token != token.lower() for token in letters), len(letters)


def keeps_accents(tokens: Iterable[str]) -> bool:
    """Whether 1 % or more of a vocabulary's tokens have what stripping accents would change: marks on
    letters, voiced kana, Hangul syllables.
    """
    plain = _plain(tokens)
    changed = sum(not token.isascii() and unicodedata.normalize("NFD", token) != token for token in plain)
    return changed >= 0.01 * max(len(plain), 1)


def _plain(tokens):
    return [token for token in tokens if not (token.startswith("[") and token.endswith("]"))]


def model_beside(path: str) -> str:
    """The folder of a vocabulary file where a model lies too, for what is said to run next; else ENCODER."""
    folder = os.path.dirname(path) or "."
    return folder if os.path.exists(os.path.join(folder, "config.json")) else "ENCODER"
