"""ONNX graphs in ONNX Runtime against the networks they come from, layer by layer and whole."""

import mindspore as ms
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from src.deploy.onnx_graph import BertGraph
from src.deploy.onnx_model import IR_VERSION, OPSET, build_model
from src.deploy.sessions import OnnxSession
from src.errors import UserError
from src.kinds import SPAN, TAGGING
from src.nn.heads import BertForSequence, BertForTokens, Logits
from src.nn.layers import ActivationQuantizer, Dense, computed_weights, eager, rounded
from src.settings.network import QuantConfig
from tests.helpers import describe, fill, random_batch, refuses, tensors, tiny_config

ort = pytest.importorskip("onnxruntime")
ACTIVATIONS = {
    "symmetric": QuantConfig(embedding_bits=2, weight_bits=2, activation_bits=8, activation_clip_value=1.0),
    "unclipped": QuantConfig(embedding_bits=2, weight_bits=2, activation_bits=8, activation_clip_value=0.0),
    "4 bits": QuantConfig(embedding_bits=2, weight_bits=2, activation_bits=4, activation_clip_value=1.0),
    "dynamic": QuantConfig(
        embedding_bits=2,
        weight_bits=2,
        activation_bits=8,
        activation_quantizer="dynamic",
        activation_clip_value=0.0,
    ),
    "ema": QuantConfig(embedding_bits=2, weight_bits=2, activation_bits=8, activation_quantizer="ema"),
}
EIGHT_BIT = QuantConfig(
    embedding_bits=8,
    embedding_quantizer="symmetric",
    embedding_granularity="tensor",
    weight_bits=8,
    weight_quantizer="symmetric",
    activation_bits=8,
    activation_quantizer="ema",
)


def calibrated(network, value=1.5):
    """The network with every moving-average range set."""
    for name, parameter in network.parameters_and_names():
        if name.endswith(".threshold"):
            parameter.set_data(ms.Tensor([value], ms.float32))
    return network


def make_network(quantization=None, seed=0, **changes):
    network = calibrated(fill(BertForSequence(tiny_config(**changes), 3, quantization=quantization), seed))
    network.set_train(False)
    return network


def expected_logits(network, batch):
    with eager():
        return Logits(network)(*tensors(*batch[:3])).asnumpy()


def model_of(network, form="float"):
    """The ONNX model of a network."""
    return build_model(computed_weights(network), describe(network, labels=()), form)


def session(tmp_path, network, form="float"):
    path = tmp_path / "model.onnx"
    onnx.save(model_of(network, form), path)
    return OnnxSession(str(path), threads=1)


def run_part(graph, output, x):
    """The value of one node of a `BertGraph` whose only input is x."""
    proto = helper.make_graph(
        graph.graph.nodes,
        "part",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_empty_tensor_value_info(output)],
        graph.graph.constants,
    )
    model = helper.make_model(
        proto,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)],
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")  # as our sessions have it
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
        [output], {"x": x}
    )[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden_act": "gelu_new"},
        {"hidden_act": "relu", "classifier_relu": True},
        {"use_relative_positions": True, "max_relative_position": 3},
    ],
)
def test_float_graph_is_the_network(tmp_path, changes):
    network = make_network(**changes)
    run = session(tmp_path, network)
    for rows, length in ((4, 10), (1, 5)):  # any batch size and length
        batch = random_batch(1, rows, length)
        np.testing.assert_allclose(run(*batch[:3]), expected_logits(network, batch), atol=2e-5)


