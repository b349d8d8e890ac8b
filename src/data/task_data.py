"""A task's rows and labels as a run sees them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from src import tasks
from src.data.dataset import Batches, PackedRows, rows_to_evaluate
from src.data.info import DatasetInfo
from src.data.origins import read_origin
from src.data.records import find_split, has_split, read_records
from src.description import DataFacts, Description
from src.errors import UserError
from src.examples import Examples
from src.kinds import CLASSIFICATION
from src.kinds.base import TaskKind
from src.terminal import say

if TYPE_CHECKING:
    from src.settings.shared import PackingConfig


@dataclass(frozen=True)
class TaskData:
    """Task, label map and splits."""

    task: tasks.Task
    kind: TaskKind
    labels: tuple[str, ...]
    """Class names in index order; () where the kind has none."""
    train: Examples | None
    evals: dict[str, Examples]
    """By the split, the deciding one first."""
    info: DatasetInfo | None
    """What the folder says of itself; None for files of the published layout."""

    @property
    def outputs(self) -> int:
        """Outputs of a head for it."""
        return self.kind.outputs(self.labels)

    @property
    def splits(self) -> dict[str, Examples]:
        """The rows of every split there is, training first."""
        return {**({} if self.train is None else {"train": self.train}), **self.evals}

    def token_ids(self) -> np.ndarray:
        """The ids of all tokens of all splits, and of padding: int array, sorted."""
        ids = [np.unique(examples.input_ids) for examples in self.splits.values()]
        return np.unique(np.concatenate([[0], *ids]))

    def eval_batches(
        self, batch_size: int, config: PackingConfig, packs: bool
    ) -> dict[str, Batches | PackedRows]:
        """{split: `rows_to_evaluate`} that keep every row in order; arguments as there."""
        return {
            split: rows_to_evaluate(examples, batch_size, config, packs)
            for split, examples in self.evals.items()
        }

    def check_model(self, description: Description, key: str, seq_length: int | None = None) -> None:
        """Raise a `UserError` where a model is not of this task or cannot read a row; see `check_fits`. Say
        so where its labels have no names and get the task's.
        """
        for split in self.splits or [""]:  # without rows the task still says what the model must be
            description.check_fits(self.facts(split), key, seq_length)
        if note := description.assumed_labels(self.labels):
            say(note)

    def facts(self, split: str) -> DataFacts:
        """The facts of a split's rows; of the task alone for ""."""
        rows = facts_of(split, self.splits[split], self.info) if split else DataFacts()
        return replace(
            rows, task_name=self.task.name, kind=self.kind, labels=self.labels, outputs=self.outputs
        )


def facts_of(split: str, examples: Examples, info: DatasetInfo | None) -> DataFacts:
    """What the rows of a split say of themselves, without a task; `info` is their folder's."""
    return DataFacts(
        rows=f"the {split} records",
        longest=int(examples.lengths.max()),
        largest_token_id=int(examples.input_ids.max()),
        largest_segment_id=int(examples.segment_ids.max()),
        vocab_sha256=info.vocab_sha256 if info else "",
        do_lower_case=info.do_lower_case if info else None,
        strip_accents=info.strip_accents if info else None,
    )


def load_task_data(
    task: tasks.Task,
    train_dir: str,
    eval_dir: str,
    dataset_type: str = "auto",
    schema_dir: str = "",
    task_type: str = "auto",
    labels: Sequence[str] = (),
    label_order: Sequence[str] = (),
) -> TaskData:
    """Read a task's records.

    Args:
        dataset_type, schema_dir, task_type: as the settings of these names.
        train_dir, eval_dir: folders with training and with evaluation records, or "" for none.
        labels: class names where neither the task table nor a dataset.json gives them.
        label_order: the class each label id stands for, where no dataset.json says it.

    Raises:
        UserError: a folder or file is missing or damaged, holds another task's data, or labels lie outside
            the map; nothing says which classes its label ids are.
    """
    folder = train_dir or eval_dir
    infos = {path: DatasetInfo.load(path) for path in dict.fromkeys((train_dir, eval_dir)) if path}
    info = infos.get(folder)
    if info and tasks.get_task(info.task_name) != task:
        raise UserError(f"task_name: {folder} was prepared for {info.task_name}, not {task.name}")
    if train_dir and eval_dir:
        _check_prepared_alike(info, train_dir, infos[eval_dir], eval_dir)
    kind = info.kind if info else task.kind or CLASSIFICATION
    if task_type not in ("auto", kind.name):
        raise UserError(f"task_type: {task.name} is a {kind.name} task, not {task_type}")
    names = tuple(info.labels if info else task.labels) or tuple(label_order) or tuple(labels)
    if not kind.outputs(names):
        raise UserError(
            f"task_name: {task.name} needs a folder that prepare_data.py wrote, for its dataset.json "
            "names the labels"
        )
    splits: dict[str, Examples] = {}
    for split, found in _find_files(task, train_dir, eval_dir, dataset_type).items():
        folder = train_dir if split == "train" else eval_dir
        order = _order_in(folder, infos[folder], task, names, label_order)
        examples = read_records(*found, kind.columns, schema_dir)
        _check_row_count(examples, split, folder, infos[folder])
        kind.check_labels(examples, names, split)
        examples = _renumbered(examples, order, names)
        if kind.needs_texts and split != "train":
            examples = replace(examples, origin=read_origin(eval_dir, split, examples))
        splits[split] = examples
    return TaskData(task, kind, names, splits.pop("train", None), splits, info)


