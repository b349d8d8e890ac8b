"""predict.py on tiny models: what it reads, what it prints, what it refuses."""

import io
import json
import os
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import eval as eval_script
import export
import predict
from src import predictor
from src.checkpoint.folder import load, save
from src.data.readers.rows import Row
from src.data.texts import encode_texts, read_texts
from src.data.tokenization import Tokenizer
from src.description import Description
from src.kinds import CLASSIFICATION, SPAN, TAGGING
from src.settings.network import BertConfig
from src.tasks import get_task
from tests.commands import reference_logits, refused_by, says
from tests.helpers import VOCABULARY, refusal, run_script, write_info, write_split

pytest.importorskip("onnxruntime")


def test_onnx_and_network_label_texts_alike_from_flags_file_and_standard_input(
    task, onnx_file, tmp_path, capsys, monkeypatch
):
    words = ("--text", "word3 word9", "--text_pair", "word12")
    lines = [
        run_script(predict, capsys, "--model", path, *words).splitlines()[-1].split("\t")
        for path in (onnx_file, task.plain)
    ]
    onnx_line, network_line = lines
    assert onnx_line[0] == network_line[0] in ("negative", "positive")
    assert onnx_line[2:] == ["word3 word9", "word12"]
    assert float(onnx_line[1]) == pytest.approx(float(network_line[1]), abs=2e-4)

    (tmp_path / "lines.txt").write_text("word3 word9\tword12\nword4\n", encoding="utf-8")
    given = ("--model", onnx_file)
    from_file = run_script(predict, capsys, *given, "--file", tmp_path / "lines.txt").splitlines()
    monkeypatch.setattr(sys, "stdin", io.StringIO("word3 word9\tword12\nword4\n"))
    assert run_script(predict, capsys, *given).splitlines() == from_file
    assert from_file[0].split("\t") == onnx_line and len(from_file) == 2
    told = run_script(predict, capsys, *given, *words, "--json", "true")
    outcome = json.loads(told)
    assert (outcome["text"], outcome["text_pair"], outcome["label"]) == (*onnx_line[2:], onnx_line[0])
    assert outcome["probability"] == pytest.approx(float(onnx_line[1]), abs=1e-4)
    assert sum(outcome["probabilities"].values()) == pytest.approx(1) and told.count("\n") == 1


def test_longer_texts_are_cut_with_a_notice(onnx_file, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["predict.py", "--model", str(onnx_file), "--text", "word1 " * 50])
    predict.main()
    said = capsys.readouterr()
    assert "longer than 32 tokens" in said.err and len(said.out.splitlines()) == 1


def test_mindir_labels_texts(mindir_file, capsys):
    label, *_ = run_script(predict, capsys, "--model", mindir_file, "--text", "word1").split("\t")
    assert label in ("negative", "positive")


def test_models_and_texts_that_cannot_be_read_are_one_line(task, onnx_file, tmp_path, capsys):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "empty.txt").write_text("word1\n\nword2\n")
    for arguments, words in (
        ((tmp_path / "broken.onnx", "--text", "a"), ("broken.onnx", "cannot load")),
        ((tmp_path / "none.onnx", "--text", "a"), ("none.onnx does not exist",)),
        ((onnx_file, "--text", "  "), ("empty",)),
        ((onnx_file, "--text", "\u200b"), ("error: text: a text holds no word",)),
        ((onnx_file, "--text", ""), ("empty",)),
        ((onnx_file, "--text_pair", "b"), ("text_pair",)),
        ((onnx_file, "--text", "a", "--file", tmp_path / "empty.txt"), ("only one",)),
        ((onnx_file, "--file", tmp_path / "none.jsonl"), ("file", "none.jsonl does not exist")),
        (
            (task.plain, "--text", "a", "--vocab_file", tmp_path / "v.txt"),
            ("vocab_file: cannot read", "v.txt", "No such file"),
        ),
    ):
        says(refused_by(predict, capsys, "--model", *arguments), *words)
    (tmp_path / "v.txt").write_text("".join(f"{token}\n" for token in VOCABULARY[:5] + VOCABULARY[:4:-1]))
    other = ("--text", "a", "--vocab_file", tmp_path / "v.txt")
    says(refused_by(predict, capsys, "--model", task.plain, *other), "vocab_sha256 differs")
    shutil.copy(onnx_file, tmp_path / "alone.onnx")
    says(refused_by(predict, capsys, "--model", tmp_path / "alone.onnx", "--text", "a"), "--vocab_file")


def test_texts_that_look_like_nothing_are_texts(onnx_file, tmp_path, capsys, monkeypatch):
    lines, given = tmp_path / "lines", ("--model", onnx_file)
    lines.write_bytes("\ufeffword1\n".encode())
    out = run_script(predict, capsys, *given, "--text", "NULL", "--text_pair", "null")
    assert out.strip().split("\t")[2:] == ["NULL", "null"]
    assert run_script(predict, capsys, *given, "--file", lines).strip().split("\t")[2:] == ["word1"]
    monkeypatch.setattr(sys, "stdin", None)
    says(refused_by(predict, capsys, *given), "text is needed", "standard input is closed")


