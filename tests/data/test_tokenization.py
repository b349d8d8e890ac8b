"""The Rust tokenizer against a plain Python WordPiece written from Google's description, and against
transformers.
"""

import glob
import json
import os
import random
import unicodedata

import numpy as np
import pytest

from src.data.readers.rows import Row
from src.data.tokenization import Encoder, Tokenizer, TokenizerPool, truncate_pair
from src.errors import UserError
from src.kinds import CLASSIFICATION, REGRESSION
from tests.texts import TRICKY, encoded_rows
from tests.texts import TRICKY_VOCABULARY as VOCABULARY

# --- Google's rules, written plainly ------------------------------------------------------------------------


def clean(text):
    kept = []
    for character in text:
        if character in "\t\n\r" or unicodedata.category(character) == "Zs":
            kept.append(" ")
        elif character not in "\0\ufffd" and unicodedata.category(character) not in ("Cc", "Cf"):
            kept.append(character)
    return "".join(kept)


def is_cjk(character):
    ranges = [
        (0x4E00, 0x9FFF),
        (0x3400, 0x4DBF),
        (0x20000, 0x2A6DF),
        (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F),
        (0xF900, 0xFAFF),
        (0x2F800, 0x2FA1F),
    ]
    return any(low <= ord(character) <= high for low, high in ranges)


def is_punctuation(character):
    ascii_symbol = (
        character.isascii() and character.isprintable() and not character.isalnum() and character != " "
    )
    return ascii_symbol or unicodedata.category(character).startswith("P")


def words_of(text, lower_case):
    spaced = "".join(f" {character} " if is_cjk(character) else character for character in clean(text))
    for word in spaced.split():
        if lower_case:
            word = "".join(
                character
                for character in unicodedata.normalize("NFD", word.lower())
                if unicodedata.category(character) != "Mn"
            )
        yield from "".join(
            f" {character} " if is_punctuation(character) else character for character in word
        ).split()


def word_pieces(word, ids):
    if len(word) > 100:
        return [ids["[UNK]"]]
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in ids:
                pieces.append(ids[piece])
                start = end
                break
        else:
            return [ids["[UNK]"]]
    return pieces


def reference(text, vocabulary, lower_case):
    ids = {token: index for index, token in enumerate(vocabulary)}
    return [piece for word in words_of(text, lower_case) for piece in word_pieces(word, ids)]


def reference_pair_cut(first, second, budget):
    first, second = list(first), list(second)
    while len(first) + len(second) > budget:
        (first if len(first) > len(second) else second).pop()
    return first, second


# --- tests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lower_case", [True, False])
@pytest.mark.parametrize("text", TRICKY)
def test_word_pieces_of_tricky_texts(text, lower_case):
    assert Tokenizer(VOCABULARY, lower_case).token_ids([text]) == [reference(text, VOCABULARY, lower_case)]


def test_text_made_of_random_characters():
    chooser = random.Random(0)
    characters = "aAxX foxFOX\u00e9\u0301\u4e2d!?'-\u2019\t\u00a0\u0000\ud55c\U0001f600" + "the quick runs "
    texts = ["".join(chooser.choices(characters, k=chooser.randint(0, 40))) for _ in range(300)]
    for lower_case in (True, False):
        assert Tokenizer(VOCABULARY, lower_case).token_ids(texts) == [
            reference(text, VOCABULARY, lower_case) for text in texts
        ]


@pytest.mark.parametrize(
    "lower_case, strip_accents, expected",
    [
        (True, None, "cafe"),
        (True, True, "cafe"),
        (True, False, "caf\u00e9"),
        (False, None, "Caf\u00e9"),
        (False, False, "Caf\u00e9"),
        (False, True, "Cafe"),
    ],
)
def test_accents_are_taken_off_with_capitals_unless_told_otherwise(lower_case, strip_accents, expected):
    tokens = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "cafe", "Cafe", "caf\u00e9", "Caf\u00e9"]
    tokenizer = Tokenizer(tokens, lower_case, strip_accents)
    assert encoded_rows(tokenizer, ["Caf\u00e9"]) == [([2, tokens.index(expected), 3], [0, 0, 0])]


