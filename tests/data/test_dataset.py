"""Batches: every row once, truly shuffled, in buckets, in shards; padded record files give the same rows."""

import json
import os

import numpy as np
import pytest

from src.data.dataset import Batches, bucket_lengths
from src.data.records import find_split, read_records
from src.errors import UserError
from src.kinds import CLASSIFICATION
from tests.helpers import make_examples, refuses, write_split


def rows_of(batches):
    return [rows for rows, _ in batches.with_rows()]


def widths_of(batches):
    return [ids.shape[1] for _, (ids, _, _) in batches.with_rows()]


def order_of(batches):
    return np.concatenate(rows_of(batches)).tolist()


def assert_batch_holds_rows(batch, rows, examples):
    """Tokens, mask and segments against the flat arrays, one row at a time."""
    ids, mask, segments = batch
    assert {item.dtype for item in (ids, mask, segments)} == {np.dtype(np.int32)}
    for index, row in enumerate(rows):
        start, end = examples.offsets[row : row + 2]
        size = end - start
        np.testing.assert_array_equal(ids[index, :size], examples.input_ids[start:end])
        np.testing.assert_array_equal(segments[index, :size], examples.segment_ids[start:end])
        assert mask[index, :size].all() and not mask[index, size:].any()
        assert not ids[index, size:].any() and not segments[index, size:].any()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("enable_buckets", [False, True])
def test_every_row_comes_once_an_epoch_with_its_own_tokens(shuffle, enable_buckets):
    examples = make_examples(53, 40)
    batches = Batches(examples, 4, (8, 16, 32), enable_buckets, shuffle)
    for _ in range(2):
        seen = []
        for rows, batch in batches.with_rows():
            assert_batch_holds_rows(batch, rows, examples)
            seen += rows.tolist()
        assert sorted(seen) == list(range(53))
    assert len(rows_of(batches)) == len(batches) == 14


def test_shuffle_differs_between_epochs_and_seeds_and_repeats_with_the_seed():
    examples = make_examples(60, 30)
    one, same, other = (Batches(examples, 4, (16,), shuffle=True, seed=seed) for seed in (1, 1, 2))
    first, second = order_of(one), order_of(one)
    assert (
        first != second and [order_of(same), order_of(same)] == [first, second] and order_of(other) != first
    )


def test_shuffle_reaches_across_the_whole_data():
    order = order_of(Batches(make_examples(1000, 8, shortest=8), 10, shuffle=True))
    assert abs(np.corrcoef(np.arange(1000), order)[0, 1]) < 0.15
    assert np.abs(np.subtract(order, range(1000))).max() > 800


def test_shuffle_mixes_the_buckets():
    lengths = widths_of(Batches(make_examples(400, 32), 4, (8, 16, 24), shuffle=True))
    changes = sum(one != two for one, two in zip(lengths, lengths[1:]))
    assert changes > 20  # batches in bucket order would change three times


def test_unshuffled_rows_of_one_bucket_keep_their_order():
    assert order_of(Batches(make_examples(10, 8, shortest=8), 4)) == list(range(10))


def test_batches_are_padded_to_a_bucket_that_holds_them_and_not_beyond():
    examples = make_examples(203, 40)
    batches = Batches(examples, 8, (8, 16, 32, 128))
    assert batches.buckets == (8, 16, 32, 40)
    lengths = widths_of(batches)
    assert set(lengths) == {8, 16, 32, 40}
    full = {8: 0, 16: 0, 32: 0, 40: 0}
    for rows, batch in batches.with_rows():
        length, longest = batch[0].shape[1], examples.lengths[rows].max()
        assert longest <= length
        full[length] += all(size > {8: 0, 16: 8, 32: 16, 40: 32}[length] for size in examples.lengths[rows])
    for length, count in full.items():  # all but the batch that takes a smaller bucket's left-over rows
        assert count >= lengths.count(length) - 2
    smaller = [len(rows) for rows in rows_of(batches) if len(rows) < 8]
    assert smaller == [203 % 8]


def test_without_buckets_every_batch_is_as_long_as_the_longest_row():
    batches = Batches(make_examples(30, 27), 4, (8, 16), enable_buckets=False)
    assert set(widths_of(batches)) == {27}


@pytest.mark.parametrize(
    "lengths,boundaries,expected",
    [
        ([5, 9, 40], (16, 32, 64), (16, 40)),
        ([5, 20, 100], (16, 32, 64), (16, 32, 100)),
        ([16, 17], (16, 32), (16, 17)),
        ([3], (16,), (3,)),
        ([64, 3], (64, 16), (16, 64)),
    ],
)
def test_buckets_in_use(lengths, boundaries, expected):
    assert bucket_lengths(np.array(lengths), boundaries, True) == expected


