"""Quantized networks against the golden W2A8 BERT, and what each setting switches on."""

import mindspore as ms
import numpy as np
import pytest

from src.checkpoint.assign import assign
from src.distill.distiller import Distiller, LossTerms
from src.errors import UserError
from src.kinds import CLASSIFICATION
from src.model import Model
from src.nn.heads import BertForSequence
from src.nn.layers import Embedding, eager
from src.settings.network import QuantConfig
from tests.helpers import (
    PublishedDistiller,
    fill,
    golden,
    golden_checkpoint,
    hugging_face_name,
    micro_batch,
    needs_golden,
    published_micro_batch,
    random_batch,
    refuses,
    relative_error,
    tensors,
    terms_and_gradients,
    tiny_config,
    weights_of,
)

W2A8 = QuantConfig(embedding_bits=2, weight_bits=2, activation_bits=8)


@needs_golden
def test_golden_ternary_bert_states_scores_losses_and_gradients():
    numbers = golden("ternarybert")
    checkpoint = golden_checkpoint("ternarybert_model", classifier_relu=False)
    teacher = Model.from_checkpoint(checkpoint).network
    student = BertForSequence(teacher.config, 2, quantization=W2A8)
    assign(student, checkpoint.weights, checkpoint.source)
    batch = [numbers[name].astype(np.int32) for name in ("input_ids", "input_mask", "segment_ids")]
    with eager():  # the graph of a smaller one is compared below
        logits, states, scores = student(*tensors(*batch))
        taught = teacher(*tensors(*batch))[0]
    np.testing.assert_allclose(logits.asnumpy(), numbers["student_logits"], atol=1e-3)
    np.testing.assert_allclose(taught.asnumpy(), numbers["teacher_logits"], atol=1e-4)
    for index, state in enumerate(states):
        np.testing.assert_allclose(state.asnumpy(), numbers[f"student_hidden.{index}"], atol=1e-3)
    keys = numbers["input_mask"][:, None, None, :]
    for index, score in enumerate(scores):
        np.testing.assert_allclose(
            score.asnumpy() * keys, numbers[f"student_scores.{index}"] * keys, atol=1e-3
        )
    terms = LossTerms(attention_loss=1.0, hidden_loss=1.0, soft_loss=1.0)
    distiller = PublishedDistiller(student, terms, kind=CLASSIFICATION)
    labels = np.zeros(len(batch[0]), np.int32)
    with eager():
        values, gradients = terms_and_gradients(distiller, published_micro_batch(*batch, labels), teacher)
    for ours, theirs in (
        ("attention_loss", "att_loss"),
        ("hidden_loss", "rep_loss"),
        ("soft_loss", "prediction_loss"),
    ):
        assert values[ours] == pytest.approx(float(numbers[theirs]), rel=1e-4), ours
    expected = {name: numbers["grad." + hugging_face_name(name)] for name in gradients}
    assert len(expected) == sum(key.startswith("grad.") for key in numbers)
    largest = max(np.linalg.norm(item) for item in expected.values())
    for name, gradient in gradients.items():
        if np.linalg.norm(expected[name]) > 1e-5 * largest:
            assert relative_error(gradient, expected[name]) < 0.01, name
        else:
            assert np.linalg.norm(gradient) < 1e-4 * largest, name


def network_of(quantization, **changes):
    return fill(BertForSequence(tiny_config(**changes), 3, quantization=quantization), 0)


def test_a_graph_gives_the_losses_and_gradients_that_operators_one_by_one_give():
    """Those of all layers are held against golden numbers above; a graph of so many takes long to compile."""
    terms = LossTerms(attention_loss=1.0, hidden_loss=1.0, soft_loss=1.0, label_loss=0.5)
    student, teacher = (network_of(item, num_hidden_layers=1) for item in (W2A8, None))
    case = Distiller(student, terms, kind=CLASSIFICATION), micro_batch(*random_batch(3)), teacher
    with eager():
        expected, expected_gradients = terms_and_gradients(*case)
    values, gradients = terms_and_gradients(*case)
    assert values == pytest.approx(expected, rel=1e-5) and len(gradients) == len(weights_of(student))
    largest = max(np.linalg.norm(item) for item in expected_gradients.values())
    for name, gradient in gradients.items():
        size = max(np.linalg.norm(expected_gradients[name]), 0.01 * largest)
        assert np.linalg.norm(gradient - expected_gradients[name]) < 1e-5 * size, name


def logits_of(network):
    """Without a graph: that of a quantized network is compiled above."""
    with eager():
        return network(*tensors(*random_batch(1)[:3]))[0].asnumpy()


def test_32_bits_everywhere_are_the_float_network():
    plain, float_settings = network_of(None), network_of(QuantConfig())
    np.testing.assert_array_equal(logits_of(plain), logits_of(float_settings))
    assert weights_of(float_settings).keys() == weights_of(plain).keys()


