"""How the files beside a vocabulary say that text is written and cut."""

import pytest

from src.errors import UserError
from src.files import write_json
from src.tokenizer_files import form_beside, read_text_form

LOWER = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "fox", "##es", "run")
CASED = (*LOWER, "Fox", "Run")


def write(folder, files):
    for name, values in files.items():
        write_json(folder / name, values)


def normalizer(**values):
    return {"tokenizer.json": {"normalizer": {"type": "BertNormalizer", **values}}}


@pytest.mark.parametrize(
    "files, tokens, expected",
    [
        ({}, LOWER, (True, None)),
        ({}, CASED, (False, None)),
        ({}, None, (None, None)),
        ({"tokenizer_config.json": {"do_lower_case": True, "strip_accents": False}}, LOWER, (True, False)),
        ({"tokenizer_config.json": {"do_lower_case": False, "strip_accents": True}}, CASED, (False, True)),
        ({"tokenizer_config.json": {"strip_accents": None}}, LOWER, (True, None)),
        (normalizer(lowercase=False, strip_accents=None), CASED, (False, None)),
        (normalizer(lowercase=True, strip_accents=False), LOWER, (True, False)),
        (
            {**normalizer(lowercase=True), "tokenizer_config.json": {"do_lower_case": False}},
            CASED,
            (False, None),
        ),
        ({"config.json": {"do_lower_case": True, "strip_accents": False}}, LOWER, (True, False)),
        # what the vocabulary shows: marks on lower-case letters, or syllables that stripping takes apart
        ({}, (*LOWER, "f\u00fcr"), (True, False)),
        ({}, ("[PAD]", "\uac00", "\ub098"), (False, None)),
    ],
)
def test_how_text_is_written(tmp_path, files, tokens, expected):
    write(tmp_path, files)
    assert read_text_form(str(tmp_path), tokens)[:2] == expected


@pytest.mark.parametrize(
    "files, tokens, words",
    [
        ({"tokenizer_config.json": {"do_lower_case": False}}, LOWER, ("do_lower_case", "capitals")),
        ({"tokenizer_config.json": {"do_lower_case": True}}, CASED, ("lower-cased", "capitals")),
        (normalizer(lowercase=True, strip_accents=False), LOWER, ("strip_accents false", "kept")),
        (
            {
                "tokenizer_config.json": {
                    "tokenizer_class": "BertJapaneseTokenizer",
                    "word_tokenizer_type": "mecab",
                }
            },
            None,
            ("BertJapaneseTokenizer (tokenizer_config.json)", "word_tokenizer_type mecab"),
        ),
        ({"config.json": {"tokenizer_class": "AlbertTokenizer"}}, LOWER, ("AlbertTokenizer (config.json)",)),
        ({"tokenizer_config.json": {"subword_tokenizer_type": "character"}}, LOWER, ("character",)),
        (
            {"tokenizer_config.json": {"tokenize_chinese_chars": False}},
            LOWER,
            ("tokenize_chinese_chars false",),
        ),
        ({"tokenizer.json": {"model": {"type": "Unigram"}}}, LOWER, ("the model Unigram (tokenizer.json)",)),
        ({"tokenizer.json": {"pre_tokenizer": {"type": "Metaspace"}}}, LOWER, ("pre_tokenizer Metaspace",)),
        (normalizer(handle_chinese_chars=False), LOWER, ("handle_chinese_chars false (tokenizer.json)",)),
        (normalizer(clean_text=False), LOWER, ("clean_text false",)),
        ({"tokenizer.json": {"normalizer": None}}, LOWER, ("the normalizer null",)),
        (
            {"tokenizer.json": {"model": {"type": "WordPiece", "continuing_subword_prefix": "@@"}}},
            LOWER,
            ("continuing_subword_prefix '@@'",),
        ),
        ({}, ("[PAD]", "\u2581fox", "\u2581run"), ("2 tokens", "SentencePiece")),
        ({}, ("[PAD]", "fox</w>", "run@@"), ("2 tokens", "BPE")),
        ({"added_tokens.json": {"[E1]": 7, "[E2]": 8}}, LOWER, ("added_tokens.json", "[E1], [E2]")),
        (
            {
                "tokenizer_config.json": {
                    "added_tokens_decoder": {"0": {"content": "[PAD]"}, "9": {"content": "<e>"}}
                }
            },
            LOWER,
            ("adds tokens (<e>)",),
        ),
        (
            {"tokenizer.json": {"added_tokens": [{"id": 9, "content": "<e>"}]}},
            LOWER,
            ("tokenizer.json", "<e>"),
        ),
        ({"tokenizer_config.json": {"additional_special_tokens": ["<e>"]}}, LOWER, ("<e>",)),
    ],
)
def test_what_this_tokenizer_does_otherwise_is_noted_by_name(tmp_path, files, tokens, words):
    write(tmp_path, files)
    (notice,) = read_text_form(str(tmp_path), tokens).notices
    assert all(word in notice for word in words), notice


@pytest.mark.parametrize(
    "values",
    [
        {"tokenizer_class": "BertTokenizerFast", "do_lower_case": True, "strip_accents": None},
        {"tokenizer_class": "PreTrainedTokenizerFast", "tokenize_chinese_chars": True},
        {"tokenizer_class": "ElectraTokenizer", "word_tokenizer_type": "basic"},
        {"added_tokens_decoder": {"0": {"content": "[PAD]"}, "3": {"content": "[MASK]"}}},
        {"added_tokens_decoder": 3},
    ],
)
def test_of_berts_own_tokenizer_nothing_is_said(tmp_path, values):
    write(tmp_path, {"tokenizer_config.json": values})
    assert read_text_form(str(tmp_path), LOWER).notices == ()


def test_a_switch_that_is_no_switch_and_a_damaged_file_are_refused(tmp_path):
    write(tmp_path, {"tokenizer_config.json": {"do_lower_case": "no"}})
    with pytest.raises(
        UserError, match="tokenizer_config.json: do_lower_case must be true or false, not 'no'"
    ):
        read_text_form(str(tmp_path), LOWER)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match="tokenizer_config.json cannot be read as JSON"):
        read_text_form(str(tmp_path), LOWER)


def test_only_a_file_called_vocab_txt_is_of_the_files_beside_it(tmp_path):
    write(tmp_path, {"tokenizer_config.json": {"do_lower_case": False}})
    assert form_beside(str(tmp_path / "vocab.txt"), LOWER).lower_case is False
    assert form_beside(str(tmp_path / "other-vocab.txt"), LOWER)[:2] == (True, None)
    assert form_beside("other.txt", (*LOWER, "caf\u00e9"))[:2] == (True, False)
