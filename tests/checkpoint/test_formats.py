"""What an imported checkpoint is: its head, architecture and vocabulary."""

import os

import mindspore as ms
import pytest

from src.checkpoint.folder import save
from src.checkpoint.formats import read_any
from src.files import write_json
from src.kinds import CLASSIFICATION, REGRESSION
from src.vocabulary import vocabulary_hash
from tests.helpers import (
    HEADS,
    TOKENS,
    assert_same,
    hugging_face_weights,
    our_description,
    our_weights,
    refusal,
    write_huggingface_by_hand,
)


def test_classifier_tells_the_labels_and_the_problem(tmp_path):
    for labels, kind in ((1, REGRESSION), (4, CLASSIFICATION)):
        theirs = hugging_face_weights(labels=labels)
        write_huggingface_by_hand(tmp_path, theirs)
        description = read_any(tmp_path).checkpoint.description
        assert (description.kind, description.outputs, description.labels) == (kind, labels, ())


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
    theirs = hugging_face_weights()
    write_huggingface_by_hand(
        tmp_path, theirs, config={"model_type": "bert", "num_attention_heads": HEADS, **change}
    )
    assert message in refusal(read_any, tmp_path)


def test_stale_num_labels_is_a_notice(tmp_path):
    theirs = hugging_face_weights()
    write_huggingface_by_hand(tmp_path, theirs, config={"num_attention_heads": HEADS, "num_labels": 7})
    read = read_any(tmp_path)
    assert read.checkpoint.description.outputs == 3 and any(
        "num_labels is 7" in line for line in read.notices
    )


def test_vocabulary_from_tokenizer_json(tmp_path):
    theirs = hugging_face_weights()
    write_huggingface_by_hand(tmp_path, theirs)
    ids = {token: index for index, token in reversed(list(enumerate(TOKENS)))}
    write_json(tmp_path / "tokenizer.json", {"model": {"type": "WordPiece", "vocab": ids}})
    checkpoint = read_any(tmp_path).checkpoint
    assert checkpoint.vocabulary == tuple(TOKENS) and checkpoint.description.vocab_sha256 == vocabulary_hash(
        TOKENS
    )
    assert checkpoint.description.do_lower_case is True
    write_json(tmp_path / "tokenizer_config.json", {"do_lower_case": False})
    assert read_any(tmp_path).checkpoint.description.do_lower_case is False
    write_json(tmp_path / "tokenizer.json", {"model": {"type": "BPE", "vocab": ids}})
    assert "WordPiece" in refusal(read_any, tmp_path)


def test_cased_vocabulary_is_recognised(tmp_path):
    theirs = hugging_face_weights()
    write_huggingface_by_hand(tmp_path, theirs)
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS[:-3] + ["Paris", "Rome", "Oslo"]))
    assert read_any(tmp_path).checkpoint.description.do_lower_case is False


def test_our_own_checkpoint_is_read_once(tmp_path, monkeypatch):
    read, real = [], ms.load_checkpoint
    monkeypatch.setattr(ms, "load_checkpoint", lambda path: (read.append(path), real(path))[1])
    save(tmp_path, our_weights(), our_description(), TOKENS)
    found = read_any(tmp_path)
    assert (found.file_format, read) == ("ours", [os.path.join(tmp_path, "eval_model.ckpt")])
    assert_same(found.checkpoint.weights, our_weights())


def test_a_ckpt_counts_in_a_folder_of_several_formats(tmp_path):
    save(tmp_path / "ours", our_weights(), our_description())
    write_huggingface_by_hand(tmp_path, hugging_face_weights(seed=1))
    os.rename(tmp_path / "model.safetensors", tmp_path / "ours" / "model.safetensors")
    assert_same(read_any(tmp_path / "ours").checkpoint.weights, our_weights())
    os.remove(tmp_path / "ours" / "eval_model.ckpt")
    assert_same(read_any(tmp_path / "ours").checkpoint.weights, our_weights(seed=1))
