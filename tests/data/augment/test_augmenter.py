"""The word-level algorithm with a language model made by hand: words, candidates, chances, seeds."""

from collections import Counter

import numpy as np
import pytest

from src.data.augment import candidates as module
from src.data.augment.augmenter import Augmenter, AugmentRecipe
from src.data.augment.candidates import MaskedCandidates
from src.data.augment.vectors import WordVectors
from src.data.augment.words import replace_words, split_words
from src.data.readers.rows import Row
from src.data.tokenization import Tokenizer

VOCABULARY = (
    *(
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "##s",
        "##ton",
        ".",
        ",",
        "'",
        "the",
        "was",
        "not",
        "don",
        "t",
    ),
    *(
        "red",
        "green",
        "blue",
        "boat",
        "lake",
        "sing",
        "sail",
        "old",
        "new",
        "7",
        "山",
        "水",
        "我",
        "们",
        "ok",
    ),
)
COLOURS = ("red", "green", "blue", "7")
TOKENIZER = Tokenizer(VOCABULARY, True)


class Preferring:
    """A language model that always finds some tokens the most probable, in their order; it keeps what it was
    asked.
    """

    def __init__(self, *tokens):
        self.logits = np.zeros(len(VOCABULARY) + 2, np.float32)  # a table may be longer than its vocabulary
        self.logits[-2:] = 99
        for place, token in enumerate(tokens):
            self.logits[VOCABULARY.index(token)] = 50 - place
        self.asked = []

    def __call__(self, input_ids, input_mask, places):
        assert input_ids.dtype == input_mask.dtype == places.dtype == np.int32
        assert (input_ids[np.arange(len(places)), places] == VOCABULARY.index("[MASK]")).all()
        assert ((input_ids > 0) == input_mask).all()
        self.asked.append([" ".join(VOCABULARY[i] for i in row if i) for row in input_ids])
        return np.tile(self.logits, (len(places), 1))


def augmenter(model, vectors=None, longest=64, **recipe):
    recipe = {"candidates": len(COLOURS), **recipe}
    return Augmenter(TOKENIZER, model, VOCABULARY, longest, vectors, AugmentRecipe(**recipe))


def texts_of(rows):
    return [row.text for row in rows]


def test_words_are_cut_by_space_and_punctuation_and_chinese_by_character():
    text = "Don't sail,  Boaton 我们"
    ((ids, words),) = split_words(TOKENIZER, [text])
    assert [text[word.start : word.end] for word in words] == [
        "Don",
        "'",
        "t",
        "sail",
        ",",
        "Boaton",
        "我",
        "们",
    ]
    assert [(word.place, word.pieces) for word in words][4:] == [(4, 1), (5, 1), (6, 1), (7, 1)]
    ((ids, words),) = split_words(TOKENIZER, ["lakes boatton"])
    assert [(word.place, word.pieces) for word in words] == [(0, 2), (2, 2)]


@pytest.mark.parametrize(
    "text, chosen, expected",
    [
        ("Old boat, lake.", {0: "new", 3: "山"}, "new boat, 山."),
        ("don't sing", {0: "red"}, "red't sing"),
        ("我们7", {0: "水"}, "水们7"),
        ("我们7", {0: "red", 1: "blue"}, "red blue 7"),  # else they would be one word
        ("我们7", {1: "blue"}, "我blue 7"),
    ],
)
def test_other_words_come_in_their_place(text, chosen, expected):
    ((_, words),) = split_words(TOKENIZER, [text])
    assert replace_words(text, words, chosen) == expected
    pieces = [VOCABULARY[index] for index in TOKENIZER.token_ids([expected])[0]]
    assert all(word in pieces for word in chosen.values())


def test_candidates_are_the_most_probable_whole_words_for_each_masked_one():
    model = Preferring("##s", "blue", "[UNK]", ".", "red", "lake")
    found = MaskedCandidates(model, VOCABULARY, 3, 64)(
        texts := ["The old lakes was new.", "sail"], split_words(TOKENIZER, texts)
    )
    # Function words, a word of two pieces and the full stop are not asked for.
    assert found == [{1: ["blue", "red", "lake"], 4: ["blue", "red", "lake"]}, {0: ["blue", "red", "lake"]}]
    (asked,) = model.asked
    assert asked[:3] == [  # sorted by length; the first row fills the batch up
        "[CLS] [MASK] [SEP]",
        "[CLS] the [MASK] lake ##s was new . [SEP]",
        "[CLS] the old lake ##s was [MASK] . [SEP]",
    ]
    assert set(asked[3:]) == {"[CLS] [MASK] [SEP]"} and len(asked) == module.BATCH_TOKENS // 16


def test_a_chinese_character_gives_way_to_chinese_ones_alone():
    model = Preferring("ok", "red", "们", "7", "水")
    texts = ["山old", "水"]
    found = MaskedCandidates(model, VOCABULARY, 3, 64)(texts, split_words(TOKENIZER, texts))
    assert found == [{0: ["们", "水", "山"], 1: ["ok", "red", "们"]}, {0: ["们", "水", "山"]}]
    found = MaskedCandidates(model, VOCABULARY, 9, 64)(texts, split_words(TOKENIZER, texts))
    assert found[1][0] == ["们", "水", "山", "我"]  # no more than there are
    latin = [token if token.isascii() else f"w{place}" for place, token in enumerate(VOCABULARY)]
    assert MaskedCandidates(model, latin, 3, 64)(["水"], [([21], split_words(TOKENIZER, ["水"])[0][1])]) == [
        {}
    ]


