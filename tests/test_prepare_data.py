"""prepare_data.py from raw files to readable records, and what it refuses."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import prepare_data
from src.data import prepare_task
from src.data.info import DatasetInfo
from src.data.records import find_split, read_records
from src.files import write_json
from src.kinds import CLASSIFICATION, REGRESSION, TAGGING
from src.vocabulary import vocabulary_hash

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox", "run", "##s", "good", "bad", "."]
THE, FOX, RUN, S, GOOD, BAD, DOT = range(5, 12)


@pytest.fixture
def raw(tmp_path):
    """A folder with a small SST-2 and the vocabulary beside it."""
    folder = tmp_path / "raw"
    folder.mkdir()
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (folder / "train.tsv").write_text("sentence\tlabel\nThe good fox runs.\t1\nbad\t0\nthe fox\t1\n")
    (folder / "dev.tsv").write_text("sentence\tlabel\nbad fox\t0\n")
    (folder / "test.tsv").write_text("index\tsentence\n0\tgood good\n1\tfox\n")
    return folder


def prepare(raw, *more, task_name="SST-2"):
    prepare_data.main(
        [
            "--task_name",
            task_name,
            "--data_dir",
            str(raw),
            "--vocab_file",
            str(raw.parent / "vocab.txt"),
            "--output_dir",
            str(raw.parent / "out"),
            "--num_workers",
            "1",
            *more,
        ]
    )
    return str(raw.parent / "out" / task_name.lower())


def refuse(capsys, raw, *more, task_name="SST-2"):
    """The one line that ends a run with status 2 and nothing written."""
    with pytest.raises(SystemExit) as ended:
        prepare(raw, *more, task_name=task_name)
    message = capsys.readouterr().err
    out = raw.parent / "out"
    assert ended.value.code == 2 and message.count("\n") == 1 and (not out.exists() or not os.listdir(out))
    return message


def rows_of(folder, split, kind=CLASSIFICATION):
    data = read_records(*find_split(folder, split), kind.columns)
    return [
        data.input_ids[start:end].tolist() for start, end in zip(data.offsets[:-1], data.offsets[1:])
    ], data


def contents_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("dataset_type, ending", [("mindrecord", "mindrecord"), ("tfrecord", "tf_record")])
def test_sst2(raw, capsys, dataset_type, ending):
    if dataset_type == "tfrecord":
        pytest.importorskip("tensorflow")
    folder = prepare(raw, "--dataset_type", dataset_type)
    rows, data = rows_of(folder, "train")
    assert rows == [
        [2, THE, GOOD, FOX, RUN, S, DOT, 3],
        [2, BAD, 3],
        [2, THE, FOX, 3],
    ] and data.labels.tolist() == [1, 0, 1]
    assert rows_of(folder, "eval")[0] == [[2, BAD, FOX, 3]]
    rows, data = rows_of(folder, "test")
    assert rows == [[2, GOOD, GOOD, 3], [2, FOX, 3]] and data.labels.tolist() == [-1, -1]
    info = DatasetInfo.load(folder)
    assert (info.task_name, info.kind, info.labels) == ("SST-2", CLASSIFICATION, ("negative", "positive"))
    assert (info.vocab_sha256, info.vocab_size, info.do_lower_case) == (vocabulary_hash(VOCABULARY), 12, True)
    assert info.max_seq_length == 64
    assert info.splits["train"] == {
        "rows": 3,
        "labelled": True,
        "length_histogram": {"8": 3},
        "files": [f"train.{ending}"],
    }
    assert [info.splits[name]["labelled"] for name in ("train", "eval", "test")] == [True, True, False]
    assert os.path.exists(os.path.join(folder, "schema.json")) == (dataset_type == "tfrecord")
    out = capsys.readouterr().out
    assert "train: 3 rows, 0 skipped, 0 cut" in out and "test: 2 rows without labels" in out
    data = f"--task_name SST-2 --train_data_dir {folder} --eval_data_dir {folder}"
    assert out.splitlines()[-1] == (
        f"wrote train, eval, test as {dataset_type} to {folder}; next: without a teacher of this task: "
        f"python run_finetune.py --load_ckpt_path ENCODER {data}; with one: "
        f"python run_task_distill.py --load_teacher_ckpt_path TEACHER {data}"
    )


def test_a_dev_set_alone_is_prepared(raw, capsys):
    (raw / "train.tsv").unlink()
    folder = prepare(raw)
    assert list(DatasetInfo.load(folder).splits) == ["eval"] and rows_of(folder, "eval")[0] == [
        [2, BAD, FOX, 3]
    ]
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == f"no train file in {raw}: the dev set alone is prepared"
    scores = f"python eval.py --task_name SST-2 --data_dir {folder} --model_dir MODEL_DIR"
    assert last.endswith(f"next: score a model of this task: {scores}")
    (raw / "dev.tsv").unlink()
    with pytest.raises(SystemExit):
        prepare(raw)
    assert "no train set; looked for train.tsv" in capsys.readouterr().err


TAGGER = {"architectures": ["BertForTokenClassification"], "num_hidden_layers": 6}
BIOES = ("O", "B-x", "I-x", "E-x", "S-x")


@pytest.mark.parametrize(
    "labels, train, words",
    [
        (
            BIOES,
            True,
            ("is a model of this task: distil it: python run_task_distill.py", "num_hidden_layers 3;"),
        ),
        (BIOES, False, ("next: python eval.py --task_name custom", "--model_dir")),
        (
            BIOES[:3],
            True,
            ("with other labels than these data (O, B-x, I-x)", "python run_finetune.py", "export"),
        ),
        (None, True, ("without a teacher of this task: python run_finetune.py --load_ckpt_path",)),
    ],
)
def test_what_to_run_next_depends_on_the_model_beside_the_vocabulary(raw, capsys, labels, train, words):
    for path in raw.iterdir():
        path.unlink()
    for split in ("train", "dev") if train else ("dev",):
        (raw / f"{split}.jsonl").write_text('{"text": "the fox", "entities": [[4, 7, "x"]]}\n')
    names = {"id2label": dict(enumerate(labels))} if labels else {}
    write_json(str(raw.parent / "config.json"), {**TAGGER, **names} if labels else {"num_hidden_layers": 6})
    prepare(raw, task_name="custom")
    last = capsys.readouterr().out.splitlines()[-1]
    for word in (*words, str(raw.parent)):
        assert word in last


def test_rows_are_cut_and_counted(raw, capsys):
    folder = prepare(raw, "--max_seq_length", "4")
    assert rows_of(folder, "train")[0] == [[2, THE, GOOD, 3], [2, BAD, 3], [2, THE, FOX, 3]]
    assert "train: 3 rows, 0 skipped, 1 cut" in capsys.readouterr().out


def test_missing_test_file_is_no_error(raw, capsys):
    (raw / "test.tsv").unlink()
    assert sorted(DatasetInfo.load(prepare(raw)).splits) == ["eval", "train"]
    assert "no test file" in capsys.readouterr().out


def test_same_bytes_with_any_number_of_workers(raw, monkeypatch):
    monkeypatch.setattr(prepare_task, "CHUNK_ROWS", 2)
    contents = []
    for workers in ("1", "2", "2"):
        folder = prepare(raw, "--num_workers", workers)
        contents.append(contents_of(folder))
    assert contents[0] == contents[1] == contents[2] and len(contents[0]) == 7


def test_mnli_has_matched_and_mismatched_sets(raw):
    for path in raw.iterdir():
        path.unlink()
    head, row = "sentence1\tsentence2\tgold_label", "the fox\t{}\tneutral"
    for name, word in (("train", "bad"), ("dev_matched", "good"), ("dev_mismatched", "run")):
        (raw / f"{name}.tsv").write_text(f"{head}\n{row.format(word)}\n")
    for name, word in (("test_matched", "the"), ("test_mismatched", "fox")):
        (raw / f"{name}.tsv").write_text(f"sentence1\tsentence2\nthe\t{word}\n")
    folder = prepare(raw, task_name="MNLI")
    rows, data = rows_of(folder, "eval_mm")
    assert (
        rows == [[2, THE, FOX, 3, RUN, 3]]
        and data.segment_ids.tolist() == [0, 0, 0, 0, 1, 1]
        and data.labels.tolist() == [1]
    )
    assert rows_of(folder, "eval")[0] == [[2, THE, FOX, 3, GOOD, 3]] and rows_of(folder, "test_mm")[0] == [
        [2, THE, 3, FOX, 3]
    ]
    assert list(DatasetInfo.load(folder).splits) == ["train", "eval", "eval_mm", "test", "test_mm"]


def test_stsb_is_a_regression(raw):
    for path in raw.iterdir():
        path.unlink()
    for name, score in (("train", "2.50"), ("dev", "0.0")):
        (raw / f"{name}.tsv").write_text(f"sentence1\tsentence2\tscore\nthe\tfox\t{score}\n")
    (raw / "test.tsv").write_text("sentence1\tsentence2\nthe\tfox\n")
    folder = prepare(raw, task_name="STS-B")
    assert (
        rows_of(folder, "train", REGRESSION)[1].labels.tolist() == [2.5]
        and rows_of(folder, "test", REGRESSION)[1].labels.dtype == np.float32
    )
    assert DatasetInfo.load(folder).kind == REGRESSION and DatasetInfo.load(folder).labels == ()


def json_lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_own_json_lines(raw):
    for path in raw.iterdir():
        path.unlink()
    json_lines(
        raw / "train.jsonl", {"text": "fox", "label": "z"}, {"text": "run", "text_pair": "bad", "label": "no"}
    )
    json_lines(raw / "eval.jsonl", {"text": "fox", "label": "no"})
    folder = prepare(raw, task_name="custom")
    rows, data = rows_of(folder, "train")
    assert rows == [[2, FOX, 3], [2, RUN, 3, BAD, 3]] and data.labels.tolist() == [1, 0]
    assert DatasetInfo.load(folder).labels == ("no", "z")
    assert DatasetInfo.load(prepare(raw, "--labels", "z,no", task_name="custom")).labels == ("z", "no")


def test_case_follows_the_vocabulary(raw):
    (raw.parent / "vocab.txt").write_text("\n".join(VOCABULARY + ["The"]) + "\n")
    folder = prepare(raw)
    assert not DatasetInfo.load(folder).do_lower_case and rows_of(folder, "train")[0][0][1] == 12
    folder = prepare(raw, "--do_lower_case", "true")
    assert DatasetInfo.load(folder).do_lower_case and rows_of(folder, "train")[0][0][1] == THE


def test_case_and_accents_are_as_the_tokenizers_files_beside_the_vocabulary_say(raw, capsys):
    write_json(raw.parent / "tokenizer_config.json", {"do_lower_case": False, "strip_accents": True})
    info = DatasetInfo.load(prepare(raw))
    assert (info.do_lower_case, info.strip_accents) == (False, True)
    out = capsys.readouterr().out
    assert "note: tokenizer_config.json says that text keeps its case" in out and "strip_accents true" in out


def test_malformed_rows_are_skipped_only_on_request(raw, capsys):
    with open(raw / "train.tsv", "a") as file:
        file.write("torn row\n")
    assert "train.tsv, line 5: 1 tab-separated fields instead of 2" in refuse(capsys, raw)
    folder = prepare(raw, "--skip_bad_rows")
    splits = DatasetInfo.load(folder).splits
    assert (splits["train"]["rows"], splits["train"]["skipped"]) == (3, 1) and "skipped" not in splits["eval"]
    out = capsys.readouterr().out
    assert "train: 3 rows, 1 skipped" in out and "first skipped row: " in out and "line 5" in out


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("dev.tsv", None, "no dev set; looked for dev.tsv"),
        ("train.tsv", "", "train.tsv is empty"),
        ("dev.tsv", "sentence\tlabel\n", "dev.tsv holds no rows"),
        (
            "dev.tsv",
            "sentence\tlabel\nfox\t7\n",
            "dev.tsv, line 2: the label '7' is none of negative, positive",
        ),
        ("test.tsv", "index\tline\n0\tfox\n", "test.tsv has no column sentence"),
        ("../vocab.txt", None, "vocab_file: cannot read"),
        ("../vocab.txt", "fox\n", "vocab_file"),
    ],
)
def test_bad_files_leave_nothing_behind(raw, capsys, name, content, message):
    (raw / name).unlink()
    if content is not None:
        (raw / name).write_text(content)
    assert message in refuse(capsys, raw)


def test_bad_settings(raw, capsys):
    assert "unknown task 'SST'" in refuse(capsys, raw, task_name="SST")
    assert "max_seq_length 2" in refuse(capsys, raw, "--max_seq_length", "2")
    assert "did you mean max_seq_length" in refuse(capsys, raw, "--max_seq_len", "64")
    assert "output_dir is needed" in refuse(capsys, raw, "--output_dir", "")


def test_a_failed_run_keeps_the_earlier_result(raw):
    folder = prepare(raw)
    before = contents_of(folder)
    (raw / "dev.tsv").write_text("sentence\tlabel\nfox\t7\n")
    with pytest.raises(SystemExit):
        prepare(raw)
    assert contents_of(folder) == before
    assert os.listdir(raw.parent / "out") == ["sst-2"]


def test_folders_that_are_no_earlier_result_are_not_replaced(raw, capsys):
    precious = raw.parent / "out" / "sst-2"
    precious.mkdir(parents=True)
    (precious / "notes.txt").write_text("keep me")
    with pytest.raises(SystemExit):
        prepare(raw)
    assert (
        "is no earlier result of prepare_data.py" in capsys.readouterr().err
        and (precious / "notes.txt").exists()
    )
    inside = raw.rename(raw.parent / "sst-2")
    (inside / "dataset.json").write_text("{}")
    with pytest.raises(SystemExit):
        prepare(inside, "--output_dir", str(inside.parent))
    assert "would replace" in capsys.readouterr().err and (inside / "train.tsv").exists()


def test_tags_keep_their_places_and_entities_that_are_cut_off_are_counted(raw, capsys):
    for path in raw.iterdir():
        path.unlink()
    (raw / "train.jsonl").write_text(
        '{"text": "the good fox", "entities": [[4, 12, "x"]]}\n'
        '{"text": "bad fox run", "entities": [[0, 3, "x"], [8, 11, "y"]]}\n'
    )
    (raw / "dev.conll").write_text("the O\nfoxs B-x\nfox I-x\n\nrun S-y\n")
    (raw / "test.txt").write_text("run\n")
    folder = prepare(raw, "--max_seq_length", "4", task_name="custom")
    tags = [rows_of(folder, split, TAGGING)[1].labels.tolist() for split in ("train", "eval", "test")]
    # O, then B, I, E and S of x and of y; the first row's entity and the second row's last are cut.
    assert tags == [[-1, 0, -1, -1, -1, 4, 0, -1], [-1, 0, -1, -1, -1, 8, -1], [-1, -1, -1]]
    out = capsys.readouterr().out
    assert out.count("  2 entities lost: cut off") == 1 and out.count("  1 entities lost: cut off") == 1
    info = DatasetInfo.load(folder)
    assert info.kind is TAGGING and info.labels == TAGGING.tags(("x", "y"))
    assert [info.splits[name]["labelled"] for name in ("train", "eval", "test")] == [True, True, False]


def test_an_overlap_ends_the_run_with_file_and_line(raw, capsys):
    for path in raw.iterdir():
        path.unlink()
    row = '{"text": "the fox", "entities": [[0, 3, "x"], [2, 5, "y"]]}\n'
    for split in ("train", "dev"):
        (raw / f"{split}.jsonl").write_text(row)
    message = refuse(capsys, raw, task_name="custom")
    assert "train.jsonl, line 1: the entities x 0-3 and y 2-5 overlap" in message
