"""From checkpoints to models that run, and back to their folder."""

import mindspore as ms
import numpy as np
import pytest

from src import model as models
from src.checkpoint import folder as checkpoints
from src.checkpoint.folder import Checkpoint
from src.checkpoint.packed import save_packed
from src.errors import UserError
from src.kinds import REGRESSION
from src.model import Model, layer_weights, new_network, read
from src.nn.heads import BertEncoder, BertForSequence
from src.quant.quantizers import MovingAverageRange
from src.settings.network import QuantConfig
from tests.helpers import (
    VOCABULARY,
    as_model,
    describe,
    fill,
    random_batch,
    refuses,
    regression_model,
    save_network,
    tiny_config,
    tiny_network,
    weights_of,
)


def checkpoint_of(network, **description):
    return Checkpoint(weights_of(network), describe(network, **description), VOCABULARY)


class Session:
    """What `open_exported` gives, as far as a `Model` asks for it."""

    batch_size, length = 4, 16

    def __init__(self, description):
        self.description = description

    def __call__(self, *columns):
        return np.stack([columns[0].sum(1), columns[1].sum(1)], 1).astype(np.float32)


# --- where a model comes from -------------------------------------------------------------------------------


def test_saved_network_comes_back_with_its_architecture_and_weights(tmp_path):
    network = tiny_network(1, labels=2, classifier_relu=True, hidden_act="gelu_new", layer_norm_eps=1e-5)
    path = save_network(tmp_path, network, extra_weights={"fit_dense.bias": np.zeros(3, np.float32)})
    model = Model.load(path)
    assert model.config == network.config and model.vocabulary == VOCABULARY
    assert model.source == path and model.lower_case and model.batch_size is None and model.length is None
    for name, value in weights_of(model.network).items():
        np.testing.assert_array_equal(value, weights_of(network)[name])


def test_a_loaded_network_has_no_dropout_and_keeps_everything_else(tmp_path):
    network = tiny_network(1, labels=2, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.2)
    checkpoint = checkpoints.load(save_network(tmp_path, network))
    assert checkpoint.description.bert == network.config
    assert Model.from_checkpoint(checkpoint).config == tiny_config()
    assert Model.encoder(checkpoint).network.config == tiny_config()


def test_encoder_without_a_classifier_is_no_model_for_a_task():
    network = tiny_network(1, labels=2)
    weights = {
        name: value for name, value in weights_of(network).items() if not name.startswith("classifier.")
    }
    described = describe(network, source="encoder/").without_head()
    with pytest.raises(UserError) as error:
        Model.from_checkpoint(Checkpoint(weights, described))
    refuses(error, "encoder/", "run_finetune.py --load_ckpt_path encoder/")


def test_encoder_leaves_head_projection_and_pooler_out():
    network = tiny_network(1, labels=2)
    checkpoint = checkpoint_of(network)
    checkpoint.weights["fit_dense.bias"] = np.zeros(3, np.float32)
    for name in [name for name in checkpoint.weights if "pooler" in name]:  # other programs may leave it out
        del checkpoint.weights[name]
    model = Model.encoder(checkpoint)
    assert isinstance(model.network, BertEncoder) and model.description.kind is None
    assert model.description.outputs == 0 and model.description.labels == ()
    name = "bert.encoder.layers.1.attention.query.weight"
    np.testing.assert_array_equal(model.weights()[name], weights_of(network)[name])


def test_weights_of_another_architecture_are_refused():
    network = tiny_network(1, labels=2)
    described = describe(network, source="model/")
    other = describe(tiny_network(1, labels=2, intermediate_size=32), source="model/")
    with pytest.raises(UserError) as error:
        Model.from_checkpoint(Checkpoint(weights_of(network), described), description=other)
    refuses(error, "model/", "shape", "24", "32")


def test_a_description_given_beside_the_checkpoint_is_how_it_runs():
    network = tiny_network(1, labels=2)
    other = describe(tiny_network(1, labels=2, hidden_act="gelu_new"))
    checkpoint = checkpoint_of(network)
    assert Model.from_checkpoint(checkpoint, description=other).config.hidden_act == "gelu_new"
    assert Model.encoder(checkpoint, description=other).config.hidden_act == "gelu_new"


def test_moving_average_ranges_that_no_step_has_set_are_refused():
    ema = QuantConfig(activation_bits=8, activation_quantizer="ema")
    network = fill(BertForSequence(tiny_config(), 2, quantization=ema), 1)
    checkpoint = checkpoint_of(network, source="model/")
    assert checkpoint.description.quantization == ema
    with pytest.raises(UserError) as error:
        Model.from_checkpoint(checkpoint)
    refuses(error, "model/", "never calibrated", "ema_start_step")
    ranges = [cell for _, cell in network.cells_and_names() if isinstance(cell, MovingAverageRange)]
    assert len(as_model(network).uncalibrated_ranges()) == len(ranges) > 4
    for cell in ranges:
        cell.steps.set_data(ms.Tensor([1], cell.steps.dtype))
        cell.threshold.set_data(ms.Tensor([2.0], cell.threshold.dtype))
    assert Model.from_checkpoint(checkpoint_of(network)).uncalibrated_ranges() == []


