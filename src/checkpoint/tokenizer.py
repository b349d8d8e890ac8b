"""The tokenizer's files of a Hugging Face folder, as transformers, Optimum and transformers.js read them."""

import os
from collections.abc import Sequence

from src.checkpoint.folder import VOCABULARY_FILE, write_vocabulary
from src.files import write_json, write_text
from src.vocabulary import MAX_WORD_CHARACTERS

TOKENIZER_FILE, _SETTINGS_FILE = "tokenizer.json", "tokenizer_config.json"
_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def write_tokenizer(
    folder: str, tokens: Sequence[str], lower_case: bool, longest: int, strip_accents: bool | None = None
) -> None:
    """Write vocab.txt, tokenizer.json and tokenizer_config.json into an existing folder.

    Args:
        tokens (sequence of str): in id order. lower_case (bool): of the text.
        longest (int): tokens that the model has positions for.
        strip_accents (bool): of the text; None: where it is lower-cased.
    """
    special = {key: token for key, token in _SPECIAL.items() if token in tokens}
    write_vocabulary(os.path.join(folder, VOCABULARY_FILE), tokens)
    write_text(
        os.path.join(folder, TOKENIZER_FILE), _tokenizer(tokens, lower_case, strip_accents, special.values())
    )
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": lower_case,
        "strip_accents": strip_accents,
        "model_max_length": longest,
        **special,
    }
    write_json(os.path.join(folder, _SETTINGS_FILE), settings)


def _tokenizer(tokens, lower_case, strip_accents, special):
    """The text of a tokenizer.json."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    # With a token listed twice the later line wins, as in Google's load_vocab.
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=MAX_WORD_CHARACTERS)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower_case, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer.to_str(pretty=True)
