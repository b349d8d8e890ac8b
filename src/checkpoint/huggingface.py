"""Hugging Face's folders: safetensors or PyTorch weights, in one file or in shards, with config.json."""

import os
import re
from collections.abc import Sequence
from typing import Dict

import numpy as np
from msgspec import Struct

from src import files
from src.checkpoint.base import Format, no_place_for, outgoing
from src.checkpoint.folder import CONFIG_FILE, Checkpoint, digest, with_hash
from src.checkpoint.foreign import INSIDE, TORCH, from_pickle
from src.checkpoint.mismatch import refuse
from src.checkpoint.tokenizer import TOKENIZER_FILE, write_tokenizer
from src.description import Description
from src.errors import UserError, one_line, shown
from src.files import write_json, write_safetensors
from src.json_file import Text, parse, read_json
from src.vocabulary import is_lower_case

FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""The weights, or their index; the first one that a folder has counts."""
FOLDER_FILES = r"config\.json|vocab\.txt|tokenizer\.json|tokenizer_config\.json"
"""What `write_description` writes, as a pattern of names."""
_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "BOOL": np.bool_,
    "BF16": np.uint16,  # the upper half of a float32
}
_ONLY_OURS = (
    "use_relative_positions",
    "max_relative_position",
    "classifier_relu",
    "do_lower_case",  # tokenizer_config.json says it, and the next
    "strip_accents",
    "num_labels",  # id2label says it
    "quantization",
)
"""What our config.json says and a Hugging Face one does not."""
_PROBLEM_TYPES = ("regression", "single_label_classification")
"""Of ours, those that transformers' configurations may have; `task_type` says the others."""


class _Index(Struct):
    """What an index of several files says."""

    weight_map: Dict[str, Text]
    """{weight: the file it lies in}"""


def _find(path: str) -> str | None:
    """A weights file, an index of several, or a folder with one."""
    if os.path.isdir(path):
        return path if any(os.path.isfile(os.path.join(path, name)) for name in FILES) else None
    endings = (".safetensors", ".bin", ".safetensors.index.json", ".bin.index.json")
    return path if os.path.isfile(path) and path.endswith(endings) else None


def _read(path: str) -> dict[str, np.ndarray]:
    file = path
    if os.path.isdir(path):
        names = (os.path.join(path, name) for name in FILES)
        file = next(name for name in names if os.path.isfile(name))
    return _read_shards(file) if file.endswith(".index.json") else _read_file(file)


def _read_shards(index_file: str) -> dict[str, np.ndarray]:
    folder = os.path.dirname(index_file)
    index = read_json(index_file, "index of weights", _Index).weight_map
    weights = {}
    for shard in sorted(set(index.values())):
        if shard != os.path.basename(shard) or "\\" in shard or shard in ("", ".", ".."):
            raise UserError(
                f"{index_file} names the file {shown(shard)}; only files in the same folder are read"
            )
        if not os.path.isfile(os.path.join(folder, shard)):
            raise UserError(f"{index_file} names the file {shown(shard)}, which is missing")
        weights.update(_read_file(os.path.join(folder, shard)))
    absent = sorted(set(index) - set(weights))
    refuse(f"{index_file} promises more than its files hold", {"missing": absent})
    return weights


def _read_file(path: str) -> dict[str, np.ndarray]:
    return _read_safetensors(path) if path.endswith(".safetensors") else _read_torch(path)


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
    """{name: float32 array}; integers (position_ids) are converted too, for the name map drops them."""
    import safetensors

    with open(path, "rb") as file:
        content = file.read()
    try:
        tensors = safetensors.deserialize(content)
    except Exception as error:  # safetensors raises its own kind and ValueError
        raise UserError(f"{path} is truncated or not a safetensors file: {one_line(error)}") from error
    weights = {}
    for name, tensor in sorted(tensors, key=lambda item: item[0]):  # the library gives them in any order
        if tensor["dtype"] not in _DTYPES:
            raise UserError(
                f"{path}: {name} has the type {tensor['dtype']}; float32, float16 and bfloat16 weights "
                "are read"
            )
        values = np.frombuffer(tensor["data"], dtype=_DTYPES[tensor["dtype"]])
        if tensor["dtype"] == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        weights[name] = values.astype(np.float32).reshape(tensor["shape"])
    try:
        own = _own_digest(content)
    except ValueError as error:
        raise UserError(f"{path} is damaged: its header {one_line(error)}") from error
    if own and digest(weights) != own:
        raise UserError(f"{path} is damaged: its checksum differs from the one stored in it; copy it anew")
    return weights


