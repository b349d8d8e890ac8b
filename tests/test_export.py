"""export.py, run_eval_onnx.py, predict.py and the Ascend 310 chain on a tiny model; every score is eval.py's
own.
"""

import io
import json
import os
import re
import subprocess
import sys
import types

import mindspore as ms
import numpy as np
import pytest

import eval as evaluation
import export
import infer_mindir
import mindspore_hub_conf
import postprocess
import predict
import preprocess
import run_eval_onnx
from src.data.records import read_records
from src.nn.heads import BertForSequence
from src.settings.network import QuantConfig
from tests.helpers import (
    ROOT,
    VOCABULARY,
    fill,
    run_script,
    save_network,
    teachable,
    tiny_config,
    tiny_network,
    torch_twin,
    write_info,
    write_split,
)
from tests.test_run_task_distill import reference_logits, refused_by, says

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """(records of 21 rows, a float model, a ternary model), folders."""
    folder = tmp_path_factory.mktemp("export")
    rows = teachable(21, 2)
    write_split(folder / "data", "eval", rows)
    write_info(folder / "data")
    plain = tiny_network(5, labels=2)
    quantization = QuantConfig(
        embedding_bits=2,
        weight_bits=2,
        activation_bits=8,
        activation_quantizer="dynamic",
        activation_clip_value=0.0,
        rest_bits=8,
    )
    ternary = fill(BertForSequence(tiny_config(), 2, quantization=quantization), 6)
    return (
        str(folder / "data"),
        save_network(folder / "float", plain),
        save_network(folder / "ternary", ternary, quantization=vars(quantization)),
    )


def accuracy(text):
    """The closing block's accuracy."""
    return float(re.search(r"={62}\nacc is ([\d.]+)\n={62}", text).group(1))


def on_records(task):
    return "--task_name", "SST-2", "--data_dir", task[0]


def evaluated(capsys, task, model):
    out = run_script(evaluation, capsys, "--model_dir", model, "--batch_size", "8", *on_records(task))
    return float(re.search(r"^accuracy: (.*)$", out, re.MULTILINE).group(1))


def test_onnx_of_a_float_model_scores_the_same_and_labels_texts(task, tmp_path, capsys, monkeypatch):
    out = run_script(export, capsys, "--ckpt_file", task[1], "--file_name", tmp_path / "m")
    says(out, "checked:", "done:", "m.onnx", "run_eval_onnx.py")
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "vocab.txt"]
    out = run_script(
        run_eval_onnx,
        capsys,
        "--model_file",
        tmp_path / "m.onnx",
        "--batch_size",
        "8",
        "--threads",
        "1",
        "--output_file",
        tmp_path / "results.json",
        *on_records(task),
    )
    says(out, "rows: 21", "sentences/s", "p50", "p95")
    rows = read_records([os.path.join(task[0], "eval.mindrecord")], "mindrecord")
    right = (reference_logits(task[1], rows).argmax(axis=1) == rows.labels).mean()
    assert (
        accuracy(out) == pytest.approx(right, abs=1e-6)
        and json.loads((tmp_path / "results.json").read_text())["accuracy"] == right
    )

    words = ("--text", "word3 word9", "--text_pair", "word12")
    lines = {
        path: run_script(predict, capsys, "--model", path, *words).splitlines()[-1].split("\t")
        for path in (str(tmp_path / "m.onnx"), task[1])
    }
    onnx_line, network_line = lines.values()
    assert onnx_line[0] == network_line[0] in ("negative", "positive") and onnx_line[2:] == [
        "word3 word9",
        "word12",
    ]
    assert float(onnx_line[1]) == pytest.approx(float(network_line[1]), abs=2e-4)

    (tmp_path / "lines.txt").write_text("word3 word9\tword12\nword4\n", encoding="utf-8")
    from_file = run_script(
        predict, capsys, "--model", tmp_path / "m.onnx", "--file", tmp_path / "lines.txt"
    ).splitlines()
    monkeypatch.setattr(sys, "stdin", io.StringIO("word3 word9\tword12\nword4\n"))
    assert run_script(predict, capsys, "--model", tmp_path / "m.onnx").splitlines() == from_file
    assert from_file[0].split("\t") == onnx_line and len(from_file) == 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys, "argv", ["predict.py", "--model", str(tmp_path / "m.onnx"), "--text", "word1 " * 50]
        )
        predict.main()
    said = capsys.readouterr()
    assert "longer than 32 tokens" in said.err and len(said.out.splitlines()) == 1


