"""What a network that is fine-tuned starts from."""

from dataclasses import replace
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest

from src.checkpoint.folder import QUANTIZER_STATE
from src.errors import UserError
from src.kinds import REGRESSION, TAGGING
from src.nn.heads import BertForSequence
from src.settings.network import NetConfig, QuantConfig
from src.train.start import from_checkpoint, from_scratch, task_model
from tests.helpers import (
    VOCABULARY,
    fill,
    make_examples,
    refuses,
    save_network,
    task_data,
    tiny_config,
    tiny_network,
    weights_of,
)

LAYER = "bert.encoder.layers.{}.attention.query.weight"
NETWORK = tiny_network(1, labels=2, hidden_dropout_prob=0.1)


@pytest.fixture(scope="module")
def sst2(tmp_path_factory):
    """A checkpoint fine-tuned on SST-2, with two layers."""
    return save_network(tmp_path_factory.mktemp("sst-2"), NETWORK)


def started(path, data, layers=(), **net):
    return task_model(from_checkpoint(path, layers, NetConfig(**net), data), data, ms.float32)


def refused(path, layers=(), data=None, **net):
    with pytest.raises(UserError) as error:
        from_checkpoint(path, layers, NetConfig(**net), data or task_data())
    return error


def test_a_head_of_the_same_task_goes_on_learning(sst2):
    model, words = started(sst2, task_data())
    for name, value in weights_of(model.network).items():
        np.testing.assert_array_equal(value, weights_of(NETWORK)[name])
    assert words == sst2 and model.vocabulary == VOCABULARY
    assert model.config.hidden_dropout_prob == 0.1  # it trains
    assert model.description.task_name == "SST-2" and model.description.do_lower_case is True


@pytest.mark.parametrize("task, outputs", [("RTE", 2), ("CoLA", 2), ("MNLI", 3), ("STS-B", 1)])
def test_a_head_of_another_task_is_not_kept(sst2, task, outputs):
    """RTE has two labels as SST-2 has, but they mean something else."""
    data = task_data(task)
    model, words = started(sst2, data)
    weights = weights_of(model.network)
    assert words == f"{sst2} (classifier.bias, classifier.weight at random)"
    assert weights["classifier.weight"].shape == (outputs, 16)
    assert outputs != 2 or not np.array_equal(
        weights["classifier.weight"], weights_of(NETWORK)["classifier.weight"]
    )
    for name in (LAYER.format(1), "bert.pooler.dense.weight"):
        np.testing.assert_array_equal(weights[name], weights_of(NETWORK)[name])
    described = model.description
    assert (described.task_name, described.labels, described.outputs) == (task, data.task.labels, outputs)
    assert (described.kind is REGRESSION) is (task == "STS-B")


def test_a_head_for_tokens_leaves_the_pooler_aside(sst2):
    tags = replace(task_data(), kind=TAGGING, labels=("O", "B-x", "I-x"))
    model, words = started(sst2, tags)
    assert words == f"{sst2} (classifier.bias, classifier.weight at random)"
    assert not any("pooler" in name for name in weights_of(model.network))


def test_labels_in_another_order_are_another_head(tmp_path):
    path = save_network(tmp_path, NETWORK, labels=("positive", "negative"), task="")
    assert "classifier.weight" in started(path, task_data())[1]


def test_the_layers_asked_for_are_taken_in_their_order(sst2):
    for layers in ((1,), (1, 0)):
        weights = weights_of(started(sst2, task_data(), layers)[0].network)
        assert LAYER.format(len(layers)) not in weights
        for new, old in enumerate(layers):
            np.testing.assert_array_equal(weights[LAYER.format(new)], weights_of(NETWORK)[LAYER.format(old)])
    refuses(refused(sst2, (0, 2)), f"init_layers: {sst2} has the layers 0 to 1, not 2")


def test_settings_choose_dropout_and_gelu_and_contradict_nothing_else(sst2):
    config = started(sst2, task_data(), hidden_dropout_prob=0.3, hidden_act="gelu_new")[0].config
    assert (config.hidden_dropout_prob, config.hidden_act, config.hidden_size) == (0.3, "gelu_new", 16)
    assert started(sst2, task_data(), (1,), num_hidden_layers=1)[0].config.num_hidden_layers == 1
    refuses(refused(sst2, num_hidden_layers=1), "num_hidden_layers is 1", "gives 2 layers", "init_layers")
    refuses(refused(sst2, hidden_size=32), "net_cfg.hidden_size is 32", "has 16")


def test_a_checkpoint_that_cannot_read_the_rows_is_refused(sst2):
    data = task_data("RTE", train=make_examples(4, 20))
    refuses(refused(sst2, data=data, seq_length=19), "the train records", "seq_length allows 19")
    info = {"vocab_sha256": "another", "do_lower_case": None, "strip_accents": None}
    other = replace(data, info=SimpleNamespace(**info))
    refuses(refused(sst2, data=other), "load_ckpt_path", "another vocabulary")


def test_a_quantized_checkpoint_starts_a_float_network(tmp_path):
    lat = QuantConfig(weight_bits=2, weight_quantizer="lat")
    network = fill(BertForSequence(tiny_config(num_hidden_layers=1), 2, quantization=lat), 1)
    model, _ = started(save_network(tmp_path, network), task_data())
    assert model.description.quantization is None
    latent = {
        name: value for name, value in weights_of(network).items() if not name.endswith(QUANTIZER_STATE)
    }
    assert weights_of(model.network).keys() == latent.keys() < weights_of(network).keys()
    for name, value in weights_of(model.network).items():
        np.testing.assert_array_equal(value, latent[name])


# --- random weights -----------------------------------------------------------------------------------------


@pytest.fixture
def vocab_file(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n")
    return str(path)


TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


def test_random_weights_need_a_vocabulary_and_take_their_sizes_from_the_settings(vocab_file):
    data = task_data()
    model, words = task_model(from_scratch(vocab_file, NetConfig(**TINY), data), data, ms.float32)
    assert words == "random weights" and tuple(model.vocabulary) == VOCABULARY
    assert (model.config.vocab_size, model.config.hidden_size) == (len(VOCABULARY), 16)
    assert model.description.outputs == 2 and model.description.do_lower_case is True
    assert from_scratch(vocab_file, NetConfig(vocab_size=64, **TINY), data)[0].bert.vocab_size == 64
    cased = replace(
        data,
        info=type(
            "Info",
            (),
            {"vocab_sha256": model.description.vocab_sha256, "do_lower_case": False, "strip_accents": None},
        ),
    )
    assert from_scratch(vocab_file, NetConfig(**TINY), cased)[0].do_lower_case is False


def test_a_vocabulary_that_does_not_fit_is_refused(vocab_file):
    with pytest.raises(UserError) as error:
        from_scratch(vocab_file, NetConfig(vocab_size=20, **TINY), task_data())
    refuses(error, "net_cfg.vocab_size: 20 is less than the 40 tokens", vocab_file)
    data = replace(
        task_data(),
        info=type("Info", (), {"vocab_sha256": "another", "do_lower_case": True, "strip_accents": None}),
    )
    with pytest.raises(UserError) as error:
        from_scratch(vocab_file, NetConfig(**TINY), data)
    refuses(error, "vocab_file: the data was prepared with another vocabulary", vocab_file)
