"""The border where JSON comes in: what a text may hold, and the shapes it is held against."""

import json
from types import SimpleNamespace
from typing import Dict, Optional, Tuple

import numpy as np
import pytest
from msgspec import Struct

from src.data.info import DatasetInfo
from src.data.origins import read_origin
from src.deploy.bin_files import read_inputs
from src.description import Description
from src.errors import UserError
from src.json_file import DEEPEST, Count, Digest, Digits, Size, Text, checked, parse, read_json, read_lines


class Shape(Struct):
    name: Text
    size: Size = 1
    parts: Tuple[Text, ...] = ()
    counts: Dict[Digits, Count] = {}
    digest: Optional[Digest] = None
    share: float = 0.0
    on: bool = False


@pytest.mark.parametrize(
    "text, words",
    [
        ("[" * 200_000, "lie more than 64 deep"),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), "lie more than 64 deep"),
        ('{"a":' * 70 + "1" + "}" * 70, "lie more than 64 deep"),
        ("1" * 5000, "a number has 5,000 characters"),
        ("[" + "1" * 300 + "]", "a number has 300 characters"),
        ("1e" + "0" * 300, "a number has 302 characters"),
        ("0." + "3" * 300, "a number has 302 characters"),
        ("", "Expecting value"),
        (b"\xff", "can't decode"),
        ("{} {}", "Extra data"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_no_file_needs_is_refused_as_a_value_error(text, words):
    with pytest.raises(ValueError, match=words) as error:
        parse(text)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    "text, value",
    [
        ("[" * DEEPEST + "]" * DEEPEST, None),
        (json.dumps("[" * 300), "[" * 300),
        (json.dumps("7" * 5000), "7" * 5000),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('"\\udce9"', "\udce9"),
        ("-1" + "0" * 98, -(10**98)),
        ("[0.1, 1e-7, true, null]", [0.1, 1e-7, True, None]),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_files_hold_is_read(text, value):
    assert parse(text) == (json.loads(text) if value is None else value)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"name": 3}, "x: name must be a text, not 3"),
        ({"name": None}, "x: name must be a text, not None"),
        ({"name": "\ud800"}, "x: name must be UTF-8 text"),
        ({"size": 0}, "x: size must be a whole number of at least 1, not 0"),
        ({"size": 2**31}, "x: size must be a whole number of at most 2147483647"),
        ({"size": 10**99}, "x: size must be a whole number of at most 2147483647"),
        ({"size": True}, "x: size must be a whole number, not True"),
        ({"size": 1.0}, "x: size must be a whole number, not 1.0"),
        ({"parts": "ab"}, "x: parts must be a list, not 'ab'"),
        ({"parts": ["a", [1]]}, "x: parts[1] must be a text, not [1]"),
        ({"counts": {"1x": 2}}, "must be digits"),
        ({"counts": {"1": -2}}, "x: counts[...] must be a whole number of at least 0"),
        ({"digest": "12"}, "x: digest must be a SHA-256"),
        ({"share": "0.5"}, "x: share must be a number, not '0.5'"),
        ({"on": 1}, "x: on must be true or false, not 1"),
    ],
)
def test_another_shape_is_told_with_its_key(change, words):
    with pytest.raises(UserError) as error:
        checked({"name": "n", **change}, Shape, "x")
    assert words in str(error.value)


@pytest.mark.parametrize(
    "value, words", [({}, "x lacks name"), ([], "x must be an object"), (None, "not None")]
)
def test_a_missing_key_and_no_object(value, words):
    with pytest.raises(UserError) as error:
        checked(value, Shape, "x")
    assert words in str(error.value)


def test_unknown_keys_are_no_fault():
    assert checked({"name": "n", "later": [1]}, Shape, "x") == Shape("n")


