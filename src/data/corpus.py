"""A text corpus to the rows of general distillation (GD): files -> documents -> blocks -> tokens -> packed
rows, in order.

Everything streams. The calling process reads documents and groups them into blocks of a few MiB; `BlockPool`
turns each block into rows in its processes and hands them back in order. A block's rows depend on its text,
its number and the `Recipe` alone, so neither the number of processes nor an interruption changes a byte.
`ShardFolder` keeps what is finished.

Legend: D documents, M sentences, T tokens of a block (special ones not included), R rows, W words.
"""

import bz2
import codecs
import contextlib
import fcntl
import gzip
import html
import io
import json
import lzma
import os
import re
import shutil
import tempfile
import zlib
from bisect import bisect_left, bisect_right
from dataclasses import asdict, dataclass
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np

from src.data.pool import OrderedPool
from src.data.records import (
    INFO_FILE,
    SCHEMA_FILE,
    DatasetInfo,
    Examples,
    RecordWriter,
    check_mindrecord,
    check_tfrecord,
    offsets_of,
)
from src.data.tokenization import Tokenizer, truncate_pair
from src.errors import UserError
from src.files import make_folder, read_json, replacing, sample_checksum, write_json

FOLDER = "gd"
"""Where the records go inside output_dir, and the data set's task name."""
_MIB = 1 << 20
# Text packed at a time: bounds the memory; rows are shuffled, and random next texts drawn, within a block.
_LARGEST_BLOCK = 4 * _MIB
_SMALLEST_BLOCK = 256 << 10
_PIECES = 4  # a document is cut at a block's fourth part: others are left to draw random next texts from
_DOCUMENT_BYTES = 128  # memory a document takes besides its text, which counts where it has two words
_LONGEST_JSON = 16 * _MIB  # bytes of a JSON line, which must be held whole


def is_corpus_task(name):
    """Whether `name` means general distillation: gd or general_distill, in any case."""
    return re.sub(r"[-_\s]", "", str(name)).lower() in ("gd", "generaldistill", "generaldistillation")


@dataclass(frozen=True)
class Recipe:
    """What decides the rows of a text, besides the tokenizer."""

    max_seq_length: int
    """Longest row in tokens, special ones included."""
    short_seq_prob: float
    """Share of the documents that are packed into shorter rows."""
    next_sentence: bool
    """Rows are pairs of texts, half of them with a random second one; false: rows are one text."""
    dupe_factor: int
    """Times the corpus is packed, each time with other random choices."""
    masked_lm_prob: float
    """Share of a row's tokens that are masked."""
    seed: int
    """Of every random choice."""

    @property
    def budget(self):
        """Tokens of text a row has room for."""
        return self.max_seq_length - (3 if self.next_sentence else 2)


# --- which files --------------------------------------------------------------------------------------------

_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_ZSTANDARD = b"\x28\xb5\x2f\xfd"


class CorpusFile(NamedTuple):
    """One file of the corpus."""

    path: str
    name: str
    """Relative to the input that was given: the same after the corpus has moved."""
    size: int
    """Bytes on disk."""


def find_files(inputs):
    """The files of a corpus: files as they are, folders walked in sorted order without hidden and empty
    files.

    Args:
        inputs (sequence of str): paths of files and folders.

    Returns:
        list of CorpusFile

    Raises:
        UserError: a path does not exist, is empty or no text that can be read (see `_refuse_foreign`).
    """
    files = []
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
            _refuse_foreign(file.path, raw.peek(512))
    return files


def _refuse_foreign(path, start):
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


def _walk(folder):
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


