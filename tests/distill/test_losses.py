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


def test_cross_entropy_of_tokens_leaves_out_those_without_a_label():
    (logits,) = arrays((2, 3, 4))
    labels = np.int32([[-1, 2, 0], [3, -1, -1]])
    found = losses.label_cross_entropy_of_tokens(ms.Tensor(logits), ms.Tensor(labels)).asnumpy()
    given = torch.tensor(logits).reshape(-1, 4), torch.tensor(labels, dtype=torch.long).reshape(-1)
    expected = functional.cross_entropy(*given, ignore_index=-1, reduction="none").reshape(2, 3)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)
