"""Test sets from raw files: every row, in the file's order, under the number that the file gives it."""

import json
from dataclasses import replace

import pytest

from src.data import prepare_task, test_sets
from src.data.test_sets import Reader, read_test_sets
from src.description import Description
from src.errors import UserError
from src.kinds import CLASSIFICATION, SPAN
from src.settings.network import BertConfig
from src.tasks import get_task

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fox", "dog", "runs")
CLS, SEP, FOX, DOG, RUNS = 2, 3, 5, 6, 7


def model(labels, outputs=0):
    """What a model of these classes says of itself."""
    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    bert = BertConfig(vocab_size=8, **sizes)
    return Description(bert, CLASSIFICATION, outputs or len(labels), labels, source="model/")


def read(name, folder, labels=None, split="test", longest=20, **described):
    task = get_task(name)
    reader = Reader(VOCABULARY, True, longest, num_workers=1)
    description = model(task.labels if labels is None else labels, **described)
    return read_test_sets(task, str(folder), split, description, reader)


def rows_of(examples):
    starts = examples.offsets.tolist()
    return [examples.input_ids[start:end].tolist() for start, end in zip(starts, starts[1:])]


def write(folder, name, *lines):
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_mnlis_two_sets_are_read_as_glue_ships_them(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_task, "CHUNK_ROWS", 2)  # so that the rows come in three parts
    header = "index\tpromptID\tpairID\tsentence1\tsentence2"
    words = ["fox", "dog", "", "fox dog", "runs"]
    write(
        tmp_path,
        "test_matched.tsv",
        header,
        *[f"{number}\t1\t2\t{word}\truns" for number, word in enumerate(words)],
    )
    write(tmp_path, "test_mismatched.tsv", header, "31\t1\t2\tdog\tfox runs")
    write(tmp_path, "diagnostic.tsv", "index\tsentence1\tsentence2", "0\tfox\tdog")
    matched, mismatched, diagnostic = read("MNLI", tmp_path, longest=6)
    assert (diagnostic.split, rows_of(diagnostic.examples)) == ("test_ax", [[CLS, FOX, SEP, DOG, SEP]])
    assert rows_of(matched.examples) == [
        [CLS, FOX, SEP, RUNS, SEP],
        [CLS, DOG, SEP, RUNS, SEP],
        [CLS, SEP, RUNS, SEP],  # a row without a word counts as well
        [CLS, FOX, DOG, SEP, RUNS, SEP],
        [CLS, RUNS, SEP, RUNS, SEP],
    ]
    assert matched.examples.segment_ids[:5].tolist() == [0, 0, 0, 1, 1]
    assert (matched.split, matched.names, matched.cut) == ("test", ("0", "1", "2", "3", "4"), 0)
    assert (mismatched.split, mismatched.names) == ("test_mm", ("31",))
    (tmp_path / "test_mismatched.tsv").unlink()
    (tmp_path / "diagnostic.tsv").unlink()
    (alone,) = read("MNLI", tmp_path, longest=5)
    assert alone.cut == 1


@pytest.mark.parametrize("name", ["MNLI/AX.tsv", "MNLI/diagnostic.tsv", "diagnostic/diagnostic.tsv"])
def test_mnlis_diagnostic_set_is_found_in_its_folder_and_beside_it(tmp_path, monkeypatch, name):
    for folder in ("MNLI", "diagnostic"):
        (tmp_path / folder).mkdir()
    write(tmp_path, "MNLI/test_matched.tsv", "index\tsentence1\tsentence2", "0\tfox\tdog")
    write(tmp_path, name, "index\tsentence1\tsentence2", "7\tfox\tdog")
    monkeypatch.chdir(tmp_path / "MNLI")
    for folder in (tmp_path / "MNLI", "."):
        assert [rows.split for rows in read("MNLI", folder)] == ["test", "test_ax"]
    (tmp_path / "records").mkdir()  # what lies beside makes a folder of records none of raw files
    assert not prepare_task.holds_raw(str(tmp_path / "records"), get_task("MNLI"))


def test_rows_without_a_name_are_numbered_and_a_dev_set_serves_too(tmp_path):
    write(tmp_path, "dev.tsv", "sentence\tlabel", "fox\t1", "dog\t0")
    (rows,) = read("SST-2", tmp_path, split="eval")
    assert rows.names == ("0", "1") and rows_of(rows.examples) == [[CLS, FOX, SEP], [CLS, DOG, SEP]]
    assert not rows.examples.columns


