"""What a task's folder must hold, and which models belong to it."""

from dataclasses import replace

import numpy as np
import pytest

from src.checkpoint import folder as checkpoints
from src.data.task_data import facts_of, load_task_data
from src.errors import UserError
from src.kinds import CLASSIFICATION, REGRESSION
from src.settings.shared import PackingConfig
from src.tasks import get_task
from tests.helpers import (
    VOCABULARY,
    describe,
    make_examples,
    refuses,
    save_network,
    tiny_network,
    write_info,
    write_split,
)


def load(train_dir, eval_dir, task="sst-2", **settings):
    return load_task_data(get_task(task), str(train_dir), str(eval_dir), **settings)


def refused(*arguments, **settings):
    with pytest.raises(UserError) as error:
        load(*map(str, arguments), **settings)
    return error


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """SST-2 as prepare_data.py leaves it: 12 training rows and 7 others."""
    folder = tmp_path_factory.mktemp("sst-2")
    write_split(folder, "train", make_examples(12, 20))
    write_split(folder, "eval", make_examples(7, 18, seed=1))
    write_info(folder)
    return folder


@pytest.fixture(scope="module")
def data(folder):
    return load(folder, folder)


def test_prepared_folder_serves_both_splits(data):
    assert (len(data.train), {split: len(rows) for split, rows in data.evals.items()}) == (12, {"eval": 7})
    assert (data.labels, data.outputs, data.kind) == (("negative", "positive"), 2, CLASSIFICATION)
    assert list(data.splits) == ["train", "eval"]
    padded = data.eval_batches(3, PackingConfig(), packs=False)["eval"]
    assert sum(len(rows) for rows, _ in padded.with_rows()) == 7  # the last, smaller batch too
    packed = data.eval_batches(3, PackingConfig(max_tokens=32), packs=True)["eval"]
    assert sum(len(batch.rows) for batch in packed) == 7 and len(packed) > 1


def test_records_cut_after_preparation_are_refused(tmp_path):
    write_split(tmp_path, "train", make_examples(12, 20), "tfrecord")
    write_info(tmp_path, splits={"train": {"rows": 13}})
    refuses(refused(tmp_path, ""), "dataset.json", "train has 13 rows", "hold 12")


def test_without_training_only_evaluation_rows_are_read(folder):
    data = load("", folder)
    assert data.train is None and len(data.evals["eval"]) == 7


def test_regression_has_one_output_and_fractional_labels(tmp_path):
    write_split(tmp_path, "train", make_examples(6, 10, kind=REGRESSION), kind=REGRESSION)
    data = load(tmp_path, "", "STS-B")
    assert (
        data.kind is REGRESSION
        and data.outputs == 1
        and data.labels == ()
        and data.train.labels.dtype == np.float32
    )
    assert data.evals == {}


@pytest.mark.parametrize("mismatched", [False, True])
def test_mnlis_second_dev_set_is_optional(tmp_path, mismatched):
    write_split(tmp_path, "train", make_examples(6, 10))
    write_split(tmp_path, "eval", make_examples(5, 10))
    if mismatched:
        write_split(tmp_path, "eval_mm", make_examples(4, 10))
    evals = load(tmp_path, tmp_path, "mnli", label_order=get_task("mnli").labels).evals
    assert {split: len(rows) for split, rows in evals.items()} == (
        {"eval": 5, "eval_mm": 4} if mismatched else {"eval": 5}
    )


def test_published_folders_one_a_split_serve_whatever_their_names(tmp_path):
    write_split(tmp_path / "a", "records", make_examples(6, 10))
    write_split(tmp_path / "b", "records", make_examples(5, 10, seed=2))
    data = load(tmp_path / "a", tmp_path / "b", "mnli", label_order=get_task("mnli").labels)
    assert len(data.train) == 6 and {split: len(rows) for split, rows in data.evals.items()} == {"eval": 5}


def test_published_label_ids_become_ours_by_the_order_that_is_given(tmp_path):
    rows = make_examples(6, 10)
    rows.labels[:] = [0, 1, 2, 2, 1, 0]
    write_split(tmp_path, "eval", rows)
    line = refused("", tmp_path, "mnli")
    refuses(line, "label_order: ", "no dataset.json", "--label_order contradiction,entailment,neutral")
    data = load("", tmp_path, "mnli", label_order=("contradiction", "entailment", "neutral"))
    assert data.labels == ("entailment", "neutral", "contradiction")
    assert data.evals["eval"].labels.tolist() == [2, 0, 1, 1, 0, 2]
    refuses(refused("", tmp_path, "mnli", label_order=("a", "b", "c")), "label_order: must be", "not a, b, c")
    write_info(tmp_path, "MNLI", labels=data.labels)
    assert load("", tmp_path, "mnli").evals["eval"].labels.tolist() == [0, 1, 2, 2, 1, 0]
    line = refused("", tmp_path, "mnli", label_order=("contradiction", "entailment", "neutral"))
    refuses(line, "dataset.json itself names the labels entailment, neutral, contradiction")


