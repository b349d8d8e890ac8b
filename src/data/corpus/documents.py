"""Files to documents."""

from __future__ import annotations

import bz2
import codecs
import gzip
import html
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, BinaryIO, NamedTuple

from src.data.corpus.files import CorpusFile, refuse_foreign
from src.data.readers.rows import BadRows
from src.errors import UserError
from src.json_file import parse

_LONGEST_JSON = 16 << 20  # bytes of a JSON line, which must be held whole
_OPENERS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}


class Document(NamedTuple):
    """A document or, where it is long, one piece of it."""

    text: str
    continues: bool
    """It is not the first piece of its document."""


class CorpusReader:
    """The documents of a corpus, in the order of its files; compressed files are known by their first bytes.

    A file is one of: plain text with blank lines between documents; WikiExtractor's `<doc ...>` blocks; JSON
    lines with a "text" (and a "title"), which is WikiExtractor's other form. In the latter two, HTML entities
    become characters and a first line that repeats the title is dropped.

    Args:
        files: as `find_files` gives them.
        bad_rows: what happens at a line that is not UTF-8, not JSON or outside the `<doc>` blocks.
        piece_bytes: longer documents are cut into pieces of about this size, at line ends where there are
            any.
    """

    def __init__(self, files: Iterable[CorpusFile], bad_rows: BadRows, piece_bytes: int):
        self._files, self._bad_rows, self._piece_bytes = files, bad_rows, piece_bytes
        self._finished_bytes, self._finished_lines = 0, 0
        self._raw: io.BufferedReader | None = None
        self._path, self._line = "", 0  # the current file, and how many of its lines are done

    @property
    def position(self) -> int:
        """Bytes of the files, as they are on disk, read so far."""
        return self._finished_bytes + (self._raw.tell() if self._raw else 0)

    @property
    def lines(self) -> int:
        """Lines read so far."""
        return self._finished_lines + self._line

    def documents(self) -> Iterator[Document]:
        """Every `Document` that is not blank.

        Raises:
            UserError: a compressed file is truncated or damaged, a malformed line (see `bad_rows`).
        """
        for file in self._files:
            self._path, self._line = file.path, 0
            try:
                with open(file.path, "rb") as self._raw:
                    yield from (
                        document for document in self._read(_decompressed(self._raw)) if document.text.strip()
                    )
            except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
                if getattr(error, "errno", None):  # the system's fault, not the content's
                    raise
                raise UserError(f"input: {file.path} is truncated or damaged: {error}") from error
            self._raw = None
            self._finished_bytes += file.size
            self._finished_lines, self._line = self.lines, 0

    def _read(self, file: io.BufferedReader) -> Iterator[Document]:
        start = file.peek(1 << 12)
        refuse_foreign(self._path, start)  # of a compressed file nobody has seen them yet
        if b"\r" in start[:-1] and b"\n" not in start:
            file = io.BufferedReader(_LineFeeds(file), 1 << 18)
        if start.startswith(codecs.BOM_UTF8):
            file.read(len(codecs.BOM_UTF8))
        start = start.removeprefix(codecs.BOM_UTF8).lstrip()
        if start.startswith(b"<doc "):
            return self._wiki_documents(_lines(file, self._piece_bytes))
        if re.match(rb'\{\s*"', start):
            return self._json_documents(file)
        return self._plain_documents(_lines(file, self._piece_bytes))

    def _plain_documents(self, lines: Iterator[bytes]) -> Iterator[Document]:
        for blank, group in groupby(lines, bytes.isspace):
            if blank:
                self._line += sum(line.endswith(b"\n") for line in group)
                continue
            for parts, continues in self._pieces(group):
                yield Document(self._decode(parts), continues)

    def _wiki_documents(self, lines: Iterator[bytes]) -> Iterator[Document]:
        for line in lines:
            self._line += 1
            if line.startswith(b"<doc "):
                body = self._body(lines, self._line)
                named = re.match(rb'<doc .*\btitle="(.*)"\s*>', line)
                title = html.unescape(named[1].decode("utf-8", "replace")) if named else ""
                for parts, continues in self._pieces(body):
                    yield Document(_article(self._decode(parts), "" if continues else title), continues)
                self._line += 1
            elif not line.isspace():
                self._bad_rows.add(
                    f"{self._path}, line {self._line}: text outside the <doc> blocks that the file starts "
                    "with"
                )

    def _body(self, lines: Iterator[bytes], start: int) -> Iterator[bytes]:
        """The lines up to </doc> of the <doc ...> in line `start`."""
        for number, line in enumerate(lines, start + 1):
            if line.startswith(b"</doc>"):
                return
            if line.startswith(b"<doc "):
                self._bad_rows.add(f"{self._path}, line {number}: a <doc> before the </doc> of the one above")
                self._line += 1
            else:
                yield line
        self._bad_rows.add(f"{self._path}, line {start}: a <doc> without </doc>; the file is cut off")

    def _json_documents(self, file: io.BufferedReader) -> Iterator[Document]:
        while line := file.readline(_LONGEST_JSON):
            self._line += 1
            if len(line) == _LONGEST_JSON and not line.endswith(b"\n"):
                self._bad_rows.add(
                    f"{self._path}, line {self._line}: a JSON line of more than {_LONGEST_JSON >> 20} MiB"
                )
                while line and not line.endswith(b"\n"):
                    line = file.readline(_LONGEST_JSON)
                continue
            if line.isspace():
                continue
            try:
                value = parse(line)
                text, title = value["text"].encode("utf-8"), str(value.get("title", ""))
            # ValueError: half a surrogate pair too.
            except (ValueError, LookupError, TypeError, AttributeError):
                self._bad_rows.add(f'{self._path}, line {self._line}: not a JSON object with a string "text"')
                continue
            for parts, continues in self._pieces(_lines(io.BytesIO(text), self._piece_bytes)):
                yield Document(
                    _article(b"".join(parts).decode("utf-8"), "" if continues else title), continues
                )

    def _pieces(self, lines: Iterable[bytes]) -> Iterator[tuple[list[bytes], bool]]:
        """(lines of one piece, whether it continues the one before) of one document's lines."""
        parts: list[bytes] = []
        size, continues = 0, False
        for line in lines:
            if parts and size + len(line) > self._piece_bytes:
                yield parts, continues
                parts, size, continues = [], 0, True
            parts.append(line)
            size += len(line)
        if parts:
            yield parts, continues

    def _decode(self, parts: list[bytes]) -> str:
        """The text of consecutive lines of the file; lines that are not UTF-8 go to `bad_rows`."""
        data = b"".join(parts)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text, line = "", self._line + 1
            for part in parts:
                try:
                    text += part.decode("utf-8")
                except UnicodeDecodeError:
                    self._bad_rows.add(f"{self._path}, line {line}: not UTF-8 text")
                line += part.endswith(b"\n")
        self._line += data.count(b"\n")
        return text


