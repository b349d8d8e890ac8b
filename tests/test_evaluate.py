"""Evaluation counts every row, in order."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from scipy import stats
from sklearn import metrics as sk

from src.data.dataset import Batches
from src.data.records import Examples
from src.evaluate import evaluate, predict
from tests.helpers import make_examples


class Echo(nn.Cell):
    """A network whose logits tell which row it saw, and that notes the shapes and mode it ran with."""

    def __init__(self, outputs=2):
        super().__init__()
        self.outputs = outputs
        self.shapes, self.modes = [], []

    def __call__(self, ids, mask, segments):
        self.shapes.append(ids.shape)
        self.modes.append(self.training)
        ids, mask, segments = (item.asnumpy() for item in (ids, mask, segments))
        values = (ids * mask).sum(1) + 0.25 * segments.sum(1)
        return ms.Tensor(
            np.stack([values] + [np.full(len(ids), 300.0)] * (self.outputs - 1), 1).astype(np.float32)
        )


def expected_values(examples):
    return np.array(
        [
            examples.input_ids[start:end].sum() + 0.25 * examples.segment_ids[start:end].sum()
            for start, end in zip(examples.offsets[:-1], examples.offsets[1:])
        ]
    )


def test_rows_come_back_in_their_own_order_with_the_last_smaller_batch():
    examples, network = make_examples(23, 30), Echo()
    prediction = predict(network, Batches(examples, 4, (8, 16)))
    assert prediction.logits.shape == (23, 2)
    np.testing.assert_array_equal(prediction.logits[:, 0], expected_values(examples))
    assert {shape[0] for shape in network.shapes} == {4}  # the last batch is filled up: no graph of its own
    assert prediction.seconds_per_1000_rows > 0


def test_network_is_evaluated_without_dropout_and_left_in_its_mode():
    network = Echo()
    network.set_train(True)
    predict(network, Batches(make_examples(5, 8), 2))
    assert network.modes and not any(network.modes) and network.training


def test_accuracy_is_scikit_learns_over_every_row():
    examples = make_examples(23, 30)
    results = evaluate(Echo(), {"eval": Batches(examples, 4, (8, 16))}, ("accuracy", "f1"))
    predicted = (expected_values(examples) < 300).astype(int)
    assert 0 < predicted.mean() < 1
    assert results["accuracy"] == pytest.approx(sk.accuracy_score(examples.labels, predicted))
    assert results["f1"] == pytest.approx(sk.f1_score(examples.labels, predicted))
    assert results["rows"] == 23 and list(results)[0] == "accuracy"


def test_regression_correlations_are_scipys_over_every_row():
    examples = make_examples(11, 20, regression=True)
    results = evaluate(Echo(1), {"eval": Batches(examples, 4, (8,))}, ("pearson", "spearman"))
    assert results["pearson"] == pytest.approx(
        stats.pearsonr(expected_values(examples), examples.labels)[0], rel=1e-4
    )
    assert results["spearman"] == pytest.approx(
        stats.spearmanr(expected_values(examples), examples.labels)[0], rel=1e-4
    )


def test_further_sets_are_reported_under_their_own_names():
    first, second = make_examples(9, 20), make_examples(6, 20, seed=1)
    flipped = Examples(second.input_ids, second.segment_ids, second.offsets, 1 - second.labels)
    results = evaluate(
        Echo(),
        {"eval": Batches(first, 4), "eval_mm": Batches(second, 4), "x": Batches(flipped, 4)},
        ("accuracy",),
    )
    assert results["rows"] == 9 and results["accuracy/eval_mm"] == pytest.approx(1 - results["accuracy/x"])
    assert results["accuracy"] == pytest.approx(sk.accuracy_score(first.labels, expected_values(first) < 300))
