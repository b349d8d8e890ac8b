"""What a run leaves for its report never costs a training its result, and is never left out in silence."""

import json
import os

import mindspore as ms
import numpy as np
import pytest

from src.data.micro_batches import MicroBatch
from src.distill.distiller import Distiller, LossTerms, Projection
from src.distill.teacher import LiveTeacher
from src.kinds import CLASSIFICATION
from src.nn.layers import eager
from src.report import layers, page
from src.report.predictions import Predictions
from src.run_folder import RunFolder
from src.runtime import ALONE, Group
from src.train.report_files import keep_answers, keep_layers, keep_record, write_report
from tests.helpers import as_model, fill, micro_batch, random_batch, tensors, tiny_network, weights_of
from tests.numpy_bert import NumpyBert
from tests.reports import LABELS, classes, write_run

KNOWN = {"teacher": None, "made_from": {}, "students": ["x"], "compares_layers": True}
"""What a run knows of itself as it begins."""


class Described:
    kind, label_names = CLASSIFICATION, LABELS


class Trained:
    """A stage of which there is no micro-batch to look at."""

    name, last_batch, group, sink_steps = "quantized", None, ALONE, 0

    class loss_network:
        class terms:
            compares_layers = True


class Fitted:
    """A stage that has trained a student with dropout, 12 wide, of one layer, which learns from the second
    layer of a teacher 16 wide; its last micro-batch holds four rows of different lengths.
    """

    name, group, sink_steps = "phase1", ALONE, 0

    def __init__(self, run):
        self.run = run
        self.networks = [
            tiny_network(
                seed, labels=2, num_hidden_layers=depth, hidden_size=width, hidden_dropout_prob=dropout
            )
            for seed, depth, width, dropout in ((1, 1, 12, 0.5), (2, 2, 16, 0.0))
        ]
        self.student = as_model(self.networks[0])
        terms = LossTerms(attention_loss=1.0, hidden_loss=1.0)
        self.loss_network = Distiller(self.networks[0], terms, fill(Projection(12, 16, 0.02), 3))
        self.loss_network.set_train(True)
        self.teacher = LiveTeacher(self.loss_network.ask(self.networks[1]))
        self.rows = random_batch(labels=2)[:3]
        *inputs, totals = micro_batch(*self.rows)
        lengths = self.rows[1].sum(axis=1)
        self.last_batch = MicroBatch(np.arange(4), inputs[4], lengths, tuple(inputs), (), totals)

    def ask(self, batch):
        with eager():
            return tensors(*batch.arrays), self.teacher.network(*tensors(*batch.inputs))


def test_layers_are_compared_as_numpys_networks_compare_them(tmp_path):
    stage = Fitted(RunFolder(str(tmp_path)))
    keep_layers(stage)
    found = layers.read(str(tmp_path / "layers.json"))["phase1"]
    projection = weights_of(stage.loss_network.projection)
    weight, bias = projection["fit_dense.weight"], projection["fit_dense.bias"]
    sums = np.zeros((3, 2))  # of the two states and the scores: squared distances, the teacher's squares
    for ids, mask, segments in zip(*stage.rows):
        row = [values[: mask.sum()] for values in (ids, mask, segments)]
        (_, student, scores), (_, teacher, further) = (
            NumpyBert(weights_of(network), network.config).row(*row) for network in stage.networks
        )
        pairs = [*((state @ weight.T + bias, teacher[2 * n]) for n, state in enumerate(student))]
        for place, (own, other) in enumerate([*pairs, (scores[0], further[1])]):
            sums[place] += np.square(own - other).sum(), np.square(other).sum()
    expected = sums[:, 0] / sums[:, 1]
    np.testing.assert_allclose([*found.hidden, *found.attention], expected, rtol=1e-4)
    assert found.rows == 4 and found.stride == 2
    assert stage.networks[0].training and ms.get_context("mode") == ms.GRAPH_MODE  # as it was


def test_answers_and_the_record_of_the_command_lie_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/train.py", "--seed", "3"])
    run, given = RunFolder(str(tmp_path)), classes()
    elsewhere = str(tmp_path.parent / "students" / "gd")
    keep_record(run, "CPU", Group(0, 2), **{**KNOWN, "teacher": {"accuracy": 0.5}, "students": [elsewhere]})
    keep_answers(run, Described, given.logits, given.examples)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["command"] == ["train.py", "--seed", "3"] and record["teacher"] == {"accuracy": 0.5}
    assert record["students"] == [os.path.join("..", "students", "gd")] and record["compares_layers"] is True
    assert record["processes"] == 2 and record["versions"]["numpy"].startswith("1.")
    assert Predictions.load(str(tmp_path / "predictions.npz")).labels == LABELS


def test_only_the_first_process_leaves_anything(tmp_path):
    run, given = RunFolder(str(tmp_path), writes=False), classes()
    keep_record(run, "CPU", ALONE, **KNOWN)
    keep_answers(run, Described, given.logits, given.examples)
    Trained.run = run
    keep_layers(Trained)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fault", [RuntimeError("no\nfont"), OSError(28, "No space left on device")])
def test_a_report_that_cannot_be_drawn_is_said_in_a_line(tmp_path, monkeypatch, capsys, fault):
    monkeypatch.setattr(page.figures, "panel", lambda _: (_ for _ in ()).throw(fault))
    folder = write_run(tmp_path / "run")
    assert not write_report(RunFolder(str(folder)))
    said = capsys.readouterr().out
    assert said.startswith(f"report.html is not written: {type(fault).__name__}: ") and said.count("\n") == 1
    assert not (folder / "report.html").exists()
    monkeypatch.undo()
    assert write_report(RunFolder(str(folder))) and (folder / "report.html").exists()


def test_what_cannot_be_kept_is_said_in_a_line_each(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    run, given = RunFolder(str(tmp_path / "file")), classes()
    keep_record(run, "CPU", ALONE, **KNOWN)
    keep_answers(run, Described, given.logits, given.examples)
    Trained.run = run
    keep_layers(Trained)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" is not written: ")[0] for line in lines] == [
        "run.json",
        "predictions.npz",
        "layers.json",
    ]
