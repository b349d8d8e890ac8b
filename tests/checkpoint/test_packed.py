"""Packed model files: size, equality with what was trained, and refusal of damaged ones."""

import json
import os
import shutil
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from src.checkpoint.folder import PACKED_FILE, load, packed_folder
from src.checkpoint.formats import read_any
from src.checkpoint.packed import load_packed, save_packed, ternary_shares
from src.errors import UserError
from src.kinds import TAGGING
from src.model import Model
from src.nn.heads import BertForSequence, BertForTokens
from src.nn.layers import eager, quantized_weights, rounded
from src.settings.network import QuantConfig
from tests.helpers import VOCABULARY, describe, fill, random_batch, refuses, tensors, tiny_config, weights_of

W2A8 = QuantConfig(embedding_bits=2, weight_bits=2, activation_bits=8, rest_bits=8)
W8A8 = QuantConfig(
    embedding_bits=8,
    embedding_quantizer="symmetric",
    weight_bits=8,
    weight_quantizer="minmax",
    activation_bits=8,
)


def network_of(quantization, seed=3, **changes):
    config = tiny_config(**{"num_hidden_layers": 1, **changes})
    return fill(BertForSequence(config, 2, quantization=quantization), seed)


def save(folder, network, **options):
    return save_packed(str(folder), network, describe(network), VOCABULARY, **options)


def logits(network, seed=1):
    with eager():
        return network(*tensors(*random_batch(seed)[:3]))[0].asnumpy()


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    save(folder, network_of(W2A8))
    return folder


@pytest.fixture
def packed_w2a8(tmp_path, saved_once):
    """A folder to damage: a copy, for packing takes much longer."""
    return shutil.copytree(saved_once, tmp_path / "copy")


def test_a_network_that_answers_for_tokens_comes_back_with_its_kind(tmp_path):
    network = fill(BertForTokens(tiny_config(num_hidden_layers=1), 3, quantization=W2A8), 3)
    described = describe(network, "custom", ("O", "B-x", "I-x"), TAGGING)
    save_packed(str(tmp_path), network, described, VOCABULARY)
    model = Model.from_checkpoint(load_packed(str(tmp_path)))
    assert model.description.kind is TAGGING and model.description.labels == ("O", "B-x", "I-x")
    np.testing.assert_array_equal(logits(model.network), logits(network))


@pytest.mark.parametrize("density,quantizer,rest", [(5, "twn", 8), (4, "lat", 32)])
def test_weights_come_back_bit_for_bit_and_the_network_with_them(tmp_path, density, quantizer, rest):
    network = network_of(
        QuantConfig(
            embedding_bits=2, weight_bits=2, activation_bits=8, weight_quantizer=quantizer, rest_bits=rest
        )
    )
    save(tmp_path, network, density=density)
    packed = load_packed(packed_folder(str(tmp_path / PACKED_FILE)))  # the folder does as well: other tests
    shares = ternary_shares(str(tmp_path))
    for name, cell in quantized_weights(network).items():
        values = rounded(cell)
        np.testing.assert_array_equal(packed.weights[name], values, err_msg=name)
        if cell.quantize.kind in ("twn", "lat"):
            expected = [(np.sign(values) == sign).mean() for sign in (-1, 0, 1)]
            assert shares.pop(name) == (values.size, pytest.approx(tuple(expected)))
    assert not shares  # of those with 8 bits
    for name, value in weights_of(network).items():
        if name not in quantized_weights(network) and not name.endswith("second_moment"):
            np.testing.assert_array_equal(packed.weights[name], value, err_msg=name)
    quantization = packed.description.quantization
    assert quantization.activation_bits == 8 and quantization.weight_bits == 32
    np.testing.assert_array_equal(logits(Model.from_checkpoint(packed).network), logits(network))
    assert packed.description.labels == ("negative", "positive") and packed.vocabulary == VOCABULARY


def test_rest_at_8_bits_is_in_the_network_not_only_in_the_file(tmp_path):
    tables = [f"bert.embeddings.{name}_embeddings.weight" for name in ("position", "token_type")] + [
        "classifier.weight"
    ]
    network, plain = network_of(W2A8), network_of(replace(W2A8, rest_bits=32))
    assert set(quantized_weights(network)) - set(quantized_weights(plain)) == set(tables)
    for name in tables:
        values = weights_of(network)[name]
        steps = np.abs(values).max(1, keepdims=True) / np.float32(127)
        plain.parameters_dict()[name].set_data(ms.Tensor(np.rint(values / steps) * steps))
    # Of a network that has the rounded tables as its own.
    np.testing.assert_allclose(logits(network), logits(plain), atol=1e-5)


