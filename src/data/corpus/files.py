"""Which files a corpus is, and which of them are no text."""

import codecs
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from src.errors import UserError

_ZSTANDARD = b"\x28\xb5\x2f\xfd"


class CorpusFile(NamedTuple):
    """One file of the corpus."""

    path: str
    name: str
    """Relative to the input that was given: the same after the corpus has moved."""
    size: int
    """Bytes on disk."""


def find_files(inputs: Sequence[str]) -> list[CorpusFile]:
    """The files of a corpus: files as they are, folders walked in sorted order without hidden and empty
    files.

    Args:
        inputs: paths of files and folders.

    Raises:
        UserError: a path does not exist, is empty or no text that can be read (see `refuse_foreign`).
    """
    files: list[CorpusFile] = []
    for given in inputs:
        if os.path.isfile(given):
            found = [given]
        elif os.path.isdir(given):
            found = [path for path in _walk(given) if os.path.getsize(path)]
        else:
            raise UserError(
                f"input: {given or 'an empty path'} "
                + (
                    "is neither a file nor a folder; pipes cannot be read, as files are read twice"
                    if os.path.exists(given)
                    else "does not exist"
                )
            )
        parent = given if os.path.isdir(given) else os.path.dirname(given)
        here = [
            CorpusFile(path, os.path.relpath(path, parent or "."), os.path.getsize(path)) for path in found
        ]
        if not any(file.size for file in here):
            raise UserError(f"input: {given} is empty")
        files += here
    for file in files:  # before any work: the last file may be hours away
        with open(file.path, "rb") as raw:
            refuse_foreign(file.path, raw.peek(512))
    return files


def refuse_foreign(path: str, start: bytes) -> None:
    """Refuse what would be packed as if it were prose, by a file's first bytes.

    Raises:
        UserError: a file of zstd or tar, a raw Wikipedia dump, or one JSON array.
    """
    text = start.removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(_ZSTANDARD):
        raise UserError(
            f"input: {path} is compressed with zstd, which is not supported; unpack it (zstd -d), or pack "
            "it with gzip, bzip2 or xz"
        )
    if start[257:262] == b"ustar":
        raise UserError(f"input: {path} is a tar archive; unpack it, and name the folder")
    if text.startswith((b"<mediawiki", b"<?xml")):
        raise UserError(
            f"input: {path} is XML, as a Wikipedia dump is; extract its text first, with WikiExtractor"
        )
    if re.match(rb"\[\s*\{", text):
        raise UserError(
            f'input: {path} is one JSON array; JSON lines are needed, an object with "text" a line'
        )


def _walk(folder: str) -> Iterator[str]:
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        if entry.startswith("."):
            continue
        if os.path.isdir(path):
            if os.path.islink(path):  # it may lead back up
                print(
                    f"input: {path} is a link to a folder and is left out; name it as an input of its own "
                    "if it belongs to the corpus"
                )
            else:
                yield from _walk(path)
        elif os.path.isfile(path):
            yield path
