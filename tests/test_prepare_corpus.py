"""prepare_data.py from a text corpus to records: neither processes nor interruptions change a byte."""

import fcntl
import gzip
import json
import os
from pathlib import Path

import pytest

import prepare_data
from src.data.corpus import blocks as corpus_blocks
from src.data.corpus.blocks import read_blocks
from src.data.corpus.files import find_files
from src.data.corpus.packing import Packer, Recipe
from src.data.corpus.shards import ShardFolder
from src.data.info import DatasetInfo
from src.data.readers.rows import BadRows
from src.data.records import find_split, read_records
from src.errors import UserError
from src.files import _HOST
from src.kinds import CLASSIFICATION
from src.tasks import get_task
from tests.texts import DOCUMENTS, TEXTS, VOCABULARY, plain


def small_blocks(monkeypatch):
    """With --shard_mb 1, shards of three blocks of 2 kB of text."""
    for name, value in (("_MIB", 6 << 10), ("_LARGEST_BLOCK", 2 << 10), ("_SMALLEST_BLOCK", 2 << 10)):
        monkeypatch.setattr(corpus_blocks, name, value)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A folder with a corpus of several shards; the vocabulary is beside it."""
    small_blocks(monkeypatch)
    (tmp_path / "raw").mkdir()
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (tmp_path / "raw" / "a").write_text(plain(DOCUMENTS[:30]))
    (tmp_path / "raw" / "b").write_bytes(gzip.compress(plain(DOCUMENTS[30:]).encode()))
    return tmp_path / "raw"


def prepare(raw, *more, out="out", workers=1):
    corpus = () if "--input" in more else ("--input", str(raw))  # which may be given once
    prepare_data.main(
        [
            "--task_name",
            "GD",
            *corpus,
            "--vocab_file",
            str(raw.parent / "vocab.txt"),
            "--output_dir",
            str(raw.parent / out),
            "--num_workers",
            str(workers),
            "--max_seq_length",
            "32",
            "--shard_mb",
            "1",
            *more,
        ]
    )
    return raw.parent / out / "gd"


def test_only_one_process_writes_into_a_folder(raw, capsys):
    folder = raw.parent / "out" / "gd"
    folder.mkdir(parents=True)
    other = os.open(folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert f"{folder} is being written by process {os.getpid()}, " in refused(capsys, raw)
    assert not os.listdir(folder)
    os.close(other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.files._lock", lambda _: None)  # as on NFS
        assert "dataset.json" in os.listdir(prepare(raw))
    assert f"output_dir: {folder} cannot be locked; let no other" in capsys.readouterr().out


def refused(capsys, raw, *more, **options):
    with pytest.raises(SystemExit) as ended:
        prepare(raw, *more, **options)
    message = capsys.readouterr().err
    assert ended.value.code == 2 and message.count("\n") == 1
    return message


def contents_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def rows_of(folder):
    """Sorted (ids, segments, label) of a folder's rows."""
    data = read_records(*find_split(str(folder), "train"), CLASSIFICATION.columns)
    return sorted(
        (data.input_ids[start:end].tolist(), data.segment_ids[start:end].tolist(), int(label))
        for start, end, label in zip(data.offsets[:-1], data.offsets[1:], data.labels)
    )


def test_text_to_records(raw, capsys):
    folder = prepare(raw)
    files = sorted(name for name in os.listdir(folder) if name.endswith(".mindrecord"))
    info = DatasetInfo.load(str(folder))
    assert len(files) > 3 and files[0] == "train-00000.mindrecord" and info.splits["train"]["files"] == files
    assert (info.task_name, info.labels, info.max_seq_length, info.do_lower_case) == ("gd", (), 32, True)
    blocks = list(read_blocks(find_files([str(raw)]), BadRows(), 2 << 10))
    packer = Packer(VOCABULARY, True, Recipe(32, 0.1, True, 1, 0.0, seed=42))
    expected = []
    for block in blocks:
        data = packer(block).examples
        expected += [
            (data.input_ids[start:end].tolist(), data.segment_ids[start:end].tolist(), int(label))
            for start, end, label in zip(data.offsets[:-1], data.offsets[1:], data.labels)
        ]
    assert rows_of(folder) == sorted(expected) and info.splits["train"]["rows"] == len(expected)
    assert (
        sum(info.splits["train"]["length_histogram"].values()) == len(expected)
        and info.splits["train"]["labelled"]
    )
    out = capsys.readouterr().out
    assert f"corpus: {len(DOCUMENTS)} documents, {len(TEXTS)} sentences" in out and "lines/s" in out
    assert out.splitlines()[-1].endswith(
        f"next: python run_general_distill.py --data_dir {folder} --load_teacher_ckpt_path ENCODER"
    )
    with pytest.raises(UserError, match="unknown task 'gd'"):
        get_task(info.task_name)