def test_onnx_of_a_ternary_model_is_int8_unless_asked_otherwise(task, tmp_path, capsys):
    sizes, expected = {}, evaluated(capsys, task, task[2])
    for kind, flags in (
        ("int8", ()),
        ("2bit", ("--onnx_weights", "2bit")),
        ("float", ("--onnx_weights", "float")),
    ):
        run_script(export, capsys, "--ckpt_file", task[2], "--file_name", tmp_path / kind, *flags)
        out = run_script(
            run_eval_onnx,
            capsys,
            "--model_file",
            tmp_path / f"{kind}.onnx",
            "--batch_size",
            "8",
            "--threads",
            "1",
            *on_records(task),
        )
        assert abs(accuracy(out) - expected) <= 1 / 21 + 1e-6
        sizes[kind] = os.path.getsize(tmp_path / f"{kind}.onnx")
        if kind == "int8":
            assert b"MatMulIntegerToFloat" in (tmp_path / "int8.onnx").read_bytes()


def test_mindir_through_the_ascend_310_chain(task, tmp_path, capsys):
    run_script(
        export,
        capsys,
        "--ckpt_file",
        task[1],
        "--file_name",
        tmp_path / "m",
        "--file_format",
        "MINDIR",
        "--batch_size",
        "4",
        "--seq_length",
        "14",
    )
    assert sorted(os.listdir(tmp_path)) == ["m.mindir", "m.mindir.json", "vocab.txt"]
    expected = evaluated(capsys, task, task[1])
    model = tmp_path / "m.mindir"
    out = run_script(
        run_eval_onnx, capsys, "--model_file", model, "--task_name", "SST-2", "--data_dir", task[0]
    )
    assert accuracy(out) == pytest.approx(expected, abs=1e-6)
    assert run_script(predict, capsys, "--model", model, "--text", "word1").split("\t")[0] in (
        "negative",
        "positive",
    )

    files, results = tmp_path / "pre", tmp_path / "results"
    run_script(
        preprocess,
        capsys,
        "--task_name",
        "SST-2",
        "--data_dir",
        task[0],
        "--seq_length",
        "14",
        "--output_dir",
        files,
    )
    assert len(os.listdir(files / "00_input_ids")) == 21
    out = run_script(
        infer_mindir, capsys, "--model_file", model, "--input_dir", files, "--output_dir", results
    )
    says(out, "21 rows", "batch of 4")
    chain = ("--task_name", "SST-2", "--input_dir", files, "--result_dir", results)
    out = run_script(postprocess, capsys, *chain)
    assert accuracy(out) == pytest.approx(expected, abs=1e-6) and out.strip().endswith("21 rows")
    description = json.loads((tmp_path / "m.mindir.json").read_text())
    (tmp_path / "m.mindir.json").write_text(json.dumps({**description, "vocab_sha256": "0" * 64}))
    inference = ("--model_file", model, "--input_dir", files, "--output_dir", results)
    says(refused_by(infer_mindir, capsys, *inference), "vocabulary")
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "damaged.mindir"
    damaged.write_bytes(content)
    (tmp_path / "damaged.mindir.json").write_text(json.dumps(description))
    says(
        refused_by(infer_mindir, capsys, "--model_file", damaged, *inference[2:]),
        "damaged.mindir is damaged",
        "checksum",
    )
    says(refused_by(infer_mindir, capsys, *inference, "--device_target", "Ascend"), "Ascend", "CPU")
    with open(results / "row_0000003.bin", "ab") as file:
        file.write(b"1234")
    says(refused_by(postprocess, capsys, *chain), "row_0000003.bin", "3 values", "not 2")
    os.remove(results / "row_0000003.bin")
    says(refused_by(postprocess, capsys, *chain), "20 result files", "21 rows")
    (tmp_path / "m.mindir.json").write_text(json.dumps({**description, "batch_size": 0}))
    says(
        refused_by(infer_mindir, capsys, *inference),
        "m.mindir.json is not the description",
        "batches of 0 x 14",
    )
    says(
        refused_by(
            preprocess,
            capsys,
            "--task_name",
            "SST-2",
            "--data_dir",
            task[0],
            "--seq_length",
            "8",
            "--output_dir",
            files,
        ),
        "12 tokens",
        "--seq_length 12",
    )
    says(refused_by(postprocess, capsys, "--task_name", "MRPC", "--input_dir", files), "SST-2", "MRPC")
    info = json.loads((files / "rows.json").read_text())
    for changes, word in (
        ({"largest_token_id": 40}, "vocab_size"),
        ({"largest_segment_id": 2}, "type_vocab_size"),
        ({"task_name": "QNLI"}, "task"),
    ):
        (files / "rows.json").write_text(json.dumps({**info, **changes}))
        (tmp_path / "m.mindir.json").write_text(json.dumps(description))
        says(refused_by(infer_mindir, capsys, *inference), f"they differ in {word}")
    for changes in ({"rows": "21"}, {"rows": 0}, {"seq_length": None}, {"largest_token_id": True}):
        (files / "rows.json").write_text(json.dumps({**info, **changes}))
        for program, arguments in ((infer_mindir, inference), (postprocess, chain)):
            says(
                refused_by(program, capsys, *arguments),
                f"rows.json: {next(iter(changes))} must be a whole number",
            )


