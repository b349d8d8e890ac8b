"""Ternary weights in 1.6 bits: unpacked by ONNX Runtime, from weights made up by hand; no network needed."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.deploy.check import check_equal
from src.deploy.onnx_model import IR_VERSION, OPSET, build_model, choose_form, write_onnx
from src.deploy.onnx_nodes import Graph
from src.deploy.onnx_weights import Weights
from src.deploy.sessions import OnnxSession
from src.errors import UserError
from src.kinds import CLASSIFICATION, SPAN, TAGGING
from src.quant.packing import digit_table, integer_codes, is_ternary, pack_digits
from src.settings.network import QuantConfig
from tests.helpers import HIDDEN, INNER, WORDS, our_description, our_weights, refuses

ort = pytest.importorskip("onnxruntime")
EMA = QuantConfig(activation_bits=8, activation_quantizer="ema")
DYNAMIC = QuantConfig(activation_bits=8, activation_quantizer="dynamic", activation_clip_value=0.0)
SYMMETRIC = QuantConfig(activation_bits=8, activation_clip_value=1.0)
FOUR = QuantConfig(activation_bits=4, activation_clip_value=1.0)
MINMAX = QuantConfig(activation_bits=8, activation_quantizer="minmax")
PLACES = ("input", "query", "key", "value", "probs", "context", "inner")


def codes_of(shape, largest=1, by_row=False, seed=0):
    """Random float32 weights of integer codes up to `largest`, which every row reaches."""
    random = np.random.default_rng(seed)
    codes = random.integers(-largest, largest + 1, shape)
    codes[:, 0] = largest
    return codes.astype(np.float32) * random.uniform(0.1, 0.3, (shape[0] if by_row else 1, 1)).astype(
        np.float32
    )


def quantized(largest=1, by_row=False, words=1, rest=127, seed=0):
    """Weights whose dense layers have codes up to `largest`, the word table up to `words`, the other tables
    up to `rest`; 0 leaves them in float.
    """
    weights, drawn = our_weights(seed), np.random.default_rng(seed)
    for name, value in weights.items():
        if "word" in name:
            most, rows = words, True
        elif "embeddings" in name and value.ndim == 2:
            most, rows = rest, True
        else:
            most, rows = (0 if "classifier" in name or value.ndim == 1 else largest), by_row
        if most:
            weights[name] = codes_of(value.shape, most, rows, int(drawn.integers(1000)))
    layers = [
        f"bert.encoder.layers.{layer}.{part}." for layer in (0, 1) for part in ("attention", "feed_forward")
    ]
    for place in [f"{layer}quantize_{name}" for layer in layers for name in PLACES] + [
        "bert.pooler.quantize_input"
    ]:
        weights[place + ".quantizer.threshold"] = np.array([1.5], np.float32)
    return weights


def described(quantization, kind=CLASSIFICATION, **bert):
    """The `Description` of such a network."""
    outputs, labels = (2, ()) if kind is SPAN else (3, ("no", "maybe", "yes"))
    return replace(our_description(labels, outputs, **bert), kind=kind, quantization=quantization)


def columns(rows, length, seed=0):
    """input_ids, input_mask, segment_ids with padding."""
    random = np.random.default_rng(seed)
    mask = np.arange(length) < random.integers(2, length + 1, rows)[:, None]
    ids = np.where(mask, random.integers(1, WORDS, mask.shape), 0)
    segments = mask & (np.arange(length) > length // 2)
    return tuple(item.astype(np.int32) for item in (ids, mask, segments))


def session(tmp_path, weights, description, form):
    path = tmp_path / f"{form}.onnx"
    write_onnx(str(path), weights, description, form)
    return OnnxSession(str(path), threads=1)


def assert_same_bits(tmp_path, weights, description, form):
    ternary, plain = (session(tmp_path, weights, description, name) for name in ("ternary", form))
    for rows, length in ((1, 6), (5, 9)):
        found, expected = (run(*columns(rows, length)) for run in (ternary, plain))
        assert np.isfinite(expected).all() and np.ptp(expected) > 0
        np.testing.assert_array_equal(found.view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize(
    "quantization", [EMA, DYNAMIC, SYMMETRIC, FOUR], ids=["ema", "dynamic", "symmetric", "4"]
)
def test_logits_are_the_int8_graphs_bit_for_bit(tmp_path, quantization, by_row):
    assert_same_bits(tmp_path, quantized(by_row=by_row), described(quantization), "int8")


@pytest.mark.parametrize("kind", [TAGGING, SPAN], ids=["tags", "questions"])
def test_heads_for_tokens_too(tmp_path, kind):
    weights = quantized()
    if kind is SPAN:
        weights["classifier.weight"], weights["classifier.bias"] = (
            weights[f"classifier.{part}"][:2] for part in ("weight", "bias")
        )
    assert_same_bits(tmp_path, weights, described(EMA, kind), "int8")


@pytest.mark.parametrize("words", [0, 1, 7, 127])
@pytest.mark.parametrize("rest", [0, 1, 127])
def test_tables_of_any_bits_travel_along(tmp_path, words, rest):
    weights = quantized(words=words, rest=rest)
    assert_same_bits(tmp_path, weights, described(EMA), "int8")
    assert_same_bits(tmp_path, weights, described(None), "float")


def test_tables_that_a_kernel_rounded_otherwise_in_the_last_bit_are_codes_in_integer_graphs_only(tmp_path):
    weights = quantized()
    for part in ("word", "position"):
        table = weights[f"bert.embeddings.{part}_embeddings.weight"]
        table[0] = 0
        table[0, :3] = 0.3, np.nextafter(np.float32(0.3), np.float32(1)), -0.3
    assert_same_bits(tmp_path, weights, described(EMA), "int8")
    assert_same_bits(tmp_path, weights, described(None), "float")
    for quantization, coded in ((EMA, True), (None, False)):
        model = build_model(weights, described(quantization), "ternary")
        names = [item.name for item in model.graph.initializer]
        assert any("position_embeddings.codes" in name for name in names) == coded


def test_a_layer_of_more_bits_stays_int8_among_ternary_ones(tmp_path):
    weights = quantized()
    name = "bert.encoder.layers.1.feed_forward.output.weight"
    weights[name] = codes_of(weights[name].shape, 127)
    assert_same_bits(tmp_path, weights, described(EMA), "int8")


@pytest.mark.parametrize("quantization", [None, EMA], ids=["float", "ema"])
def test_a_network_without_an_integer_graph_computes_its_float_one(tmp_path, quantization):
    changes = {"use_relative_positions": True, "max_relative_position": 2} if quantization else {}
    weights = quantized(by_row=True)
    for layer in (0, 1) if quantization else ():
        name = f"bert.encoder.layers.{layer}.attention.relative_positions.weight"
        weights[name] = np.random.default_rng(layer).normal(size=(5, HIDDEN // 2)).astype(np.float32)
    assert_same_bits(tmp_path, weights, described(quantization, **changes), "float")


def test_the_file_holds_codes_and_vectors_only_and_says_what_it_is():
    weights, description = quantized(by_row=True), described(EMA)
    model = build_model(weights, description, "ternary")
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    floats = {name for name, value in arrays.items() if value.dtype == np.float32 and value.ndim == 2}
    assert {name for name in floats if not name.endswith(".steps")} == {"classifier.weight"}
    packed = [value for name, value in arrays.items() if name.endswith(".packed")]
    assert {value.dtype for value in packed} == {np.dtype(np.uint8)}
    codes = WORDS * HIDDEN + HIDDEN * HIDDEN + 2 * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER)
    assert codes / 5 <= sum(value.size for value in packed) <= codes / 5 + len(packed)
    notes = {item.key: item.value for item in model.metadata_props}
    assert notes["onnx_weights"] == '"ternary"' and notes["oldest_onnxruntime"] == '"1.17"'


def test_only_operators_of_the_int8_graph_and_standard_ones_unpack():
    used = [
        {(node.domain, node.op_type) for node in build_model(quantized(), described(EMA), form).graph.node}
        for form in ("ternary", "int8")
    ]
    assert used[0] - used[1] <= {("", name) for name in ("Cast", "Gather", "Mul", "Reshape", "Slice")}


@pytest.mark.parametrize("folds", [True, False])
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (2, 3), (4, 13), (3, 8), (11, 9)])
def test_any_number_of_codes_is_unpacked_once_as_the_session_opens(tmp_path, shape, folds):
    codes, graph = np.random.default_rng(0).integers(-1, 2, shape).astype(np.int8), Graph()
    stored = Weights(graph, {}, None, "ternary", True)._stored(codes, "layer.codes")
    graph.node("Identity", stored, name="found")
    proto = helper.make_graph(
        graph.nodes,
        "part",
        [],
        [helper.make_tensor_value_info("found", TensorProto.INT8, shape)],
        graph.constants,
    )
    model = helper.make_model(proto, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "opened.onnx")
    level = "ORT_ENABLE_ALL" if folds else "ORT_DISABLE_ALL"
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    run = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(run.run(None, {})[0], codes)
    left = {node.op_type for node in onnx.load(tmp_path / "opened.onnx").graph.node}
    assert ("Gather" in left) != folds


@pytest.mark.parametrize(
    "weights, quantization, changes, form, words",
    [
        ({}, EMA, {}, "ternary", ()),
        ({"by_row": True}, DYNAMIC, {}, "ternary", ()),
        ({}, None, {}, "ternary", ()),
        ({}, EMA, {"use_relative_positions": True}, "ternary", ()),
        ({"largest": 127}, EMA, {}, "int8", ()),
        ({"largest": 3}, EMA, {}, "int8", ()),
        ({"largest": 0}, None, {}, "float", ()),
        (
            {"largest": 127},
            QuantConfig(weight_bits=8, weight_quantizer="symmetric"),
            {},
            "float",
            ("auto is float here", "needs quantized"),
        ),
        ({"largest": 0}, EMA, {}, "float", ("auto is float here", "no integer codes")),
        ({}, MINMAX, {}, "float", ("auto is float here", "minmax")),
    ],
)
def test_auto_is_the_smallest_that_the_network_can_have(weights, quantization, changes, form, words):
    found, notice = choose_form("auto", quantized(**weights), described(quantization, **changes))
    assert found == form and bool(words) == bool(notice)
    assert all(word in notice for word in words)
    assert choose_form("int8", {}, described(None)) == ("int8", "")


@pytest.mark.parametrize(
    "weights, quantization, words",
    [
        ({"largest": 127}, EMA, ("not ternary", "--onnx_weights int8")),
        ({"largest": 127}, None, ("not ternary", "--onnx_weights float")),
        ({"largest": 0}, EMA, ("no integer codes", "--onnx_weights float")),
        ({}, MINMAX, ("minmax", "MINDIR")),
    ],
)
def test_what_cannot_be_ternary_says_what_can_be_done(weights, quantization, words):
    with pytest.raises(UserError) as error:
        build_model(quantized(**weights), described(quantization), "ternary")
    refuses(error, *words)


def test_a_file_that_unpacks_to_other_weights_is_told(tmp_path):
    description = described(EMA)
    plain = session(tmp_path, quantized(), description, "int8")
    check_equal(session(tmp_path, quantized(), description, "ternary"), plain, description.bert, 8)
    other = quantized()
    other["bert.pooler.dense.weight"] *= -1
    with pytest.raises(UserError) as error:
        check_equal(session(tmp_path, other, description, "ternary"), plain, description.bert, 8)
    refuses(error, "ternary weights do not unpack", "removed")


# --- codes --------------------------------------------------------------------------------------------------


def test_digits_are_base_3_lowest_first():
    table = digit_table()
    assert table.shape == (243, 5) and len({tuple(row) for row in table.tolist()}) == 243
    assert table[0 + 1 * 3 + 2 * 9 + 2 * 27 + 0 * 81].tolist() == [-1, 0, 1, 1, -1]
    np.testing.assert_array_equal(pack_digits(table.ravel()), np.arange(243))
    assert pack_digits(np.array([1], np.int8)).tolist() == [2 + 3 + 9 + 27 + 81]  # filled up with zeros


@pytest.mark.parametrize("largest", [1, 3, 7, 127])
@pytest.mark.parametrize("by_row", [False, True])
def test_codes_and_steps_give_the_weights_back_bit_for_bit(largest, by_row):
    for seed in range(5):
        values = codes_of((40, 50), largest, by_row, seed)
        codes, steps = integer_codes(values)
        assert codes.dtype == np.int8 and len(steps) == (40 if by_row else 1)
        np.testing.assert_array_equal(codes.astype(np.float32) * steps[:, None], values)
        assert is_ternary(codes) == (largest == 1)


def test_rows_whose_steps_are_multiples_are_ternary_all_the_same():
    values = np.float32([[0.25, 0, -0.25], [0.5, 0.5, 0], [0, 0, 0], [-0.75, 0.75, 0]])
    codes, steps = integer_codes(values)
    np.testing.assert_array_equal(codes, np.sign(values))
    np.testing.assert_array_equal(codes * steps[:, None], values)


def test_weights_without_a_common_step_have_no_codes():
    assert integer_codes(np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)) is None
    codes, _ = integer_codes(np.zeros((3, 4), np.float32))
    assert is_ternary(codes) and not codes.any()
