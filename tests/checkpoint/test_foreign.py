"""Other programs' checkpoints as people bring them: around, beside and inside the right file."""

import os
import re

import mindspore as ms
import numpy as np
import pytest

from src.checkpoint.formats import read_any
from src.checkpoint.labels import with_labels
from src.checkpoint.names import translate
from src.description import DataFacts
from src.distill.distiller import LossTerms
from src.distill.quantized import quantized_student
from src.distill.student import build_student
from src.distill.teacher import load_teacher
from src.files import write_json
from src.kinds import CLASSIFICATION, REGRESSION, TAGGING
from src.model import Model, read, read_as_run
from src.settings.network import Known, NetConfig
from src.settings.tools import EvaluateConfig
from src.settings.training import QuantizedStudentConfig, TaskDistillConfig
from src.tasks import get_task
from src.train.start import from_checkpoint, task_model
from src.vocabulary import vocabulary_hash
from tests.helpers import (
    HEADS,
    TOKENS,
    assert_same,
    hugging_face_weights,
    our_weights,
    refusal,
    task_data,
    write_ckpt,
    write_huggingface_by_hand,
)

CONFIG = {"model_type": "bert", "num_attention_heads": HEADS}


def foreign(folder, rename=lambda name: name, labels=3, config=None, **sizes):
    """A Hugging Face folder whose names are changed; returns its path."""
    os.makedirs(folder, exist_ok=True)
    weights = hugging_face_weights(labels=labels, **sizes)
    write_huggingface_by_hand(folder, {rename(name): value for name, value in weights.items()}, config=config)
    return folder


def in_shards(folder):
    """The weights of a folder in two files and their index."""
    theirs, index = hugging_face_weights(), {}
    for number in (0, 1):
        part = dict(list(theirs.items())[number::2])
        write_huggingface_by_hand(folder, part)
        os.rename(folder / "model.safetensors", folder / f"model-{number}.safetensors")
        index.update(dict.fromkeys(part, f"model-{number}.safetensors"))
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})


# --- what is around the names -------------------------------------------------------------------------------


def inner(name):
    return name.removeprefix("bert.")


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: "module." + name,
        lambda name: "_orig_mod." + name,
        lambda name: "module._orig_mod." + name,
        lambda name: "model." + name,
        lambda name: "model.module." + name,
        lambda name: "bert." + name,  # bert.bert.embeddings, bert.classifier
        lambda name: "0.auto_model." + inner(name) if name.startswith("bert.") else name,
        lambda name: "model." + inner(name),  # model.embeddings, model.classifier
        lambda name: "encoder." + inner(name) if name.startswith("bert.") else name,  # encoder.encoder.layer
        lambda name: "net.backbone." + name if name.startswith("bert.") else "net." + name,
        lambda name: "my_bert." + inner(name) if name.startswith("bert.") else name,
        lambda name: re.sub(r"^bert\.", "bert._orig_mod.", name),
        lambda name: re.sub(r"(layer\.\d)", r"\1._fsdp_wrapped_module._checkpoint_wrapped_module", name),
    ],
)
def test_names_of_wrapped_networks_are_read(tmp_path, rename):
    assert_same(read_any(foreign(tmp_path, rename)).checkpoint.weights, our_weights())


def test_one_bert_is_needed_and_no_relative_of_it(tmp_path):
    theirs = hugging_face_weights(labels=0)
    two = {f"{name}.{key}": value for name in ("student", "teacher") for key, value in theirs.items()}
    write_huggingface_by_hand(tmp_path, two)
    assert "one BERT is needed: 2 of them (student.bert., teacher.bert.)" in refusal(read_any, tmp_path)
    foreign(tmp_path, lambda name: "roberta." + inner(name), labels=0, config={"num_attention_heads": HEADS})
    assert "not a BERT: its names begin with roberta." in refusal(read_any, tmp_path)


# --- what lies beside the right file ------------------------------------------------------------------------

STRAYS = (
    "training_args.bin",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "flax_model.msgpack",
    "tf_model.h5",
    "pytorch_model.bin",
    "last.ckpt",
    "rust_model.ot",
    "mindspore_model.ckpt",
    "bert_model.ckpt.index",
    "model.onnx",
)


def add_strays(folder):
    for name in STRAYS:
        (folder / name).write_bytes(b"PK\x03\x04" if name.endswith(".ckpt") else b"\x80\x02 not to be opened")


