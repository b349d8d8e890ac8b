"""The flags of programs that others published, as settings of ours: a table of names, and what reads it.

    TERNARYBERT     quant_task_glue.py and quant_task_squad.py (Huawei Noah's Ark Lab)
    NLP_ARCHITECT   nlp_architect train and run transformer_glue (Intel AI Lab), of which Q8BERT is a model

A flag has its own settings, which nothing else may give another value, and settings that follow from it
unless they are given by themselves: `--model_dir M --teacher_model T` names one teacher, T.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.errors import UserError, shown

if TYPE_CHECKING:
    from src.settings.keys import Keys

ADAM = "train_cfg.optimizer_cfg.AdamWeightDecay"
QUANTIZERS = {"2": "twn", "8": "symmetric"}
"""Of weights and embeddings, by their bits: what the published program has."""
BITS = {"ternary": "2", "q8bert": "8"}
"""Of the weights, by quantization."""


Texts = dict[str, str]
"""{setting: what a command line says of it}"""


@dataclass(frozen=True)
class Flag:
    """What a flag means here."""

    read: Callable[[str], tuple[Texts, Texts]]
    """read(its value): (settings of its own, those that follow from it); a `ValueError` with what would be
    right."""
    switch: bool = False
    """It may stand without a value and then means true."""
    unless: str = ""
    """A setting; where it is given, nothing follows from the flag."""
    says: str = ""
    """For the user, in place of the settings that it becomes."""


def to(name: str, switch: bool = False) -> Flag:
    """Another name of one of our settings."""
    return Flag(lambda value: ({name: value}, {}), switch)


def each(*names: str) -> Flag:
    """What several settings have that are not given by themselves."""
    return Flag(lambda value: ({}, dict.fromkeys(names, value)))


def one_of(values: dict[str, Texts], instead: str = "", says: str = "") -> Flag:
    """A setting that has other words here. `values`: {its value: {our setting: text}}; `says`: `Flag`'s."""

    def read(value: str) -> tuple[Texts, Texts]:
        if value not in values:
            raise ValueError(f"must be {' or '.join(values)}, not {shown(value)}{instead}")
        return values[value], {}

    return Flag(read, says=says)


def bits(first: str, *further: str) -> Flag:
    """Bits of a part of the network (`weight`, `embedding`), and of further parts."""

    def read(value: str) -> tuple[Texts, Texts]:
        if value not in QUANTIZERS:
            raise ValueError(
                f"must be 2 or 8, not {shown(value)}; for other bits give --quant_cfg.{first}_bits and "
                f"--quant_cfg.{first}_quantizer symmetric"
            )
        settings: Texts = {}
        for part in (first, *further):
            settings |= {f"quant_cfg.{part}_quantizer": QUANTIZERS[value], f"quant_cfg.{part}_bits": value}
        return {f"quant_cfg.{first}_bits": settings.pop(f"quant_cfg.{first}_bits")}, settings

    return Flag(read)


def _number(text):
    """The number in a text; the text itself where there is none."""
    try:
        return float(text)
    except ValueError:
        return text


def _epochs(value):
    number = _number(value)
    if isinstance(number, str) or not 1 <= number < 1e9 or number != int(number):
        raise ValueError(f"must be a whole number, 1 or more, not {shown(value)}")
    return {"epoch_size": str(int(number))}, {}


def _encoder(value):
    """A network that learns from the labels alone, unless there is a teacher."""
    if os.sep not in value and not os.path.exists(value):
        raise ValueError(
            f"there is no {shown(value)} here, and nothing is downloaded; give the folder of a checkpoint"
        )
    learns = {"pred_distill": "false", "intermediate_distill": "false", "is_lgt_fit": "true"}
    return {"student_model_dir": value}, learns


def only(value: str, here: str) -> Flag:
    """A constant of ours; `here` says where another value could be given, or that there is none."""

    def read(given: str) -> tuple[Texts, Texts]:
        if _number(given) != _number(value):
            raise ValueError(f"is {shown(value)} here, not {shown(given)}; {here}")
        return {}, {}

    return Flag(read, says="as it is here")


def nothing(why: str, switch: bool = True) -> Flag:
    """A flag that changes nothing here."""
    return Flag(lambda value: ({}, {}), switch, says=why)


def when_on(settings: Texts) -> Flag:
    """A switch that gives these of our settings where it is on."""
    return Flag(lambda value: (settings if value.lower() == "true" else {}, {}), switch=True)


