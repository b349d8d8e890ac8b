"""A step of packed micro-batches against the same rows padded, in one batch. Eagerly: graphs of packed steps
are those of test_distributed.py.
"""

import numpy as np
import pytest
from mindspore import nn

from src.data.steps import PackedSteps, PaddedSteps
from src.distill.distiller import Distiller, LossTerms, Projection
from src.kinds import CLASSIFICATION
from src.train.step import LossScale, TrainStep
from tests.helpers import answers_of, make_examples, tensors, tiny_network, weights_of


def update_of(batches):
    """(loss terms, what plain gradient descent subtracts from every weight) of the first step."""
    student, teacher = tiny_network(2, num_hidden_layers=1, labels=2), tiny_network(1, labels=2)
    terms = LossTerms(attention_loss=1.0, hidden_loss=1.0, soft_loss=1.0, label_loss=0.5)
    distiller = Distiller(student, terms, Projection(16, 16, 0.1), CLASSIFICATION)
    before = weights_of(student)
    step = TrainStep(distiller, nn.SGD(distiller.trainable_params(), 1.0), LossScale(), 0.0, batches.several)
    micro = [tuple(tensors(*batch.arrays)) for batch in next(iter(batches))]
    terms, *_ = step.run([arrays + answers_of(teacher, distiller, arrays) for arrays in micro])
    return step.read_terms(terms), {n: before[n] - value for n, value in weights_of(student).items()}


def test_the_update_of_packed_micro_batches_is_that_of_the_padded_whole_batch():
    examples = make_examples(12, 20)
    padded = update_of(PaddedSteps(examples, 12, 1, (20,), shuffle=False))
    steps = PackedSteps(examples, 12, 1, 40, shuffle=False)
    assert len(next(iter(steps))) >= 4
    terms, update = update_of(steps)
    assert terms == pytest.approx(padded[0], rel=1e-5)
    largest = max(np.linalg.norm(item) for item in padded[1].values())
    for name, value in padded[1].items():
        assert np.linalg.norm(update[name] - value) < 1e-5 * max(np.linalg.norm(value), 0.01 * largest)
