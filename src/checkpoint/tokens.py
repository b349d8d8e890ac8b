"""The vocabulary of an imported checkpoint: vocab.txt, or what Hugging Face's tokenizer files say."""

import os
import re
from typing import Any, Dict

from msgspec import Struct

from src.checkpoint.folder import VOCABULARY_FILE
from src.errors import UserError, listed
from src.json_file import Count, checked, read_json
from src.tokenizer_files import TextForm, read_text_form
from src.vocabulary import check_tokens, read_vocabulary

_OTHERS = (
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
    "merges.txt",
    "vocab.json",
)
"""Files of tokenizers that are no WordPiece."""
_NO_LINE = re.compile("[\r\n\ud800-\udfff]")
"""What a line of vocab.txt cannot hold."""


class _Model(Struct):
    """What is read of a tokenizer.json's model."""

    vocab: Dict[str, Count]


def find_vocabulary(
    folder: str, vocab_file: str, given: dict[str, Any], notices: list[str]
) -> tuple[tuple[str, ...] | None, TextForm]:
    """(tokens or None, how its text is written).

    Args:
        folder (str): of the weights. vocab_file (str): the vocabulary the user named, or "".
        given (dict): the network's configuration file. notices (list of str): takes lines for the user.
    """
    tokenizer = os.path.join(folder, "tokenizer.json")
    own = vocab_file or os.path.join(folder, VOCABULARY_FILE)
    tokens = None
    if vocab_file or os.path.isfile(own):
        tokens = tuple(read_vocabulary(own))
    elif os.path.isfile(tokenizer):
        tokens = _tokenizer_json(tokenizer)
    else:
        others = [name for name in _OTHERS if os.path.isfile(os.path.join(folder, name))]
        beside = f" ({others[0]} is of another tokenizer than BERT's WordPiece)" if others else ""
        notices.append(
            f"no vocab.txt was found{beside}; give --vocab_file, or put the vocabulary there before using "
            "text"
        )
    form = read_text_form(folder, tokens, given)
    notices += form.notices
    return tokens, form


def _tokenizer_json(path: str) -> tuple[str, ...]:
    """The WordPiece vocabulary inside a Hugging Face tokenizer.json."""
    model = read_json(path, "tokenizer").get("model")
    ids = model.get("vocab") if isinstance(model, dict) else None
    kind = model.get("type", "WordPiece") if isinstance(model, dict) else "no"
    if not isinstance(ids, dict) or kind != "WordPiece":
        raise UserError(
            f"{path} holds {listed([kind])} tokens and no WordPiece vocabulary; give --vocab_file"
        )
    checked({"vocab": ids}, _Model, path)
    if sorted(ids.values()) != list(range(len(ids))) or any(map(_NO_LINE.search, ids)):
        raise UserError(
            f"{path}: the vocabulary's ids must run from 0 to {len(ids) - 1}, with no line break nor half a "
            "surrogate pair in a token"
        )
    tokens = tuple(sorted(ids, key=ids.__getitem__))
    check_tokens(tokens, path)
    return tokens
