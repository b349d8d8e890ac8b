"""Scores of a teacher that were measured before."""

import os
from dataclasses import replace

import numpy as np
import pytest

from src.train.known_scores import known_scores
from tests.helpers import as_model, make_examples, tiny_network


@pytest.fixture(scope="module")
def teacher():
    return as_model(tiny_network(labels=2))


class Measured:
    """Counts how often it is asked."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        return {"accuracy": 0.5, "rows": self.times}


def changed(examples, place):
    ids = examples.input_ids.copy()
    ids[place] += 1
    return replace(examples, input_ids=ids)


def test_the_same_teacher_on_the_same_rows_is_measured_once(tmp_path, teacher, capsys):
    measure, rows, folder = Measured(), make_examples(5, 8), str(tmp_path / "kept")
    first = known_scores(folder, teacher, {"eval": rows}, ("accuracy",), measure)
    assert known_scores(folder, teacher, {"eval": make_examples(5, 8)}, ("accuracy",), measure) == first
    assert measure.times == 1 and "before" in capsys.readouterr().out
    assert known_scores("", teacher, {"eval": rows}, ("accuracy",), measure)["rows"] == 2


@pytest.mark.parametrize(
    "what",
    ["a token", "a label", "a split's name", "the metrics", "a weight", "a damaged file", "a changed score"],
)
def test_another_one_is_measured_anew(tmp_path, teacher, what):
    measure, rows, how = Measured(), make_examples(5, 8), ("accuracy",)
    evals, other = {"eval": rows}, teacher
    known_scores(str(tmp_path), teacher, evals, how, measure)
    if what == "a token":
        evals = {"eval": changed(rows, 3)}
    elif what == "a label":
        evals = {"eval": replace(rows, columns={key: 1 - value for key, value in rows.columns.items()})}
    elif what == "a split's name":
        evals = {"eval_mm": rows}
    elif what == "the metrics":
        how = ("f1",)
    elif what == "a weight":
        other = as_model(tiny_network(seed=1, labels=2))
    else:
        (path,) = tmp_path.iterdir()
        kept = path.read_text()
        path.write_text("{" if what == "a damaged file" else kept.replace("0.5", "0.7"))
        assert path.read_text() != kept
    assert known_scores(str(tmp_path), other, evals, how, measure)["rows"] == 2
    assert np.all([name.endswith(".json") for name in os.listdir(tmp_path)])
