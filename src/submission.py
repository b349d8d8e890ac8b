"""Files of predictions for test sets, as a benchmark's page asks for them.

A new benchmark is a function here and a line in `LAYOUTS`; a task of the table names its own.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np

from src.errors import UserError
from src.files import write_text
from src.sources import ClueTopics

if TYPE_CHECKING:
    from src.data.test_sets import TestSet
    from src.description import Description
    from src.tasks import Task

# GLUE's tasks whose class is asked for by its number, their two files, and the range of the one score.
_BY_NUMBER = ("CoLA", "SST-2", "MRPC", "QQP", "WNLI")
_FILES = {("MNLI", "test"): "MNLI-m", ("MNLI", "eval"): "MNLI-m"}
_FILES |= {("MNLI", "test_mm"): "MNLI-mm", ("MNLI", "eval_mm"): "MNLI-mm"}
_FILES |= {("MNLI", "test_ax"): "AX"}  # GLUE's diagnostic set
_SCORES = {"STS-B": (0.0, 5.0)}


def glue(task: Task, description: Description, test_set: TestSet, logits: np.ndarray) -> dict[str, str]:
    """{name of the file: its text} as gluebenchmark.com has it: a header, then a row's number and answer.

    Args:
        task (Task): of the rows. description (Description): of the model.
        test_set (TestSet): the rows. logits (ndarray): float32 (N, C), theirs.
    """
    answers = _answers(task, description, test_set, logits)
    lines = [("index", "prediction"), *zip(test_set.names, answers)]
    name = _FILES.get((task.name, test_set.split), task.name)
    return {f"{name}.tsv": "".join(f"{row}\t{answer}\n" for row, answer in lines)}


def plain_lines(
    task: Task, description: Description, test_set: TestSet, logits: np.ndarray
) -> dict[str, str]:
    """output.txt as nlp_architect writes it: a row's answer a line, in the rows' order; arguments as for
    `glue`.

    Raises:
        UserError: the answers are parts of the texts.
    """
    if description.head_kind.logits_per != "row":
        raise UserError(
            f"layout: output.txt holds a class or number a line, but {task.name} is answered with parts of "
            "its texts; run predict.py with --layout benchmark"
        )
    answers = _answers(task, description, test_set, logits)
    name = "output" + test_set.split.removeprefix("test").removeprefix("eval")
    return {f"{name}.txt": "".join(f"{answer}\n" for answer in answers)}


def _answers(task, description, test_set, logits):
    """The text of each row's class or number, as GLUE has it; arguments as for `glue`."""
    found = description.head_kind.predictions(logits)
    if description.outputs == 1:
        least, most = _SCORES.get(task.name, (-float("inf"), float("inf")))
        return [f"{min(max(float(value), least), most):.3f}" for value in found]
    words = test_set.labels or description.label_names
    return [str(index) if task.name in _BY_NUMBER else words[index] for index in found]


def clue_topics(
    task: Task, description: Description, test_set: TestSet, logits: np.ndarray
) -> dict[str, str]:
    """TNEWS as cluebenchmarks.com has it: JSON lines with the row's number, and the class's; arguments as for
    `glue`.
    """
    assert isinstance(task.source, ClueTopics)  # no other task has this layout
    numbers = {name: number for number, name in task.source.names}
    words = test_set.labels or description.label_names
    lines = []
    for row, index in zip(test_set.names, description.head_kind.predictions(logits)):
        lines.append({"id": _number(row), "label": numbers[words[index]], "label_desc": words[index]})
    return {"tnews_predict.json": _lines(lines)}


def entities(task: Task, description: Description, test_set: TestSet, logits: np.ndarray) -> dict[str, str]:
    """JSON lines as own tags are read: the text and [start, end, type] of its entities; arguments as for
    `glue`.
    """
    return {f"{task.name}.jsonl": _lines(_tagged(description, test_set, logits))}


def clue_entities(
    task: Task, description: Description, test_set: TestSet, logits: np.ndarray
) -> dict[str, str]:
    """CLUENER as cluebenchmarks.com has it: {type: {surface: [[start, end]]}}, ends inclusive; arguments as
    for `glue`.
    """
    answers = []
    for item in _tagged(description, test_set, logits):
        label: dict[str, dict[str, list[list[int]]]] = {}
        for start, end, name in item["entities"]:
            label.setdefault(name, {}).setdefault(item["text"][start:end], []).append([start, end - 1])
        answers.append({"id": item["id"], "label": label})
    return {"cluener_predict.json": _lines(answers)}


def _tagged(description, test_set, logits):
    """[{"id", "text", "entities"}] of each row.

    Raises:
        UserError: the rows are records, which keep no texts.
    """
    if not test_set.rows:
        raise UserError(
            "data_dir: the answers are parts of the texts, so give the raw files, not records of them"
        )
    labels = test_set.labels or description.label_names
    outcomes = description.head_kind.outcomes(logits, test_set.examples, test_set.rows, labels)
    found = []
    for name, row, outcome in zip(test_set.names, test_set.rows, outcomes):
        places = [[entity[key] for key in ("start", "end", "type")] for entity in outcome["entities"]]
        found.append({"id": _number(name), "text": row.text, "entities": places})
    return found


def squad(task: Task, description: Description, test_set: TestSet, logits: np.ndarray) -> dict[str, str]:
    """The files that SQuAD's own script reads; arguments as for `glue`."""
    files = description.head_kind.predictions_of(logits, test_set.examples)
    return {name: json.dumps(value, ensure_ascii=False) + "\n" for name, value in files.items()}


def _number(name):
    return int(name) if name.isdecimal() else name


def _lines(values):
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


LAYOUTS = {
    "glue": glue,
    "clue_topics": clue_topics,
    "clue_entities": clue_entities,
    "entities": entities,
    "squad": squad,
    "lines": plain_lines,
}
"""{name: function} with the arguments and the result of `glue`."""


def write_predictions(
    folder: str,
    task: Task,
    description: Description,
    test_set: TestSet,
    logits: np.ndarray,
    layout: str = "benchmark",
) -> list[str]:
    """Write a test set's predictions; returns the paths. Arguments as for `glue`.

    Args:
        layout (str): a key of `LAYOUTS`, or "benchmark" for the task's own.

    Raises:
        UserError: the disk does not take the file.
    """
    if layout == "benchmark":
        layout = task.submission or description.head_kind.submission
    files = LAYOUTS[layout](task, description, test_set, logits)
    paths = {os.path.join(folder, name): text for name, text in files.items()}
    for path, text in paths.items():
        write_text(path, text)
    return list(paths)