def test_dropping_the_remainder_leaves_out_less_than_one_batch_and_other_rows_each_epoch():
    batches = Batches(make_examples(50, 30), 8, (8, 16), shuffle=True, drop_remainder=True)
    missing = []
    for _ in range(4):
        rows = rows_of(batches)
        assert {len(item) for item in rows} == {8} and len(rows) == len(batches) == 6
        missing.append(frozenset(range(50)) - set(np.concatenate(rows).tolist()))
    assert {len(item) for item in missing} == {2} and len(set(missing)) > 1


def test_two_devices_get_disjoint_complete_shards_of_equal_shapes():
    examples = make_examples(67, 30)
    ranks = [
        Batches(examples, 4, (8, 16), shuffle=True, drop_remainder=True, seed=5, rank=rank, device_num=2)
        for rank in (0, 1)
    ]
    one = [list(item.with_rows()) for item in ranks]
    assert len(one[0]) == len(one[1]) == len(ranks[0]) == 8
    assert [batch[0].shape for _, batch in one[0]] == [batch[0].shape for _, batch in one[1]]
    rows = np.concatenate([rows for shard in one for rows, _ in shard])
    assert len(rows) == len(set(rows.tolist())) == 64
    for shard in one:
        for numbers, batch in shard:
            assert_batch_holds_rows(batch, numbers, examples)


def test_shards_of_unequal_size_do_not_exist():
    with pytest.raises(ValueError, match="drop the remainder"):
        Batches(make_examples(9, 8), 4, device_num=2)


@pytest.mark.parametrize("rows,devices", [(3, 1), (7, 2)])
def test_fewer_rows_than_one_global_batch_are_refused(rows, devices):
    with pytest.raises(UserError) as error:
        Batches(make_examples(rows, 8), 4, drop_remainder=True, device_num=devices)
    refuses(error, "batch_size 4", str(rows))


def test_data_without_rows_is_refused():
    with pytest.raises(UserError) as error:
        Batches(make_examples(3, 8).take([]), 4)
    refuses(error, "no rows")


# --- files of the published shape: rows padded to one length ------------------------------------------------


def padded(examples, length=32):
    """[{column: list}] with zero padding, as the published scripts write rows."""
    rows = []
    for row, (start, end) in enumerate(zip(examples.offsets[:-1], examples.offsets[1:])):
        size = int(end - start)
        rows.append(
            {
                "input_ids": examples.input_ids[start:end].tolist() + [0] * (length - size),
                "input_mask": [1] * size + [0] * (length - size),
                "segment_ids": examples.segment_ids[start:end].tolist() + [0] * (length - size),
                "label_ids": [int(examples.labels[row])],
            }
        )
    return rows


def write_padded_tfrecord(folder, rows, schema):
    tensorflow = pytest.importorskip("tensorflow")
    os.makedirs(folder)
    with tensorflow.io.TFRecordWriter(os.path.join(folder, "train.tf_record")) as writer:
        for row in rows:
            feature = {
                name: tensorflow.train.Feature(int64_list=tensorflow.train.Int64List(value=value))
                for name, value in row.items()
            }
            writer.write(
                tensorflow.train.Example(
                    features=tensorflow.train.Features(feature=feature)
                ).SerializeToString()
            )
    if schema:
        columns = {
            name: {"type": "int64", "rank": 1, "shape": [len(value)]} for name, value in rows[0].items()
        }
        with open(os.path.join(folder, "schema.json"), "w") as file:
            json.dump({"datasetType": "TF", "numRows": len(rows), "columns": columns}, file)


def write_padded_mindrecord(folder, rows):
    from mindspore.mindrecord import FileWriter

    os.makedirs(folder)
    writer = FileWriter(os.path.join(folder, "train.mindrecord"), shard_num=1)
    writer.add_schema({name: {"type": "int64", "shape": [-1]} for name in rows[0]}, "padded rows")
    writer.write_raw_data([{name: np.array(value, np.int64) for name, value in row.items()} for row in rows])
    writer.commit()


@pytest.mark.parametrize("kind", ["tfrecord with schema", "tfrecord without schema", "mindrecord"])
def test_published_padded_files_give_the_same_batches_as_ours(tmp_path, kind):
    examples = make_examples(21, 30)
    write_split(tmp_path / "ours", "train", examples)
    theirs = str(tmp_path / "theirs")
    if kind == "mindrecord":
        write_padded_mindrecord(theirs, padded(examples))
    else:
        write_padded_tfrecord(theirs, padded(examples), "without" not in kind)
    found = [
        Batches(read_records(*find_split(folder, "train"), CLASSIFICATION.columns), 4, (8, 16))
        for folder in (str(tmp_path / "ours"), theirs)
    ]
    assert len(found[0]) == len(found[1]) == 6
    np.testing.assert_array_equal(found[0].examples.labels, found[1].examples.labels)
    for (rows, ours), (same, their) in zip(*(batches.with_rows() for batches in found), strict=True):
        np.testing.assert_array_equal(rows, same)
        np.testing.assert_array_equal(ours, their)
    assert found[1].buckets == (8, 16, 30)  # not the 32 tokens of the file
