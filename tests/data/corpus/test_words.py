"""Documents to sentences and tokens."""

import random

import pytest

from src.data.corpus import words as corpus_words
from src.data.corpus.documents import Document
from src.data.corpus.words import WordTokenizer, split_sentences
from src.data.tokenization import Tokenizer
from tests.texts import TRICKY, TRICKY_VOCABULARY


def sentences_of(text):
    return [line.strip() for line in split_sentences(text).split("\n") if line.strip()]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("One sentence a line stays one", 1),
        ("It rained. We left! Why? Because.", 4),
        ("Dr. J. R. Smith met Mrs. Lee. They talked.", 2),
        ("He lives in the U.S. Army base, e.g. No. 5 on St. Ann.", 1),
        ('"Stop!" He ran. (Really.) "Yes."', 4),
        ("It cost 3.5 coins. 20 left.", 2),
        ("see the end. then more", 1),
        ("我来了。你好！“走吧？”他说。", 4),
        ("Wait... Then it went.", 2),
        ("a\nbee. C\n\nd", 4),
    ],
)
def test_sentences(text, expected):
    found = sentences_of(text)
    assert len(found) == expected and "".join("".join(found).split()) == "".join(text.split())


@pytest.mark.parametrize("lower_case", [True, False])
def test_remembered_words_have_the_tokenizers_ids(lower_case, monkeypatch):
    chooser = random.Random(0)
    characters = (
        "aAxX foxFOX.,\u00e9\u0301\u4e2d\u3002!?'-\u2019\t\r\u00a0\u0000\ud55c\U0001f600\x1c\x85\u2028\u226e"
        + "the quick runs "
    )
    texts = TRICKY + ["".join(chooser.choices(characters, k=chooser.randint(0, 60))) for _ in range(500)]
    texts = [text.replace("\n", " ") for text in texts]
    tokenizer = Tokenizer(TRICKY_VOCABULARY, lower_case)
    monkeypatch.setattr(corpus_words, "_BATCH_WORDS", 50)
    monkeypatch.setattr(corpus_words, "_MOST_WORDS", 100)
    words = WordTokenizer(tokenizer)
    for _ in range(2):  # first unseen, then partly remembered
        found = words.encode([Document(text, False) for text in texts])
        expected = [ids for ids in tokenizer.token_ids(texts) if ids]
        starts = found.bounds[found.documents].tolist()
        assert [found.tokens[start:end].tolist() for start, end in zip(starts[:-1], starts[1:])] == expected
