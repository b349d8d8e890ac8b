"""How a model's text becomes tokens, as the files beside its vocabulary say: Hugging Face's
tokenizer_config.json, tokenizer.json and added_tokens.json, and config.json.
"""

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional, Tuple

from src.errors import UserError, listed, shown
from src.json_file import read_json
from src.vocabulary import SPECIAL, has_capitals, is_lower_case, keeps_accents

_CONFIG, _FAST, _ADDED = "tokenizer_config.json", "tokenizer.json", "added_tokens.json"
# Classes of Hugging Face that tokenize as BERT does, without the ending Tokenizer or TokenizerFast; the last
# ones say nothing: their tokenizer.json does.
_WORDPIECE = (
    "Bert DistilBert MobileBert SqueezeBert ConvBert RetriBert Electra LayoutLM Funnel Realm TinyBert "
    "DPRQuestionEncoder DPRContextEncoder DPRReader PreTrained Auto TokenizersBackend"
).split()


class TextForm(NamedTuple):
    """How text is written before it is cut into tokens."""

    lower_case: Optional[bool]
    """None where nothing tells."""
    strip_accents: Optional[bool]
    """None: where the text is lower-cased, as BERT does."""
    notices: Tuple[str, ...] = ()
    """Lines for the user: what its own tokenizer does and `src/data/tokenization.py` does not."""


def read_text_form(
    folder: str, tokens: Sequence[str] | None, network: dict[str, Any] | None = None
) -> TextForm:
    """The `TextForm` of a model.

    Args:
        folder (str): with its tokenizer's files. tokens (sequence of str): its vocabulary, or None.
        network (dict): the network's configuration file. Default: config.json in `folder`.

    Raises:
        UserError: a file is damaged, or says of a switch neither true nor false.
    """
    own, fast = _json(folder, _CONFIG), _json(folder, _FAST)
    network = _json(folder, "config.json") if network is None else network
    normalizer = fast.get("normalizer")
    normalizer = normalizer if _type_of(normalizer) == "BertNormalizer" else {}
    lower_case, source = _said(
        ("do_lower_case", own, _CONFIG),
        ("lowercase", normalizer, _FAST),
        ("do_lower_case", network, "config.json"),
    )
    accents, _ = _said(
        ("strip_accents", own, _CONFIG),
        ("strip_accents", normalizer, _FAST),
        ("strip_accents", network, "config.json"),
    )
    notices = [*_other_tokenizer(own, fast, network), *_added_tokens(folder, own, fast)]
    if lower_case is not None and tokens is not None:
        notices += _unlike_vocabulary(lower_case, source, tokens)
    elif tokens is not None:
        lower_case = is_lower_case(tokens)
        if accents is None and lower_case and keeps_accents(tokens):
            accents = False
    if tokens is not None:
        notices += _other_pieces(tokens)
    if accents not in (None, lower_case):
        does, though = ("taken off", "keeps its case") if accents else ("kept", "is lower-cased")
        notices.append(
            f"strip_accents {str(accents).lower()}: accents are {does}, though the text {though}; prepare "
            "data with the vocab.txt of this folder or of the converted one"
        )
    return TextForm(lower_case, accents, tuple(notices))


def form_beside(vocab_file: str, tokens: Sequence[str]) -> TextForm:
    """The `TextForm` that the files beside a vocab.txt say, Hugging Face's name of a vocabulary; of a file of
    another name, which may lie beside anybody's, what its tokens look like.
    """
    folder, name = os.path.split(os.path.abspath(vocab_file))
    if name == "vocab.txt":
        return read_text_form(folder, tokens)
    lower_case = is_lower_case(tokens)
    return TextForm(lower_case, False if lower_case and keeps_accents(tokens) else None)


def _json(folder, name):
    path = os.path.join(folder, name)
    return read_json(path, "tokenizer's file") if os.path.isfile(path) else {}


def _said(*places):
    """(the first value that one of (key, dict, file) gives, its file), or (None, "")."""
    for key, values, file in places:
        value = values.get(key)
        if value is None:
            continue
        if not isinstance(value, bool):
            raise UserError(f"{file}: {key} must be true or false, not {value!r:.80}")
        return value, file
    return None, ""