# --- refusals -----------------------------------------------------------------------------------------------


def test_training_and_evaluating_on_the_same_files_is_refused(tmp_path):
    write_split(tmp_path, "records", make_examples(6, 10))
    refuses(refused(tmp_path, tmp_path), "eval_data_dir", "the same files")
    refuses(refused(tmp_path, f"{tmp_path}/."), "eval_data_dir", "the same files")


def test_another_tasks_folder_is_refused(folder):
    refuses(refused(folder, folder, task="QNLI"), "task_name", "prepared for SST-2", "not QNLI")


def test_evaluation_folder_of_another_vocabulary_or_task_is_refused(folder, tmp_path):
    write_split(tmp_path / "x", "eval", make_examples(5, 10))
    write_info(tmp_path / "x", vocabulary=VOCABULARY[::-1])
    refuses(refused(folder, tmp_path / "x"), "eval_data_dir", "vocabulary")
    write_info(tmp_path / "x", task="CoLA", labels=("unacceptable", "acceptable"))
    refuses(refused(folder, tmp_path / "x"), "CoLA")


def test_a_model_of_another_task_with_the_same_labels_is_refused(tmp_path):
    write_split(tmp_path, "eval", make_examples(5, 10))
    data = load("", tmp_path, "RTE")
    for trained_on, fits in (
        ("RTE", True),
        ("rte", True),
        ("custom", True),
        ("my own", True),
        ("QNLI", False),
    ):
        folder = save_network(
            tmp_path / trained_on,
            tiny_network(1, labels=2),
            task=trained_on,
            labels=("entailment", "not_entailment"),
        )
        description = checkpoints.load(folder).description
        if fits:
            data.check_model(description, "model_dir")
        else:
            with pytest.raises(UserError) as error:
                data.check_model(description, "model_dir")
            refuses(error, "model_dir", "trained on QNLI, not RTE")


def test_wrong_kind_of_task_is_refused(folder):
    refuses(refused(folder, folder, task_type="regression"), "task_type", "SST-2 is a classification task")


def test_labels_outside_the_map_are_refused(tmp_path):
    examples = make_examples(6, 10)
    examples.labels[3] = 2
    write_split(tmp_path, "train", examples)
    refuses(refused(tmp_path, ""), "train records", "to 2", "2 labels negative, positive")


def test_unlabelled_rows_are_refused(tmp_path):
    examples = make_examples(6, 10)
    write_split(tmp_path, "train", replace(examples, columns={}))
    refuses(refused(tmp_path, ""), "train records", "-1")


@pytest.mark.parametrize(
    "task,kind,word", [("sst-2", REGRESSION, "fractional"), ("sts-b", CLASSIFICATION, "whole-number")]
)
def test_labels_of_the_other_kind_are_refused(tmp_path, task, kind, word):
    write_split(tmp_path, "train", make_examples(6, 10, kind=kind), kind=kind)
    refuses(refused(tmp_path, "", task=task), word)


def test_own_data_needs_a_prepared_folder(tmp_path):
    write_split(tmp_path, "train", make_examples(6, 10))
    refuses(refused(tmp_path, "", task="custom"), "custom", "prepare_data.py")
    write_info(tmp_path, "custom", labels=("a", "b"))
    assert load(tmp_path, "", "custom").labels == ("a", "b")


def test_unknown_task_and_missing_folder_are_refused(tmp_path):
    refuses(refused(tmp_path, "", task="glue"), "unknown task 'glue'", "SST-2")
    refuses(refused(tmp_path / "none", ""), "none", "does not exist")


# --- does the model belong to the data ----------------------------------------------------------------------


def check(data, folder, seq_length=None, outputs=2, network=None, **saved):
    """`check_model` on a saved tiny network; `network` changes its architecture."""
    path = save_network(
        folder, tiny_network(1, labels=outputs, num_hidden_layers=1, **(network or {})), **saved
    )
    data.check_model(checkpoints.load(path).description, "load_teacher_ckpt_path", seq_length)


