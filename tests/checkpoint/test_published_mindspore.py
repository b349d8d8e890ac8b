"""Published MindSpore checkpoints, with their names typed by hand."""

import os

import numpy as np
import pytest

from src.checkpoint.formats import read_any
from src.files import write_json
from src.kinds import SPAN, SPAN_OR_NONE, TAGGING
from src.settings.network import Known
from tests.helpers import (
    HEADS,
    HIDDEN,
    INNER,
    LAYER,
    LAYERS,
    POSITIONS,
    TYPES,
    WORDS,
    assert_same,
    our_weights,
    refusal,
    write_ckpt,
)


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
    read = read_any(tmp_path)
    assert read.file_format == "mindspore"
    assert_same(read.checkpoint.weights, {**weights, "fit_dense.weight": fit, "fit_dense.bias": fit[:, 0]})
    assert sorted(read.dropped) == ["adam_m.bert.dense.weight", "global_step", "learning_rate"]
    bert = read.checkpoint.description.bert
    assert bert.hidden_act == "gelu_new" and bert.layer_norm_eps == 1e-7 and not bert.classifier_relu
    assert [
        getattr(bert, name)
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
    assert "must be auto, true or false, not 'false'" in refusal(read_any, tmp_path, classifier_relu="false")
    assert "--classifier_relu true or false" in refusal(read_any, tmp_path)
    for choice in (True, False):
        read = read_any(tmp_path, classifier_relu=choice)
        assert_same(read.checkpoint.weights, weights)
        assert read.checkpoint.description.bert.classifier_relu is choice
        assert read.checkpoint.description.outputs == 3


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
    read = read_any(tmp_path)
    assert read.checkpoint.description.bert.classifier_relu is True and sorted(read.dropped) == sorted(
        teacher
    )
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
    read = read_any(tmp_path)
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
    read = read_any(tmp_path)
    assert_same(read.checkpoint.weights, weights)
    assert sorted(read.dropped) == sorted(ranges) and read.checkpoint.description.bert.classifier_relu is True


def test_published_teacher_prefix_alone_is_the_network(tmp_path):
    weights = write_published(tmp_path, lambda name: "teacher." + name.replace("tinybert_", "bert_"))
    assert_same(read_any(tmp_path).checkpoint.weights, weights)


def test_published_tagger_is_one_with_or_without_the_relu(tmp_path):
    """TinyBERT's has it, BERT's of the same names has not."""
    weights = {
        name: value
        for name, value in write_published(tmp_path, task_name, labels=5).items()
        if "pooler" not in name
    }
    tagger = Known(kind=TAGGING)
    assert "--classifier_relu true or false" in refusal(read_any, tmp_path, tagger)
    for choice in (True, False):
        checkpoint = read_any(tmp_path, tagger, classifier_relu=choice).checkpoint
        assert_same(checkpoint.weights, weights)
        described = checkpoint.description
        assert (described.kind, described.outputs, described.bert.classifier_relu) == (TAGGING, 5, choice)
    write_published(
        tmp_path, task_name, {"loss.transitions": np.ones((7, 7))}, labels=7
    )  # of run_ner.py's CRF
    assert "1 unknown weights (loss.transitions)" in refusal(
        read_any, tmp_path, tagger, classifier_relu=False
    )


@pytest.mark.parametrize("likely", [None, SPAN, SPAN_OR_NONE], ids=lambda kind: kind and kind.name)
def test_published_squad_checkpoint_has_a_head_of_questions_and_no_relu(tmp_path, likely):
    counts = {name: np.zeros(1, np.float32) for name in ("total_num", "start_num", "end_num")}
    weights = write_published(
        tmp_path, lambda name: task_name(name).replace("dense_1", "dense1"), counts, labels=2
    )
    read = read_any(tmp_path, Known(kind=likely))
    assert_same(
        read.checkpoint.weights, {name: value for name, value in weights.items() if "pooler" not in name}
    )
    described = read.checkpoint.description
    assert (described.kind, described.outputs) == (likely or SPAN, 2) and not described.bert.classifier_relu
    assert {*counts, "bert.pooler.dense.weight", "bert.pooler.dense.bias"} == set(read.dropped)


@pytest.mark.parametrize("leaf", ["embeddings_table", "embeddings_for_position"])
def test_published_relative_positions(tmp_path, leaf):
    table = np.arange(33 * HIDDEN // 2, dtype=np.float32).reshape(33, HIDDEN // 2)  # 2 heads
    name = "tinybert_encoder.layers.{}.attention.attention._generate_relative_positions_embeddings." + leaf
    weights = write_published(tmp_path, extra={name.format(layer): table for layer in range(LAYERS)}, heads=0)
    read = read_any(tmp_path)  # no configuration: the table's width tells the heads
    del weights["bert.embeddings.position_embeddings.weight"]
    weights.update(
        {LAYER.format(layer) + "attention.relative_positions.weight": table for layer in range(LAYERS)}
    )
    assert_same(read.checkpoint.weights, weights)
    bert = read.checkpoint.description.bert
    assert bert.use_relative_positions and bert.max_relative_position == 16 and bert.num_attention_heads == 2


def test_published_without_configuration_asks_for_the_heads(tmp_path):
    write_published(tmp_path, heads=0)
    assert "num_attention_heads" in refusal(read_any, tmp_path)
    write_json(tmp_path / "heads.json", {"num_attention_heads": 4})
    given = str(tmp_path / "heads.json")
    assert read_any(tmp_path, bert_config=given).checkpoint.description.bert.num_attention_heads == 4
    write_json(tmp_path / "heads.json", {"num_attention_heads": 3})
    assert "3 does not divide 8" in refusal(read_any, tmp_path, bert_config=given)


def test_incomplete_and_unknown_weights_are_named(tmp_path):
    write_published(tmp_path, drop=(LAYER.format(1) + "attention.key.bias",))
    assert "1 missing (bert.encoder.layers.1.attention.key.bias)" in refusal(read_any, tmp_path)
    write_published(tmp_path, extra={"lstm.weight": np.ones(2)})
    assert "1 unknown weights (lstm.weight)" in refusal(read_any, tmp_path)
    write_published(tmp_path, extra={"bert.dense.bias": np.ones(HIDDEN)})
    assert "twice" in refusal(read_any, tmp_path)
