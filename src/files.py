"""Files appear whole or not at all: they are written under a temporary name beside the target and renamed.

What a link leads to is replaced, the link stays.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from src.errors import STANDS_FOR, WRITE_FAULTS, UserError, listed
from src.json_file import parse

if TYPE_CHECKING:
    import numpy as np

_UMASK = os.umask(0o077)  # it cannot be asked for without being set
os.umask(_UMASK)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # of the repository
WRITING, _REPLACED = ".writing-", ".replaced-"
"""How the names of folders begin in which something is being written, or waits until it is replaced."""
_HOST = re.sub(r"\W", "_", platform.node())
_OURS = re.compile(r"\.(writing|replaced)-[a-z0-9_]{8}-(?P<host>\w*)")
_WEEK = 7 * 86400
"""Seconds after which another machine's are nobody's: in a network's folder it may not see our locks."""


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yield a path with `path`'s name in a new temporary folder beside it; on success the file written there
    becomes `path`, with the mode that the user's umask wants, on failure it is removed.
    """
    path, target = os.path.abspath(path), _target(path)
    folder, name = os.path.split(target)
    with working_folder(folder, path) as work, _naming(path, work):
        temporary = os.path.join(work, name)
        yield temporary
        set_mode(temporary)
        os.replace(temporary, target)


@contextlib.contextmanager
def working_folder(folder: str, path: str = "") -> Iterator[str]:
    """Yield a new folder in `folder`, for what this process writes there; it is removed afterwards. Before
    the first one, what killed processes left in `folder` is.

    Args:
        path: what will be written, for the message of a `UserError`.
    """
    make_folder(folder)
    if not _OURS.fullmatch(os.path.basename(folder)):
        _sweep_once(folder)
    with _new_folder(folder, WRITING, path or folder) as work:
        yield work


@contextlib.contextmanager
def _new_folder(folder, prefix, path):
    """Yield a new folder in `folder`, locked before anybody could `sweep` it, and removed afterwards."""
    descriptor = None
    while descriptor is None:
        try:
            work = tempfile.mkdtemp(dir=folder, prefix=prefix, suffix=f"-{_HOST}")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error
        descriptor = _held(work)
    try:
        yield work
    finally:
        if prefix == WRITING:
            shutil.rmtree(work, ignore_errors=True)
        else:  # what could not be put back waits there for `sweep`
            with contextlib.suppress(OSError):
                os.rmdir(work)
        os.close(descriptor)


def _held(work):
    """The open descriptor of a new folder, with its lock; None where another process has swept it before."""
    try:
        descriptor = os.open(work, os.O_RDONLY)
    except FileNotFoundError:
        return None
    if _lock(descriptor) is not False and os.path.exists(work):
        return descriptor
    os.close(descriptor)
    return None


def set_mode(path: str) -> None:
    """Give a file, or a folder and all in it, the mode of a new one: libraries write some for their user
    alone.
    """
    if os.path.isdir(path):
        os.chmod(path, 0o777 & ~_UMASK)
        for entry in os.scandir(path):
            if not entry.is_symlink():
                set_mode(entry.path)
    else:
        os.chmod(path, 0o666 & ~_UMASK)


def _target(path):
    """The file that is replaced where `path` is written: what a link leads to."""
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        raise UserError(f"cannot write {path}: it is no ordinary file, which alone can be replaced")
    return target


@contextlib.contextmanager
def _naming(path, work):
    """Say of which file the disk is full: the system knows an open one by its number only, and a new one by
    its name in the folder `work`.
    """
    try:
        yield
    except OSError as error:
        known = error.filename is not None and not str(error.filename).startswith(work)
        if error.errno in WRITE_FAULTS and not known:
            error.filename, error.filename2 = path, None
        raise


@contextlib.contextmanager
def replacing_together(path: str) -> Iterator[str]:
    """As `replacing`, but all that was written in that folder takes its place beside `path`: a file, and what
    belongs to it and begins with its name.
    """
    path, target = os.path.abspath(path), _target(path)
    folder, name = os.path.split(target)
    with working_folder(folder, path) as work, _naming(path, work):
        yield os.path.join(work, name)
        for item in sorted(os.listdir(work), reverse=True):  # the file itself comes last
            new, old = os.path.join(work, item), os.path.join(folder, item)
            set_mode(new)
            _take_place(new, old)


@contextlib.contextmanager
def replacing_folder(path: str) -> Iterator[str]:
    """Yield a new temporary folder beside `path`; on success it takes `path`'s place, on failure it is
    removed. Before, what killed processes left there is.
    """
    path = os.path.realpath(path)
    parent, name = os.path.split(path)
    sweep(parent)
    with working_folder(parent, path) as work, _naming(path, work):
        temporary = os.path.join(work, name)
        os.mkdir(temporary)
        yield temporary
        set_mode(temporary)
        _take_place(temporary, path)


def _take_place(new, path):
    """Rename `new` to `path`. A folder there comes back if this fails, and by `sweep` if this is killed."""
    if not (os.path.isdir(new) and os.path.isdir(path)):
        os.replace(new, path)
        return
    parent, name = os.path.split(path)
    with _new_folder(parent, _REPLACED, path) as aside:
        old = os.path.join(aside, name)
        try:
            os.rename(path, old)
            os.rename(new, path)
        finally:
            _put_back(aside, parent)
        os.rename(old, new)  # no more to be put back, while it is being removed


def _put_back(aside, folder):
    """Move what has no successor in `folder` there again."""
    for name in os.listdir(aside):
        if not os.path.lexists(os.path.join(folder, name)):
            os.rename(os.path.join(aside, name), os.path.join(folder, name))


def _lock(descriptor: int) -> bool | None:
    """Whether this process now has the lock of an open file or folder, for as long as it is open; None where
    the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextlib.contextmanager
