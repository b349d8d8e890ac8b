"""Saving, strict loading and the name maps of src/checkpoint.py, against transformers, TensorFlow and
hand-written names.
"""

import json
import os
import struct
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src import checkpoint as checkpoints
from src.errors import UserError
from src.files import read_json, write_json
from src.vocabulary import vocabulary_hash

LAYERS, HIDDEN, INNER, WORDS, POSITIONS, TYPES, HEADS = 2, 8, 12, 20, 10, 2, 2
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"word{index}" for index in range(WORDS - 5)]
LAYER = "bert.encoder.layers.{}."


def our_shapes(layers=LAYERS, labels=3):
    """Our parameter names and shapes, written out by hand from the network's description."""
    shapes = {
        "bert.embeddings.word_embeddings.weight": (WORDS, HIDDEN),
        "bert.embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "bert.embeddings.token_type_embeddings.weight": (TYPES, HIDDEN),
        "bert.pooler.dense.weight": (HIDDEN, HIDDEN),
        "bert.pooler.dense.bias": (HIDDEN,),
    }
    norms = ["bert.embeddings.layer_norm"]
    for index in range(layers):
        layer = LAYER.format(index)
        norms += [layer + "attention.layer_norm", layer + "feed_forward.layer_norm"]
        for name, shape in (
            ("attention.query", (HIDDEN, HIDDEN)),
            ("attention.key", (HIDDEN, HIDDEN)),
            ("attention.value", (HIDDEN, HIDDEN)),
            ("attention.output", (HIDDEN, HIDDEN)),
            ("feed_forward.intermediate", (INNER, HIDDEN)),
            ("feed_forward.output", (HIDDEN, INNER)),
        ):
            shapes[f"{layer}{name}.weight"], shapes[f"{layer}{name}.bias"] = shape, shape[:1]
    for norm in norms:
        shapes[norm + ".weight"] = shapes[norm + ".bias"] = (HIDDEN,)
    if labels:
        shapes["classifier.weight"], shapes["classifier.bias"] = (labels, HIDDEN), (labels,)
    return shapes


def our_weights(seed=0, **sizes):
    random = np.random.default_rng(seed)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in our_shapes(**sizes).items()}


def our_config(**changes):
    return {
        "model_type": "bert",
        "vocab_size": WORDS,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": TYPES,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "use_relative_positions": False,
        "max_relative_position": 16,
        "classifier_relu": False,
        "num_labels": 3,
        "problem_type": "single_label_classification",
        "id2label": {"0": "no", "1": "maybe", "2": "yes"},
        "label2id": {"no": 0, "maybe": 1, "yes": 2},
        **changes,
    }


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def write_ckpt(path, weights):
    """A bare MindSpore checkpoint with names of its own."""
    ms.save_checkpoint(
        [{"name": name, "data": ms.Tensor(np.asarray(value, np.float32))} for name, value in weights.items()],
        str(path),
    )


def refusal(call, *args, **kwargs):
    """The one line of the `UserError` that `call` raises."""
    with pytest.raises(UserError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value).strip()
    return str(caught.value)


# --- save and load ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    path = str(tmp_path / "model")
    checkpoints.save(path, our_weights(), our_config(), TOKENS)
    return path


def test_load_gives_back_what_save_wrote(folder):
    found = checkpoints.load(folder)
    assert_same(found.weights, our_weights())
    assert all(value.dtype == np.float32 for value in found.weights.values())
    assert found.config == our_config(vocab_sha256=vocabulary_hash(TOKENS))
    assert (
        found.vocabulary == tuple(TOKENS) and found.num_labels == 3 and found.labels == ("no", "maybe", "yes")
    )
    assert {oct(os.stat(os.path.join(folder, name)).st_mode & 0o777) for name in os.listdir(folder)} == {
        "0o644"
    }
    assert sorted(os.listdir(folder)) == ["config.json", "eval_model.ckpt", "vocab.txt"]


