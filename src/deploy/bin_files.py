"""The files between preprocessing, inference and postprocessing on Ascend 310: one .bin a row and tensor, in
NumPy's own bytes.
"""

import os

import numpy as np

from src.checkpoint import Checkpoint
from src.deploy.sessions import INPUTS
from src.errors import UserError
from src.files import make_folder, read_json, write_json
from src.tasks import differ, same_labels

_INFO = "rows.json"
_NOTED = (
    "rows",
    "seq_length",
    "task_name",
    "regression",
    "num_labels",
    "largest_token_id",
    "largest_segment_id",
)
OWN_INPUTS, OWN_RESULTS = r"rows\.json|labels\.npy|\d\d_\w+", r"row_\d+\.bin"
"""What the names of the files and folders written here look like."""


_NUMBERS = {"rows": 1, "seq_length": 1, "num_labels": 1, "largest_token_id": 0, "largest_segment_id": 0}


def _row(index):
    return f"row_{index:07d}.bin"


def _folder(number, name):
    return f"{number:02d}_{name}"


def write_inputs(folder, columns, labels, description):
    """Write every row's int32 tensors to `folder`/00_input_ids and so on, the labels, and what the rows are.

    Args:
        folder (str): an empty one. columns (tuple of ndarray): int32 (rows, S), in the order of INPUTS.
        labels (ndarray): (rows,). description (dict): the further keys of `read_info`.
    """
    rows, length = columns[0].shape
    for number, (name, column) in enumerate(zip(INPUTS, columns)):
        part = os.path.join(folder, _folder(number, name))
        make_folder(part)
        for index in range(rows):
            column[index].astype(np.int32).tofile(os.path.join(part, _row(index)))
    np.save(os.path.join(folder, "labels.npy"), labels)
    write_json(os.path.join(folder, _INFO), {"rows": rows, "seq_length": length, **description})


def read_info(folder):
    """What `write_inputs` noted: rows, seq_length, task_name, regression, num_labels, largest_token_id and
    largest_segment_id, and where known labels and vocab_sha256."""
    info = read_json(os.path.join(folder, _INFO), "the description preprocess.py writes")
    absent = [name for name in _NOTED if name not in info]
    if absent:
        raise UserError(f"{os.path.join(folder, _INFO)} lacks {', '.join(absent)}; run preprocess.py again")
    for name, least in _NUMBERS.items():
        if type(info[name]) is not int or info[name] < least:
            raise UserError(
                f"{os.path.join(folder, _INFO)}: {name} must be a whole number of at least {least}, not "
                f"{info[name]!r}; run preprocess.py again"
            )
    return info


def check_model(info, metadata, folder, path):
    """Raise a `UserError` where a model was not made for these rows: another task, other outputs, labels or
    vocabulary.
    """
    same = {
        "task": not differ(info["task_name"], metadata.get("task_name", "custom")),
        "num_labels": info["num_labels"] == metadata["num_labels"],
        "kind of task": info["regression"] == (metadata["problem_type"] == "regression"),
        "vocabulary": None in (info.get("vocab_sha256"), metadata.get("vocab_sha256"))
        or info["vocab_sha256"] == metadata["vocab_sha256"],
        "vocab_size": info["largest_token_id"] < metadata["vocab_size"],
        "type_vocab_size": info["largest_segment_id"] < metadata["type_vocab_size"],
        "labels": same_labels(Checkpoint({}, metadata, None, path).labels, info.get("labels", ())),
    }
    wrong = [what for what, equal in same.items() if not equal]
    if wrong:
        raise UserError(f"{path} was not made for the rows in {folder}: they differ in {', '.join(wrong)}")


def read_labels(folder, rows):
    """The labels of `rows` rows."""
    path = os.path.join(folder, "labels.npy")
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {error}; run preprocess.py again") from error
    if labels.shape != (rows,):
        raise UserError(f"{path} holds {labels.shape} labels, not {rows}; run preprocess.py again")
    return labels


def _read(path, count, kind):
    try:
        values = np.fromfile(path, kind)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if len(values) != count:
        raise UserError(f"{path} holds {len(values)} values of type {np.dtype(kind).name}, not {count}")
    return values


def read_inputs(folder, start, end):
    """The three int32 (end - start, S) columns of rows start to end."""
    length = int(read_info(folder)["seq_length"])
    return tuple(
        np.stack(
            [
                _read(os.path.join(folder, _folder(number, name), _row(index)), length, np.int32)
                for index in range(start, end)
            ]
        )
        for number, name in enumerate(INPUTS)
    )


def write_results(folder, start, logits):
    """Write the float32 logits of rows `start` onwards."""
    for offset, row in enumerate(logits):
        row.astype(np.float32).tofile(os.path.join(folder, _row(start + offset)))


def read_results(folder, rows, outputs):
    """float32 (rows, outputs) logits; a missing row or a wrong number of values is a `UserError`."""
    found = (
        len([name for name in os.listdir(folder) if name.endswith(".bin")]) if os.path.isdir(folder) else 0
    )
    if found != rows:
        raise UserError(
            f"{folder} holds {found} result files, but the data has {rows} rows; every row counts, run "
            "the inference again"
        )
    return np.stack([_read(os.path.join(folder, _row(index)), outputs, np.float32) for index in range(rows)])
