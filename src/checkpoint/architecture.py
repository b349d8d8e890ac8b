"""What network some imported weights are: sizes from their shapes, the rest from the checkpoint's own
configuration file. The name map's shapes tell whether all of it is there.
"""

import os
import re
from typing import Any, Optional, Tuple

import numpy as np

from src.checkpoint.base import Format
from src.checkpoint.folder import CONFIG_FILE
from src.checkpoint.mismatch import refuse, shape
from src.checkpoint.names import QUESTIONS, WORD_EMBEDDINGS, our_parameters, unwrapped
from src.checkpoint.tensorflow import BERT_CONFIG_FILE
from src.description import Said, at_own_threshold, said_labels
from src.errors import UserError, shown
from src.json_file import Size, Text, checked, read_json
from src.kinds import CLASSIFICATION, KINDS, REGRESSION, kind_of_problem
from src.kinds.base import TaskKind
from src.settings.network import BertConfig, Known
from src.settings.parsing import from_json
from src.tasks import get_task, known_task

# What the formats' own BertConfig takes where a file leaves a field out.
_DEFAULTS = {
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "classifier_dropout": None,
    "initializer_range": 0.02,
    "max_position_embeddings": 512,
}
_SAME_ACTIVATION = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_fast": "gelu_new",
    "relu": "relu",
}
_ABSENT_OR = {
    "model_type": ("bert", "tinybert"),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}


class _Config(Said):
    """What is read of a network's configuration file, whoever wrote it."""

    architectures: Optional[Tuple[Text, ...]] = None
    """The first one is the network's class at Hugging Face."""
    finetuning_task: Optional[Text] = None
    """run_glue.py's word for the task."""
    task_type: Optional[Text] = None
    hidden_act: Optional[Text] = None
    num_attention_heads: Optional[Size] = None
    model_type: Optional[Text] = None
    position_embedding_type: Optional[Text] = None
    is_decoder: Optional[bool] = None
    add_cross_attention: Optional[bool] = None
    classifier_relu: Optional[bool] = None


_LAYER = "bert.encoder.layers.0."
_POSITIONS = "bert.embeddings.position_embeddings.weight"
_RELATIVE = _LAYER + "attention.relative_positions.weight"
_POOLER = "bert.pooler.dense.weight"
_ASKING = ("qa_outputs.", "cls/squad/", "dense1.")
"""How the names of a head of questions begin, in any format."""


def config_file(folder: str) -> str | None:
    """The path of the configuration of a network whose weights lie in a folder; None where there is none."""
    paths = (os.path.join(folder, name) for name in (CONFIG_FILE, BERT_CONFIG_FILE))
    return next(filter(os.path.isfile, paths), None)


def read_config(folder: str, bert_config: str, needed: bool, known: Known) -> dict[str, Any]:
    """The network's own configuration file, what it lacks as `known` says it.

    Args:
        folder (str): of the weights. bert_config (str): the file the user named, or "".
        needed (bool): whether weights without any are incomplete. known (Known): what the user says.

    Raises:
        UserError: it is missing, or says that the network is no BERT encoder.
    """
    if bert_config and not os.path.isfile(bert_config):
        raise UserError(f"bert_config: {bert_config} does not exist")
    path = bert_config or config_file(folder)
    if path is None:
        given = known.fill({})
        if needed and "num_attention_heads" not in given:
            how = known.how("num_attention_heads", "--bert_config", "N")
            raise UserError(f"{folder} holds neither config.json nor bert_config.json; give {how}")
        return given
    given = read_json(path, "network configuration")
    checked(given, _Config, path)
    for name, allowed in _ABSENT_OR.items():
        if given.get(name) is not None and given[name] not in allowed:
            raise UserError(
                f"{path}: {name} is {shown(given[name])}; only BERT encoders can be converted "
                f"({name} {' or '.join(str(item) for item in allowed)})"
            )
    return known.fill(given)


def kinds_of_head(
    weights: dict[str, np.ndarray], given: dict[str, Any], likely: TaskKind | None
) -> tuple[tuple[TaskKind, ...], str]:
    """(the kinds whose network has the head of some weights, Hugging Face's name of that network).

    Args:
        weights (dict): the file's names -> arrays. given (dict): the configuration file.
        likely (TaskKind): what the head is where the file does not tell; None for what a sentence's is.
    """
    if any(name.startswith(_ASKING) for name in weights):
        architecture = QUESTIONS
    else:
        names = given.get("architectures") or [(likely or CLASSIFICATION).architecture]
        architecture = names[0]
    # TinyBert... counts too.
    ending = tuple(kind for kind in KINDS if architecture.endswith(kind.architecture.removeprefix("Bert")))
    return ending, architecture


def drop_other_heads(
    weights: dict[str, np.ndarray], kinds: tuple[TaskKind, ...], architecture: str, notices: list[str]
) -> list[str]:
    """Remove a head that is of no kind here, as a choice's.

    Args:
        weights (dict): the file's names -> arrays. kinds, architecture: as `kinds_of_head` gives them.
        notices (list of str): takes lines for the user.

    Returns:
        The names removed.
    """
    heads = [name for name in weights if name.startswith(("classifier.", *_ASKING))]
    if not heads or kinds:
        return []
    known = sorted({kind.architecture.removeprefix("BertFor") for kind in KINDS})
    notices.append(f"the head of {architecture} was left out; there is a place for {', '.join(known)}")
    for name in heads:
        del weights[name]
    return heads


