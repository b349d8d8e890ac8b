"""The masked-language head against transformers, and prepare_data.py --augment with it."""

import json

import numpy as np
import pytest

import prepare_data
from src.checkpoint.formats import read_any
from src.checkpoint.names import translate
from src.data.augment.split import augment_split
from src.data.info import DatasetInfo
from src.data.records import find_split, read_records
from src.errors import UserError
from src.files import write_json
from src.kinds import CLASSIFICATION
from src.masked_lm import MaskedLanguageModel
from src.settings.shared import DeviceConfig
from src.tasks import get_task
from tests.helpers import HEADS, VOCABULARY, assert_same, hugging_face_weights, write_huggingface_by_hand

SENTENCE = "word{} word{} word{} the word{}"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(folder, network) of a tiny random masked-language model of transformers, saved by transformers."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        hidden_act="gelu_new",
        attn_implementation="eager",
    )
    network = transformers.BertForMaskedLM(config).eval()
    for parameter in network.parameters():  # biases and LayerNorm too
        torch.nn.init.normal_(parameter, std=0.5)
    folder = tmp_path_factory.mktemp("language_model")
    network.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return folder, network


def test_logits_at_the_masked_places_are_transformers(compiled, saved):
    import torch

    folder, network = saved
    random = np.random.default_rng(0)
    ids = random.integers(5, len(VOCABULARY), (3, 9)).astype(np.int32)
    mask = (np.arange(9) < [[9], [6], [4]]).astype(np.int32)
    places = np.int32([7, 1, 3])
    ids = ids * mask
    ids[np.arange(3), places] = VOCABULARY.index("[MASK]")
    with torch.no_grad():
        theirs = network(torch.tensor(ids).long(), torch.tensor(mask).long()).logits.numpy()
    ours = MaskedLanguageModel.load(str(folder), DeviceConfig("CPU"), VOCABULARY)(ids, mask, places)
    assert ours.shape == (3, len(VOCABULARY))
    np.testing.assert_allclose(ours, theirs[np.arange(3), places], atol=1e-4)


def test_tensorflow_names_give_the_same_weights(saved, tmp_path):
    tensorflow = pytest.importorskip("tensorflow")
    expected = read_any(saved[0], masked_lm=True).checkpoint.weights
    assert {name for name in expected if name.startswith("predictions.")} == {
        *("predictions.dense.weight", "predictions.dense.bias", "predictions.bias"),
        *("predictions.layer_norm.weight", "predictions.layer_norm.bias"),
    }
    head = {
        "cls/predictions/transform/dense/kernel": expected["predictions.dense.weight"].T,
        "cls/predictions/transform/dense/bias": expected["predictions.dense.bias"],
        "cls/predictions/transform/LayerNorm/gamma": expected["predictions.layer_norm.weight"],
        "cls/predictions/transform/LayerNorm/beta": expected["predictions.layer_norm.bias"],
        "cls/predictions/output_bias": expected["predictions.bias"],
        "cls/predictions/output_bias/adam_m": expected["predictions.bias"],
        "cls/seq_relationship/output_bias": np.zeros(2, np.float32),
    }
    encoder = {name: value for name, value in expected.items() if name.startswith("bert.")}
    tensors = {**translate(encoder, "ours", "tensorflow"), **head}
    tensorflow.raw_ops.SaveV2(
        prefix=str(tmp_path / "bert_model.ckpt"),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tensorflow.constant(value) for value in tensors.values()],
    )
    write_json(str(tmp_path / "bert_config.json"), {"num_attention_heads": 2, "hidden_act": "gelu"})
    read = read_any(str(tmp_path), masked_lm=True)
    assert_same(read.checkpoint.weights, expected)
    assert read.checkpoint.description.bert.hidden_act == "gelu_new"
    assert sorted(read.dropped) == ["cls/predictions/output_bias/adam_m", "cls/seq_relationship/output_bias"]
    assert_same(read_any(str(tmp_path)).checkpoint.weights, encoder)  # others do not get the head


# --- prepare_data.py ----------------------------------------------------------------------------------------


@pytest.fixture
def raw(tmp_path):
    """A folder with a small SST-2 of 40 training rows."""
    folder = tmp_path / "raw"
    folder.mkdir()
    random = np.random.default_rng(1)
    rows = [f"{SENTENCE.format(*random.integers(0, 35, 4))}\t{number % 2}" for number in range(40)]
    (folder / "train.tsv").write_text("sentence\tlabel\n" + "\n".join(rows) + "\n")
    (folder / "dev.tsv").write_text("sentence\tlabel\nword1 word2\t0\n")
    return folder


