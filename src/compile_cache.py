"""Compiled graphs, kept between runs in a folder of the user's.

    FOLDER/KEY/      one graph: MindSpore's file of it, and the sums that show damage
    FOLDER/KEY-kernels/   the machine code of its fused kernels, likewise
    FOLDER/work-*/   of a process that runs: what MindSpore itself reads and writes

MindSpore numbers the graphs of a process and looks for file number n when it compiles its n-th, whatever
that is. So its folder is this process's own, and holds only the file of the very graph that comes next.
Kernels of a graph that was read have other names than those of the same graph compiled, so they are kept by
the second run, and the third one is the first that builds none. (The first cannot read its own: a process
that missed one file reads none.)
"""

import contextlib
import functools
import glob
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Dict

import mindspore as ms

from src.errors import UserError
from src.files import ROOT, cache_folder, checksum, replacing, write_json
from src.fingerprint import Unknown, fingerprint
from src.json_file import read_json

LARGEST = 2 << 30
"""Bytes of all graphs together; the ones unused for longest are removed beyond it."""
_OWN_ENTRY, _OWN_WORK = re.compile("[0-9a-f]{40}(-kernels)?"), re.compile(r"work-(\d+)-\w+")
_SUMS, _GRAPH = "sums.json", "graph.mindir"
_DEPENDENCIES = "compile_dependency.hash"
"""MindSpore's own, of the program's files; one for all graphs of a process, written with the first."""
_KERNELS, _BUILT = "akg_kernel_meta", "-kernels"


def folder_of(setting: str) -> str:
    """The folder that a `compile_cache` setting means; "" for none."""
    if setting in ("", "off"):
        return ""
    return cache_folder("graphs") if setting == "auto" else os.path.abspath(os.path.expanduser(setting))


@functools.cache
def program() -> str:
    """Text of what a graph depends on besides its cell: our code, the versions of what compiles it, and the
    processor, which kernels are built for.
    """
    digest = hashlib.sha256()
    script = os.path.realpath(sys.argv[0])
    sources = sorted(glob.glob(os.path.join(ROOT, "src", "**", "*.py"), recursive=True))
    for path in [*sources, *([script] if os.path.isfile(script) else [])]:
        with open(path, "rb") as file:
            digest.update(path.encode() + file.read())
    processor: str | list[str] = platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:  # Linux only
        processor = sorted({line for line in file if line.startswith(("model name", "flags"))})
    versions = ms.__version__, platform.python_version()
    return repr((digest.hexdigest(), versions, processor, os.cpu_count()))


def _is_left_over(name):
    """Whether a folder is the working one of a process that is no more."""
    found = _OWN_WORK.fullmatch(name)
    return found is not None and not os.path.exists(f"/proc/{found[1]}")


