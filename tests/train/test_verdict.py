"""Students that have learnt nothing, by their scores."""

import numpy as np
import pytest

from src.examples import Examples, offsets_of
from src.kinds import CLASSIFICATION, REGRESSION, TAGGING
from src.train.verdict import no_better_than_a_constant


def rows_of(kind, labels):
    """Rows of one token with these labels."""
    ones = np.ones(len(labels), np.int32)
    (column,) = kind.columns
    return Examples(ones, ones, offsets_of(ones), {column: np.asarray(labels, column.dtype)})


def judged(results, labels, kind=CLASSIFICATION):
    return no_better_than_a_constant("phase2", results, tuple(results), rows_of(kind, labels))


HALF, RARE = [0, 1] * 100, [0] * 95 + [1] * 5


@pytest.mark.parametrize(
    "kind, results, labels, says, certain",
    [
        (CLASSIFICATION, {"accuracy": 0.5}, HALF, "Accuracy is 50.00, and 50.00 is what", True),
        (CLASSIFICATION, {"accuracy": 0.45}, HALF, "Accuracy is 45.00, and 50.00 is what", True),
        (CLASSIFICATION, {"accuracy": 0.505}, HALF, "", False),
        (CLASSIFICATION, {"accuracy": 0.5}, HALF[:98], "on the 98 rows", False),
        (CLASSIFICATION, {"accuracy": 0.95}, RARE, "95.00 is what the best constant answer reaches", False),
        (CLASSIFICATION, {"accuracy": 0.96}, RARE, "", False),
        (CLASSIFICATION, {"accuracy": 1.0}, [1] * 200, "", False),
        # F1 is 66.67 where everything is of class 1: one metric above suffices.
        (CLASSIFICATION, {"f1": 0.6, "accuracy": 0.7}, HALF, "", False),
        (CLASSIFICATION, {"f1": 2 / 3, "accuracy": 0.5}, HALF, "F1 is 66.67, and 66.67", True),
        (CLASSIFICATION, {"matthews": 0.0}, [1] * 200, "", False),  # 0 whatever is answered
        (REGRESSION, {"pearson": 0.0, "spearman": 0.0}, np.arange(200.0), "Pearsonr is 0.00", True),
        (REGRESSION, {"pearson": -0.01, "spearman": 0.02}, np.arange(200.0), "", False),
        (TAGGING, {"entity_f1": 0.0}, HALF, "Entity F1 is 0.00", True),
        (TAGGING, {"entity_f1": 0.01}, HALF, "", False),
    ],
)
def test_a_student_must_be_above_the_best_constant_answer(kind, results, labels, says, certain):
    line, sure = judged(results, labels, kind)
    assert sure == certain and bool(line) == bool(says) and says in line


def test_the_step_of_the_best_score_is_said():
    rows = rows_of(CLASSIFICATION, HALF)
    line, _ = no_better_than_a_constant("finetune", {"accuracy": 0.5, "step": 84}, ("accuracy",), rows)
    assert line.startswith("finetune: the student has learnt nothing") and "50.00 at step 84, and" in line
