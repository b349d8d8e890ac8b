"""The backbone against golden numbers, transformers and the NumPy BERT."""

import mindspore as ms
import numpy as np
import pytest

from src.data.bins import Shape
from src.data.micro_batches import lay_out, totals_of
from src.examples import Examples, offsets_of
from src.model import Model
from src.nn.heads import BertForSequence, BertForTokens, Logits
from src.nn.layers import eager
from tests.helpers import (
    fill,
    golden,
    golden_checkpoint,
    needs_golden,
    random_batch,
    tensors,
    tiny_config,
    tiny_network,
    torch_twin,
    weights_of,
)
from tests.numpy_bert import NumpyBert


def assert_close(found, expected, tolerance=1e-4):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours.asnumpy(), theirs, atol=tolerance, rtol=0)


def unmasked(scores, mask):
    """Scores with those of padding keys set to 0: there -10000 leaves float32 three decimals."""
    return [np.asarray(item) * mask[:, None, None, :] for item in scores]


def assert_same_outputs(outputs, expected, mask, tolerance=1e-4):
    logits, states, scores = outputs
    assert_close([logits], [expected[0]], tolerance)
    assert_close(states, expected[1], tolerance)
    for ours, theirs in zip(unmasked([item.asnumpy() for item in scores], mask), unmasked(expected[2], mask)):
        np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=0)


@needs_golden
def test_golden_teacher_gives_the_published_hidden_states_scores_and_logits():
    numbers, checkpoint = golden("tinybert"), golden_checkpoint("tinybert_teacher")
    inputs = [numbers[name].astype(np.int32) for name in ("input_ids", "input_mask", "segment_ids")]
    expected = (
        numbers["teacher_logits"],
        [numbers[f"teacher_hidden.{index}"] for index in range(7)],
        [numbers[f"teacher_scores.{index}"] for index in range(6)],
    )
    with eager():  # graphs are compared with the NumPy BERT below
        assert_same_outputs(Model.from_checkpoint(checkpoint).network(*tensors(*inputs)), expected, inputs[1])


@needs_golden
def test_golden_ternarybert_teacher_without_relu_gives_the_published_logits():
    numbers, checkpoint = golden("ternarybert"), golden_checkpoint("ternarybert_model", False)
    inputs = tensors(*(numbers[name].astype(np.int32) for name in ("input_ids", "input_mask", "segment_ids")))
    with eager():
        logits = Logits(Model.from_checkpoint(checkpoint).network)(*inputs)
    np.testing.assert_allclose(logits.asnumpy(), numbers["teacher_logits"], atol=1e-4)


def test_numpy_bert_agrees_with_transformers():
    torch = pytest.importorskip("torch")
    network, (ids, mask, segments, _) = tiny_network(3), random_batch(3)
    with torch.no_grad():
        theirs = torch_twin(network)(
            *(torch.tensor(item).long() for item in (ids, mask, segments)), output_hidden_states=True
        )
    logits, states, _ = NumpyBert(weights_of(network), network.config)(ids, mask, segments)
    np.testing.assert_allclose(logits, theirs.logits.numpy(), atol=1e-6)
    for ours, their in zip(states, theirs.hidden_states):
        np.testing.assert_allclose(ours, their.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden_act": "gelu_new", "classifier_relu": True, "layer_norm_eps": 1e-2},
        {"use_relative_positions": True, "max_relative_position": 3, "hidden_act": "relu"},
    ],
    ids=["plain", "tanh gelu, classifier relu, large epsilon", "relative positions"],
)
def test_forward_pass_is_the_numpy_berts_at_several_lengths(changes):
    network = tiny_network(5, num_hidden_layers=1, **changes)  # the golden one above has six layers
    reference = NumpyBert(weights_of(network), network.config)
    inputs = random_batch(10, rows=3, length=10)[:3]
    assert_same_outputs(network(*tensors(*inputs)), reference(*inputs), inputs[1])
    inputs = random_batch(6, rows=3, length=6)[:3]
    with eager():  # one set of weights, several lengths
        assert_same_outputs(network(*tensors(*inputs)), reference(*inputs), inputs[1])


