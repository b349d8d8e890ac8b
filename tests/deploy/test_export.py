"""export.py and run_eval_onnx.py on tiny models, and the Hub's networks."""

import json
import os
import re

import numpy as np
import pytest
from mindspore.train import mind_ir_pb2

import export
import infer_mindir
import mindspore_hub_conf
import postprocess
import predict
import preprocess
import run_eval_onnx
from src.data.dataset import Batches
from src.deploy.exports import export_onnx
from src.evaluate import predict as run_model
from src.examples import Examples
from src.model import Model
from src.nn.heads import BertForSequence
from src.nn.layers import computed_weights, eager
from src.settings.network import QuantConfig
from tests.commands import reference_logits, refused_by, says
from tests.deployed import accuracy
from tests.helpers import VOCABULARY, fill, run_script, save_network, tiny_config, tiny_network, torch_twin

pytest.importorskip("onnxruntime")


def evaluated(capsys, task, path, *further):
    """What run_eval_onnx.py prints."""
    return run_script(run_eval_onnx, capsys, "--model_file", path, "--batch_size", 8, *task.flags, *further)


def test_onnx_of_a_float_model_scores_what_numpy_does(task, onnx_file, tmp_path, capsys):
    assert sorted(os.listdir(onnx_file.parent)) == ["m.onnx", "vocab.txt"]
    out = evaluated(capsys, task, onnx_file, "--threads", 1, "--output_file", tmp_path / "results.json")
    says(out, "rows: 21", "sentences/s", "p50", "p95")
    assert accuracy(out) == pytest.approx(task.accuracy, abs=1e-6)
    assert json.loads((tmp_path / "results.json").read_text())["accuracy"] == task.accuracy


def test_onnx_of_a_ternary_model_is_ternary_unless_asked_otherwise(task, tmp_path, capsys):
    out = run_script(export, capsys, "--ckpt_file", task.ternary, "--file_name", tmp_path / "ternary")
    says(out, "those of its int8 graph, bit for bit", "done:", "ternary.onnx", "run_eval_onnx.py")
    content = (tmp_path / "ternary.onnx").read_bytes()
    assert b"MatMulIntegerToFloat" in content and b"query.codes.packed" in content
    assert b"position_embeddings.codes" in content  # as rest_bits trained it
    model = Model.load(task.ternary)
    bits = re.search(r"([\d,]+) bytes \(([\d.]+) bits a weight", out)
    assert int(bits.group(1).replace(",", "")) == len(content)
    assert float(bits.group(2)) == pytest.approx(8 * len(content) / model.parameters, abs=0.01)
    for form in ("int8", "float"):
        export_onnx(str(tmp_path / f"{form}.onnx"), model, model.description, form, 14)
    with eager():
        logits = run_model(model, Batches(task.rows, 8)).logits
    expected = (logits.argmax(axis=1) == task.rows.labels).mean()
    for form in ("ternary", "int8", "float"):
        found = accuracy(evaluated(capsys, task, tmp_path / f"{form}.onnx", "--threads", 1))
        assert abs(found - expected) <= 1 / 21 + 1e-6