def test_candidates_follow_the_logits_of_their_own_row(monkeypatch):
    """Several batches and lengths, against a loop: the model prefers what follows the neighbour's id."""
    monkeypatch.setattr(module, "BATCH_TOKENS", 64)
    words = np.array(["red", "green", "boat", "lake", "sing", "sail", "old", "new"])
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, size)) for size in random.integers(1, 40, 12)]

    def model(input_ids, input_mask, places):
        assert input_ids.shape in ((4, 16), (2, 32), (1, 42))
        left = input_ids[np.arange(len(places)), places - 1]
        return -np.abs(np.arange(len(VOCABULARY)) - left[:, None] - 1.25).astype(np.float32)

    found = MaskedCandidates(model, VOCABULARY, 2, 42)(texts, split_words(TOKENIZER, texts))
    whole = [i for i, token in enumerate(VOCABULARY) if token[0] not in "[#.,'"]
    for text, candidates in zip(texts, found):
        tokens = ["[CLS]", *text.split()]
        assert sorted(candidates) == list(range(min(len(tokens) - 1, 40)))
        for place, near in candidates.items():
            left = VOCABULARY.index(tokens[place])
            assert near == [VOCABULARY[i] for i in sorted(whole, key=lambda i: abs(i - left - 1.25))[:2]]


def test_chances_are_the_papers():
    text = " ".join(["sing"] * 20)
    made = augmenter(Preferring(*COLOURS), copies=500)([Row(text, None, 1, 3)], 0)
    words = Counter(word for row in made for word in row.text.split())
    assert 495 < len(made) <= 500 and {(row.label, row.line_number) for row in made} == {(1, 3)}
    replaced = 1 - words["sing"] / words.total()
    assert abs(replaced - 0.4) < 0.02  # five standard deviations of 10,000 draws are 0.025
    for colour in COLOURS:
        assert abs(words[colour] / words.total() - 0.1) < 0.015
    assert augmenter(Preferring(*COLOURS), probability=0.0)([Row(text, None, 1, 3)], 0) == []
    all_new = augmenter(Preferring(*COLOURS), probability=1.0)([Row(text, None, 1, 3)], 0)
    assert not any("sing" in row.text for row in all_new)


def test_equal_copies_are_added_once():
    made = augmenter(Preferring("red", "sing"), copies=50, candidates=2)([Row("Sing, sing", None, 0, 1)], 0)
    assert sorted(texts_of(made)) == sorted(set(texts_of(made))) and "Sing, sing" not in texts_of(made)
    assert set(texts_of(made)) <= {f"{a}, {b}" for a in ("Sing", "sing", "red") for b in ("sing", "red")}


def test_function_words_and_marks_stay():
    made = augmenter(Preferring(*COLOURS), probability=1.0)([Row("The boat wasn't the , .", None, 0, 1)], 0)
    assert set(texts_of(made)) == {f"The {colour} wasn't the , ." for colour in COLOURS}


def test_seed_and_row_number_decide_and_not_the_company():
    rows = [
        Row("old boat sail lake", "new lake", 0, 1),
        Row("old boat sail lake", None, 1, 2),
        Row("ok", None, 1, 3),
    ]
    whole = augmenter(Preferring(*COLOURS))(rows, 0)
    assert whole == augmenter(Preferring(*COLOURS))(rows, 0)
    parts = [augmenter(Preferring(*COLOURS))([row], number) for number, row in enumerate(rows)]
    assert whole == sum(parts, [])
    other = augmenter(Preferring(*COLOURS), seed=43)(rows, 0)
    assert texts_of(other) != texts_of(whole)
    assert texts_of(parts[0])[:5] != texts_of(parts[1])[:5]  # equal texts of two rows


def test_of_a_pair_one_text_changes_at_a_time():
    made = augmenter(Preferring(*COLOURS), copies=8)([Row("old boat sail", "new lake", 2.5, 9, "x")], 0)
    first, second = (
        [row for row in made if getattr(row, name) != old]
        for name, old in (("text", "old boat sail"), ("text_pair", "new lake"))
    )
    assert made == first + second and 4 < len(first) <= 8 and 2 < len(second) <= 8
    assert {row.text_pair for row in first} == {"new lake"} and {row.text for row in second} == {
        "old boat sail"
    }
    assert {(row.label, row.id) for row in made} == {(2.5, "x")}


def test_words_of_several_pieces_need_vectors():
    row = Row("Lakes boatton", None, 0, 1)
    vectors = WordVectors(
        ["lakes", "water", "red", "stone"], np.float32([[1, 0], [0.9, 0.1], [0, 1], [-1, 0]])
    )
    assert augmenter(Preferring(*COLOURS), probability=1.0)([row], 0) == []
    near = augmenter(Preferring(*COLOURS), vectors, probability=1.0, candidates=2)([row], 0)
    assert set(texts_of(near)) == {"Water boatton", "Red boatton"}  # boatton has no vector either


def test_chinese_is_replaced_by_character():
    made = augmenter(Preferring("山", "水"), probability=1.0, candidates=2)([Row("我们。", None, 0, 1)], 0)
    assert set(texts_of(made)) == {"山山。", "山水。", "水山。", "水水。"}


def test_words_beyond_the_longest_row_are_left_out():
    made = augmenter(Preferring("red"), longest=4, probability=1.0, candidates=1)(
        [Row("old new lake", None, 0, 1)], 0
    )
    assert texts_of(made) == ["red red lake"]
