"""Packed models: one safetensors file of low-bit codes in place of float32 weights.

A file holds, for every weight NAME of the network, the arrays `NAME|codes`, `NAME|scale` ... that its kind
needs, and in its metadata the format's version, every weight's kind and shape, a SHA-256 of these and the
arrays, and one of the `config.json`, which lies beside it with the `vocab.txt` of any checkpoint. Kinds:
ternary codes 5 or 4 to a byte, symmetric and min-max codes of one byte, float32.
"""

import contextlib
import json
import os
from dataclasses import asdict, replace

import numpy as np
from safetensors import SafetensorError, safe_open

from src import checkpoint as checkpoints
from src.errors import UserError
from src.files import make_folder, replacing, write_json, write_safetensors
from src.nn.layers import quantized_weights
from src.quant.packing import (
    pack_minmax,
    pack_symmetric,
    pack_ternary,
    unpack_minmax,
    unpack_symmetric,
    unpack_ternary,
)
from src.settings.network import QuantConfig
from src.settings.parsing import from_json
from src.vocabulary import vocabulary_hash

PACKED_FILE = checkpoints.PACKED_FILE
_FORMAT, _VERSION = "bert-packed", "4"


def _pack(values, latent, kind, bits, granularity, density):
    """({part: array}, layout entry) of one quantized matrix."""
    if kind in ("twn", "lat"):
        codes, scale = pack_ternary(values, density)
        return {"codes": codes, "scale": scale}, {"kind": "ternary", "density": density}
    if kind == "symmetric":
        codes, scale = pack_symmetric(latent, bits, granularity)
        return {"codes": codes, "scale": scale}, {"kind": "symmetric"}
    codes, low, width = pack_minmax(latent, bits, granularity)
    return {"codes": codes, "low": low, "width": width}, {"kind": "minmax", "bits": bits}


def _unpack(parts, entry, name):
    kind = entry["kind"]
    if kind == "float":
        values = parts["values"].astype(np.float32)
    elif kind == "ternary":
        values = unpack_ternary(parts["codes"], parts["scale"], tuple(entry["shape"]), entry["density"])
    elif kind == "symmetric":
        values = unpack_symmetric(parts["codes"], parts["scale"])
    elif kind == "minmax":
        values = unpack_minmax(parts["codes"], parts["low"], parts["width"], entry["bits"])
    else:
        raise ValueError(f"unknown kind '{kind}'")
    if list(values.shape) != list(entry["shape"]):
        raise ValueError(f"{name} has the shape {values.shape}, not {tuple(entry['shape'])}")
    return values


def save_packed(folder, network, config, vocabulary=None, density=5):
    """Write `network`'s weights as it computes with them, packed, with config.json and vocab.txt.

    Args:
        folder (str): created where needed.
        network (BertForSequence): with a `quantization`.
        config (dict): content of config.json, `quantization` included.
        vocabulary (sequence of str): tokens in id order.
        density (int): ternary codes a byte: 5 (1.6 bits each) or 4 (2 bits).

    What the network does not quantize, vectors (biases, LayerNorm) among it, stays in float32: a network that
    rounds its activations answers the least change of a weight with other roundings, so nothing is rounded
    here that was not rounded in training.

    Returns:
        Bytes of the packed file.
    """
    arrays, layout = {}, {}
    quantized = quantized_weights(network)
    for name, parameter in network.parameters_and_names():
        if name.endswith(".second_moment"):  # needed for training only: the codes are fixed
            continue
        latent = parameter.asnumpy()
        if name in quantized:
            item = quantized[name]
            clipped = np.clip(latent, -item.clip, item.clip) if item.clip > 0 else latent
            parts, entry = _pack(item.values(), clipped, item.kind, item.bits, item.granularity, density)
        else:
            parts, entry = {"values": latent}, {"kind": "float"}
        layout[name] = {**entry, "shape": list(latent.shape)}
        arrays.update({f"{name}|{part}": value for part, value in parts.items()})
    layout, config = json.dumps(layout), dict(config)
    if vocabulary is not None:
        config["vocab_sha256"] = vocabulary_hash(vocabulary)
    metadata = {
        "format": _FORMAT,
        "version": _VERSION,
        "layout": layout,
        "sha256": checkpoints.digest(arrays, layout),
        "config_sha256": _config_digest(config),
    }
    make_folder(folder)
    path = os.path.join(folder, PACKED_FILE)
    with (
        contextlib.ExitStack() as stack
    ):  # left in reverse order: the description is renamed first, the codes last
        write_safetensors(stack.enter_context(replacing(path)), arrays, metadata)
        if vocabulary is not None:
            checkpoints.write_vocabulary(
                stack.enter_context(replacing(os.path.join(folder, checkpoints.VOCABULARY_FILE))), vocabulary
            )
        write_json(stack.enter_context(replacing(os.path.join(folder, checkpoints.CONFIG_FILE))), config)
        if os.path.exists(path):  # codes never lie beside another network's description
            os.remove(path)
    return os.path.getsize(path)


def _config_digest(config):
    """The checksum of a config.json: it decides what is computed with the codes, so they are read with their
    own only.
    """
    return checkpoints.digest({}, json.dumps(config, sort_keys=True))


def load_packed(folder):
    """The `Checkpoint` in a packed model's folder: dequantized float32 weights.

    Its config's `quantization` keeps the activations' settings only: the weights are quantized already.

    Raises:
        UserError: the file is damaged, of an unknown version, or does not fit its config.json.
    """
    path = os.path.join(folder, PACKED_FILE)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged or no safetensors file: {error}") from error
    if metadata.get("format") != _FORMAT:
        raise UserError(f"{path} is not a packed model of this project")
    if metadata.get("version") != _VERSION:
        raise UserError(
            f"{path} has the format version {metadata.get('version')}; this program reads version {_VERSION}"
        )
    if checkpoints.digest(arrays, metadata.get("layout")) != metadata.get("sha256"):
        raise UserError(f"{path} is damaged: its checksum differs from the one stored in it; copy it anew")
    weights = {}
    try:
        for name, entry in json.loads(metadata["layout"]).items():
            parts = {
                key.partition("|")[2]: value for key, value in arrays.items() if key.partition("|")[0] == name
            }
            weights[name] = _unpack(parts, entry, name)
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    checkpoint = checkpoints.described(weights, folder, path, folder)
    trained = from_json(
        QuantConfig, checkpoint.config.get("quantization"), f"config.json of {folder}: quantization"
    )
    if _config_digest(checkpoint.config) != metadata.get("config_sha256"):
        raise UserError(
            f"{os.path.join(folder, checkpoints.CONFIG_FILE)} is not the one that "
            f"{checkpoints.PACKED_FILE} was saved with: its checksum differs; copy it anew"
        )
    activations = asdict(replace(trained, embedding_bits=32, weight_bits=32, rest_bits=32))
    return replace(checkpoint, config={**checkpoint.config, "quantization": activations})