def test_without_labels(raw):
    folder = prepare(raw, "--next_sentence", "false")
    assert set(read_records(*find_split(str(folder), "train"), CLASSIFICATION.columns).labels.tolist()) == {
        -1
    }
    assert not DatasetInfo.load(str(folder)).splits["train"]["labelled"]


def test_neither_workers_nor_interruptions_change_a_byte(raw, monkeypatch, capsys):
    expected = contents_of(prepare(raw, out="one"))
    assert contents_of(prepare(raw, out="two", workers=2)) == expected
    folder, finished = raw.parent / "three" / "gd", []

    def stop_after_two(shards, number, original=ShardFolder.shard):
        if len(finished) == 2:
            raise KeyboardInterrupt
        finished.append(number)
        return original(shards, number)

    monkeypatch.setattr(ShardFolder, "shard", stop_after_two)
    with pytest.raises(SystemExit) as ended:
        prepare(raw, out="three", workers=2)
    assert (
        ended.value.code == 130
        and len(list(folder.glob("*.mindrecord"))) == 2
        and not (folder / "dataset.json").exists()
    )
    monkeypatch.undo()
    small_blocks(monkeypatch)
    left = folder / f".writing-12345678-{_HOST}"  # what a killed run leaves
    left.mkdir()
    (left / "train-00002.mindrecord").write_text("half")
    capsys.readouterr()
    prepare(raw, out="three")
    assert contents_of(folder) == expected and "has 2 finished shards; continuing" in capsys.readouterr().out
    (folder / "train-00001.mindrecord").unlink()  # lost later
    prepare(raw, out="three")
    assert contents_of(folder) == expected
    said = json.loads((folder / "dataset.json").read_text())
    for splits in ({}, {"train": {}}):  # names no files: as good as not there
        (folder / "dataset.json").write_text(json.dumps({**said, "splits": splits}))
        prepare(raw, out="three")
        assert contents_of(folder) == expected
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    capsys.readouterr()
    prepare(raw, out="three")
    assert "is complete" in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_tfrecord(raw):
    pytest.importorskip("tensorflow")
    folder = prepare(raw, "--dataset_type", "tfrecord", out="tf")
    assert len(list(folder.glob("train-*.tf_record"))) > 3 and (folder / "schema.json").exists()
    assert rows_of(folder) == rows_of(prepare(raw))


def test_another_plan_is_refused(raw, capsys):
    prepare(raw)
    assert "was begun with seed 42, now it is 43" in refused(capsys, raw, "--seed", "43")
    assert "was begun with max_seq_length 32, now it is 40" in refused(capsys, raw, "--max_seq_length", "40")
    (raw / "c").write_text("more")
    assert 'was begun with inputs[2] null, now it is "c, 4 bytes, ' in refused(capsys, raw)
    (raw / "c").unlink()
    text = (raw / "a").read_text()
    (raw / "a").write_text(text.swapcase())  # of the same length
    assert "was begun with inputs[0]" in refused(capsys, raw)
    (raw / "a").write_text(text)
    assert "is complete" in (prepare(raw), capsys.readouterr().out)[1]


@pytest.mark.parametrize(
    "more, message",
    [
        (["--data_dir", "x"], "data_dir does not apply to task_name GD"),
        (["--labels", "a,b"], "labels does not apply"),
        (["--input", "absent"], "input: absent does not exist"),
        (["--input", ""], "input: an empty path does not exist"),
        (["--max_seq_length", "7"], "max_seq_length 7 leaves no room"),
        (["--short_seq_prob", "2"], "short_seq_prob"),
        (["--task_name", "SST-2", "--data_dir", "x"], "input does not apply to task_name SST-2"),
        (["--output_dir", ""], "output_dir is needed"),
    ],
)
def test_bad_settings(raw, capsys, more, message):
    assert message in refused(capsys, raw, *more) and not (raw.parent / "out").exists()


def test_bad_corpora_and_folders(raw, capsys):
    assert "lies inside the input" in refused(capsys, raw, "--output_dir", str(raw / "inside"))
    (raw / "b").write_bytes((raw / "b").read_bytes()[:-200])
    assert "b is truncated or damaged" in refused(capsys, raw)
    for path in raw.iterdir():
        path.write_text(" \n\n")
    assert "holds no text" in refused(capsys, raw, out="blank")
    (raw.parent / "other" / "gd").mkdir(parents=True)
    (raw.parent / "other" / "gd" / "notes.txt").write_text("keep me")
    assert "other/gd holds notes.txt and is no earlier result" in refused(capsys, raw, out="other")
    (raw.parent / "vocab.txt").write_text(
        "\n".join(token for token in VOCABULARY if token != "[MASK]") + "\n"
    )
    assert "has no [MASK]" in refused(capsys, raw, "--masked_lm_prob", "0.15")
