"""Sentences to rows: what every row holds, and which rows there are."""

import collections

import numpy as np
import pytest

from src.data.corpus.blocks import Block
from src.data.corpus.documents import Document
from src.data.corpus.packing import Packer, Recipe
from src.data.tokenization import Tokenizer
from tests.texts import DOCUMENTS, TEXTS, VOCABULARY

CLS, SEP, MASK = (VOCABULARY.index(token) for token in ("[CLS]", "[SEP]", "[MASK]"))


def recipe(**changes):
    return Recipe(
        **{
            "max_seq_length": 64,
            "short_seq_prob": 0.0,
            "next_sentence": True,
            "dupe_factor": 1,
            "masked_lm_prob": 0.0,
            "seed": 3,
            **changes,
        }
    )


def packed_of(documents, number=0, **changes):
    """The `Packed` of one block of `Document`s."""
    return Packer(VOCABULARY, True, recipe(**changes))(Block(number, documents, 0, 0))


def pack(changes, documents=DOCUMENTS):
    """[(tokens of the first text, of the second one or None, label or None)] of one block, and its
    `Packed`.
    """
    packed = packed_of([Document("\n".join(lines), False) for lines in documents], **changes)
    data, rows = packed.examples, []
    for row, (start, end) in enumerate(zip(data.offsets[:-1], data.offsets[1:])):
        ids, segments = data.input_ids[start:end].tolist(), data.segment_ids[start:end].tolist()
        first = ids.index(SEP)
        assert (
            ids[0] == CLS and ids[-1] == SEP and segments == [0] * (first + 1) + [1] * (len(ids) - first - 1)
        )
        assert (
            ids.count(CLS) == 1
            and ids.count(SEP) == (2 if data.columns else 1)
            and len(ids) <= changes.get("max_seq_length", 64)
        )
        rows.append(
            (
                ids[1:first],
                ids[first + 1 : -1] if data.columns else None,
                data.labels[row] if data.columns else None,
            )
        )
    return rows, packed


def tokens_of(documents):
    """The token ids of each document, sentence after sentence."""
    tokenizer = Tokenizer(VOCABULARY, True)
    return [[token for ids in tokenizer.token_ids(lines) for token in ids] for lines in documents]


def inside(part, whole):
    """Whether `part` is a run of `whole` (lists of int)."""
    return f" {' '.join(map(str, part))} " in f" {' '.join(map(str, whole))} "


@pytest.mark.parametrize("length", [8, 20, 64])
def test_single_texts_hold_every_token_once_in_order(length):
    rows, packed = pack({"next_sentence": False, "max_seq_length": length})
    remaining = collections.Counter(tuple(first) for first, _, _ in rows)
    for document in tokens_of(DOCUMENTS):  # walk through each document: some row must continue it, everywhere
        at = 0
        while at < len(document):
            row = next(
                row
                for row in (tuple(document[at : at + size]) for size in range(length - 2, 0, -1))
                if remaining[row]
            )
            remaining[row] -= 1
            at += len(row)
    assert not +remaining and packed.examples.columns == {}
    assert packed.tokens == sum(map(len, tokens_of(DOCUMENTS))) == sum(len(first) for first, _, _ in rows)
    assert packed.documents == len(DOCUMENTS) and packed.sentences == len(TEXTS)
    assert packed.cut == sum(len(ids) > length - 2 for ids in Tokenizer(VOCABULARY, True).token_ids(TEXTS))


def test_single_texts_are_as_long_as_whole_sentences_allow():
    tokenizer = Tokenizer(VOCABULARY, True)
    expected = []
    for lines in DOCUMENTS:
        row = []
        for ids in tokenizer.token_ids(lines):
            if len(row) + len(ids) > 62:
                expected.append(row)
                row = []
            row = row + ids
        expected.append(row)
    rows, _ = pack({"next_sentence": False})
    assert sorted(first for first, _, _ in rows) == sorted(expected)