def raw_test_set(folder, rows):
    """SST-2's test file as GLUE ships it, of 1 to 3 words a row."""
    folder.mkdir()
    texts = [" ".join(["word%d" % (row % 30), "word7", "word2"][: 1 + row % 3]) for row in range(rows)]
    lines = [f"{row}\t{text}\n" for row, text in enumerate(texts)]
    (folder / "test.tsv").write_text("index\tsentence\n" + "".join(lines))
    return texts


def test_a_test_set_is_answered_row_by_row_by_networks_and_exported_files(
    task, mindir_file, tmp_path, capsys
):
    texts = raw_test_set(tmp_path / "raw", 21)
    examples, _ = encode_texts(
        [Row(text, None, None, 1) for text in texts], CLASSIFICATION, Tokenizer(list(VOCABULARY), True), 32
    )
    checkpoint = load(task.plain)  # it gives one answer to all rows: move its bias between them
    logits = reference_logits(task.plain, examples)
    margins = np.sort(logits[:, 1] - logits[:, 0])
    middle = np.float32([margins[9:11].mean(), 0.0])
    weights = {**checkpoint.weights, "classifier.bias": checkpoint.weights["classifier.bias"] + middle}
    balanced, balanced_onnx = str(tmp_path / "balanced"), tmp_path / "balanced.onnx"
    save(balanced, weights, checkpoint.description, checkpoint.vocabulary)
    run_script(export, capsys, "--ckpt_file", balanced, "--file_name", balanced_onnx)

    answers = (logits[:, 1] - logits[:, 0] > middle[0]).astype(int)
    assert answers.sum() == 11
    expected = "index\tprediction\n" + "".join(f"{row}\t{answer}\n" for row, answer in enumerate(answers))
    given = ("--data_dir", tmp_path / "raw", "--batch_size", 4, "--num_workers", 1)
    zeros = "index\tprediction\n" + "".join(f"{row}\t0\n" for row in range(21))
    for number, (path, text) in enumerate(
        ((balanced, expected), (balanced_onnx, expected), (mindir_file, zeros))
    ):
        output = tmp_path / f"out{number}"
        said = run_script(predict, capsys, "--model", path, *given, "--output_dir", output)
        assert "test: 21 rows answered in " in said and (output / "SST-2.tsv").read_text() == text

    write_split(tmp_path / "records", "test", replace(examples, columns={}))  # as prepare_data.py leaves them
    write_info(tmp_path / "records")
    given = ("--model", balanced_onnx, "--data_dir", tmp_path / "records")
    given += ("--output_dir", tmp_path / "prepared")
    run_script(predict, capsys, *given)
    assert (tmp_path / "prepared" / "SST-2.tsv").read_text() == expected
    write_info(tmp_path / "records", splits={"test": {"rows": 21, "skipped": 2}})
    says(refused_by(predict, capsys, *given), "2 rows of test were left out", "skip_bad_rows")


def test_what_keeps_a_test_set_from_being_answered_is_one_line(onnx_file, tmp_path, capsys):
    raw_test_set(tmp_path / "raw", 3)
    given = ("--model", onnx_file, "--data_dir", tmp_path / "raw")
    into = ("--output_dir", tmp_path / "out")
    says(refused_by(predict, capsys, *given), "output_dir")
    says(refused_by(predict, capsys, *given, *into, "--text", "a"), "data_dir: give either it, or a text")
    says(refused_by(predict, capsys, *given, *into, "--task_name", "CoLA"), "trained on SST-2, not CoLA")
    says(refused_by(predict, capsys, *given, *into, "--split", "dev"), "has no dev set", "it holds test.tsv")
    assert not (tmp_path / "out").exists()


def test_a_text_without_any_token_is_found_wherever_it_stands(tmp_path):
    (tmp_path / "lines").write_text("word1\tword2\nword3\n", encoding="utf-8")
    tokenizer = Tokenizer(list(VOCABULARY), True)
    rows = read_texts(False, False, str(tmp_path / "lines"))
    examples, cut = encode_texts(rows, CLASSIFICATION, tokenizer, 5)
    assert examples.input_ids.tolist() == [2, 6, 3, 7, 3, 2, 8, 3] and cut == 0
    assert examples.segment_ids.tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    for number, line in ((1, "\u200b"), (2, "word1\t\u200b"), (2, "\u200b\tword1")):
        text = "".join(f"{item}\n" for item in ("word1\tword2",) * (number - 1) + (line,))
        (tmp_path / "lines").write_text(text, encoding="utf-8")
        rows = read_texts(False, False, str(tmp_path / "lines"))
        said = refusal(encode_texts, rows, CLASSIFICATION, tokenizer, 5)
        assert f"lines, line {number}: a text holds no word" in said
    (tmp_path / "lines").write_text("word1\n \nword2\t \n", encoding="utf-8")
    assert "lines, line 3: a text is empty" in refusal(read_texts, False, False, str(tmp_path / "lines"))