def check_tied(weights: dict[str, np.ndarray], source: str) -> None:
    """Raise a `UserError` where a masked-language model's output layer is not its word embedding, which is
    all that is read of it; `weights` are under Hugging Face's names, other formats have only the tied one.
    """
    names = {plain: name for name, plain in unwrapped(weights).items()}
    output, words = names.get("cls.predictions.decoder.weight"), names.get(WORD_EMBEDDINGS)
    if output is not None and words is not None and not np.array_equal(weights[output], weights[words]):
        raise UserError(
            f"{source} has cls.predictions.decoder.weight of its own (tie_word_embeddings is false); a "
            "masked-language model whose output layer is its word embedding is needed"
        )


def drop_unread_pooler(weights: dict[str, np.ndarray], kind: TaskKind | None) -> list[str]:
    """Remove a pooler beside a head that answers for tokens: many files have one that nothing reads. Returns
    the names removed.
    """
    if kind is None or kind.logits_per != "token":
        return []
    unread = [name for name in weights if name.startswith("bert.pooler.")]
    for name in unread:
        del weights[name]
    return unread


def drop_unread_positions(weights: dict[str, np.ndarray]) -> list[str]:
    """Remove position embeddings beside relative ones: the published network makes this table even where it
    never reads it. Returns what was removed, for the user.
    """
    if _RELATIVE not in weights or _POSITIONS not in weights:
        return []
    del weights[_POSITIONS]
    return ["position embeddings (unused with relative positions)"]


def _sizes(weights: dict[str, np.ndarray]) -> dict[str, int]:
    """The architecture fields that the weights' shapes tell.

    Raises:
        UserError: a weight they are read from is missing.
    """
    types, inner = "bert.embeddings.token_type_embeddings.weight", _LAYER + "feed_forward.intermediate.weight"
    needed = (WORD_EMBEDDINGS, types, inner)
    refuse("not a complete BERT encoder", {"missing": [name for name in needed if name not in weights]})
    found = (re.match(r"bert\.encoder\.layers\.(\d+)\.", name) for name in weights)
    sizes = {
        "vocab_size": len(weights[WORD_EMBEDDINGS]),
        "hidden_size": int(weights[WORD_EMBEDDINGS].shape[-1]),
        "num_hidden_layers": 1 + max(int(match[1]) for match in found if match),
        "intermediate_size": len(weights[inner]),
        "type_vocab_size": len(weights[types]),
        "use_relative_positions": _RELATIVE in weights,
    }
    if _POSITIONS in weights:
        sizes["max_position_embeddings"] = len(weights[_POSITIONS])
    if _RELATIVE in weights:  # (2 * max_relative_position + 1, head size)
        rows, head_size = shape(weights[_RELATIVE])
        sizes["max_relative_position"] = rows // 2
        sizes["num_attention_heads"] = sizes["hidden_size"] // head_size
    return sizes


def bert_config(
    given: dict[str, Any],
    weights: dict[str, np.ndarray],
    file_format: Format,
    relu: bool,
    source: str,
    notices: list[str],
    known: Known,
) -> BertConfig:
    """The `BertConfig` of imported weights.

    Args:
        given (dict): the configuration file. weights (dict): our parameter names -> arrays.
        file_format (Format): theirs. relu (bool): whether the classifier reads relu(pooled).
        source (str): where they come from, for messages. notices (list of str): takes lines for the user.
        known (Known): what the user says, for messages.

    Raises:
        UserError: configuration and weights contradict each other, or a value is missing or not supported.
    """
    sizes = _sizes(weights)
    for name, value in sizes.items():
        if given.get(name) is not None and given[name] != value and name != "max_relative_position":
            raise UserError(
                f"{name} is {shown(given[name])} in the configuration of {source} but {value} in its weights"
            )
    heads = sizes.get("num_attention_heads", given.get("num_attention_heads"))
    width = sizes["hidden_size"]
    if not heads or width % heads:
        fault = "cannot be read from the weights" if heads is None else f"{heads} does not divide {width}"
        flag = '--bert_config with a JSON file that says it, such as {"num_attention_heads": 12}'
        how = known.how("num_attention_heads", flag, "12 (or what it has)")
        raise UserError(f"{source}: num_attention_heads {fault}; give {how}")
    defaults = {**_DEFAULTS, "layer_norm_eps": file_format.layer_norm_eps}
    values = {name: given.get(name, default) for name, default in defaults.items()}
    values.update(sizes, num_attention_heads=heads, classifier_relu=relu)
    values["hidden_act"] = _activation(values["hidden_act"], file_format, source, notices)
    return from_json(BertConfig, values, f"the configuration of {source}")