@pytest.mark.parametrize("shards", [False, True])
def test_other_programs_files_beside_the_weights_are_left_alone(tmp_path, shards):
    in_shards(tmp_path) if shards else foreign(tmp_path)
    add_strays(tmp_path)
    if shards:  # of two complete sets of weights the safe one counts
        os.remove(tmp_path / "pytorch_model.bin")
        assert_same(read(str(tmp_path / "model.safetensors.index.json")).weights, our_weights())
    assert_same(read(str(tmp_path)).weights, our_weights())


def test_the_folder_of_a_run_says_where_its_models_lie(tmp_path):
    for age, name in enumerate(
        ("latent/sst-2/eval_model.ckpt", "sst-2/quantized_model.safetensors", "a/b.ckpt")
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (age, age))
    line = refusal(read, str(tmp_path))
    assert line.endswith("; give one of the models in it: sst-2, latent/sst-2")


@pytest.mark.parametrize(
    "name, words",
    [
        ("tf_model.h5", ("from_tf=True", "BertForSequenceClassification")),
        ("flax_model.msgpack", ("from_flax=True",)),
        ("model.pt", ("torch.load(sys.argv[1]", "weights_only=True", "safetensors")),
        ("last.ckpt", ("last.ckpt is PyTorch's", "weights_only=True")),
        ("notes.txt", ("none of model.safetensors",)),
    ],
)
def test_files_that_are_not_read_say_how_they_become_ones(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"\x80\x02")
    write_json(tmp_path / "config.json", {"architectures": ["TFBertForSequenceClassification"]})
    line = refusal(read, str(tmp_path))
    for word in ("holds no checkpoint", *words):
        assert word in line
    if name != "notes.txt":
        assert words[0] in refusal(read, str(tmp_path / name))


def test_an_incomplete_set_of_shards_names_the_missing_one(tmp_path):
    in_shards(tmp_path)
    os.remove(tmp_path / "model-1.safetensors")
    assert "'model-1.safetensors', which is missing" in refusal(read, str(tmp_path))


# --- read where a command names it --------------------------------------------------------------------------


def test_reading_in_place_is_said_in_one_line(tmp_path, capsys):
    foreign(tmp_path)
    read(str(tmp_path))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path} is a Hugging Face checkpoint, read in place: 2 layers, 3 classes")
    assert "no vocab.txt" in line and "--vocab_file" in line


def test_its_network_may_stand_in_the_runs_settings(tmp_path):
    foreign(tmp_path)
    os.remove(tmp_path / "config.json")
    line = refusal(read_as_run, str(tmp_path), Known(section="net_cfg"))
    assert "--net_cfg.num_attention_heads" in line
    net = NetConfig(num_attention_heads=HEADS, layer_norm_eps=1e-7, hidden_size=8, hidden_dropout_prob=0.3)
    checkpoint, bert = read_as_run(str(tmp_path), Known(net, "net_cfg"))
    assert (bert.num_attention_heads, bert.layer_norm_eps, bert.hidden_dropout_prob) == (HEADS, 1e-7, 0.3)
    assert checkpoint.description.bert.num_attention_heads == HEADS
    wrong = NetConfig(num_attention_heads=HEADS, hidden_size=9)
    assert "hidden_size is 9" in refusal(read_as_run, str(tmp_path), Known(wrong, "net_cfg"))


def test_what_its_own_files_say_counts_and_a_contradiction_is_named(tmp_path):
    foreign(tmp_path, config={**CONFIG, "layer_norm_eps": 1e-5})
    known = Known(NetConfig(layer_norm_eps=1e-7), "td_teacher_net_cfg")
    assert "td_teacher_net_cfg.layer_norm_eps is 1e-07 but the checkpoint" in refusal(
        read_as_run, str(tmp_path), known
    )


@pytest.mark.parametrize(
    "changes", [{"num_attention_heads": 1}, {"layer_norm_eps": 1e-7}, {"hidden_size": 9}]
)
def test_a_command_that_runs_it_refuses_a_contradiction_but_for_a_recipes(tmp_path, changes):
    foreign(tmp_path, config={**CONFIG, "layer_norm_eps": 1e-5, "hidden_size": 8})
    ((name, value),) = changes.items()
    settings = EvaluateConfig(net_cfg=NetConfig(**changes))
    line = refusal(read, str(tmp_path), settings.known())
    assert f"net_cfg.{name} is {value} but the checkpoint {tmp_path} has" in line
    recipe = EvaluateConfig(td_student_net_cfg=NetConfig(**changes))
    assert getattr(read(str(tmp_path), recipe.known()).description.bert, name) != value


