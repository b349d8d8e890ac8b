"""convert_checkpoint.py end to end, against transformers, PyTorch and TensorFlow on tiny random networks."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

import convert_checkpoint
from src.checkpoint import folder as our_files
from src.checkpoint.folder import load, save
from src.checkpoint.formats import read_any
from src.errors import UserError
from src.kinds import CLASSIFICATION, SPAN, TAGGING
from src.model import Model
from src.nn.layers import eager
from src.settings.network import Known
from src.vocabulary import vocabulary_hash
from tests.helpers import (
    HEADS,
    HIDDEN,
    INNER,
    LAYERS,
    POSITIONS,
    TOKENS,
    TYPES,
    WORDS,
    assert_same,
    our_description,
    our_weights,
)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHARED = os.path.join(os.path.dirname(ROOT), "shared")
IDS = [[2, 7, 9, 3, 0], [2, 11, 3, 19, 3]]
TYPES_OF = [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]
MASK = [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


def convert(capsys, *arguments):
    """The lines that the script prints."""
    convert_checkpoint.main([str(item) for item in arguments])
    return capsys.readouterr().out.strip().splitlines()


def refused(capsys, *arguments):
    """The script's one line on standard error."""
    with pytest.raises(SystemExit) as caught:
        convert_checkpoint.main([str(item) for item in arguments])
    lines = capsys.readouterr().err.strip().splitlines()
    assert caught.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def hugging_face(tmp_path):
    """(folder, network, logits) of a random transformers classifier, saved by transformers."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=POSITIONS,
        type_vocab_size=TYPES,
        initializer_range=0.5,
        num_labels=3,
        id2label={0: "no", 1: "maybe", 2: "yes"},
    )
    network = transformers.BertForSequenceClassification(config).eval()
    for parameter in network.parameters():  # biases and LayerNorm too
        torch.nn.init.normal_(parameter, std=0.5)
    folder = str(tmp_path / "hugging_face")
    network.save_pretrained(folder)
    with open(os.path.join(folder, "vocab.txt"), "w") as file:
        file.write("\n".join(TOKENS) + "\n")
    return folder, network, logits_of(network)


def logits_of(network):
    import torch

    with torch.no_grad():
        return network(
            input_ids=torch.tensor(IDS),
            token_type_ids=torch.tensor(TYPES_OF),
            attention_mask=torch.tensor(MASK),
        ).logits.numpy()


# --- Hugging Face -------------------------------------------------------------------------------------------


HUGGING_FACE_NAMES = (
    ("bert.encoder.layers.1.attention.query.weight", "bert.encoder.layer.1.attention.self.query.weight"),
    ("bert.encoder.layers.1.attention.output.weight", "bert.encoder.layer.1.attention.output.dense.weight"),
    (
        "bert.encoder.layers.0.attention.layer_norm.bias",
        "bert.encoder.layer.0.attention.output.LayerNorm.bias",
    ),
    (
        "bert.encoder.layers.0.feed_forward.intermediate.weight",
        "bert.encoder.layer.0.intermediate.dense.weight",
    ),
    ("bert.encoder.layers.1.feed_forward.output.weight", "bert.encoder.layer.1.output.dense.weight"),
    ("bert.encoder.layers.1.feed_forward.layer_norm.weight", "bert.encoder.layer.1.output.LayerNorm.weight"),
    ("bert.embeddings.layer_norm.weight", "bert.embeddings.LayerNorm.weight"),
    ("classifier.weight", "classifier.weight"),
)


def test_hugging_face_there_and_back_gives_the_same_logits(hugging_face, tmp_path, capsys):
    import transformers

    folder, network, logits = hugging_face
    lines = convert(capsys, "--input", folder, "--output", tmp_path / "ours")
    ours = load(tmp_path / "ours")
    state = {
        name: value.numpy() for name, value in network.state_dict().items() if "position_ids" not in name
    }
    for our_name, their_name in HUGGING_FACE_NAMES:
        np.testing.assert_array_equal(ours.weights[our_name], state[their_name])
    assert (
        len(ours.weights) == len(state)
        and ours.description.labels == ("no", "maybe", "yes")
        and ours.vocabulary == tuple(TOKENS)
    )
    size = sum(value.size for value in state.values())
    assert lines[0].startswith("recognised: Hugging Face BERT, 2 layers, 8 wide, 2 heads, gelu")
    assert (
        lines[1] == f"weights: {len(state)}, parameters: {size:,}"
        and "head: 3 labels: no, maybe, yes" in lines
    )
    assert lines[-1].startswith("wrote mindspore checkpoint ") and "run_task_distill.py" in lines[-1]

    convert(capsys, "--input", tmp_path / "ours", "--output", tmp_path / "back", "--to", "huggingface")
    back = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "back").eval()
    np.testing.assert_allclose(logits_of(back), logits, atol=1e-6)
    assert back.config.id2label == {0: "no", 1: "maybe", 2: "yes"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    assert tokenizer("WORD3 word9")["input_ids"] == [2, 8, 14, 3]


@pytest.mark.parametrize(
    "architecture, head, kind, labels",
    [
        ("BertForTokenClassification", "classifier.weight", TAGGING, ("O", "B-x", "I-x")),
        ("BertForQuestionAnswering", "qa_outputs.weight", SPAN, ()),
    ],
)
def test_heads_for_tokens_there_and_back_give_transformers_logits(
    hugging_face, tmp_path, capsys, architecture, head, kind, labels
):
    import torch
    import transformers

    config = hugging_face[1].config
    config.num_labels, config.id2label = 2, dict(enumerate(labels or ("LABEL_0", "LABEL_1")))
    theirs = getattr(transformers, architecture)(config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    convert(capsys, "--input", tmp_path / "theirs", "--output", tmp_path / "ours")
    checkpoint = load(tmp_path / "ours")
    assert (checkpoint.description.kind, checkpoint.description.labels) == (kind, labels)
    np.testing.assert_array_equal(checkpoint.weights["classifier.weight"], theirs.state_dict()[head].numpy())

    inputs = {"input_ids": IDS, "token_type_ids": TYPES_OF, "attention_mask": MASK}
    with torch.no_grad():
        answers = theirs(**{name: torch.tensor(value) for name, value in inputs.items()})
    expected = answers.logits if labels else torch.stack([answers.start_logits, answers.end_logits], -1)
    columns = (np.array(value, np.int32) for value in (IDS, MASK, TYPES_OF))
    with eager():
        found = Model.from_checkpoint(checkpoint).network(*map(ms.Tensor, columns))[0].asnumpy()
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)

    line = convert(
        capsys, "--input", tmp_path / "ours", "--output", tmp_path / "back", "--to", "huggingface"
    )[-1]
    assert line.startswith("wrote") and architecture.replace("Bert", "AutoModel") in line
    back = getattr(transformers, architecture).from_pretrained(tmp_path / "back").eval()
    assert_same(*({n: v.numpy() for n, v in item.state_dict().items()} for item in (back, theirs)))
    assert read_any(tmp_path / "back").checkpoint.description.kind is kind


def test_pytorch_file_gives_the_same_as_safetensors(hugging_face, tmp_path, capsys):
    import torch

    folder, network, _ = hugging_face
    expected = read_any(folder).checkpoint.weights
    os.remove(os.path.join(folder, "model.safetensors"))
    old_names = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in network.state_dict().items()
    }
    path = os.path.join(folder, "pytorch_model.bin")
    torch.save(old_names, path)
    assert_same(read_any(folder).checkpoint.weights, expected)
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])
    assert path in refused(capsys, "--input", folder, "--output", tmp_path / "ours")


class Trap:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_pickled_code_is_not_run(hugging_face, tmp_path, capsys):
    import torch

    folder, _, _ = hugging_face
    os.remove(os.path.join(folder, "model.safetensors"))
    torch.save({"weight": Trap(str(tmp_path / "created"))}, os.path.join(folder, "pytorch_model.bin"))
    assert "holds more than weights" in refused(capsys, "--input", folder, "--output", tmp_path / "ours")
    assert not (tmp_path / "created").exists()


def test_without_torch_the_message_says_so(hugging_face, tmp_path, capsys, monkeypatch):
    folder, _, _ = hugging_face
    os.rename(os.path.join(folder, "model.safetensors"), os.path.join(folder, "pytorch_model.bin"))
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install 'torch>=2.6'" in refused(capsys, "--input", folder, "--output", tmp_path / "ours")


def test_sharded_safetensors(hugging_face, tmp_path):
    folder, network, _ = hugging_face
    network.save_pretrained(tmp_path / "shards", max_shard_size="3KB")
    assert os.path.exists(tmp_path / "shards" / "model.safetensors.index.json")
    assert_same(read_any(tmp_path / "shards").checkpoint.weights, read_any(folder).checkpoint.weights)
    shard = next(name for name in sorted(os.listdir(tmp_path / "shards")) if name.endswith(".safetensors"))
    os.remove(tmp_path / "shards" / shard)
    with pytest.raises(UserError, match="is missing"):
        read_any(tmp_path / "shards")


def test_encoder_there_and_back(hugging_face, tmp_path, capsys):
    import torch
    import transformers

    _, network, _ = hugging_face
    network.bert.save_pretrained(tmp_path / "encoder")
    lines = convert(capsys, "--input", tmp_path / "encoder", "--output", tmp_path / "ours")
    assert "head: none (encoder only)" in lines and "run_finetune.py" in lines[-1]
    convert(capsys, "--input", tmp_path / "ours", "--output", tmp_path / "back", "--to", "huggingface")
    back = transformers.AutoModel.from_pretrained(tmp_path / "back").eval()
    with torch.no_grad():
        for ours, theirs in zip(back(torch.tensor(IDS))[:2], network.bert(torch.tensor(IDS))[:2]):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)


@pytest.mark.parametrize("change", [{"classifier_relu": True}, {"use_relative_positions": True}])
@pytest.mark.parametrize("to", ["huggingface", "tensorflow"])
@pytest.mark.parametrize("kind", [CLASSIFICATION, TAGGING], ids=lambda kind: kind.name)
def test_networks_that_other_formats_lack_are_refused(tmp_path, capsys, change, to, kind):
    weights = {
        name: value for name, value in our_weights().items() if kind is CLASSIFICATION or "pooler" not in name
    }
    save(tmp_path / "ours", weights, replace(our_description(**change), kind=kind), TOKENS)
    message = refused(capsys, "--input", tmp_path / "ours", "--output", tmp_path / "out", "--to", to)
    assert next(iter(change)) in message and not (tmp_path / "out").exists()


def test_projection_is_left_out_with_a_notice(tmp_path, capsys):
    fit = {"fit_dense.weight": np.ones((16, HIDDEN), np.float32), "fit_dense.bias": np.ones(16, np.float32)}
    save(tmp_path / "ours", {**our_weights(), **fit}, our_description(), TOKENS)
    lines = convert(capsys, "--input", tmp_path / "ours", "--output", tmp_path / "out", "--to", "huggingface")
    assert any("fit_dense" in line and "left out" in line for line in lines)
    assert_same(read_any(tmp_path / "out").checkpoint.weights, our_weights())


def test_a_hugging_face_folder_says_the_task_and_the_vocabularys_hash(tmp_path, capsys):
    save(tmp_path / "ours", our_weights(), replace(our_description(), task_name="SST-2"), TOKENS)
    lines = convert(capsys, "--input", tmp_path / "ours", "--output", tmp_path / "out", "--to", "huggingface")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["task_name"], config["vocab_sha256"]) == ("SST-2", vocabulary_hash(TOKENS))
    assert not any("no place for" in line and "task_name" in line for line in lines)


def test_quantized_training_goes_on_elsewhere_without_what_its_quantizers_learnt(tmp_path, capsys):
    state = {
        "bert.pooler.dense.quantize.second_moment": np.ones((HIDDEN, HIDDEN), np.float32),
        "bert.x.threshold": np.ones(1, np.float32),
    }
    save(tmp_path / "ours", {**our_weights(), **state}, our_description(), TOKENS)
    lines = convert(capsys, "--input", tmp_path / "ours", "--output", tmp_path / "out", "--to", "huggingface")
    assert any("quantizers had learnt" in line and "left out" in line for line in lines)
    assert_same(read_any(tmp_path / "out").checkpoint.weights, our_weights())


# --- TensorFlow ---------------------------------------------------------------------------------------------

GOOGLE = {
    "bert/embeddings/word_embeddings": (WORDS, HIDDEN),
    "bert/embeddings/position_embeddings": (POSITIONS, HIDDEN),
    "bert/embeddings/token_type_embeddings": (TYPES, HIDDEN),
    "bert/embeddings/LayerNorm/gamma": (HIDDEN,),
    "bert/embeddings/LayerNorm/beta": (HIDDEN,),
    "bert/pooler/dense/kernel": (HIDDEN, HIDDEN),
    "bert/pooler/dense/bias": (HIDDEN,),
    "output_weights": (3, HIDDEN),
    "output_bias": (3,),
}
GOOGLE_LAYER = {
    "attention/self/query/kernel": (HIDDEN, HIDDEN),
    "attention/self/query/bias": (HIDDEN,),
    "attention/self/key/kernel": (HIDDEN, HIDDEN),
    "attention/self/key/bias": (HIDDEN,),
    "attention/self/value/kernel": (HIDDEN, HIDDEN),
    "attention/self/value/bias": (HIDDEN,),
    "attention/output/dense/kernel": (HIDDEN, HIDDEN),
    "attention/output/dense/bias": (HIDDEN,),
    "attention/output/LayerNorm/gamma": (HIDDEN,),
    "attention/output/LayerNorm/beta": (HIDDEN,),
    "intermediate/dense/kernel": (HIDDEN, INNER),
    "intermediate/dense/bias": (INNER,),
    "output/dense/kernel": (INNER, HIDDEN),
    "output/dense/bias": (HIDDEN,),
    "output/LayerNorm/gamma": (HIDDEN,),
    "output/LayerNorm/beta": (HIDDEN,),
}


GOOGLE_NAMES = (
    (
        "bert.encoder.layers.1.attention.value.weight",
        "bert/encoder/layer_1/attention/self/value/kernel",
        True,
    ),
    (
        "bert.encoder.layers.0.feed_forward.intermediate.weight",
        "bert/encoder/layer_0/intermediate/dense/kernel",
        True,
    ),
    ("bert.encoder.layers.1.feed_forward.output.weight", "bert/encoder/layer_1/output/dense/kernel", True),
    (
        "bert.encoder.layers.1.attention.output.bias",
        "bert/encoder/layer_1/attention/output/dense/bias",
        False,
    ),
    (
        "bert.encoder.layers.1.feed_forward.layer_norm.bias",
        "bert/encoder/layer_1/output/LayerNorm/beta",
        False,
    ),
    ("bert.pooler.dense.weight", "bert/pooler/dense/kernel", True),
    ("classifier.weight", "output_weights", False),
    ("bert.embeddings.word_embeddings.weight", "bert/embeddings/word_embeddings", False),
)
"""Ours, Google's, and whether it is transposed there."""