def refused_model(data, folder, *arguments, **keywords):
    with pytest.raises(UserError) as error:
        check(data, folder, *arguments, **keywords)
    return error


def test_fitting_model_passes_whatever_the_labels_spelling(data, tmp_path):
    check(data, tmp_path / "a")
    check(data, tmp_path / "b", outputs=2, task="SST-2")
    check(data, tmp_path / "c", **{"id2label": {"0": "Negative", "1": "POSITIVE"}})
    check(data, tmp_path / "d", **{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})


def test_labels_in_another_order_are_refused(data, tmp_path):
    refuses(
        refused_model(data, tmp_path, id2label={"0": "positive", "1": "negative"}),
        "load_teacher_ckpt_path",
        "positive, negative",
        "negative, positive",
        "convert_checkpoint.py",
    )


def test_another_vocabulary_is_refused(data, tmp_path):
    refuses(
        refused_model(data, tmp_path, vocabulary=VOCABULARY[:-1] + ("other",)),
        "load_teacher_ckpt_path",
        "another vocabulary",
        "vocab.txt",
    )


def test_too_few_word_rows_are_refused(data, tmp_path):
    refuses(
        refused_model(data, tmp_path, network={"vocab_size": 20}, vocabulary=None),
        "token id",
        "vocabulary of 20",
    )


def test_rows_longer_than_the_positions_or_seq_length_are_refused(data, tmp_path):
    refuses(
        refused_model(data, tmp_path / "a", network={"max_position_embeddings": 16}),
        "20 tokens",
        "positions for 16",
        "--max_seq_length 16",
    )
    refuses(refused_model(data, tmp_path / "b", seq_length=19), "seq_length allows 19")
    check(data, tmp_path / "c", seq_length=20)
    check(data, tmp_path / "d", network={"max_position_embeddings": 16, "use_relative_positions": True})


def test_number_and_kind_of_outputs_must_fit(data, tmp_path):
    refuses(
        refused_model(data, tmp_path / "a", outputs=3, labels=()),
        "load_teacher_ckpt_path",
        "3 output(s)",
        "2 classes",
    )
    regression = {"outputs": 1, "labels": (), "kind": REGRESSION}
    refuses(refused_model(data, tmp_path / "b", **regression), "1 output(s) (regression)", "2 classes")
    refuses(refused_model(data, tmp_path / "c", problem_type="regression"), "regression", "2 outputs")


def test_every_split_is_held_against_the_model(data):
    """The training rows have up to 20 tokens, the others up to 18."""
    described = describe(tiny_network(1, labels=2, num_hidden_layers=1))
    for split, longest in (("train", 20), ("eval", 18)):
        facts = facts_of(split, data.splits[split], data.info)
        assert (facts.rows, facts.longest) == (f"the {split} records", longest)
        assert facts.largest_token_id == data.splits[split].input_ids.max()
        assert facts.largest_segment_id == 1
    with pytest.raises(UserError) as error:
        replace(data, train=None).check_model(described, "model_dir", seq_length=17)
    refuses(error, "the eval records", "18 tokens")
    with pytest.raises(UserError) as error:
        data.check_model(described, "model_dir", seq_length=19)
    refuses(error, "the train records", "20 tokens")


def test_labels_without_names_are_said_to_be_taken_as_the_datas_once(data, capsys):
    described = describe(tiny_network(1, labels=2, num_hidden_layers=1))
    data.check_model(replace(described, labels=(), source="model/"), "model_dir")
    assert capsys.readouterr().out.count("note: model/ does not name its labels; they are taken as ") == 1
    data.check_model(replace(described, labels=data.labels), "model_dir")
    assert not capsys.readouterr().out


def test_without_a_folder_none_of_the_working_directory_is_read(tmp_path, monkeypatch):
    (tmp_path / "dataset.json").write_text("no JSON")
    monkeypatch.chdir(tmp_path)
    data = load_task_data(get_task("SST-2"), "", "")
    assert data.splits == {} and data.labels == ("negative", "positive")


def test_a_model_of_another_task_is_refused_even_where_no_rows_are_read(tmp_path):
    folder = save_network(tmp_path / "model", tiny_network(1, labels=2, num_hidden_layers=1))
    description = checkpoints.load(folder).description
    with pytest.raises(UserError) as error:
        load_task_data(get_task("MRPC"), "", "").check_model(description, "student_model_dir")
    refuses(error, "student_model_dir", "was trained on SST-2, not MRPC")