def alone(name: str, other: str) -> Flag:
    """A switch of a loss term that there leaves the other one off."""

    def read(value: str) -> tuple[Texts, Texts]:
        return {name: value}, {other: "false"} if value.lower() == "true" else {}

    return Flag(read, switch=True)


_FIXED = "it cannot be chosen"
TERNARYBERT = {
    "teacher_model": to("teacher_model_dir"),
    "student_model": to("student_model_dir"),
    "model_dir": each("teacher_model_dir", "student_model_dir"),
    "learning_rate": to(f"{ADAM}.learning_rate"),
    "num_train_epochs": Flag(_epochs),
    "batch_size": to("train_cfg.batch_size"),
    "per_gpu_batch_size": Flag(lambda value: ({"train_cfg.batch_size": value}, {"eval_batch_size": value})),
    "eval_step": to("eval_ckpt_step"),
    "embedding_bits": bits("embedding"),  # before weight_bits: what follows from it counts more
    "student_net_cfg.embedding_bits": bits("embedding"),  # mindspore-ai/models
    "weight_bits": bits("weight", "embedding"),
    "student_net_cfg.weight_bits": bits("weight", "embedding"),
    "clip_val": each(*(f"quant_cfg.{part}_clip_value" for part in ("weight", "embedding", "activation"))),
    "pred_distill": alone("pred_distill", "intermediate_distill"),
    "intermediate_distill": alone("intermediate_distill", "pred_distill"),
    "n_best_size": only("20", _FIXED),
    "max_answer_length": only("30", _FIXED),
    "null_score_diff_threshold": only("0.0", "the commands that evaluate, export and predict take it"),
    "verbose_logging": nothing("there is one kind of log", switch=False),
}
_MODEL_TYPE = one_of(
    {"quant_bert": {"quantization": "q8bert"}}, "; run_finetune.py trains a BERT that is not quantized"
)
_OVERWRITE_CACHE = nothing("there is no cache to overwrite")
NLP_ARCHITECT = {
    "model_type": _MODEL_TYPE,
    "model_name_or_path": Flag(_encoder, unless="teacher_model_dir"),
    "evaluate_during_training": to("do_eval", switch=True),
    "evaluate": when_on({"split": "eval"}),
    "overwrite_cache": _OVERWRITE_CACHE,
    "per_gpu_train_batch_size": to("train_cfg.batch_size"),
    "per_gpu_eval_batch_size": to("eval_batch_size"),
    "gradient_accumulation_steps": to("train_cfg.gradient_accumulation_steps"),
    "max_grad_norm": to("train_cfg.max_grad_norm"),
    "weight_decay": to(f"{ADAM}.weight_decay"),
    "adam_epsilon": to(f"{ADAM}.eps"),
    "warmup_steps": one_of({"0": {f"{ADAM}.warmup_ratio": "0"}}, f"; give --{ADAM}.warmup_ratio"),
    "max_steps": only("-1", "give --num_train_epochs"),
    "logging_steps": to("log_step"),
    "save_steps": to("save_ckpt_step"),
    "no_cuda": when_on({"device_target": "CPU"}),
    "load_quantized_model": nothing("a folder with a packed model is read as one"),
    "config_name": only("", "config.json is read from the model's folder"),
    "tokenizer_name": only("", "the vocabulary is read from the model's folder"),
    "cache_dir": only("", "nothing is downloaded"),
}
_TYPE_SAID = "a model's folder says the type itself"
ANSWERS = {
    "model_path": Flag(lambda value: ({"model": value}, {"layout": "lines"})),
    "model_type": one_of({"quant_bert": {}}, f"; {_TYPE_SAID}", _TYPE_SAID),
    "evaluate": NLP_ARCHITECT["evaluate"],
    "overwrite_output_dir": nothing("earlier answers are always replaced"),
    "overwrite_cache": _OVERWRITE_CACHE,
    "per_gpu_eval_batch_size": to("batch_size"),
    "do_lower_case": nothing("a model says itself whether its text is lower-cased"),
    "no_cuda": NLP_ARCHITECT["no_cuda"],
    "load_quantized_model": NLP_ARCHITECT["load_quantized_model"],
}
"""Of nlp_architect's run, for predict.py."""