@pytest.mark.parametrize("relative", [False, True], ids=["position embeddings", "relative positions"])
def test_padding_does_not_change_the_logits(relative):
    network = Logits(tiny_network(6, num_hidden_layers=1, use_relative_positions=relative))
    inputs = random_batch(1, rows=3, length=8)[:3]
    ids, mask, segments = (np.pad(item, ((0, 0), (0, 5))) for item in inputs)
    with eager():
        short = network(*tensors(*inputs)).asnumpy()
        ids[mask == 0] = 7  # nor does what the padding holds
        np.testing.assert_allclose(network(*tensors(ids, mask, segments)).asnumpy(), short, atol=1e-5)
        ids[0, 1] = 9 if ids[0, 1] != 9 else 10  # a real token does
        assert np.abs(network(*tensors(ids, mask, segments)).asnumpy() - short)[0].max() > 1e-4


def test_relative_positions_need_no_position_embeddings_and_have_no_longest_row():
    network = tiny_network(7, num_hidden_layers=1, use_relative_positions=True, max_position_embeddings=4)
    assert not [name for name in weights_of(network) if "position_embeddings" in name]
    with eager():
        assert Logits(network)(*tensors(*random_batch(length=9)[:3])).shape == (4, 3)


def test_float16_products_are_close_to_float32_and_outputs_are_float32():
    inputs = tensors(*random_batch(2)[:3])
    with eager():
        exact = tiny_network(8, num_hidden_layers=1)(*inputs)
    try:
        half = fill(BertForSequence(tiny_config(num_hidden_layers=1), 3, ms.float16), 8)(*inputs)
        found = [item.asnumpy() for item in (half[0], *half[1])]
    except (RuntimeError, TypeError) as error:
        pytest.skip(f"no float16 kernel on this device: {str(error)[:100]}")
    assert {item.dtype for item in (half[0], *half[1], *half[2])} == {ms.float32}
    for ours, reference in zip(found, (exact[0], *exact[1])):
        np.testing.assert_allclose(ours, reference.asnumpy(), atol=0.05)
    assert any(
        not np.array_equal(ours, reference.asnumpy()) for ours, reference in zip(found, (exact[0], *exact[1]))
    )


def test_a_head_for_tokens_has_no_pooler_and_answers_as_numpy_does_padded_and_packed():
    network = fill(BertForTokens(tiny_config(num_hidden_layers=1, classifier_relu=True), 3), 4)
    assert not [name for name in weights_of(network) if "pooler" in name]
    ids, mask, segments, _ = random_batch(3, rows=2, length=8)
    expected = NumpyBert(weights_of(network), network.config)(ids, mask, segments)[0]
    kept, lengths = mask > 0, mask.sum(axis=1)
    rows = Examples(ids[kept], segments[kept], offsets_of(lengths))
    packed = lay_out(rows, [[1, 0]], Shape(1, 16, 2), totals_of(rows, [1, 0]))  # both in one bin
    with eager():
        padded = network(*tensors(ids, mask, segments))[0].asnumpy()
        found = network(*tensors(*packed.inputs))[0].asnumpy()
    np.testing.assert_allclose(padded, expected, atol=1e-4)
    by_row = np.split(found[0][packed.places], [lengths[1]])
    for row, logits in zip((1, 0), by_row):
        np.testing.assert_allclose(logits, expected[row][: lengths[row]], atol=1e-4)


def test_dropout_acts_while_training_only():
    network = Logits(tiny_network(9, num_hidden_layers=1, hidden_dropout_prob=0.5))
    inputs = tensors(*random_batch(2)[:3])
    with eager():  # of dropout alone, tests/nn/test_dropout.py compiles a graph
        calm = network.set_train(False)(*inputs).asnumpy()
        np.testing.assert_array_equal(network(*inputs).asnumpy(), calm)
        assert not np.array_equal(network.set_train(True)(*inputs).asnumpy(), calm)
