"""What the tests of reports share: rows of tokens with answers, and the folder of a made-up run."""

import json
import math

import numpy as np
import yaml

from src.examples import Examples, offsets_of
from src.files import write_json, write_text
from src.kinds import CLASSIFICATION, REGRESSION, TAGGING
from src.report.layers import LayerDistances, note
from src.report.predictions import Predictions
from src.settings.parsing import to_yaml
from src.settings.training import TaskDistillConfig

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "film", "##s", "<b>", "bad", "北", "京", ",")
LABELS = ("negative", "positive")


def rows_of(kind, texts, labels):
    """`Examples` of (tokens of the text, tokens of a second one or ()); `labels` as the kind's column."""
    ids, segments, lengths = [], [], []
    for first, second in texts:
        parts = [["[CLS]", *first, "[SEP]"], [*second, "[SEP]"] if second else []]
        ids += [WORDS.index(token) for part in parts for token in part]
        segments += [number for number, part in enumerate(parts) for _ in part]
        lengths.append(sum(map(len, parts)))
    (column,) = kind.columns
    arrays = np.array(ids, np.int32), np.array(segments, np.int32), offsets_of(lengths)
    return Examples(*arrays, {column: np.array(labels, column.dtype)})


def classes():
    """`Predictions` of four rows, two of them wrong: row 2 surely, row 4 hardly."""
    texts = [(["good"], ()), (["a", "bad", "film", "##s"], ["<b>"]), (["bad"], ()), (["北", "京"], ())]
    logits = np.float32([[0, 3], [-4, 4], [2, 0], [0.1, 0]])
    return Predictions(logits, rows_of(CLASSIFICATION, texts, [1, 0, 0, 1]), CLASSIFICATION, LABELS)


def numbers():
    """The same of a regression: row 2 is the farthest off."""
    texts = [(["good"], ["film"])] * 3
    return Predictions(
        np.float32([[1.0], [4.5], [2.5]]), rows_of(REGRESSION, texts, [1, 0, 3]), REGRESSION, ()
    )


def tags():
    """The same of tags: one of two places is found, and a person where there is none."""
    names = TAGGING.tags(("place", "person"))
    texts = [(["a", "北", "京"], ()), (["good", "film"], ())]
    right = ["", "O", "B-place", "E-place", "", "", "S-place", "O", ""]
    found = ["O", "O", "B-place", "E-place", "O", "O", "O", "S-person", "O"]
    labels = [names.index(name) if name else -1 for name in right]
    logits = 5 * np.eye(len(names), dtype=np.float32)[[names.index(name) for name in found]]
    return Predictions(logits, rows_of(TAGGING, texts, labels), TAGGING, names)


def write_run(folder, predictions=None, results=True, record=None, **changes):
    """The folder of a task distillation as the command leaves it, without its checkpoints but for the
    student's vocabulary and configuration.

    Args:
        results (bool): whether it came to its end. record (dict): what run.json says otherwise.
        changes: settings that are not the defaults.
    """
    settings = {"task_name": "SST-2", "load_teacher_ckpt_path": "models/<teacher>", **changes}
    student = folder / "sst-2"
    student.mkdir(parents=True)
    plain = yaml.safe_load(to_yaml(TaskDistillConfig()))
    write_text(str(folder / "config.yaml"), yaml.safe_dump({**plain, **settings}))
    times = {"rows": 4, "seconds_per_1000_rows": 2.0, "parameters": 1000}
    teacher = {"accuracy": 0.8, **times, "seconds_per_1000_rows": 6.0, "parameters": 5000}
    words = ["run_task_distill.py", "--task_name", "SST-2", "--train_data_dir", "my data"]
    versions = {"python": "3.11", "mindspore": "2.10.0"}
    usual = {
        "command": words,
        "device": "CPU",
        "machine": "2 cores",
        "versions": versions,
        "teacher": teacher,
        "students": ["sst-2", "phase1"],
        "compares_layers": True,
    }
    write_json(str(folder / "run.json"), {**usual, **(record or {})})
    steps = [{"stage": "phase1", "step": n, "loss": 2 / n, "hidden_loss": 1 / n} for n in (1, 2, 4)]
    steps += [{"stage": "phase2", "step": n, "loss": math.nan, "learning_rate": 1e-4 / n} for n in (1, 2)]
    steps += [
        {"stage": "phase2", "step": n, "accuracy": score} for n, score in ((1, 0.5), (2, 0.6), (3, 0.4))
    ]
    write_text(str(folder / "metrics.jsonl"), "".join(json.dumps(row) + "\n" for row in steps))
    note(str(folder / "layers.json"), "phase1", LayerDistances(2, (0.25,), (0.5, 0.125), 8))
    (student / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    write_json(str(student / "config.json"), {"num_hidden_layers": 1, "hidden_size": 12})
    (student / "eval_model.ckpt").write_bytes(bytes(4000))
    if predictions:
        predictions.save(str(folder / "predictions.npz"))
    if results:
        models = {"teacher": teacher, "distilled student": {"accuracy": 0.6, **times}}
        ends = {"device": "CPU", "wall_seconds": 75.0, "peak_memory_mib": 900}
        write_json(str(folder / "results.json"), {"task": "SST-2", "models": models, **ends})
    return folder