def locked(path: str) -> Iterator[bool]:
    """While this lasts, nobody else has the lock of `path`, a file or folder; the system takes it back
    however this process ends. Yields whether that is sure: some file systems have no locks.

    Raises:
        BlockingIOError: another process has it; the message says which one.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # what is no file does not keep us
    try:
        held = _lock(descriptor)
        if held is False:
            raise BlockingIOError(_holder(os.fstat(descriptor).st_ino))
        yield bool(held)
    finally:
        os.close(descriptor)


def _holder(inode):
    """Who has locked a file: "process 12, python train.py", or "another process" where the system does not
    say.
    """
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/locks", encoding="ascii") as file:
            locks = [line.split() for line in file]  # 1: FLOCK ADVISORY WRITE 12 08:01:1234 0 EOF
        for lock in locks:
            if lock[1] == "FLOCK" and lock[5].rpartition(":")[2] == str(inode):
                with open(f"/proc/{int(lock[4])}/cmdline", "rb") as file:
                    words = file.read().decode("utf-8", "replace").split("\0")
                return f"process {lock[4]}, {listed([' '.join(words).strip()], 80)}"
    return "another process"


def sweep(folder: str) -> None:
    """Remove what killed processes have left half-written in a folder, if it is there, and put back what they
    had moved away for it; what a living one writes is locked.
    """
    names: list[str] = []
    with contextlib.suppress(OSError):  # there is none, or it may be written to only
        names = os.listdir(folder)
    for path in (os.path.join(folder, name) for name in names):
        with contextlib.suppress(OSError):  # another process sweeps it too
            if _is_left(path):
                _sweep_away(path)


def _is_left(path):
    """Whether a path can be what a killed process of this user left; a live one's is locked."""
    found, known = _OURS.fullmatch(os.path.basename(path)), os.lstat(path)
    old = time.time() - known.st_mtime > _WEEK
    mine = stat.S_ISDIR(known.st_mode) and known.st_uid == os.geteuid()
    return found is not None and mine and (found["host"] == _HOST or old)


def _sweep_away(path):
    with locked(path) as nobodys:
        if nobodys:
            if os.path.basename(path).startswith(_REPLACED):
                _put_back(path, os.path.dirname(path))
            shutil.rmtree(path)


_sweep_once = functools.cache(sweep)  # a process writes many files to a folder


def plain_path(path: str) -> str:
    """A path of the same file for libraries that take UTF-8 only: MindSpore, ONNX Runtime, TensorFlow, Arrow.

    That is `path` itself; where a folder on its way is named by other bytes, a link in a temporary folder
    leads there, until this process ends.

    Raises:
        UserError: the file's own name is not UTF-8.
    """
    whole = os.path.abspath(path)
    if is_utf8(whole):
        return path
    folder, name = os.path.split(whole)
    if not is_utf8(name):
        raise UserError(f"{path}: this file's name is not UTF-8 text, which it must be; rename it")
    return os.path.join(link_to(folder), name)