class _LineFeeds(io.RawIOBase):
    """A binary file with line feeds in the place of carriage returns, with which old Macs ended lines."""

    def __init__(self, file):
        super().__init__()
        self._file = file

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self._file.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)


def _decompressed(raw: io.BufferedReader) -> io.BufferedReader:
    start = raw.peek(6)
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            return io.BufferedReader(opener(raw), 1 << 18)  # its lines are found in C
    return raw


def _lines(file: BinaryIO, longest: int) -> Iterator[bytes]:
    """The lines of a binary file, ends included; one of more than `longest` bytes comes in parts, cut at a
    space if it has one.
    """
    rest = b""
    while line := file.readline(longest - len(rest)):
        if rest:
            line, rest = rest + line, b""
        if len(line) >= longest and not line.endswith(b"\n"):
            at = line.rfind(b" ") + 1 or _last_character(line)
            line, rest = line[:at], line[at:]
        yield line
    if rest:
        yield rest


def _last_character(data: bytes) -> int:
    """Where the last character of UTF-8 bytes starts; their end if that is no UTF-8."""
    for at in range(len(data) - 1, max(len(data) - 5, 0), -1):
        if data[at] & 0xC0 != 0x80:
            return at
    return len(data)


def _article(text: str, title: str) -> str:
    """WikiExtractor's text without its HTML entities, and without its first line where that is the title."""
    text = html.unescape(text)
    first, _, rest = text.lstrip().partition("\n")
    return rest if title and first.strip() == title.strip() else text