def test_special_tokens_in_a_text_are_ordinary_words():
    ids = Tokenizer(VOCABULARY, True).token_ids(["[SEP]"])[0]
    assert [VOCABULARY[index] for index in ids] == ["[", "sep", "]"]


def test_rows_have_cls_sep_and_segments():
    tokenizer = Tokenizer(VOCABULARY, True)
    fox, run = VOCABULARY.index("fox"), VOCABULARY.index("run")
    rows = encoded_rows(tokenizer, ["fox", "", "fox"], ["run", "run", None], 128)
    assert rows == [
        ([2, fox, 3, run, 3], [0, 0, 0, 1, 1]),
        ([2, 3, run, 3], [0, 0, 1, 1]),
        ([2, fox, 3], [0, 0, 0]),
    ]
    assert encoded_rows(tokenizer, ["", "fox"]) == [([2, 3], [0, 0]), ([2, fox, 3], [0, 0, 0])]
    assert encoded_rows(tokenizer, []) == []


def test_truncation_is_googles_for_every_small_case():
    for budget in range(2, 12):
        for first in range(16):
            for second in range(16):
                kept = reference_pair_cut(range(first), range(second), budget)
                assert truncate_pair(first, second, budget) == tuple(map(len, kept))


@pytest.mark.parametrize("length", [5, 6, 9, 16, 17])
def test_cut_rows(length):
    tokenizer = Tokenizer(VOCABULARY, True)
    texts, pairs = ["fox " * 20, "fox", "fox " * 7, "fox " * 9], ["run " * 20, "run " * 30, "run", "run " * 8]
    for row, text, pair in zip(encoded_rows(tokenizer, texts, pairs, length), texts, pairs):
        first, second = reference_pair_cut(
            tokenizer.token_ids([text])[0], tokenizer.token_ids([pair])[0], length - 3
        )
        assert row == ([2] + first + [3] + second + [3], [0] * (len(first) + 2) + [1] * (len(second) + 1))
    assert [len(ids) for ids, _ in encoded_rows(tokenizer, texts, None, length)] == [
        length,
        3,
        min(9, length),
        min(11, length),
    ]


def test_no_room_for_text_is_refused():
    tokenizer = Tokenizer(VOCABULARY, True)
    with pytest.raises(UserError, match="max_seq_length 2"):
        encoded_rows(tokenizer, ["fox"], None, 2)
    with pytest.raises(UserError, match="max_seq_length 4"):
        encoded_rows(tokenizer, ["fox"], ["fox"], 4)


def test_rows_are_flat_arrays_and_the_cut_ones_are_counted():
    texts, pairs = ["fox run", "", "the quick foxes"], [None, "run", "a a a a a a"]
    ids, segments, lengths, cut = Tokenizer(VOCABULARY, True).encode_flat(texts, pairs, 8)
    assert (ids.dtype, segments.dtype, lengths.dtype) == (np.int32, np.int32, np.int64)
    assert lengths.tolist() == [4, 4, 8] and len(ids) == len(segments) == 16 and cut == 1


def rows(text, pair=None, label=None, count=1):
    return [Row(text, pair, label, number) for number in range(count)]


@pytest.mark.parametrize("pair, label", [("the", 1), (None, 0), ("the", None)])
def test_encoder_gives_the_kinds_examples(pair, label):
    examples, cut = Encoder(VOCABULARY, True, CLASSIFICATION, 6)(rows("fox run run", pair, label, 3))
    ids, segments, lengths, _ = Tokenizer(VOCABULARY, True).encode_flat(
        ["fox run run"] * 3, pair and [pair] * 3, 6
    )
    assert np.array_equal(examples.input_ids, ids) and np.array_equal(examples.segment_ids, segments)
    assert examples.lengths.tolist() == lengths.tolist() and cut == (3 if pair else 0)
    columns = [values.tolist() for values in examples.columns.values()]
    assert columns == ([] if label is None else [[label] * 3])


