"""Checkpoints of the published MindSpore BERT, TinyBERT and TernaryBERT: .ckpt files, as ours are."""

import re
from collections.abc import Iterable

from src.checkpoint.base import Format
from src.checkpoint.folder import ckpt_file, read_ckpt


def _has_relu(names: Iterable[str]) -> bool | None:
    """TinyBERT's and TernaryBERT's networks have it, and other names than BERT's as far as they are whole;
    where they are not, weights of the published BERT have the same names. Only that has a head of questions,
    and no ReLU.
    """
    if any(re.search(r"(^|\.)dense1\.", name) for name in names):
        return False
    known = any(re.search(r"(^|\.)(tinybert_|fit_dense\.|fake_quant_)", name) for name in names)
    return True if known else None


FORMAT = Format(
    "mindspore",
    ckpt_file,
    read_ckpt,
    layer_norm_eps=1e-7,  # mindspore.nn.LayerNorm's default
    gelu="gelu_new",
    needs_config=False,
    has_relu=_has_relu,
)
