"""What a frozen teacher says, kept: without dropout it says the same thing every time.

Logits are a column of the rows. Hidden states and attention scores are many times larger; they go to a file
while the first epoch runs and are read from there afterwards.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import weakref
import zlib
from typing import TYPE_CHECKING, Dict

import mindspore as ms
import numpy as np

from src.checkpoint.folder import digest
from src.compile_cache import program
from src.distill.teacher import LiveTeacher
from src.errors import UserError
from src.evaluate import predict
from src.examples import Column
from src.files import make_folder, write_json
from src.json_file import read_json
from src.terminal import say

if TYPE_CHECKING:
    from src.data.dataset import Batches, PackedRows
    from src.data.micro_batches import MicroBatch
    from src.data.steps import Steps
    from src.distill.distiller import Distiller, TeacherAnswers
    from src.examples import Examples
    from src.model import Model
    from src.nn.layers import Tensors

INDEX_FILE, ANSWERS_FILE = "index.json", "answers.bin"
_SUM = 4
"""Bytes of the CRC-32 behind each row's answers; one that is 0 says that they are not there yet."""


def with_logits(teacher: Model, batches: Batches | PackedRows) -> Examples:
    """The `Examples` of some batches with a column of the teacher's float32 logits, a row (or token) each.

    Args:
        teacher: without dropout. batches: of the training rows.
    """
    kind = teacher.description.kind
    assert kind is not None  # a task's teacher
    column = Column("teacher_logits", np.float32, kind.logits_per)
    return batches.examples.with_column(column, predict(teacher, batches, "teacher logits").logits)