_Found = tuple[list[str], str]
"""(files, dataset_type) as `find_split` gives them."""


def _find_files(task: tasks.Task, train_dir: str, eval_dir: str, dataset_type: str) -> dict[str, _Found]:
    """The files of every split of the folders that are given."""
    files = _split_files(train_dir, ("train",), dataset_type) if train_dir else {}
    if eval_dir:
        files.update(_split_files(eval_dir, tuple(split for split, _ in task.eval_splits), dataset_type))
    if "train" in files and "eval" in files and _real(files["train"]) & _real(files["eval"]):
        raise UserError(
            f"eval_data_dir: {eval_dir} would train and evaluate on the same files; name them train.* and "
            "eval.*, or put them into two folders"
        )
    return files


def _split_files(folder: str, splits: tuple[str, ...], dataset_type: str) -> dict[str, _Found]:
    """The files of a folder's splits; all after the first are optional, as MNLI's mismatched one is."""
    found = {splits[0]: find_split(folder, splits[0], dataset_type)}
    for split in splits[1:]:
        if not has_split(folder, split):
            continue
        files, found_type = find_split(folder, split, dataset_type)
        if files != found[splits[0]][0]:  # a folder whose names say no split serves only one
            found[split] = (files, found_type)
    return found


def _real(found: _Found) -> set[str]:
    """The files, however their folder was spelled."""
    return {os.path.realpath(path) for path in found[0]}


def _check_prepared_alike(
    train: DatasetInfo | None, train_dir: str, evaluation: DatasetInfo | None, eval_dir: str
) -> None:
    """Raise a `UserError` where two folders' `DatasetInfo`s number tokens or labels differently."""
    if train is None or evaluation is None:
        return
    alike = {
        "task": (train.task_name, evaluation.task_name),
        "vocabulary": (train.vocab_sha256, evaluation.vocab_sha256),
        "kind of labels": (train.kind.name, evaluation.kind.name),
        "label map": (train.labels, evaluation.labels),
    }
    for what, (first, second) in alike.items():
        if first != second:
            raise UserError(
                f"eval_data_dir: {eval_dir} was prepared with another {what} than {train_dir} (dataset.json: "
                f"{second} and {first}); prepare both alike"
            )


def _order_in(
    folder: str, info: DatasetInfo | None, task: tasks.Task, names: Sequence[str], label_order: Sequence[str]
) -> Sequence[str]:
    """Which class each label id of a folder's records stands for, by its name; `names` are the task's.

    Raises:
        UserError: `label_order` contradicts what is known, or nothing says it.
    """
    known, source = (info.labels, f"{folder}'s dataset.json") if info else ((), f"the records in {folder}")
    if label_order:
        tasks.places(label_order, names, "label_order", source)
    if known and not tasks.same_labels(known, label_order):
        raise UserError(
            f"label_order: {source} itself names the labels {', '.join(known)}, and its names decide; leave "
            "--label_order out"
        )
    why = "" if known or label_order else tasks.why_order_matters(task.name)
    if why:
        raise UserError(
            f"label_order: {folder} has no dataset.json to name its labels, {why}; say which order its label "
            f"ids have, as --label_order {','.join(task.other_order)}"
        )
    return known or label_order or names


def _renumbered(examples: Examples, order: Sequence[str], names: Sequence[str]) -> Examples:
    """`Examples` whose label ids, numbered as `order`, become those of `names`."""
    if tasks.same_labels(order, names):
        return examples
    (column,) = examples.columns
    new: np.ndarray = np.array(tasks.places(names, order, "label_order", "the records"), column.dtype)
    labels = examples.labels
    return replace(examples, columns={column: np.where(labels < 0, labels, new[labels])})


def _check_row_count(examples: Examples, split: str, folder: str, info: DatasetInfo | None) -> None:
    """Raise a `UserError` where a prepared folder's records are not as many as its dataset.json says."""
    wanted = info.splits.get(split, {}).get("rows") if info else None
    if wanted is not None and wanted != len(examples):
        raise UserError(
            f"{folder}: dataset.json says that {split} has {wanted} rows, but its records hold "
            f"{len(examples)}; a file was cut or changed, run prepare_data.py again"
        )