def test_encoder_without_vocabulary_or_label_names(tmp_path):
    config = {name: value for name, value in our_config().items() if name not in ("id2label", "label2id")}
    checkpoints.save(tmp_path, our_weights(labels=0), config)
    found = checkpoints.load(tmp_path)
    assert found.num_labels == 0 and found.labels == () and found.vocabulary is None


def test_placeholder_labels_are_no_labels():
    names = {str(index): f"LABEL_{index}" for index in range(12)}
    assert checkpoints.Checkpoint({}, {"id2label": names}).labels == ()
    ordered = {"10": "k", **{str(index): chr(97 + index) for index in range(10)}}
    assert "".join(checkpoints.Checkpoint({}, {"id2label": ordered}).labels) == "abcdefghijk"
    assert "gap" in refusal(lambda: checkpoints.Checkpoint({}, {"id2label": {"0": "a", "2": "b"}}).labels)


def test_step_checkpoints_share_one_config(folder):
    step = os.path.join(folder, "step_200.ckpt")
    config = read_json(os.path.join(folder, "config.json"), "config")
    checkpoints.save(folder, our_weights(seed=5), config, TOKENS, "step_200.ckpt")
    assert_same(checkpoints.load(step).weights, our_weights(seed=5))
    assert_same(checkpoints.load(folder).weights, our_weights())  # eval_model.ckpt counts in a folder
    os.remove(os.path.join(folder, "eval_model.ckpt"))
    assert_same(checkpoints.load(folder).weights, our_weights(seed=5))
    checkpoints.save(folder, our_weights(), config, TOKENS, "step_400.ckpt")
    assert "step_200.ckpt, step_400.ckpt" in refusal(checkpoints.load, folder)


def test_step_checkpoint_of_another_network_brings_its_own_config(folder):
    config = {**read_json(os.path.join(folder, "config.json"), "config"), "hidden_act": "relu"}
    checkpoints.save(folder, our_weights(seed=5), config, TOKENS, "step_1.ckpt")
    assert checkpoints.load(os.path.join(folder, "step_1.ckpt")).config["hidden_act"] == "relu"
    assert not os.path.exists(
        os.path.join(folder, "eval_model.ckpt")
    )  # it would lie beside another network's description


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
def test_truncated_file_is_named(folder, keep):
    path = os.path.join(folder, "eval_model.ckpt")
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    assert path in refusal(checkpoints.load, folder)


def test_text_is_no_checkpoint(folder):
    path = os.path.join(folder, "eval_model.ckpt")
    Path(path).write_text("not a checkpoint\n" * 50)
    assert path in refusal(checkpoints.load, folder)


def test_missing_pieces_are_named(folder, tmp_path):
    assert "does not exist" in refusal(checkpoints.load, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no checkpoint" in refusal(checkpoints.load, tmp_path / "empty")
    write_json(os.path.join(folder, "config.json"), {"vocab_size": WORDS})
    assert "lacks hidden_size" in refusal(checkpoints.load, folder)
    os.remove(os.path.join(folder, "config.json"))
    assert "config.json is missing" in refusal(checkpoints.load, folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "bert_model.ckpt.index"])