def translated(arguments: list[str], keys: "Keys", notices: list[str]) -> list[str]:
    """A command line with published flags as one of ours.

    Args:
        arguments: the command line.
        keys: the command's own. One that the published program has too means here what it says, unless
            a flag is given that only that program has.
        notices: takes one line that says what the flags became.

    Raises:
        UserError: a value is wrong, or contradicts another flag or setting.
    """
    flags = keys.published
    found, kept, settings = _sorted_out(arguments, flags)
    if not found.keys() - keys.types.keys():
        return arguments
    given = {keys.today(name): (name, value) for name, value in settings.items()}
    following: list[tuple[str, str, str]] = []
    for name, flag in flags.items():  # in the table's order
        if name in found:
            mine, more = _read(flag, name, found[name])
            for key, value in mine.items():
                _give(given, key, name, value, found)
            following += [(key, name, value) for key, value in more.items()]
    _check_bits(given, "command line")
    for key, name, value in following:
        if flags[name].unless not in given:
            given.setdefault(key, (name, value))
    new = {key: (name, value) for key, (name, value) in given.items() if name in found}
    notices.append(_told(flags, found, new, keys.types))
    return kept + [f"--{key}={value}" for key, (_, value) in new.items()]


def _sorted_out(arguments: list[str], flags: dict[str, Flag]) -> tuple[Texts, list[str], Texts]:
    """({published flag: value}, the other arguments, {setting of these: value})."""
    found: Texts = {}
    kept: list[str] = []
    settings: Texts = {}
    position = 0
    while position < len(arguments):
        argument, position = arguments[position], position + 1
        if not argument.startswith("--"):
            kept.append(argument)
            continue
        name, equals, value = argument[2:].partition("=")
        follows = not equals and position < len(arguments) and not arguments[position].startswith("--")
        value = arguments[position] if follows else value if equals else "true"
        if name not in flags:
            kept.append(argument)
            settings[name] = value
            continue
        position += follows
        if not (equals or follows or flags[name].switch):
            raise UserError(f"command line: {name} needs a value")
        if found.setdefault(name, value) != value:
            raise UserError(
                f"command line: {name} is given twice, as {shown(found[name])} and {shown(value)}"
            )
    return found, kept, settings


def _read(flag, name, value):
    try:
        return flag.read(value)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error


def _give(given, key, name, value, found):
    """Note in `given` that the flag `name` gives a setting this value."""
    before, old = given.setdefault(key, (name, value))
    if old != value:
        first, second = shown(found.get(before, old)), shown(found[name])
        raise UserError(
            f"command line: {before} {first} and {name} {second} contradict each other, for both say what "
            f"{key} is; give only one of them"
        )


def with_quantizers(settings: dict[str, Any], keys: "Keys", where: str) -> dict[str, Any]:
    """A file's settings with what its published bits (`weight_bits`, `embedding_bits`, by themselves or in a
    network's section) say of quantizers too, as on a command line.

    Args:
        settings: {dotted key: value}. keys: the command's. where: the file, for messages.

    Raises:
        UserError: such bits are neither 2 nor 8, or contradict the quantization.
    """
    given = {keys.today(name): (name, value) for name, value in settings.items()}
    following: Texts = {}
    for flag in ("weight_bits", "embedding_bits"):  # what follows from the second counts more
        name, value = given.get(f"quant_cfg.{flag}", (f"quant_cfg.{flag}", None))
        if flag in keys.published and value is not None and not name.startswith("quant_cfg."):
            following |= _read(keys.published[flag], f"{where}: {name}", str(value))[1]
    _check_bits(given, where)
    added = {key: int(value) if value.isdigit() else value for key, value in following.items()}
    return {**{key: value for key, value in added.items() if key not in given}, **settings}


def _check_bits(given, where):
    """Refuse published weight_bits that are not those of the quantization that is given too; `given` as in
    `translated`.
    """
    name, bits_given = given.get("quant_cfg.weight_bits", ("", ""))
    if name.rpartition(".")[0] != "quant_cfg" and name and "quantization" in given:
        other, quantization = given["quantization"]
        if BITS.get(quantization) != str(bits_given):
            raise UserError(
                f"{where}: {name} {bits_given} and {other} contradict each other: quantization "
                f"{quantization} has {BITS.get(quantization, 'no')} bits; give only one of them"
            )


def _told(flags, found, new, own):
    """The notice of the flags in `found` that became the settings `new`; `own` are the command's."""
    became: dict[str, list[str]] = {name: [] for name in found}
    for key, (name, value) in new.items():
        became[name].append(key if value == found[name] else f"{key} {value}")
    told = []
    for name, keys in became.items():
        if keys != [name] or name not in own:
            without = "given otherwise" if any(_read(flags[name], name, found[name])) else "as it is here"
            told.append(f"{name} ({flags[name].says or ', '.join(keys) or without})")
    return f"flags of another program, and what they are here: {'; '.join(told)}"