def test_files_and_their_lines(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"name": "a"}\r\n{"name": 3}\n')
    lines = read_lines(path, "the list", Shape)
    assert next(lines) == Shape("a")
    with pytest.raises(UserError, match="the list .*x.jsonl, line 2: name must be a text"):
        next(lines)
    path.write_bytes(b'{"name": "a"}\n{"na')
    with pytest.raises(UserError, match="line 2 cannot be read as JSON"):
        list(read_lines(path, "the list", Shape))
    with pytest.raises(UserError, match="more than 9 bytes"):
        read_json(path, "the list", most=9)
    for reading in (
        lambda: read_json(tmp_path / "no", "it"),
        lambda: list(read_lines(tmp_path / "no", "it")),
    ):
        with pytest.raises(UserError, match="it .*no does not exist"):
            reading()


# --- the files themselves: a wrong type anywhere is a line --------------------------------------------------

WRONG = [
    None,
    True,
    3,
    -1,
    2**31,
    10**20,
    1e300,
    float("nan"),
    "",
    "x",
    "\ud800",
    [],
    [None],
    {},
    {"a": None},
]
INFO = {
    "task_name": "SST-2",
    "head": "classification",
    "labels": ["a", "b"],
    "vocab_sha256": "ab",
    "vocab_size": 9,
    "do_lower_case": True,
    "max_seq_length": 16,
    "splits": {"train": {"rows": 4, "labelled": True, "length_histogram": {"8": 4}, "files": ["train.x"]}},
    "checksums": {"train.x": {"bytes": 3, "sha256": "0" * 64}},
}
ROWS = {
    "rows": 2,
    "seq_length": 8,
    "task_name": "SST-2",
    "split": "eval",
    "kind": "classification",
    "num_labels": 2,
    "labels": ["a", "b"],
    "vocab_sha256": "",
    "longest": 8,
    "largest_token_id": 3,
    "largest_segment_id": 1,
    "layout": "own",
}
CONFIG = {
    **{"vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"intermediate_size": 8, "hidden_act": "gelu", "hidden_dropout_prob": 0.1},
    **{"attention_probs_dropout_prob": 0.1, "max_position_embeddings": 16, "type_vocab_size": 2},
    **{"initializer_range": 0.02, "layer_norm_eps": 1e-12, "use_relative_positions": False},
    **{"max_relative_position": 4, "classifier_relu": False, "classifier_dropout": None},
    **{"num_labels": 2, "problem_type": "single_label_classification", "task_name": "SST-2"},
    **{"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}, "do_lower_case": True},
    **{"quantization": {"weight_bits": 2}, "vocab_sha256": "", "strip_accents": None},
}
TEXTS = {"id": "q", "text": "a b", "answers": ["a"], "rows": [[-1, -1, 0, 1]]}


def changed(value):
    """Every value that one wrong item anywhere in a JSON value makes of it."""
    yield from (other for other in WRONG)
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        for other in changed(item):
            copy = value.copy()
            copy[key] = other
            yield copy
    for key in value if isinstance(value, dict) else ():
        yield {name: item for name, item in value.items() if name != key}


def info_of(folder):
    info = DatasetInfo.load(folder)
    assert all(isinstance(name, str) for name in info.labels) and info.kind.name


def config_of(folder):
    return Description.from_json(read_json(folder / "config.json", "config"), "config.json", "m")


READERS = {
    "dataset.json": (INFO, info_of),
    "rows.json": (ROWS, read_inputs),
    "config.json": (CONFIG, config_of),
}


@pytest.mark.parametrize("name", READERS)
def test_a_wrong_type_anywhere_is_a_user_error(tmp_path, name):
    good, read = READERS[name]
    path, refused = tmp_path / name, 0
    path.write_text(json.dumps(good))
    read(tmp_path)
    for value in changed(good):
        path.write_text(json.dumps(value))
        try:
            read(tmp_path)
        except UserError as error:
            refused += 1
            assert len(str(error)) < 1000
    assert refused > 100


@pytest.mark.parametrize("value", list(changed(TEXTS)), ids=lambda value: repr(value)[:40])
def test_texts_of_a_wrong_type_are_a_user_error(tmp_path, value):
    rows = SimpleNamespace(lengths=np.array([2]))
    (tmp_path / "eval.texts.jsonl").write_text(json.dumps(value) + "\n")
    try:
        assert read_origin(str(tmp_path), "eval", rows).texts[0]["id"] is not None
    except UserError as error:
        assert "eval.texts.jsonl" in str(error)
