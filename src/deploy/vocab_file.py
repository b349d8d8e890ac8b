"""The vocab.txt beside a model's file: export.py puts it there, predict.py looks for it there."""

import os
from collections.abc import Iterable

from src.checkpoint.folder import VOCABULARY_FILE, write_vocabulary
from src.description import Description
from src.errors import UserError
from src.files import replacing
from src.vocabulary import read_vocabulary, vocabulary_hash


def _beside(path: str) -> str:
    return os.path.join(os.path.dirname(os.path.abspath(path)), VOCABULARY_FILE)


def check_beside(path: str, description: Description) -> None:
    """Refuse a place for an exported file where another model's vocab.txt lies, or may."""
    beside = _beside(path)
    if os.path.exists(beside) and vocabulary_hash(read_vocabulary(beside)) != description.vocab_sha256:
        raise UserError(
            f"file_name: {beside} is not the vocabulary of {description.source}; name a file in another "
            "folder"
        )


def write_beside(path: str, vocabulary: Iterable[str]) -> None:
    """Put the tokens beside an exported file."""
    with replacing(_beside(path)) as temporary:
        write_vocabulary(temporary, vocabulary)


def vocabulary_beside(path: str, description: Description, vocab_file: str = "") -> list[str]:
    """The tokens of the vocabulary of a model whose file holds none.

    Args:
        path (str): the model's file.
        description (Description): what it says of itself.
        vocab_file (str): a vocabulary that counts more than the one beside the file; "" for none.

    Raises:
        UserError: there is none, or it is not the model's.
    """
    found = vocab_file or _beside(path)
    if not os.path.isfile(found):
        raise UserError(
            f"vocab_file: {found} does not exist; give the vocabulary the model was trained with: "
            "--vocab_file VOCAB_FILE"
        )
    vocabulary = read_vocabulary(found)
    if description.vocab_sha256 not in ("", vocabulary_hash(vocabulary)):
        raise UserError(
            f"vocab_file: {found} is not the vocabulary the model was trained with (their hashes differ)"
        )
    if len(vocabulary) > description.bert.vocab_size:
        raise UserError(
            f"vocab_file: {found} has {len(vocabulary)} tokens, more than the {description.bert.vocab_size} "
            "the model knows"
        )
    return vocabulary