def test_foreign_folder_says_what_to_run(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert "convert_checkpoint.py --input" in refusal(checkpoints.load, tmp_path)


def test_foreign_names_say_what_to_run(tmp_path):
    write_ckpt(tmp_path / "x.ckpt", {"bert.bert_embedding_lookup.embedding_table": np.zeros((2, 2))})
    assert "convert_checkpoint.py --input" in refusal(checkpoints.load, tmp_path)


def test_another_vocabulary_is_refused(folder):
    path = os.path.join(folder, "vocab.txt")
    Path(path).write_text("\r\n".join(TOKENS))  # other line ends, same vocabulary
    checkpoints.load(folder)
    Path(path).write_text("\n".join(TOKENS[:-1] + ["other"]))
    assert "vocab_sha256" in refusal(checkpoints.load, folder)


def test_too_large_vocabulary_is_refused(tmp_path):
    checkpoints.save(tmp_path, our_weights(), our_config(), TOKENS + ["surplus"])
    assert f"{WORDS + 1} tokens" in refusal(checkpoints.load, tmp_path)


def test_label_count_must_fit_the_classifier(tmp_path):
    checkpoints.save(tmp_path, our_weights(labels=2), our_config())
    assert "3 labels" in refusal(checkpoints.load, tmp_path)


@pytest.mark.parametrize("broken", ["_write_ckpt", "write_vocabulary", "write_json"])
def test_failed_save_leaves_the_old_checkpoint(folder, monkeypatch, broken):
    def fail(path, *_):
        Path(path).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoints, broken, fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(folder, our_weights(seed=1), our_config(hidden_act="relu"), TOKENS[:-1])
    monkeypatch.undo()
    found = checkpoints.load(folder)
    assert_same(found.weights, our_weights())
    assert found.config["hidden_act"] == "gelu" and found.vocabulary == tuple(TOKENS)
    assert sorted(os.listdir(folder)) == ["config.json", "eval_model.ckpt", "vocab.txt"]


def test_stop_between_the_renames_never_pairs_weights_with_another_config(folder, monkeypatch):
    """Whichever rename is the last to happen, the folder loads as the old checkpoint, as the new one, or not
    at all.
    """
    real, calls = os.replace, []

    def stop_after(count):
        def rename(source, target):
            if len(calls) == count:
                raise KeyboardInterrupt
            calls.append(target)
            real(source, target)

        return rename

    for count in range(5):
        checkpoints.save(folder, our_weights(), our_config(), TOKENS)
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stop_after(count))
            try:
                checkpoints.save(folder, our_weights(seed=1), our_config(hidden_act="relu"), TOKENS)
            except KeyboardInterrupt:
                pass
        try:
            found = checkpoints.load(folder)
        except UserError as error:
            assert "holds no checkpoint" in str(error)
            continue
        seed = {"gelu": 0, "relu": 1}[found.config["hidden_act"]]
        assert_same(found.weights, our_weights(seed=seed))


def test_new_weights_of_the_same_network_never_leave_the_folder_empty(folder, monkeypatch):
    removed, real = [], os.remove
    monkeypatch.setattr(os, "remove", lambda path: (removed.append(path), real(path)))
    checkpoints.save(folder, our_weights(seed=1), our_config(), TOKENS)
    assert os.path.join(folder, "eval_model.ckpt") not in removed
    assert_same(checkpoints.load(folder).weights, our_weights(seed=1))


def test_vocabulary_of_an_earlier_checkpoint_does_not_stay(folder):
    checkpoints.save(folder, our_weights(), our_config())
    assert checkpoints.load(folder).vocabulary is None


# --- assign -------------------------------------------------------------------------------------------------


class Network:
    """The part of `mindspore.nn.Cell` that `assign` uses."""

    def __init__(self, shapes):
        import mindspore

        self.parameters = {
            name: mindspore.Parameter(mindspore.Tensor(np.zeros(shape, np.float32)), name=name)
            for name, shape in shapes.items()
        }

    def parameters_and_names(self):
        return self.parameters.items()


def test_assign_sets_every_parameter():
    network = Network(our_shapes())
    assert checkpoints.assign(network, our_weights(), "here") == ([], [])
    assert_same({name: value.asnumpy() for name, value in network.parameters.items()}, our_weights())


def test_assign_names_what_does_not_fit_and_changes_nothing():
    network, weights = Network(our_shapes()), our_weights()
    del weights["bert.pooler.dense.bias"]
    for index in range(4):
        weights[f"surplus{index}"] = np.zeros(2)
    weights["classifier.weight"] = np.zeros((5, HIDDEN))
    message = refusal(checkpoints.assign, network, weights, "/some/model")
    assert message == (
        "the weights of /some/model do not fit the network: 1 missing (bert.pooler.dense.bias); "
        "4 unexpected (surplus0, surplus1, surplus2, ...); "
        "1 of another shape (classifier.weight (5, 8) where the network has (3, 8))"
    )
    assert all(not value.asnumpy().any() for value in network.parameters.values())


