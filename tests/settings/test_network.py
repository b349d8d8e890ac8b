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