@pytest.mark.parametrize(
    "quantization, form, allowed",
    [
        (None, "float", 1e-4),
        (ACTIVATIONS["ema"], "int8", 0.05),
        (ACTIVATIONS["symmetric"], "int8", 0.05),
        (ACTIVATIONS["symmetric"], "ternary", 0.05),
    ],
)
@pytest.mark.parametrize("kind", [TAGGING, SPAN], ids=["tags", "questions"])
def test_graphs_of_heads_for_tokens_answer_for_each_as_the_network(
    tmp_path, kind, quantization, form, allowed
):
    config = tiny_config(classifier_relu=kind is TAGGING)
    network = calibrated(fill(BertForTokens(config, 2, quantization=quantization), 0))
    network.set_train(False)
    model = build_model(computed_weights(network), describe(network, "custom", (), kind), form)
    onnx.save(model, tmp_path / "model.onnx")
    outputs = {
        item.name: [size.dim_param or size.dim_value for size in item.type.tensor_type.shape.dim]
        for item in model.graph.output
    }
    single = ["batch", "sequence"]
    expected = {"start_logits": single, "end_logits": single} if kind is SPAN else {"logits": [*single, 2]}
    assert outputs == expected
    batch = random_batch(3, 16, 12)
    logits, found = (
        expected_logits(network, batch),
        OnnxSession(str(tmp_path / "model.onnx"), threads=1)(*batch[:3]),
    )
    assert found.shape == logits.shape == (16, 12, 2)
    assert np.sqrt(np.mean((found - logits) ** 2)) < allowed * logits.std()


def test_exact_gelu_is_onnx_gelu(tmp_path):
    network = make_network()
    nodes = model_of(network).graph.node
    (approximate,) = {
        helper.get_node_attr_value(node, "approximate")
        for node in nodes
        if node.op_type == "Gelu" and node.domain == ""
    }
    assert approximate == b"none"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_quantized_bit_for_bit_as_in_training(name):
    x = np.random.default_rng(0).normal(size=(40, 96)).astype(np.float32)
    x[0, :4] = (30.0, -30.0, 1.0, -1.0)
    cell = calibrated(ActivationQuantizer(ACTIVATIONS[name]))
    cell.set_train(False)
    graph = BertGraph(
        {"place.quantizer.threshold": np.array([1.5], np.float32)}, tiny_config(), ACTIVATIONS[name], "int8"
    )
    found = run_part(graph, graph.rounding.dequantized(graph.rounding.quantize("x", "place")), x)
    np.testing.assert_array_equal(found, cell(ms.Tensor(x)).asnumpy())


@pytest.mark.parametrize("weights", ["twn", "lat", "symmetric", "row"])
@pytest.mark.parametrize("name", ["symmetric", "dynamic", "ema"])
def test_each_int8_layer_alone_is_the_networks(name, weights):
    settings = {
        "twn": {"weight_bits": 2},
        "lat": {"weight_bits": 2, "weight_quantizer": "lat"},
        "symmetric": {"weight_bits": 8, "weight_quantizer": "symmetric"},
        "row": {"weight_bits": 2, "weight_granularity": "row"},
    }[weights]
    quantization = QuantConfig(**{**vars(ACTIVATIONS[name]), **settings})
    random = np.random.default_rng(1)
    x = random.normal(size=(30, 64)).astype(np.float32)
    dense, quantize = (
        Dense(64, 48, 0.02, ms.float32, quantization),
        calibrated(ActivationQuantizer(quantization)),
    )
    fill(dense, 2, 0.05)
    quantize.set_train(False)
    with eager():  # graphs of the quantizers are compiled in tests/quant/test_quantizers.py
        expected = dense(quantize(ms.Tensor(x))).asnumpy()
    state = {
        "layer.weight": rounded(dense),
        "layer.bias": dense.bias.asnumpy(),
        "place.quantizer.threshold": np.array([1.5], np.float32),
    }
    graph = BertGraph(state, tiny_config(), quantization, "int8")
    np.testing.assert_allclose(
        run_part(graph, graph.layers.dense("x", "place", "layer"), x), expected, atol=1e-5
    )