def test_hugging_face_layout_is_a_folder_that_answers_as_the_file_does(task, tmp_path, capsys, monkeypatch):
    # The comparison with the network, which would compile it each time, is of the test above.
    monkeypatch.setattr("src.deploy.exports._compare", lambda *_: None)
    given = ("--ckpt_file", task.ternary, "--onnx_layout", "huggingface", "--file_name", tmp_path / "hf")
    says(run_script(export, capsys, *given), "bit for bit", f"done: {tmp_path / 'hf' / 'model.onnx'}")
    facts = json.loads(run_script(export, capsys, *given, "--json"))  # a folder of ours is replaced
    size = (tmp_path / "hf" / "model.onnx").stat().st_size
    assert (facts["file"], facts["bytes"]) == (str(tmp_path / "hf" / "model.onnx"), size)
    assert facts["bits_per_weight"] == pytest.approx(8 * size / facts["parameters"])
    names = ["config.json", "model.onnx", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    assert sorted(os.listdir(tmp_path / "hf")) == names and os.listdir(tmp_path) == ["hf"]
    run_script(export, capsys, "--ckpt_file", task.ternary, "--file_name", tmp_path / "own" / "m")
    for flags in (("--text", "word3 word4"), ("--text", "word3", "--text_pair", "word9")):
        theirs, ours = (
            run_script(predict, capsys, "--model", tmp_path / path, *flags)
            for path in ("hf/model.onnx", "own/m.onnx")
        )
        assert theirs == ours != ""


def test_mindir_of_a_ternary_model_holds_its_codes_and_runs_the_310_chain(task, tmp_path, capsys):
    shape = ("--batch_size", 4, "--seq_length", 14)
    given = ("--ckpt_file", task.ternary, "--file_name", tmp_path / "q", "--file_format", "MINDIR")
    out = run_script(export, capsys, *given, *shape)
    assert float(re.search(r"differ from the network's by (\S+)", out).group(1)) < 1e-2
    says(
        out,
        "weights are codes that the graph unpacks",
        "it computes in floats, activations rounded to 8 bits; --mindir_weights float answers",
    )
    content = (tmp_path / "q.mindir").read_bytes()
    model = mind_ir_pb2.ModelProto.FromString(content)
    held = {item.name.split(":")[-1]: len(item.raw_data) for item in model.graph.parameter}
    dense = [name for name in held if name.endswith((".query.codes", ".output.codes", "pooler.dense.codes"))]
    # (16, 16) in 16 x 4 bytes, (16, 24) in 16 x 5, 40 words of 16 in 40 x 4, 32 positions at 8 bits.
    assert sorted(held[name] for name in dense) == [64, 64, 64, 80]
    assert held["bert.embeddings.word_embeddings.codes"] == 160
    assert held["bert.embeddings.position_embeddings.codes"] == 32 * 16
    assert not any(name.endswith(("dense.weight", "embeddings.weight", "query.weight")) for name in held)
    assert b"HShrink" not in content  # of ternarization
    # The activations of one layer and of the pooler: zero point and codes.
    assert content.count(b"REF::Round:") == 2 * (8 + 1)

    rows, logits = ("--input_dir", tmp_path / "rows"), tmp_path / "logits"
    run_script(preprocess, capsys, *task.flags, "--seq_length", 14, "--output_dir", tmp_path / "rows")
    run_script(infer_mindir, capsys, "--model_file", tmp_path / "q.mindir", *rows, "--output_dir", logits)
    found = accuracy(run_script(postprocess, capsys, *rows, "--result_dir", logits))
    with eager():
        expected = run_model(Model.load(task.ternary), Batches(task.rows, 4)).logits.argmax(axis=1)
    assert abs(found - (expected == task.rows.labels).mean()) <= 1 / 21 + 1e-6


def test_nothing_of_others_is_replaced(task, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY[:5] + VOCABULARY[:4:-1]))
    folder = ("--ckpt_file", task.plain, "--file_format", "SAFETENSORS")
    says(refused_by(export, capsys, *folder, "--file_name", tmp_path), "thesis.txt")
    says(refused_by(export, capsys, *folder, "--file_name", task.plain), "eval_model.ckpt")
    says(
        refused_by(export, capsys, "--ckpt_file", task.plain, "--file_name", tmp_path / "m"),
        "vocab.txt",
        "not the vocabulary of",
    )
    says(refused_by(preprocess, capsys, *task.flags, "--output_dir", tmp_path), "thesis.txt")
    assert sorted(os.listdir(tmp_path)) == ["thesis.txt", "vocab.txt"]
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_safetensors_is_a_hugging_face_folder(task, tmp_path, capsys):
    transformers = pytest.importorskip("transformers")
    network = tiny_network(5, labels=2, num_hidden_layers=1)
    projection = {
        "fit_dense.weight": np.ones((24, 16), np.float32),
        "fit_dense.bias": np.ones(24, np.float32),
    }
    phase1 = save_network(tmp_path / "phase1", network, extra_weights=projection)
    flags = ("--file_name", tmp_path / "hf", "--file_format", "SAFETENSORS")
    says(run_script(export, capsys, "--ckpt_file", phase1, *flags), "fit_dense", "done:")
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "hf").state_dict()
    twin = torch_twin(network).state_dict()
    assert theirs.keys() == twin.keys()
    for name, value in twin.items():
        if value.is_floating_point():
            np.testing.assert_array_equal(theirs[name].numpy(), value.float().numpy())
    label, probability, _ = run_script(predict, capsys, "--model", tmp_path / "hf", "--text", "word3").split(
        "\t"
    )
    row = Examples(np.array([2, 8, 3], np.int32), np.zeros(3, np.int32), np.array([0, 3]))
    (expected,) = reference_logits(phase1, row)
    expected = np.exp(expected) / np.exp(expected).sum()
    assert label == ("negative", "positive")[expected.argmax()]
    assert float(probability) == pytest.approx(expected.max(), abs=2e-4)
    says(refused_by(export, capsys, "--ckpt_file", task.ternary, *flags), "quantized", "ONNX")


def test_a_file_that_differs_is_removed(task, tmp_path, capsys, monkeypatch):
    def wrong(network):
        weights = computed_weights(network)
        weights["classifier.bias"] = weights["classifier.bias"] + np.array([1, 0], np.float32)
        return weights

    monkeypatch.setattr("src.deploy.exports.computed_weights", wrong)
    says(
        refused_by(export, capsys, "--ckpt_file", task.plain, "--file_name", tmp_path / "m"),
        "differs from the network",
        "removed",
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "limit, most, flags, files",
    [
        (
            "mindspore.train.serialization.TOTAL_SAVE",
            0,
            ("--file_format", "MINDIR", "--batch_size", "8", "--seq_length", "14"),
            ["m_graph.mindir", "m_graph.mindir.json", "m_variables", "vocab.txt"],
        ),
        ("src.deploy.onnx_model.LARGEST", 1000, (), ["m.onnx", "m.onnx.data", "vocab.txt"]),
    ],
    ids=("MINDIR", "ONNX"),
)
def test_weights_that_one_file_cannot_hold_lie_beside_it(
    task, tmp_path, capsys, monkeypatch, limit, most, flags, files
):
    monkeypatch.setattr(limit, most)
    folder = tmp_path / "run #1 (50%25) é?"
    out = run_script(export, capsys, "--ckpt_file", task.plain, "--file_name", folder / "m", *flags)
    assert sorted(os.listdir(folder)) == files
    says(out, "checked:", f"done: {folder / files[0]}")
    told = int(re.search(r"([\d,]+) bytes", out)[1].replace(",", ""))
    assert told > 0.9 * os.path.getsize(os.path.join(task.plain, "eval_model.ckpt"))
    out = run_script(run_eval_onnx, capsys, "--model_file", folder / files[0], *task.flags)
    assert accuracy(out) == pytest.approx(task.accuracy, abs=1e-6)