def test_assign_allows_what_the_caller_names():
    network = Network({**our_shapes(labels=0), "fit_dense.weight": (4, HIDDEN)})
    found = checkpoints.assign(
        network, our_weights(), "here", allow_missing=("fit_dense.",), allow_unexpected=("classifier.",)
    )
    assert found == (["fit_dense.weight"], ["classifier.bias", "classifier.weight"])
    assert "classifier.bias" in refusal(
        checkpoints.assign, network, our_weights(), "here", allow_missing=("fit_dense.",)
    )


# --- name maps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["huggingface", "tensorflow", "mindspore"])
def test_names_are_a_bijection(file_format):
    weights = our_weights()
    there, lost = checkpoints._translate(weights, "ours", file_format)
    assert lost == [] and len(there) == len(weights)
    assert_same(checkpoints._translate(there, file_format, "ours")[0], weights)


def published_names():
    """{published MindSpore TinyBERT student name: our name}, typed from the published network's
    attributes.
    """
    lookup, after, encoder = (
        "tinybert_embedding_lookup.",
        "tinybert_embedding_postprocessor.",
        "tinybert_encoder.layers.{}.",
    )
    names = {
        lookup + "embedding_table": "bert.embeddings.word_embeddings.weight",
        after + "token_type_embedding.embedding_table": "bert.embeddings.token_type_embeddings.weight",
        after + "full_position_embedding.embedding_table": "bert.embeddings.position_embeddings.weight",
        after + "layernorm.gamma": "bert.embeddings.layer_norm.weight",
        after + "layernorm.beta": "bert.embeddings.layer_norm.bias",
        "dense.weight": "bert.pooler.dense.weight",
        "dense.bias": "bert.pooler.dense.bias",
    }
    parts = {
        "attention.attention.query_layer.weight": "attention.query.weight",
        "attention.attention.query_layer.bias": "attention.query.bias",
        "attention.attention.key_layer.weight": "attention.key.weight",
        "attention.attention.key_layer.bias": "attention.key.bias",
        "attention.attention.value_layer.weight": "attention.value.weight",
        "attention.attention.value_layer.bias": "attention.value.bias",
        "attention.output.dense.weight": "attention.output.weight",
        "attention.output.dense.bias": "attention.output.bias",
        "attention.output.layernorm.gamma": "attention.layer_norm.weight",
        "attention.output.layernorm.beta": "attention.layer_norm.bias",
        "intermediate.weight": "feed_forward.intermediate.weight",
        "intermediate.bias": "feed_forward.intermediate.bias",
        "output.dense.weight": "feed_forward.output.weight",
        "output.dense.bias": "feed_forward.output.bias",
        "output.layernorm.gamma": "feed_forward.layer_norm.weight",
        "output.layernorm.beta": "feed_forward.layer_norm.bias",
    }
    names.update(
        {
            encoder.format(layer) + theirs: LAYER.format(layer) + ours
            for layer in range(LAYERS)
            for theirs, ours in parts.items()
        }
    )
    return names


def write_published(folder, rename=lambda name: name, extra=(), labels=0, drop=(), heads=HEADS):
    """A published MindSpore .ckpt with our random weights under its names; returns those weights by our
    names.
    """
    weights = our_weights(labels=labels)
    content = {
        rename(theirs): weights[ours] for theirs, ours in published_names().items() if ours not in drop
    }
    if labels:
        content.update(
            {
                rename("dense_1.weight"): weights["classifier.weight"],
                rename("dense_1.bias"): weights["classifier.bias"],
            }
        )
    content.update(extra)
    os.makedirs(folder, exist_ok=True)
    write_ckpt(os.path.join(folder, "published.ckpt"), content)
    if heads:
        write_json(os.path.join(folder, "bert_config.json"), {"num_attention_heads": heads})
    return weights


