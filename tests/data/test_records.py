"""Record files: round trips, published layouts, which file serves a split, and damaged files."""

import filecmp
import json
import os
import resource
import shutil

import numpy as np
import pytest

from src.data.record_writer import RecordWriter, import_tensorflow
from src.data.records import count_rows, find_split, read_records
from src.errors import UserError
from src.examples import Column, Examples, offsets_of
from src.kinds import CLASSIFICATION, REGRESSION, SPAN
from tests.helpers import labelled, make_examples, write_split

LENGTHS = [3, 1, 7, 2]
LABELS = CLASSIFICATION.columns
TAGS = Column("tag_ids", np.int32, "token", fill=-100)
WEIGHTS = Column("weights", np.float32, "token")


def examples(labels=(0, 1, 2, 1), lengths=LENGTHS, kind=CLASSIFICATION):
    count = sum(lengths)
    tokens = np.arange(count, dtype=np.int32)
    return Examples(tokens + 100, tokens % 2, offsets_of(lengths), labelled(kind, labels))


def assert_same(left, right):
    for name in ("input_ids", "segment_ids", "offsets"):
        one, other = getattr(left, name), getattr(right, name)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert set(left.columns) == set(right.columns)
    for column, values in left.columns.items():
        np.testing.assert_array_equal(values, right.columns[column])
        assert values.dtype == column.dtype


def written(folder, data, columns=LABELS, dataset_type="mindrecord", split="train", chunks=1):
    """The path of the record file."""
    if dataset_type == "tfrecord":
        pytest.importorskip("tensorflow")
    writer = RecordWriter(str(folder), split, dataset_type, columns)
    for rows in np.array_split(np.arange(len(data)), chunks):
        writer.write(data.take(rows))
    writer.close()
    return folder / writer.name


def read(folder, split="train", columns=LABELS, **options):
    return read_records(*find_split(str(folder), split), columns, **options)


def refused(folder, message, **options):
    with pytest.raises(UserError, match=message) as caught:
        read(folder, **options)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def tf_record(path, *rows):
    """A TFRecord file of rows {name: list of int or of float}, by TensorFlow."""
    pytest.importorskip("tensorflow")
    tensorflow = import_tensorflow()
    train = tensorflow.train
    with tensorflow.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            feature = {
                name: train.Feature(float_list=train.FloatList(value=values))
                if isinstance(values[0], float)
                else train.Feature(int64_list=train.Int64List(value=values))
                for name, values in row.items()
            }
            writer.write(train.Example(features=train.Features(feature=feature)).SerializeToString())


def padded(label, ids, length=8):
    rest = [0] * (length - len(ids))
    return {
        "input_ids": ids + rest,
        "input_mask": [1] * len(ids) + rest,
        "segment_ids": [0] * length,
        "label_ids": [label],
    }


# --- round trips --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset_type", ["mindrecord", "tfrecord"])
@pytest.mark.parametrize("kind", [CLASSIFICATION, REGRESSION], ids=lambda kind: kind.name)
def test_what_is_written_is_read(tmp_path, dataset_type, kind):
    labels = (0.5, -2.25, 3.0, 5.0) if kind is REGRESSION else (0, 1, 2, 1)
    data = examples(labels, kind=kind)
    path = written(tmp_path, data, kind.columns, dataset_type, chunks=2)
    assert_same(read(tmp_path, columns=kind.columns), data)
    assert count_rows([str(path)] * 2, dataset_type) == [4, 4]


@pytest.mark.parametrize("dataset_type", ["mindrecord", "tfrecord"])
def test_columns_of_a_value_per_token(tmp_path, dataset_type):
    data = examples()
    values = np.random.default_rng(0).normal(size=13).astype(np.float32)
    data.columns.update({TAGS: np.arange(13, dtype=np.int32) - 100, WEIGHTS: values})
    written(tmp_path, data, (*LABELS, TAGS, WEIGHTS), dataset_type)
    assert_same(read(tmp_path, columns=(*LABELS, TAGS, WEIGHTS)), data)
    (labels,) = read(tmp_path).columns.values()
    assert labels.tolist() == [0, 1, 2, 1] and read(tmp_path, columns=()).columns == {}


