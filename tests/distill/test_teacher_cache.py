"""What a teacher says, kept: its logits as a column, its states and scores in a file."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest

from src.data.dataset import Batches, PackedRows
from src.data.steps import PackedSteps
from src.distill.distiller import Distiller, LossTerms
from src.distill.teacher import LiveTeacher
from src.distill.teacher_cache import ANSWERS_FILE, INDEX_FILE, CachedTeacher, cached_teacher, with_logits
from src.kinds import CLASSIFICATION
from tests.helpers import as_model, make_examples, tensors, tiny_network, weights_of
from tests.numpy_bert import NumpyBert

TERMS = LossTerms(attention_loss=1.0, hidden_loss=1.0, soft_loss=1.0)


@pytest.mark.parametrize("packs", [False, True])
def test_cached_logits_are_in_the_rows_own_order(compiled, packs):
    teacher, examples = tiny_network(1, num_hidden_layers=1), make_examples(13, 20)
    batches = PackedRows(examples, 48) if packs else Batches(examples, 4, (16,))
    columns = with_logits(as_model(teacher), batches).columns
    (found,) = [values for column, values in columns.items() if column.name == "teacher_logits"]
    reference = NumpyBert(weights_of(teacher), teacher.config)
    assert found.shape == (13, 3) and found.dtype == np.float32
    for row in range(13):
        part = slice(*examples.offsets[row : row + 2])
        ids = examples.input_ids[part]
        np.testing.assert_allclose(
            found[row], reference.row(ids, np.ones(len(ids)), examples.segment_ids[part])[0], atol=1e-4
        )


@pytest.fixture(scope="module")
def case():
    """(teacher's Model, loss, rows, steps)."""
    teacher = as_model(tiny_network(1, num_hidden_layers=2))
    student = tiny_network(2, num_hidden_layers=2)
    examples = make_examples(21, 12)
    return teacher, Distiller(student, TERMS, kind=CLASSIFICATION), examples, PackedSteps(examples, 6, 1, 32)


def losses(case, teacher, steps=None):
    """The loss of every micro-batch of an epoch, or of some steps."""
    loss, found = case[1], []
    for step in steps or case[3]:
        for batch in step:
            arrays = tuple(tensors(*batch.arrays))
            found.append(float(loss(*arrays, *teacher(batch, arrays))[0]))
    return np.array(found)


class Silent:
    """A network that must not be asked."""

    def __call__(self, *inputs):
        raise AssertionError("the teacher was asked again")


def opened(case, folder, limit=1.0):
    teacher, loss, _, steps = case
    return cached_teacher(teacher, loss, steps, str(folder), limit)


@pytest.fixture(scope="module")
def filled(case, tmp_path_factory):
    """(a complete cache's folder, losses while it was written)."""
    folder = tmp_path_factory.mktemp("cache")
    case[3].epoch = 0
    expected = losses(case, LiveTeacher.of(case[0], case[1]))
    case[3].epoch = 0
    found = losses(case, opened(case, folder))
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    return folder, found


def test_the_second_epoch_and_the_next_run_read_what_the_first_wrote(case, filled, capsys):
    folder, expected = filled
    again = opened(case, folder)
    assert isinstance(again, CachedTeacher) and "read" in capsys.readouterr().out
    again.network = Silent()
    case[3].epoch = 0
    np.testing.assert_array_equal(losses(case, again), expected)  # in float16 from the first epoch on
    losses(case, again)  # other companions in the next epoch
    lengths = case[2].lengths
    halves = lengths.sum() * 3 * 16 + (lengths**2).sum() * 2 * 2
    assert os.path.getsize(folder / ANSWERS_FILE) == 2 * halves + (4 * 3 + 4) * len(lengths)


def test_a_run_that_was_killed_in_its_first_epoch_goes_on_with_the_same_numbers(case, tmp_path):
    """Its next epoch has other companions for the rows that it had asked about."""
    whole, killed = opened(case, tmp_path / "whole"), opened(case, tmp_path / "killed")
    case[3].epoch = 0
    first, then = list(case[3]), list(case[3])
    losses(case, whole, first), losses(case, killed, first[:2])
    again = opened(case, tmp_path / "killed")
    losses(case, again, first[2:])
    np.testing.assert_array_equal(losses(case, again, then), losses(case, whole, then))


def test_float16_keeps_the_answers_to_a_thousandth(case, filled):
    folder, _ = filled
    batch = next(iter(case[3]))[0]
    arrays = tuple(tensors(*batch.arrays))
    live, cached = LiveTeacher.of(case[0], case[1]), opened(case, folder)
    places = batch.places
    for theirs, ours in zip(live(batch, arrays), cached(batch, arrays)):
        theirs, ours = theirs.asnumpy(), ours.asnumpy()
        assert theirs.shape == ours.shape and theirs.dtype == ours.dtype == np.float32
        if theirs.ndim == 3:
            theirs, ours = (item.reshape((-1, 16))[places] for item in (theirs, ours))
        elif theirs.ndim == 4:
            mask = batch.inputs[1]
            same = (mask[:, None, :, None] == mask[:, None, None]) & (mask[:, None, :, None] > 0)
            theirs, ours = theirs * same, ours * same
        else:
            theirs, ours = theirs[: len(batch.rows)], ours[: len(batch.rows)]
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "fault,said",
    [
        ("cut", "is cut or damaged"),
        ("index", "is cut or damaged"),
        ("teacher", "is of another teacher, other rows, batches or layers"),
        ("rows", "is of another teacher, other rows, batches or layers"),
        ("shorter", "is of another teacher, other rows, batches or layers"),
        ("seed", "is of another teacher, other rows, batches or layers"),
        ("max_tokens", "is of another teacher, other rows, batches or layers"),
        ("no index", ""),
    ],
)
def test_a_cache_that_is_not_this_ones_is_made_anew(case, filled, tmp_path, capsys, fault, said):
    for name in (INDEX_FILE, ANSWERS_FILE):
        (tmp_path / name).write_bytes((filled[0] / name).read_bytes())
    teacher, loss, examples, _ = case
    seed, max_tokens = (1 if fault == "seed" else 0), (48 if fault == "max_tokens" else 32)
    if fault == "cut":
        os.truncate(tmp_path / ANSWERS_FILE, 1000)
    elif fault == "index":
        (tmp_path / INDEX_FILE).write_bytes(b"no index")
    elif fault == "teacher":
        teacher = as_model(tiny_network(5, num_hidden_layers=2))
    elif fault == "rows":
        examples = replace(examples, segment_ids=1 - examples.segment_ids)
    elif fault == "shorter":  # rows whose answers take another size
        examples = examples.take(range(20))
    elif fault == "no index":
        (tmp_path / INDEX_FILE).unlink()
    steps = PackedSteps(examples, 6, 1, max_tokens, seed=seed)
    found = opened((teacher, loss, examples, steps), tmp_path)
    assert not found.begun and not any((tmp_path / ANSWERS_FILE).read_bytes())
    out = capsys.readouterr().out
    assert f"{said}, so it is made anew" in out if said else "made anew" not in out


