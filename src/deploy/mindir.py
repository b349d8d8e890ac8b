"""A MINDIR (or AIR) file, and beside it what it says of itself, as `path`.json."""

import contextlib
import os

import mindspore as ms
import numpy as np

from src.checkpoint.assign import assign
from src.errors import UserError
from src.files import checksum, replacing, write_json
from src.nn.heads import HEADS, Logits
from src.quant.quantizers import use_rounding_operator

LARGEST = 1 << 30
"""Bytes of weights beyond which MindSpore makes a folder of several files instead of one."""


def write_mindir(path, weights, description, compute_type, shape, file_format="MINDIR"):
    """Write the file and its description.

    The weights are written as the network computes with them, so that no call quantizes them anew.

    Args:
        weights (dict): our parameter names -> float32 arrays, as `computed_weights` gives them.
        description (Description): of the network.
        compute_type (mindspore.dtype): of its matrix products.
        shape (tuple): rows and tokens of a call.
        file_format (str): "MINDIR" or "AIR".

    Raises:
        UserError: the network is too large for one file.
    """
    activations = description.quantization and description.quantization.activations_only()
    network = HEADS[description.kind.logits_per](
        description.frozen().bert, description.outputs, compute_type, activations
    )
    known = dict(network.parameters_and_names())
    size = 4 * sum(item.size for item in known.values())
    if size > LARGEST:
        raise UserError(
            f"file_format: MindSpore cannot keep {size:,} bytes of weights in one {file_format} file (at "
            f"most {LARGEST:,}); export ONNX"
        )
    assign(network, {name: value for name, value in weights.items() if name in known}, path)
    use_rounding_operator(network)
    network.set_train(False)
    column = ms.Tensor(np.zeros(shape, np.int32))
    name = os.path.splitext(path)[0]
    ms.export(Logits(network), column, column, column, file_name=name, file_format=file_format)
    rows, tokens = shape
    size = {"batch_size": rows, "seq_length": tokens, "sha256": checksum(path)}
    write_json(path + ".json", {**description.to_json(), **size})


@contextlib.contextmanager
def replacing_both(path):
    """`replacing` of `src/files.py`, for a file and the description beside it."""
    with replacing(path) as temporary:
        try:
            yield temporary
            os.replace(temporary + ".json", path + ".json")
        finally:
            if os.path.exists(temporary + ".json"):
                os.remove(temporary + ".json")
