"""Evaluation counts every row, in order."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from src.data.dataset import Batches, PackedRows
from src.description import Description
from src.evaluate import evaluate, predict
from src.kinds import CLASSIFICATION, REGRESSION
from src.kinds.classification import SequenceClassification
from src.model import Model
from tests.helpers import describe, make_examples, tiny_config, tiny_network


class Echo:
    """A network whose logits tell which row it saw, and that notes the shapes it ran with."""

    def __init__(self, outputs):
        self.outputs = outputs
        self.shapes = []

    def __call__(self, ids, mask, segments):
        self.shapes.append(ids.shape)
        values = (ids * mask).sum(1) + 0.25 * segments.sum(1)
        others = [np.full(len(ids), 300.0)] * (self.outputs - 1)
        return np.stack([values, *others], 1).astype(np.float32)


def echo(outputs=2):
    """A `Model` of it."""
    kind = CLASSIFICATION if outputs > 1 else REGRESSION
    return Model(Description(tiny_config(), kind, outputs), Echo(outputs))


class Watched(Model):
    """A model of a real network that notes which mode it is in, and does not compile it."""

    def __init__(self, network):
        super().__init__(describe(network), network)
        self.modes = []

    def __call__(self, ids, mask, segments):
        self.modes.append((self.network.training, self.network.dropout.training))
        return np.zeros((len(ids), 2), np.float32)


def expected_values(examples):
    return np.array(
        [
            examples.input_ids[start:end].sum() + 0.25 * examples.segment_ids[start:end].sum()
            for start, end in zip(examples.offsets[:-1], examples.offsets[1:])
        ]
    )


def test_rows_come_back_in_their_own_order_with_the_last_smaller_batch():
    examples, model = make_examples(23, 30), echo()
    prediction = predict(model, Batches(examples, 4, (8, 16)))
    assert prediction.logits.shape == (23, 2)
    np.testing.assert_array_equal(prediction.logits[:, 0], expected_values(examples))
    # The last batch is filled up: no graph of its own.
    assert {shape[0] for shape in model.network.shapes} == {4}
    assert prediction.seconds_per_1000_rows > 0


def test_network_is_evaluated_without_dropout_and_left_in_its_mode():
    model = Watched(tiny_network(1, labels=2, num_hidden_layers=1, hidden_dropout_prob=0.5))
    model.network.set_train(True)
    predict(model, Batches(make_examples(5, 8), 2))
    assert set(model.modes) == {(False, False)}
    assert model.network.training and model.network.dropout.training


def test_accuracy_is_scikit_learns_over_every_row():
    examples = make_examples(23, 30)
    results = evaluate(echo(), {"eval": Batches(examples, 4, (8, 16))}, ("accuracy", "f1"))
    predicted = (expected_values(examples) < 300).astype(int)
    assert 0 < predicted.mean() < 1
    assert results["accuracy"] == pytest.approx(sk.accuracy_score(examples.labels, predicted))
    assert results["f1"] == pytest.approx(sk.f1_score(examples.labels, predicted))
    assert results["rows"] == 23 and list(results)[0] == "accuracy"


def test_times_are_of_every_batch_but_for_the_first_run_of_a_shape():
    examples, model = make_examples(23, 30), echo()
    prediction = predict(model, Batches(examples, 4, (8, 16)))
    shapes = len(set(model.network.shapes))
    assert shapes > 1 and len(model.network.shapes) == len(prediction.batch_seconds) + shapes
    assert len(prediction.batch_seconds) == 6
    results = evaluate(model, {"eval": Batches(examples, 4)}, ("accuracy",))
    assert 0 <= results["p50_ms"] <= results["p95_ms"]


def test_regression_correlations_are_scipys_over_every_row():
    examples = make_examples(11, 20, kind=REGRESSION)
    results = evaluate(echo(1), {"eval": Batches(examples, 4, (8,))}, ("pearson", "spearman"))
    assert results["pearson"] == pytest.approx(
        stats.pearsonr(expected_values(examples), examples.labels)[0], rel=1e-4
    )
    assert results["spearman"] == pytest.approx(
        stats.spearmanr(expected_values(examples), examples.labels)[0], rel=1e-4
    )


def test_further_sets_are_reported_under_their_own_names():
    first, second = make_examples(9, 20), make_examples(6, 20, seed=1)
    flipped = replace(second, columns={column: 1 - value for column, value in second.columns.items()})
    results = evaluate(
        echo(),
        {"eval": Batches(first, 4), "eval_mm": Batches(second, 4), "x": Batches(flipped, 4)},
        ("accuracy",),
    )
    assert results["rows"] == 9 and results["accuracy/eval_mm"] == pytest.approx(1 - results["accuracy/x"])
    assert results["accuracy"] == pytest.approx(sk.accuracy_score(first.labels, expected_values(first) < 300))


class TokenKind(SequenceClassification):
    """An answer a token."""

    logits_per = "token"


def test_answers_for_tokens_come_without_padding_in_the_rows_own_order():
    examples = make_examples(23, 30)

    def network(ids, mask, segments):
        return np.stack([ids, segments], 2).astype(np.float32)

    model = Model(Description(tiny_config(), TokenKind(), 2), network)
    prediction = predict(model, Batches(examples, 4, (8, 16)))
    expected = np.stack([examples.input_ids, examples.segment_ids], 1)
    np.testing.assert_array_equal(prediction.logits, expected)
    assert prediction.rows == 23 and len(prediction.logits) == len(examples.input_ids) > 23
    seconds = 1000 * sum(prediction.batch_seconds) / 23
    assert prediction.seconds_per_1000_rows == pytest.approx(seconds)


class PackedSums:
    """`Echo` for rows that share bins: a row's tokens are those of its number in its bin."""

    def __call__(self, ids, mask, segments, positions, first):
        values = np.zeros(len(first), np.float32)
        for place, start in enumerate(first):
            if start >= 0:
                line = start // ids.shape[1]
                own = mask[line] == mask.ravel()[start]
                values[place] = ids[line][own].sum() + 0.25 * segments[line][own].sum()
        return np.stack([values, np.full_like(values, 300)], 1)


@pytest.mark.parametrize("max_tokens", [16, 64, 4096])
def test_packed_rows_give_what_padded_ones_give(max_tokens):
    examples = make_examples(23, 30)
    packed = Model(Description(tiny_config(), CLASSIFICATION, 2), PackedSums())
    found = predict(packed, PackedRows(examples, max_tokens))
    np.testing.assert_array_equal(found.logits, predict(echo(), Batches(examples, 4, (8, 16))).logits)
    assert found.rows == 23


@pytest.mark.parametrize("max_tokens", [16, 64, 4096])
def test_packed_answers_for_tokens_come_in_the_rows_own_order(max_tokens):
    examples = make_examples(23, 30)

    def network(ids, mask, segments, positions, first):
        return np.stack([ids, segments, positions], 2).astype(np.float32)

    model = Model(Description(tiny_config(), TokenKind(), 3), network)
    positions = np.concatenate([np.arange(size) for size in examples.lengths])
    expected = np.stack([examples.input_ids, examples.segment_ids, positions], 1)
    np.testing.assert_array_equal(predict(model, PackedRows(examples, max_tokens)).logits, expected)
