"""A task's class names for a checkpoint."""

import numpy as np

from src.checkpoint.folder import Checkpoint
from src.checkpoint.labels import with_labels
from src.kinds import CLASSIFICATION, REGRESSION
from src.sources import OwnRows
from src.tasks import Task
from tests.helpers import our_description, our_weights, refusal


def task(*labels, kind=CLASSIFICATION):
    return Task("T", kind, labels, ("accuracy",), OwnRows())


def test_labels_in_another_order_move_the_classifier_rows():
    checkpoint = Checkpoint(our_weights(), our_description())
    moved, notices = with_labels(checkpoint, task("Yes", "no", "maybe"))
    assert (
        moved.description.labels == ("Yes", "no", "maybe")
        and len(notices) == 1
        and moved.description.task_name == ("T")
    )
    for name in ("classifier.weight", "classifier.bias"):
        np.testing.assert_array_equal(moved.weights[name], our_weights()[name][[2, 0, 1]])


def test_labels_that_do_not_fit_are_refused():
    checkpoint = Checkpoint(our_weights(), our_description())
    assert "2 outputs" in refusal(with_labels, checkpoint, task("a", "b"))
    assert "regression" in refusal(with_labels, checkpoint, task(kind=REGRESSION))
    assert "trained on no, maybe, yes" in refusal(with_labels, checkpoint, task("a", "b", "c"))
    encoder = Checkpoint(our_weights(labels=0), our_description().without_head())
    assert "no classifier" in refusal(with_labels, encoder, task("a", "b"))

    assert "needs a classifier" in refusal(with_labels, encoder, task(kind=None))


def test_own_data_fits_any_head_and_keeps_its_labels():
    named, notices = with_labels(Checkpoint(our_weights(), our_description()), task(kind=None))
    assert (named.description.task_name, named.description.labels, notices) == (
        "T",
        ("no", "maybe", "yes"),
        [],
    )
    regression = our_description().with_head(REGRESSION, 1, (), "")
    named, _ = with_labels(Checkpoint(our_weights(labels=1), regression), task(kind=None))
    assert named.description.kind is REGRESSION
