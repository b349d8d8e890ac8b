"""The one place that knows about devices, ranks and seeds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mindspore as ms
import numpy as np

from src.compiler import Compiler
from src.errors import UserError, one_line, shown
from src.terminal import say

if TYPE_CHECKING:
    from src.settings.shared import DeviceConfig, GroupConfig

_DEVICES = ("Ascend", "GPU", "CPU")


def _usable(target):
    return target == "CPU" or getattr(ms.hal, "is_available", lambda _: False)(target)


def choose_device(target: str) -> str:
    """`target`, or for `auto` the first of Ascend, GPU and CPU that this MindSpore can use.

    Raises:
        UserError: the device named cannot be used here.
    """
    if target == "auto":
        return next(name for name in _DEVICES if _usable(name))
    if not _usable(target):
        raise UserError(
            f"device_target: this machine has no {target} that MindSpore {ms.__version__} can use; "
            f"use --device_target {choose_device('auto')}"
        )
    return target


def use_device(target: str, device_id: int = 0) -> str:
    """Graph mode on the device `target` ("auto": see `choose_device`), number `device_id`; returns the
    device's name.
    """
    device = choose_device(target)
    if device == "CPU" and device_id:
        print(f"device_id: CPU has only 0, {device_id} is ignored", flush=True)
    ms.set_device(device, device_id if device != "CPU" else 0)
    ms.set_context(mode=ms.GRAPH_MODE)
    if device == "CPU":
        # Operators outside of graphs are then run by the thread that calls them. Else three threads pass each
        # on and spin for one another, which takes most of the processor's time. Graphs are as fast.
        ms.runtime.launch_blocking()
    return device


@dataclass(frozen=True)
class Group:
    """The processes that train together, and this one's place among them."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """How many there are."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the results."""
        return self.rank == 0


ALONE = Group()
# What our launchers, msrun and mpirun set.
_LAUNCHED = ("MS_ROLE", "RANK_TABLE_FILE", "OMPI_COMM_WORLD_SIZE")


def join_group(config: GroupConfig, device: str) -> Group:
    """The `Group` of this process; with `config.distribute` true, MindSpore's communication is started first
    (HCCL, NCCL or, on CPU, its own).

    Args:
        config (GroupConfig): distribute, device_num. device (str): its name, as `set_up` returned it.

    Raises:
        UserError: no launcher started this process, the others cannot be reached, or they are not device_num.
    """
    if not config.distribute:
        if config.device_num > 1:
            raise UserError(
                f"device_num is {config.device_num} but distribute is false: start the job with "
                f"scripts/run_distributed_gd_cpu.sh (or _gpu, _ascend)"
            )
        return Group()
    if not any(name in os.environ for name in _LAUNCHED):
        raise UserError(
            "distribute: no launcher started this process, so it has no others to train with; use "
            "scripts/run_distributed_gd_cpu.sh (or _gpu, _ascend), or --distribute false"
        )
    from mindspore import communication

    try:
        communication.init()
    except RuntimeError as error:
        raise UserError(
            f"distribute: the processes of the job cannot reach each other on {device}: "
            f"{one_line(error)[:300]}"
        ) from error
    group = Group(communication.get_rank(), communication.get_group_size())
    _compiler.join(group.rank, group.size)
    if config.device_num not in (1, group.size):
        raise UserError(
            f"device_num is {config.device_num} but the launcher started {group.size} process(es)"
        )
    ms.set_auto_parallel_context(
        parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True, device_num=group.size
    )
    return group


def same_everywhere(number: int, group: Group) -> bool:
    """Whether an int below 2^24 is the same in every process of a `Group`; all of them must ask."""
    if group.size == 1:
        return True
    mine = np.zeros(group.size, np.float32)
    mine[group.rank] = number
    everybody = ms.ops.AllReduce()(ms.Tensor(mine)).asnumpy()  # each process adds zeros to the others' places
    return bool((everybody == everybody[0]).all())


def environment_number(*names: str, default: int) -> int:
    """The first of the environment variables `names` that is set, as an int."""
    for name in names:
        if os.environ.get(name):
            try:
                return int(os.environ[name])
            except ValueError as error:
                raise UserError(
                    f"the environment variable {name} must be a whole number, not {shown(os.environ[name])}"
                ) from error
    return default


def set_up(config: DeviceConfig, seed: int, distribute: bool = False) -> str:
    """Graph mode on the chosen device, every random generator seeded.

    Args:
        config (DeviceConfig): device and its number.
        seed (int): for weights, dropout and shuffling.
        distribute (bool): in a group each process has its own device, whose number its launcher says.

    Returns:
        The device's name.
    """
    device, number = choose_device(config.device_target), config.device_id
    if distribute:  # CPU has only one for all
        names = ("DEVICE_ID", "OMPI_COMM_WORLD_LOCAL_RANK")
        number = 0 if device == "CPU" else environment_number(*names, default=number)
    use_device(device, number)
    if device == "CPU":
        _compiler.prepare(config.enable_graph_kernel is not False, config.compile_cache)
    elif config.enable_graph_kernel is True:
        ms.set_context(enable_graph_kernel=True)
    set_seed(seed)
    return device


def set_seed(seed: int) -> None:
    """Seed MindSpore, which seeds NumPy; nothing draws from Python's own generator."""
    ms.set_seed(seed)


def compute_type(name: str, device: str) -> ms.Type:
    """The MindSpore type for a `compute_type` setting: auto is float16 on Ascend and GPU, float32 on CPU."""
    if name == "auto":
        name = "float32" if device == "CPU" else "float16"
    return {"float32": ms.float32, "float16": ms.float16}[name]


_compiler = Compiler(say)


def run(title: str, cell: ms.nn.Cell, *inputs: Any) -> Any:
    """`cell(*inputs)`. A graph that this needs and that is not there yet is compiled before, as `set_up` was
    told: fused, and kept for the next run. `title` says what, as in "student step, 8 x 128".
    """
    return _compiler.run(title, cell, *inputs)


def compile_seconds() -> float:
    """Seconds that this process has spent with compiling."""
    return _compiler.seconds