def test_a_recipes_network_counts_where_nothing_else_says_it(tmp_path):
    foreign(tmp_path)
    os.remove(tmp_path / "config.json")
    recipe = {"td_student_net_cfg": NetConfig(num_attention_heads=1, layer_norm_eps=1e-7)}
    own = EvaluateConfig(net_cfg=NetConfig(num_attention_heads=HEADS), **recipe)
    bert = read(str(tmp_path), own.known()).description.bert
    assert (bert.num_attention_heads, bert.layer_norm_eps) == (HEADS, 1e-7)


def test_a_published_ckpt_takes_its_network_from_the_section_in_its_own_words(tmp_path):
    """`gelu` in a published YAML file is the tanh form, as in the published code."""
    theirs = {"bert." + name: value for name, value in translate(our_weights(), "ours", "mindspore").items()}
    write_ckpt(tmp_path / "published.ckpt", theirs)
    path, heads = str(tmp_path / "published.ckpt"), {"num_attention_heads": HEADS, "hidden_act": "gelu"}
    line = refusal(read_as_run, path, Known(NetConfig(**heads), "td_student_net_cfg"))
    assert "--td_student_net_cfg.classifier_relu true or false" in line
    known = Known(NetConfig(**heads, classifier_relu=True), "td_student_net_cfg")
    checkpoint, bert = read_as_run(path, known)
    assert (bert.hidden_act, bert.classifier_relu, bert.layer_norm_eps) == ("gelu_new", True, 1e-7)
    assert_same(checkpoint.weights, our_weights())


def test_the_vocabulary_may_be_named(tmp_path):
    foreign(tmp_path)
    (tmp_path / "words.txt").write_text("\n".join(TOKENS))
    checkpoint = read(str(tmp_path), Known(vocab_file=str(tmp_path / "words.txt")))
    assert checkpoint.vocabulary == tuple(TOKENS)
    assert checkpoint.description.vocab_sha256 == vocabulary_hash(TOKENS)


def test_the_kind_of_task_tells_a_head_that_no_file_names(tmp_path):
    foreign(tmp_path)
    assert read(str(tmp_path)).description.kind is CLASSIFICATION
    assert read(str(tmp_path), Known(kind=TAGGING)).description.kind is TAGGING


# --- heads and labels ---------------------------------------------------------------------------------------


def described(folder, labels=2, **config):
    return read_any(foreign(folder, labels=labels, config={**CONFIG, **config})).checkpoint.description


def facts(task, labels=None, kind=CLASSIFICATION):
    names = get_task(task).labels if labels is None else labels
    return DataFacts(task_name=task, kind=kind, labels=names, outputs=kind.outputs(names))


@pytest.mark.parametrize(
    "config, names",
    [
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, ()),
        ({"id2label": {"0": "label_0", "1": "label_1"}}, ()),
        ({"id2label": {"0": None, "1": None}}, ()),
        ({"id2label": {"0": 0, "1": 1}}, ("0", "1")),
        ({"id2label": {"1": "-", "0": "+"}}, ("+", "-")),
        ({"label2id": {"bad": 0, "good": 1}}, ("bad", "good")),
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"good": 1, "bad": 0}}, ()),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}, ("a", "b")),
    ],
)
def test_the_names_of_labels(tmp_path, config, names):
    assert described(tmp_path, **config).labels == names


@pytest.mark.parametrize("names", [["a", "a"], ["", "b"], [" ", "b"]])
def test_labels_that_cannot_be_told_apart_are_refused(tmp_path, names):
    line = refusal(described, tmp_path, id2label=dict(enumerate(names)))
    assert "every class needs a name" in line


def test_numbers_for_names_are_no_names_in_place_either(tmp_path):
    digits = described(tmp_path, id2label={"0": "0", "1": "1"})
    digits.check_fits(facts("SST-2"), "model_dir")
    digits.check_fits(facts("custom", ("0", "1")), "model_dir")
    line = refusal(digits.check_fits, facts("custom", ("1", "2")), "model_dir")
    assert "numbers its labels 0, 1 but the data has 1, 2" in line
    three = described(tmp_path, 3, id2label={"0": "0", "1": "1", "2": "2"})
    assert "does not name its labels" in refusal(three.check_fits, facts("MNLI"), "model_dir")


@pytest.mark.parametrize("own, other", [(("+", "-"), ("-", "+")), (("A+", "B"), ("A-", "B"))])
def test_signs_are_names(tmp_path, own, other):
    signs = described(tmp_path, id2label=dict(enumerate(own)))
    signs.check_fits(facts("custom", own), "model_dir")
    assert "prepare_data.py --labels" in refusal(signs.check_fits, facts("custom", other), "model_dir")


