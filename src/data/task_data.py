"""A task's rows and labels as a run sees them, and the checks that a model belongs to them."""

import os
from dataclasses import dataclass

from src import tasks
from src.data import records
from src.data.dataset import Batches
from src.errors import UserError


@dataclass(frozen=True)
class TaskData:
    """Task, label map and splits. Splits are `Examples`; `evals` maps split names to them, the deciding one
    first.
    """

    task: tasks.Task
    regression: bool
    labels: tuple
    """Class names in index order; () for regression."""
    num_labels: int
    """Outputs of the head: classes, or 1 for regression."""
    train: object
    evals: dict
    info: object
    """The folder's `DatasetInfo`, or None for files of the published layout."""

    def eval_batches(self, batch_size, boundaries, enable_buckets):
        """{split: Batches} that keep every row in order."""
        return {
            split: Batches(examples, batch_size, boundaries, enable_buckets)
            for split, examples in self.evals.items()
        }

    def check_rows(self, checkpoint, config, key, seq_length=None):
        """Raise a `UserError` where `checkpoint`'s network cannot read these rows.

        Args:
            checkpoint (Checkpoint): its vocabulary hash is compared with the data's.
            config (BertConfig): its network: vocabulary rows and positions bound the token ids and lengths.
            key (str): the setting that named the checkpoint, for the message.
            seq_length (int): the run's own bound on row length in tokens, or None.
        """
        check_vocabulary(self.info, checkpoint, key)
        self.check_bounds(config, checkpoint.source, seq_length)

    def check_model(self, checkpoint, config, key, seq_length=None):
        """`check_rows`, and a `UserError` where the checkpoint's head was trained for other labels than this
        data's.
        """
        self.check_rows(checkpoint, config, key, seq_length)
        if not checkpoint.num_labels:
            return
        trained_on = checkpoint.config.get("task_name")
        if trained_on and tasks.differ(trained_on, self.task.name):
            raise UserError(f"{key}: {checkpoint.source} was trained on {trained_on}, not {self.task.name}")
        if checkpoint.num_labels != self.num_labels or self.regression != (
            checkpoint.config["problem_type"] == "regression"
        ):
            kind = "regression" if self.regression else f"{self.num_labels} classes"
            raise UserError(
                f"{key}: {checkpoint.source} has {checkpoint.num_labels} output(s) "
                f"({checkpoint.config['problem_type']}) but {self.task.name} is a task of {kind}"
            )
        if not tasks.same_labels(checkpoint.labels, self.labels):
            raise UserError(
                f"{key}: {checkpoint.source} numbers its labels {', '.join(checkpoint.labels)} but the "
                f"data has {', '.join(self.labels)}; if only the order differs, convert_checkpoint.py "
                f"--task_name {self.task.name} puts it right"
            )

    def check_bounds(self, config, source, seq_length=None):
        """Raise a `UserError` where a row is too long, or a token id too large, for a network of `config`
        (from `source`).
        """
        for split, examples in {"train": self.train, **self.evals}.items():
            if examples is not None:
                check_bounds(examples, split, config, source, seq_length)


def check_vocabulary(info, checkpoint, key):
    """Raise a `UserError` where the data's `DatasetInfo` (or None) names another vocabulary than a
    checkpoint, which the setting `key` named."""
    known = checkpoint.config.get("vocab_sha256")
    if known and info and known != info.vocab_sha256:
        folder = checkpoint.source if os.path.isdir(checkpoint.source) else os.path.dirname(checkpoint.source)
        raise UserError(
            f"{key}: the data was prepared with another vocabulary than {checkpoint.source} was trained "
            f"with; run prepare_data.py with --vocab_file {os.path.join(folder, 'vocab.txt')}"
        )


def check_bounds(examples, split, config, source, seq_length=None):
    """Raise a `UserError` where a row of `examples` is too long, or a token id too large, for a network of
    `config` (from `source`).
    """
    limit = config.max_position_embeddings if not config.use_relative_positions else None
    largest, longest = int(examples.input_ids.max()), int(examples.lengths.max())
    if largest >= config.vocab_size:
        raise UserError(
            f"the {split} records hold token id {largest} but {source} has a vocabulary of "
            f"{config.vocab_size}; prepare the data with that model's vocabulary"
        )
    if int(examples.segment_ids.max()) >= config.type_vocab_size:
        raise UserError(
            f"the {split} records hold pairs of texts but {source} has a type_vocab_size of "
            f"{config.type_vocab_size}; it reads single texts only"
        )
    for bound, why in ((limit, f"{source} has positions for"), (seq_length, "seq_length allows")):
        if bound and longest > bound:
            raise UserError(
                f"the {split} records hold a row of {longest} tokens but {why} {bound}; run prepare_data.py "
                f"with --max_seq_length {bound}"
            )


