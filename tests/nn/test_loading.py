"""From checkpoints to networks and back to config.json."""

import numpy as np
import pytest

from src import checkpoint as checkpoints
from src.errors import UserError
from src.nn.loading import bert_config, description, layer_weights, task_network, without_dropout
from tests.helpers import refuses, save_network, tiny_config, tiny_network, weights_of


def test_saved_network_comes_back_with_its_architecture_and_weights(tmp_path):
    network = tiny_network(1, labels=2, classifier_relu=True, hidden_act="gelu_new", layer_norm_eps=1e-5)
    checkpoint = checkpoints.load(
        save_network(tmp_path, network, extra_weights={"fit_dense.bias": np.zeros(3, np.float32)})
    )
    config = bert_config(checkpoint)
    assert config == network.config
    for name, value in weights_of(task_network(checkpoint, config)).items():
        np.testing.assert_array_equal(value, weights_of(network)[name])


def test_description_names_labels_both_ways_and_the_kind_of_head():
    described = description(tiny_config(), "SST-2", ("negative", "positive"), False, 2, True)
    assert described["id2label"] == {"0": "negative", "1": "positive"} and described["label2id"] == {
        "negative": 0,
        "positive": 1,
    }
    assert described["problem_type"] == "single_label_classification" and described["do_lower_case"] is True
    assert described["hidden_size"] == 16 and described["classifier_relu"] is False
    assert description(tiny_config(), "STS-B", (), True, 1, True)["problem_type"] == "regression"


def test_encoder_without_a_classifier_is_no_task_network(tmp_path):
    network = tiny_network(1, labels=2)
    weights = {
        name: value for name, value in weights_of(network).items() if not name.startswith("classifier.")
    }
    config = description(network.config, "SST-2", (), False, 2, True)
    with pytest.raises(UserError) as error:
        task_network(checkpoints.Checkpoint(weights, config, None, "encoder/"), network.config)
    refuses(error, "encoder/", "run_finetune.py")


def test_weights_of_another_architecture_are_refused():
    network = tiny_network(1, labels=2)
    checkpoint = checkpoints.Checkpoint(weights_of(network), {}, None, "model/")
    with pytest.raises(UserError) as error:
        task_network(checkpoint, tiny_config(intermediate_size=32))
    refuses(error, "model/", "shape")


def test_impossible_architecture_names_the_file():
    config = description(tiny_config(), "SST-2", (), False, 2, True)
    with pytest.raises(UserError) as error:
        bert_config(checkpoints.Checkpoint({}, {**config, "num_attention_heads": 3}, None, "model/"))
    refuses(error, "model/", "num_attention_heads 3")


def test_layer_weights_renumbers_the_chosen_layers_and_keeps_the_rest():
    weights = {"bert.embeddings.x": 0, **{f"bert.encoder.layers.{index}.y": index for index in range(12)}}
    assert layer_weights(weights, (11, 1)) == {
        "bert.embeddings.x": 0,
        "bert.encoder.layers.0.y": 11,
        "bert.encoder.layers.1.y": 1,
    }


def test_without_dropout_keeps_everything_else():
    config = tiny_config(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.2)
    assert without_dropout(config) == tiny_config()
