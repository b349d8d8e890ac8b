"""From a checkpoint to a network, and from a network's settings to the `config.json` that describes it."""

from dataclasses import asdict, fields, replace

import mindspore as ms

from src import checkpoint as checkpoints
from src.checkpoint.packed import load_packed
from src.errors import UserError
from src.nn.heads import BertEncoder, BertForSequence
from src.quant.quantizers import MovingAverageRange
from src.settings.network import BertConfig, QuantConfig
from src.settings.parsing import from_json

"""Endings of the names of parameters that are a quantizer's state, not weights."""


def bert_config(checkpoint):
    """The `BertConfig` that a `Checkpoint`'s config.json describes."""
    own = {
        item.name: checkpoint.config[item.name]
        for item in fields(BertConfig)
        if item.name in checkpoint.config
    }
    return from_json(BertConfig, own, f"config.json of {checkpoint.source}", complete=True)


def quant_config(checkpoint):
    """The `QuantConfig` of a `Checkpoint`, or None for a float one."""
    values = checkpoint.config.get("quantization")
    return (
        None
        if values is None
        else from_json(QuantConfig, values, f"config.json of {checkpoint.source}: quantization")
    )


def load_model(path):
    """The `Checkpoint` of a folder or file to run: a packed model's dequantized weights where it is named or
    alone there.
    """
    packed = checkpoints.packed_folder(path)
    return load_packed(packed) if packed else checkpoints.load(path)


def without_dropout(config):
    """`config` for a network that never trains."""
    return replace(config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def task_network(checkpoint, config, compute_type=ms.float32):
    """A `BertForSequence` with a task checkpoint's weights.

    Raises:
        UserError: the checkpoint has no classifier, or its weights do not fit `config`.
    """
    if not checkpoint.num_labels:
        raise UserError(
            f"{checkpoint.source} is an encoder without a classifier; fine-tune it first: "
            f"python run_finetune.py --load_ckpt_path {checkpoint.source}"
        )
    network = BertForSequence(config, checkpoint.num_labels, compute_type, quant_config(checkpoint))
    checkpoints.assign(network, checkpoint.weights, checkpoint.source, allow_unexpected=("fit_dense.",))
    unset = uncalibrated_ranges(network)
    if unset:
        raise UserError(
            f"{checkpoint.source}: the activation range of {unset[0]} was never calibrated; train it past "
            "ema_start_step first"
        )
    return network


def encoder_network(weights, source, config, compute_type=ms.float32):
    """A `BertEncoder` with the weights of any checkpoint, encoder or task, named `source`; {} leaves its own
    random ones.
    """
    network = BertEncoder(config, compute_type)
    if weights:
        checkpoints.assign(
            network,
            weights,
            source,
            allow_missing=("bert.pooler.",),
            allow_unexpected=("classifier.", "fit_dense."),
        )
    return network


def uncalibrated_ranges(network):
    """Names of the moving-average ranges of a network that no training step has set."""
    return [
        name
        for name, cell in network.cells_and_names()
        if isinstance(cell, MovingAverageRange) and not cell.calibrated()
    ]


def parameter_count(network):
    """Number of weights of a network; what quantizers remember is not counted."""
    return sum(
        parameter.size
        for name, parameter in network.parameters_and_names()
        if not name.endswith(checkpoints.QUANTIZER_STATE)
    )


def layer_weights(weights, layers):
    """`weights` with only the encoder layers of these numbers, renumbered from 0 in the given order."""
    prefix = "bert.encoder.layers."
    kept = {name: value for name, value in weights.items() if not name.startswith(prefix)}
    for new, old in enumerate(layers):
        kept.update(
            {
                f"{prefix}{new}.{name[len(f'{prefix}{old}.') :]}": value
                for name, value in weights.items()
                if name.startswith(f"{prefix}{old}.")
            }
        )
    return kept


def encoder_description(config, do_lower_case):
    """The content of config.json for an encoder without a head; arguments as in `description`."""
    return {"model_type": "bert", **asdict(config), "do_lower_case": do_lower_case}


def description(config, task_name, labels, regression, num_labels, do_lower_case, quantization=None):
    """The content of config.json for a task network (`checkpoint.save` adds the vocabulary's hash).

    Args:
        config (BertConfig): architecture. task_name (str): the task it was trained on.
        labels (tuple of str): class names in index order, () where unknown. regression (bool), num_labels
            (int): the head.
        do_lower_case (bool): whether its text is lower-cased. quantization (QuantConfig): of a quantized
            network, or None.
    """
    names = list(labels) or [f"LABEL_{index}" for index in range(num_labels)]
    return {
        **encoder_description(config, do_lower_case),
        "task_name": task_name,
        "num_labels": num_labels,
        "problem_type": "regression" if regression else "single_label_classification",
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
        **({"quantization": asdict(quantization)} if quantization else {}),
    }