def test_8_bit_weights_come_back(tmp_path):
    network = network_of(W8A8)
    save(tmp_path, network)
    packed = load_packed(str(tmp_path))
    for name, cell in quantized_weights(network).items():
        np.testing.assert_allclose(packed.weights[name], rounded(cell), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("rest", [8, 32])
def test_file_is_as_small_as_promised(tmp_path, rest):
    network = network_of(
        replace(W2A8, rest_bits=rest),
        vocab_size=4000,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        max_position_embeddings=64,
    )
    ternary = [name for name, cell in quantized_weights(network).items() if cell.quantize.kind == "twn"]
    for density, bits in ((5, 1.6), (4, 2.0)):
        size = save(tmp_path, network, density=density)
        assert size == os.path.getsize(tmp_path / PACKED_FILE)
        promised = 4 * 4000  # the embedding's scales, one a row
        for name, value in weights_of(network).items():
            promised += value.size * (bits if name in ternary else rest if value.ndim == 2 else 32) / 8
        assert promised < size < 1.02 * promised + 16000  # the rest: names, shapes, scales of single rows


def rewritten(folder, change):
    """The packed file, read and written anew after `change(arrays, metadata)`."""
    path = os.path.join(folder, PACKED_FILE)
    with safe_open(path, framework="numpy") as file:
        metadata, arrays = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}
    change(arrays, metadata)
    save_file(arrays, path, metadata)


def change_code(arrays, metadata):
    arrays["bert.pooler.dense.weight|codes"] = arrays["bert.pooler.dense.weight|codes"] ^ 1


def change_shape(arrays, metadata):
    arrays["bert.pooler.dense.weight|codes"] = arrays["bert.pooler.dense.weight|codes"][:-1]


def change_layout(arrays, metadata):
    metadata["layout"] = metadata["layout"].replace('"density": 5', '"density": 4', 1)


def change_version(arrays, metadata):
    metadata["version"] = "7"


def change_format(arrays, metadata):
    metadata["format"] = "other"


@pytest.mark.parametrize(
    "change,words",
    [
        (change_code, ("damaged", "checksum")),
        (change_shape, ("damaged", "checksum")),
        (change_layout, ("damaged", "checksum")),
        (change_format, ("not a packed model",)),
        (change_version, ("version 7", "reads version 4")),
    ],
)
def test_changed_files_are_refused_by_name(packed_w2a8, change, words):
    rewritten(packed_w2a8, change)
    with pytest.raises(UserError) as error:
        load_packed(str(packed_w2a8))
    refuses(error, PACKED_FILE, *words)


@pytest.mark.parametrize(
    "change,words",
    [
        ({"hidden_size": None}, "lacks hidden_size"),
        ({"problem_type": None}, "lacks problem_type"),
        ({"quantization": None}, "quantization"),
        ({"quantization": True}, "quantization must hold keys and values"),
        ({"quantization": {"bits": 2}}, "unknown setting 'bits'"),
        ({"quantization": {"activation_quantizer": "foo"}}, "activation_quantizer"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "3 labels"),
        ({"hidden_act": "relu"}, "checksum differs"),
        ({"id2label": {"0": "positive", "1": "negative"}}, "checksum differs"),
    ],
)
def test_a_description_that_is_not_the_files_is_one_line(packed_w2a8, change, words):
    with open(packed_w2a8 / "config.json", encoding="utf-8") as file:
        config = {**json.load(file), **change}
    with open(packed_w2a8 / "config.json", "w", encoding="utf-8") as file:
        json.dump({name: value for name, value in config.items() if value is not None}, file)
    with pytest.raises(UserError) as error:
        load_packed(str(packed_w2a8))
    refuses(error, "config.json", words)


@pytest.mark.parametrize("keep", [0, 7, 500, -1])
def test_truncated_files_are_refused_by_name(packed_w2a8, keep):
    content = (packed_w2a8 / PACKED_FILE).read_bytes()
    (packed_w2a8 / PACKED_FILE).write_bytes(content[:keep])
    with pytest.raises(UserError) as error:
        load_packed(str(packed_w2a8))
    assert PACKED_FILE in str(error.value)


def test_packed_model_has_no_weights_to_train(packed_w2a8):
    file = packed_w2a8 / PACKED_FILE
    for read, path in ((load, packed_w2a8), (load, file), (read_any, file)):
        with pytest.raises(UserError) as error:
            read(str(path))
        refuses(error, "packed model", "save_fp_model")


def test_range_never_calibrated_is_refused(tmp_path):
    save(tmp_path, network_of(QuantConfig(activation_bits=8, activation_quantizer="ema")))
    with pytest.raises(UserError) as error:
        Model.from_checkpoint(load_packed(str(tmp_path)))
    refuses(error, "never calibrated", "ema_start_step")


def test_the_description_that_is_written_has_all_of_the_quantization(packed_w2a8):
    with open(packed_w2a8 / "config.json", encoding="utf-8") as file:
        quantization = json.load(file)["quantization"]
    assert (quantization["weight_bits"], quantization["activation_bits"]) == (2, 8)