def test_published_student_of_general_distillation(tmp_path):
    fit = np.ones((16, HIDDEN), np.float32)
    weights = write_published(
        tmp_path,
        lambda name: "bert." + name,
        {
            "fit_dense.weight": fit,
            "fit_dense.bias": fit[:, 0],
            "global_step": np.ones(1),
            "adam_m.bert.dense.weight": np.ones((HIDDEN, HIDDEN)),
            "learning_rate": np.ones(()),
        },
    )
    read = checkpoints.read_any(tmp_path)
    assert read.file_format == "mindspore"
    assert_same(read.checkpoint.weights, {**weights, "fit_dense.weight": fit, "fit_dense.bias": fit[:, 0]})
    assert sorted(read.dropped) == ["adam_m.bert.dense.weight", "global_step", "learning_rate"]
    config = read.checkpoint.config
    assert (
        config["hidden_act"] == "gelu_new"
        and config["layer_norm_eps"] == 1e-7
        and not config["classifier_relu"]
    )
    assert [
        config[name]
        for name in (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
            "type_vocab_size",
        )
    ] == [WORDS, HIDDEN, LAYERS, HEADS, INNER, POSITIONS, TYPES]


def task_name(name):
    """A student's name as the published task distillation saves it."""
    return ("bert." if name.startswith("dense_1") else "bert.bert.") + name.replace("tinybert_", "bert_")


def test_published_task_checkpoint_needs_to_know_about_the_relu(tmp_path):
    weights = write_published(tmp_path, task_name, labels=3)
    assert "must be auto, true or false, not 'false'" in refusal(
        checkpoints.read_any, tmp_path, classifier_relu="false"
    )
    assert "--classifier_relu true or false" in refusal(checkpoints.read_any, tmp_path)
    for choice in (True, False):
        read = checkpoints.read_any(tmp_path, classifier_relu=choice)
        assert_same(read.checkpoint.weights, weights)
        assert read.checkpoint.config["classifier_relu"] is choice
        assert read.checkpoint.config["num_labels"] == 3


def test_published_distillation_network_saved_whole_is_its_student(tmp_path):
    teacher = {"teacher." + task_name(theirs): np.zeros(2) for theirs in published_names()}
    weights = write_published(
        tmp_path,
        task_name,
        {
            **teacher,
            "fit_dense.weight": np.ones((16, HIDDEN), np.float32),
            "fit_dense.bias": np.ones(16, np.float32),
        },
        labels=3,
    )
    read = checkpoints.read_any(tmp_path)
    assert read.checkpoint.config["classifier_relu"] is True and sorted(read.dropped) == sorted(teacher)
    np.testing.assert_array_equal(
        read.checkpoint.weights["bert.pooler.dense.weight"], weights["bert.pooler.dense.weight"]
    )


def test_published_older_bert_with_pretraining_heads(tmp_path):
    older = {
        "token_type_embedding.embedding_table": "embedding_table",
        "full_position_embedding.embedding_table": "full_position_embeddings",
    }

    def rename(name):
        for new, old in older.items():
            name = name.replace(new, old)
        return "bert.bert." + name.replace("tinybert_", "bert_")

    weights = write_published(
        tmp_path,
        rename,
        {
            "bert.cls1.dense.weight": np.ones((2, 2)),
            "bert.cls2.bias": np.ones(2),
            "moments.bert.bert.dense.bias": np.ones(2),
        },
    )
    read = checkpoints.read_any(tmp_path)
    assert_same(read.checkpoint.weights, weights)
    assert len(read.dropped) == 3