# --- documents ----------------------------------------------------------------------------------------------


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
        files (list of CorpusFile): as `find_files` gives them.
        bad_rows (BadRows): what happens at a line that is not UTF-8, not JSON or outside the `<doc>` blocks.
        piece_bytes (int): longer documents are cut into pieces of about this size, at line ends where there
            are any.
    """

    def __init__(self, files, bad_rows, piece_bytes):
        self._files, self._bad_rows, self._piece_bytes = files, bad_rows, piece_bytes
        self._finished_bytes, self._finished_lines, self._raw = 0, 0, None
        self._path, self._line = "", 0  # the current file, and how many of its lines are done

    @property
    def position(self):
        """Bytes of the files, as they are on disk, read so far."""
        return self._finished_bytes + (self._raw.tell() if self._raw else 0)

    @property
    def lines(self):
        """Lines read so far."""
        return self._finished_lines + self._line

    def documents(self):
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

    def _read(self, file):
        start = file.peek(1 << 12)
        _refuse_foreign(self._path, start)  # of a compressed file nobody has seen them yet
        if start.startswith(codecs.BOM_UTF8):
            file.read(len(codecs.BOM_UTF8))
        start = start.removeprefix(codecs.BOM_UTF8).lstrip()
        if start.startswith(b"<doc "):
            return self._wiki_documents(_lines(file, self._piece_bytes))
        if re.match(rb'\{\s*"', start):
            return self._json_documents(file)
        return self._plain_documents(_lines(file, self._piece_bytes))

    def _plain_documents(self, lines):
        for blank, group in groupby(lines, bytes.isspace):
            if blank:
                self._line += sum(line.endswith(b"\n") for line in group)
                continue
            for parts, continues in self._pieces(group):
                yield Document(self._decode(parts), continues)

    def _wiki_documents(self, lines):
        for line in lines:
            self._line += 1
            title = re.match(rb'<doc .*\btitle="(.*)"\s*>', line)
            if line.startswith(b"<doc "):
                body = self._body(lines, self._line)
                title = html.unescape(title[1].decode("utf-8", "replace")) if title else ""
                for parts, continues in self._pieces(body):
                    yield Document(_article(self._decode(parts), "" if continues else title), continues)
                self._line += 1
            elif not line.isspace():
                self._bad_rows.add(
                    f"{self._path}, line {self._line}: text outside the <doc> blocks that the file starts "
                    "with"
                )

    def _body(self, lines, start):
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

    def _json_documents(self, file):
        while line := file.readline(_LONGEST_JSON):
            self._line += 1
            if len(line) == _LONGEST_JSON and not line.endswith(b"\n"):
                self._bad_rows.add(
                    f"{self._path}, line {self._line}: a JSON line of more than {_LONGEST_JSON // _MIB} MiB"
                )
                while line and not line.endswith(b"\n"):
                    line = file.readline(_LONGEST_JSON)
                continue
            if line.isspace():
                continue
            try:
                value = json.loads(line)
                text, title = value["text"].encode("utf-8"), str(value.get("title", ""))
            except (
                ValueError,
                LookupError,
                TypeError,
                AttributeError,
                RecursionError,
            ):  # ValueError: half a surrogate pair too
                self._bad_rows.add(f'{self._path}, line {self._line}: not a JSON object with a string "text"')
                continue
            for parts, continues in self._pieces(_lines(io.BytesIO(text), self._piece_bytes)):
                yield Document(
                    _article(b"".join(parts).decode("utf-8"), "" if continues else title), continues
                )

    def _pieces(self, lines):
        """(lines of one piece, whether it continues the one before) of one document's lines."""
        parts, size, continues = [], 0, False
        for line in lines:
            if parts and size + len(line) > self._piece_bytes:
                yield parts, continues
                parts, size, continues = [], 0, True
            parts.append(line)
            size += len(line)
        if parts:
            yield parts, continues

    def _decode(self, parts):
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


def _decompressed(raw):
    start = raw.peek(6)
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            return io.BufferedReader(opener(raw), 1 << 18)  # its lines are found in C
    return raw


def _lines(file, longest):
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


def _last_character(data):
    """Where the last character of UTF-8 bytes starts; their end if that is no UTF-8."""
    for at in range(len(data) - 1, max(len(data) - 5, 0), -1):
        if data[at] & 0xC0 != 0x80:
            return at
    return len(data)


