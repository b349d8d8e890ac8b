"""Weights into a network: all of them or none."""

import numpy as np

from src.checkpoint.assign import assign
from tests.helpers import HIDDEN, assert_same, our_shapes, our_weights, refusal


class Network:
    """The part of `mindspore.nn.Cell` that `assign` uses."""

    def __init__(self, shapes):
        import mindspore

        self.parameters = {
            name: mindspore.Parameter(mindspore.Tensor(np.zeros(shape, np.float32)), name=name)
            for name, shape in shapes.items()
        }

    def parameters_and_names(self):
        return self.parameters.items()


def test_assign_sets_every_parameter():
    network = Network(our_shapes())
    assert assign(network, our_weights(), "here") == ([], [])
    assert_same({name: value.asnumpy() for name, value in network.parameters.items()}, our_weights())


def test_assign_names_what_does_not_fit_and_changes_nothing():
    network, weights = Network(our_shapes()), our_weights()
    del weights["bert.pooler.dense.bias"]
    for index in range(4):
        weights[f"surplus{index}"] = np.zeros(2)
    weights["classifier.weight"] = np.zeros((5, HIDDEN))
    message = refusal(assign, network, weights, "/some/model")
    assert message == (
        "the weights of /some/model do not fit the network: 1 missing (bert.pooler.dense.bias); "
        "4 unexpected (surplus0, surplus1, surplus2, ...); "
        "1 of another shape (classifier.weight (5, 8) where the network has (3, 8))"
    )
    assert all(not value.asnumpy().any() for value in network.parameters.values())


def test_assign_allows_what_the_caller_names():
    network = Network({**our_shapes(labels=0), "fit_dense.weight": (4, HIDDEN)})
    found = assign(
        network, our_weights(), "here", allow_missing=("fit_dense.",), allow_unexpected=("classifier.",)
    )
    assert found == (["fit_dense.weight"], ["classifier.bias", "classifier.weight"])
    assert "classifier.bias" in refusal(assign, network, our_weights(), "here", allow_missing=("fit_dense.",))