def _split_files(folder, splits, settings):
    """{split: (files, dataset_type)}; every split after the first is optional, as MNLI's mismatched one
    is.
    """
    found = {splits[0]: records.find_split(folder, splits[0], settings.dataset_type)}
    for split in splits[1:]:
        if not records.has_split(folder, split):
            continue
        files, dataset_type = records.find_split(folder, split, settings.dataset_type)
        if files != found[splits[0]][0]:  # a folder whose names say no split serves only one
            found[split] = (files, dataset_type)
    return found


def _head(task, info, task_type):
    """(regression, labels) from the table, or from the prepared folder for the user's own task."""
    regression = (info.head if info else task.head) == tasks.REGRESSION
    if task_type != "auto" and (task_type == tasks.REGRESSION) != regression:
        raise UserError(
            f"task_type: {task.name} is a {'regression' if regression else 'classification'} task, not "
            f"{task_type}"
        )
    return regression, tuple(info.labels if info else task.labels)


def load_task_data(settings, train_dir, eval_dir, labels=()):
    """Read a task's records.

    Args:
        settings: has task_name, dataset_type, schema_dir and, optionally, task_type.
        train_dir (str): folder with training records, or "" for none.
        eval_dir (str): folder with evaluation records, or "" for none.
        labels (tuple of str): class names where neither the task table nor a dataset.json gives them.

    Raises:
        UserError: a folder or file is missing or damaged, holds another task's data, or labels lie outside
            the map.
    """
    task = tasks.get_task(settings.task_name)
    info = records.DatasetInfo.load(train_dir or eval_dir)
    if info and tasks.get_task(info.task_name) != task:
        raise UserError(
            f"task_name: {train_dir or eval_dir} was prepared for {info.task_name}, not {task.name}"
        )
    if train_dir and eval_dir:
        _check_prepared_alike(info, train_dir, records.DatasetInfo.load(eval_dir), eval_dir)
    regression, names = _head(task, info, getattr(settings, "task_type", "auto"))
    names = names or tuple(labels)
    if not regression and not names:
        raise UserError(
            f"task_name: {task.name} needs a folder that prepare_data.py wrote, for its dataset.json "
            "names the labels"
        )
    files = _split_files(train_dir, ("train",), settings) if train_dir else {}
    if eval_dir:
        files.update(_split_files(eval_dir, tuple(split for split, _ in task.eval_splits), settings))
    if "train" in files and "eval" in files and _real(files["train"]) & _real(files["eval"]):
        raise UserError(
            f"eval_data_dir: {eval_dir} would train and evaluate on the same files; name them train.* and "
            "eval.*, or put them into two folders"
        )
    splits = {split: records.read_records(*found, settings.schema_dir) for split, found in files.items()}
    for split, examples in splits.items():
        _check_rows_prepared(examples, split, train_dir if split == "train" else eval_dir)
    train, evals = splits.pop("train", None), splits
    for split, examples in {"train": train, **evals}.items():
        _check_labels(examples, split, regression, names)
    return TaskData(task, regression, names, 1 if regression else len(names), train, evals, info)


def _real(found):
    """The files of `find_split`'s answer, however their folder was spelled."""
    return {os.path.realpath(path) for path in found[0]}


def _check_prepared_alike(train, train_dir, evaluation, eval_dir):
    """Raise a `UserError` where two folders' `DatasetInfo`s (or None) number tokens or labels differently."""
    if train is None or evaluation is None:
        return
    for name, what in (
        ("task_name", "task"),
        ("vocab_sha256", "vocabulary"),
        ("head", "kind of labels"),
        ("labels", "label map"),
    ):
        if getattr(train, name) != getattr(evaluation, name):
            raise UserError(
                f"eval_data_dir: {eval_dir} was prepared with another {what} than {train_dir} (dataset.json: "
                f"{getattr(evaluation, name)} and {getattr(train, name)}); prepare both alike"
            )


def _check_rows_prepared(examples, split, folder):
    """Raise a `UserError` where a prepared folder's records are not as many as its dataset.json says."""
    info = records.DatasetInfo.load(folder)
    wanted = info.splits.get(split, {}).get("rows") if info else None
    if wanted is not None and wanted != len(examples):
        raise UserError(
            f"{folder}: dataset.json says that {split} has {wanted} rows, but its records hold "
            f"{len(examples)}; a file was cut or changed, run prepare_data.py again"
        )


def _check_labels(examples, split, regression, names):
    if examples is None:
        return
    if examples.labels.dtype.kind != ("f" if regression else "i"):
        raise UserError(
            f"the {split} records hold {'whole-number' if regression else 'fractional'} labels, which do "
            f"not fit a {'regression' if regression else 'classification'} task"
        )
    if not regression and not (0 <= examples.labels.min() and examples.labels.max() < len(names)):
        raise UserError(
            f"the {split} records hold labels from {examples.labels.min()} to {examples.labels.max()}, "
            f"but the task has the {len(names)} labels {', '.join(names)}"
        )
