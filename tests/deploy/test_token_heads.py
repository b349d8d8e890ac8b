"""Heads that answer for tokens, exported: their files and the 310 chain score what NumPy does."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest

import infer_mindir
import postprocess
import predict
import preprocess
import run_eval_onnx
from src import metrics
from src.checkpoint.packed import save_packed
from src.data.dataset import Batches
from src.data.readers.rows import Row
from src.data.tokenization import Tokenizer
from src.deploy.bin_files import (
    kind_of_results,
    read_inputs,
    read_results,
    write_inputs,
    write_model,
    write_results,
)
from src.deploy.onnx_model import write_onnx
from src.description import DataFacts, Description
from src.errors import UserError
from src.kinds import SPAN, SPAN_OR_NONE, TAGGING
from src.model import Model
from src.nn.heads import BertForTokens
from src.nn.layers import computed_weights
from tests.commands import refused_by, says
from tests.deploy.conftest import TERNARY, run_export
from tests.helpers import (
    VOCABULARY,
    describe,
    fill,
    make_examples,
    refuses,
    run_script,
    save_network,
    tiny_config,
    weights_of,
    write_info,
    write_split,
)
from tests.numpy_bert import NumpyBert

LABELS = ("O", "B-x", "I-x", "E-x", "S-x")


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """(flags of the records, a tagger's folder, its accuracy over tokens by NumPy)."""
    folder, rows = tmp_path_factory.mktemp("tagged"), make_examples(13, 12)
    network = fill(BertForTokens(tiny_config(), len(LABELS)), 6)  # of two layers, unlike other files
    model = save_network(folder / "model", network, "custom", LABELS, TAGGING)
    reference = NumpyBert(weights_of(network), network.config)
    bounds = zip(rows.offsets[:-1], rows.offsets[1:])
    tokens = ((rows.input_ids[a:b], np.ones(b - a), rows.segment_ids[a:b]) for a, b in bounds)
    found = np.concatenate([reference.row(*row)[0] for row in tokens]).argmax(axis=1)
    right = np.where(rows.input_ids % 3, found, 0).astype(np.int32)
    right[rows.offsets[:-1]] = -1  # [CLS]
    write_split(folder / "data", "eval", replace(rows, columns={TAGGING.columns[0]: right}), kind=TAGGING)
    write_info(folder / "data", "custom", TAGGING, LABELS)
    flags = ("--task_name", "custom", "--data_dir", str(folder / "data"))
    return flags, model, float((found == right)[right >= 0].mean())


def test_a_tagger_scores_what_numpy_does_as_onnx_and_through_the_310_chain(tagged, tmp_path, capsys):
    flags, folder, accuracy = tagged
    assert 0.1 < accuracy < 0.95
    model, results = Model.load(folder), tmp_path / "results.json"
    write_onnx(str(tmp_path / "m.onnx"), computed_weights(model.network), model.description, "float")
    given = ("--model_file", tmp_path / "m.onnx", *flags, "--batch_size", 4, "--output_file", results)
    run_script(run_eval_onnx, capsys, *given)
    assert json.loads(results.read_text())["accuracy"] == pytest.approx(accuracy)

    shape = ("--file_format", "MINDIR", "--batch_size", 0, "--seq_length", 14)  # any number of rows
    run_export("--ckpt_file", folder, "--file_name", tmp_path / "m.mindir", *shape)
    rows, logits = tmp_path / "rows", tmp_path / "logits"
    run_script(preprocess, capsys, *flags, "--seq_length", 14, "--output_dir", rows)
    place = ("--input_dir", rows, "--output_dir", logits)
    given = ("--model_file", tmp_path / "m.mindir", *place)
    says(
        run_script(infer_mindir, capsys, *given, "--batch_size", 5), "13 rows", "a batch of 5"
    )  # the last of 3
    says(refused_by(infer_mindir, capsys, *given, "--device_target", "Ascend"), "any number of rows")
    assert os.path.getsize(logits / "row_0000000.bin") == 14 * len(LABELS) * 4
    out = run_script(postprocess, capsys, "--input_dir", rows, "--result_dir", logits)
    says(out, "entity_f1 is", "13 rows")
    assert float(re.search(r" acc is (\S+)", out)[1]) == pytest.approx(accuracy)


def answers_of(files, texts, capsys):
    """What predict.py says of one text, by each of the files."""
    vocabulary = os.path.join(os.path.dirname(files[0]), "vocab.txt")
    given = (*texts, "--vocab_file", vocabulary, "--json", "true")
    return [json.loads(run_script(predict, capsys, "--model", file, *given)) for file in files]


def test_predict_finds_the_same_tags_by_a_packed_and_an_onnx_file(tmp_path, capsys):
    network = BertForTokens(tiny_config(num_hidden_layers=1), len(LABELS), quantization=TERNARY)
    described = describe(fill(network, 7), "custom", LABELS, TAGGING)
    save_packed(str(tmp_path), network, described, VOCABULARY)
    write_onnx(str(tmp_path / "m.onnx"), computed_weights(network), described, "ternary")
    texts = ("--text", "word3 word9 word12 word20")
    files = [tmp_path / name for name in ("quantized_model.safetensors", "m.onnx")]
    packed, onnx = (answers["entities"] for answers in answers_of(files, texts, capsys))
    assert packed and len(packed) == len(onnx)
    for mine, theirs in zip(packed, onnx):
        assert mine == {name: pytest.approx(value, abs=2e-2) for name, value in theirs.items()}


def test_predict_gives_the_same_answer_by_a_mindir_and_an_onnx_file(tmp_path, capsys):
    network = fill(BertForTokens(tiny_config(num_hidden_layers=1), 2), 7)
    folder = save_network(tmp_path / "model", network, "custom", (), SPAN)
    described = describe(network, "custom", (), SPAN)
    write_onnx(str(tmp_path / "m.onnx"), computed_weights(network), described, "float")
    shape = ("--file_format", "MINDIR", "--batch_size", 1, "--seq_length", 16)
    run_export("--ckpt_file", folder, "--file_name", tmp_path / "m.mindir", *shape)
    capsys.readouterr()
    context = "word8 word9 word20 word4"
    texts = ("--question", "word1", "--context", context)
    mindir, onnx = answers_of([tmp_path / "m.mindir", tmp_path / "m.onnx"], texts, capsys)
    assert mindir["answer"] and mindir["answer"] == context[mindir["start"] : mindir["end"]]
    assert mindir == {name: pytest.approx(value, abs=1e-3) for name, value in onnx.items()}


def test_files_of_questions_keep_the_texts_and_give_the_score_of_the_rows(tmp_path):
    context = " ".join(f"word{3 + place % 7}" for place in range(9))
    rows = [
        Row("word1 word2", context, ((18, "word6"),), 1, "first"),
        Row("word20", "word8 word9", ((0, "word8"),), 2, "second"),
    ]
    examples, _ = SPAN.encode(Tokenizer(VOCABULARY, True), rows, 9)
    assert len(examples) > 2  # the first text in windows
    facts = DataFacts("", 9, 39, 1, task_name="SQuAD", kind=SPAN, outputs=2)
    write_inputs(str(tmp_path), Batches(examples, 1).pad(range(len(examples)), 12), examples, facts, "eval")
    inputs = read_inputs(str(tmp_path))
    read = inputs.examples()
    assert read.origin.texts == examples.origin.texts
    np.testing.assert_array_equal(read.origin.spans, examples.origin.spans)
    np.testing.assert_array_equal(read.labels, examples.labels)

    logits = np.random.default_rng(0).normal(size=(len(examples), 12, 2)).astype(np.float32)
    (tmp_path / "results").mkdir()
    write_results(str(tmp_path / "results"), 0, logits)
    found = read_results(str(tmp_path / "results"), inputs, read)
    own = np.concatenate([row[:length] for row, length in zip(logits, examples.lengths)])
    np.testing.assert_array_equal(found, own)
    score = metrics.score(SPAN.metrics, SPAN, found, read, ())
    assert score == metrics.score(SPAN.metrics, SPAN, own, examples, ())

    asking = Description(tiny_config(), SPAN_OR_NONE, 2).at_threshold(2.5)
    results, of_rows = str(tmp_path / "results"), replace(inputs, facts=replace(facts, kind=SPAN_OR_NONE))
    for written, given, threshold in (
        (False, None, 0.0),
        (True, None, 2.5),
        (True, -1.0, -1.0),
        (True, 0.0, 0.0),
    ):
        if written:
            write_model(results, asking)
        assert kind_of_results(results, of_rows, given).threshold == threshold
    with pytest.raises(UserError) as error:  # the rows are of another kind
        kind_of_results(results, inputs)
    refuses(error, "model.json: null_score_diff_threshold")

    with open(tmp_path / "examples.npz", "r+b") as file:
        file.truncate(200)
    with pytest.raises(UserError) as error:
        inputs.examples()
    refuses(error, "examples.npz cannot be read", "run preprocess.py again")