def _type_of(part):
    """What a part of a tokenizer.json is; "" where there is none."""
    return str(part.get("type", "")) if isinstance(part, dict) else ""


def _unlike_vocabulary(lower_case, source, tokens):
    """Notices where the files say the opposite of what the vocabulary looks like."""
    if lower_case and has_capitals(tokens):
        yield f"{source} says that text is lower-cased (do_lower_case), but the vocabulary has capitals"
    if not lower_case and is_lower_case(tokens):
        yield (
            f"{source} says that text keeps its case, but the vocabulary is lower-cased: words with capitals "
            "become [UNK] or other pieces; data must be prepared likewise (prepare_data.py --do_lower_case "
            f"false), or mend do_lower_case in {source}"
        )


def _other_pieces(tokens):
    """A notice where no token goes on with a word as WordPiece writes it, but many as others do."""
    others = sum(token.startswith("\u2581") or token.endswith(("</w>", "@@")) for token in tokens)
    if others >= 0.1 * len(tokens) and not any(token.startswith("##") for token in tokens):
        yield (
            f"{others} tokens of the vocabulary are pieces of SentencePiece or BPE and none is of WordPiece "
            "(##ing): text is cut at other places here than in the model's training"
        )


def _other_tokenizer(own, fast, network):
    """Notices of what this program's tokenizer does otherwise than the model's own."""
    found: dict[str, str] = {}
    for values, file in ((own, _CONFIG), (network, "config.json")):
        name = str(values.get("tokenizer_class") or "")
        if name and re.sub(r"Tokenizer(Fast|Legacy)?$", "", name) not in _WORDPIECE:
            found.setdefault(name, file)
    for key in ("word_tokenizer_type", "subword_tokenizer_type"):
        value = own.get(key)
        if value not in (None, "basic", "wordpiece"):
            found[f"{key} {value}"] = _CONFIG
    for key in ("tokenize_chinese_chars", "do_basic_tokenize"):
        if own.get(key) is False:
            found[f"{key} false"] = _CONFIG
    found.update(dict.fromkeys(_other_parts(fast), _FAST))
    if found:
        names = listed([f"{name} ({file})" for name, file in found.items()])
        yield (
            f"its tokenizer is not BERT's WordPiece as this program has it: {names}; text is cut at other "
            "places here than in its training, so use records that its own tokenizer made"
        )


def _other_parts(fast):
    """What a tokenizer.json says that is not as in BERT's, by name."""
    model = fast.get("model")
    if _type_of(model) not in ("", "WordPiece"):
        yield f"the model {_type_of(model)}"
    elif isinstance(model, dict) and model.get("continuing_subword_prefix", "##") != "##":
        yield f"continuing_subword_prefix {shown(model['continuing_subword_prefix'])}"
    for part, usual in (("normalizer", "BertNormalizer"), ("pre_tokenizer", "BertPreTokenizer")):
        if part in fast and fast[part] is None:
            yield f"the {part} null"
        elif _type_of(fast.get(part)) not in ("", usual):
            yield f"the {part} {_type_of(fast[part])}"
    normalizer = fast.get("normalizer")
    for key in ("handle_chinese_chars", "clean_text"):
        if _type_of(normalizer) == "BertNormalizer" and normalizer.get(key) is False:
            yield f"{key} false"


def _added_tokens(folder, own, fast):
    """A notice of tokens that the model's own tokenizer looks for in a text before it cuts it."""
    found = dict.fromkeys(_json(folder, _ADDED), _ADDED)
    decoder, listing = own.get("added_tokens_decoder"), fast.get("added_tokens")
    for items, file in (
        (decoder.values() if isinstance(decoder, dict) else (), _CONFIG),
        (listing if isinstance(listing, list) else (), _FAST),
    ):
        for item in items:
            if isinstance(item, dict) and isinstance(item.get("content"), str):
                found.setdefault(item["content"], file)
    more = own.get("additional_special_tokens")
    for item in more if isinstance(more, list) else ():
        if isinstance(item, str):
            found.setdefault(item, _CONFIG)
    names = [name for name in found if name not in (*SPECIAL, "[MASK]")]
    if names:
        yield (
            f"{found[names[0]]} adds tokens ({listed(names)}) that text here is not searched for: they are "
            "cut into pieces like other words"
        )
