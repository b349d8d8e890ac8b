"""Which settings are paths, and what they mean to a job on ModelArts.

While `enable_modelarts` is true, a relative path is taken from these folders; absolute ones stay as they are:

    DATA          data_path, the copy of data_url with its zips unpacked
    CHECKPOINTS   load_path, the copy of checkpoint_url; else data_path or this repository, where the
                  published job pages have them
    OUTPUTS       output_path, which is copied to train_url at the end
"""

import os
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from src.files import ROOT

if TYPE_CHECKING:
    from src.settings.shared import ModelArtsConfig

OfJob = TypeVar("OfJob", bound="ModelArtsConfig")

DATA = ("data_dir", "train_data_dir", "eval_data_dir", "schema_dir")
CHECKPOINTS = (
    "load_teacher_ckpt_path",
    "load_gd_ckpt_path",
    "load_td1_ckpt_path",
    "load_ckpt_path",
    "teacher_model_dir",
    "student_model_dir",
    "model_path",
    "ckpt_file",
    "vocab_file",
    "web_runtime",
)
OUTPUTS = ("output_dir", "save_ckpt_path", "file_name")
OF_ONE_START = ("resume", "overwrite_output_dir")
"""Settings of one start alone: the file that repeats a run does not have them."""
INCIDENTAL = (
    *DATA,
    *CHECKPOINTS,
    *OUTPUTS,
    *OF_ONE_START,
    *("config_path", "log_step", "save_ckpt_step", "max_ckpt_num", "profile_steps", "tensorboard"),
    *("teacher_cache_gb", "compile_cache", "enable_graph_kernel", "device_id", "dataset_type", "num_workers"),
    *("enable_modelarts", "data_url", "checkpoint_url", "train_url", "data_path", "load_path"),
    *("output_path", "need_modelarts_dataset_unzip", "modelarts_dataset_unzip_name"),
)
"""Settings that may differ when a run is resumed: of a path, what lies there may not, and of
teacher_cache_gb, whether answers are kept.
"""
# Unset, they mean something while these hold.
_WHILE = {"train_data_dir": "do_train", "eval_data_dir": "do_eval"}


def inside_copies(settings: OfJob) -> OfJob:
    """A command's settings with their relative paths inside the machine's copies."""
    names = {item.name for item in fields(settings)}
    data, checkpoints, output = settings.data_path, settings.load_path, settings.output_path
    changes: dict[str, Any] = {}
    for name in names.intersection(DATA + CHECKPOINTS + OUTPUTS):
        path = getattr(settings, name) or _unset(settings, name, names)
        if not path:
            continue
        folders = (data,) if name in DATA else (output,) if name in OUTPUTS else (checkpoints, data, ROOT)
        places = [os.path.normpath(os.path.join(folder, path)) for folder in folders]
        changes[name] = next(filter(_is_there, places), places[0])
        if name in OUTPUTS and not _is_below(changes[name], output):
            print(
                f"{name}: {path} is outside output_path ({output}) and will not be copied to train_url",
                flush=True,
            )
    return replace(settings, **changes)


def _is_there(path):
    """Whether a file or folder exists, or a TensorFlow checkpoint whose files begin so."""
    return os.path.exists(path) or os.path.exists(path + ".index")


def _is_below(path, folder):
    return os.path.join(path, "").startswith(os.path.join(os.path.normpath(folder), ""))


def _unset(settings, name, names):
    """What the setting `name` means while it is unset: its whole folder, where that is of use."""
    if name in OUTPUTS:  # save_ckpt_path is in output_dir
        return {"output_dir": ".", "file_name": "model"}.get(name, "")
    if name not in ("data_dir", *_WHILE) or not settings.data_url:
        return ""
    switch = _WHILE.get(name, "")  # data_dir always means something
    return "." if switch not in names or getattr(settings, switch) else ""