def _own_digest(content: bytes) -> str:
    """The checksum that `write` leaves in a file, given as its bytes; "" where it has none."""
    header = parse(
        content[8 : 8 + int.from_bytes(content[:8], "little")]
    )  # which the library has read before
    return (header.get("__metadata__") or {}).get("sha256", "")


def _read_torch(path: str) -> dict[str, np.ndarray]:
    """{name: float32 array} of a PyTorch state dict, through the loader that unpickles nothing but
    tensors.
    """
    install = f"pip install '{TORCH}'"
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"reading {path} needs PyTorch ({install}); where that is: {from_pickle(path)}"
        ) from error
    version = re.match(r"([0-9]+)[.]([0-9]+)", str(torch.__version__))
    if version is None or (int(version[1]), int(version[2])) < (2, 6):
        raise UserError(
            f"reading {path} needs {TORCH} ({install}), not {torch.__version__}, which a file can make run "
            "its code (CVE-2025-32434)"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged archives and refused pickles raise many kinds
        raise UserError(
            f"{path} is damaged or holds more than weights, which is not read (where you trust it, save its "
            f"state dict with safetensors.torch.save_file): {one_line(error)[:200]}"
        ) from error
    state = _state_dict(state)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path} is not a PyTorch state dict: a mapping from names to tensors")
    # Those of a running network may still ask for gradients.
    return {name: value.detach().float().numpy() for name, value in state.items()}


def _state_dict(saved):
    """The weights inside what a training program saved with its optimizer's state and epoch."""
    inside = [saved[key] for key in INSIDE if isinstance(saved, dict) and isinstance(saved.get(key), dict)]
    return inside[0] if len(inside) == 1 else saved


def write(folder: str, checkpoint: Checkpoint) -> list[str]:
    """Write model.safetensors and what `write_description` writes into an existing folder.

    Returns:
        Notices: what the format has no place for.

    Raises:
        UserError: the format has no such network.
    """
    weights, notices = outgoing(checkpoint, "huggingface")
    description = checkpoint.description
    notices += no_place_for(["quantization"] if description.quantization is not None else [])
    if description.kind is None:  # BertModel's own files have no prefix
        weights = {name.removeprefix("bert."): value for name, value in weights.items()}
    write_safetensors(os.path.join(folder, FILES[0]), weights, {"format": "pt", "sha256": digest(weights)})
    write_description(folder, description, checkpoint.vocabulary)
    return notices


def write_description(folder: str, description: Description, tokens: Sequence[str] | None) -> None:
    """Write config.json and, where the `tokens` of the vocabulary are known, the tokenizer's files into an
    existing folder.
    """
    description = with_hash(description, tokens)
    values = description.to_json()
    config = {name: value for name, value in values.items() if name not in _ONLY_OURS}
    kind = description.kind
    config["architectures"] = [kind.architecture if kind else "BertModel"]
    if kind and kind.problem_type not in _PROBLEM_TYPES:
        del config["problem_type"]
        config["task_type"] = kind.name
    ids = {token: number for number, token in enumerate(tokens or ())}
    if ids.get("[PAD]"):  # elsewhere than at 0, which readers take where nothing is said
        config["pad_token_id"] = ids["[PAD]"]
    write_json(os.path.join(folder, CONFIG_FILE), config)
    if tokens is not None:
        lower_case = description.do_lower_case
        lower_case = is_lower_case(tokens) if lower_case is None else lower_case
        write_tokenizer(
            folder, tokens, lower_case, description.bert.max_position_embeddings, description.strip_accents
        )


def check_folder_replaceable(path: str, key: str, own: str) -> None:
    """Raise a `UserError` where the folder `path` holds anything but files of ours, by their names `own`.

    Args: as of `src.files.check_replaceable`, which knows names only: a folder that transformers saved has
    the same ones, but no vocab_sha256 in its config.json.
    """
    files.check_replaceable(path, key, own)
    config = os.path.join(path, CONFIG_FILE)
    if os.path.isfile(os.path.join(path, TOKENIZER_FILE)) and os.path.isfile(config):
        if "vocab_sha256" not in read_json(config, "configuration"):
            raise UserError(
                f"{key}: {path} holds a model that this program did not write, and would be replaced; name "
                "another folder"
            )


FORMAT = Format("huggingface", _find, _read)