def google_weights():
    shapes = {
        **GOOGLE,
        **{
            f"bert/encoder/layer_{layer}/{name}": shape
            for layer in range(LAYERS)
            for name, shape in GOOGLE_LAYER.items()
        },
    }
    random = np.random.default_rng(11)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_tensorflow_there_and_back(tmp_path, capsys):
    tensorflow = pytest.importorskip("tensorflow")
    weights = google_weights()
    training = {
        "bert/pooler/dense/kernel/adam_m": np.ones((HIDDEN, HIDDEN), np.float32),
        "cls/seq_relationship/output_bias": np.ones(2, np.float32),
        "global_step": np.array(7),
    }
    (tmp_path / "google").mkdir()
    saved = {**weights, **training}
    tensorflow.raw_ops.SaveV2(
        prefix=str(tmp_path / "google" / "bert_model.ckpt"),
        tensor_names=list(saved),
        shape_and_slices=[""] * len(saved),
        tensors=[tensorflow.constant(v) for v in saved.values()],
    )
    (tmp_path / "google" / "bert_config.json").write_text(
        json.dumps({"num_attention_heads": HEADS, "hidden_act": "gelu"})
    )
    (tmp_path / "google" / "vocab.txt").write_text("\n".join(TOKENS))
    lines = convert(capsys, "--input", tmp_path / "google", "--output", tmp_path / "ours")
    assert any(line.startswith("dropped: ") and all(name in line for name in training) for line in lines)
    ours = load(tmp_path / "ours")
    assert ours.description.bert.hidden_act == "gelu_new" and ours.description.bert.layer_norm_eps == 1e-12
    assert len(ours.weights) == len(weights)
    for name, theirs, transposed in GOOGLE_NAMES:
        np.testing.assert_array_equal(
            ours.weights[name], weights[theirs].T if transposed else weights[theirs]
        )

    convert(capsys, "--input", tmp_path / "ours", "--output", tmp_path / "back", "--to", "tensorflow")
    reader = tensorflow.train.load_checkpoint(str(tmp_path / "back" / "bert_model.ckpt"))
    assert_same({name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}, weights)
    assert json.loads((tmp_path / "back" / "bert_config.json").read_text())["hidden_act"] == "gelu"

    for suffix in ("", ".index", ".data-00000-of-00001"):  # a prefix, or a file of it
        path = str(tmp_path / "google" / "bert_model.ckpt") + suffix
        assert_same(read_any(path).checkpoint.weights, ours.weights)
    index = tmp_path / "google" / "bert_model.ckpt.index"
    index.write_bytes(index.read_bytes()[:40])
    assert "bert_model.ckpt" in refused(capsys, "--input", tmp_path / "google", "--output", tmp_path / "x")


