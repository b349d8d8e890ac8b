"""Files of other programs that are not read, and what turns them into ones that are."""

import os
import re

from src.files import read_json

_ENDINGS = {".h5": "from_tf=True", ".msgpack": "from_flax=True"}
"""Of Hugging Face's weights for Keras and Flax: how transformers takes them."""
_PICKLES = (".pt", ".pth", ".pkl", ".pickle")
_HOLDS_PICKLES = (b"PK", b"\x80")
"""How PyTorch's files begin, a zip archive's or a pickle's first bytes; MindSpore's begin otherwise."""


def is_pickle(path):
    """Whether a file, whatever its name, is PyTorch's, as Lightning's .ckpt are."""
    with open(path, "rb") as file:
        return file.read(2).startswith(_HOLDS_PICKLES)


def from_pickle(path):
    """The line that turns a PyTorch state dict into a file that any command reads."""
    return (
        f'python -c "import torch, safetensors.torch as s; s.save_file({{n: t.detach().clone() for n, t in '
        f"torch.load('{path}', weights_only=True).items()}}, '{_beside(path)}')\""
    )


def other_programs(path):
    """What a message adds where a file or folder is of a program whose weights are not read; else ""."""
    names = sorted(os.listdir(path)) if os.path.isdir(path) else [os.path.basename(path)]
    folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
    for name in names:
        ending = os.path.splitext(name)[1]
        if ending in _ENDINGS:
            return (
                f'; transformers 4 turns {name} into one that is: python -c "import transformers as t; '
                f"t.{_architecture(folder)}.from_pretrained('{folder}', {_ENDINGS[ending]})"
                f".save_pretrained('NEW_FOLDER')\""
            )
    for name in names:  # after those: a trainer's optimizer.pt may lie beside them
        file = os.path.join(folder, name)
        if name.endswith(_PICKLES) or name.endswith(".ckpt") and os.path.isfile(file) and is_pickle(file):
            return f"; {name} is PyTorch's; a state dict becomes one that is read by: {from_pickle(file)}"
    return ""


def _beside(path):
    return os.path.join(os.path.dirname(path), "model.safetensors")


def _architecture(folder):
    """Hugging Face's class of the network in a folder."""
    config = os.path.join(folder, "config.json")
    names = (
        read_json(config, "network configuration").get("architectures") if os.path.isfile(config) else None
    )
    first = names[0] if isinstance(names, list) and names else "BertModel"
    return re.sub(r"^(TF|Flax)", "", str(first))