class CompileCache:
    """The folder, and this process's place in it.

    Args:
        folder (str): created where it is missing. say (callable): takes a notice.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, folder: str, say: Callable[[str], None] = print):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.folder, self.say, self.program = folder, say, program()
        self.work = tempfile.mkdtemp(dir=folder, prefix=f"work-{os.getpid()}-")
        self.rank, self.size, self._number = 0, 1, 0

    def _key(self, cell, inputs, fused):
        """The name of the graph that `cell` compiles to for `inputs`; "" where not all it holds is known."""
        try:
            text = fingerprint(cell, inputs)
        except Unknown:
            return ""
        facts = self.program, text, fused, self.rank, self.size, ms.get_seed()
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:40]

    def compile(self, cell: ms.nn.Cell, inputs: Sequence[object], fused: bool) -> None:
        """Compile `cell` for `inputs` from the graph that is kept of it; else keep the one compiled.

        `fused` (bool) says whether operators are fused.
        """
        key = self._key(cell, inputs, fused)
        if not key:
            cell.compile(*inputs)
            return
        found = self._fetch(key)
        built = found and fused and self._fetch(key + _BUILT)
        ms.set_context(enable_compile_cache=True)
        try:
            cell.compile(*inputs)
            if not found:
                self._keep(key, self._graph_files())
            elif fused and not built:
                self._keep(key + _BUILT, self._kernel_files())
        finally:
            ms.set_context(enable_compile_cache=False)
            self._clear()

    def close(self) -> None:
        """Remove this process's own files."""
        shutil.rmtree(self.work, ignore_errors=True)

    def _graphs(self):
        return os.path.join(self.work, f"rank_{self.rank}", "graph_cache")

    def _fetch(self, key):
        """Put a kept graph where MindSpore looks for it; False where there is none, or a damaged one."""
        entry = os.path.join(self.folder, key)
        if not os.path.isdir(entry):
            return False
        try:
            sums = read_json(os.path.join(entry, _SUMS), "the list of files", Dict[str, str])
            if any(checksum(os.path.join(entry, name)) != value for name, value in sums.items()):
                raise UserError("a checksum differs")
        except (UserError, FileNotFoundError) as error:
            if os.path.isdir(entry):  # else another process has just removed it
                self.say(f"compile_cache: {entry} is damaged and removed ({error})")
                shutil.rmtree(entry, ignore_errors=True)
            return False
        except OSError:  # as another user's
            return False
        try:
            with contextlib.suppress(OSError):
                os.utime(entry)
            for name in sums:
                self._place(os.path.join(entry, name), name)
        except (UserError, OSError) as error:
            self.say(f"compile_cache: a kept graph is not used: {error}")
            self._clear(compiled=False)
            return False
        return True

    def _place(self, path, name):
        folder = self._graphs() if name in (_GRAPH, _DEPENDENCIES) else os.path.join(self.work, _KERNELS)
        own = f"compile_cache_{self._number}.mindir" if name == _GRAPH else name
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(os.path.join(folder, own)):  # what is there for earlier graphs is the same
            with replacing(os.path.join(folder, own)) as temporary:
                shutil.copyfile(path, temporary)

    def _written(self):
        return glob.glob(os.path.join(self._graphs(), "compile_cache_*.mindir"))

    def _graph_files(self):
        """{name: path} of what MindSpore wrote for the graph just compiled; {} where it could not."""
        written = self._written()
        if len(written) != 1:
            return {}
        self._number = int(written[0].rpartition("_")[2].partition(".")[0])
        return {_GRAPH: written[0], _DEPENDENCIES: os.path.join(self._graphs(), _DEPENDENCIES)}

    def _kernel_files(self):
        """{name: path} of all kernels of this process: which of them are the graph's own is not known."""
        paths = glob.glob(os.path.join(self.work, _KERNELS, "Fused*"))
        return {os.path.basename(path): path for path in paths}

    def _keep(self, key, files):
        """Copy `files` into an entry; whole or not at all."""
        if not files:
            return
        new, entry = os.path.join(self.work, "new"), os.path.join(self.folder, key)
        try:
            os.mkdir(new)
            for name, path in files.items():
                shutil.copyfile(path, os.path.join(new, name))
            write_json(os.path.join(new, _SUMS), {name: checksum(path) for name, path in files.items()})
            os.rename(new, entry)
        except (OSError, UserError) as error:
            if not os.path.isdir(entry):  # else another process was first
                self.say(f"compile_cache: a graph is not kept: {error}")
        finally:
            shutil.rmtree(new, ignore_errors=True)
        self._bound(key)

    def _clear(self, compiled=True):
        """Leave no graph's file where a later compilation could take it for its own."""
        for path in self._written():
            os.remove(path)
        self._number += compiled

    def _bound(self, newest):
        """Remove the graphs unused for longest while all are larger than `LARGEST`, and what killed processes
        left a week ago. What has another name is not ours and stays.
        """
        graphs, removed = [], 0
        for entry in os.scandir(self.folder):
            with contextlib.suppress(OSError):  # another process removes them too
                used = entry.stat().st_mtime
                if _OWN_ENTRY.fullmatch(entry.name):
                    size = sum(file.stat().st_size for file in os.scandir(entry.path))
                    graphs.append((entry.name != newest, -used, size, entry.path))
                elif time.time() - used > 7 * 86400 and _is_left_over(entry.name):
                    shutil.rmtree(entry.path, ignore_errors=True)
        total = 0
        for older, _, size, path in sorted(graphs):
            total += size
            if older and total > LARGEST:
                shutil.rmtree(path, ignore_errors=True)
                removed += 1
        if removed:
            self.say(f"compile_cache: {removed} graphs unused for longest are removed from {self.folder}")