@pytest.mark.parametrize("form, per_row", [("ternary", True), ("ternary", False), ("int8", True)])
def test_ternary_tables_are_exact(form, per_row):
    random = np.random.default_rng(0)
    scale = random.uniform(0.5, 2, (50, 1)) if per_row else 0.3
    values = (random.integers(-1, 2, (50, 24)) * scale).astype(np.float32)
    graph = BertGraph({"words.weight": values}, tiny_config(), ACTIVATIONS["symmetric"], form)
    ids = graph.graph.node("Cast", "x", to=TensorProto.INT32)
    asked = random.integers(0, 50, (3, 7))
    np.testing.assert_array_equal(
        run_part(graph, graph.layers.rows("words", ids), asked.astype(np.float32)), values[asked]
    )


@pytest.mark.parametrize("name, quantization", [*ACTIVATIONS.items(), ("8 bits", EIGHT_BIT)])
def test_whole_int8_graph_follows_the_network(tmp_path, name, quantization):
    network, batch = make_network(quantization), random_batch(3, 16, 12)
    expected, found = expected_logits(network, batch), session(tmp_path, network, "int8")(*batch[:3])
    assert np.sqrt(np.mean((found - expected) ** 2)) < (0.15 if name == "4 bits" else 0.05) * expected.std()
    nodes = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    # Every product is one of integers.
    assert "MatMulIntegerToFloat" in nodes and not nodes & {"MatMul", "FusedMatMul"}


@pytest.mark.parametrize("name", ["symmetric", "ema"])
def test_float_graph_of_a_quantized_network_loads_and_follows_it(tmp_path, name):
    network, batch = make_network(ACTIVATIONS[name]), random_batch(3, 16, 12)
    expected, found = expected_logits(network, batch), session(tmp_path, network, "float")(*batch[:3])
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.05 * expected.std()


@pytest.mark.parametrize(
    "quantization, form, tokens",
    [
        (None, "float", 1),
        (ACTIVATIONS["ema"], "int8", 1),
        (ACTIVATIONS["ema"], "ternary", 1),
        (ACTIVATIONS["symmetric"], "int8", 12),
        (ACTIVATIONS["dynamic"], "float", 12),
    ],
)
def test_last_layer_computes_only_the_row_that_is_read_unless_a_range_depends_on_the_others(
    quantization, form, tokens
):
    network, batch = (
        make_network(quantization, num_hidden_layers=2, hidden_size=32, intermediate_size=64),
        random_batch(3, 4, 12),
    )
    model = model_of(network, form)
    layers = [f"bert.encoder.layers.{layer}.feed_forward.layer_norm" for layer in (0, 1)]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in layers)
    run = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    first, last = run.run(layers, dict(zip([item.name for item in run.get_inputs()], batch[:3])))
    assert first.shape == (4, 12, 32) and last.shape == (4, tokens, 32)


def test_float_weights_keep_the_activation_quantization(tmp_path):
    network, batch = make_network(ACTIVATIONS["4 bits"]), random_batch(3, 16, 12)
    expected = expected_logits(network, batch)
    plain, computed = make_network(), computed_weights(network)
    for name, parameter in plain.parameters_and_names():
        parameter.set_data(ms.Tensor(computed[name]))
    with_it = np.abs(session(tmp_path, network, "float")(*batch[:3]) - expected).mean()
    without = np.abs(expected_logits(plain, batch) - expected).mean()
    assert with_it < 0.3 * without


@pytest.mark.parametrize(
    "quantization, form, changes, words",
    [
        (None, "int8", {}, ("quantized activations", "--onnx_weights float, or ternary")),
        (None, "ternary", {}, ("needs quantized", "train.py")),
        (EIGHT_BIT, "ternary", {}, ("not ternary", "--onnx_weights int8")),
        (ACTIVATIONS["symmetric"], "int8", {"use_relative_positions": True}, ("use_relative_positions",)),
        (
            QuantConfig(weight_bits=2, activation_bits=8, activation_quantizer="minmax"),
            "int8",
            {},
            ("minmax", "symmetric"),
        ),
    ],
)
def test_what_a_graph_cannot_hold_is_refused(quantization, form, changes, words):
    network = make_network(quantization, **changes)
    with pytest.raises(UserError) as error:
        model_of(network, form)
    refuses(error, *words)