@pytest.mark.parametrize(
    "changes",
    [
        {"embedding_bits": 2},
        {"weight_bits": 2},
        {"activation_bits": 4},
        {"weight_bits": 8, "weight_quantizer": "symmetric"},
    ],
)
def test_each_part_is_quantized_on_its_own(changes):
    plain, quantized = (logits_of(network_of(item)) for item in (None, QuantConfig(**changes)))
    assert np.abs(plain - quantized).max() > 1e-4


def rounded(x, bits, axes):
    """x (NumPy) rounded symmetrically with one scale over `axes`."""
    step = np.abs(x).max(axes, keepdims=True) / (2 ** (bits - 1) - 1)
    return np.rint(x / step) * step


def test_attentions_operands_can_have_a_scale_a_head():
    """Against NumPy, with 3 bits, whose steps are coarse: every other activation has one scale a tensor."""
    settings = QuantConfig(activation_bits=3, activation_clip_value=0.0, activation_granularity="head")
    network = network_of(settings)
    attention, config = network.bert.encoder.layers[0].attention, network.config
    weights = {name: item.asnumpy() for name, item in attention.parameters_and_names()}
    batch, length, heads, width = 2, 5, config.num_attention_heads, config.hidden_size
    x = np.random.default_rng(3).normal(size=(batch * length, width)).astype(np.float32)

    def operand(name):
        y = rounded(x, 3, (0, 1)) @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
        return rounded(y.reshape(batch, length, heads, -1).transpose(0, 2, 1, 3), 3, (2, 3))

    expected = operand("query") @ operand("key").transpose(0, 1, 3, 2) / np.sqrt(width // heads)
    _, scores = attention(ms.Tensor(x), ms.Tensor(np.zeros((batch, 1, 1, length), np.float32)), batch, length)
    np.testing.assert_allclose(scores.asnumpy(), expected, atol=1e-5)


@pytest.mark.parametrize("quantizer", ["twn", "lat"])
def test_rows_looked_up_are_quantized_as_the_whole_table_is(quantizer):
    """Bit for bit: the table is what a packed model holds. At a real width: the order of a sum shows in its
    last bit only there.
    """
    embedding = Embedding(
        300, 384, 0.05, True, QuantConfig(embedding_bits=2, embedding_quantizer=quantizer), "embedding"
    )
    ids = np.random.default_rng(0).integers(0, 300, (16, 48)).astype(np.int32)
    if quantizer == "lat":
        moment = np.random.default_rng(1).uniform(0, 1e-3, (300, 384)).astype(np.float32)
        embedding.quantize.second_moment.set_data(ms.Tensor(moment))
    table = embedding.quantize(embedding.weight).asnumpy()
    np.testing.assert_array_equal(embedding(ms.Tensor(ids)).asnumpy(), table[ids])


def test_eight_bits_are_close_to_float_and_two_are_not():
    plain = logits_of(network_of(None))
    eight = QuantConfig(
        embedding_bits=8,
        embedding_quantizer="symmetric",
        weight_bits=8,
        weight_quantizer="symmetric",
        activation_bits=8,
        activation_clip_value=0.0,
        weight_clip_value=0.0,
        embedding_clip_value=0.0,
    )
    assert np.abs(logits_of(network_of(eight)) - plain).max() < 0.15 * np.abs(plain).max()
    assert np.abs(logits_of(network_of(W2A8)) - plain).max() > 0.3 * np.abs(plain).max()


def test_loss_aware_ternary_follows_its_second_moment():
    network = network_of(QuantConfig(weight_bits=2, weight_quantizer="lat"))
    before = logits_of(network)
    moments = {
        name: item for name, item in network.parameters_dict().items() if name.endswith("second_moment")
    }
    assert len(moments) == 13 and not any(item.requires_grad for item in moments.values())
    random = np.random.default_rng(0)
    for item in moments.values():
        item.set_data(ms.Tensor(random.uniform(0, 1e-6, item.shape) ** 2, ms.float32))
    assert np.abs(before - logits_of(network)).max() > 1e-3


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"rest_bits": 4}, ("rest_bits", "8, or 32", "4")),
        ({"weight_bits": 16}, ("weight_bits", "2 to 8", "32", "16")),
        ({"embedding_bits": 8}, ("embedding_bits is 8", "twn", "symmetric")),
        (
            {"activation_bits": 4, "activation_quantizer": "dynamic"},
            ("activation_bits is 4", "dynamic has 8"),
        ),
        (
            {"activation_bits": 8, "activation_quantizer": "ema", "activation_granularity": "row"},
            ("activation_granularity is row", "ema"),
        ),
    ],
)
def test_impossible_bits_are_refused(changes, words):
    with pytest.raises(UserError) as error:
        QuantConfig(**changes)
    refuses(error, *words)