def test_mindir_of_a_ternary_model_holds_its_weights_as_computed(task, tmp_path, capsys):
    out = run_script(
        export,
        capsys,
        "--ckpt_file",
        task[2],
        "--file_name",
        tmp_path / "q",
        "--file_format",
        "MINDIR",
        "--batch_size",
        "4",
        "--seq_length",
        "14",
    )
    assert float(re.search(r"differ from the network's by (\S+)", out).group(1)) < 1e-2
    content = (tmp_path / "q.mindir").read_bytes()
    assert b"HShrink" not in content  # of ternarization
    assert content.count(b"REF::Round:") == 2 * (
        2 * 8 + 1
    )  # of two layers' and the pooler's activations: zero point and codes


def test_nothing_of_others_is_replaced(task, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY[:5] + VOCABULARY[:4:-1]))
    says(
        refused_by(
            export, capsys, "--ckpt_file", task[1], "--file_name", tmp_path, "--file_format", "SAFETENSORS"
        ),
        "thesis.txt",
    )
    says(
        refused_by(
            export, capsys, "--ckpt_file", task[1], "--file_name", task[1], "--file_format", "SAFETENSORS"
        ),
        "eval_model.ckpt",
    )
    says(
        refused_by(export, capsys, "--ckpt_file", task[1], "--file_name", tmp_path / "m"),
        "vocab.txt",
        "not the vocabulary of",
    )
    says(refused_by(preprocess, capsys, *on_records(task), "--output_dir", tmp_path), "thesis.txt")
    assert (
        sorted(os.listdir(tmp_path)) == ["thesis.txt", "vocab.txt"]
        and (tmp_path / "thesis.txt").read_text() == "precious"
    )


def test_safetensors_is_a_hugging_face_folder(task, tmp_path, capsys):
    transformers = pytest.importorskip("transformers")
    run_script(
        export, capsys, "--ckpt_file", task[1], "--file_name", tmp_path / "hf", "--file_format", "SAFETENSORS"
    )
    line = run_script(predict, capsys, "--model", tmp_path / "hf", "--text", "word3 word9")
    assert line == run_script(predict, capsys, "--model", task[1], "--text", "word3 word9")
    phase1 = save_network(
        tmp_path / "phase1",
        tiny_network(5, labels=2),
        extra_weights={
            "fit_dense.weight": np.ones((24, 16), np.float32),
            "fit_dense.bias": np.ones(24, np.float32),
        },
    )
    out = run_script(
        export, capsys, "--ckpt_file", phase1, "--file_name", tmp_path / "hf1", "--file_format", "SAFETENSORS"
    )
    says(out, "fit_dense", "done:")
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "hf").state_dict()
    twin = torch_twin(tiny_network(5, labels=2)).state_dict()
    assert theirs.keys() == twin.keys()
    assert all(
        np.array_equal(theirs[name].numpy(), value.float().numpy())
        for name, value in twin.items()
        if value.is_floating_point()
    )
    says(
        refused_by(
            export,
            capsys,
            "--ckpt_file",
            task[2],
            "--file_name",
            tmp_path / "q",
            "--file_format",
            "SAFETENSORS",
        ),
        "quantized",
        "ONNX",
    )


