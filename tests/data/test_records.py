"""Record files: round trips, published layouts, which file serves a split, and damaged files."""

import filecmp
import json
import shutil
import sqlite3
import struct

import numpy as np
import pytest

from src.data.records import (
    DatasetInfo,
    Examples,
    RecordWriter,
    _masked_crc32c,
    find_split,
    length_histogram,
    offsets_of,
    read_records,
)
from src.errors import UserError

LENGTHS = [3, 1, 7, 2]


def examples(labels=(0, 1, 1, 0), lengths=LENGTHS):
    count = sum(lengths)
    return Examples(
        np.arange(100, 100 + count, dtype=np.int32),
        np.arange(count, dtype=np.int32) % 2,
        offsets_of(lengths),
        None if labels is None else np.array(labels),
    )


def same(left, right):
    return all(
        np.array_equal(a, b)
        for a, b in (
            (left.input_ids, right.input_ids),
            (left.segment_ids, right.segment_ids),
            (left.offsets, right.offsets),
        )
    )


# --- published files, made without our writer or TensorFlow -------------------------------------------------


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def tf_record(*rows):
    """TFRecord bytes of rows {name: list of int or of float}."""
    out = b""
    for row in rows:
        entries = b""
        for name, values in row.items():
            if isinstance(values[0], float):
                feature = field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
            else:
                feature = field(3, field(1, b"".join(varint(value & (1 << 64) - 1) for value in values)))
            entries += field(1, field(1, name.encode()) + field(2, feature))
        data = field(1, entries)
        length = struct.pack("<Q", len(data))
        out += (
            length
            + struct.pack("<I", _masked_crc32c(length))
            + data
            + struct.pack("<I", _masked_crc32c(data))
        )
    return out


def padded(label, ids, length=8):
    rest = [0] * (length - len(ids))
    return {
        "input_ids": ids + rest,
        "input_mask": [1] * len(ids) + rest,
        "segment_ids": [0] * length,
        "label_ids": [label],
    }


