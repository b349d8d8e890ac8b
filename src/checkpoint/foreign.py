"""Files of other programs that are not read, and what turns them into ones that are."""

import os
import re
import shlex
from typing import List

from src.json_file import Text, checked, read_json

_ENDINGS = {".h5": "from_tf=True", ".msgpack": "from_flax=True"}
"""Of Hugging Face's weights for Keras and Flax: how transformers takes them."""
_PICKLES = (".pt", ".pth", ".pkl", ".pickle")
INSIDE = ("state_dict", "model_state_dict", "model")
"""Where training programs keep the weights in what they save."""
TORCH = "torch>=2.6"
"""What may open a pickle: weights_only of older ones can be made to run code (CVE-2025-32434)."""
_SHARD = re.compile(r"((?:pytorch_)?model)-[0-9]+-of-[0-9]+([.](?:safetensors|bin))")
_HOLDS_PICKLES = (b"PK", b"\x80")
"""How PyTorch's files begin, a zip archive's or a pickle's first bytes; MindSpore's begin otherwise."""


def is_pickle(path: str) -> bool:
    """Whether a file, whatever its name, is PyTorch's, as Lightning's .ckpt are."""
    with open(path, "rb") as file:
        return file.read(2).startswith(_HOLDS_PICKLES)


def from_pickle(path: str) -> str:
    """The line that turns PyTorch's weights, also inside what a trainer saved, into a file that any command
    reads.
    """
    code = (
        "import sys, torch, safetensors.torch as s; "
        "w = torch.load(sys.argv[1], map_location='cpu', weights_only=True); "
        f"w = next((w[k] for k in {INSIDE} if isinstance(w.get(k), dict)), w); "
        "s.save_file({n: t.detach().clone() for n, t in w.items() if torch.is_tensor(t)}, sys.argv[2])"
    )
    return f'python -c "{code}" {shlex.quote(path)} {shlex.quote(_beside(path))}'


def other_programs(path: str) -> str:
    """What a message adds where a file or folder is of a program whose weights are not read; else ""."""
    names = sorted(os.listdir(path)) if os.path.isdir(path) else [os.path.basename(path)]
    folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
    for name in names:
        if shard := _SHARD.fullmatch(name):
            index = f"{shard[1]}{shard[2]}.index.json"
            return f"; {name} is one of several shards, and {index}, their index, is missing"
        ending = os.path.splitext(name)[1]
        if ending in _ENDINGS:
            return (
                f'; transformers 4 turns {name} into one that is: python -c "import sys, transformers as t; '
                f"t.{_architecture(folder)}.from_pretrained(sys.argv[1], {_ENDINGS[ending]})"
                f".save_pretrained('NEW_FOLDER')\" {shlex.quote(folder)}"
            )
    for name in names:  # after those: a trainer's optimizer.pt may lie beside them
        file = os.path.join(folder, name)
        if name.endswith(_PICKLES) or name.endswith(".ckpt") and os.path.isfile(file) and is_pickle(file):
            return (
                f"; {name} is PyTorch's; its weights become a file that is read, with {TORCH}, by: "
                f"{from_pickle(file)}"
            )
    return ""


def _beside(path):
    return os.path.join(os.path.dirname(path), "model.safetensors")


def _architecture(folder):
    """Hugging Face's class of the network in a folder."""
    config = os.path.join(folder, "config.json")
    values = read_json(config, "network configuration") if os.path.isfile(config) else {}
    names = checked(values.get("architectures") or [""], List[Text], f"{config}: architectures")
    first = names[0]
    return re.sub(r"^(TF|Flax)", "", first) if re.fullmatch(r"\w+", first) else "BertModel"
