"""Other programs' JSON, pickles and shards as people bring them; PyTorch is a stand-in here."""

import json
import shlex
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from src.checkpoint import huggingface
from src.checkpoint.architecture import read_config
from src.checkpoint.foreign import from_pickle, other_programs
from src.checkpoint.tokens import find_vocabulary
from src.description import Description
from src.errors import UserError
from src.json_file import read_json
from src.settings.network import NOTHING, BertConfig

SPECIAL = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}


@pytest.mark.parametrize("number", ["x", None, 4.0, True, [4], {}, -1, 5, 3])
def test_ids_of_a_tokenizer_that_are_no_numbers_in_order_are_refused(tmp_path, number):
    values = {"model": {"type": "WordPiece", "vocab": {**SPECIAL, "fox": number}}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    words = "tokenizer.json: (the vocabulary's ids must run from 0 to 4|vocab.* must be a whole number)"
    with pytest.raises(UserError, match=words):
        find_vocabulary(str(tmp_path), "", {}, [])


@pytest.mark.parametrize("token, taken", [("fox", True), ("f\ud800x", False), ("f\nx", False)])
def test_tokens_are_lines_of_text(tmp_path, token, taken):
    values = {"model": {"type": "WordPiece", "vocab": {token: 4, **SPECIAL}}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    if taken:
        assert find_vocabulary(str(tmp_path), "", {}, [])[0] == (*SPECIAL, "fox")
    else:
        with pytest.raises(UserError, match="half a surrogate pair"):
            find_vocabulary(str(tmp_path), "", {}, [])


@pytest.mark.parametrize("names", [1, [1], {"a": 1}, "BertModel", [None]])
def test_architectures_that_are_no_list_of_names_are_refused(tmp_path, names):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": names}))
    with pytest.raises(
        UserError, match=r"config.json: architectures(\[0\])? must be a (list or null|text), not "
    ):
        read_config(str(tmp_path), "", True, NOTHING)


def test_json_that_is_nested_too_deeply_is_no_json(tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="config.json cannot be read as JSON"):
        read_json(str(tmp_path / "config.json"), "file")


# --- shards -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem, ending", [("model", "safetensors"), ("pytorch_model", "bin")])
def test_shards_without_their_index_are_mentioned(tmp_path, stem, ending):
    (tmp_path / f"{stem}-00002-of-00002.{ending}").write_bytes(b"")
    (tmp_path / "optimizer.pt").write_bytes(b"")
    line = other_programs(str(tmp_path))
    assert f"{stem}-00002-of-00002.{ending} is one of several shards" in line
    assert f"{stem}.{ending}.index.json" in line


# --- pickles ------------------------------------------------------------------------------------------------


class Tensor(np.ndarray):
    """What the advised line asks of a tensor."""

    def detach(self):
        return self

    clone = detach


def torch_stand_in(monkeypatch, version="2.6.0+cpu", content=None):
    """Put modules in the place of torch and safetensors.torch; returns {path: what was saved there}."""
    saved, loaded = {}, []

    def load(path, map_location, weights_only):
        assert weights_only is True
        loaded.append(path)
        return content

    torch = ModuleType("torch")
    torch.__version__, torch.load, torch.Tensor = version, load, Tensor
    torch.is_tensor = lambda value: isinstance(value, Tensor)
    library, package = ModuleType("safetensors.torch"), ModuleType("safetensors")
    library.save_file = lambda tensors, path: saved.update({path: tensors})
    package.torch = library
    for name, module in (("torch", torch), ("safetensors", package), ("safetensors.torch", library)):
        monkeypatch.setitem(sys.modules, name, module)
    return SimpleNamespace(saved=saved, loaded=loaded)


@pytest.mark.parametrize("folder", ["plain", "it's", 'a "b"', "$HOME `x` #1"])
@pytest.mark.parametrize(
    "around",
    [
        lambda weights: weights,
        lambda weights: {"epoch": 3, "state_dict": weights, "optimizer_states": [{}]},
        lambda weights: {"model": weights, "step": 1},
        lambda weights: {"model_state_dict": {**weights, "version": 2}},
    ],
)
def test_the_advised_line_opens_what_trainers_save(tmp_path, monkeypatch, folder, around):
    weights = {"w": np.float32([1, 2]).view(Tensor)}
    torch = torch_stand_in(monkeypatch, content=around(weights))
    path = str(tmp_path / folder / "last.ckpt")
    python, flag, code, *arguments = shlex.split(from_pickle(path))
    assert (python, flag, arguments[0]) == ("python", "-c", path)
    assert not set("$`\\!") & set(code) and f'"{code}"' in from_pickle(path)  # a shell leaves it as it is
    monkeypatch.setattr(sys, "argv", ["-c", *arguments])
    exec(code, {})
    target = str(tmp_path / folder / "model.safetensors")
    assert torch.loaded == [path] and list(torch.saved[target]) == ["w"]


@pytest.mark.parametrize("version", ["2.5.1+cu121", "1.13.1", "2.0", "unknown"])
def test_an_older_torch_opens_no_pickle(tmp_path, monkeypatch, version):
    torch = torch_stand_in(monkeypatch, version)
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(
        UserError, match=r"needs torch>=2.6 \(pip install 'torch>=2.6'\), not .*CVE-2025-32434"
    ):
        huggingface.FORMAT.read(str(tmp_path))
    assert torch.loaded == []


def test_the_torch_to_install_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(UserError, match="pip install 'torch>=2.6'"):
        huggingface.FORMAT.read(str(tmp_path))
    (tmp_path / "last.ckpt").write_bytes(b"PK")
    assert "with torch>=2.6, by: python -c" in other_programs(str(tmp_path / "last.ckpt"))


# --- what is written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tokens, said",
    [
        (("[PAD]", "[UNK]", "[CLS]", "[SEP]", "fox"), None),
        (("fox", "[UNK]", "[CLS]", "[SEP]", "[PAD]"), 4),
        (None, None),
    ],
)
def test_the_padding_token_is_said_where_it_is_not_the_first(tmp_path, tokens, said):
    bert = BertConfig(vocab_size=5, hidden_size=4, num_attention_heads=1)
    huggingface.write_description(str(tmp_path), Description(bert), tokens)
    assert json.loads((tmp_path / "config.json").read_text()).get("pad_token_id") == said