def test_checksum_is_crc32c():
    # RFC 3720, B.4: 32 zero bytes give 8a9136aa; TFRecord rotates right by 15 bits and adds a constant.
    crc = 0x8A9136AA
    assert _masked_crc32c(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# --- Examples -----------------------------------------------------------------------------------------------


def test_take_copies_rows_in_the_order_asked_for():
    data = examples()
    taken = data.take([2, 0, 2])
    assert len(taken) == 3 and taken.lengths.tolist() == [7, 3, 7] and taken.labels.tolist() == [1, 0, 1]
    for place, row in enumerate([2, 0, 2]):
        start, end = data.offsets[row : row + 2]
        assert np.array_equal(
            taken.input_ids[taken.offsets[place] : taken.offsets[place + 1]], data.input_ids[start:end]
        )
        assert np.array_equal(
            taken.segment_ids[taken.offsets[place] : taken.offsets[place + 1]], data.segment_ids[start:end]
        )
    assert len(data.take([])) == 0 and examples(labels=None).take([1]).labels is None


# --- round trips --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset_type", ["mindrecord", "tfrecord"])
@pytest.mark.parametrize("regression", [False, True])
def test_what_is_written_is_read(tmp_path, dataset_type, regression):
    if dataset_type == "tfrecord":
        pytest.importorskip("tensorflow")
    writer = RecordWriter(str(tmp_path), "train", dataset_type, regression)
    first = examples((0.5, -2.25, 3.0, 5.0) if regression else (0, 1, 2, 1))
    writer.write(first)
    writer.write(first.take([3, 1]))
    writer.close()
    files, found = find_split(str(tmp_path), "train")
    data = read_records(files, found)
    assert found == dataset_type and same(data, first.take([0, 1, 2, 3, 3, 1]))
    assert data.input_ids.dtype == data.segment_ids.dtype == np.int32 and data.offsets.dtype == np.int64
    assert data.labels.dtype == (np.float32 if regression else np.int32)
    assert data.labels.tolist() == first.labels[[0, 1, 2, 3, 3, 1]].tolist()


@pytest.mark.parametrize("regression, mark", [(False, -1), (True, 0.0)])
def test_unlabelled_rows_are_marked(tmp_path, regression, mark):
    writer = RecordWriter(str(tmp_path), "test", "mindrecord", regression)
    writer.write(examples(labels=None))
    writer.close()
    assert read_records(*find_split(str(tmp_path), "test")).labels.tolist() == [mark] * 4


def test_more_rows_than_one_reading_batch(tmp_path):
    lengths = np.random.default_rng(0).integers(1, 40, 2500)
    data = examples(np.arange(2500), lengths)
    writer = RecordWriter(str(tmp_path), "train", "mindrecord", False)
    writer.write(data)
    writer.close()
    again = read_records(*find_split(str(tmp_path), "train"))
    assert same(again, data) and np.array_equal(again.labels, data.labels)


@pytest.mark.parametrize(
    "rows, longest, regression, page",
    [
        (1, 3, False, 1 << 20),
        (3000, 128, False, 1 << 20),
        (100, 128, True, 1 << 20),
        (5000, 3, False, 1 << 15),
    ],
)
def test_mindrecord_writer_gives_mindspores_own_bytes(tmp_path, monkeypatch, rows, longest, regression, page):
    from mindspore.mindrecord import FileWriter

    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir(), theirs.mkdir()
    random = np.random.default_rng(0)
    offsets = offsets_of(random.integers(1, longest + 1, rows))
    # Values of 1, 2 and 4 bytes, the bounds between them included.
    ids = random.choice(
        [0, 127, 128, 255, 256, 32767, 32768, 10**6, 2**31 - 1, -1, -128, -129, -32768, -32769], offsets[-1]
    )
    labels = (
        random.normal(size=rows).astype(np.float32)
        if regression
        else random.integers(-1, 300, rows).astype(np.int32)
    )
    data = Examples(
        ids.astype(np.int32), random.integers(0, 2, offsets[-1]).astype(np.int32), offsets, labels
    )
    monkeypatch.setattr("src.data.records._PAGE_BYTES", page)
    writer = RecordWriter(str(ours), "train", "mindrecord", regression)
    for part in np.array_split(np.arange(rows), min(rows, 3)):
        writer.write(data.take(part))
    writer.close()
    kinds = {
        **dict.fromkeys(("input_ids", "input_mask", "segment_ids"), "int32"),
        "label_ids": str(labels.dtype),
    }
    plain = FileWriter(str(theirs / "train.mindrecord"))
    plain.set_header_size(1 << 21)
    plain.set_page_size(page)
    plain.add_schema(
        {name: {"type": kind, "shape": [-1]} for name, kind in kinds.items()}, "BERT rows without padding"
    )
    plain._verify_based_on_schema = lambda rows: None  # takes most of the time
    plain.write_raw_data(
        [
            {
                "input_ids": data.input_ids[start:end],
                "input_mask": np.ones(end - start, np.int32),
                "segment_ids": data.segment_ids[start:end],
                "label_ids": labels[row : row + 1],
            }
            for row, (start, end) in enumerate(zip(data.offsets[:-1], data.offsets[1:]))
        ]
    )
    plain.commit()
    assert filecmp.cmp(ours / "train.mindrecord", theirs / "train.mindrecord", shallow=False)
    ours, theirs = (sqlite3.connect(folder / "train.mindrecord.db") for folder in (ours, theirs))
    for table in (
        "INDEXES",
        "SHARD_NAME",
    ):  # the files hold the version of the SQLite library that wrote them
        statements = [f"select * from {table}", f"pragma table_info({table})"]
        assert [ours.execute(item).fetchall() for item in statements] == [
            theirs.execute(item).fetchall() for item in statements
        ]


# --- published layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [False, True])
def test_published_padded_tfrecord(tmp_path, schema):
    """Every row is read, also where the schema's numRows speaks of fewer."""
    (tmp_path / "train.tf_record").write_bytes(
        tf_record(padded(1, [5, 6, 7]), padded(0, [9] * 8), padded(1, [4]))
    )
    if schema:
        columns = {
            name: {"type": "int64", "rank": 1, "shape": [8]}
            for name in ("input_ids", "input_mask", "segment_ids")
        }
        columns["label_ids"] = {"type": "int64", "rank": 1, "shape": [1]}
        (tmp_path / "sst2_schema.json").write_text(
            json.dumps({"datasetType": "TF", "numRows": 2, "columns": columns})
        )
    files, kind = find_split(str(tmp_path), "train")
    data = read_records(files, kind, schema=str(tmp_path) if schema else "")
    assert data.lengths.tolist() == [3, 8, 1] and data.input_ids.tolist() == [5, 6, 7] + [9] * 8 + [4]
    assert data.labels.tolist() == [1, 0, 1] and data.labels.dtype == np.int32


def test_several_files_are_read_in_order(tmp_path):
    for number in range(3):
        (tmp_path / f"train_{number}.tf_record").write_bytes(tf_record(padded(number, [number + 1] * 2)))
    assert read_records(*find_split(str(tmp_path), "train")).labels.tolist() == [0, 1, 2]


def test_float_labels_are_scores(tmp_path):
    (tmp_path / "train.tf_record").write_bytes(tf_record({**padded(0, [1, 2]), "label_ids": [2.5]}))
    data = read_records(*find_split(str(tmp_path), "train"))
    assert data.labels.dtype == np.float32 and data.labels.tolist() == [2.5]


def test_rows_without_labels(tmp_path):
    row = padded(0, [1, 2])
    del row["label_ids"]
    (tmp_path / "corpus.tfrecord").write_bytes(tf_record(row))
    files, kind = find_split(str(tmp_path), "train")
    assert read_records(files, kind, need_labels=False).labels is None
    with pytest.raises(
        UserError, match="lacks the column label_ids; its columns are input_ids, input_mask, segment_ids"
    ):
        read_records(files, kind)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"input_mask": [1, 0, 1, 0]}, "not ones followed by zeros"),
        ({"input_mask": [0] * 4}, "not ones followed by zeros"),
        ({"input_mask": [2, 2, 0, 0]}, "not ones followed by zeros"),
        ({"segment_ids": [0, 0]}, "of one length a row"),
        ({"label_ids": [1, 2]}, "2 values a row"),
        ({"input_ids": [5, -6, 0, 0]}, "negative"),
    ],
)
def test_rows_that_make_no_sense(tmp_path, change, message):
    (tmp_path / "train.tf_record").write_bytes(tf_record({**padded(1, [5, 6], 4), **change}))
    with pytest.raises(UserError, match=message):
        read_records(*find_split(str(tmp_path), "train"))


