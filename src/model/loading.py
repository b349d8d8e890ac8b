"""From a checkpoint to a network, and from a network's settings to the `config.json` that describes it."""
from dataclasses import asdict, fields, replace

import mindspore as ms

from src import checkpoint as checkpoints
from src.config import BertConfig
from src.errors import UserError
from src.model.heads import BertForSequence


def bert_config(checkpoint):
    """The `BertConfig` that a `Checkpoint`'s config.json describes."""
    try:
        return BertConfig(**{item.name: checkpoint.config[item.name] for item in fields(BertConfig)})
    except UserError as error:
        raise UserError(f"config.json of {checkpoint.source}: {error}") from error


def without_dropout(config):
    """`config` for a network that never trains."""
    return replace(config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def task_network(checkpoint, config, compute_type=ms.float32):
    """A `BertForSequence` with a task checkpoint's weights.

    Raises:
        UserError: the checkpoint has no classifier, or its weights do not fit `config`.
    """
    if not checkpoint.num_labels:
        raise UserError(f"{checkpoint.source} is an encoder without a classifier; fine-tune it first: "
                        f"python run_finetune.py --load_ckpt_path {checkpoint.source}")
    network = BertForSequence(config, checkpoint.num_labels, compute_type)
    checkpoints.assign(network, checkpoint.weights, checkpoint.source, allow_unexpected=("fit_dense.",))
    return network


def parameter_count(network):
    """Number of weights of a network."""
    return sum(parameter.size for parameter in network.get_parameters())


def layer_weights(weights, layers):
    """`weights` with only the encoder layers of these numbers, renumbered from 0 in the given order."""
    prefix = "bert.encoder.layers."
    kept = {name: value for name, value in weights.items() if not name.startswith(prefix)}
    for new, old in enumerate(layers):
        kept.update({f"{prefix}{new}.{name[len(f'{prefix}{old}.'):]}": value for name, value in weights.items()
                     if name.startswith(f"{prefix}{old}.")})
    return kept


def description(config, task_name, labels, regression, num_labels, do_lower_case):
    """The content of config.json for a task network (`checkpoint.save` adds the vocabulary's hash).

    Args:
        config (BertConfig): architecture. task_name (str): the task it was trained on.
        labels (tuple of str): class names in index order, () where unknown. regression (bool), num_labels (int): the head.
        do_lower_case (bool): whether its text is lower-cased.
    """
    names = list(labels) or [f"LABEL_{index}" for index in range(num_labels)]
    return {"model_type": "bert", **asdict(config), "task_name": task_name, "num_labels": num_labels,
            "problem_type": "regression" if regression else "single_label_classification",
            "id2label": {str(index): name for index, name in enumerate(names)},
            "label2id": {name: index for index, name in enumerate(names)}, "do_lower_case": do_lower_case}
