"""Vocabularies: reading, hash, and whether text is lower-cased."""

import hashlib

import pytest

from src.errors import UserError
from src.vocabulary import has_capitals, is_lower_case, keeps_accents, read_vocabulary, vocabulary_hash

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "fox", "##es"]


LINES = "\n".join(TOKENS)


@pytest.mark.parametrize(
    "text",
    [LINES, LINES + "\n", LINES.replace("\n", "\r\n") + "\r\n", LINES + "\n\n", LINES + "\n\r\n \n\n"]
    + ["\ufeff" + LINES, LINES.replace("\n", "\r") + "\r\r"],
)
def test_line_ends_blank_last_lines_and_a_mark_change_neither_tokens_nor_hash(tmp_path, text):
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
    with pytest.raises(UserError, match="cannot read"):
        read_vocabulary(tmp_path / "absent.txt")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_vocabulary(path)


@pytest.mark.parametrize("place", [0, 1, 3, 6])
def test_padding_may_have_any_number_and_a_blank_line_inside_has_one(tmp_path, place):
    tokens = ["[UNK]", "[CLS]", "[SEP]", "", "fox", "run"]
    tokens.insert(place, "[PAD]")
    (tmp_path / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")
    assert read_vocabulary(tmp_path / "vocab.txt") == tokens


@pytest.mark.parametrize(
    "words, expected",
    [
        ("fox run", (True, False)),
        ("fox Fox", (False, False)),
        ("\u043a\u043e\u0442 \u041a\u043e\u0442", (False, False)),  # Cyrillic
        ("\u043a\u043e\u0442 \u043f\u0451\u0441", (True, True)),
        ("\u03b3\u03ac\u03c4\u03b1 \u0393\u03b1\u03c4\u03b1", (False, True)),  # Greek
        ("\u0567 \u0537", (False, False)),  # Armenian
        ("\uac00 \ub098", (False, True)),  # Hangul has no capitals, and stripping would take it apart
        ("\u304c \u304b", (False, True)),
        ("fox \u304c", (True, True)),
        ("\u4e2d \u6587", (False, False)),
    ],
)
def test_case_and_accents_of_any_script(words, expected):
    tokens = ["[PAD]", "[CLS]", *words.split()]
    assert (is_lower_case(tokens), keeps_accents(tokens)) == expected
    assert has_capitals(tokens) == any(character.isupper() for character in words)


def test_capitals_tell_a_cased_vocabulary_and_two_of_thousands_do_not():
    assert is_lower_case(["[PAD]", "[CLS]", "[unused1]", "fox", "\u00e9", "\u4e2d"])
    assert not is_lower_case(["\u4e2d"] * 20000 + ["A", "B", "a"])  # few letters, but they have capitals
    assert not is_lower_case(["[PAD]", "[CLS]", "fox", "Fox"])
    assert not is_lower_case(["[PAD]", "##A"])
    assert is_lower_case(["<S>", "<T>"] + ["fox"] * 20000)


@pytest.mark.parametrize("more", [[], ["[MASK]"], ["[MASK]", "[unused0]", " "]])
def test_a_vocabulary_without_any_word_is_refused(tmp_path, more):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*TOKENS[:4], *more]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="all of them special"):
        read_vocabulary(path)