def arguments(saved, raw, out, *more):
    paths = {"data_dir": raw, "vocab_file": saved[0] / "vocab.txt", "output_dir": raw.parent / out}
    given = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    return ["--task_name", "SST-2", *given, "--num_workers", "1", "--augment", str(saved[0]), *more]


def prepare(saved, raw, out, *more):
    prepare_data.main(arguments(saved, raw, out, "--augment_copies", "3", *more))
    return raw.parent / out


def contents_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_augmented_rows_stand_beside_the_original_ones(saved, raw, capsys, monkeypatch):
    out = prepare(saved, raw, "one")
    (part,) = (out / "sst-2.augmented").glob("part-*.jsonl")
    *lines, end = map(json.loads, part.read_text().splitlines())
    assert 100 < len(lines) <= 120 and end == {"rows": len(lines)}
    originals = [line.split("\t")[0] for line in (raw / "train.tsv").read_text().splitlines()[1:]]
    ids = {token: index for index, token in enumerate(VOCABULARY)}
    data = read_records(*find_split(str(out / "sst-2"), "train"), CLASSIFICATION.columns)
    rows = [data.input_ids[a:b].tolist() for a, b in zip(data.offsets[:-1], data.offsets[1:])]
    texts = originals + [line["text"] for line in lines]
    assert rows == [[2, *(ids.get(word, 1) for word in text.split()), 3] for text in texts]
    assert data.labels.tolist() == [n % 2 for n in range(40)] + [line["label"] for line in lines]
    for line in lines:  # the row that it was made of is the one whose line it names
        before = originals[line["line_number"] - 2]
        assert line["label"] == line["line_number"] % 2 and line["text"] != before
        assert line["text"].split()[3] == "the"
    info = DatasetInfo.load(str(out / "sst-2"))
    assert info.splits["train"]["rows"] == len(texts) and info.splits["eval"]["rows"] == 1
    assert f"augment: 40 rows gave {len(lines)} more, kept as text in {out}" in capsys.readouterr().out

    assert contents_of(prepare(saved, raw, "two")) == contents_of(out)
    monkeypatch.setattr(MaskedLanguageModel, "__call__", None)  # the texts are there
    assert contents_of(prepare(saved, raw, "one")) == contents_of(out)
    monkeypatch.undo()
    with pytest.raises(SystemExit):
        prepare(saved, raw, "one", "--seed", "7")
    assert "was begun with seed 42, now it is 7" in capsys.readouterr().err


def refused(capsys, *given):
    with pytest.raises(SystemExit) as ended:
        prepare_data.main(list(given))
    message = capsys.readouterr().err
    assert ended.value.code == 2 and message.count("\n") == 1
    return message


def test_what_cannot_be_used_is_one_line(saved, raw, tmp_path, capsys):
    def refusal(*more):
        message = refused(capsys, *arguments(saved, raw, "out", *more))
        assert not (tmp_path / "out").exists()
        return message

    encoder = tmp_path / "encoder"
    encoder.mkdir()
    weights = hugging_face_weights(labels=0)
    write_huggingface_by_hand(encoder, weights)
    assert "has no masked-language head" in refusal("--augment", str(encoder))
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"] + 1
    write_huggingface_by_hand(encoder, weights, config={"num_attention_heads": HEADS})
    assert "tie_word_embeddings" in refusal("--augment", str(encoder))
    assert "augment: absent does not exist" in refusal("--augment", "absent")
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY[:-1]) + "\n")
    assert "has another vocabulary" in refusal("--vocab_file", str(vocabulary))
    vocabulary.write_text("\n".join(token for token in VOCABULARY if token != "[MASK]") + "\n")
    assert "has no [MASK]" in refusal("--vocab_file", str(vocabulary))
    vocabulary.write_text("word1 1 2\nword2 1\n")
    assert "line 2: not a word and 2 numbers" in refusal("--augment_vectors", str(vocabulary))
    (raw / "dev.tsv").write_text("sentence\tlabel\nword1\t7\n")
    assert "dev.tsv, line 2" in refusal()


def test_settings_without_a_model_are_refused(saved, raw, capsys):
    given = arguments(saved, raw, "out")[:-2]
    for name, value in (("augment_copies", "3"), ("device_target", "CPU")):
        assert f"{name} does not apply to task_name SST-2: it is for --augment" in refused(
            capsys, *given, f"--{name}", value
        )


def test_answers_inside_texts_are_refused():
    class Tags:
        logits_per = "token"

    with pytest.raises(UserError, match="answers inside its texts"):
        augment_split(object(), get_task("SST-2"), {}, Tags, (), "", None)