def test_the_bar_counts_questions_not_their_windows(tmp_path, monkeypatch):
    text, moves = "fox dog runs fox dog runs", []
    asked = {"question": "what", "answers": [{"answer_start": 4, "text": "dog"}]}
    paragraph = {"context": text, "qas": [{**asked, "id": name} for name in "ab"]}
    file = {"version": "1.1", "data": [{"title": "", "paragraphs": [paragraph]}]}
    write(tmp_path, "dev-v1.1.json", json.dumps(file))
    monkeypatch.setattr(
        test_sets.CountingBar, "update", lambda self, amount, **counts: moves.append((amount, counts))
    )
    reader = Reader(VOCABULARY, True, 6, num_workers=1)
    description = replace(model((), outputs=2), kind=SPAN)
    (rows,) = read_test_sets(get_task("SQuAD"), str(tmp_path), "dev", description, reader)
    assert len(rows.examples) == 6 and rows.names == ("a", "b")
    assert moves == [(2, {"rows": 6})]


@pytest.mark.parametrize("label", [{}, {"label": "good"}])
def test_an_own_dev_set_is_answered_with_labels_and_without(tmp_path, label):
    write(tmp_path, "dev.jsonl", *[json.dumps({"text": text, **label}) for text in ("fox", "dog")])
    (rows,) = read("custom", tmp_path, labels=("bad", "good"), split="dev")
    assert rows.split == "eval" and rows_of(rows.examples) == [[CLS, FOX, SEP], [CLS, DOG, SEP]]
    assert not rows.examples.columns


def test_own_data_have_the_models_labels(tmp_path):
    write(tmp_path, "test.jsonl", *[json.dumps({"id": name, "text": "fox"}) for name in (4, "b")])
    (rows,) = read("custom", tmp_path, labels=("bad", "good"))
    assert (rows.names, rows.labels) == (("4", "b"), ("bad", "good"))


@pytest.mark.parametrize("second", ["4", "a b", "7\n8"])
def test_rows_that_cannot_be_told_apart_are_refused(tmp_path, second):
    write(tmp_path, "test.jsonl", *[json.dumps({"id": name, "text": "fox"}) for name in ("4", second)])
    with pytest.raises(UserError, match="row 2 of the test set is called .*no other row has"):
        read("custom", tmp_path, labels=("bad", "good"))
    write(tmp_path, "test.jsonl", *[json.dumps({"id": None, "text": "fox"}) for _ in range(2)])
    (rows,) = read("custom", tmp_path, labels=("bad", "good"))
    assert rows.names == ("0", "1")


def test_a_row_that_cannot_be_read_is_refused_since_the_others_would_shift(tmp_path):
    write(tmp_path, "test.tsv", "index\tsentence", "0\tfox", "1 dog", "2\tfox")
    with pytest.raises(
        UserError, match="test.tsv, line 3: 1 tab.*every row of the set must be answered"
    ) as error:
        read("SST-2", tmp_path)
    assert "--skip_bad_rows" not in str(error.value)


def test_a_blank_line_of_a_one_column_file_may_be_a_row(tmp_path):
    write(tmp_path, "test.tsv", "text", "fox", "", "dog")
    with pytest.raises(
        UserError, match="test.tsv, line 3: a blank line in a file of one column; .*put a space"
    ):
        read("custom", tmp_path, labels=("bad", "good"))
    write(tmp_path, "test.tsv", "text", "fox", " ", "dog", "", "")
    (rows,) = read("custom", tmp_path, labels=("bad", "good"))
    assert rows.names == ("0", "1", "2") and rows_of(rows.examples)[1] == [CLS, SEP]
    write(tmp_path, "test.tsv", "", "text\tid", "fox\ta", "", "dog\tb")  # of two columns it is none
    (rows,) = read("custom", tmp_path, labels=("bad", "good"))
    assert rows.names == ("a", "b")


def test_what_is_not_there_or_of_another_task_is_refused(tmp_path):
    write(tmp_path, "train.jsonl", "{}")
    with pytest.raises(UserError, match="has no test set; looked for test.tsv.*holds train.jsonl"):
        read("RTE", tmp_path)
    write(tmp_path, "test_matched.tsv", "index\tsentence1\tsentence2", "0\tfox\tdog")
    with pytest.raises(UserError, match="task_name: model/ numbers its labels neutral"):
        read("MNLI", tmp_path, labels=("neutral", "entailment", "contradiction"))
    with pytest.raises(UserError, match="does not name its labels.*--label_order"):
        read("MNLI", tmp_path, labels=(), outputs=3)