def test_a_file_that_differs_is_removed(task, tmp_path, capsys, monkeypatch):
    honest = export.computed_weights

    def wrong(network):
        weights = honest(network)
        weights["classifier.bias"] = weights["classifier.bias"] + np.array([1, 0], np.float32)
        return weights

    monkeypatch.setattr(export, "computed_weights", wrong)
    says(
        refused_by(export, capsys, "--ckpt_file", task[1], "--file_name", tmp_path / "m"),
        "differs from the network",
        "removed",
    )
    assert os.listdir(tmp_path) == []


def test_a_mindir_that_would_be_several_files_is_refused(task, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "LARGEST_MINDIR", 1000)
    says(
        refused_by(
            export, capsys, "--ckpt_file", task[1], "--file_name", tmp_path / "m", "--file_format", "MINDIR"
        ),
        "at most 1,000",
        "ONNX",
    )
    assert os.listdir(tmp_path) == []


def test_an_onnx_file_of_more_bytes_than_one_can_have_is_refused(task, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("src.deploy.onnx_graph.LARGEST", 1000)
    says(
        refused_by(export, capsys, "--ckpt_file", task[1], "--file_name", tmp_path / "m"),
        "too many for one ONNX file",
        "at most 1,000",
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "changes, words",
    [
        (("--file_format", "AIR"), ("AIR", "Ascend", "CPU")),
        (("--task_name", "MRPC"), ("SST-2", "MRPC")),
        (("--file_format", "MINDIR", "--seq_length", "64"), ("seq_length", "32 positions")),
        (("--file_name", "output/"), ("output/ is a folder",)),
        (("--onnx_weights", "int8"), ("not quantized", "train.py")),
        (("--ckpt_file", "nowhere"), ("nowhere",)),
    ],
)
def test_exports_that_cannot_be_are_one_line(task, tmp_path, capsys, changes, words):
    says(refused_by(export, capsys, "--ckpt_file", task[1], "--file_name", tmp_path / "m", *changes), *words)
    assert os.listdir(tmp_path) == []


def test_models_and_texts_that_cannot_be_read_are_one_line(task, tmp_path, capsys):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "empty.txt").write_text("word1\n\nword2\n")
    for arguments, words in (
        ((tmp_path / "broken.onnx", "--text", "a"), ("broken.onnx", "cannot load")),
        ((tmp_path / "none.onnx", "--text", "a"), ("none.onnx does not exist",)),
        ((task[1], "--text", "  "), ("empty",)),
        ((task[1], "--text", "\u200b"), ("text 1 holds no word",)),
        ((task[1], "--text", ""), ("empty",)),
        ((task[1], "--text_pair", "b"), ("text_pair",)),
        ((task[1], "--file", tmp_path / "empty.txt"), ("line 2", "empty")),
        ((task[1], "--text", "a", "--vocab_file", tmp_path / "v.txt"), ("v.txt",)),
    ):
        says(refused_by(predict, capsys, "--model", *arguments), *words)
    (tmp_path / "v.txt").write_text("".join(f"{token}\n" for token in VOCABULARY[:5] + VOCABULARY[:4:-1]))
    says(
        refused_by(predict, capsys, "--model", task[1], "--text", "a", "--vocab_file", tmp_path / "v.txt"),
        "hashes differ",
    )


def test_texts_that_look_like_nothing_are_texts(task, tmp_path, capsys, monkeypatch):
    lines = tmp_path / "lines"
    lines.write_bytes("\ufeffword1\n".encode())
    out = run_script(predict, capsys, "--model", task[1], "--text", "NULL", "--text_pair", "null")
    assert out.strip().split("\t")[2:] == ["NULL", "null"]
    assert run_script(predict, capsys, "--model", task[1], "--file", lines).strip().split("\t")[2:] == [
        "word1"
    ]
    monkeypatch.setattr(sys, "stdin", None)
    says(refused_by(predict, capsys, "--model", task[1]), "text is needed", "standard input is closed")