def test_published_ternarybert_student(tmp_path):
    older = {
        "token_type_embedding.embedding_table": "embedding_table",
        "full_position_embedding.embedding_table": "full_position_embeddings",
    }

    def rename(name):
        for new, old in older.items():
            name = name.replace(new, old)
        return task_name(name)

    places = [
        "bert.bert.bert_embedding_lookup.gather.fake_quant_input",
        "bert.bert.dense.fake_quant_output",
        "bert.bert.bert_encoder.layers.0.attention.attention.matmul_trans_b.fake_quant_y",
        "bert.bert.bert_encoder.layers.1.intermediate.fake_quant_input",
    ]
    ranges = {f"{place}.quant_{end}": np.ones(1, np.float32) for place in places for end in ("min", "max")}
    weights = write_published(tmp_path, rename, ranges, labels=3)
    read = checkpoints.read_any(tmp_path)
    assert_same(read.checkpoint.weights, weights)
    assert sorted(read.dropped) == sorted(ranges) and read.checkpoint.config["classifier_relu"] is True


def test_published_teacher_prefix_alone_is_the_network(tmp_path):
    weights = write_published(tmp_path, lambda name: "teacher." + name.replace("tinybert_", "bert_"))
    assert_same(checkpoints.read_any(tmp_path).checkpoint.weights, weights)


@pytest.mark.parametrize("leaf", ["embeddings_table", "embeddings_for_position"])
def test_published_relative_positions(tmp_path, leaf):
    table = np.arange(33 * HIDDEN // 2, dtype=np.float32).reshape(33, HIDDEN // 2)  # 2 heads
    name = "tinybert_encoder.layers.{}.attention.attention._generate_relative_positions_embeddings." + leaf
    weights = write_published(tmp_path, extra={name.format(layer): table for layer in range(LAYERS)}, heads=0)
    read = checkpoints.read_any(tmp_path)  # no configuration: the table's width tells the heads
    del weights["bert.embeddings.position_embeddings.weight"]
    weights.update(
        {LAYER.format(layer) + "attention.relative_positions.weight": table for layer in range(LAYERS)}
    )
    assert_same(read.checkpoint.weights, weights)
    config = read.checkpoint.config
    assert (
        config["use_relative_positions"]
        and config["max_relative_position"] == 16
        and config["num_attention_heads"] == 2
    )


def test_published_without_configuration_asks_for_the_heads(tmp_path):
    write_published(tmp_path, heads=0)
    assert "num_attention_heads" in refusal(checkpoints.read_any, tmp_path)
    write_json(tmp_path / "heads.json", {"num_attention_heads": 4})
    assert (
        checkpoints.read_any(tmp_path, str(tmp_path / "heads.json")).checkpoint.config["num_attention_heads"]
        == 4
    )
    write_json(tmp_path / "heads.json", {"num_attention_heads": 3})
    assert "3 does not divide 8" in refusal(checkpoints.read_any, tmp_path, str(tmp_path / "heads.json"))


def test_incomplete_and_unknown_weights_are_named(tmp_path):
    write_published(tmp_path, drop=(LAYER.format(1) + "attention.key.bias",))
    assert "1 missing (bert.encoder.layers.1.attention.key.bias)" in refusal(checkpoints.read_any, tmp_path)
    write_published(tmp_path, extra={"lstm.weight": np.ones(2)})
    assert "1 unknown weights (lstm.weight)" in refusal(checkpoints.read_any, tmp_path)
    write_published(tmp_path, extra={"bert.dense.bias": np.ones(HIDDEN)})
    assert "twice" in refusal(checkpoints.read_any, tmp_path)


# --- safetensors --------------------------------------------------------------------------------------------


def write_huggingface_by_hand(folder, weights, dtype="F32", config=None):
    """A Hugging Face folder without its libraries: the safetensors layout is a length, a JSON header and the
    arrays.
    """
    arrays, header, place = [], {}, 0
    for name, value in weights.items():
        bits = {
            "F32": value.astype("<f4"),
            "F16": value.astype("<f2"),
            "BF16": (value.astype("<f4").view("<u4") >> 16).astype("<u2"),
        }[dtype]
        header[name] = {"dtype": dtype, "shape": value.shape, "data_offsets": [place, place + bits.nbytes]}
        arrays.append(bits.tobytes())
        place += bits.nbytes
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(arrays))
    write_json(
        os.path.join(folder, "config.json"), config or {"model_type": "bert", "num_attention_heads": HEADS}
    )


