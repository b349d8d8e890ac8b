"""Hugging Face weights written without its libraries; test_convert_checkpoint.py has those of
transformers.
"""

import os

import numpy as np
import pytest

from src.checkpoint import huggingface
from src.checkpoint.folder import Checkpoint
from src.checkpoint.formats import read_any
from src.checkpoint.names import translate
from src.files import write_json
from src.kinds import CLASSIFICATION, SPAN, SPAN_OR_NONE, TAGGING
from src.settings.network import Known
from tests.helpers import (
    HEADS,
    HIDDEN,
    POSITIONS,
    assert_same,
    hugging_face_weights,
    our_description,
    our_weights,
    refusal,
    write_huggingface_by_hand,
)


@pytest.mark.parametrize("dtype, bits", [("F32", 23), ("F16", 10), ("BF16", 7)])
def test_safetensors_types_become_float32(tmp_path, dtype, bits):
    theirs = hugging_face_weights()
    write_huggingface_by_hand(tmp_path, theirs, dtype)
    found = read_any(tmp_path).checkpoint.weights
    for name, value in our_weights().items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], value, rtol=2.0**-bits, atol=1e-6)


def test_truncated_safetensors_is_named(tmp_path):
    theirs = hugging_face_weights()
    write_huggingface_by_hand(tmp_path, theirs)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    for size in (0, 4, 100, len(content) - 1):
        path.write_bytes(content[:size])
        assert str(path) in refusal(read_any, tmp_path)


@pytest.mark.parametrize(
    "shard", ["../secret.safetensors", "/etc/secret.safetensors", "..", "a\\b.safetensors"]
)
def test_shards_stay_in_their_folder(tmp_path, shard):
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": shard}})
    write_json(tmp_path / "config.json", {"num_attention_heads": HEADS})
    assert "only files in the same folder" in refusal(read_any, tmp_path)


def test_other_heads_and_buffers_are_dropped(tmp_path):
    theirs = hugging_face_weights()
    theirs.update(
        {"cls.predictions.bias": np.ones(2), "bert.embeddings.position_ids": np.ones((1, POSITIONS))}
    )
    write_huggingface_by_hand(
        tmp_path, theirs, config={"num_attention_heads": HEADS, "architectures": ["BertForMultipleChoice"]}
    )
    read = read_any(tmp_path)
    assert sorted(read.dropped) == [
        "bert.embeddings.position_ids",
        "classifier.bias",
        "classifier.weight",
        "cls.predictions.bias",
    ]
    assert_same(read.checkpoint.weights, our_weights(labels=0))
    assert read.checkpoint.description.outputs == 0
    assert any("head of BertForMultipleChoice was left out" in line for line in read.notices)


@pytest.mark.parametrize(
    "config, likely, kind",
    [
        ({"architectures": ["BertForTokenClassification"]}, None, TAGGING),
        ({"architectures": ["BertForQuestionAnswering"]}, None, SPAN),
        ({"architectures": ["BertForQuestionAnswering"], "task_type": "span_or_none"}, None, SPAN_OR_NONE),
        ({"architectures": ["BertForQuestionAnswering"]}, SPAN_OR_NONE, SPAN_OR_NONE),  # a task's own kind
        ({}, TAGGING, TAGGING),  # nothing tells
        ({}, None, CLASSIFICATION),
    ],
)
def test_heads_of_tokens_are_read_without_their_pooler(tmp_path, config, likely, kind):
    asks = kind in (SPAN, SPAN_OR_NONE)
    theirs = translate(our_weights(labels=2), "ours", "huggingface", asks)  # older ones have a pooler
    names = {"id2label": {"0": "O", "1": "B-x"}} if kind is TAGGING else {}
    write_huggingface_by_hand(tmp_path, theirs, config={"num_attention_heads": HEADS, **config, **names})
    read = read_any(tmp_path, Known(kind=likely))
    described, dropped = read.checkpoint.description, kind is not CLASSIFICATION
    assert (described.kind, described.outputs) == (kind, 2)
    assert described.labels == (("O", "B-x") if kind is TAGGING else ())
    pooler = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"} if dropped else set()
    assert set(read.dropped) == pooler
    assert set(our_weights(labels=2)) - set(read.checkpoint.weights) == pooler


def test_the_threshold_of_questions_is_read_with_them(tmp_path):
    theirs = translate(our_weights(labels=2), "ours", "huggingface", True)
    asking = {"num_attention_heads": HEADS, "task_type": "span_or_none", "null_score_diff_threshold": -1.5}
    write_huggingface_by_hand(tmp_path, theirs, config=asking)
    kind = read_any(tmp_path).checkpoint.description.kind
    assert (kind.name, kind.threshold) == ("span_or_none", -1.5)


def test_encoder_without_pooler_or_prefix_stays_one(tmp_path):
    ours = {name: value for name, value in our_weights(labels=0).items() if "pooler" not in name}
    theirs = {name: value for name, value in hugging_face_weights(labels=0).items() if "pooler" not in name}
    write_huggingface_by_hand(tmp_path, {name.removeprefix("bert."): value for name, value in theirs.items()})
    read = read_any(tmp_path)
    assert_same(read.checkpoint.weights, ours)
    assert any("no pooler" in line for line in read.notices)
    theirs["classifier.weight"] = np.ones((3, HIDDEN), np.float32)  # a classifier needs one
    theirs["classifier.bias"] = np.ones(3, np.float32)
    write_huggingface_by_hand(tmp_path, theirs)
    assert "bert.pooler.dense.bias" in refusal(read_any, tmp_path)


@pytest.mark.parametrize("place", [0.3, 0.7, -1])
def test_one_changed_bit_of_our_own_safetensors_is_told(tmp_path, place):
    checkpoint = Checkpoint(our_weights(), our_description())
    huggingface.write(tmp_path, checkpoint)
    read_any(tmp_path)
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    at = header + int((len(content) - header) * place) if isinstance(place, float) else place
    content[at] ^= 1
    path.write_bytes(content)
    assert "model.safetensors is damaged: its checksum differs" in refusal(read_any, tmp_path)
    assert os.stat(path).st_mode & 0o777 == 0o644
