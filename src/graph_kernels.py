"""Graph-kernel fusion on CPU: MindSpore's AKG makes one loop of many small operators.

`graph_kernel_flags` stays unset. A float32 step of 6 layers at 8 x 128 took 0.64 to 0.70 s, and its first
call 22 to 25 s, with any of opt_level 1 and 3, reduce_fuse_depth, enable_vectorization, enable_expand_ops,
disable_expand_ops, enable_recompute_fusion, and with none. enable_parallel_fusion made the W2A8 step slower:
1.04 s instead of 0.73.
"""

import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile

import mindspore as ms
import numpy as np

import src

ROOM = 64 << 20
"""Bytes that the compiler's folders must have free: on a full disk it never answers."""


def missing() -> str:
    """What AKG needs and this machine lacks, with the way to get it; "" if nothing."""
    if src.THREADS_SPIN:
        return "MindSpore was imported before src; import src first, or set OMP_WAIT_POLICY=PASSIVE"
    if importlib.util.find_spec("decorator") is None:
        return "the Python package decorator is missing; pip install decorator"
    if shutil.which("g++") is None:
        return "there is no g++ on the PATH; install it (apt-get install g++)"
    return ""


def no_room(folder: str) -> str:
    """Which of the places that AKG and g++ write to, `folder` and the one for temporary files, is too full;
    "" if none.
    """
    for place in (folder, tempfile.gettempdir()):
        try:
            free = shutil.disk_usage(place).free
        except OSError as error:  # somebody has removed it
            return f"{place} cannot be written ({error.strerror})"
        if free < ROOM:
            return f"{place} has {free >> 20} MiB free, and building fused kernels takes up to {ROOM >> 20}"
    return ""


def first_line(error: Exception) -> str:
    """Of MindSpore's message; the rest is its call stack."""
    return next((line for line in str(error).splitlines() if line.strip("- ")), type(error).__name__)


def start(folder: str) -> str:
    """Start AKG, which MindSpore runs as a process of its own, by fusing a tiny graph.

    That process keeps the working folder and the output it was started with, and writes into both: so this
    process is in `folder`, with its output in a file there, for the second or two that it takes.

    Returns:
        "" or why it does not work.
    """
    ms.set_context(enable_graph_kernel=True)
    try:
        with _inside(folder):
            given = ms.Tensor(np.ones((2, 8), np.float32))
            _Probe()(given).asnumpy()
    except (RuntimeError, OSError) as error:
        ms.set_context(enable_graph_kernel=False)
        return f"MindSpore's kernel compiler does not work here ({first_line(error)})"
    return ""


class _Probe(ms.nn.Cell):
    def construct(self, x):  # (2, 8)
        return ms.ops.exp(x * 2.0) / (x * x + 3.0)


@contextlib.contextmanager
def _inside(folder):
    """The working folder is `folder`, and what is printed goes to a file in it."""
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as after:

        def opened(handle):
            after.callback(os.close, handle)
            return handle

        before = opened(os.open(".", os.O_RDONLY))
        log = opened(os.open(os.path.join(folder, "akg.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        after.callback(os.fchdir, before)
        os.chdir(folder)
        for number in (1, 2):
            after.callback(os.dup2, opened(os.dup(number)), number)
            os.dup2(log, number)
        after.callback(sys.stderr.flush)
        after.callback(sys.stdout.flush)
        yield