@pytest.mark.parametrize("dataset_type", ["mindrecord", "tfrecord"])
def test_columns_of_two_values_a_row(tmp_path, dataset_type):
    data = examples(labels=None)
    (column,) = SPAN.columns
    data.columns[column] = np.int32([[1, 2], [0, 0], [2, 3], [3, 3]])
    written(tmp_path, data, SPAN.columns, dataset_type)
    assert_same(read(tmp_path, columns=SPAN.columns), data)
    with pytest.raises(UserError, match="answer_positions holds 2 values a row; 1 is expected"):
        read(tmp_path, columns=(Column(column.name, np.int32),))
    written(tmp_path, examples(labels=None), SPAN.columns, dataset_type, "test")
    assert not read(tmp_path, "test", SPAN.columns).labels.any()


@pytest.mark.parametrize("kind, mark", [(CLASSIFICATION, -1), (REGRESSION, 0.0)])
def test_unlabelled_rows_are_marked(tmp_path, kind, mark):
    written(tmp_path, examples(labels=None), (*kind.columns, TAGS), split="test")
    data = read(tmp_path, "test", (*kind.columns, TAGS))
    assert data.columns[kind.columns[0]].tolist() == [mark] * 4
    assert data.columns[TAGS].tolist() == [-100] * 13


def test_token_ids_of_every_size_and_more_rows_than_one_reading_batch(tmp_path):
    random = np.random.default_rng(0)
    lengths = random.integers(1, 40, 2500)
    data = examples(random.integers(-1, 300, 2500), lengths)
    data.input_ids[:] = random.choice([0, 127, 128, 255, 256, 32767, 32768, 2**31 - 1], sum(lengths))
    path = written(tmp_path, data, chunks=3)
    assert_same(read(tmp_path), data)
    assert count_rows([str(path)], "mindrecord") == [2500]


@pytest.mark.parametrize("dataset_type", ["mindrecord", "tfrecord"])
def test_equal_rows_give_equal_bytes(tmp_path, dataset_type):
    names = {"mindrecord": ["train.mindrecord", "train.mindrecord.db"], "tfrecord": ["train.tf_record"]}
    data = make_examples(5000, 60)
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        written(folder, data, dataset_type=dataset_type, chunks=3)
    for name in names[dataset_type]:
        assert filecmp.cmp(tmp_path / "one" / name, tmp_path / "two" / name, shallow=False)


def test_files_are_for_everybody_and_of_the_size_of_their_rows(tmp_path):
    written(tmp_path, examples())
    for name in ("train.mindrecord", "train.mindrecord.db"):
        assert os.stat(tmp_path / name).st_mode & 0o777 == 0o644
        assert os.path.getsize(tmp_path / name) < 4 << 20


@pytest.mark.parametrize("dataset_type", ["mindrecord", "tfrecord"])
def test_a_disk_that_fills_up_is_one_line(tmp_path, dataset_type):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if dataset_type == "tfrecord":
        pytest.importorskip("tensorflow")
        import_tensorflow()
    data = make_examples(3000, 100, shortest=100)
    with pytest.raises(UserError, match="cannot be written") as caught:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            written(tmp_path, data, dataset_type=dataset_type)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


# --- published layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [False, True])
def test_published_padded_tfrecord(tmp_path, schema):
    """Every row is read, also where the schema's numRows speaks of fewer."""
    rows = padded(1, [5, 6, 7]), padded(0, [9] * 8), padded(1, [4])
    tf_record(tmp_path / "train.tf_record", *rows)
    if schema:
        columns = {
            name: {"type": "int64", "rank": 1, "shape": [8]}
            for name in ("input_ids", "input_mask", "segment_ids")
        }
        columns["label_ids"] = {"type": "int64", "rank": 1, "shape": [1]}
        text = json.dumps({"datasetType": "TF", "numRows": 2, "columns": columns})
        (tmp_path / "sst2_schema.json").write_text(text)
    data = read(tmp_path, schema=str(tmp_path) if schema else "")
    assert data.lengths.tolist() == [3, 8, 1] and data.input_ids.tolist() == [5, 6, 7] + [9] * 8 + [4]
    assert data.labels.tolist() == [1, 0, 1] and data.labels.dtype == np.int32


