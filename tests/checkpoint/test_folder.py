"""Our own files: saving, strict loading, and that a stop in between mixes nothing."""

import contextlib
import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from src.checkpoint import folder as our_files
from src.checkpoint.folder import Checkpoint, load, save
from src.errors import UserError
from src.files import write_json
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
    refusal,
    write_ckpt,
)


@pytest.fixture
def folder(tmp_path):
    path = str(tmp_path / "model")
    save(path, our_weights(), our_description(), TOKENS)
    return path


def test_load_gives_back_what_save_wrote(folder):
    found = load(folder)
    assert_same(found.weights, our_weights())
    assert all(value.dtype == np.float32 for value in found.weights.values())
    assert found.description == replace(our_description(), vocab_sha256=vocabulary_hash(TOKENS))
    assert found.vocabulary == tuple(TOKENS) and found.source == folder
    assert {oct(os.stat(os.path.join(folder, name)).st_mode & 0o777) for name in os.listdir(folder)} == {
        "0o644"
    }
    assert sorted(os.listdir(folder)) == ["config.json", "eval_model.ckpt", "vocab.txt"]


def test_encoder_without_vocabulary_or_label_names(tmp_path):
    save(tmp_path, our_weights(labels=0), our_description().without_head())
    found = load(tmp_path)
    assert (found.description.kind, found.description.outputs, found.vocabulary) == (None, 0, None)
    save(tmp_path, our_weights(labels=0), our_description())  # a head that it once had
    assert load(tmp_path).description.kind is None