def test_a_short_column_is_noticed_beside_a_longer_row(tmp_path):
    short = {**padded(1, [5, 6, 7, 8], 4), "input_ids": [5, 6]}
    (tmp_path / "train.tf_record").write_bytes(tf_record(short, padded(1, [1] * 8)))
    with pytest.raises(UserError, match="shorter than its input_mask"):
        read_records(*find_split(str(tmp_path), "train"))


# --- which file serves a split ------------------------------------------------------------------------------


def files_for(folder, split, names, kind="auto"):
    for name in names:
        (folder / name).write_bytes(b"x")
    paths, found = find_split(str(folder), split, kind)
    return [path.rpartition("/")[2] for path in paths], found


@pytest.mark.parametrize(
    "names, split, serving",
    [
        (
            [
                "train.mindrecord",
                "train.mindrecord.db",
                "eval.mindrecord",
                "eval_mm.mindrecord",
                "dataset.json",
            ],
            "train",
            ["train.mindrecord"],
        ),
        (["train.mindrecord", "eval.mindrecord", "eval_mm.mindrecord"], "eval", ["eval.mindrecord"]),
        (["train.mindrecord", "eval.mindrecord", "eval_mm.mindrecord"], "eval_mm", ["eval_mm.mindrecord"]),
        (
            ["train.mindrecord0", "train.mindrecord1", "train.mindrecord0.db"],
            "train",
            ["train.mindrecord0", "train.mindrecord1"],
        ),
        (
            ["train.tf_record-00000-of-00002", "train.tf_record-00001-of-00002", "dev.tf_record"],
            "train",
            ["train.tf_record-00000-of-00002", "train.tf_record-00001-of-00002"],
        ),
        (["train_0.tf_record", "train_1.tf_record", "dev.tfrecords"], "eval", ["dev.tfrecords"]),
        (
            ["MNLI_dev_mismatched.tf_record", "MNLI_dev_matched.tf_record"],
            "eval_mm",
            ["MNLI_dev_mismatched.tf_record"],
        ),
        (
            ["MNLI_dev_mismatched.tf_record", "MNLI_dev_matched.tf_record"],
            "eval",
            ["MNLI_dev_matched.tf_record"],
        ),
        (
            ["part-0.tfrecord", "part-1.tfrecord", "notes.txt"],
            "train",
            ["part-0.tfrecord", "part-1.tfrecord"],
        ),
        (["part-0.tfrecord"], "eval", ["part-0.tfrecord"]),
        (["latest.tfrecord"], "train", ["latest.tfrecord"]),
    ],
)
def test_files_serve_by_name(tmp_path, names, split, serving):
    assert files_for(tmp_path, split, names)[0] == serving


def test_files_without_an_ending_are_known_by_their_bytes(tmp_path):
    (tmp_path / "part-00000-of-00001").write_bytes(tf_record(padded(1, [5])))
    assert files_for(tmp_path, "train", ["README", "LICENSE"]) == (["part-00000-of-00001"], "tfrecord")