@pytest.mark.parametrize("kind, head", [(SPAN, "cls/squad/output"), (TAGGING, "output")])
def test_tensorflow_heads_for_tokens_there_and_back(tmp_path, capsys, kind, head):
    tensorflow = pytest.importorskip("tensorflow")
    weights = our_weights(labels=2)
    ours = {name: value for name, value in weights.items() if "pooler" not in name}
    described = replace(our_description((), 2, hidden_act="gelu_new"), kind=kind)
    save(tmp_path / "ours", ours, described, TOKENS)
    line = convert(
        capsys, "--input", tmp_path / "ours", "--output", tmp_path / "google", "--to", "tensorflow"
    )[-1]
    assert ("run_squad.py" in line) == (kind is SPAN)
    reader = tensorflow.train.load_checkpoint(str(tmp_path / "google" / "bert_model.ckpt"))
    np.testing.assert_array_equal(reader.get_tensor(f"{head}_weights"), weights["classifier.weight"])
    config = json.dumps({"num_attention_heads": HEADS, "hidden_act": "gelu"})
    (tmp_path / "google" / "bert_config.json").write_text(config)
    read = read_any(tmp_path / "google", Known(kind=None if kind is SPAN else kind))
    assert read.checkpoint.description.kind is kind
    assert_same(read.checkpoint.weights, ours)


