"""A teacher's answers that were kept, as a run opens and reads them. The files are made here byte by byte,
and the network says what it is told, so that nothing compiles.
"""

import os
import zlib
from types import SimpleNamespace

import numpy as np

from src.data.bins import Shape
from src.data.micro_batches import lay_out, totals_of
from src.examples import Examples
from src.json_file import read_json

KEY = "of this teacher"
ROWS = Examples(np.arange(5, dtype=np.int32), np.zeros(5, np.int32), np.array([0, 3, 5]))
_PLACE_OF = np.array([1, 1, 1, 2, 2, 0])  # the row at each place of a bin of 6 tokens, from 1


def _said():
    """What a teacher of one layer, 2 wide, says of both rows: its hidden states twice (1, 6, 2), attention
    scores (1, 1, 6, 6) and logits (2, 2). Whole numbers are the same in float16.
    """
    random, real = np.random.default_rng(0), _PLACE_OF > 0
    states = random.integers(-9, 9, (2, 1, 6, 2)) * real[:, None]
    scores = random.integers(-9, 9, (1, 1, 6, 6)) * (real & (_PLACE_OF[:, None] == _PLACE_OF))
    return [part.astype(np.float32) for part in (*states, scores, random.integers(-9, 9, (2, 2)))]


SAID = _said()


def _record(row):
    """A row's answers, and what tells that they are whole."""
    first, second, scores, logits = SAID
    place = _PLACE_OF == row + 1
    states = np.stack([first[0, place], second[0, place]], axis=1)
    halves = states.astype(np.float16).tobytes() + scores[0, 0][place][:, place].astype(np.float16).tobytes()
    record = halves + logits[row].tobytes()
    return record + zlib.crc32(record, zlib.crc32(KEY.encode())).to_bytes(4, "little")


ANSWERS = _record(0) + _record(1)
BEGUN = _record(0) + bytes(len(_record(1)))  # by a run that was killed


class Teacher:
    """The network that is asked."""

    network = SimpleNamespace(
        config=SimpleNamespace(num_hidden_layers=1, hidden_size=2, num_attention_heads=1), num_labels=2
    )
    states = scores = logits = True
    stride = 1
    training = False

    def check_names_and_refresh_name(self):
        """As a cell has."""

    def compile(self, *inputs):
        """As a cell has."""

    def __call__(self, *inputs):
        import mindspore as ms

        return tuple(map(ms.Tensor, SAID))


TEACHER = Teacher()


def read(folder):
    """Whatever lies there, a run is told what its teacher says, and leaves a whole cache."""
    import mindspore as ms

    from src.distill.teacher_cache import ANSWERS_FILE, INDEX_FILE, CachedTeacher, RecordLayout

    batch = lay_out(ROWS, [[0, 1]], Shape(1, 6, 2), totals_of(ROWS, [0, 1]))
    cache = CachedTeacher(TEACHER, RecordLayout(TEACHER), ROWS, folder, KEY)
    found = cache(batch, tuple(map(ms.Tensor, batch.arrays)))
    for answer, expected in zip(found, SAID, strict=True):
        np.testing.assert_array_equal(answer.asnumpy(), expected)
    assert read_json(os.path.join(folder, INDEX_FILE), "index")["key"] == KEY
    with open(os.path.join(folder, ANSWERS_FILE), "rb") as file:
        assert file.read() == ANSWERS
