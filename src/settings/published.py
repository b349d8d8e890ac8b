"""The settings of the published pages (mindspore-ai/models: TinyBERT, TernaryBERT, Q8BERT) as they are read
here: under other names, in other places, or not at all. docs/settings.md compares their defaults with ours.

A command has further old names of its own in `OLD_NAMES` of its dataclass.
"""

import re
from dataclasses import dataclass
from typing import Any

from src.errors import UserError, shown

OLD_NAMES = {
    "save_checkpoint_step": "save_ckpt_step",
    "save_checkpoint_steps": "save_ckpt_step",
    "save_ckpt_steps": "save_ckpt_step",
    "load_student_ckpt_path": "load_gd_ckpt_path",
    "max_checkpoint_num": "max_ckpt_num",
    "td_phase1_epoch": "td_phase1_epoch_size",
    "td_phase2_epoch": "td_phase2_epoch_size",
    "common_cfg": "gd_cfg",
    "gd_cfg.AdamWeightDecay": "gd_cfg.optimizer_cfg.AdamWeightDecay",
    "bert_teacher_net_cfg": "gd_teacher_net_cfg",
    "bert_student_net_cfg": "gd_student_net_cfg",
    "seed1": "seed",
    "epoch_num": "epoch_size",
    "logging_step": "log_step",
    **{
        f"{network}_net_cfg.cls_dropout_prob": f"{network}_net_cfg.classifier_dropout"
        for network in ("gd_teacher", "gd_student", "td_teacher", "td_student")
    },
    "net_cfg.cls_dropout_prob": "net_cfg.classifier_dropout",
}
"""{a key, or the beginning of dotted ones: what it is today}, of every command."""


@dataclass(frozen=True)
class NoPlace:
    """A published setting that has none here."""

    why: str
    """Said where it is left aside or refused."""
    holds: tuple[object, ...] = ()
    """Values that say what is done here anyway: nothing is lost with them."""
    refused: bool = False
    """Whether any other value is an error, and not only said."""


_NO_PLACE = {
    "description": NoPlace("the command says it"),
    "num_labels": NoPlace("the task and its data say it"),
    "task_cfg": NoPlace("the task and its data say it"),
    "seed2": NoPlace("seed, published as seed1, draws everything"),
    "cfg_cfg": NoPlace("the files' names are fixed"),
    "folder_name_under_zip_file": NoPlace("the settings of the data name their folders", ("", ".", "./")),
    "enable_profiling": NoPlace("give profile_steps, how many steps to profile", (False,), True),
    "teacher_net_cfg.hidden_dropout_prob": NoPlace("a teacher drops nothing", (0, 0.0)),
    "teacher_net_cfg.attention_probs_dropout_prob": NoPlace("a teacher drops nothing", (0, 0.0)),
    "teacher_net_cfg.cls_dropout_prob": NoPlace("a teacher drops nothing", (0, 0.0)),
    "gradient_cfg.clip_type": NoPlace("gradients are scaled to a norm, which is clip_type 1", (1,), True),
}
_NO_PLACE_IN_NETWORKS = {
    "input_mask_from_dataset": NoPlace("padding is never attended to", (True,), True),
    "token_type_ids_from_dataset": NoPlace("token types are always the data's", (True,), True),
    "enable_fused_layernorm": NoPlace("LayerNorm computes the same either way", (False,)),
    "dtype": NoPlace("weights are float32; compute_type is what is computed in", ("float32",)),
    "export": NoPlace("export.py exports", (False,), True),
    "do_quant": NoPlace("this network computes in float; train.py quantizes its student", (False,), True),
}
_NETWORK_KEY = re.compile(r"(?:\w*net_cfg\.)?(\w+)")


def without_place(key: str) -> tuple[str, NoPlace] | None:
    """(what to call it, its `NoPlace`) of a published setting (dotted), or None."""
    network = _NETWORK_KEY.fullmatch(key)
    if network and network[1] in _NO_PLACE_IN_NETWORKS:
        return key, _NO_PLACE_IN_NETWORKS[network[1]]
    title = next((name for name in _NO_PLACE if key == name or key.startswith(name + ".")), None)
    return (title, _NO_PLACE[title]) if title else None


def left_aside(key: str, value: object, where: str) -> tuple[str, str] | None:
    """(what to call it, why) of a setting without a place where it says something else than what is done
    here; else None, for then nothing is lost.

    Args:
        where: the file or "command line", for the error.

    Raises:
        UserError: it asks for what cannot be had.
    """
    found = without_place(key)
    assert found, f"{key} has a place"
    title, place = found
    if str(value).removeprefix("mstype.").lower() in (str(held).lower() for held in place.holds):
        return None
    if place.refused:
        raise UserError(f"{where}: {key} is {shown(value)}: {place.why}")
    return title, place.why


def either_gelu(flat: dict[str, Any]) -> list[str]:
    """The keys of a file's published networks that say `gelu`: the published code computes the tanh form for
    it, which a checkpoint may call gelu_new, and the checkpoint's own counts.

    Args:
        flat: {dotted key: value}; a published network is one whose types are MindSpore's (`mstype.`).
    """
    types = (key for key, value in flat.items() if isinstance(value, str) and value.startswith("mstype."))
    sections = {key.rpartition(".")[0] for key in types}
    keys = [f"{section}.hidden_act" for section in sections if section.endswith("net_cfg")]
    return sorted(key for key in keys if flat.get(key) == "gelu")