def test_rows_that_fill_a_batch_of_run_classifier_are_left_out(tmp_path):
    filler = {**padded(0, []), "is_real_example": [0]}
    rows = [{**padded(1, [5, 6]), "is_real_example": [1]}, {**padded(0, [7]), "is_real_example": [1]}]
    tf_record(tmp_path / "eval.tf_record", *rows, filler, filler)
    tf_record(tmp_path / "predict.tf_record", *rows, filler)
    for split in ("eval", "test"):
        files, dataset_type = find_split(str(tmp_path), split)
        data = read_records(files, dataset_type, LABELS)
        assert data.labels.tolist() == [1, 0] and data.input_ids.tolist() == [5, 6, 7]
    tf_record(tmp_path / "eval.tf_record", filler)
    with pytest.raises(UserError, match="eval.tf_record holds no rows"):
        read_records([str(tmp_path / "eval.tf_record")], "tfrecord", LABELS)


def test_the_corpus_of_create_pretraining_data(tmp_path):
    row = padded(0, [5, 6, 7])
    del row["label_ids"]
    masked = {"masked_lm_positions": [1, 0], "masked_lm_ids": [9, 0], "masked_lm_weights": [1.0, 0.0]}
    tf_record(tmp_path / "tf_examples.tfrecord", {**row, **masked, "next_sentence_labels": [1]})
    data = read(tmp_path, columns=())
    assert data.input_ids.tolist() == [5, 6, 7] and data.columns == {}


def test_several_files_are_read_in_order(tmp_path):
    for number in range(3):
        tf_record(tmp_path / f"train_{number}.tf_record", padded(number, [number + 1] * 2))
    assert read(tmp_path).labels.tolist() == [0, 1, 2]


def test_float_labels_are_scores(tmp_path):
    tf_record(tmp_path / "train.tf_record", {**padded(0, [1, 2]), "label_ids": [2.5]})
    data = read(tmp_path)
    assert data.labels.dtype == np.float32 and data.labels.tolist() == [2.5]


def test_rows_without_labels(tmp_path):
    row = padded(0, [1, 2])
    del row["label_ids"]
    tf_record(tmp_path / "corpus.tfrecord", row)
    assert read(tmp_path, columns=()).columns == {}
    refused(tmp_path, "lacks the column label_ids; its columns are input_ids, input_mask, segment_ids")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"input_mask": [1, 0, 1, 0]}, "not ones followed by zeros"),
        ({"input_mask": [0] * 4}, "not ones followed by zeros"),
        ({"input_mask": [2, 2, 0, 0]}, "not ones followed by zeros"),
        ({"segment_ids": [0, 0]}, "of one length a row"),
        ({"tag_ids": [0, 0]}, "of one length a row"),
        ({"label_ids": [1, 2]}, "2 values a row"),
        ({"input_ids": [5, -6, 0, 0]}, "negative"),
    ],
)
def test_rows_that_make_no_sense(tmp_path, change, message):
    row = {**padded(1, [5, 6], 4), "tag_ids": [0] * 4, **change}
    tf_record(tmp_path / "train.tf_record", row)
    refused(tmp_path, message, columns=(*LABELS, TAGS))


@pytest.mark.parametrize("name", ["input_ids", "tag_ids"])
def test_a_short_column_is_noticed_beside_a_longer_row(tmp_path, name):
    short = {**padded(1, [5, 6, 7, 8], 4), "tag_ids": [0] * 4, name: [5, 6]}
    tf_record(tmp_path / "train.tf_record", short, {**padded(1, [1] * 8), "tag_ids": [0] * 8})
    refused(tmp_path, f"{name} are shorter than its input_mask", columns=(*LABELS, TAGS))


# --- which file serves a split ------------------------------------------------------------------------------


def files_for(folder, split, names, kind="auto"):
    for name in names:
        (folder / name).write_bytes(b"" if name == "empty" else b"x")
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


def test_files_without_an_ending_are_known_by_what_they_hold(tmp_path, capfd):
    tf_record(tmp_path / "part-00000-of-00001", padded(1, [5]))
    assert files_for(tmp_path, "train", ["README", "LICENSE", "empty"]) == (
        ["part-00000-of-00001"],
        "tfrecord",
    )
    assert capfd.readouterr() == ("", "")  # MindSpore's own opinion of a README


