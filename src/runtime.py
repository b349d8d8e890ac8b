"""The one place that knows about devices, ranks, seeds and the run folder."""
import json
import os
import random
import sys
import time

import mindspore as ms
import numpy as np

from src import config as settings_module
from src.errors import UserError
from src.files import make_folder

_DEVICES = ("Ascend", "GPU", "CPU")


def _usable(target):
    return target == "CPU" or getattr(ms.hal, "is_available", lambda _: False)(target)


def choose_device(target):
    """`target`, or for `auto` the first of Ascend, GPU and CPU that this MindSpore can use.

    Raises:
        UserError: the device named cannot be used here.
    """
    if target == "auto":
        return next(name for name in _DEVICES if _usable(name))
    if not _usable(target):
        raise UserError(f"device_target: this machine has no {target} that MindSpore {ms.__version__} can use; "
                        f"use --device_target {choose_device('auto')}")
    return target


def use_device(target, device_id=0):
    """Graph mode on the device `target` ("auto": see `choose_device`), number `device_id`; returns the device's name."""
    device = choose_device(target)
    if device == "CPU" and device_id:
        print(f"device_id: CPU has only 0, {device_id} is ignored", flush=True)
    ms.set_device(device, device_id if device != "CPU" else 0)
    ms.set_context(mode=ms.GRAPH_MODE)
    return device


def set_up(settings, seed):
    """Graph mode on the chosen device, every random generator seeded.

    Args:
        settings (DeviceConfig): device and its number.
        seed (int): for weights, dropout and shuffling.

    Returns:
        The device's name.
    """
    device = use_device(settings.device_target, settings.device_id)
    if settings.enable_graph_kernel:
        if device == "CPU":
            print("enable_graph_kernel: not available on CPU, ignored", flush=True)
        else:
            ms.set_context(enable_graph_kernel=True)
    set_seed(seed)
    return device


def set_seed(seed):
    """Seed MindSpore, NumPy and Python."""
    ms.set_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def compute_type(name, device):
    """The MindSpore type for a `compute_type` setting: auto is float16 on Ascend and GPU, float32 on CPU."""
    if name == "auto":
        name = "float32" if device == "CPU" else "float16"
    return {"float32": ms.float32, "float16": ms.float16}[name]


class RunFolder:
    """The folder of one run: `config.yaml`, `metrics.jsonl`, curves and checkpoints.

    Nothing is written before `start`: a run that is refused leaves an older run's records alone.

    Args:
        path (str): the folder.
    """

    def __init__(self, path):
        self.path = path
        self._metrics = os.path.join(path, "metrics.jsonl")

    def start(self, settings):
        """Make the folder if it is missing, write config.yaml, begin an empty metrics.jsonl.

        `config.parse` reads config.yaml back: the same command with it repeats the run.
        """
        make_folder(self.path)
        settings_module.save(settings, self.join("config.yaml"))
        open(self._metrics, "w", encoding="utf-8").close()

    def record(self, **values):
        """Append one line of JSON to metrics.jsonl, with the time in seconds since the epoch."""
        with open(self._metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 3), **values}) + "\n")

    def join(self, *names):
        """A path in the folder."""
        return os.path.join(self.path, *names)


def say(line):
    """Print a line at once, past any progress bar."""
    from tqdm import tqdm
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()
