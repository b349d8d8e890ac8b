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


@pytest.mark.parametrize(
    "file_format, head",
    [("huggingface", "qa_outputs."), ("tensorflow", "cls/squad/output_"), ("mindspore", "dense1.")],
)
def test_a_head_of_questions_has_its_own_name_elsewhere(file_format, head):
    weights = our_weights(labels=2)
    there = translate(weights, "ours", file_format, asks=True)
    assert len(there) == len(weights) and sum(name.startswith(head) for name in there) == 2
    assert_same(translate(there, file_format, "ours"), weights)