def test_config_json_has_hugging_faces_names_and_ours(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        values = json.load(file)
        assert re.fullmatch("[0-9a-f]{64}", values.pop("config_sha256"))
        assert values == {
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
            "classifier_dropout": None,
            "num_labels": 3,
            "problem_type": "single_label_classification",
            "id2label": {"0": "no", "1": "maybe", "2": "yes"},
            "label2id": {"no": 0, "maybe": 1, "yes": 2},
            "vocab_sha256": vocabulary_hash(TOKENS),
            "weights_sha256": {"eval_model.ckpt": [sha256(os.path.join(folder, "eval_model.ckpt"))]},
        }


def test_step_checkpoints_share_one_config(folder):
    step = os.path.join(folder, "step_200.ckpt")
    save(folder, our_weights(seed=5), our_description(), TOKENS, "step_200.ckpt")
    assert_same(load(step).weights, our_weights(seed=5))
    assert_same(load(folder).weights, our_weights())  # eval_model.ckpt counts in a folder
    os.remove(os.path.join(folder, "eval_model.ckpt"))
    assert_same(load(folder).weights, our_weights(seed=5))
    save(folder, our_weights(), our_description(), TOKENS, "step_400.ckpt")
    assert "step_200.ckpt, step_400.ckpt" in refusal(load, folder)


def test_step_checkpoint_of_another_network_brings_its_own_config(folder):
    save(folder, our_weights(seed=5), our_description(hidden_act="relu"), TOKENS, "step_1.ckpt")
    assert load(os.path.join(folder, "step_1.ckpt")).description.bert.hidden_act == "relu"
    # It would lie beside another network's description.
    assert not os.path.exists(os.path.join(folder, "eval_model.ckpt"))


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
def test_truncated_file_is_named(folder, keep):
    path = os.path.join(folder, "eval_model.ckpt")
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    assert path in refusal(load, folder)


def test_text_is_no_checkpoint(folder):
    path = os.path.join(folder, "eval_model.ckpt")
    Path(path).write_text("not a checkpoint\n" * 50)
    assert path in refusal(load, folder)


def test_missing_pieces_are_named(folder, tmp_path):
    assert "does not exist" in refusal(load, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no checkpoint" in refusal(load, tmp_path / "empty")
    write_json(os.path.join(folder, "config.json"), {"vocab_size": WORDS})
    assert "lacks hidden_size" in refusal(load, folder)
    os.remove(os.path.join(folder, "config.json"))
    assert "config.json is missing" in refusal(load, folder)


def test_other_programs_files_are_not_ours(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert "holds no checkpoint of this program" in refusal(load, tmp_path)
    write_ckpt(tmp_path / "x.ckpt", {"bert.bert_embedding_lookup.embedding_table": np.zeros((2, 2))})
    assert "does not hold this project's parameter names" in refusal(load, tmp_path)


def test_another_vocabulary_is_refused(folder):
    path = os.path.join(folder, "vocab.txt")
    Path(path).write_text("\r\n".join(TOKENS))  # other line ends, same vocabulary
    load(folder)
    Path(path).write_text("\n".join(TOKENS[:-1] + ["other"]))
    assert "vocab_sha256" in refusal(load, folder)


def test_too_large_vocabulary_is_refused(tmp_path):
    save(tmp_path, our_weights(), our_description(), TOKENS + ["surplus"])
    assert f"{WORDS + 1} tokens" in refusal(load, tmp_path)


def test_label_count_must_fit_the_classifier(tmp_path):
    save(tmp_path, our_weights(labels=2), our_description())
    assert "says 3 outputs" in refusal(load, tmp_path)
    assert "classifier has 2" in refusal(Checkpoint, our_weights(labels=2), our_description())
    assert "says 0 outputs" in refusal(Checkpoint, our_weights(), our_description().without_head())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_finite_number_is_refused(value):
    weights = our_weights()
    weights["bert.pooler.dense.weight"][2, 5] = value
    weights["bert.pooler.dense.weight"][3, 1] = np.nan
    said = refusal(Checkpoint, weights, our_description())
    assert said.startswith(
        "x: 2 of the 64 values of the weight bert.pooler.dense.weight are no finite numbers"
    )
    assert f"{value} at [2, 5] the first" in said
    weights["bert.pooler.dense.weight"][:] = 3e38  # their sum is none either
    assert Checkpoint(weights, our_description()).weights is weights


@pytest.mark.parametrize("broken", ["_write_ckpt", "write_vocabulary", "write_json"])
def test_failed_save_leaves_the_old_checkpoint(folder, monkeypatch, broken):
    def fail(path, *_):
        Path(path).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(our_files, broken, fail)
    with pytest.raises(OSError, match="disk full"):
        save(folder, our_weights(seed=1), our_description(hidden_act="relu"), TOKENS[:-1])
    monkeypatch.undo()
    found = load(folder)
    assert_same(found.weights, our_weights())
    assert found.description.bert.hidden_act == "gelu" and found.vocabulary == tuple(TOKENS)
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
        save(folder, our_weights(), our_description(), TOKENS)
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stop_after(count))
            try:
                save(folder, our_weights(seed=1), our_description(hidden_act="relu"), TOKENS)
            except KeyboardInterrupt:
                pass
        try:
            found = load(folder)
        except UserError as error:
            assert "holds no checkpoint" in str(error)
            continue
        seed = {"gelu": 0, "relu": 1}[found.description.bert.hidden_act]
        assert_same(found.weights, our_weights(seed=seed))


def test_new_weights_of_the_same_network_never_leave_the_folder_empty(folder, monkeypatch):
    removed, real = [], os.remove
    monkeypatch.setattr(os, "remove", lambda path: (removed.append(path), real(path)))
    save(folder, our_weights(seed=1), our_description(), TOKENS)
    assert os.path.join(folder, "eval_model.ckpt") not in removed
    assert_same(load(folder).weights, our_weights(seed=1))


def test_vocabulary_of_an_earlier_checkpoint_does_not_stay(folder):
    save(folder, our_weights(), our_description())
    assert load(folder).vocabulary is None


# --- checksums ----------------------------------------------------------------------------------------------


def sums(folder):
    with open(os.path.join(folder, "config.json")) as file:
        return json.load(file)["weights_sha256"]


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_config_json_knows_the_weights_of_every_file_beside_it(folder):
    step = os.path.join(folder, "step_1.ckpt")
    save(folder, our_weights(seed=1), our_description(), TOKENS, "step_1.ckpt")
    save(folder, our_weights(seed=2), our_description(), TOKENS)
    own = os.path.join(folder, "eval_model.ckpt")
    assert sums(folder) == {"eval_model.ckpt": [sha256(own)], "step_1.ckpt": [sha256(step)]}
    os.remove(step)
    save(folder, our_weights(seed=3), our_description(), TOKENS)
    assert sums(folder) == {"eval_model.ckpt": [sha256(own)]}


@pytest.mark.parametrize("name", ["eval_model.ckpt", "step_1.ckpt"])
@pytest.mark.parametrize("place", [0, 0.3, 0.7, -1])
def test_one_changed_bit_of_the_weights_is_told_before_mindspore_opens_them(folder, monkeypatch, name, place):
    path = Path(folder, name)
    save(folder, our_weights(seed=1), our_description(), TOKENS, name)
    content = bytearray(path.read_bytes())
    content[int(len(content) * place) if isinstance(place, float) else place] ^= 4
    path.write_bytes(content)
    monkeypatch.setattr("mindspore.load_checkpoint", lambda path: pytest.fail("it was opened"))
    words = refusal(load, path)
    assert (
        f"{name} is damaged: its SHA-256 is not the one in config.json" in words and "weights_sha256" in words
    )


@pytest.mark.parametrize(
    "key, value",
    [
        ("num_attention_heads", 1),
        ("layer_norm_eps", 0.5),
        ("hidden_act", "relu"),
        ("do_lower_case", False),
        ("id2label", {"0": "na", "1": "maybe", "2": "yes"}),
    ],
)
def test_settings_that_fit_the_weights_but_are_others_are_not_believed(folder, key, value):
    path = os.path.join(folder, "config.json")
    values = {**json.loads(Path(path).read_text()), key: value}
    write_json(path, values)
    words = refusal(load, folder)
    assert f"{path} is damaged: its settings" in words and "remove config_sha256 from it" in words
    del values["config_sha256"]  # as the message says
    write_json(path, values)
    load(folder)


def test_folders_without_checksums_are_read_and_get_them_with_the_next_save(folder):
    path = os.path.join(folder, "config.json")
    values = json.loads(Path(path).read_text())
    del values["weights_sha256"], values["config_sha256"]
    write_json(path, values)
    assert_same(load(folder).weights, our_weights())
    save(folder, our_weights(seed=1), our_description(), TOKENS, "step_1.ckpt")
    assert os.path.isfile(os.path.join(folder, "eval_model.ckpt"))  # it is the same network's
    os.remove(os.path.join(folder, "step_1.ckpt"))
    save(folder, our_weights(seed=1), our_description(), TOKENS)
    assert "config_sha256" in json.loads(Path(path).read_text()) and sums(folder) == {
        "eval_model.ckpt": [sha256(os.path.join(folder, "eval_model.ckpt"))]
    }


def test_a_stop_between_two_saves_of_one_network_leaves_weights_that_are_believed(folder, monkeypatch):
    for count in range(4):
        done, real = [], os.replace

        def rename(source, target, done=done, count=count, real=real):
            if len(done) == count:
                raise KeyboardInterrupt
            done.append(target)
            real(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", rename)
            with contextlib.suppress(KeyboardInterrupt):
                save(folder, our_weights(seed=count + 1), our_description(), TOKENS)
        load(folder)
    save(folder, our_weights(), our_description(), TOKENS)
    assert len(sums(folder)["eval_model.ckpt"]) == 1


@pytest.mark.parametrize(
    "field, value",
    [("hidden_size", 16), ("vocab_size", 21), ("num_hidden_layers", 3), ("intermediate_size", 1 << 18)]
    + [("max_position_embeddings", 1 << 20), ("type_vocab_size", 1 << 16)],
)
def test_sizes_that_are_not_the_weights_are_told_before_a_network_is_made(folder, field, value):
    path = os.path.join(folder, "config.json")
    write_json(path, {**json.loads(Path(path).read_text()), field: value})
    assert f"config.json says {field} {value} but its weights have" in refusal(load, folder)
