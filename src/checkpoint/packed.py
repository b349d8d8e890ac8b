"""Packed models: one safetensors file of low-bit codes in place of float32 weights.

A file holds, for every weight NAME of the network, the arrays `NAME|codes`, `NAME|scale` ... that its kind
needs, and in its metadata the format's version, every weight's kind and shape, a SHA-256 of these and the
arrays, and one of the `config.json`, which lies beside it with the `vocab.txt` of any checkpoint. Kinds:
ternary codes 5 or 4 to a byte, symmetric and min-max codes of one byte, float32.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Dict, Literal, Tuple

import numpy as np
from msgspec import Struct
from safetensors import SafetensorError, safe_open

from src.checkpoint.folder import (
    CONFIG_FILE,
    PACKED_FILE,
    VOCABULARY_FILE,
    Checkpoint,
    config_digest,
    described,
    digest,
    with_hash,
    write_vocabulary,
)
from src.description import Description
from src.errors import UserError, shown
from src.files import make_folder, replacing, write_json, write_safetensors
from src.json_file import Size, checked, parse, read_json
from src.nn.layers import quantized_weights, rounded
from src.quant.packing import (
    pack_minmax,
    pack_symmetric,
    pack_ternary,
    unpack_minmax,
    unpack_symmetric,
    unpack_ternary,
)

if TYPE_CHECKING:
    from src.nn.heads import BertForSequence


class _Entry(Struct):
    """What the layout says of a weight."""

    kind: str
    shape: Tuple[Size, ...]
    density: Literal[4, 5] = 5
    """Ternary codes a byte."""
    bits: Literal[2, 3, 4, 5, 6, 7, 8] = 8
    """Of min-max codes."""


_FORMAT, _VERSION = "bert-packed", "4"


def _pack(values, latent, kind, bits, granularity, density):
    """({part: array}, layout entry) of one quantized matrix."""
    if kind in ("twn", "lat"):
        codes, scale = pack_ternary(values, density)
        return {"codes": codes, "scale": scale}, {"kind": "ternary", "density": density}
    if kind == "symmetric":
        codes, scale = pack_symmetric(latent, bits, granularity)
        return {"codes": codes, "scale": scale}, {"kind": "symmetric"}
    if kind == "minmax":
        codes, low, width = pack_minmax(latent, bits, granularity)
        return {"codes": codes, "low": low, "width": width}, {"kind": "minmax", "bits": bits}
    raise ValueError(f"the quantizer '{kind}' has no packed form")


def _unpack(parts: dict[str, np.ndarray], entry: _Entry, name: str) -> np.ndarray:
    kind = entry.kind
    if kind == "float":
        values = parts["values"].astype(np.float32)
    elif kind == "ternary":
        values = unpack_ternary(parts["codes"], parts["scale"], entry.shape, entry.density)
    elif kind == "symmetric":
        values = unpack_symmetric(parts["codes"], parts["scale"])
    elif kind == "minmax":
        values = unpack_minmax(parts["codes"], parts["low"], parts["width"], entry.bits)
    else:
        raise ValueError(f"unknown kind {shown(kind)}")
    if values.shape != entry.shape:
        raise ValueError(f"{name} has the shape {values.shape}, not {entry.shape}")
    return values


def save_packed(
    folder: str,
    network: "BertForSequence",
    description: Description,
    vocabulary: Sequence[str] | None = None,
    density: int = 5,
) -> int:
    """Write `network`'s weights as it computes with them, packed, with config.json and vocab.txt.

    Args:
        folder (str): created where needed.
        network (BertForSequence): with a `quantization`.
        description (Description): the network's, quantization included; vocab_sha256 is set from
            `vocabulary`.
        vocabulary (sequence of str): tokens in id order.
        density (int): ternary codes a byte: 5 (1.6 bits each) or 4 (2 bits).

    Returns:
        Bytes of the packed file.
    """
    arrays, layout = _pack_network(network, density)
    layout, values = json.dumps(layout), with_hash(description, vocabulary).to_json()
    metadata = {
        "format": _FORMAT,
        "version": _VERSION,
        "layout": layout,
        "sha256": digest(arrays, layout),
        "config_sha256": config_digest(values),
    }
    make_folder(folder)
    path, vocabulary_path, config_path = (
        os.path.join(folder, name) for name in (PACKED_FILE, VOCABULARY_FILE, CONFIG_FILE)
    )
    with contextlib.ExitStack() as stack:  # left in reverse order: config.json comes first, the codes last
        write_safetensors(stack.enter_context(replacing(path)), arrays, metadata)
        if vocabulary is not None:
            write_vocabulary(stack.enter_context(replacing(vocabulary_path)), vocabulary)
        write_json(stack.enter_context(replacing(config_path)), values)
        if os.path.exists(path):  # codes never lie beside another network's description
            os.remove(path)
    return os.path.getsize(path)


def _pack_network(network, density):
    """({NAME|part: array}, {NAME: layout entry}) of all its weights.

    What the network does not quantize, vectors (biases, LayerNorm) among it, stays in float32: a network that
    rounds its activations answers the least change of a weight with other roundings, so nothing is rounded
    here that was not rounded in training.
    """
    arrays, layout = {}, {}
    quantized = quantized_weights(network)
    for name, parameter in network.parameters_and_names():
        if name.endswith(".second_moment"):  # needed for training only: the codes are fixed
            continue
        latent = parameter.asnumpy()
        if name in quantized:
            cell, how = quantized[name], quantized[name].quantize
            clipped = np.clip(latent, -how.clip, how.clip) if how.clip > 0 else latent
            parts, entry = _pack(rounded(cell), clipped, how.kind, how.bits, how.granularity, density)
        else:
            parts, entry = {"values": latent}, {"kind": "float"}
        layout[name] = {**entry, "shape": list(latent.shape)}
        arrays.update({f"{name}|{part}": value for part, value in parts.items()})
    return arrays, layout


def load_packed(folder: str) -> Checkpoint:
    """The `Checkpoint` in a packed model's folder: dequantized float32 weights.

    Its description's `quantization` keeps the activations' settings only: the weights are quantized already.

    Raises:
        UserError: the file is damaged, of an unknown version, or does not fit its config.json.
    """
    path, config_path = os.path.join(folder, PACKED_FILE), os.path.join(folder, CONFIG_FILE)
    weights, config_sha256 = _read_weights(path)
    checkpoint = described(weights, path, folder)
    trained = checkpoint.description.quantization
    if trained is None:
        raise UserError(f"{config_path} lacks quantization")
    if config_digest(read_json(config_path, "checkpoint configuration")) != config_sha256:
        raise UserError(
            f"{config_path} is not the one that {PACKED_FILE} was saved with: its checksum differs; copy "
            "it anew"
        )
    activations = trained.activations_only()
    return replace(checkpoint, description=replace(checkpoint.description, quantization=activations))


def ternary_shares(folder: str) -> dict[str, tuple[int, tuple[float, ...]]]:
    """{weight: (how many, (share of -1, of 0, of 1))} of the ternary ones in a packed model's folder.

    Raises:
        UserError: the file is damaged or of an unknown version.
    """
    shares = {}
    for name, values in _read_weights(os.path.join(folder, PACKED_FILE), ("ternary",))[0].items():
        counts = [np.count_nonzero(values < 0), np.count_nonzero(values == 0), np.count_nonzero(values > 0)]
        shares[name] = values.size, tuple(count / values.size for count in counts)
    return shares


def _read_weights(
    path: str, kinds: tuple[str, ...] | None = None
) -> tuple[dict[str, np.ndarray], str | None]:
    """({our name: float32 array}, the checksum of their config.json) of a packed file; with `kinds` only the
    arrays of these.
    """
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
    if digest(arrays, metadata.get("layout", "")) != metadata.get("sha256"):
        raise UserError(f"{path} is damaged: its checksum differs from the one stored in it; copy it anew")
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        name, _, part = key.partition("|")
        parts.setdefault(name, {})[part] = value
    try:
        layout = checked(parse(metadata["layout"]), Dict[str, _Entry], path)
        weights = {
            name: _unpack(parts[name], entry, name)
            for name, entry in layout.items()
            if kinds is None or entry.kind in kinds
        }
    except (KeyError, ValueError, TypeError, IndexError) as error:  # arrays of other types and shapes
        raise UserError(f"{path} is damaged: {error}") from error
    return weights, metadata.get("config_sha256")