def is_utf8(path: str) -> bool:
    """Whether a path's bytes on the disk are the UTF-8 of its text, as libraries in C++ believe."""
    try:
        return os.fsencode(path) == path.encode("utf-8")
    except UnicodeEncodeError:  # other bytes are kept as lone surrogates
        return False


@functools.cache
def link_to(folder: str) -> str:
    """A path of ASCII letters that leads to `folder` until this process ends."""
    temporary = tempfile.mkdtemp(prefix="link-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    link = os.path.join(temporary, "folder")
    os.symlink(os.path.abspath(folder), link)
    STANDS_FOR[link] = folder
    return link


def write_safetensors(path: str, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write {name: array} and {name: text} to the file `path`, the same bytes for the same contents; a
    `UserError` where the disk does not take it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(arrays, path, metadata)
        _order_metadata(path)
        set_mode(path)  # it lets nobody else read it
    except SafetensorError as error:
        raise UserError(f"{path} cannot be written: {error}") from error


def _order_metadata(path: str) -> None:
    """Sort the metadata of a safetensors file, which the library writes in an order of chance. The file
    begins with the length of its header and the header, JSON with spaces at its end.
    """
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = parse(file.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        if len(ordered) == length:  # else the library has another way to write a character
            file.seek(8)
            file.write(ordered)


def check_replaceable(path: str, key: str, own: str) -> None:
    """Raise a `UserError` where the folder `path` holds anything but files whose names match the pattern
    `own`.

    Args:
        path (str): a folder about to be replaced. key (str): the setting that named it. own (str): regular
            expression.
    """
    if os.path.isdir(path):
        foreign = sorted(name for name in os.listdir(path) if not re.fullmatch(own, name))
        if foreign:
            raise UserError(
                f"{key}: {path} holds {foreign[0]}, which this program does not write, and would be "
                "replaced; name another folder"
            )
    elif os.path.exists(path):
        raise UserError(f"{key}: {path} is a file, not a folder")


def check_apart(folder: str, key: str, inputs: Mapping[str, str]) -> None:
    """Raise a `UserError` where `folder`, which a program will write because of the setting `key`, is where
    one of its inputs lies.

    Args:
        inputs (dict): {setting: path of a file or folder, or ""}.
    """
    for name, path in inputs.items():
        own = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))  # a file, or a prefix
        if path and os.path.realpath(folder) == os.path.realpath(own):
            raise UserError(
                f"{key}: {folder} is where {name} lies, which the results would replace or mix with; name "
                "another folder"
            )


def make_folder(path: str) -> None:
    """Create `path` and its parents; a `UserError` where that is impossible."""
    try:
        os.makedirs(os.path.realpath(path), exist_ok=True)  # also where a link leads to nothing yet
    except OSError as error:
        raise UserError(f"cannot create the folder {path}: {error.strerror}") from error


def cache_folder(name: str) -> str:
    """The user's own folder for what may be lost, where XDG's rules put it.

    Raises:
        OSError: there is no home folder.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    if base.startswith("~"):
        raise OSError(errno.ENOENT, "HOME is not set", base)
    return os.path.join(base, "ternarybert-mindspore", name)


def checksum(*paths: str) -> str:
    """SHA-256 of the bytes of some files one after the other, as hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):  # noqa: B023 (called at once)
                digest.update(block)
    return digest.hexdigest()


def sample_checksum(path: str, size: int = 1 << 16) -> str:
    """SHA-256 (hexadecimal) of a file's length and its first and last `size` bytes: tells large files apart
    without reading them.
    """
    length = os.path.getsize(path)
    digest = hashlib.sha256(f"{length}\n".encode())
    with open(path, "rb") as file:
        digest.update(file.read(size))
        file.seek(max(0, length - size))
        digest.update(file.read(size))
    return digest.hexdigest()


def write_text(path: str, text: str) -> None:
    """Write a UTF-8 text file, atomically; bytes of a path that are not UTF-8 are escaped."""
    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.write(text)


def write_json(path: str, value: object) -> None:
    """Write `value` as indented UTF-8 JSON, atomically.

    Bytes of a path that are not UTF-8 come back when it is read: Python's escape of them is JSON's too.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
