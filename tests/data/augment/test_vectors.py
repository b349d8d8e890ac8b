"""Files of word vectors, and which words are near."""

import numpy as np
import pytest

from src.data.augment import vectors as module
from src.data.augment.vectors import WordVectors
from src.errors import UserError


def write(path, lines):
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return str(path)


def test_the_nearest_by_cosine(tmp_path):
    random = np.random.default_rng(0)
    words, table = [f"word{index}" for index in range(30)], random.normal(size=(30, 5)) * [[3]] * 10
    path = write(tmp_path / "v.txt", [f"{w} {' '.join(f'{x:.4f}' for x in v)}" for w, v in zip(words, table)])
    table = np.round(table, 4)
    cosines = [table[3] @ row / np.sqrt((table[3] @ table[3]) * (row @ row)) for row in table]
    expected = [words[index] for index in np.argsort(-np.array(cosines)) if index != 3][:7]
    vectors = WordVectors.read(path)
    assert vectors.nearest("word3", 7) == expected
    assert vectors.nearest("WORD3", 7) == expected
    assert vectors.nearest("Word3", 7) == [word.capitalize() for word in expected]
    assert vectors.nearest("absent", 7) == [] and len(vectors.nearest("word3", 99)) == 29


def test_header_spaces_in_words_and_a_zero_vector(tmp_path):
    path = write(tmp_path / "v.txt", ["5 2", "a 1 0", ". . . 1 0.1", "at x@y 0 1", "zero 0 0", "10 -1 0", ""])
    assert WordVectors.read(path).nearest("a", 9) == [". . .", "at x@y", "zero", "10"]


def test_only_the_first_lines_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_WORDS", 2)
    assert WordVectors.read(write(tmp_path / "v.txt", ["a 1", "b 2", "c x"])).nearest("a", 9) == ["b"]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a 1 2\nb 1\n", "line 2: not a word and 2 numbers"),
        (b"a 1 2\nb 1 2 3\n", "line 2: not a word and 2 numbers"),
        (b"a 1 2\nb 1 x\n", "line 2: not a word and 2 numbers"),
        (b"a 1 nan\n", "line 1: not a word and 2 numbers"),
        (b"a\n", "line 1: not a word and its numbers"),
        (b"a 1\n\xff 1\n", "line 2: not UTF-8 text"),
        (b"", "holds no word"),
        (None, "cannot read"),
    ],
)
def test_bad_files_are_one_line(tmp_path, content, message):
    path = tmp_path / "v.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        WordVectors.read(str(path))
    text = str(caught.value)
    assert text.startswith("augment_vectors: ") and message in text and str(path) in text and "\n" not in text