def test_without_tensorflow_the_message_says_so(tmp_path, capsys, monkeypatch):
    (tmp_path / "bert_model.ckpt.index").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert "requirements-convert.txt" in refused(capsys, "--input", tmp_path, "--output", tmp_path / "ours")


# --- the script ---------------------------------------------------------------------------------------------


@pytest.fixture
def ours(tmp_path):
    save(tmp_path / "ours", our_weights(labels=2), our_description(labels=(), outputs=2), TOKENS)
    return tmp_path / "ours"


def test_task_names_the_labels(ours, tmp_path, capsys):
    lines = convert(capsys, "--input", ours, "--output", tmp_path / "out", "--task_name", "sst2")
    assert "head: 2 labels: negative, positive" in lines
    found = load(tmp_path / "out")
    assert found.description.labels == ("negative", "positive") and found.description.task_name == "SST-2"
    assert "3 outputs" in refused(capsys, "--input", ours, "--output", tmp_path / "x", "--task_name", "mnli")
    assert "unknown task" in refused(
        capsys, "--input", ours, "--output", tmp_path / "x", "--task_name", "nothing"
    )
    assert not (tmp_path / "x").exists()


def test_output_is_written_whole_or_not_at_all(ours, tmp_path, capsys, monkeypatch):
    convert(capsys, "--input", ours, "--output", tmp_path / "out")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(our_files, "write_vocabulary", fail)
    with pytest.raises(OSError, match="disk full"):
        convert_checkpoint.main(
            ["--input", str(ours), "--output", str(tmp_path / "out"), "--task_name", "sst2"]
        )
    assert sorted(os.listdir(tmp_path)) == ["ours", "out"]
    assert load(tmp_path / "out").description.labels == ()
    monkeypatch.undo()
    # Replaces a checkpoint.
    convert(capsys, "--input", ours, "--output", tmp_path / "out", "--task_name", "sst2")
    assert load(tmp_path / "out").description.labels == ("negative", "positive")


