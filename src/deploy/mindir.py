"""A MINDIR (or AIR) file, and beside it what it says of itself, as `path`.json."""

import os
import re

import mindspore as ms
import numpy as np
from mindspore import nn

from src.checkpoint.assign import assign
from src.deploy.mindir_weights import hold_as_codes
from src.deploy.sessions import LARGE_GRAPH, files_of
from src.description import Description
from src.errors import UserError
from src.files import checksum, link_to, write_json
from src.nn.heads import HEADS, Logits
from src.quant.quantizers import use_rounding_operator

LARGEST = 1 << 30
"""Bytes of weights in one file; MindSpore writes those of a larger network into a folder beside it."""


def choose_mindir_form(asked: str, description: Description, file_format: str) -> str:
    """The form of weights to write, "float" or "packed".

    Args:
        asked (str): the setting `mindir_weights`; "auto" packs where there are codes.
        description (Description): of the network. file_format (str): "MINDIR", or "AIR", which "auto" keeps
            in floats.

    Raises:
        UserError: there is nothing to pack.
    """
    if asked == "packed" and not description.is_quantized:
        why = f"{description.source} is not quantized, its weights have no codes to pack; train it with "
        raise UserError(f"mindir_weights: {why}python train.py, or export with --mindir_weights float")
    if asked == "auto":
        return "packed" if description.is_quantized and file_format == "MINDIR" else "float"
    return asked


def write_mindir(
    path: str,
    weights: dict[str, np.ndarray],
    description: Description,
    compute_type: ms.Type,
    shape: tuple[int, int],
    form: str,
    file_format: str = "MINDIR",
) -> tuple[str, int]:
    """Write the file and its description, into a folder that has no other files yet.

    The weights are those that the network computes with, so that no call quantizes them anew.

    Args:
        weights: our parameter names -> float32 arrays, as `computed_weights` gives them.
        description: of the network. compute_type: of its matrix products.
        shape: rows and tokens of a call; 0 rows: any number. file_format: "MINDIR" or "AIR".
        form: of the weights: "float", or "packed" where they are written as `hold_as_codes` has them.

    Returns:
        (path, packed): the file's path, `path` or for a large network NAME_graph.mindir beside the folder
        NAME_variables; and how many of the weights are codes.

    Raises:
        UserError: the network is too large for this format or name, or the format wants a number of rows.
    """
    if file_format != "MINDIR" and not shape[0]:
        raise UserError(f"batch_size: an {file_format} file takes a fixed number of rows; give 1 or more")
    assert description.kind is not None  # what is exported has a head
    activations = description.quantization and description.quantization.activations_only()
    network = HEADS[description.kind.logits_per](
        description.frozen().bert, description.outputs, compute_type, activations
    )
    known = dict(network.parameters_and_names())
    size = 4 * sum(item.size for item in known.values())
    if size > LARGEST and file_format != "MINDIR":
        raise UserError(
            f"file_format: MindSpore cannot keep {size:,} bytes of weights in one {file_format} file (at "
            f"most {LARGEST:,}); export MINDIR or ONNX"
        )
    assign(network, {name: value for name, value in weights.items() if name in known}, path)
    packed = hold_as_codes(network, weights) if form == "packed" else 0
    use_rounding_operator(network)
    network.set_train(False)
    rows, tokens = shape
    column = ms.Tensor(np.zeros(shape, np.int32)) if rows else ms.Tensor(shape=(None, tokens), dtype=ms.int32)
    path = _export(path, Logits(network), [column] * 3, file_format)
    facts = {"batch_size": rows, "seq_length": tokens, "sha256": checksum(*files_of(path))}
    write_json(path + ".json", {**description.to_json(), **facts})
    return path, packed


def _export(path: str, network: nn.Cell, inputs: list[ms.Tensor], file_format: str) -> str:
    """Write the graph as `path`, or in two parts, as MindSpore does for a large network; returns the path of
    the graph.

    MindSpore refuses most characters in a path, spaces and letters that are not ASCII among them.
    """
    folder, name = os.path.split(path)
    stem, ending = os.path.splitext(name)
    plain = stem if re.fullmatch(r"[0-9a-zA-Z@_.-]+", stem) else "model"
    target = os.path.join(link_to(folder), plain)
    ms.export(network, *inputs, file_name=target, file_format=file_format)
    if os.path.exists(target + ending):
        os.replace(target + ending, path)
        return path
    if plain != stem:  # the graph holds the name of the folder with its weights
        raise UserError(
            f"file_name: MindSpore writes so large a network in two parts, and their name may have only "
            f"ASCII letters, digits and @ _ . -, not be {stem}"
        )
    for part in files_of(path.removesuffix(ending) + LARGE_GRAPH):
        os.chmod(part, 0o644)  # MindSpore lets nobody else read them
    return path.removesuffix(ending) + LARGE_GRAPH