@pytest.mark.parametrize("dtype, bits", [("F32", 23), ("F16", 10), ("BF16", 7)])
def test_safetensors_types_become_float32(tmp_path, dtype, bits):
    theirs, _ = checkpoints._translate(our_weights(), "ours", "huggingface")
    write_huggingface_by_hand(tmp_path, theirs, dtype)
    found = checkpoints.read_any(tmp_path).checkpoint.weights
    for name, value in our_weights().items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], value, rtol=2.0**-bits, atol=1e-6)


def test_classifier_tells_the_labels_and_the_problem(tmp_path):
    for labels, problem in ((1, "regression"), (4, "single_label_classification")):
        theirs, _ = checkpoints._translate(our_weights(labels=labels), "ours", "huggingface")
        write_huggingface_by_hand(tmp_path, theirs)
        config = checkpoints.read_any(tmp_path).checkpoint.config
        assert (config["num_labels"], config["problem_type"]) == (labels, problem)
        assert len(config["id2label"]) == labels


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "roberta"}, "model_type is 'roberta'"),
        ({"model_type": "distilbert"}, "model_type is 'distilbert'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"hidden_act": "silu"}, "'silu'"),
        ({"hidden_size": 9}, "hidden_size is 9"),
        ({"problem_type": "multi_label_classification"}, "multi_label"),
        ({"id2label": {"0": "a", "1": "b"}}, "2 labels"),
        ({"id2label": {"a": "b"}}, "id2label"),
        ({"id2label": 3}, "id2label"),
    ],
)
def test_other_networks_are_refused_by_name(tmp_path, change, message):
    theirs, _ = checkpoints._translate(our_weights(), "ours", "huggingface")
    write_huggingface_by_hand(
        tmp_path, theirs, config={"model_type": "bert", "num_attention_heads": HEADS, **change}
    )
    assert message in refusal(checkpoints.read_any, tmp_path)


def test_stale_num_labels_is_a_notice(tmp_path):
    theirs, _ = checkpoints._translate(our_weights(), "ours", "huggingface")
    write_huggingface_by_hand(tmp_path, theirs, config={"num_attention_heads": HEADS, "num_labels": 7})
    read = checkpoints.read_any(tmp_path)
    assert read.checkpoint.config["num_labels"] == 3 and any(
        "num_labels is 7" in line for line in read.notices
    )


def test_truncated_safetensors_is_named(tmp_path):
    theirs, _ = checkpoints._translate(our_weights(), "ours", "huggingface")
    write_huggingface_by_hand(tmp_path, theirs)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    for size in (0, 4, 100, len(content) - 1):
        path.write_bytes(content[:size])
        assert str(path) in refusal(checkpoints.read_any, tmp_path)


@pytest.mark.parametrize(
    "shard", ["../secret.safetensors", "/etc/secret.safetensors", "..", "a\\b.safetensors"]
)
def test_shards_stay_in_their_folder(tmp_path, shard):
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": shard}})
    write_json(tmp_path / "config.json", {"num_attention_heads": HEADS})
    assert "only files in the same folder" in refusal(checkpoints.read_any, tmp_path)


def test_vocabulary_from_tokenizer_json(tmp_path):
    theirs, _ = checkpoints._translate(our_weights(), "ours", "huggingface")
    write_huggingface_by_hand(tmp_path, theirs)
    ids = {token: index for index, token in reversed(list(enumerate(TOKENS)))}
    write_json(tmp_path / "tokenizer.json", {"model": {"type": "WordPiece", "vocab": ids}})
    checkpoint = checkpoints.read_any(tmp_path).checkpoint
    assert checkpoint.vocabulary == tuple(TOKENS) and checkpoint.config["vocab_sha256"] == vocabulary_hash(
        TOKENS
    )
    assert checkpoint.config["do_lower_case"] is True
    write_json(tmp_path / "tokenizer_config.json", {"do_lower_case": False})
    assert checkpoints.read_any(tmp_path).checkpoint.config["do_lower_case"] is False
    write_json(tmp_path / "tokenizer.json", {"model": {"type": "BPE", "vocab": ids}})
    assert "WordPiece" in refusal(checkpoints.read_any, tmp_path)