@pytest.mark.parametrize(
    "said, task, fits",
    [
        ("mrpc", "MRPC", True),
        ("mrpc", "SST-2", False),
        ("glue/mrpc", "SST-2", False),
        ("MRPC", "QQP", False),
        ("mnli-mm", "SST-2", True),  # three labels: stale, for the head has two
        ("sts-b", "SST-2", True),
        ("my_task", "SST-2", True),
    ],
)
@pytest.mark.parametrize("key", ["finetuning_task", "task_name"])
def test_the_task_that_a_configuration_names_holds_where_the_head_fits_it(tmp_path, key, said, task, fits):
    found = read_any(foreign(tmp_path, labels=2, config={**CONFIG, key: said}))
    checks = ((found.checkpoint.description.check_fits, facts(task), "model_dir"),)
    checks += ((with_labels, found.checkpoint, get_task(task)),)
    for call, *arguments in checks:
        if fits:
            call(*arguments)
        else:
            assert f"on MRPC, not {task}" in refusal(call, *arguments)


def test_a_head_with_one_output_is_a_regressions(tmp_path):
    own = described(tmp_path, 1, id2label={"0": "LABEL_0"})
    assert own.kind is REGRESSION
    own.check_fits(facts("custom", (), REGRESSION), "model_dir")
    line = refusal(own.check_fits, facts("SST-2"), "model_dir")
    assert "1 output(s) (regression) but SST-2 is a task of 2 classes" in line


def test_advice_about_another_order_names_what_was_given(tmp_path):
    three = described(tmp_path, 3, id2label={"0": "contradiction", "1": "neutral", "2": "entailment"})
    line = refusal(three.check_fits, facts("MNLI"), "model_dir")
    assert f"convert_checkpoint.py --input {tmp_path} --output FOLDER --task_name MNLI" in line
    checkpoint = read_any(tmp_path).checkpoint
    moved, _ = with_labels(checkpoint, get_task("MNLI"))  # what the advice runs
    moved.description.check_fits(facts("MNLI"), "model_dir")
    rows = our_weights()["classifier.weight"]
    np.testing.assert_array_equal(moved.weights["classifier.weight"], rows[[2, 1, 0]])


# --- PyTorch's own files ------------------------------------------------------------------------------------


def test_pytorch_weights_that_ask_for_gradients_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    theirs = {name: torch.nn.Parameter(torch.tensor(v)) for name, v in hugging_face_weights().items()}
    write_json(tmp_path / "config.json", CONFIG)
    for saved in (theirs, {"state_dict": theirs, "epoch": 3}, {"model": theirs, "optimizer": {}}):
        torch.save(saved, tmp_path / "pytorch_model.bin")
        assert_same(read_any(tmp_path).checkpoint.weights, our_weights())
    torch.save({"x": CLASSIFICATION}, tmp_path / "pytorch_model.bin")
    assert "save its state dict with safetensors" in refusal(read_any, tmp_path)


# --- every way in -------------------------------------------------------------------------------------------


def starts(path, data):
    """The `Model` that each command makes of a checkpoint."""
    loaded, teacher = load_teacher(path, Known(section="td_teacher_net_cfg"), ms.float32)
    _, encoder = load_teacher(path, Known(section="gd_teacher_net_cfg"), ms.float32, with_head=False)
    plan = TaskDistillConfig(load_gd_ckpt_path=path).student_plan
    return {
        "teacher": teacher,
        "general teacher": encoder,
        "student": build_student(plan, LossTerms(), loaded, data, ms.float32).model,
        "fine-tuned": task_model(from_checkpoint(path, (), NetConfig(), data), data, ms.float32)[0],
        "quantized": quantized_student(path, "x", data, QuantizedStudentConfig(), ms.float32),
        "any": Model.load(path),
    }


def test_every_command_starts_from_another_programs_folder(tmp_path):
    foreign(tmp_path, lambda name: "module." + name, labels=2, config={**CONFIG, "finetuning_task": "sst2"})
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS))
    encoder = our_weights(labels=0)
    for name, model in starts(str(tmp_path), task_data("SST-2")).items():
        weights = model.weights()
        assert_same({key: weights[key] for key in encoder if "pooler" not in key}, without_pooler(encoder))
        assert model.vocabulary == tuple(TOKENS), name
        if name in ("teacher", "fine-tuned", "quantized", "any"):
            np.testing.assert_array_equal(
                weights["classifier.weight"], our_weights(labels=2)["classifier.weight"], err_msg=name
            )


def without_pooler(weights):
    return {name: value for name, value in weights.items() if "pooler" not in name}
