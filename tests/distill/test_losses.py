"""Loss terms against PyTorch."""

import mindspore as ms
import numpy as np
import pytest

from src.distill import losses

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def arrays(*shapes):
    random = np.random.default_rng(0)
    return [random.normal(size=shape).astype(np.float32) for shape in shapes]


def as_tensors(items, kind):
    return tuple(kind(item) for item in items)


def test_hidden_loss_sums_the_layers_mean_squared_errors():
    student, teacher = arrays((2, 4, 5), (2, 4, 5)), arrays((2, 4, 5), (2, 4, 5))[::-1]
    counted = np.bool_([[1, 1, 1, 0], [1, 1, 0, 0]])
    expected = sum(
        float(functional.mse_loss(torch.tensor(x[counted]), torch.tensor(y[counted])))
        for x, y in zip(student, teacher)
    )
    tokens, count = ms.Tensor(np.float32(counted)[..., None]), ms.Tensor(5.0, ms.float32)
    found = losses.hidden_loss(as_tensors(student, ms.Tensor), as_tensors(teacher, ms.Tensor), tokens, count)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_attention_loss_is_tinyberts_with_masked_scores_set_to_zero():
    mask = np.float32([[1, 1, 1, 0], [1, 1, 0, 0]])
    added = (1 - mask)[:, None, None] * -10000.0
    student, teacher = (
        [item + added for item in arrays((2, 3, 4, 4), (2, 3, 4, 4))],
        [item * 2 + added for item in arrays((2, 3, 4, 4), (2, 3, 4, 4))],
    )
    expected = 0.0
    for x, y in zip(map(torch.tensor, student), map(torch.tensor, teacher)):
        expected += float(functional.mse_loss(torch.where(x <= -1e2, 0.0, x), torch.where(y <= -1e2, 0.0, y)))
    pairs, count = ms.Tensor(mask[:, None, None]), ms.Tensor(2 * 4 * 4, ms.float32)
    found = losses.attention_loss(
        as_tensors(student, ms.Tensor), as_tensors(teacher, ms.Tensor), pairs, count
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_cross_entropy_is_tinyberts_mean_over_all_logits(temperature):
    student, teacher = arrays((6, 3), (6, 3))
    expected = (
        -functional.softmax(torch.tensor(teacher) / temperature, -1)
        * functional.log_softmax(torch.tensor(student) / temperature, -1)
    ).mean()
    found = losses.soft_cross_entropy(ms.Tensor(student), ms.Tensor(teacher), temperature).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_label_cross_entropy_is_the_mean_over_rows():
    (logits,), labels = arrays((6, 3)), np.int32([0, 2, 1, 1, 0, 2])
    expected = functional.cross_entropy(torch.tensor(logits), torch.tensor(labels).long())
    assert float(losses.label_cross_entropy(ms.Tensor(logits), ms.Tensor(labels)).mean()) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_the_tokens_of_a_row_that_may_be_answers_compete_in_places_of_their_own():
    """Three rows in two bins of 8, then one that is not there: [CLS] question [SEP] window [SEP]."""
    mask = np.int32([[1, 1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 1, 1, 0, 0]])
    segments = np.int32([[0, 0, 0, 1, 1, 0, 0, 1], [0, 0, 1, 1, 1, 1, 0, 0]])
    first = np.int32([0, 5, 8, -1])
    competing = [[0, 3], [5], [8, 10, 11, 12]]  # among the 16; the second row's window has no token
    labels = np.int32([[3, 3], [0, 0], [2, 4], [0, 0]])
    student, teacher = arrays((2, 8, 2), (2, 8, 2))
    temperature, soft, hard, gradient = 2.0, [], [], np.zeros((16, 2))
    for row, places in enumerate(competing):
        own, other = (logits.reshape(16, 2)[places].astype(np.float64) for logits in (student, teacher))
        log_own, log_soft = (own / t - np.log(np.exp(own / t).sum(0)) for t in (1, temperature))
        target = np.exp(other / temperature) / np.exp(other / temperature).sum(0)
        soft.append(-(target * log_soft).sum(0).mean())
        right = [places.index(first[row] + place) for place in labels[row]]
        hard.append(-np.mean([log_own[place, output] for output, place in enumerate(right)]))
        gradient[places] = np.exp(log_own) / 2
        for output, place in enumerate(right):
            gradient[places[place], output] -= 0.5

    where = ms.Tensor(mask), ms.Tensor(segments), ms.Tensor(first)
    rows = losses.places_of_rows(ms.Tensor(student), *where)
    taught = losses.places_of_rows(ms.Tensor(teacher), *where)
    assert rows.shape == (4, 2, 8)
    found = losses.soft_cross_entropy_of_places(rows, taught, temperature).asnumpy()
    np.testing.assert_allclose(found[:3], soft, atol=1e-5)
    assert np.isfinite(found[3])  # it counts nowhere, but nan times 0 would

    def label_loss(logits):
        values = losses.label_cross_entropy_of_places(
            losses.places_of_rows(logits, *where), ms.Tensor(labels)
        )
        return (values * ms.Tensor(first >= 0, ms.float32)).sum()

    value, slope = ms.value_and_grad(label_loss)(ms.Tensor(student))
    assert float(value) == pytest.approx(sum(hard), rel=1e-5)
    np.testing.assert_allclose(slope.asnumpy().reshape(16, 2), gradient, atol=1e-5)


def test_cross_entropy_of_tokens_leaves_out_those_without_a_label():
    (logits,) = arrays((2, 3, 4))
    labels = np.int32([[-1, 2, 0], [3, -1, -1]])
    found = losses.label_cross_entropy_of_tokens(ms.Tensor(logits), ms.Tensor(labels)).asnumpy()
    given = torch.tensor(logits).reshape(-1, 4), torch.tensor(labels, dtype=torch.long).reshape(-1)
    expected = functional.cross_entropy(*given, ignore_index=-1, reduction="none").reshape(2, 3)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)
