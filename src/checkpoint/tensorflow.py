"""Checkpoints of Google's TensorFlow BERT: a prefix with .index and .data files, and bert_config.json."""

import os
import re

import numpy as np

from src.checkpoint.base import Format, no_place_for, outgoing
from src.checkpoint.folder import VOCABULARY_FILE, Checkpoint, write_vocabulary
from src.checkpoint.names import is_dropped
from src.errors import UserError, one_line
from src.files import plain_path, write_json

BERT_CONFIG_FILE = "bert_config.json"
_FIELDS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
)
"""What bert_config.json says."""


def _import():
    try:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no banner of hardware notes on standard error
        import tensorflow
    except ImportError as error:
        raise UserError(
            "TensorFlow checkpoints need TensorFlow: pip install -r requirements-convert.txt"
        ) from error
    return tensorflow


def _find(path: str) -> str | None:
    """The prefix that `path` means: itself, one of its files, or the only one in a folder."""
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    if os.path.isfile(prefix + ".index"):
        return prefix
    if not os.path.isdir(path):
        return None
    prefixes = [
        os.path.join(path, name.removesuffix(".index"))
        for name in sorted(os.listdir(path))
        if name.endswith(".index")
    ]
    if len(prefixes) > 1:
        raise UserError(
            f"{path} holds {len(prefixes)} TensorFlow checkpoints; name one: {', '.join(prefixes)}"
        )
    return prefixes[0] if prefixes else None


def _read(prefix: str) -> dict[str, np.ndarray]:
    """{name: float32 array, an empty one for what is dropped anyway: two thirds of a training checkpoint}."""
    tensorflow = _import()
    try:
        reader = tensorflow.train.load_checkpoint(plain_path(prefix))
        return {
            name: np.empty(0, np.float32)
            if is_dropped(name, "tensorflow", masked_lm=True)
            else reader.get_tensor(name).astype(np.float32)
            for name in sorted(reader.get_variable_to_shape_map())
        }
    except Exception as error:  # TensorFlow's kinds differ between missing, truncated and foreign files
        raise UserError(
            f"{prefix} cannot be read as a TensorFlow checkpoint: {one_line(error)[:200]}"
        ) from error


def write(folder: str, checkpoint: Checkpoint) -> list[str]:
    """Write bert_model.ckpt.{index,data-...}, bert_config.json and vocab.txt into an existing folder.

    Returns:
        Notices: what the format has no place for, and what Google's code computes otherwise.

    Raises:
        UserError: TensorFlow is missing, or the format has no such network.
    """
    weights, notices = outgoing(checkpoint, "tensorflow")
    values = checkpoint.description.to_json()
    notices += no_place_for(
        [name for name in ("quantization", "task_name", "null_score_diff_threshold") if name in values]
    )
    config = {name: values[name] for name in _FIELDS}
    if config["hidden_act"] == "gelu":
        notices.append(
            "Google's code computes 'gelu' in its tanh form; this network has the exact one, about 1e-3 apart"
        )
    elif config["hidden_act"] == "gelu_new":
        config["hidden_act"] = "gelu"
    epsilon = checkpoint.description.bert.layer_norm_eps
    if epsilon != FORMAT.layer_norm_eps:
        notices.append(
            f"Google's code has a LayerNorm epsilon of {FORMAT.layer_norm_eps}, this network {epsilon}"
        )
    tensorflow, names = _import(), sorted(weights)
    with tensorflow.device("/CPU:0"):
        tensorflow.raw_ops.SaveV2(
            prefix=plain_path(os.path.join(os.path.abspath(folder), "bert_model.ckpt")),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tensorflow.constant(weights[name]) for name in names],
        )
    write_json(os.path.join(folder, BERT_CONFIG_FILE), config)
    if checkpoint.vocabulary is not None:
        write_vocabulary(os.path.join(folder, VOCABULARY_FILE), checkpoint.vocabulary)
    return notices


FORMAT = Format("tensorflow", _find, _read, gelu="gelu_new")
