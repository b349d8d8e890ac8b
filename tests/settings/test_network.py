"""Networks and stages as settings: what contradicts itself or a checkpoint is named."""

import dataclasses

import pytest

from src.errors import UserError
from src.settings.network import BertConfig, NetConfig
from tests.helpers import refuses


def test_network_settings_fill_in_from_a_base_and_the_runs_choices_may_differ():
    base = BertConfig(hidden_size=32, num_attention_heads=4, hidden_dropout_prob=0.1)
    assert NetConfig(num_hidden_layers=3).resolve(base) == dataclasses.replace(base, num_hidden_layers=3)
    checked = NetConfig(hidden_size=32, hidden_dropout_prob=0.3).check(base, "td_student_net_cfg", "model/")
    assert checked == dataclasses.replace(base, hidden_dropout_prob=0.3)
    assert NetConfig(hidden_act="relu").check(base, "x", "model/", free=("hidden_act",)).hidden_act == "relu"


@pytest.mark.parametrize(
    "name,value,own",
    [
        ("hidden_size", 64, 32),
        ("hidden_act", "relu", "gelu"),
        ("classifier_relu", True, False),
        ("layer_norm_eps", 1e-5, 1e-12),
    ],
)
def test_network_setting_that_contradicts_the_checkpoint_is_named(name, value, own):
    with pytest.raises(UserError) as error:
        NetConfig(**{name: value}).check(
            BertConfig(hidden_size=32, num_attention_heads=4), "td_student_net_cfg", "model/"
        )
    refuses(error, f"td_student_net_cfg.{name} is {value}", "model/", f"has {own}")


@pytest.mark.parametrize(
    "changes,word",
    [
        ({"num_attention_heads": 5}, "num_attention_heads 5"),
        ({"hidden_act": "swish"}, "swish"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
    ],
)
def test_impossible_networks_are_refused(changes, word):
    with pytest.raises(UserError) as error:
        BertConfig(**changes)
    refuses(error, word)


@pytest.mark.parametrize(
    "name, value",
    [("hidden_size", 2**31), ("vocab_size", 10**20), ("type_vocab_size", 10**20), ("num_hidden_layers", 2000)]
    + [("max_relative_position", 2**31), ("intermediate_size", 0), ("initializer_range", -0.1)]
    + [("initializer_range", float("nan")), ("layer_norm_eps", 1e39), ("hidden_dropout_prob", 1.0)]
    + [("classifier_dropout", -0.1), ("hidden_act", "x" * 5000)],
)
def test_numbers_that_no_network_has_are_refused(name, value):
    with pytest.raises(UserError) as error:
        BertConfig(**{name: value})
    refuses(error, f"{name} must be ")
    assert len(str(error.value)) < 300


def test_a_spread_of_minus_zero_is_zero():
    assert str(BertConfig(initializer_range=-0.0).initializer_range) == "0.0"
