"""What a run leaves for its report, and the report. None of it may cost a training its result: what cannot be
written is said in a line, and the training goes on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from src.errors import UserError, one_line
from src.nn.layers import eager
from src.report import layers
from src.report.predictions import Predictions
from src.report.run import write_record
from src.run_folder import LAYERS_FILE, PREDICTIONS_FILE, RECORD_FILE, REPORT_FILE, RunFolder
from src.terminal import say

if TYPE_CHECKING:
    import numpy as np

    from src.description import Description
    from src.examples import Examples
    from src.runtime import Group
    from src.train.stage import Stage


@contextlib.contextmanager
def _or_said(name: str) -> Iterator[None]:
    """Whatever goes wrong while this lasts is said: a disk that is full, a library that is not there, a fault
    in a picture."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        say(f"{name} is not written: {kind}{one_line(error)}")


def keep_record(
    run: RunFolder,
    device: str,
    group: Group,
    teacher: dict[str, float] | None,
    made_from: dict[str, Any],
    students: Sequence[str],
    compares_layers: bool,
) -> None:
    """Write run.json; arguments as of `write_record`."""
    if run.writes:
        with _or_said(RECORD_FILE):
            path = run.join(RECORD_FILE)
            write_record(path, device, group.size, teacher, made_from, students, compares_layers)


def keep_answers(run: RunFolder, description: Description, logits: np.ndarray, examples: Examples) -> None:
    """Write a student's answers to the evaluation rows, of which `evaluate` gives the last two."""
    if run.writes:
        with _or_said(PREDICTIONS_FILE):
            assert description.kind is not None  # a student of a task
            predictions = Predictions(logits, examples, description.kind, description.label_names)
            predictions.save(run.join(PREDICTIONS_FILE))


def keep_layers(stage: Stage) -> None:
    """Note how far the student's layers are from the teacher's, where a stage has compared them: on the
    last micro-batch that it trained on. The teacher answers as it did in training, and the student runs
    operator by operator, so that no graph is compiled for it.
    """
    if not stage.loss_network.terms.compares_layers or not stage.run.writes:
        return
    with _or_said(LAYERS_FILE):
        if stage.sink_steps or stage.group.size > 1:
            raise UserError("layers are compared where one process trains without a data sink")
        if stage.last_batch is None:
            raise UserError("no step was left to train, so there are no rows to compare layers on")
        layers.note(stage.run.join(LAYERS_FILE), stage.name, _distances(stage))


def _distances(stage):
    """The `LayerDistances` of a `Stage`'s last micro-batch."""
    loss, batch = stage.loss_network, stage.last_batch
    inputs, answers = stage.ask(batch)
    with stage.student.evaluating(), eager():
        _, states, scores = loss.student(*inputs[:5])
        states = [loss.projection(state) if loss.project else state for state in states]
    answers = [answer.asnumpy() for answer in answers]
    return layers.distances(
        [state.asnumpy() for state in states[: loss.states]],
        [score.asnumpy() for score in scores[: loss.scores]],
        answers[: loss.states],
        answers[loss.states : loss.states + loss.scores],
        batch.inputs[1],
        stage.teacher.network.stride,
        len(batch.rows),
    )


def write_report(run: RunFolder) -> bool:
    """Write the page of a run; returns whether it is there."""
    with _or_said(REPORT_FILE):
        from src.report.page import write_report as write  # Jinja2 and matplotlib: only here

        write(run.path)
        return True
    return False
