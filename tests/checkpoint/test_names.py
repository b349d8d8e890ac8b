"""The name map, read in both directions; each format's own names are tested in its file."""

import pytest

from src.checkpoint.names import translate
from tests.helpers import assert_same, our_weights


@pytest.mark.parametrize("file_format", ["huggingface", "tensorflow", "mindspore"])
def test_names_are_a_bijection(file_format):
    weights = our_weights()
    there = translate(weights, "ours", file_format)
    assert len(there) == len(weights)
    assert_same(translate(there, file_format, "ours"), weights)