def test_answers_of_another_teacher_do_not_pass_under_this_ones_key(case, filled, tmp_path):
    """A disk that loses power may keep the new index and the old answers, which are as long."""
    other = (as_model(tiny_network(5, num_hidden_layers=2)), *case[1:])
    opened(other, tmp_path)
    (tmp_path / ANSWERS_FILE).write_bytes((filled[0] / ANSWERS_FILE).read_bytes())
    found = opened(other, tmp_path)
    assert found.begun and found._read([0]) is None and opened(case, filled[0])._read([0]) is not None


def test_a_changed_byte_asks_the_teacher_again(case, filled, tmp_path, capsys):
    for name in (INDEX_FILE, ANSWERS_FILE):
        (tmp_path / name).write_bytes((filled[0] / name).read_bytes())
    with open(tmp_path / ANSWERS_FILE, "r+b") as file:
        file.seek(777)
        byte = file.read(1)
        file.seek(777)
        file.write(bytes([byte[0] ^ 0x40]))
    case[3].epoch = 0
    np.testing.assert_allclose(losses(case, opened(case, tmp_path)), filled[1], rtol=1e-3)
    assert "damaged; the teacher is asked again" in capsys.readouterr().out
    repaired = opened(case, tmp_path)
    repaired.network = Silent()
    losses(case, repaired)


def test_what_the_disk_cannot_read_counts_as_damaged(case, filled, capsys, monkeypatch):
    def pread(*_):
        raise OSError(errno.EIO, "Input/output error")

    cache = opened(case, filled[0])
    monkeypatch.setattr(os, "pread", pread)
    assert cache._read([3]) is None
    assert "the answers for row 3 are damaged; the teacher is asked again" in capsys.readouterr().out


def test_a_full_disk_is_said_once_and_the_teacher_goes_on(case, filled, tmp_path, capsys, monkeypatch):
    cache, writes = opened(case, tmp_path), []
    write = os.pwrite

    def pwrite(file, record, place):
        writes.append(place)
        if len(writes) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, record, place)

    monkeypatch.setattr(os, "pwrite", pwrite)
    case[3].epoch = 0
    np.testing.assert_array_equal(losses(case, cache), filled[1])  # what is not kept is rounded likewise
    said = capsys.readouterr().out
    assert said.count("not all answers can be kept") == 1 and "No space left" in said
    assert len(writes) == 3


def test_too_large_a_cache_is_said_and_not_made(case, tmp_path, capsys):
    assert type(opened(case, tmp_path / "none", 1e-6)) is LiveTeacher
    assert "more than teacher_cache_gb" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
    assert type(opened(case, tmp_path / "none", 0)) is LiveTeacher
    labels = Distiller(tiny_network(2), LossTerms(label_loss=1.0), kind=CLASSIFICATION)
    assert cached_teacher(None, labels, case[3], str(tmp_path), 1.0) is None
