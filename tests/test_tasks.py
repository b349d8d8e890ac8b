"""The task table's names and orders of classes."""

import numpy as np
import pytest

from src.data.task_data import _renumbered
from src.errors import UserError
from src.examples import Examples, offsets_of
from src.kinds import TAGGING
from src.tasks import places, same_labels


def test_class_names_agree_whatever_their_case_and_punctuation():
    assert same_labels(("not_entailment", "x"), ("Not entailment", "X")) and same_labels((), ("a",))
    assert not same_labels(("a", "b"), ("b", "a"))


@pytest.mark.parametrize("names", [("+1", "-1"), ("C++", "C#"), ("\U0001f44d", "\U0001f44e")])
def test_class_names_of_punctuation_alone_are_told_apart(names):
    assert same_labels(names, names) and not same_labels(names, names[::-1])
    assert places(names, names[::-1], "label_order", "the data") == [1, 0]
    with pytest.raises(UserError, match="label_order: must be"):
        places(names, ("yes", "no"), "label_order", "the data")


def test_tokens_without_a_tag_stay_so_where_tags_are_renumbered():
    labels = np.int32([-1, 2, 0, -1])
    examples = Examples(labels, labels, offsets_of([4]), {TAGGING.columns[0]: labels})
    found = _renumbered(examples, ("B-x", "I-x", "O"), ("O", "B-x", "I-x"))
    assert found.labels.tolist() == [-1, 0, 1, -1] and found.labels.dtype == np.int32