@pytest.mark.parametrize(
    "names",
    [["dev.mindrecord"], ["eval.tf_record", "part-0.tf_record"], ["test.tfrecord"], ["notes.txt"], []],
)
def test_other_splits_never_train(tmp_path, names):
    with pytest.raises(
        UserError, match="no record files for the split 'train'; it holds " + (", ".join(names) or "nothing")
    ):
        files_for(tmp_path, "train", names)


def test_both_formats_need_a_choice(tmp_path):
    names = ["train.mindrecord", "train.tf_record"]
    with pytest.raises(UserError, match="--dataset_type"):
        files_for(tmp_path, "train", names)
    assert files_for(tmp_path, "train", names, "tfrecord") == (["train.tf_record"], "tfrecord")
    with pytest.raises(UserError, match="does not exist"):
        find_split(str(tmp_path / "nowhere"), "train")


# --- damaged files ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good_mindrecord(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    writer = RecordWriter(str(folder), "train", "mindrecord", False)
    writer.write(examples())
    writer.close()
    return folder


def truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    "damage, message",
    [
        (
            lambda folder: truncate(folder / "train.mindrecord"),
            "train.mindrecord is truncated: [0-9]+ bytes of [0-9]+",
        ),
        (
            lambda folder: (folder / "train.mindrecord").write_bytes(b"foreign" * 100),
            "is not a MindRecord file",
        ),
        (lambda folder: (folder / "train.mindrecord").write_bytes(b""), "train.mindrecord is empty"),
        (lambda folder: (folder / "train.mindrecord.db").unlink(), "train.mindrecord.db is missing"),
        (
            lambda folder: (folder / "train.mindrecord.db").write_bytes(b"foreign" * 100),
            "is not a MindRecord index",
        ),
        (lambda folder: truncate(folder / "train.mindrecord.db"), "train.mindrecord"),
        (
            lambda folder: [
                (folder / f"train.mindrecord{end}").rename(folder / f"train_0.mindrecord{end}")
                for end in ("", ".db")
            ],
            "train_0.mindrecord.db is the index of train.mindrecord: .* must keep them",
        ),
    ],
)
def test_damaged_mindrecord(tmp_path, good_mindrecord, damage, message):
    folder = tmp_path / "data"
    shutil.copytree(good_mindrecord, folder)
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        read_records(*find_split(str(folder), "train"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: data[:-5], "is truncated or damaged"),
        (lambda data: data + b"\0" * 5, "is truncated or damaged"),
        (lambda data: b"foreign" * 100, "is not a TFRecord file"),
        (lambda data: data[:6], "is not a TFRecord file"),
        (lambda data: b"", "is empty"),
        (lambda data: data.replace(b"input_mask", b"input_musk"), "lacks the column input_mask"),
    ],
)
def test_damaged_tfrecord(tmp_path, change, message):
    (tmp_path / "train.tf_record").write_bytes(change(tf_record(padded(1, [5, 6]), padded(0, [7]))))
    with pytest.raises(UserError, match=message):
        read_records(*find_split(str(tmp_path), "train"))


def test_a_record_that_is_no_example(tmp_path):
    data = b"\xff\xff\xff"
    length = struct.pack("<Q", len(data))
    (tmp_path / "train.tf_record").write_bytes(
        length + struct.pack("<I", _masked_crc32c(length)) + data + struct.pack("<I", _masked_crc32c(data))
    )
    with pytest.raises(UserError, match="train.tf_record"):
        read_records(*find_split(str(tmp_path), "train"))


def test_tfrecord_writing_without_tensorflow_names_the_requirements_file(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match="requirements-convert.txt"):
        RecordWriter(str(tmp_path), "train", "tfrecord", False)


# --- dataset.json -------------------------------------------------------------------------------------------


def test_info_comes_back(tmp_path):
    info = DatasetInfo(
        "SST-2",
        "classification",
        ("negative", "positive"),
        "ab12",
        40,
        True,
        64,
        {"train": {"rows": 4, "labelled": True, "length_histogram": {"8": 4}, "files": ["train.mindrecord"]}},
    )
    assert DatasetInfo.load(str(tmp_path)) is None
    info.save(str(tmp_path))
    assert DatasetInfo.load(str(tmp_path)) == info and not info.regression
    (tmp_path / "dataset.json").write_text('{"task_name": "SST-2"}')
    with pytest.raises(UserError, match="lacks head, labels"):
        DatasetInfo.load(str(tmp_path))


def test_histogram_has_every_row_in_its_bucket():
    counts = np.bincount([1, 8, 9, 16, 17, 64])
    assert length_histogram(counts) == {"8": 2, "16": 2, "24": 1, "64": 1}