def test_a_network_that_only_float_graphs_can_hold_is_told(tmp_path, capsys):
    quantization = QuantConfig(embedding_bits=2, weight_bits=2)
    network = fill(BertForSequence(tiny_config(), 2, quantization=quantization), 6)
    folder = save_network(tmp_path / "model", network, quantization=vars(quantization))
    says(
        run_script(export, capsys, "--ckpt_file", folder, "--file_name", tmp_path / "out" / "m"),
        "auto is float here",
        "needs quantized activations",
    )


def test_an_onnx_package_too_old_is_told_which_one_is_needed(task, tmp_path, capsys, monkeypatch):
    import onnx

    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 20)
    says(
        refused_by(export, capsys, "--ckpt_file", task[1], "--file_name", tmp_path / "m"),
        "up to opset 20",
        "onnx>=1.16",
    )
    assert os.listdir(tmp_path) == []


def test_a_runtime_too_old_is_told_which_one_it_needs(task, tmp_path, capsys, monkeypatch):
    import onnx
    import onnxruntime

    run_script(
        export, capsys, "--ckpt_file", task[2], "--file_name", tmp_path / "m", "--onnx_weights", "2bit"
    )
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.node[0].op_type = "OperatorOfTheFuture"
    onnx.save(model, tmp_path / "m.onnx")
    monkeypatch.setattr(onnxruntime, "__version__", "1.19.2")
    says(
        refused_by(predict, capsys, "--model", tmp_path / "m.onnx", "--text", "a"),
        "needs ONNX Runtime 1.31",
        "pip install",
    )


def test_an_onnx_file_of_others_is_refused(task, tmp_path, capsys):
    import onnx

    run_script(export, capsys, "--ckpt_file", task[1], "--file_name", tmp_path / "m")
    model = onnx.load(tmp_path / "m.onnx")
    del model.metadata_props[:]
    model.metadata_props.add(key="onnx.infer", value="not JSON")
    onnx.save(model, tmp_path / "m.onnx")
    says(
        refused_by(predict, capsys, "--model", tmp_path / "m.onnx", "--text", "a"),
        "does not say its vocab_size",
    )
    says(
        refused_by(
            run_eval_onnx,
            capsys,
            "--model_file",
            tmp_path / "m.onnx",
            "--device_target",
            "Ascend",
            *on_records(task),
        ),
        "CPU or GPU",
    )


def test_hub_networks(task):
    network = mindspore_hub_conf.create_network("tinybert", ckpt_file=task[1])
    assert network.num_labels == 2 and network.config.hidden_size == 16
    np.testing.assert_array_equal(
        network.classifier.weight.asnumpy(), tiny_network(5, labels=2).classifier.weight.asnumpy()
    )
    with pytest.raises(ValueError, match="hidden_size"):
        mindspore_hub_conf.create_network("tinybert", ckpt_file=task[1], hidden_size=24)
    small = mindspore_hub_conf.create_network(
        "ternarybert", num_hidden_layers=1, hidden_size=24, vocab_size=40
    )
    assert small.quantization.weight_bits == 2 and small.config.num_hidden_layers == 1
    with pytest.raises(NotImplementedError):
        mindspore_hub_conf.create_network("gpt")


class StandInLite(types.ModuleType):
    """mindspore_lite, as far as it is used here, with MindSpore's own graph behind it."""

    class ModelType:
        MINDIR = "MINDIR"

    class Context:
        def __init__(self):
            self.target, self.ascend = [], types.SimpleNamespace()

    class Tensor:
        def __init__(self, values=None):
            self.values = values

        def set_data_from_numpy(self, values):
            self.values = values

        def get_data_to_numpy(self):
            return self.values

    class Model:
        def build_from_file(self, path, kind, context):
            if (
                kind != "MINDIR"
                or context.target != ["ascend"]
                or vars(context.ascend) != {"device_id": 3, "precision_mode": "enforce_origin"}
            ):
                raise RuntimeError(f"{kind} {context.target} {vars(context.ascend)}")
            self.graph = ms.nn.GraphCell(ms.load(path))

        def get_inputs(self):
            return [StandInLite.Tensor() for _ in range(3)]

        def predict(self, inputs):
            return [StandInLite.Tensor(self.graph(*(ms.Tensor(item.values) for item in inputs)).asnumpy())]


