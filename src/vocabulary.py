"""WordPiece vocabularies: one token a line, the line number is the token's id. Their hash travels with data
and models.
"""

import hashlib

from src.errors import UserError


def read_vocabulary(path):
    """The tokens of a vocabulary file in id order.

    Raises:
        UserError: the file is missing, not UTF-8, empty, or lacks one of BERT's special tokens.
    """
    try:
        with open(path, encoding="utf-8", newline=None) as file:
            tokens = [line.rstrip("\r\n") for line in file]
    except OSError as error:
        raise UserError(f"vocab_file: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"vocab_file: {path} is not UTF-8 text") from error
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if token not in tokens]
    if missing:
        raise UserError(
            f"vocab_file: {path} holds {len(tokens)} tokens but not {', '.join(missing)}; "
            f"it must be a BERT vocabulary with one token a line"
        )
    if tokens[0] != "[PAD]":
        raise UserError(
            f"vocab_file: {path} starts with {tokens[0]!r}; [PAD] must be its first line, for rows are "
            "padded with id 0"
        )
    return tokens


def is_lower_case(tokens):
    """Whether a vocabulary is of lower-cased text: under 1 % of its tokens have an upper-case Latin letter.

    Special tokens in square brackets do not count. A cased vocabulary has thousands of such tokens; the
    Chinese one, which is lower-cased, has two (<S> and <T>).
    """
    plain = [token for token in tokens if not (token.startswith("[") and token.endswith("]"))]
    return sum(any("A" <= character <= "Z" for character in token) for token in plain) < 0.01 * max(
        len(plain), 1
    )


def vocabulary_hash(tokens):
    """SHA-256 (hex) of the tokens joined by line feeds: the same for any line ending and with or without a
    final one.
    """
    return hashlib.sha256("\n".join(tokens).encode("utf-8")).hexdigest()