@pytest.mark.parametrize(
    "changes, words",
    [
        (("--file_format", "AIR"), ("AIR", "Ascend", "CPU")),
        (("--task_name", "MRPC"), ("SST-2", "MRPC")),
        (("--file_format", "MINDIR", "--seq_length", "64"), ("seq_length", "32 positions")),
        (("--file_name", "output/"), ("output/ is a folder",)),
        (("--onnx_weights", "int8"), ("not quantized", "train.py")),
        (("--file_format", "MINDIR", "--mindir_weights", "packed"), ("is not quantized", "train.py")),
        (("--ckpt_file", "nowhere"), ("nowhere",)),
    ],
)
def test_exports_that_cannot_be_are_one_line(task, tmp_path, capsys, changes, words):
    says(
        refused_by(export, capsys, "--ckpt_file", task.plain, "--file_name", tmp_path / "m", *changes), *words
    )
    assert os.listdir(tmp_path) == []


def test_a_model_of_other_outputs_than_the_tasks_is_refused(task, tmp_path, capsys):
    unnamed = save_network(tmp_path / "model", tiny_network(5, labels=2), task="", labels=())
    given = ("--ckpt_file", unnamed, "--file_name", tmp_path / "out" / "m", "--task_name")
    says(refused_by(export, capsys, *given, "MNLI"), "2 output(s)", "MNLI is a task of 3 classes")
    says(refused_by(export, capsys, *given, "STS-B"), "2 output(s)", "STS-B is a task of regression")
    assert not (tmp_path / "out").exists()


def test_a_network_that_only_float_graphs_can_hold_is_told(tmp_path, capsys):
    quantization = QuantConfig(weight_bits=8, weight_quantizer="symmetric")
    network = fill(BertForSequence(tiny_config(num_hidden_layers=1), 2, quantization=quantization), 6)
    folder = save_network(tmp_path / "model", network)
    says(
        run_script(export, capsys, "--ckpt_file", folder, "--file_name", tmp_path / "out" / "m"),
        "auto is float here",
        "needs quantized activations",
    )


def test_an_onnx_package_too_old_is_told_which_one_is_needed(task, tmp_path, capsys, monkeypatch):
    import onnx

    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 19)
    says(
        refused_by(export, capsys, "--ckpt_file", task.plain, "--file_name", tmp_path / "m"),
        "up to opset 19",
        "onnx>=1.15",
    )
    assert os.listdir(tmp_path) == []


def test_exported_files_of_others_are_refused(task, onnx_file, tmp_path, capsys):
    import onnx

    model = onnx.load(onnx_file)
    del model.metadata_props[:]
    model.metadata_props.add(key="onnx.infer", value="not JSON")
    foreign = tmp_path / "m.onnx"
    onnx.save(model, foreign)
    says(
        refused_by(run_eval_onnx, capsys, "--model_file", foreign, *task.flags), "vocab_size", "export.py did"
    )
    place = ("--device_target", "Ascend")
    says(refused_by(run_eval_onnx, capsys, "--model_file", foreign, *task.flags, *place), "CPU or GPU")
    says(refused_by(run_eval_onnx, capsys, "--model_file", task.plain, *task.flags), ".onnx or .mindir")


def test_hub_networks(task):
    network = mindspore_hub_conf.create_network("tinybert", ckpt_file=task.plain)
    assert network.num_labels == 2 and network.config.hidden_size == 16
    weight = tiny_network(4, labels=2, num_hidden_layers=1).classifier.weight.asnumpy()
    np.testing.assert_array_equal(network.classifier.weight.asnumpy(), weight)
    training = mindspore_hub_conf.create_network("tinybert", ckpt_file=task.plain, is_training=True)
    np.testing.assert_array_equal(training.classifier.weight.asnumpy(), weight)
    with pytest.raises(ValueError, match="hidden_size"):
        mindspore_hub_conf.create_network("tinybert", ckpt_file=task.plain, hidden_size=24)
    small = mindspore_hub_conf.create_network(
        "ternarybert", num_hidden_layers=1, hidden_size=24, vocab_size=40
    )
    assert small.quantization.weight_bits == 2 and small.config.num_hidden_layers == 1
    with pytest.raises(NotImplementedError):
        mindspore_hub_conf.create_network("gpt")