def test_next_texts_follow_and_random_ones_are_of_another_document():
    documents, counts = tokens_of(DOCUMENTS), collections.Counter()
    rows, _ = pack({"dupe_factor": 5, "max_seq_length": 200})
    for first, second, label in rows:
        homes = [number for number, whole in enumerate(documents) if inside(first, whole)]
        assert first and second and homes
        if label == 0:
            assert (
                any(inside(first + second, documents[number]) for number in homes)
                or len(first) + len(second) == 197
            )
        else:
            assert any(
                inside(second, whole) for number, whole in enumerate(documents) if number not in homes[:1]
            )
        counts[label] += 1
    # Over half: what is left at an end is often one sentence.
    assert set(counts) == {0, 1} and 0.4 < counts[1] / len(rows) < 0.75


def test_a_random_text_is_never_of_the_same_document():
    rows, _ = pack({"dupe_factor": 20}, [["good " * 5] * 30, ["bad " * 5] * 30])
    labels = {(first[0] == second[0], int(label)) for first, second, label in rows}
    assert labels == {(True, 0), (False, 1)}
    pieces = [Document("the " * 300, False), Document("the " * 300, True), Document("good " * 9, False)]
    packed = packed_of(pieces, dupe_factor=20)
    data = packed.examples
    for start, end, label in zip(data.offsets[:-1], data.offsets[1:], data.labels):
        assert (len(set(data.input_ids[start:end].tolist())) == 3) == (label == 0)
    assert packed.documents == 2


def test_a_lone_document_is_packed_too():
    rows, _ = pack({}, DOCUMENTS[:1])
    assert all(inside(second, tokens_of(DOCUMENTS)[0]) for _, second, _ in rows) and len(rows) > 2
    assert pack({}, [["fox"]])[0][0][1] == tokens_of([["fox"]])[0]
    assert pack({"masked_lm_prob": 0.1}, [["\x07"], []])[0] == []


def test_long_pairs_lose_tokens_at_either_end():
    rows, _ = pack({"max_seq_length": 24, "dupe_factor": 10})
    full = [(first, second) for first, second, _ in rows if len(first) + len(second) == 21]
    starts = {tuple(ids[:4]) for ids in Tokenizer(VOCABULARY, True).token_ids(TEXTS)}
    share = np.mean([tuple(first[:4]) in starts for first, _ in full])
    assert len(full) > 500 and 0.2 < share < 0.95


def test_short_sequences():
    assert {len(first) for first, _, _ in pack({"next_sentence": False, "max_seq_length": 8})[0]} <= set(
        range(1, 7)
    )
    documents = [["good"] * 200] * 300
    rows, _ = pack({"next_sentence": False, "short_seq_prob": 0.3}, documents)
    # Rows of one document are of one length, but for its last one.
    full = collections.Counter(len(first) for first, _, _ in rows)[62]
    assert full % 3 == 0 and 0.6 < full / (3 * 300) < 0.8
    short = [len(first) for first, _, _ in rows if len(first) not in (62, 200 - 3 * 62)]
    assert min(short) <= 4 and max(short) >= 58
    assert len(pack({"next_sentence": False, "short_seq_prob": 0.0}, documents)[0]) == 4 * 300


def test_masking():
    rows, packed = pack({"next_sentence": False})
    masked = pack({"next_sentence": False, "masked_lm_prob": 0.15, "dupe_factor": 1})[1].examples
    before, after = packed.examples.input_ids, masked.input_ids
    assert np.array_equal(packed.examples.offsets, masked.offsets)
    special = (before == CLS) | (before == SEP)
    changed, is_mask = before != after, after == MASK
    assert not changed[special].any()
    wanted = np.maximum(1, np.rint(packed.examples.lengths * 0.15)).sum()
    assert np.count_nonzero(is_mask) == pytest.approx(0.8 * wanted, rel=0.1)
    assert np.count_nonzero(changed & ~is_mask) == pytest.approx(0.1 * wanted, rel=0.3)
    assert np.add.reduceat(is_mask, packed.examples.offsets[:-1]).max() <= np.rint(64 * 0.15)


def test_rows_are_shuffled_and_depend_on_seed_and_block():
    documents = [Document("\n".join(lines), False) for lines in DOCUMENTS]
    packs = [
        packed_of(documents, number, seed=seed).examples.input_ids.tobytes()
        for seed, number in ((1, 0), (1, 0), (2, 0), (1, 1))
    ]
    assert packs[0] == packs[1] and len(set(packs)) == 3