def test_a_text_of_the_wrong_number_of_parts_is_named_by_file_and_line(tmp_path):
    tokenizer = Tokenizer(list(VOCABULARY), True)
    (tmp_path / "q.txt").write_text("word1\tword2\nword3\n", encoding="utf-8")
    (tmp_path / "q.jsonl").write_text('{"text": "word1"}\n{"text": "word1", "text_pair": "word2"}\n')
    for name, kind, line in (
        ("q.txt", SPAN, "line 2: a question needs the text it is about"),
        ("q.txt", TAGGING, "line 1: a text of a ner task has no second text"),
        ("q.jsonl", SPAN, "line 1: a question needs the text it is about"),
        ("q.jsonl", TAGGING, "line 2: a text of a ner task has no second text"),
    ):
        rows = read_texts(False, False, str(tmp_path / name))
        said = refusal(encode_texts, rows, kind, tokenizer, 16)
        assert said.endswith(f"{name}, {line}")


@pytest.mark.parametrize("types", [1, 2])
def test_a_model_with_one_type_of_token_reads_the_second_text_as_it_does_the_first(types, monkeypatch):
    rows = [Row("word1", "word2", None, 1)]
    examples, _ = encode_texts(rows, CLASSIFICATION, Tokenizer(list(VOCABULARY), True), 8)
    said = SimpleNamespace(longest_row=8)
    model = SimpleNamespace(config=SimpleNamespace(type_vocab_size=types), length=8, description=said)

    def segments(model, batches, title):
        return SimpleNamespace(logits=batches.examples.segment_ids)

    monkeypatch.setattr(predictor, "predict", segments)
    read = predictor.Predictor(model, "CPU", 4, SimpleNamespace(bucket_boundaries=[8])).logits(examples)
    assert read.tolist() == ([0] * 5 if types == 1 else [0, 0, 0, 1, 1])


@pytest.mark.parametrize("own", [(), ("bad", "good")])
def test_what_labels_without_names_are_taken_for_in_a_test_set_is_said(own, monkeypatch, capsys):
    said = Description(BertConfig(), CLASSIFICATION, 2, own, source="model/")
    model = SimpleNamespace(description=said, vocabulary=VOCABULARY, lower_case=True, length=8)
    rows = SimpleNamespace(labels=("bad", "good"), examples=None, split="test", names=("0",), cut=0)
    monkeypatch.setattr(predictor, "read_test_sets", lambda *_: [rows, rows])
    monkeypatch.setattr(predictor, "write_predictions", lambda *_: ["file"])
    monkeypatch.setattr(predictor.Predictor, "logits", lambda *_: None)
    asked = predictor.Predictor(model, "CPU", 4, None)
    assert len(list(asked.answer_test_sets(get_task("custom"), "raw", "test", 0, 1, "auto", "out"))) == 2
    assert capsys.readouterr().out.count("model/ does not name its labels; they are taken as bad, good") == (
        not own
    )


def test_logits_that_are_no_numbers_answer_nothing(monkeypatch):
    examples, _ = encode_texts(
        [Row("word1", None, None, 1)], CLASSIFICATION, Tokenizer(list(VOCABULARY), True), 8
    )
    said = SimpleNamespace(longest_row=8)
    model = SimpleNamespace(config=SimpleNamespace(type_vocab_size=2), length=8, description=said)
    monkeypatch.setattr(predictor, "predict", lambda *_: SimpleNamespace(logits=np.float32([[1.0, np.nan]])))
    asked = predictor.Predictor(model, "CPU", 4, SimpleNamespace(bucket_boundaries=[8]))
    assert "1 of 1 rows are not finite" in refusal(asked.logits, examples)


def test_a_runtime_too_old_is_told_which_one_it_needs(onnx_file, tmp_path, capsys, monkeypatch):
    import onnx
    import onnxruntime

    model = onnx.load(onnx_file)
    model.graph.node[0].op_type = "OperatorOfTheFuture"
    for item in model.metadata_props:
        item.value = '"1.31"' if item.key == "oldest_onnxruntime" else item.value
    onnx.save(model, tmp_path / "m.onnx")
    monkeypatch.setattr(onnxruntime, "__version__", "1.19.2")
    says(
        refused_by(predict, capsys, "--model", tmp_path / "m.onnx", "--text", "a"),
        "needs ONNX Runtime 1.31",
        "pip install",
    )
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_eval_py_names_the_command_for_an_exported_file(task, onnx_file, capsys):
    given = ("--task_name", "SST-2", "--model_dir", onnx_file, "--data_dir", task.data)
    says(refused_by(eval_script, capsys, *given), "model_dir", "run_eval_onnx.py --model_file")
