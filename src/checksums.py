"""Whether files are still what was written: their lengths and SHA-256, noted beside them.

A file up to `SMALL` bytes is hashed on every opening, which takes milliseconds; a larger one once a day and
machine: what was found is kept in a folder of the user's under the file's identity, and the processes of one
job wait for the one that hashes. hashlib takes 1.6 to 1.8 GB/s (Zen 4, one core).
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, TypedDict, TypeVar

from msgspec import Struct

from src.errors import UserError
from src.files import cache_folder, checksum, write_json
from src.json_file import Count, Digest, checked, read_json

T = TypeVar("T")

SMALL = 64 << 20
_FRESH, _OLD = 86400, 30 * 86400  # seconds: a digest counts so long, an unused entry is kept so long


class Noted(TypedDict):
    """What is noted of a file."""

    bytes: Count
    sha256: Digest


def note(path: str) -> Noted:
    """What to note of a file just written."""
    return Noted(bytes=os.path.getsize(path), sha256=checksum(path))


def notes(folder: str) -> dict[str, Noted]:
    """{name: `Noted`} of the files in a folder."""
    return {name: note(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}


def check(path: str, noted: Noted, advice: str) -> None:
    """Raise a `UserError` where a file is not what was noted of it.

    Args:
        noted (Noted): of it. advice (str): what to do then, after a semicolon.
    """
    size = os.path.getsize(path)
    if size != noted["bytes"]:
        raise UserError(f"{path} is damaged: it has {size:,} bytes, not {noted['bytes']:,}; {advice}")
    if digest_of(path) != noted["sha256"]:
        raise UserError(f"{path} is damaged: its SHA-256 is not the one noted when it was written; {advice}")


def digest_of(path: str) -> str:
    """SHA-256 (hexadecimal) of a file; of a large one as it was found within the last day, where its length,
    time and place on the disk are still the same.
    """
    if os.path.getsize(path) <= SMALL:
        return checksum(path)
    with entry_of(path) as entry:
        found = entry.value(_FRESH)
        if not found:
            found = checksum(path)
            entry.keep(found)
        return found


class _Sealed(Struct):
    """A JSON file with a checksum inside."""

    content: Any
    sha256: Digest


def write_sealed(path: str, value: object) -> None:
    """Write the JSON file that `read_sealed` reads, atomically. Keys are texts."""
    write_json(path, {"content": value, "sha256": _sha256(value)})


def read_sealed(path: str, what: str, shape: type[T]) -> T:
    """What `write_sealed` has written, as a `shape` has it; arguments as of `read_json`.

    Raises:
        UserError: it is missing, damaged, or of another shape.
    """
    found = read_json(path, what, _Sealed)
    if _sha256(found.content) != found.sha256:
        raise UserError(f"{what} {path} is damaged: its checksum differs from the one stored in it")
    return checked(found.content, shape, f"{what} {path}")


def _sha256(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def entry_of(path: str, purpose: str = "") -> "Iterator[Entry]":
    """Yield the `Entry` of a file, locked: another process waits here until this one is done with it.

    Args:
        purpose (str): entries of different ones have nothing to do with each other.
    """
    entry = Entry(path, purpose)
    try:
        yield entry
    finally:
        entry.close()


class Entry:
    """What is known of a file as it lies there, for other processes and later runs. Where nothing can be
    kept, nothing is known.
    """

    def __init__(self, path: str, purpose: str):
        state = os.stat(path)
        identity = f"{state.st_dev} {state.st_ino} {state.st_size} {state.st_mtime_ns} {purpose}"
        self._file: BinaryIO | None = None
        try:
            folder = cache_folder("seen")
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._path = os.path.join(folder, hashlib.sha256(identity.encode()).hexdigest()[:40])
            # Unbuffered: what a full disk did not take would be written again as it is closed.
            self._file = open(self._path, "a+b", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError:  # no home, a full disk, a file system without locks
            self.close()

    def value(self, seconds: float = _OLD) -> str:
        """The digest that was kept within so many seconds; "" for none."""
        if not self._file or time.time() - os.fstat(self._file.fileno()).st_mtime > seconds:
            return ""
        self._file.seek(0)
        found = self._file.read(100).decode(errors="replace")
        return found if re.fullmatch("[0-9a-f]{64}", found) else ""

    def keep(self, digest: str) -> None:
        """Keep a digest."""
        if not self._file:
            return
        with contextlib.suppress(OSError):  # a full disk: then it is hashed again
            self._file.truncate(0)
            self._file.write(digest.encode())
        _sweep(os.path.dirname(self._path))

    def touch(self) -> None:
        """It was used, and is kept on."""
        if self._file:
            os.utime(self._path)

    def close(self) -> None:
        """Let others have it."""
        if self._file:
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)  # a child of this process may have it open, too
            self._file.close()
            self._file = None


@functools.cache  # once a process
def _sweep(folder):
    """Remove the entries that were not used for long."""
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):  # another process removes them too
            if time.time() - entry.stat().st_mtime > _OLD:
                os.remove(entry.path)