def test_pool_gives_the_same_in_the_same_order():
    chunks = [rows(f"fox {'run ' * (number % 5)}", "the", number, 3) for number in range(12)]
    chunks[5] *= 100  # takes longer than its neighbours
    results = []
    for workers in (1, 2):
        with TokenizerPool(VOCABULARY, True, REGRESSION, 16, workers) as pool:
            for _ in range(2):  # a pool serves several streams
                encoded = list(pool.map(chunks))
                results.append(
                    [(part.input_ids.tolist(), part.labels.tolist(), cut) for part, cut in encoded]
                )
    assert results[0] == results[1] == results[2] == results[3]
    assert [labels[0] for _, labels, _ in results[0]] == list(range(12))


VOCABULARY_FILE = os.path.join(os.path.dirname(__file__), "../../../shared/vocab/bert-base-uncased-vocab.txt")


@pytest.mark.skipif(not os.path.exists(VOCABULARY_FILE), reason="needs ../shared")
@pytest.mark.parametrize("lower_case", [True, False])
def test_equals_transformers_python_tokenizer(lower_case):
    legacy = pytest.importorskip("transformers.models.bert.tokenization_bert_legacy")
    from src.vocabulary import read_vocabulary

    theirs = legacy.BertTokenizerLegacy(VOCABULARY_FILE, do_lower_case=lower_case)
    # Left out: special tokens in a text (there they are special) and, with case kept, loose accents (composed
    # there first).
    texts = [text for text in TRICKY if "[" not in text and (lower_case or "\u0301" not in text)]
    ours = Tokenizer(read_vocabulary(VOCABULARY_FILE), lower_case)
    for text, pair, (ids, segments) in zip(texts, texts[::-1], encoded_rows(ours, texts, texts[::-1], 24)):
        expected = theirs(text, pair, truncation="longest_first", max_length=24, return_token_type_ids=True)
        assert (ids, segments) == (expected["input_ids"], expected["token_type_ids"])


def real_lines(language, count):
    """Lines spread over all files of ../shared/data in a language; [] without them."""
    data = os.path.join(os.path.dirname(__file__), "../../../shared/data")
    pattern = {"english": ["corpus/*.txt", "glue/*/*.tsv"], "chinese": ["clue/*/*.json"]}[language]
    lines = []
    for path in sorted(path for part in pattern for path in glob.glob(os.path.join(data, part))):
        with open(path, encoding="utf-8") as file:
            for line in file:
                values = json.loads(line) if path.endswith(".json") else {"text": line}
                lines.append(values.get("sentence") or values["text"])
    lines = [line for line in dict.fromkeys(lines) if line.strip()]
    return lines[:: max(1, len(lines) // count)][:count]


@pytest.mark.parametrize("language,name", [("english", "uncased"), ("chinese", "chinese")])
def test_token_ids_of_real_lines_are_transformers(language, name):
    legacy = pytest.importorskip("transformers.models.bert.tokenization_bert_legacy")
    from src.vocabulary import read_vocabulary

    lines = real_lines(language, 200)
    if not lines:
        pytest.skip("needs ../shared/data")
    file = VOCABULARY_FILE.replace("uncased", name)
    theirs = legacy.BertTokenizerLegacy(file, do_lower_case=True)
    ours = Tokenizer(read_vocabulary(file), True)
    pieces = ours.pieces(lines)
    for line, found, (same, spans) in zip(lines, ours.token_ids(lines), pieces):
        assert found == same == theirs.convert_tokens_to_ids(theirs.tokenize(line)), line
        assert len(spans) == len(same) and all(0 <= a < b <= len(line) for a, b in spans)


def test_a_token_takes_the_marks_on_its_last_character_along():
    """The normalizer takes accents away; an answer that ends there must not lose them."""
    text = "cafe\u0301 the\u0301re bad\u0301"
    ((ids, spans),) = Tokenizer(VOCABULARY, True).pieces([text])
    assert "".join(text[start:end] for start, end in spans) == text.replace(" ", "")
    assert len(ids) == len(spans) and spans[-1][1] == len(text)
    assert Tokenizer(VOCABULARY, True).pieces(["the bad"])[0][1] == [(0, 3), (4, 7)]
