"""Documents to blocks: what is packed at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from src.data.corpus.documents import CorpusReader, Document
from src.data.corpus.files import CorpusFile
from src.data.readers.rows import BadRows

if TYPE_CHECKING:
    from src.data.corpus.packing import Recipe  # which imports this module

_MIB = 1 << 20
# Text packed at a time: bounds the memory; rows are shuffled, and random next texts drawn, within a block.
_LARGEST_BLOCK = 4 * _MIB
_SMALLEST_BLOCK = 256 << 10
_PIECES = 4  # a document is cut at a block's fourth part: others are left to draw random next texts from
_DOCUMENT_BYTES = 128  # memory a document takes besides its text, which counts where it has two words


class Block(NamedTuple):
    """Consecutive documents that are packed together."""

    number: int
    documents: Sequence[Document]
    read_bytes: int
    """Bytes of the files, as they are on disk, read for it."""
    lines: int
    """Lines read for it."""


def block_sizes(recipe: Recipe, shard_mb: int) -> tuple[int, int]:
    """(bytes of text in a block, blocks in a shard of about `shard_mb` MiB of text, duplicates counted)."""
    # Smaller where a shard is small, or where every text gives several times as many rows.
    size = max(_SMALLEST_BLOCK, min(_LARGEST_BLOCK, shard_mb * _MIB) // recipe.dupe_factor)
    return size, max(1, shard_mb * _MIB // (size * recipe.dupe_factor))


def read_blocks(files: Iterable[CorpusFile], bad_rows: BadRows, size: int) -> Iterator[Block]:
    """The `Block`s of about `size` bytes of text of some `CorpusFile`s; `bad_rows` as in `CorpusReader`."""
    reader = CorpusReader(files, bad_rows, size // _PIECES)
    documents: list[Document] = []
    number = held = position = lines = 0
    for document in reader.documents():
        documents.append(document)
        held += _DOCUMENT_BYTES + (
            len(document.text) if document.text.isascii() else len(document.text.encode("utf-8"))
        )
        if held >= size:
            yield Block(number, documents, reader.position - position, reader.lines - lines)
            number, documents, held, position, lines = number + 1, [], 0, reader.position, reader.lines
    if documents:
        yield Block(number, documents, reader.position - position, reader.lines - lines)
