"""Raw files where a command expects records: what is prepared, as whose reader, and what is refused."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from src import raw_data
from src.data.task_data import load_task_data
from src.description import Description
from src.kinds import CLASSIFICATION
from src.raw_data import Reading, as_records, dev_records
from src.settings.network import NOTHING, BertConfig
from src.settings.tools import EvaluateConfig
from src.settings.training import FinetuneConfig, TaskDistillConfig, TernaryConfig
from src.tasks import get_task
from tests.helpers import refusal, write_info

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "fox", "dog", "Fox")
CLS, SEP, FOX, DOG, CASED = 2, 3, 4, 5, 6
ROWS = "sentence\tlabel\nFox dog\t1\ndog\t0\n"


@pytest.fixture(autouse=True)
def reader(monkeypatch):
    """What every model here says of itself: its text keeps its case, rows have 8 tokens at most."""
    bert = BertConfig(vocab_size=7, hidden_size=4, num_attention_heads=1, max_position_embeddings=8)
    description = Description(bert, CLASSIFICATION, 2, ("no", "a"), do_lower_case=False, source="model")
    checkpoint = SimpleNamespace(description=description, vocabulary=VOCABULARY)
    monkeypatch.setattr(raw_data, "read_any", lambda path, known: SimpleNamespace(checkpoint=checkpoint))
    return checkpoint


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return str(folder)


def training(tmp_path, data, **changes):
    values = {"task_name": "sst-2", "data_dir": data, "student_model_dir": "model", "num_workers": 1}
    return TernaryConfig(output_dir=str(tmp_path / "out"), **{**values, **changes})


def prepared(settings):
    return as_records(settings, ("data_dir",), "student_model_dir", NOTHING, "ternary")


def tokens(examples):
    starts = examples.offsets.tolist()
    return [examples.input_ids[start:end].tolist() for start, end in zip(starts, starts[1:])]


def test_raw_files_are_prepared_in_the_run_folder_as_the_model_reads(tmp_path, capsys):
    data = write(
        tmp_path / "data" / "sst-2", train__tsv=ROWS, dev__tsv=ROWS, train_aug__tsv=ROWS + "fox\t1\n"
    )
    settings = prepared(training(tmp_path, str(tmp_path / "data")))
    assert settings.data_dir == str(tmp_path / "out" / "records" / "sst-2")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("data_dir: ")]
    assert len(said) == 1 and data in said[0] and settings.data_dir in said[0]
    read = load_task_data(get_task("sst-2"), settings.data_dir, settings.data_dir)
    assert tokens(read.train) == [[CLS, CASED, DOG, SEP], [CLS, DOG, SEP]]
    assert (read.info.max_seq_length, read.info.do_lower_case) == (8, False)
    assert prepared(settings) == settings  # records stay

    changed = training(tmp_path, str(tmp_path / "data"), aug_train=True, do_lower_case=True, max_seq_length=3)
    settings = prepared(changed)
    read = load_task_data(get_task("sst-2"), settings.data_dir, settings.data_dir)
    assert tokens(read.train) == [[CLS, FOX, SEP], [CLS, DOG, SEP], [CLS, FOX, SEP]]


def test_own_data_are_numbered_as_a_teacher_numbers_them_but_not_as_an_old_head(tmp_path):
    rows = '{"text": "fox", "label": "a"}\n{"text": "dog", "label": "no"}\n'
    data = write(tmp_path / "data", train__jsonl=rows, dev__jsonl=rows)
    settings = prepared(training(tmp_path, data, task_name="custom"))
    assert load_task_data(get_task("custom"), "", settings.data_dir).labels == ("no", "a")
    tuned = FinetuneConfig(
        task_name="custom", train_data_dir=data, eval_data_dir=data, load_ckpt_path="m", num_workers=1
    )
    tuned = replace(tuned, output_dir=str(tmp_path / "tuned"))
    tuned = as_records(tuned, ("train_data_dir", "eval_data_dir"), "load_ckpt_path", NOTHING, "finetune")
    assert tuned.train_data_dir == tuned.eval_data_dir
    assert load_task_data(get_task("custom"), "", tuned.eval_data_dir).labels == ("a", "no")


def test_dev_sets_are_read_without_a_training_set(tmp_path, reader):
    data = write(tmp_path / "data", dev__tsv=ROWS)
    settings = EvaluateConfig(task_name="sst-2", data_dir=data, num_workers=1)
    model = SimpleNamespace(
        description=reader.description, vocabulary=VOCABULARY, source="model", lower_case=False
    )
    task = get_task("sst-2")
    with dev_records(settings, data, task, model) as folder:
        read = load_task_data(task, "", folder)
    assert (
        tokens(read.evals["eval"])[0] == [CLS, CASED, DOG, SEP]
        and not (tmp_path / "data" / "records").exists()
    )


@pytest.mark.parametrize(
    "files,changes,splits",
    [
        (("dev__tsv",), {"do_train": False}, {"eval"}),
        (("dev__tsv", "train__tsv"), {"do_train": False, "aug_train": True}, {"eval"}),
        (("train__tsv",), {"do_eval": False}, {"train"}),
        (("train__tsv", "dev__tsv"), {"do_eval": False}, {"train", "eval"}),
    ],
)
def test_what_a_run_does_not_read_need_not_be_there(tmp_path, files, changes, splits):
    data = write(tmp_path / "data", **dict.fromkeys(files, ROWS))
    settings = prepared(training(tmp_path, data, **changes))
    folder = tmp_path / "out" / "records" / "sst-2"
    assert settings.data_dir == str(folder)
    assert {path.stem for path in folder.glob("*.mindrecord")} == splits


def test_a_training_folder_does_not_count_where_nothing_trains(tmp_path):
    dev = write(tmp_path / "dev", dev__tsv=ROWS)
    train = write(tmp_path / "train", train__tsv="nonsense")
    settings = TaskDistillConfig(
        task_name="sst-2",
        do_train=False,
        train_data_dir=train,
        eval_data_dir=dev,
        output_dir=str(tmp_path / "out"),
        num_workers=1,
    )
    keys = "train_data_dir", "eval_data_dir"
    settings = as_records(settings, keys, "load_td1_ckpt_path", NOTHING, "td-eval")
    assert load_task_data(get_task("sst-2"), "", settings.eval_data_dir).splits.keys() == {"eval"}
    neither = training(tmp_path, train, do_train=False, do_eval=False)
    assert prepared(neither) == neither


@pytest.mark.parametrize(
    "files,changes,words",
    [
        ({"train__tsv": ROWS}, {}, "has no dev set; looked for dev.tsv"),
        ({"dev__tsv": ROWS}, {}, "has no train set; looked for train.tsv"),
        ({"test__tsv": "index\tsentence\n0\tfox\n"}, {}, "has no train set"),
        ({"train__tsv": ROWS, "dev__tsv": ROWS}, {"aug_train": True}, "has no train_aug set"),
        ({"data__tsv": ROWS}, {}, "holds neither records of SST-2 nor its raw files (train.tsv"),
        ({}, {}, "it holds nothing"),
        (
            {"train__tsv": ROWS, "dev__tsv": ROWS},
            {"distribute": True},
            "prepare them once, by prepare_data.py",
        ),
        ({"train__tsv": ROWS, "dev__tsv": ROWS}, {"doc_stride": 9}, "they are for questions; SST-2 has none"),
        ({"train__tsv": ROWS, "dev__tsv": "sentence\n"}, {}, "dev.tsv"),
        ({"train__tsv": ROWS, "dev__tsv": ROWS}, {"task_name": ""}, "task_name is needed"),
    ],
)
def test_what_cannot_be_prepared_is_told_in_one_line(tmp_path, files, changes, words):
    settings = training(tmp_path, write(tmp_path / "data", **files), **changes)
    assert words in refusal(prepared, settings)
    assert not (tmp_path / "out" / "records" / "sst-2").exists()


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"aug_train": True}, "aug_train: data_dir"),
        ({"max_seq_length": 16}, "max_seq_length: data_dir"),
        ({"do_lower_case": False}, "do_lower_case: data_dir"),
    ],
)
def test_records_stay_as_they_were_prepared(tmp_path, changes, words):
    data = write(tmp_path / "data")
    write_info(data)  # lower-cased rows of 32 tokens
    fitting = training(tmp_path, data, max_seq_length=32, do_lower_case=True)
    assert prepared(fitting) == fitting
    assert words in refusal(prepared, training(tmp_path, data, **changes))


def test_raw_files_in_two_folders_and_models_without_tokens_are_refused(tmp_path, reader):
    one, other = (write(tmp_path / name, train__tsv=ROWS, dev__tsv=ROWS) for name in ("one", "other"))
    settings = FinetuneConfig(task_name="sst-2", train_data_dir=one, eval_data_dir=other, load_ckpt_path="m")
    keys = "train_data_dir", "eval_data_dir"
    assert "give one folder" in refusal(as_records, settings, keys, "load_ckpt_path", NOTHING, "finetune")
    reader.vocabulary = None
    assert "model has no vocab.txt" in refusal(prepared, training(tmp_path, one))


def test_a_vocabulary_that_reads_the_texts_tells_what_its_tokenizer_does_otherwise(tmp_path, capsys):
    path = write(tmp_path, vocab__txt="\n".join(VOCABULARY), tokenizer_config__json='{"do_lower_case": true}')
    Reading.named(f"{path}/vocab.txt", get_task("sst-2"), "vocab_file", NOTHING)
    assert "note: tokenizer_config.json says that text is lower-cased" in capsys.readouterr().out
