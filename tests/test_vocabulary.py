"""Vocabularies: reading, hash, and whether text is lower-cased."""

import hashlib

import pytest

from src.errors import UserError
from src.vocabulary import is_lower_case, read_vocabulary, vocabulary_hash

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "fox", "##es"]


@pytest.mark.parametrize("text", ["\n".join(TOKENS), "\n".join(TOKENS) + "\n", "\r\n".join(TOKENS) + "\r\n"])
def test_line_ends_change_neither_tokens_nor_hash(tmp_path, text):
    path = tmp_path / "vocab.txt"
    path.write_bytes(text.encode())
    assert read_vocabulary(path) == TOKENS
    assert (
        vocabulary_hash(read_vocabulary(path))
        == hashlib.sha256(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nfox\n##es").hexdigest()
    )


def test_a_file_without_special_tokens_is_refused_by_name(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("fox\n[CLS]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"words.txt holds 2 tokens but not \[PAD\], \[UNK\], \[SEP\]"):
        read_vocabulary(path)
    path.write_text("fox\n[PAD]\n[UNK]\n[CLS]\n[SEP]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"starts with 'fox'; \[PAD\] must be its first line"):
        read_vocabulary(path)
    with pytest.raises(UserError, match="cannot read"):
        read_vocabulary(tmp_path / "absent.txt")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_vocabulary(path)


def test_capitals_tell_a_cased_vocabulary_and_two_of_thousands_do_not():
    assert is_lower_case(["[PAD]", "[CLS]", "[unused1]", "fox", "\u00e9", "\u4e2d", "\u0416"])
    assert not is_lower_case(["[PAD]", "[CLS]", "fox", "Fox"])
    assert not is_lower_case(["[PAD]", "##A"])
    assert is_lower_case(["<S>", "<T>"] + ["fox"] * 20000)
