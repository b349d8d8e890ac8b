"""Weights of a MINDIR as codes: what its graph unpacks are the network's own, bit for bit."""

import numpy as np
import pytest

from src.deploy.mindir_weights import exact_codes, hold_as_codes, pack_rows
from src.nn.heads import BertForSequence
from src.nn.layers import computed_weights, eager
from src.settings.network import QuantConfig
from tests.helpers import fill, tensors, tiny_config

TERNARY = {"embedding_bits": 2, "weight_bits": 2}
EIGHT = {
    **{f"{part}_bits": 8 for part in ("embedding", "weight")},
    **{f"{part}_quantizer": "symmetric" for part in ("embedding", "weight")},
}
MIN_MAX = {**EIGHT, "weight_quantizer": "minmax"}


def test_bytes_of_five_digits_are_worked_out_by_hand():
    codes = np.int8([[1, 0, -1, 1, 0, -1], [0, 0, 0, 0, 0, 1]])
    # 1 + code of base 3, the first one lowest; a row's last byte is filled up with zeros.
    digits = [[2, 1, 0, 2, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1], [2, 1, 1, 1, 1]]
    expected = [sum(digit * 3**place for place, digit in enumerate(group)) for group in digits]
    assert pack_rows(codes).dtype == np.uint8
    assert pack_rows(codes).tolist() == [expected[:2], expected[2:]]


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("settings, kind", [(TERNARY, np.uint8), (EIGHT, np.int8), (MIN_MAX, np.float32)])
def test_the_graph_unpacks_the_weights_that_the_network_computes_with(settings, kind, granularity):
    parts = {f"{part}_granularity": granularity for part in ("embedding", "weight")}
    quantization = QuantConfig(**settings, **parts, rest_bits=8)
    trained = fill(BertForSequence(tiny_config(num_hidden_layers=1), 2, quantization=quantization), 3)
    weights = computed_weights(trained)
    network = BertForSequence(tiny_config(num_hidden_layers=1), 2)
    before = {name: cell for name, cell in network.cells_and_names() if f"{name}.weight" in weights}
    hold_as_codes(network, weights)
    after = dict(network.cells_and_names())
    query, tables = "bert.encoder.layers.0.attention.query", "bert.embeddings."
    assert after[query].weight.asnumpy().dtype == kind
    with eager():
        for name in before.keys() & after.keys():
            cell, values = after[name], weights[f"{name}.weight"]
            if name == tables + "word_embeddings":
                ids = np.int32([[3, 3, 0], [39, 7, 1]])
                np.testing.assert_array_equal(cell(*tensors(ids)).asnumpy(), values[ids])
            elif hasattr(cell, "quantize") and cell.weight.asnumpy().dtype != np.float32:
                np.testing.assert_array_equal(cell.quantize(cell.weight).asnumpy(), values)
                first = cell.quantize(cell.weight[:2]).asnumpy()  # as positions are read
                np.testing.assert_array_equal(first, values[:2])
    assert after[tables + "position_embeddings"].weight.asnumpy().dtype == np.int8
    assert after["classifier"].weight.asnumpy().dtype == np.int8


def test_codes_that_are_off_by_a_bit_are_none():
    values = np.float32([[0.1, 0.2, 0.3], [0.0, -0.3, 0.1]])
    steps = np.float32(0.1)
    codes = np.int8([[1, 2, 3], [0, -3, 1]])
    assert exact_codes(codes * steps) is not None
    assert exact_codes(values) is None or np.array_equal(codes * steps, values)
    assert exact_codes(np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)) is None
