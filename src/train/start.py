"""What a network that is fine-tuned starts from: a checkpoint or random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from src.checkpoint.assign import assign
from src.checkpoint.folder import without_quantizer_state
from src.description import Description
from src.errors import UserError
from src.model import POOLER, Model, layer_weights, new_network, read_as_run
from src.settings.network import BertConfig, Known
from src.vocabulary import read_vocabulary, vocabulary_hash

if TYPE_CHECKING:
    import mindspore as ms
    import numpy as np

    from src.data.task_data import TaskData
    from src.settings.network import NetConfig

    Start = tuple[Description, dict[str, np.ndarray], Sequence[str] | None]


def from_checkpoint(
    path: str, layers: tuple[int, ...], net: NetConfig, data: TaskData, vocab_file: str = ""
) -> Start:
    """(Description without a head, weights, vocabulary) of a checkpoint for a task.

    Args:
        path: the checkpoint. layers: the encoder layers to take; () for all.
        net: the run's settings for the network. data: the task's rows.
        vocab_file: its vocabulary where none lies beside it, or "".

    Raises:
        UserError: the settings contradict it, or it cannot read the rows.
    """
    known = Known(net, "net_cfg", vocab_file, data.kind)
    checkpoint, bert = read_as_run(path, known, free=("hidden_act", "num_hidden_layers"))
    own, weights = checkpoint.description.bert, without_quantizer_state(checkpoint.weights)
    if layers:
        if max(layers) >= own.num_hidden_layers:
            last = own.num_hidden_layers - 1
            raise UserError(f"init_layers: {path} has the layers 0 to {last}, not {max(layers)}")
        weights = layer_weights(weights, layers)
    depth = len(layers) or own.num_hidden_layers
    if net.num_hidden_layers not in (None, depth):
        raise UserError(
            f"net_cfg.num_hidden_layers is {net.num_hidden_layers} but {path} gives {depth} layers; choose "
            "layers with init_layers"
        )
    described = replace(
        checkpoint.description, bert=replace(bert, num_hidden_layers=depth), quantization=None
    )
    data.check_model(described.without_head(), "load_ckpt_path", net.seq_length)
    return described, weights, checkpoint.vocabulary


def from_scratch(vocab_file: str, net: NetConfig, data: TaskData) -> Start:
    """The `Start` of a network with random weights.

    Args:
        vocab_file: its vocabulary. net, data: as for `from_checkpoint`.
    """
    vocabulary = read_vocabulary(vocab_file)
    info, known = data.info, vocabulary_hash(vocabulary)
    if info and info.vocab_sha256 != known:
        raise UserError(f"vocab_file: the data was prepared with another vocabulary than {vocab_file}")
    bert = net.resolve(BertConfig(vocab_size=len(vocabulary)))
    if bert.vocab_size < len(vocabulary):
        raise UserError(
            f"net_cfg.vocab_size: {bert.vocab_size} is less than the {len(vocabulary)} tokens of {vocab_file}"
        )
    lower_case = info.do_lower_case if info else True
    accents = info.strip_accents if info else None
    described = Description(bert, do_lower_case=lower_case, strip_accents=accents, vocab_sha256=known)
    return described, {}, vocabulary


def task_model(start: Start, data: TaskData, compute_type: ms.Type) -> tuple[Model, str]:
    """(Model with a head for `data`, what it started from, in words).

    Args:
        start: as `from_checkpoint` or `from_scratch` gives it. data: of the task.
        compute_type: of the matrix products.
    """
    own, weights, vocabulary = start
    description = own.with_head(data.kind, data.outputs, data.labels, data.task.name)
    model = Model(description, new_network(description, compute_type), vocabulary)
    if not weights:
        return model, "random weights"
    # A head for another task, or a projection of distillation, is not part of this network.
    prefixes = ("bert.", "classifier.") if own.shares_head_with(description) else ("bert.",)
    kept = {name: value for name, value in weights.items() if name.startswith(prefixes)}
    missing, _ = assign(model.network, kept, own.source, ("classifier.", POOLER), allow_unexpected=(POOLER,))
    return model, own.source + (f" ({', '.join(missing)} at random)" if missing else "")