def test_inference_uses_mindspore_lite_where_it_is_installed(task, tmp_path, capsys, monkeypatch):
    run_script(
        export,
        capsys,
        "--ckpt_file",
        task[1],
        "--file_name",
        tmp_path / "m",
        "--file_format",
        "MINDIR",
        "--batch_size",
        "8",
        "--seq_length",
        "14",
    )
    run_script(preprocess, capsys, *on_records(task), "--seq_length", "14", "--output_dir", tmp_path / "pre")
    monkeypatch.setitem(sys.modules, "mindspore_lite", StandInLite("mindspore_lite"))
    given = (
        "--model_file",
        tmp_path / "m.mindir",
        "--input_dir",
        tmp_path / "pre",
        "--output_dir",
        tmp_path / "results",
    )
    run_script(infer_mindir, capsys, *given, "--device_target", "Ascend", "--device_id", "3")
    out = run_script(
        postprocess,
        capsys,
        "--task_name",
        "SST-2",
        "--input_dir",
        tmp_path / "pre",
        "--result_dir",
        tmp_path / "results",
    )
    assert accuracy(out) == pytest.approx(evaluated(capsys, task, task[1]), abs=1e-6)
    says(
        refused_by(infer_mindir, capsys, *given, "--device_target", "Ascend"),
        "MindSpore Lite cannot load it on Ascend",
        "'device_id': 0",
    )


def test_the_310_launcher_runs_the_chain_on_cpu(task, tmp_path, capsys):
    run_script(
        export,
        capsys,
        "--ckpt_file",
        task[1],
        "--file_name",
        tmp_path / "m",
        "--file_format",
        "MINDIR",
        "--batch_size",
        "8",
        "--seq_length",
        "14",
    )
    command = [
        "bash",
        os.path.join(ROOT, "scripts", "run_infer_310.sh"),
        "m.mindir",
        task[0],
        "",
        "auto",
        "SST-2",
        "auto",
        "y",
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU"},
    )
    assert accuracy(done.stdout) == accuracy((tmp_path / "acc.log").read_text())
    assert accuracy(done.stdout) == pytest.approx(evaluated(capsys, task, task[1]), abs=1e-6)


def test_the_310_launcher_runs_the_three_programs_in_order(tmp_path):
    (tmp_path / "m.mindir.json").write_text('{"seq_length": 14}')
    command = [
        "bash",
        os.path.join(ROOT, "scripts", "run_infer_310.sh"),
        "m.mindir",
        "my data",
        "",
        "auto",
        "SST-2",
        "auto",
    ]
    environment = {**os.environ, "PYTHON": sys.executable, "DRY_RUN": "1"}
    done = subprocess.run(
        [*command, "y", "3"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    first, second, third = done.stdout.strip().splitlines()
    says(first, "preprocess.py", "--task_name SST-2", r"my\ data", "--seq_length 14")
    says(second, "infer_mindir.py", "--device_target Ascend", "--device_id 3")
    says(third, "postprocess.py", "--assessment_method auto")
    lite = tmp_path / "lite"  # a Python with MindSpore Lite alone
    lite.write_text(
        '#!/bin/bash\n[ "$1$3" != -cmindspore ] || exit 1\n[[ "$1$3" != -c?* ]] || exit 0\nexec '
        f'{sys.executable} "$@"\n'
    )
    lite.chmod(0o755)
    done = subprocess.run(
        [*command, "n"],
        cwd=tmp_path,
        env={**environment, "PYTHON": str(lite)},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.strip().splitlines()
    says(first, f"{lite} -u ", "infer_mindir.py")
    says(second, "postprocess.py")
    done = subprocess.run(
        [*command, "perhaps"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and "NEED_PREPROCESS" in done.stderr
