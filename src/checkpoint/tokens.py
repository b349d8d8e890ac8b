"""The vocabulary of an imported checkpoint: vocab.txt, or what Hugging Face's tokenizer files say."""

import os
import re

from src.checkpoint.folder import VOCABULARY_FILE
from src.errors import UserError
from src.files import read_json
from src.vocabulary import is_lower_case, read_vocabulary


def find_vocabulary(folder, vocab_file, given, notices):
    """(tokens or None, whether text is lower-cased, or None where nothing tells).

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
        notices.append(
            "no vocab.txt was found; give --vocab_file, or put the vocabulary there before using text"
        )
    settings = os.path.join(folder, "tokenizer_config.json")
    said = None
    if os.path.isfile(settings):
        said = read_json(settings, "tokenizer configuration").get("do_lower_case")
    if said is None:
        said = given.get("do_lower_case")
    return tokens, is_lower_case(tokens) if said is None and tokens is not None else said


def _tokenizer_json(path):
    """The WordPiece vocabulary inside a Hugging Face tokenizer.json."""
    model = read_json(path, "tokenizer").get("model")
    ids = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(ids, dict) or model.get("type", "WordPiece") != "WordPiece":
        raise UserError(f"{path} holds no WordPiece vocabulary; give --vocab_file")
    tokens = tuple(sorted(ids, key=ids.get))
    if sorted(ids.values()) != list(range(len(ids))) or any(re.search(r"[\r\n]", token) for token in tokens):
        raise UserError(
            f"{path}: the vocabulary's ids must run from 0 to {len(ids) - 1}, with no line break in a token"
        )
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if token not in ids]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; it is not BERT's vocabulary")
    return tokens
