"""Batches over a corpus of several record files: every row once an epoch, new orders, shards of a group,
refusals.
"""

import shutil

import numpy as np
import pytest

from src.data import sharded
from src.data.records import read_records
from src.errors import UserError
from src.runtime import Group
from src.settings.shared import BatchesConfig
from src.settings.stage import PhaseConfig
from tests.helpers import make_examples, refuses, write_info, write_split

FILES, ROWS = 4, 24  # a file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus")
    for index in range(FILES):
        write_split(path, f"train-{index:05d}", make_examples(ROWS, 12, seed=index))
    return path


def open_with(folder, group=None, check=lambda examples: None, batch_size=4, packs=True, **settings):
    config = BatchesConfig(bucket_boundaries=(16,), seed=5, **settings)
    return sharded.open_corpus(
        str(folder), config, PhaseConfig(batch_size=batch_size), packs, group or Group(), check
    )


def rows_of(batches):
    """The rows of an epoch as tuples of token ids, in order."""
    return [row for step in batches for row in rows_of_step(step)]


def rows_of_step(step):
    return [
        tuple(batch.inputs[0].ravel()[start : start + size].tolist())
        for batch in step
        for start, size in zip(batch.starts, batch.lengths)
    ]


def rows_on_disk(folder):
    examples = read_records(sorted(str(path) for path in folder.glob("*.mindrecord")), "mindrecord", ())
    return [
        tuple(examples.input_ids[start:end].tolist())
        for start, end in zip(examples.offsets[:-1], examples.offsets[1:])
    ]


