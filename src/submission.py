"""Files of predictions for test sets, as a benchmark's page asks for them.

A new benchmark is a function here and a line in `LAYOUTS`; a task of the table names its own.
"""

import json
import os

from src.files import write_text
from src.metrics import check_finite

# GLUE's tasks whose class is asked for by its number, their two files, and the range of the one score.
_BY_NUMBER = ("CoLA", "SST-2", "MRPC", "QQP", "WNLI")
_FILES = {("MNLI", "test"): "MNLI-m", ("MNLI", "eval"): "MNLI-m"}
_FILES |= {("MNLI", "test_mm"): "MNLI-mm", ("MNLI", "eval_mm"): "MNLI-mm"}
_SCORES = {"STS-B": (0.0, 5.0)}


def glue(task, description, test_set, logits):
    """{name of the file: its text} as gluebenchmark.com has it: a header, then a row's number and answer.

    Args:
        task (Task): of the rows. description (Description): of the model.
        test_set (TestSet): the rows. logits (ndarray): float32 (N, C), theirs.
    """
    found = description.kind.predictions(logits)
    if description.outputs == 1:
        least, most = _SCORES.get(task.name, (-float("inf"), float("inf")))
        answers = [f"{min(max(float(value), least), most):.3f}" for value in found]
    else:
        words = test_set.labels or description.label_names
        answers = [str(index) if task.name in _BY_NUMBER else words[index] for index in found]
    lines = [("index", "prediction"), *zip(test_set.names, answers)]
    name = _FILES.get((task.name, test_set.split), task.name)
    return {f"{name}.tsv": "".join(f"{row}\t{answer}\n" for row, answer in lines)}


def clue_topics(task, description, test_set, logits):
    """TNEWS as cluebenchmarks.com has it: JSON lines with the row's number, and the class's; arguments as for
    `glue`.
    """
    numbers = {name: number for number, name in task.source.names}
    words = test_set.labels or description.label_names
    lines = []
    for row, index in zip(test_set.names, description.kind.predictions(logits)):
        number = int(row) if row.isdecimal() else row
        lines.append({"id": number, "label": numbers[words[index]], "label_desc": words[index]})
    return {"tnews_predict.json": "".join(json.dumps(line) + "\n" for line in lines)}


LAYOUTS = {"glue": glue, "clue_topics": clue_topics}
"""{name: function} with the arguments and the result of `glue`."""


def write_predictions(folder, task, description, test_set, logits):
    """Write a test set's predictions in its task's layout; returns the paths. Arguments as for `glue`.

    Raises:
        UserError: a logit is not finite, or the disk does not take the file.
    """
    check_finite(logits)
    files = LAYOUTS[task.submission](task, description, test_set, logits)
    paths = {os.path.join(folder, name): text for name, text in files.items()}
    for path, text in paths.items():
        write_text(path, text)
    return list(paths)