def test_cased_vocabulary_is_recognised(tmp_path):
    theirs, _ = checkpoints._translate(our_weights(), "ours", "huggingface")
    write_huggingface_by_hand(tmp_path, theirs)
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS[:-3] + ["Paris", "Rome", "Oslo"]))
    assert checkpoints.read_any(tmp_path).checkpoint.config["do_lower_case"] is False


def test_other_heads_and_buffers_are_dropped(tmp_path):
    theirs, _ = checkpoints._translate(our_weights(), "ours", "huggingface")
    theirs.update(
        {"cls.predictions.bias": np.ones(2), "bert.embeddings.position_ids": np.ones((1, POSITIONS))}
    )
    write_huggingface_by_hand(
        tmp_path,
        theirs,
        config={"num_attention_heads": HEADS, "architectures": ["BertForTokenClassification"]},
    )
    read = checkpoints.read_any(tmp_path)
    assert sorted(read.dropped) == [
        "bert.embeddings.position_ids",
        "classifier.bias",
        "classifier.weight",
        "cls.predictions.bias",
    ]
    assert_same(read.checkpoint.weights, our_weights_without("classifier."))
    assert read.checkpoint.num_labels == 0


def our_weights_without(prefix):
    return {name: value for name, value in our_weights().items() if not name.startswith(prefix)}


def test_encoder_without_pooler_or_prefix_stays_one(tmp_path):
    ours = {name: value for name, value in our_weights(labels=0).items() if "pooler" not in name}
    theirs, _ = checkpoints._translate(ours, "ours", "huggingface")
    write_huggingface_by_hand(tmp_path, {name.removeprefix("bert."): value for name, value in theirs.items()})
    read = checkpoints.read_any(tmp_path)
    assert_same(read.checkpoint.weights, ours)
    assert any("no pooler" in line for line in read.notices)
    theirs["classifier.weight"] = np.ones((3, HIDDEN), np.float32)  # a classifier needs one
    theirs["classifier.bias"] = np.ones(3, np.float32)
    write_huggingface_by_hand(tmp_path, theirs)
    assert "bert.pooler.dense.bias" in refusal(checkpoints.read_any, tmp_path)


# --- labels of a task ---------------------------------------------------------------------------------------


def test_labels_in_another_order_move_the_classifier_rows():
    checkpoint = checkpoints.Checkpoint(our_weights(), our_config(), source="x")
    moved, notices = checkpoints.with_labels(checkpoint, "T", ("Yes", "no", "maybe"), False)
    assert moved.labels == ("Yes", "no", "maybe") and len(notices) == 1 and moved.config["task_name"] == "T"
    for name in ("classifier.weight", "classifier.bias"):
        np.testing.assert_array_equal(moved.weights[name], our_weights()[name][[2, 0, 1]])


def test_labels_that_do_not_fit_are_refused():
    checkpoint = checkpoints.Checkpoint(our_weights(), our_config(), source="x")
    assert "2 outputs" in refusal(checkpoints.with_labels, checkpoint, "T", ("a", "b"), False)
    assert "regression" in refusal(checkpoints.with_labels, checkpoint, "T", (), True)
    assert "trained on no, maybe, yes" in refusal(
        checkpoints.with_labels, checkpoint, "T", ("a", "b", "c"), False
    )
    encoder = checkpoints.Checkpoint(our_weights(labels=0), our_config(), source="x")
    assert "no classifier" in refusal(checkpoints.with_labels, encoder, "T", ("a", "b"), False)
