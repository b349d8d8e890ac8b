"""ONNX files as Hugging Face's programs run them: inputs, configuration, tokenizer."""

import json
import os

import numpy as np
import pytest

from src.checkpoint.huggingface import FOLDER_FILES, check_folder_replaceable, write_description
from src.data.tokenization import Tokenizer
from src.deploy.exports import target_path
from src.deploy.onnx_model import write_onnx
from src.deploy.sessions import OnnxSession
from src.errors import UserError
from src.kinds import SPAN
from tests.helpers import TOKENS, WORDS, our_description, our_weights, refuses
from tests.texts import encoded_rows

ort = pytest.importorskip("onnxruntime")
TEXTS = [
    "word1 word2, word3!",
    "Wörd1 word2word3 unknown",
    "",
    "word4 \u4e2d word5\tword6\u200bword7",
    "x" * 101 + " word8",
]


def columns(rows, length):
    """input_ids, input_mask, segment_ids with padding."""
    random = np.random.default_rng(0)
    mask = np.arange(length) < random.integers(2, length + 1, rows)[:, None]
    ids = np.where(mask, random.integers(1, WORDS, mask.shape), 0)
    return ids.astype(np.int32), mask.astype(np.int32), (mask & (np.arange(length) > 3)).astype(np.int32)


def files_of(tmp_path, tokens=TOKENS, **described):
    """The folder of a description."""
    folder = tmp_path / "folder"
    folder.mkdir()
    write_description(str(folder), our_description(**described), tokens)
    return folder


@pytest.mark.parametrize("kind, outputs", [(None, ["logits"]), (SPAN, ["start_logits", "end_logits"])])
def test_inputs_are_hugging_faces_and_logits_the_same(tmp_path, kind, outputs):
    weights, description = our_weights(), our_description()
    if kind:
        weights["classifier.weight"], weights["classifier.bias"] = (
            weights[f"classifier.{part}"][:2] for part in ("weight", "bias")
        )
        del weights["bert.pooler.dense.weight"], weights["bert.pooler.dense.bias"]
        description = type(description)(description.bert, kind, 2, source="x")
    for layout in ("huggingface", "mindspore"):
        write_onnx(str(tmp_path / f"{layout}.onnx"), weights, description, "float", layout)
    batch = columns(4, 8)
    ours, theirs = (OnnxSession(str(tmp_path / f"{name}.onnx")) for name in ("mindspore", "huggingface"))
    np.testing.assert_array_equal(ours(*batch), theirs(*batch))
    plain = ort.InferenceSession(str(tmp_path / "huggingface.onnx"), providers=["CPUExecutionProvider"])
    names = ["input_ids", "attention_mask", "token_type_ids"]
    assert [(item.name, item.type) for item in plain.get_inputs()] == [
        (name, "tensor(int64)") for name in names
    ]
    assert [item.name for item in plain.get_outputs()] == outputs
    found = plain.run(None, {name: column.astype(np.int64) for name, column in zip(names, batch)})
    np.testing.assert_array_equal(found[0], ours(*batch)[..., 0] if kind else ours(*batch))


def test_a_folder_holds_what_a_tokenizer_and_a_configuration_need(tmp_path):
    folder = files_of(tmp_path)
    assert sorted(os.listdir(folder)) == [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    config, own = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("config", "tokenizer_config")
    )
    assert config["model_type"] == "bert" and config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "no", "1": "maybe", "2": "yes"}
    assert own["tokenizer_class"] == "BertTokenizer" and own["do_lower_case"] is True
    assert own["model_max_length"] == 10 and own["pad_token"] == "[PAD]" and own["mask_token"] == "[MASK]"


@pytest.mark.parametrize("lower_case", [True, False])
@pytest.mark.parametrize(
    "tokens", [TOKENS, [token for token in TOKENS if token != "[MASK]"]], ids=["mask", "none"]
)
def test_tokenizer_json_gives_our_token_ids(tmp_path, lower_case, tokens):
    from dataclasses import replace

    from tokenizers import Tokenizer as Theirs

    folder = tmp_path / "folder"
    folder.mkdir()
    write_description(str(folder), replace(our_description(), do_lower_case=lower_case), tokens)
    theirs, ours = Theirs.from_file(str(folder / "tokenizer.json")), Tokenizer(list(tokens), lower_case)
    assert theirs.get_vocab_size() == len(tokens)
    for text, (ids, segments) in zip(TEXTS, encoded_rows(ours, TEXTS, TEXTS[::-1])):
        found = theirs.encode(text, TEXTS[::-1][TEXTS.index(text)])
        assert (found.ids, found.type_ids) == (ids, segments)
    for text, (ids, _) in zip(TEXTS, encoded_rows(ours, TEXTS)):
        assert theirs.encode(text).ids == ids


def test_transformers_reads_the_tokenizer(tmp_path):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(files_of(tmp_path))
    ours = encoded_rows(Tokenizer(list(TOKENS), True), TEXTS, None, 6)
    found = theirs(TEXTS, padding=True, truncation=True, max_length=6)
    assert [ids[: sum(mask)] for ids, mask in zip(found["input_ids"], found["attention_mask"])] == [
        ids for ids, _ in ours
    ]
    assert theirs.model_max_length == 10 and len(theirs) == len(TOKENS)


def test_without_a_vocabulary_there_are_no_tokenizers_files(tmp_path):
    assert os.listdir(files_of(tmp_path, tokens=None)) == ["config.json"]


def test_a_folder_that_transformers_saved_is_not_replaced(tmp_path):
    folder = files_of(tmp_path)
    check_folder_replaceable(str(folder), "file_name", FOLDER_FILES)
    config = json.loads((folder / "config.json").read_text())
    del config["vocab_sha256"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as error:
        check_folder_replaceable(str(folder), "file_name", FOLDER_FILES)
    refuses(error, "file_name", "did not write", "another folder")


@pytest.mark.parametrize(
    "file_name, file_format, layout, expected",
    [
        ("a/m", "ONNX", "mindspore", "a/m.onnx"),
        ("a/m.onnx", "ONNX", "mindspore", "a/m.onnx"),
        ("", "ONNX", "mindspore", "output/export/sst-2/model.onnx"),
        ("", "ONNX", "huggingface", "output/export/sst-2/model"),
        ("a/", "ONNX", "huggingface", "a/"),
        ("a", "SAFETENSORS", "mindspore", "a"),
        ("a", "MINDIR", "mindspore", "a.mindir"),
        ("a/", "ONNX", "mindspore", "is a folder"),
        ("a/m.onnx", "ONNX", "huggingface", "is a file"),
    ],
)
def test_what_is_written_where(file_name, file_format, layout, expected):
    try:
        found = target_path(file_name, file_format, layout, "sst-2")
    except UserError as error:
        assert expected in str(error)
    else:
        assert found == expected