def _article(text, title):
    """WikiExtractor's text without its HTML entities, and without its first line where that is the title."""
    text = html.unescape(text)
    first, _, rest = text.lstrip().partition("\n")
    return rest if title and first.strip() == title.strip() else text


# --- blocks -------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """Consecutive documents that are packed together."""

    number: int
    documents: list
    """list of Document"""
    read_bytes: int
    """Bytes of the files, as they are on disk, read for it."""
    lines: int
    """Lines read for it."""


def block_sizes(recipe, shard_mb):
    """(bytes of text in a block, blocks in a shard of about `shard_mb` MiB of text, duplicates counted)."""
    # Smaller where a shard is small, or where every text gives several times as many rows.
    size = max(_SMALLEST_BLOCK, min(_LARGEST_BLOCK, shard_mb * _MIB) // recipe.dupe_factor)
    return size, max(1, shard_mb * _MIB // (size * recipe.dupe_factor))


def read_blocks(files, bad_rows, size):
    """The `Block`s of about `size` bytes of text of some `CorpusFile`s; `bad_rows` as in `CorpusReader`."""
    reader = CorpusReader(files, bad_rows, size // _PIECES)
    number, documents, held, position, lines = 0, [], 0, 0, 0
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


# --- sentences and tokens -----------------------------------------------------------------------------------

# A full stop after one of these, or after a single letter (an initial, e.g., U.S.), ends no sentence.
_ABBREVIATIONS = (
    "Mr Mrs Ms Dr Prof Rev Hon Gen Col Maj Capt Cpt Cmdr Lt Sgt Gov Sen Rep Pres St Mt Ft Jr Sr vs cf al "
    "ca no No Nos Vol vol Fig fig pp Op op Ed ed Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec"
).split()
_NOT_ABBREVIATED = "".join(
    rf"(?<!\b(?:{'|'.join(sorted(words))})\.)"  # one a length: what a look-behind matches has a fixed width
    for _, words in groupby(sorted(_ABBREVIATIONS, key=len), len)
)
_END = re.compile(
    rf"[.!?](?<!\b[A-Za-z]\.){_NOT_ABBREVIATED}[.!?]*[\"')\]”’»]*[ \t]+(?=[\"'(\[“‘«]*[A-Z0-9À-ÖØ-ÞΑ-ΩА-Я])"
)
_CHINESE_END = re.compile(r"[。！？]+[”’」』）)]*")

_CHINESE_WORDS = re.compile(r"[^ \n!-/:-@\[-`{-~\u4e00-\u9fff]+|[!-/:-@\[-`{-~\u4e00-\u9fff]|\n")
_SENTENCE_END, _DOCUMENT_END = "\n", "\n\n"  # the latter is no word: divide_words never gives it
_BATCH_WORDS = 8192  # looked up at a time: few enough to be still in the processor's cache
_MOST_WORDS, _MOST_CHARACTERS = 1 << 18, 1 << 22  # remembered, with some 150 bytes a word


def split_sentences(text):
    """`text` with a line feed after every sentence; line feeds that are there stay."""
    text = _END.sub(lambda end: end[0] + "\n", text)
    return (
        _CHINESE_END.sub(lambda end: end[0] + "\n", text) if any(mark in text for mark in "。！？") else text
    )


def divide_words(text):
    """Pieces whose tokens, one after the other, are the text's, and a piece for each line feed.

    Google's tokenizer divides text at white space, around every punctuation mark and around every Chinese
    character. This divides at
    spaces only, which is by far the quickest, and in Chinese text at the other places too (not all of them):
    any division at some of these places leaves whole words. Frequent pieces are what matters.
    """
    if "。" in text or "，" in text:
        return _CHINESE_WORDS.findall(text)
    return text.replace("\n", " \n ").split(" ")


class Sentences(NamedTuple):
    """The tokens of a block's documents; documents without any token are left out."""

    tokens: np.ndarray
    """int32 (T,)"""
    bounds: np.ndarray
    """int64 (M + 1,): sentence i is `tokens[bounds[i]:bounds[i + 1]]`, never empty."""
    documents: np.ndarray
    """int64 (D + 1,): document j is the sentences `documents[j]` to `documents[j + 1]`."""
    origins: np.ndarray
    """int64 (D,), ascending: pieces of one document have the same number; 0 is one that began in the block
    before.
    """


class _Numbers(dict):
    """{word: its number}; a new word takes the next number and is kept in `unseen`."""

    def __init__(self):
        super().__init__({_SENTENCE_END: 0, _DOCUMENT_END: 1})
        self.unseen = []

    def __missing__(self, word):
        self[word] = number = len(self)
        self.unseen.append(word)
        return number


class WordTokenizer:
    """`Tokenizer` for much text: the ids of words seen before are remembered, which is some ten times as
    fast.

    Args:
        tokenizer (Tokenizer): whose ids it gives.
    """

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self._forget()

    def _forget(self):
        self._numbers, self._characters = _Numbers(), 0
        self._ids, self._starts, self._counts = (
            np.zeros(0, np.int32),
            np.zeros(2, np.int64),
            np.zeros(2, np.int64),
        )
        # The tokens of word n are _ids[_starts[n]:][:_counts[n]].

    def encode(self, documents):
        """The `Sentences` of some `Document`s."""
        numbers, words = [], []
        for document in documents:
            words += divide_words(split_sentences(document.text))
            words.append(_DOCUMENT_END)
            if len(words) > _BATCH_WORDS:
                numbers.append(self._number(words))
                words = []
        numbers = np.concatenate([*numbers, self._number(words)])
        self._learn()
        counts = self._counts[numbers]  # (W,)
        tokens = self._ids[_spans(self._starts[numbers], counts)]
        if len(self._numbers) > _MOST_WORDS or self._characters > _MOST_CHARACTERS:
            self._forget()

        ends = np.flatnonzero(numbers <= 1)  # of sentences
        lengths = np.diff(np.cumsum(counts)[ends], prepend=0)
        last = numbers[ends] == 1  # of its document
        sentences = np.bincount(
            (np.cumsum(last) - last)[lengths > 0], minlength=len(documents)
        )  # of each document
        origins = np.cumsum([not document.continues for document in documents])
        return Sentences(
            tokens,
            offsets_of(lengths[lengths > 0]),
            offsets_of(sentences[sentences > 0]),
            origins[sentences > 0],
        )

    def _number(self, words):
        return np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words))

    def _learn(self):
        """Take in the tokens of the words that were new."""
        unseen, self._numbers.unseen = self._numbers.unseen, []
        ids, counts = [self._ids], []
        for start in range(0, len(unseen), 4096):  # the Rust library's own objects are large
            tokens = self._tokenizer.token_ids(unseen[start : start + 4096])
            ids.append(np.fromiter(chain.from_iterable(tokens), np.int32))
            counts += map(len, tokens)
        self._ids = np.concatenate(ids)
        self._counts = np.append(self._counts, np.array(counts, np.int64))
        self._starts = np.cumsum(self._counts) - self._counts
        self._characters += sum(map(len, unseen))


def _spans(starts, counts):
    """The indices of spans one after the other: `starts[0], starts[0] + 1, ...` (`counts[0]` of them),
    `starts[1]`, ...
    """
    ends = np.cumsum(counts)
    return np.repeat(starts - ends + counts, counts) + np.arange(counts.sum())


# --- packing ------------------------------------------------------------------------------------------------


class Packed(NamedTuple):
    """What one block gives."""

    examples: Examples
    """Its rows, shuffled: `[CLS] text [SEP]` or `[CLS] text [SEP] next [SEP]`, with labels (0: really next,
    1: random) in the latter.
    """
    documents: int
    sentences: int
    cut: int
    """Sentences longer than a row, which were cut into several."""
    tokens: int
    """Of the text, each counted once."""


class Packer:
    """Blocks to rows.

    Args:
        vocab_tokens (list of str), lower_case (bool): as for `Tokenizer`; with [MASK] where tokens are
            masked.
        recipe (Recipe): how.
    """

    def __init__(self, vocab_tokens, lower_case, recipe):
        tokenizer = Tokenizer(vocab_tokens, lower_case)
        self._words, self._recipe, self._vocab_size = WordTokenizer(tokenizer), recipe, len(vocab_tokens)
        self._cls, self._sep = tokenizer.cls_id, tokenizer.sep_id
        self._mask = vocab_tokens.index("[MASK]") if recipe.masked_lm_prob else None

    def pack(self, number, documents):
        """The `Packed` rows of block `number`, a list of `Document`s."""
        recipe, rng = self._recipe, np.random.default_rng([self._recipe.seed, number])
        whole = self._words.encode(documents)
        sentences = cut_sentences(whole, recipe.budget)
        rows = np.concatenate([pack_rows(sentences, recipe, rng) for _ in range(recipe.dupe_factor)])
        examples = self._examples(sentences.tokens, rows[rng.permutation(len(rows))])
        if recipe.masked_lm_prob and len(rows):
            self._mask_tokens(examples, rng)
        lengths, begun = np.diff(whole.bounds), np.unique(whole.origins[whole.origins > 0])
        return Packed(
            examples,
            len(begun),
            len(lengths),
            int(np.count_nonzero(lengths > recipe.budget)),
            len(whole.tokens),
        )

    def _examples(self, tokens, rows):
        """The `Examples` of rows as `pack_rows` gives them."""
        first, end, second, second_end, random = rows.T
        one = np.ones(len(rows), np.int64)
        paired = one if self._recipe.next_sentence else one * 0
        # Five spans a row, of the tokens with [CLS] and [SEP] before them: [CLS], text, [SEP], next text,
        # [SEP].
        starts = np.stack([one * 0, first + 2, one, second + 2, one], axis=1)
        counts = np.stack([one, end - first, one, second_end - second, paired], axis=1)  # (R, 5)
        input_ids = np.concatenate([np.array([self._cls, self._sep], np.int32), tokens])[
            _spans(starts.ravel(), counts.ravel())
        ]
        segments = np.stack([counts[:, :3].sum(axis=1), counts[:, 3:].sum(axis=1)], axis=1)  # (R, 2)
        segment_ids = np.repeat(np.tile(np.array([0, 1], np.int32), len(rows)), segments.ravel())
        return Examples(
            input_ids,
            segment_ids,
            offsets_of(counts.sum(axis=1)),
            random.astype(np.int32) if self._recipe.next_sentence else None,
        )

    def _mask_tokens(self, examples, rng):
        """BERT's masking, in place: of the chosen tokens 80 % become [MASK], 10 % a random token, 10 % stay.

        As in Google's code, each row has its length times masked_lm_prob of them, rounded and at least one.
        """
        ids, lengths = examples.input_ids, examples.lengths
        text = (ids != self._cls) & (ids != self._sep)
        keys = np.where(text, rng.random(len(ids)) / 2, 0.75) + np.repeat(np.arange(len(lengths)), lengths)
        order = np.argsort(keys)  # row after row, the row's text in random order before its special tokens
        wanted = np.maximum(1, np.rint(lengths * self._recipe.masked_lm_prob)).astype(np.int64)
        wanted = np.minimum(wanted, np.add.reduceat(text, examples.offsets[:-1], dtype=np.int64))
        chosen = order[_spans(examples.offsets[:-1], wanted)]
        kind = rng.random(len(chosen))
        ids[chosen[kind < 0.8]] = self._mask
        random = chosen[kind >= 0.9]
        ids[random] = rng.integers(0, self._vocab_size, len(random))


def cut_sentences(sentences, longest):
    """`Sentences` with those of more than `longest` tokens cut into several."""
    lengths = np.diff(sentences.bounds)
    pieces = -(-lengths // longest)
    within = _spans(np.zeros(len(pieces), np.int64), pieces)  # a piece's number in its sentence
    lengths = np.minimum(longest, np.repeat(lengths, pieces) - within * longest)
    return sentences._replace(bounds=offsets_of(lengths), documents=offsets_of(pieces)[sentences.documents])


def pack_rows(sentences, recipe, rng):
    """Sentences to rows, document by document, as in Google's create_pretraining_data.py.

    With `short_seq_prob` a document's rows are aimed at a length drawn from 2 to the full one. Without next
    sentences a row takes whole sentences as long as they fit, so that every token is in exactly one row.

    Args:
        sentences (Sentences): none longer than `recipe.budget`.
        recipe (Recipe), rng (numpy.random.Generator)

    Returns:
        int64 (R, 5): the text's first token and end, the next text's (0, 0: none), 1 where the next text is a
            random one.
    """
    bounds, documents = sentences.bounds.tolist(), sentences.documents.tolist()
    # Documents first[j] to end[j] are document j and the other pieces of the same one: no random next text
    # comes from there.
    first = np.searchsorted(sentences.origins, sentences.origins).tolist()
    end = np.searchsorted(sentences.origins, sentences.origins, side="right").tolist()
    rows, draw = [], rng.random
    for number in range(len(documents) - 1):
        target = recipe.budget
        if draw() < recipe.short_seq_prob:
            target = 2 + int(draw() * (recipe.budget - 1))
        here = bounds, documents[number], documents[number + 1], target
        if recipe.next_sentence:
            rows += _pairs(*here, (documents, first[number], end[number]), draw)
        else:
            rows += _singles(*here)
    rows = np.array(rows, np.int64).reshape(-1, 5)
    return _truncated(rows, recipe.budget, rng) if recipe.next_sentence else rows


def _singles(bounds, at, last, target):
    while at < last:
        end = max(bisect_right(bounds, bounds[at] + target, at + 1, last + 1) - 1, at + 1)
        yield bounds[at], bounds[end], 0, 0, 0
        at = end


def _pairs(bounds, at, last, target, others, draw):
    """Sentences are collected until there are `target` tokens, and divided at a random one into text and next
    text. In half of the rows (and where there is one sentence) the next text is replaced by sentences of
    another document, and what it held is used again.
    """
    while at < last:
        end = bisect_left(bounds, bounds[at] + target, at + 1, last)
        middle = at + 1 + int(draw() * (end - at - 1))
        if end - at > 1 and draw() >= 0.5:
            yield bounds[at], bounds[middle], bounds[middle], bounds[end], 0
            at = end
        else:
            start, limit = _random_sentences(*others, draw)
            wanted = target - (bounds[middle] - bounds[at])
            yield (
                bounds[at],
                bounds[middle],
                bounds[start],
                bounds[bisect_left(bounds, bounds[start] + wanted, start + 1, limit)],
                1,
            )
            at = middle


def _random_sentences(documents, first, end, draw):
    """(a random sentence, the end of its document) of any document but `first` to `end`; of these where there
    are no others.
    """
    others = len(documents) - 1 - (end - first)
    chosen = int(draw() * (others or end - first))
    if others and chosen >= first:
        chosen += end - first
    start, limit = documents[chosen], documents[chosen + 1]
    return start + int(draw() * (limit - start)), limit


def _truncated(rows, budget, rng):
    """Rows (R, 5) cut to `budget` tokens of text: of the longer text first, each token at its front or its
    end by chance.
    """
    lengths = rows[:, [1, 3]] - rows[:, [0, 2]]  # (R, 2)
    long = np.flatnonzero(lengths.sum(axis=1) > budget)
    kept = np.array([truncate_pair(*pair, budget) for pair in lengths[long].tolist()], np.int64).reshape(
        -1, 2
    )
    rows[long[:, None], [0, 2]] += rng.binomial(lengths[long] - kept, 0.5)
    rows[long[:, None], [1, 3]] = rows[long[:, None], [0, 2]] + kept
    return rows


class BlockPool(OrderedPool):
    """`Packer.pack` over a stream of blocks in several processes.

    Args:
        packer (tuple): the `Packer`'s arguments. num_workers (int): processes, 1 or more.
    """

    def __init__(self, packer, num_workers):
        super().__init__(Packer, packer, "pack", num_workers)

    def map(self, blocks):
        """(`Packed`, `Block` without its documents) of each block, as `OrderedPool.map` does."""
        return super().map(
            ((block.number, block.documents), block._replace(documents=())) for block in blocks
        )


# --- the folder ---------------------------------------------------------------------------------------------

PLAN_FILE, SHARDS_FILE = "gd_plan.json", "shards.jsonl"
_OURS = re.compile(
    rf"{re.escape(PLAN_FILE)}|{re.escape(SHARDS_FILE)}|{re.escape(INFO_FILE)}|{re.escape(SCHEMA_FILE)}|"
    r"train-\d{5,}\.(mindrecord(\.db)?|tf_record)|\.writing-.*"
)
_LAYOUT = 2  # of the rows: to be raised with every change of this module that changes them


def make_plan(files, vocab_sha256, lower_case, dataset_type, shard_mb, recipe):
    """Everything that determines the bytes of the records, as a dict for JSON.

    Lines that are skipped (skip_bad_rows) are not in it: a run without it never gets past one, so that what
    either has made is the same.
    """
    inputs = [f"{file.name}, {file.size} bytes, {sample_checksum(file.path)[:16]}" for file in files]
    return {
        "layout": _LAYOUT,
        "vocab_sha256": vocab_sha256,
        "do_lower_case": lower_case,
        "dataset_type": dataset_type,
        "shard_mb": shard_mb,
        **asdict(recipe),
        "inputs": inputs,
    }


class ShardFolder:
    """The numbered record files of one plan, finished ones kept from run to run.

    `gd_plan.json` says what is made, `shards.jsonl` has a line for each finished shard, `dataset.json` comes
    last.

    Args:
        folder (str): new, empty, or from an earlier run.
        plan (dict): as `make_plan` gives it.

    Raises:
        UserError: the folder holds anything else, or records of another plan.
    """

    def __init__(self, folder, plan):
        self.folder, self._plan = folder, plan
        self.shards = {}
        """{number: the shard's line} of the finished shards."""
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise UserError(f"output_dir: {folder} is a file")
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        foreign = [name for name in names if not _OURS.fullmatch(name)]
        if foreign or (names and PLAN_FILE not in names):
            raise UserError(
                f"output_dir: {folder} holds {(foreign or names)[0]} and is no earlier result of general "
                "distillation's prepare_data.py; move it away or choose another output_dir"
            )
        if names:
            self._check_plan(read_json(os.path.join(folder, PLAN_FILE), "the plan"))
            self._read_shards()
        info = DatasetInfo.load(folder)
        self.complete = info is not None and info.splits["train"]["files"] == self.files
        """Whether nothing is left to do."""

    def _check_plan(self, begun):
        for key, value in self._plan.items():
            before = begun.get(key)
            if isinstance(value, list) and isinstance(before, list) and value != before:
                at = next(
                    (at for at, pair in enumerate(zip(before, value)) if pair[0] != pair[1]),
                    min(len(before), len(value)),
                )
                key, (before, value) = (
                    f"{key}[{at}]",
                    (items[at] if at < len(items) else None for items in (before, value)),
                )
            if before != value:
                raise UserError(
                    f"output_dir: {self.folder} was begun with {key} {json.dumps(before)}, now it is "
                    f"{json.dumps(value)}; continue with what it was begun with, or choose another "
                    "output_dir"
                )

    def _read_shards(self):
        """Take over the lines whose files are there."""
        path = os.path.join(self.folder, SHARDS_FILE)
        if not os.path.exists(path):
            return
        try:
            with open(path, encoding="utf-8") as file:
                lines = [json.loads(line) for line in file]
            self.shards = {
                line["number"]: line for line in lines if all(self._is_whole(name) for name in line["files"])
            }
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(f"{path} is damaged; remove {self.folder} and run again") from error

    def _is_whole(self, name):
        path = os.path.join(self.folder, name)
        try:
            (check_tfrecord if self._plan["dataset_type"] == "tfrecord" else check_mindrecord)(path)
        except UserError:  # missing, cut, or without its index: it is made again
            return False
        return True

    def discard(self):
        """Take away what stands for a corpus without rows, so that another input is not refused."""
        for name in (PLAN_FILE, SHARDS_FILE):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(self.folder, name))

    @contextlib.contextmanager
    def only_writer(self):
        """While this lasts, no other process writes into the folder.

        Raises:
            UserError: another one does.
        """
        make_folder(self.folder)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"output_dir: another prepare_data.py is writing {self.folder}; wait for it, or "
                    "choose another output_dir"
                ) from error
            except OSError as error:  # a file system without locks
                print(
                    f"{self.folder} cannot be locked ({error.strerror}); let no other prepare_data.py "
                    "write there",
                    flush=True,
                )
            yield
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def shard(self, number):
        """Yield a `Shard` to fill; on success it is finished: its files are in their place and `shards.jsonl`
        has its line.
        """
        self._begin()
        # MindRecord files carry their own names inside: written under the final name, in a folder of their
        # own.
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".writing-") as temporary:
            shard = Shard(
                temporary, f"train-{number:05d}", self._plan["dataset_type"], self._plan["max_seq_length"]
            )
            yield shard
            shard.close()
            data = [shard.writer.name] if shard.writer else []
            for name in sorted(
                os.listdir(temporary), key=lambda name: name in data
            ):  # the data last: it has its index then
                os.replace(os.path.join(temporary, name), os.path.join(self.folder, name))
        line = {"number": number, "files": data, **shard.counts, "lengths": shard.lengths.tolist()}
        self.shards = dict(sorted({**self.shards, number: line}.items()))
        with (
            replacing(os.path.join(self.folder, SHARDS_FILE)) as path,
            open(path, "w", encoding="utf-8") as file,
        ):
            file.writelines(json.dumps(line) + "\n" for line in self.shards.values())

    def _begin(self):
        """Before the first shard: the plan, and none of what a killed run has left."""
        if os.path.exists(os.path.join(self.folder, PLAN_FILE)):
            for name in os.listdir(self.folder):
                if name.startswith(".writing-") and os.path.isdir(os.path.join(self.folder, name)):
                    shutil.rmtree(os.path.join(self.folder, name))
        else:
            write_json(os.path.join(self.folder, PLAN_FILE), self._plan)

    def total(self, key):
        """The sum of `rows`, `documents`, `sentences`, `cut` or `tokens` over the finished shards."""
        return sum(line[key] for line in self.shards.values())

    @property
    def lengths(self):
        """Rows by their length in tokens: int64 (max_seq_length + 1,)."""
        return np.sum([line["lengths"] for line in self.shards.values()], axis=0)

    @property
    def files(self):
        """Names of the record files, in order."""
        return [name for line in self.shards.values() for name in line["files"]]


class Shard:
    """One record file being written; a shard without rows has no file."""

    def __init__(self, folder, stem, dataset_type, max_seq_length):
        self._file = folder, stem, dataset_type
        self.writer = None
        self.counts = {"rows": 0, "documents": 0, "sentences": 0, "cut": 0, "tokens": 0}
        self.lengths = np.zeros(max_seq_length + 1, np.int64)

    def write(self, packed):
        """Append one block's `Packed`."""
        examples = packed.examples
        if len(examples):
            self.writer = self.writer or RecordWriter(*self._file, regression=False)
            self.writer.write(examples)
        self.lengths += np.bincount(examples.lengths, minlength=len(self.lengths))
        self.counts["rows"] += len(examples)
        for key in ("documents", "sentences", "cut", "tokens"):
            self.counts[key] += getattr(packed, key)

    def close(self):
        """Finish the file."""
        if self.writer:
            self.writer.close()
