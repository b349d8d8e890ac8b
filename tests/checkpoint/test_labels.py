"""A task's class names for a checkpoint."""

import numpy as np

from src.checkpoint.folder import Checkpoint
from src.checkpoint.labels import with_labels
from src.kinds import CLASSIFICATION, REGRESSION
from src.sources import OwnRows
from src.tasks import Task, get_task
from tests.helpers import our_description, our_weights, refusal


def task(*labels, kind=CLASSIFICATION):
    return Task("T", kind, labels, ("accuracy",), OwnRows())


def nameless(labels=(), outputs=3):
    """A checkpoint that has no names for its outputs, or those given."""
    return Checkpoint(our_weights(labels=outputs), our_description(labels, outputs))


def order_of(checkpoint):
    """Where the rows of its classifier come from."""
    rows = our_weights(labels=checkpoint.description.outputs)["classifier.weight"]
    return [
        int(np.flatnonzero((rows == row).all(axis=1))[0]) for row in checkpoint.weights["classifier.weight"]
    ]


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


# --- outputs without names ----------------------------------------------------------------------------------

GOOGLES = ("contradiction", "entailment", "neutral")


def test_googles_mnli_gets_our_order_when_it_is_named_and_is_refused_when_not():
    mnli = get_task("MNLI")
    line = refusal(with_labels, nameless(), mnli)
    for words in (
        "label_order: ",
        "does not name its labels",
        "--label_order contradiction,entailment,neutral",
    ):
        assert words in line
    named, notices = with_labels(nameless(), mnli, GOOGLES)
    assert named.description.labels == ("entailment", "neutral", "contradiction") and order_of(named) == [
        1,
        2,
        0,
    ]
    orders = "from contradiction, entailment, neutral to entailment, neutral, contradiction"
    assert notices == [f"classifier rows reordered {orders}"]
    same, notices = with_labels(nameless(), mnli, mnli.labels)
    assert order_of(same) == [0, 1, 2] and same.description.labels == mnli.labels and not notices


def test_a_task_that_everybody_numbers_alike_needs_no_order_but_may_have_one():
    rte = get_task("RTE")
    plain, _ = with_labels(nameless(outputs=2), rte)
    assert order_of(plain) == [0, 1] and plain.description.labels == rte.labels
    turned, _ = with_labels(nameless(outputs=2), rte, ("not_entailment", "entailment"))
    assert order_of(turned) == [1, 0] and turned.description.labels == rte.labels


def test_numbers_for_names_are_no_names():
    """Hugging Face's run_glue writes GLUE's own label column, 0 and 1, as names."""
    named, notices = with_labels(nameless(("0", "1"), 2), get_task("SST-2"))
    assert named.description.labels == ("negative", "positive") and not notices and order_of(named) == [0, 1]
    assert "label_order" in refusal(with_labels, nameless(("0", "1", "2")), get_task("MNLI"))


def test_names_decide_and_other_names_can_be_translated():
    mnli = get_task("MNLI")
    own = nameless(("Neutral", "contradiction", "entailment"))
    assert order_of(with_labels(own, mnli)[0]) == [2, 0, 1]
    assert order_of(with_labels(own, mnli, own.description.labels)[0]) == [2, 0, 1]
    assert "names its labels Neutral, contradiction, entailment" in refusal(with_labels, own, mnli, GOOGLES)
    other = nameless(("no", "yes", "maybe"))
    assert "trained on no, yes, maybe" in refusal(with_labels, other, mnli)
    translated, notices = with_labels(other, mnli, GOOGLES)
    assert order_of(translated) == [1, 2, 0] and "no, yes, maybe are taken for contradiction" in notices[0]


def test_a_checkpoint_of_another_task_does_not_change_it():
    mrpc = Checkpoint(our_weights(labels=2), our_description((), 2).with_head(CLASSIFICATION, 2, (), "MRPC"))
    assert "x was fine-tuned on MRPC, not SST-2" in refusal(with_labels, mrpc, get_task("SST-2"))
    assert with_labels(mrpc, get_task("MRPC"))[0].description.labels == ("not_equivalent", "equivalent")


def test_an_order_that_fits_nothing_is_refused():
    mnli = get_task("MNLI")
    line = "must be contradiction, entailment, neutral in the order of x, not "
    assert line + "a, b, c" in refusal(with_labels, nameless(), mnli, ("a", "b", "c"))
    assert line + "neutral, neutral" in refusal(with_labels, nameless(), mnli, ("neutral", "neutral"))
    regression = Checkpoint(our_weights(labels=1), our_description().with_head(REGRESSION, 1, (), ""))
    assert "without classes" in refusal(with_labels, regression, get_task("STS-B"), ("a",))
    assert with_labels(nameless(), task(kind=None), ("a", "b", "c"))[0].description.labels == ("a", "b", "c")
    assert "3 outputs" in refusal(with_labels, nameless(), task(kind=None), ("a", "b"))
