"""Training only the word embeddings that occur, against training all of them."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.model import WORD_EMBEDDINGS, Model
from src.nn.layers import Embedding
from src.settings.network import QuantConfig
from src.settings.stage import AdamWeightDecayConfig
from src.train.optim import AdamW
from src.train.step import LossScale, TrainStep
from tests.helpers import tensors

IDS = np.int32([[7, 3, 9, 0], [9, 12, 7, 0]])
TARGET = np.random.default_rng(5).normal(size=(2, 4, 16)).astype(np.float32)


class Lookup(nn.Cell):
    """Squared error of looked-up rows of a table, which lies where a BERT has its word embeddings."""

    def __init__(self, quantization):
        super().__init__()
        self.bert = nn.Cell()
        self.bert.embeddings = nn.Cell()
        self.bert.embeddings.word_embeddings = Embedding(20, 16, 0.02, True, quantization)
        values = np.random.default_rng(1).normal(size=(20, 16)).astype(np.float32)
        self.bert.embeddings.word_embeddings.weight.set_data(ms.Tensor(values))

    def construct(self, ids, target):
        error = self.bert.embeddings.word_embeddings(ids) - target
        return ((error * error).sum(),)


def trained(quantization, narrow):
    """(the whole table after three steps, parameters of the optimizer's first moment)."""
    network = Lookup(quantization)
    model = Model(None, network)
    if narrow:
        model.narrow(np.unique(IDS))
    config = AdamWeightDecayConfig(learning_rate=0.05, weight_decay=0.1, warmup_ratio=0.0)
    step = TrainStep(network, AdamW(network.trainable_params(), config, 4), LossScale(), 1.0)
    for _ in range(3):
        step.run([tensors(IDS, TARGET)])
    during, moments = model.weights()[WORD_EMBEDDINGS], step.optimizer.first[0].shape
    model.widen()
    assert list(model.weights()) == [WORD_EMBEDDINGS]
    np.testing.assert_array_equal(during, model.weights()[WORD_EMBEDDINGS])
    return during, moments


@pytest.mark.parametrize("quantization", [None, QuantConfig(embedding_bits=2)], ids=["float32", "ternary"])
def test_rows_that_occur_are_trained_as_in_the_whole_table_and_the_others_decay(quantization):
    whole, moments = trained(quantization, narrow=False)
    assert moments == (20, 16)
    narrowed, moments = trained(quantization, narrow=True)
    assert moments == (6, 16)  # padding, four tokens and the row of ones
    np.testing.assert_allclose(narrowed, whole, rtol=1e-6, atol=1e-7)
    start = Lookup(None).bert.embeddings.word_embeddings.weight.asnumpy()
    rates = 0.05 * np.array([1, 2 / 3, 1 / 3])
    np.testing.assert_allclose(narrowed[1], start[1] * np.prod(1 - 0.1 * rates), rtol=1e-6)


@pytest.mark.parametrize("embedding", [{"embedding_granularity": "tensor"}, {"embedding_quantizer": "lat"}])
def test_a_table_whose_rows_depend_on_each_other_keeps_them_all(embedding):
    model = Model(None, Lookup(QuantConfig(embedding_bits=2, **embedding)))
    names = set(model.weights())
    model.narrow(np.unique(IDS))
    assert set(model.weights()) == names and model.weights()[WORD_EMBEDDINGS].shape == (20, 16)