def test_output_that_would_delete_something_is_refused(ours, tmp_path, capsys):
    assert "where the input lies" in refused(capsys, "--input", ours, "--output", ours)
    assert "where the input lies" in refused(capsys, "--input", ours / "eval_model.ckpt", "--output", ours)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    assert "thesis.txt" in refused(capsys, "--input", ours, "--output", tmp_path / "mine")
    assert "is a file" in refused(capsys, "--input", ours, "--output", tmp_path / "mine" / "thesis.txt")


def test_settings_that_cannot_apply_are_refused(ours, tmp_path, capsys):
    (tmp_path / "vocab.txt").write_text("\n".join([*TOKENS[:-1], "other"]))
    assert "is not the vocabulary" in refused(
        capsys, "--input", ours, "--output", tmp_path / "x", "--vocab_file", tmp_path / "vocab.txt"
    )
    assert "output is needed" in refused(capsys, "--input", ours)
    assert "does not exist" in refused(capsys, "--input", tmp_path / "nowhere", "--output", tmp_path / "x")
    (tmp_path / "empty").mkdir()
    assert "holds no checkpoint" in refused(capsys, "--input", tmp_path / "empty", "--output", tmp_path / "x")


def test_vocabulary_can_be_added(tmp_path, capsys):
    save(tmp_path / "bare", our_weights(), our_description())
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS))
    convert(
        capsys,
        "--input",
        tmp_path / "bare",
        "--output",
        tmp_path / "out",
        "--vocab_file",
        tmp_path / "vocab.txt",
    )
    found = load(tmp_path / "out")
    assert (
        found.vocabulary == tuple(TOKENS)
        and found.description.vocab_sha256
        and found.description.do_lower_case is True
    )