@pytest.mark.parametrize("held", [ROWS, 2 * ROWS, 1 << 18])
def test_an_epoch_has_every_row_once_in_an_order_that_is_new_each_time(folder, monkeypatch, held):
    monkeypatch.setattr(sharded, "ROWS_IN_MEMORY", held)
    batches = open_with(folder)
    assert len(batches.parts) == max(1, FILES * ROWS // held) and len(batches) == FILES * ROWS // 4
    first, second = rows_of(batches), rows_of(batches)
    assert sorted(first) == sorted(second) == sorted(rows_on_disk(folder))
    assert first != second and first != rows_on_disk(folder)
    again = open_with(folder)
    assert rows_of(again) == first
    again.epoch = 1
    assert rows_of(again) == second


def test_parts_come_in_another_order_each_epoch(folder, monkeypatch):
    monkeypatch.setattr(sharded, "ROWS_IN_MEMORY", ROWS)
    checked = []
    monkeypatch.setattr("src.data.records.check_files", lambda files, kind: checked.append(len(files)))
    batches = open_with(folder)
    assert checked == [FILES, 1]  # all of them once, and the first part as it is read
    part_of = {row: index // ROWS for index, row in enumerate(rows_on_disk(folder))}
    orders = {tuple(part_of[row] for row in rows_of(batches)[::ROWS]) for _ in range(6)}
    assert len(orders) > 1 and all(sorted(order) == list(range(FILES)) for order in orders)


def test_every_part_is_padded_to_the_same_lengths(tmp_path, monkeypatch):
    monkeypatch.setattr(sharded, "ROWS_IN_MEMORY", ROWS)
    for index, longest in enumerate((12, 9)):
        write_split(tmp_path, f"train-{index:05d}", make_examples(ROWS, longest, seed=index))
    write_info(
        tmp_path,
        task="gd",
        labels=(),
        splits={"train": {"rows": 2 * ROWS, "length_histogram": {"8": 30, "12": 18}}},
    )
    for packs, shape in ((False, (4, 12)), (True, None)):
        batches = open_with(tmp_path, packs=packs, enable_buckets=False)
        shapes = {batch.inputs[0].shape for step in batches for batch in step}
        assert len(batches.parts) == 2 and len(shapes) == 1 and shape in (None, *shapes)


def test_a_longer_row_of_a_later_part_has_room(tmp_path, monkeypatch):
    monkeypatch.setattr(sharded, "ROWS_IN_MEMORY", ROWS)
    for index, longest in enumerate((9, 30)):
        write_split(tmp_path, f"train-{index:05d}", make_examples(ROWS, longest, seed=index))
    assert sorted(rows_of(open_with(tmp_path))) == sorted(rows_on_disk(tmp_path))


def test_two_processes_share_each_global_batch(folder, monkeypatch):
    monkeypatch.setattr(sharded, "ROWS_IN_MEMORY", 2 * ROWS)
    alone = open_with(folder, batch_size=8)
    pair = [open_with(folder, Group(rank, 2)) for rank in range(2)]
    assert len(pair[0]) == len(pair[1]) == len(alone)
    for whole, left, right in zip(alone, *pair, strict=True):
        assert sorted(rows_of_step(whole)) == sorted(rows_of_step(left) + rows_of_step(right))
        np.testing.assert_array_equal(whole[0].totals, left[0].totals)


def test_without_shuffling_rows_come_as_they_lie_and_labels_are_left_out(folder):
    batches = open_with(folder, do_shuffle=False, batch_size=1)
    assert rows_of(batches) == rows_on_disk(folder)
    assert {len(batch.columns) for step in batches for batch in step} == {0}
    assert batches.columns[:3] == ("input_ids", "input_mask", "segment_ids") and len(batches.columns) == 6


def test_files_of_few_rows_join_a_neighbour(tmp_path, monkeypatch):
    monkeypatch.setattr(sharded, "ROWS_IN_MEMORY", ROWS)
    for index, rows in enumerate((3, ROWS, 2)):
        write_split(tmp_path, f"train-{index:05d}", make_examples(rows, 12, seed=index))
    whole, batches = open_with(tmp_path), open_with(tmp_path, packs=False)
    assert len(whole) == 8 and sorted(rows_of(whole)) == sorted(rows_on_disk(tmp_path))
    assert batches.rows == [ROWS + 5] and len(batches) == (ROWS + 5) // 4
    assert "1 rows, other ones each time, are left out" in batches.summary
    assert set(rows_of(batches)) <= set(rows_on_disk(tmp_path)) and len(rows_of(batches)) == len(batches) * 4


def test_a_file_that_was_cut_is_refused_before_anything_is_trained(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sharded, "ROWS_IN_MEMORY", ROWS)
    shutil.copytree(folder, tmp_path / "cut")
    path = tmp_path / "cut" / "train-00002.mindrecord"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError) as error:
        open_with(tmp_path / "cut")
    refuses(error, "train-00002.mindrecord is truncated")


def test_files_that_are_missing_or_not_finished_are_told(folder, tmp_path):
    names = [f"train-{index:05d}.mindrecord" for index in range(FILES + 1)]
    shutil.copytree(folder, tmp_path / "gd")
    (tmp_path / "gd" / "gd_plan.json").write_text("{}")
    with pytest.raises(UserError) as error:
        open_with(tmp_path / "gd")
    refuses(error, "is unfinished")
    write_info(tmp_path / "gd", task="gd", labels=(), splits={"train": {"files": names}})
    with pytest.raises(UserError) as error:
        open_with(tmp_path / "gd")
    refuses(error, f"lacks {names[-1]}")


def test_rows_are_checked_and_too_few_are_refused(folder, monkeypatch):
    monkeypatch.setattr(sharded, "ROWS_IN_MEMORY", ROWS)

    def check(examples):
        if (np.diff(examples.offsets)[:3] != np.diff(make_examples(ROWS, 12, seed=0).offsets)[:3]).any():
            raise UserError("not the first file")

    with pytest.raises(UserError) as error:
        rows_of(open_with(folder, check=check))
    refuses(error, "not the first file")
    with pytest.raises(UserError) as error:
        open_with(folder, batch_size=FILES * ROWS + 1)
    refuses(error, f"batch_size {FILES * ROWS + 1} on 1 device(s)", f"{FILES * ROWS} training rows")
    with pytest.raises(UserError) as error:
        open_with(folder / "nowhere")
    refuses(error, "nowhere does not exist")
