"""The last line of a run: what was made, and commands that run as they stand on it."""

from __future__ import annotations

import os
import shlex
from dataclasses import fields
from typing import TYPE_CHECKING

from src.checkpoint.architecture import config_file
from src.distill.distiller import LossTerms, incomparable
from src.errors import UserError
from src.json_file import read_json
from src.settings.network import ShapeConfig

if TYPE_CHECKING:
    from src.description import Description
    from src.settings.network import BertConfig, Known
    from src.settings.shared import DataConfig


def command(script: str, **given: str) -> str:
    """A command line; flags with an empty value are left out."""
    words = [f"--{key} {shlex.quote(str(value))}" for key, value in given.items() if value]
    return " ".join(["python", script, *words])


def reading(config: DataConfig) -> dict[str, str]:
    """Flags of how a run reads its records, for the commands after it, which read the same ones."""
    return {"label_order": ",".join(config.label_order), "schema_dir": config.schema_dir}


def flags_of(known: Known, description: Description, section: str) -> dict[str, str]:
    """Flags of what is known of a checkpoint and its configuration file does not say, for a command that
    reads it again.

    Args:
        description: as it was read; where the settings have another value, the run has only computed with
            that.
        section: that command's key of the network.
    """
    source, bert = description.source, description.bert
    beside = config_file(source if os.path.isdir(source) else os.path.dirname(source))
    told = _said(beside) if beside else {}
    names = {item.name for item in fields(ShapeConfig)}  # dropout is for each run to choose
    given = {name: value for name, value in known.net.given().items() if name in names}
    said = {name: value for name, value in given.items() if value == getattr(bert, name)}
    lacking = {name: value for name, value in said.items() if told.get(name) is None}
    flags = {f"{section}.{name}": str(value).lower() for name, value in lacking.items()}
    return {**flags, "vocab_file": known.vocab_file}


def _said(path):
    """What a configuration file says; nothing where it is gone by now."""
    try:
        return read_json(path, "a model's configuration")
    except UserError:
        return {}


def after_general_distilling(folder: str, teacher: Description, known: Known) -> str:
    """Of a student of no task in `folder`; the task and its data are the user's to name. The teacher's
    `source` is its path, and `known` is what the run's settings say of it.
    """
    data = {"task_name": "TASK", "train_data_dir": "DATA_DIR", "eval_data_dir": "DATA_DIR"}
    start = {"load_ckpt_path": teacher.source, **flags_of(known, teacher, "net_cfg")}
    makes = command("run_finetune.py", **start, **data, output_dir="TEACHER_RUN")
    models = {"load_gd_ckpt_path": folder, "load_teacher_ckpt_path": "TEACHER_DIR"}
    distils = command("run_task_distill.py", **models, **data)
    return (
        f"done: the student is in {folder}; next: with data of a task in DATA_DIR: {makes}; then, with the "
        f"folder that it names at its end: {distils}"
    )


def after_finetuning(
    task_name: str, folder: str, description: Description, train_dir: str, eval_dir: str, **reading: str
) -> str:
    """Of a network in `folder` with this `Description`, fine-tuned and evaluated on data in two folders;
    `reading` are flags of how these are read, here and below.
    """
    data = {"train_data_dir": train_dir, "eval_data_dir": eval_dir or train_dir, **reading}
    there = {"data_dir": data["eval_data_dir"], **reading}
    evaluates = command("eval.py", task_name=task_name, model_dir=folder, **there)
    distils = command("run_task_distill.py", task_name=task_name, load_teacher_ckpt_path=folder, **data)
    return (
        f"done: the network is in {folder}; evaluate it with: {evaluates}; or distil it with: {distils} "
        f"{description.student_flags}"
    )


def after_distilling(
    task_name: str,
    folder: str,
    student: Description,
    teacher: Description,
    known: Known,
    train_dir: str,
    eval_dir: str,
    **reading: str,
) -> str:
    """Of a student in `folder`; `teacher` and `known` as above."""
    eval_dir = eval_dir or train_dir
    evaluates = command("eval.py", task_name=task_name, model_dir=folder, data_dir=eval_dir, **reading)
    ternary = ""
    if train_dir == eval_dir:  # train.py takes one folder
        models = {"teacher_model_dir": folder, "student_model_dir": folder}
        if _comparable(student.bert, teacher.bert):
            said = flags_of(known, teacher, "teacher_net_cfg")
            models = {"teacher_model_dir": teacher.source, "student_model_dir": folder, **said}
        quantizes = command("train.py", task_name=task_name, **models, data_dir=train_dir, **reading)
        ternary = f"; make it ternary: {quantizes}"
    exports = command("export.py", ckpt_file=folder)
    return f"done: the student is in {folder}; evaluate it: {evaluates}{ternary}; or deploy it: {exports}"


def after_quantizing(task_name: str, folder: str, data_dir: str, batches: str, **reading: str) -> str:
    """Of a quantized student in `folder`; `batches` are flags of eval.py that give its score again."""
    evaluates = command("eval.py", task_name=task_name, model_dir=folder, data_dir=data_dir, **reading)
    exports = command("export.py", ckpt_file=folder)
    return f"done: evaluate it with: {evaluates} {batches}; or deploy it: {exports}"


def _comparable(student: BertConfig, teacher: BertConfig) -> bool:
    """Whether train.py can fit a student's layers to a teacher's."""
    terms = LossTerms(attention_loss=1.0, hidden_loss=1.0)
    return incomparable(terms, student, teacher, projected=False) is None