class RecordLayout:
    """How the answers for one row of L tokens lie in the file: states (L, layers, H), scores (layers, heads,
    L, L), both float16, then logits (C,) or (L, C), float32, and behind them their checksum.

    Args:
        asked: what is kept. by_token: its logits are a token's.
    """

    def __init__(self, asked: TeacherAnswers, by_token: bool = False):
        config = asked.network.config
        compared = config.num_hidden_layers // asked.stride
        self.states = (compared + 1 if asked.states else 0, config.hidden_size)
        self.scores = (compared if asked.scores else 0, config.num_attention_heads)
        self.outputs = asked.network.num_labels if asked.logits else 0
        self.by_token = by_token

    def shapes(self, length: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Of the three parts."""
        logits = (length, self.outputs) if self.by_token else (1, self.outputs)
        return (length, *self.states), (*self.scores, length, length), logits

    def bytes_of(self, lengths: np.ndarray) -> np.ndarray:
        """Bytes of the record of each row, int64."""
        lengths = np.asarray(lengths, np.int64)
        logits = lengths if self.by_token else np.ones_like(lengths)
        halves = lengths * np.prod(self.states) + lengths**2 * np.prod(self.scores)
        return 2 * halves + 4 * logits * self.outputs + _SUM

    def pack(self, states: np.ndarray, scores: np.ndarray, logits: np.ndarray) -> bytes:
        """One row's record from arrays of those shapes, without its checksum."""
        halves = (np.ascontiguousarray(part, np.float16).tobytes() for part in (states, scores))
        return b"".join((*halves, np.ascontiguousarray(logits, np.float32).tobytes()))

    def unpack(self, record: bytes, length: int) -> list[np.ndarray]:
        """The three arrays of a record."""
        first, second, third = self.shapes(length)
        ends = np.cumsum([0, 2 * np.prod(first), 2 * np.prod(second), 4 * np.prod(third)])
        parts = (record[start:end] for start, end in zip(ends, ends[1:]))
        types = np.float16, np.float16, np.float32
        shapes = first, second, third
        return [np.frombuffer(*item).reshape(shape) for item, shape in zip(zip(parts, types), shapes)]


class CachedTeacher(LiveTeacher):
    """Answers from a file the rows it has been asked about before, runs the network for others and keeps what
    it says. A run that goes on finds there what it had asked before it was killed: asked anew, among other
    rows, the last bit of an answer may be another one.

    The file is read and written by offsets, not mapped: mapped pages would count as the program's memory.

    Args:
        network, layout: what is run, and how it is kept.
        examples: all rows. folder: of the two files. key: what the answers depend on.
    """

    kept = "kept in float16"

    def __init__(
        self, network: TeacherAnswers, layout: RecordLayout, examples: Examples, folder: str, key: str
    ):
        super().__init__(network)
        self.layout, self.seed = layout, zlib.crc32(key.encode())
        self.starts = np.concatenate([[0], np.cumsum(layout.bytes_of(examples.lengths))])
        path, index = os.path.join(folder, ANSWERS_FILE), os.path.join(folder, INDEX_FILE)
        self.begun = self._is_begun(path, index, key)
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | (0 if self.begun else os.O_TRUNC), 0o644)
        weakref.finalize(self, os.close, self.file)
        os.ftruncate(self.file, int(self.starts[-1]))  # a sparse file until it is written
        if not self.begun:
            write_json(index, {"key": key})
        self.full = False  # the disk, before all answers were written

    def _is_begun(self, path: str, index: str, key: str) -> bool:
        """Whether an earlier run began a cache of this very key; says why where there is one that cannot be
        used.
        """
        if not os.path.exists(index):
            return False
        try:
            found = read_json(index, "the teacher cache's index", Dict[str, str]).get("key")
        except UserError:
            found = None
        whole = os.path.exists(path) and os.path.getsize(path) == self.starts[-1]
        if found == key and whole:
            return True
        damaged = found is None or found == key
        fault = "is cut or damaged" if damaged else "is of another teacher, other rows, batches or layers"
        say(f"teacher cache: {os.path.dirname(path)} {fault}, so it is made anew")
        os.remove(index)  # it would say that what is written now is older answers
        return False

    def __call__(self, batch: MicroBatch, arrays: Tensors) -> Tensors:
        records = self._read(batch.rows)
        if records is None:
            answers = [answer.asnumpy() for answer in super().__call__(batch, arrays)]
            records = list(self._records(batch, answers))
            if not self.full:
                self._keep(batch.rows, records)
        # From records, in float16: the same numbers in every epoch, and in a run that goes on.
        return tuple(ms.Tensor(array) for array in self._assemble(batch, records))

    def _sum(self, record: bytes) -> bytes:
        """The checksum of a record under this key: those of another teacher, as long, do not pass for its."""
        return (zlib.crc32(record, self.seed) or 1).to_bytes(_SUM, "little")

    def _read(self, rows):
        """The records of some rows; None where one is not there, or not what was written."""
        records = []
        for row in rows:
            start, end = int(self.starts[row]), int(self.starts[row + 1])
            try:
                record = os.pread(self.file, end - start, start)
                damaged = any(record[-_SUM:])
            except OSError:  # a bad sector
                record, damaged = b"", True
            if record[-_SUM:] != self._sum(record[:-_SUM]):
                if damaged:
                    say(f"teacher cache: the answers for row {row} are damaged; the teacher is asked again")
                return None
            records.append(record[:-_SUM])
        return records

    def _keep(self, rows, records):
        """Write the records of some rows, as long as the disk takes them."""
        try:
            for row, record in zip(rows, records):
                os.pwrite(self.file, record + self._sum(record), int(self.starts[row]))
        except OSError as error:
            self.full = True
            say(f"teacher cache: not all answers can be kept ({error}), so the teacher runs for the others")

    def _records(self, batch, answers):
        """Yield the record of each row of a `MicroBatch`, of what the network answered."""
        layers, scored = self.layout.states[0], self.layout.scores[0]
        states = [answer.reshape((-1, answer.shape[-1])) for answer in answers[:layers]]
        scores, logits = answers[layers : layers + scored], answers[layers + scored :]
        width = batch.inputs[0].shape[1]
        for number, (start, length) in enumerate(zip(batch.starts, batch.lengths)):
            shapes = self.layout.shapes(length)
            place, inside = slice(start, start + length), slice(start % width, start % width + length)
            kept = [np.zeros(shape, np.float32) for shape in shapes]
            for index, state in enumerate(states):
                kept[0][:, index] = state[place]
            for index, score in enumerate(scores):
                kept[1][index] = score[start // width, :, inside, inside]
            for answer in logits:
                flat = answer.reshape((-1, answer.shape[-1]))
                kept[2][:] = flat[place] if self.layout.by_token else flat[number]
            yield self.layout.pack(*kept)

    def _assemble(self, batch, records):
        """The network's answers for a `MicroBatch`, 0 where no token of a row is."""
        bins, width = batch.inputs[0].shape
        (layers, hidden), (scored, heads) = self.layout.states, self.layout.scores
        states = np.zeros((layers, bins * width, hidden), np.float32)
        scores = np.zeros((scored, bins, heads, width, width), np.float32)
        slots = bins * width if self.layout.by_token else len(batch.inputs[4])
        logits = np.zeros((slots, self.layout.outputs), np.float32)
        for number, (start, length, record) in enumerate(zip(batch.starts, batch.lengths, records)):
            own_states, own_scores, own_logits = self.layout.unpack(record, length)
            place, inside = slice(start, start + length), slice(start % width, start % width + length)
            states[:, place] = own_states.transpose(1, 0, 2)
            scores[:, start // width, :, inside, inside] = own_scores
            logits[place if self.layout.by_token else number] = own_logits
        answers = [*states.reshape((layers, bins, width, hidden)), *scores]
        if self.layout.outputs:
            answers.append(logits.reshape((bins, width, -1)) if self.layout.by_token else logits)
        return answers


def cache_key(teacher: Model, asked: TeacherAnswers, steps: Steps) -> str:
    """What a teacher's answers depend on: the program, the teacher, the rows, which of them it is asked about
    at once, and what is asked.
    """
    examples, rows = steps.examples, hashlib.sha256()
    for array in (examples.input_ids, examples.segment_ids, examples.offsets):
        rows.update(np.ascontiguousarray(array).data)
    questions = asked.states, asked.scores, asked.logits, asked.stride, teacher.network.compute_type
    network = repr((teacher.config, teacher.description.quantization))
    return digest(teacher.weights(), network, rows.hexdigest(), steps.grouping, repr(questions), program())


def cached_teacher(
    teacher: Model | None, loss: Distiller, steps: Steps, folder: str, limit: float
) -> LiveTeacher | None:
    """The teacher for several epochs: a `CachedTeacher` where its answers may be kept, else a `LiveTeacher`;
    None where the loss needs none.

    Args:
        teacher, loss: who is asked for what. steps: of all rows, in whose first epoch it is asked.
        folder: of the cache. limit: gigabytes (10^9 bytes) that it may take.
    """
    live = LiveTeacher.of(teacher, loss)
    if live is None or teacher is None or not limit:
        return live
    kind = teacher.description.kind
    assert kind is not None  # a task's teacher
    layout = RecordLayout(live.network, kind.logits_per == "token")
    size = layout.bytes_of(steps.examples.lengths).sum() / 1e9
    if size > limit:
        say(
            f"teacher cache: {size:.1f} GB would be more than teacher_cache_gb {limit:g}, so the teacher "
            "runs in every step"
        )
        return live
    make_folder(folder)
    held = sum(entry.stat().st_blocks * 512 for entry in os.scandir(folder)) / 1e9
    free = shutil.disk_usage(folder).free / 1e9 + held
    if size > 0.9 * free:
        say(
            f"teacher cache: {size:.1f} GB do not fit into the {free:.1f} GB that are free for {folder}, so "
            "the teacher runs in every step"
        )
        return live
    teacher_key = cache_key(teacher, live.network, steps)
    try:
        cached = CachedTeacher(live.network, layout, steps.examples, folder, teacher_key)
    except (OSError, UserError) as error:
        say(f"teacher cache: {folder} takes no files ({error}), so the teacher runs in every step")
        return live
    state = (
        "read where an earlier run wrote them"
        if cached.begun
        else "written in the first epoch and read in the others"
    )
    say(f"teacher cache: {size:.2f} GB of the teacher's answers in {folder}, {state}")
    return cached