@pytest.mark.parametrize("name", ["vocab.txt", "eval.texts.jsonl", "layers.NPZ", "train.tsv", "schema.json"])
def test_a_file_of_another_format_is_not_opened_as_tfrecord(tmp_path, monkeypatch, name):
    monkeypatch.setattr("src.data.records._is_tfrecord", lambda path: pytest.fail(f"{path} was opened"))
    assert files_for(tmp_path, "train", ["train.tf_record", name])[0] == ["train.tf_record"]


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
    write_split(folder, "train", make_examples(6000, 60, shortest=60))  # several pages
    return folder


def cut(path, size):
    """Keep the first `size` bytes, or all but the last -`size`."""
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    "damage, counting, reading",
    [
        (lambda path: cut(path, -1), "is truncated", "may be truncated"),
        (lambda path: cut(path, -5000), "is truncated", "may be truncated"),
        (lambda path: cut(path, (2 << 20) + 1000), "is truncated", "may be truncated"),
        (lambda path: cut(path, 2 << 20), "is truncated", "may be truncated"),
        (lambda path: cut(path, 10_000), "is truncated", "may be truncated"),
        (lambda path: cut(path, 100), "is not a whole MindRecord file", "cannot be read as mindrecord"),
        (lambda path: cut(path, 5), "is not a whole MindRecord file", "cannot be read as mindrecord"),
        (lambda path: path.write_bytes(b"foreign" * 100), "is not a whole MindRecord", "cannot be read"),
        (lambda path: path.write_bytes(b""), "is empty", "is empty"),
        (lambda path: os.remove(f"{path}.db"), "[.]db is missing", "[.]db is missing"),
        (lambda path: open(f"{path}.db", "wb").close(), "is not a whole MindRecord", "cannot be read"),
        (lambda path: cut(path.with_name(path.name + ".db"), 8192), "is not a whole", "cannot be read"),
    ],
)
def test_damaged_mindrecord(tmp_path, good_mindrecord, damage, counting, reading):
    folder = tmp_path / "data"
    shutil.copytree(good_mindrecord, folder)
    damage(folder / "train.mindrecord")
    refused(folder, f"train.mindrecord.*{reading}")
    with pytest.raises(UserError, match=f"train.mindrecord.*{counting}"):
        count_rows([str(folder / "train.mindrecord")], "mindrecord")


def test_an_index_that_is_cut_at_its_end(tmp_path, good_mindrecord):
    shutil.copytree(good_mindrecord, tmp_path / "data")
    cut(tmp_path / "data" / "train.mindrecord.db", -5)
    refused(tmp_path / "data", "train.mindrecord cannot be read as mindrecord")


def test_renamed_mindrecord(tmp_path, good_mindrecord):
    for ending in ("", ".db"):
        shutil.copy(good_mindrecord / f"train.mindrecord{ending}", tmp_path / f"train_0.mindrecord{ending}")
    refused(tmp_path, "train_0.mindrecord cannot be read as mindrecord.* do not rename")


def test_a_mindrecord_file_without_rows(tmp_path):
    RecordWriter(str(tmp_path), "train", "mindrecord", LABELS).close()
    refused(tmp_path, "train.mindrecord ")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: data[:-5], "is truncated or damaged"),
        (lambda data: data[: len(data) // 2 - 2], "is truncated or damaged"),
        (lambda data: data[: len(data) // 2 + 10], "is truncated or damaged"),
        (lambda data: data + b"\0" * 5, "is truncated or damaged"),
        (lambda data: b"foreign" * 100, "is not a TFRecord file"),
        (lambda data: data[:6], "is not a TFRecord file"),
        (lambda data: b"", "is empty"),
        (lambda data: data.replace(b"input_mask", b"input_musk"), "lacks the column input_mask"),
    ],
)
def test_damaged_tfrecord(tmp_path, change, message):
    path = tmp_path / "train.tf_record"
    tf_record(path, padded(1, [5, 6]), padded(0, [7]))
    path.write_bytes(change(path.read_bytes()))
    refused(tmp_path, message)


def test_a_record_that_is_no_example(tmp_path):
    pytest.importorskip("tensorflow")
    with import_tensorflow().io.TFRecordWriter(str(tmp_path / "train.tf_record")) as writer:
        writer.write(b"\xff\xff\xff")
    refused(tmp_path, "train.tf_record")


def test_tfrecord_writing_without_tensorflow_names_the_requirements_file(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match="requirements-convert.txt"):
        RecordWriter(str(tmp_path), "train", "tfrecord", LABELS)
