"""Calls cells, and compiles their graphs before: fused and from the cache where that works, and aloud."""

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import mindspore as ms

from src import graph_kernels
from src.compile_cache import CompileCache, folder_of
from src.errors import UserError
from src.terminal import busy

QUIET_SECONDS = 2.0
"""A compilation shorter than this is not worth a line."""


class Compiler:
    """How this process compiles; as it is made, plainly.

    Args:
        say (callable): prints a line.
    """

    def __init__(self, say: Callable[[str], None] = print):
        self.say, self.fuse, self.alone = say, False, True
        self.cache: CompileCache | None = None
        self._started, self._work = False, ""
        self.seconds = 0.0  # spent with compiling
        self._compiled: weakref.WeakKeyDictionary[ms.nn.Cell, set[tuple]] = weakref.WeakKeyDictionary()

    def prepare(self, fuse: bool, cache: str) -> None:
        """Fuse and cache from now on, on CPU. MindSpore settles on a folder once, so a second call in a
        process changes only `fuse`.

        Args:
            fuse (bool): where it works. cache (str): a folder, "auto" for the user's own, "off".
        """
        self.fuse = fuse
        why = graph_kernels.missing() if fuse else ""
        # MindSpore's cache reads the script itself, which a Python that was told its program has not.
        if not self._work and cache not in ("", "off") and os.path.isfile(sys.argv[0]):
            self.cache = self._open(cache)
            self._work = self.cache.work if self.cache else ""
        if not self._work and fuse and not why:
            self._work = tempfile.mkdtemp(prefix="graph-kernels-")
            atexit.register(shutil.rmtree, self._work, ignore_errors=True)
        if self._work:
            os.environ["MS_COMPILER_CACHE_PATH"] = self._work  # AKG's files go there too
            os.environ.setdefault("AKG_WHITE_LIST_PATH", "/")  # else it prints "Please set tiling repo path"
            ms.set_context(compile_cache_path=self._work, enable_graph_kernel=fuse)
        if why:
            self._unfused(why)

    def _open(self, name):
        try:
            cache = CompileCache(folder_of(name), self.say)
        except OSError as error:
            where = error.filename or name
            self.say(f"compile_cache: {where} cannot be written ({error.strerror}): graphs are not kept")
            return None
        atexit.register(cache.close)
        return cache

    def join(self, rank: int, size: int) -> None:
        """This process is number `rank` of `size` that train together; their graphs are their own."""
        self.alone = size == 1
        if self.cache:
            self.cache.rank, self.cache.size = rank, size

    def run(self, title: str, cell: ms.nn.Cell, *inputs: Any) -> Any:
        """`cell(*inputs)`; a graph that is not there yet is compiled first, which `title` tells of."""
        known = self._compiled.setdefault(cell, set())
        shapes = tuple((i.shape, str(i.dtype)) if isinstance(i, ms.Tensor) else i for i in inputs)
        if (cell.training, shapes) not in known:
            started = time.monotonic()
            with aloud(title, self.say):
                self._compile(cell, inputs)
            self.seconds += time.monotonic() - started
            known.add((cell.training, shapes))
        return cell(*inputs)

    def _compile(self, cell, inputs):
        cell.check_names_and_refresh_name()  # as calling it does: a teacher and its student have equal names
        try:
            self._compile_once(cell, inputs)
        except RuntimeError as error:
            if not self.fuse:
                raise
            self._unfused(f"a graph could not be fused ({graph_kernels.first_line(error)})")
            self._compile_once(cell, inputs)

    def _compile_once(self, cell, inputs):
        stream = sys.stderr
        try:
            self._start()
            if self.cache:
                self.cache.compile(cell, inputs, self.fuse)
            else:
                cell.compile(*inputs)
        finally:
            sys.stderr = stream  # the compiler of fused kernels leaves one that has no encoding

    def _start(self):
        """Start the compiler of fused kernels, once, and go on with it as long as it has room.

        That is before a kept graph too: now and then MindSpore gives one of its kernels another name.
        """
        if self.fuse and (full := graph_kernels.no_room(self._work)):
            if not self.alone:  # the others fuse, and so round otherwise: weights would differ
                raise UserError(
                    f"enable_graph_kernel: {full}: make room there, or set it to false for all processes"
                )
            self._unfused(full)
        if self.fuse and not self._started:
            self._started = True
            why = graph_kernels.start(self._work)
            if why:
                self._unfused(why)

    def _unfused(self, why):
        self.fuse = False
        ms.set_context(enable_graph_kernel=False)
        self.say(f"enable_graph_kernel: {why}; operators are not fused, which is slower")


@contextlib.contextmanager
def aloud(title: str, say: Callable[[str], None] = print) -> Iterator[None]:
    """Tell that something compiles: on a terminal meanwhile, with the seconds, and in a line at the end."""
    started = time.monotonic()
    with busy(f"compiling {title}"):
        yield
    seconds = time.monotonic() - started
    if seconds >= QUIET_SECONDS:
        say(f"compiled {title} in {seconds:.0f} s")