def _activation(name: str, file_format: Format, source: str, notices: list[str]) -> str:
    if name not in _SAME_ACTIVATION:
        raise UserError(
            f"hidden_act {shown(name)} of {source} is not supported; known are {', '.join(_SAME_ACTIVATION)}"
        )
    if _SAME_ACTIVATION[name] == "gelu" and file_format.gelu != "gelu":
        notices.append(f"hidden_act is gelu_new: 'gelu' in {file_format.title} code is the tanh form")
        return file_format.gelu
    return _SAME_ACTIVATION[name]


def _kind(
    given: dict[str, Any], count: int, kinds: tuple[TaskKind, ...], likely: TaskKind | None, source: str
) -> TaskKind:
    """The kind of a head with `count` outputs."""
    kinds = kinds or ((likely,) if likely else ())
    if kinds and kinds[0].logits_per == "token":
        said = [kind for kind in kinds if kind.name == given.get("task_type")]  # by our own writer
        return (*said, *(kind for kind in kinds if kind is likely), *kinds)[0]
    if given.get("problem_type"):
        return kind_of_problem(given["problem_type"], source)
    return REGRESSION if count == 1 else CLASSIFICATION  # as transformers takes such a file


def _task(given: dict[str, Any], kind: TaskKind, count: int, notices: list[str]) -> str:
    """The task that a head was trained on: finetuning_task is run_glue.py's word for it, task_name ours."""
    said = given.get("task_name") or given.get("finetuning_task")
    name = known_task(said or "")
    task = get_task(name) if name else None
    own = task and task.kind  # None for no task: `known_task` leaves the users' own aside
    if task and own and (own.architecture, own.outputs(task.labels)) != (kind.architecture, count):
        notices.append(
            f"its configuration calls its task {shown(said)}, but its head is one of {kind.describe(count)}; "
            "the head counts"
        )
        return ""
    return name


def head(
    given: dict[str, Any],
    weights: dict[str, np.ndarray],
    kinds: tuple[TaskKind, ...],
    likely: TaskKind | None,
    source: str,
    notices: list[str],
) -> dict[str, Any]:
    """kind, outputs, labels and task_name of the classifier, as a dict; {} for an encoder.

    Args:
        kinds, likely: as in `kinds_of_head`. The others as in `bert_config`.
    """
    if "classifier.weight" not in weights:
        return {}
    count = len(weights["classifier.weight"])
    said = checked(given, Said, source)
    kind = at_own_threshold(_kind(given, count, kinds, likely, source), said, source)
    # Many files carry a stale one; Hugging Face does not write it.
    if given.get("num_labels", count) != count:
        notices.append(
            f"num_labels is {given['num_labels']} in its configuration but the classifier has {count} "
            "outputs; the classifier counts"
        )
    task_name = _task(given, kind, count, notices)
    return {"kind": kind, "outputs": count, "labels": said_labels(said, source), "task_name": task_name}


def _expected_shapes(bert, kind, weights):
    """{our name: shape} of every weight that a network with these sizes has; its heads as far as `weights`
    has them.
    """
    by_token = kind is not None and kind.logits_per == "token"
    size = {
        "V": bert.vocab_size,
        "P": bert.max_position_embeddings,
        "T": bert.type_vocab_size,
        "H": bert.hidden_size,
        "I": bert.intermediate_size,
        "R": 2 * bert.max_relative_position + 1,
        "D": bert.hidden_size // bert.num_attention_heads,
    }
    for letter, name in (("C", "classifier.weight"), ("G", "fit_dense.weight")):
        if name in weights:
            size[letter] = len(weights[name])
    left_out = {
        "relative_positions": not bert.use_relative_positions,
        "position_embeddings": bert.use_relative_positions,
        "classifier": "C" not in size,
        "fit_dense": "G" not in size,
        "predictions": not any(name.startswith("predictions.") for name in weights),
        # without a classifier nothing needs the pooler, and many encoder-only files lack it
        "pooler": by_token or "C" not in size and _POOLER not in weights,
    }
    return {
        name: tuple(size[letter] for letter in letters)
        for name, letters in our_parameters(bert.num_hidden_layers)
        if not any(left_out.get(word) for word in name.split("."))
    }


def check_complete(
    weights: dict[str, np.ndarray], bert: BertConfig, kind: TaskKind | None, source: str, notices: list[str]
) -> None:
    """Raise a `UserError` unless `weights` are exactly those of a network of this `BertConfig`, with or
    without heads and pooler.

    Args:
        kind (TaskKind): of its head; None for an encoder. The others as in `bert_config`.
    """
    expected = _expected_shapes(bert, kind, weights)
    refuse(
        f"{source} is not a complete BERT",
        {
            "missing": sorted(set(expected) - set(weights)),
            "unexpected": sorted(set(weights) - set(expected)),
            "of another shape": [
                f"{name} {shape(weights[name])}, not {size}"
                for name, size in expected.items()
                if name in weights and shape(weights[name]) != size
            ],
        },
    )
    if _POOLER not in weights and kind is None:
        notices.append(
            "it has no pooler; a network that reads the pooled output starts that layer from random weights"
        )
