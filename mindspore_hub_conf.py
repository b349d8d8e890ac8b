"""The networks of this repository for MindSpore Hub."""

from dataclasses import replace
from typing import Any

from src.checkpoint.assign import assign
from src.model import Model, new_network, read
from src.nn.heads import BertForSequence
from src.settings.network import BertConfig, QuantConfig
from src.settings.training import TernaryConfig

_NETWORKS = {
    "tinybert": (
        BertConfig(hidden_size=312, num_hidden_layers=4, num_attention_heads=12, intermediate_size=1200),
        None,
    ),
    "ternarybert": (
        BertConfig(hidden_size=768, num_hidden_layers=6, num_attention_heads=12, intermediate_size=3072),
        QuantConfig(**TernaryConfig.PRESETS["quantization"]["ternary"]["quant_cfg"]),
    ),
}


def create_network(
    name: str, ckpt_file: str = "", num_labels: int = 2, is_training: bool = False, **architecture: Any
) -> BertForSequence:
    """One of the networks.

    Args:
        name (str): "tinybert" (TinyBERT's 4 layers of 312) or "ternarybert" (6 layers of 768, 2-bit weights,
            8-bit activations).
        ckpt_file (str): a checkpoint of this project, whose own architecture, quantization and weights then
            count; "" for random weights.
        num_labels (int): outputs without a checkpoint.
        is_training (bool): keep dropout.
        **architecture: fields of `BertConfig` that differ, without a checkpoint.

    Raises:
        NotImplementedError: another name. UserError: the checkpoint cannot be read. ValueError: architecture
            for a checkpoint.
    """
    if name not in _NETWORKS:
        raise NotImplementedError(f"{name} is none of the networks here: {', '.join(_NETWORKS)}")
    if ckpt_file and architecture:
        raise ValueError(
            f"{', '.join(architecture)}: a checkpoint has its own architecture; leave these out, or ckpt_file"
        )
    if ckpt_file:
        return _trained(ckpt_file, is_training)
    config, quantization = _NETWORKS[name]
    config = replace(config, **architecture)
    if not is_training:
        config = replace(config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return BertForSequence(config, num_labels, quantization=quantization)


def _trained(ckpt_file, is_training):
    """The network of a checkpoint."""
    checkpoint = read(ckpt_file)
    model = Model.from_checkpoint(checkpoint)
    if not is_training:
        return model.network
    network = new_network(checkpoint.description)  # with its dropout
    assign(network, model.weights(), ckpt_file)
    return network