def test_an_exported_file_is_a_model_too(monkeypatch):
    described = describe(tiny_network(1, labels=2))
    opened = []
    monkeypatch.setattr(
        models, "open_exported", lambda *arguments: opened.append(arguments) or Session(described)
    )
    model = Model.load("a/model.onnx", device="CPU", threads=2)
    assert opened == [("a/model.onnx", "CPU", 0, 2)] and model.description is described
    assert (model.batch_size, model.length) == (4, 16)
    ids, ones = np.int32([[2, 3, 0]]), np.ones((1, 3), np.int32)
    with model.evaluating():
        np.testing.assert_array_equal(model(ids, ones, ones), [[5.0, 3.0]])


# --- what it does -------------------------------------------------------------------------------------------


def test_evaluating_turns_dropout_off_and_leaves_the_network_in_its_mode():
    model = as_model(tiny_network(1, labels=2, num_hidden_layers=1, hidden_dropout_prob=0.5))
    for training in (True, False):
        model.network.set_train(training)
        with model.evaluating():
            assert not any(cell.training for _, cell in model.network.cells_and_names())
        assert model.network.training is training and model.network.dropout.training is training


def test_parameters_are_counted_without_what_quantizers_remember():
    lat = QuantConfig(weight_bits=2, weight_quantizer="lat", embedding_bits=2)
    plain, quantized = (
        BertForSequence(tiny_config(), 2, quantization=quantization) for quantization in (None, lat)
    )
    expected = sum(value.size for value in weights_of(plain).values())
    assert as_model(plain).parameters == as_model(quantized).parameters == expected
    assert sum(value.size for value in as_model(quantized).weights().values()) > expected


def test_save_and_restore_bring_the_weights_back(tmp_path):
    model = as_model(tiny_network(1, labels=2, num_hidden_layers=1))
    before = weights_of(model.network)
    model.save(str(tmp_path), further={"fit_dense.bias": np.zeros(3, np.float32)})
    saved = checkpoints.load(tmp_path)
    assert set(saved.weights) == set(before) | {"fit_dense.bias"} and saved.vocabulary == VOCABULARY
    assert saved.description.bert == model.config and saved.description.labels == ("negative", "positive")
    fill(model.network, 9)
    model.restore(str(tmp_path))
    for name, value in weights_of(model.network).items():
        np.testing.assert_array_equal(value, before[name])


def test_whether_text_is_lower_cased_is_what_it_says_else_what_its_vocabulary_shows():
    network = tiny_network(1, labels=2, num_hidden_layers=1)
    cased = VOCABULARY[:-1] + ("Word",)
    for said, vocabulary, expected in (
        (None, VOCABULARY, True),
        (None, cased, False),
        (True, cased, True),
        (False, VOCABULARY, False),
    ):
        assert as_model(network, vocabulary, do_lower_case=said).lower_case is expected


def test_new_networks_are_what_their_description_says():
    described = describe(tiny_network(1, labels=3), labels=())
    network = new_network(described, ms.float16)
    assert isinstance(network, BertForSequence) and network.num_labels == 3
    assert network.compute_type == ms.float16 and network.config == described.bert
    assert isinstance(new_network(described.without_head()), BertEncoder)
    model = regression_model(tiny_network(1, labels=1))
    assert model.description.kind is REGRESSION and new_network(model.description).num_labels == 1


def test_layer_weights_renumbers_the_chosen_layers_and_keeps_the_rest():
    weights = {"bert.embeddings.x": 0, **{f"bert.encoder.layers.{index}.y": index for index in range(12)}}
    assert layer_weights(weights, (11, 1)) == {
        "bert.embeddings.x": 0,
        "bert.encoder.layers.0.y": 11,
        "bert.encoder.layers.1.y": 1,
    }


def test_a_packed_model_may_be_named_by_its_file(tmp_path):
    two = QuantConfig(weight_bits=2, embedding_bits=2, rest_bits=8)
    student = as_model(fill(BertForSequence(tiny_config(num_hidden_layers=1), 2, quantization=two), 1))
    save_packed(str(tmp_path), student.network, student.description, VOCABULARY)
    for path in (tmp_path, tmp_path / "quantized_model.safetensors"):
        assert read(str(path)).description.quantization.weight_bits == 32


def test_released_graphs_are_compiled_anew(compiled):
    model = as_model(tiny_network(1, labels=2, num_hidden_layers=1))
    columns = random_batch(labels=2)[:3]
    before = model(*columns)
    model.release()
    np.testing.assert_array_equal(model(*columns), before)