def test_from_the_command_line(ours, tmp_path):
    run = subprocess.run(
        [sys.executable, "convert_checkpoint.py", "--input", str(tmp_path / "nowhere"), "--output", "x"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        run.returncode == 2
        and run.stderr.strip() == f"error: checkpoint {tmp_path / 'nowhere'} does not exist"
    )


@pytest.mark.parametrize("name, labels", [("sst2-teacher", ("negative", "positive")), ("stsb-teacher", ())])
def test_real_teachers(tmp_path, capsys, name, labels):
    source = os.path.join(SHARED, "models", name)
    if not os.path.isdir(source):
        pytest.skip("the shared teachers are not on this machine")
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    task = "SST-2" if labels else "STS-B"
    lines = convert(capsys, "--input", source, "--output", tmp_path / "ours", "--task_name", task)
    assert lines[1] == f"weights: 105, parameters: {22713986 if labels else 22713601:,}"
    assert load(tmp_path / "ours").description.labels == labels
    convert(capsys, "--input", tmp_path / "ours", "--output", tmp_path / "back", "--to", "huggingface")
    ids = torch.tensor([[101, 2009, 2003, 2204, 102]])
    with torch.no_grad():
        before, after = (
            transformers.AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32)
            .eval()(ids)
            .logits.numpy()
            for path in (source, tmp_path / "back")
        )
    np.testing.assert_allclose(after, before, atol=1e-4)
