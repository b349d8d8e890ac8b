"""A checkpoint that takes a task's name and class names."""

from dataclasses import replace

from src.checkpoint.folder import Checkpoint
from src.errors import UserError
from src.tasks import Task, differ, places, plain_labels, real_names, why_order_matters


def with_labels(
    checkpoint: Checkpoint, task: Task, label_order: tuple[str, ...] = ()
) -> tuple[Checkpoint, list[str]]:
    """`checkpoint` as one of `task` (a `Task`; the user's own data, without a kind, fits any head).

    A checkpoint whose labels stand in another order gets its classifier's rows into the task's order; its
    predictions stay what they were.

    Args:
        label_order (tuple of str): which class each of its outputs is, where it does not name them itself.

    Returns:
        (checkpoint, notices)

    Raises:
        UserError: it has no classifier, one of another kind or number of outputs, or labels of other names;
            it names none and the task's are numbered in several ways; `label_order` contradicts it.
    """
    _check_head(checkpoint, task)
    own = real_names(checkpoint.description.labels, task.labels)
    notices = []
    if label_order:
        _check_order(checkpoint, own, label_order, task)
        if own and plain_labels(own) != plain_labels(label_order):
            notices.append(f"its labels {', '.join(own)} are taken for {', '.join(label_order)}")
        own = label_order
    elif not own and why_order_matters(task.name):
        raise UserError(
            f"label_order: {checkpoint.source} does not name its labels, {why_order_matters(task.name)}; say "
            f"which order it was trained with, as --label_order {','.join(task.other_order)}"
        )
    names, weights = task.labels or own, checkpoint.weights
    description = replace(checkpoint.description, task_name=task.name, labels=names)
    if own and plain_labels(own) != plain_labels(names):
        if sorted(plain_labels(own)) != sorted(plain_labels(names)):
            raise UserError(
                f"task_name: the labels of {task.name} are {', '.join(names)} but {checkpoint.source} was "
                f"trained on {', '.join(own)}; if they mean the same, --label_order with the names of "
                f"{task.name} in the order of {checkpoint.source} says which is which"
            )
        order = places(own, names, "label_order", checkpoint.source)
        moved = {name: weights[name][order] for name in ("classifier.weight", "classifier.bias")}
        weights = {**weights, **moved}
        notices.append(f"classifier rows reordered from {', '.join(own)} to {', '.join(names)}")
    return replace(checkpoint, weights=weights, description=description), notices


def _check_order(
    checkpoint: Checkpoint, own: tuple[str, ...], label_order: tuple[str, ...], task: Task
) -> None:
    """Refuse a `label_order` that is no order of the task's labels, or contradicts names that are known."""
    source, outputs, kind = checkpoint.source, checkpoint.description.outputs, checkpoint.description.kind
    if outputs == 1:
        assert kind is not None  # `_check_head` has seen it
        raise UserError(f"label_order: {source} is a {kind.name}, without classes to name")
    if task.labels:
        places(label_order, task.labels, "label_order", source)
    elif len(set(label_order)) != outputs:
        raise UserError(
            f"label_order: {source} has {outputs} outputs, which need as many different names, not "
            f"{', '.join(label_order)}"
        )
    same_names = sorted(plain_labels(own)) == sorted(plain_labels(label_order)) or not task.labels
    if own and same_names and plain_labels(own) != plain_labels(label_order):
        raise UserError(
            f"label_order: {source} itself names its labels {', '.join(own)}, and its names decide; leave "
            "--label_order out (or, where they are wrong, mend id2label in its config.json and remove "
            "config_sha256 there)"
        )


def _check_head(checkpoint: Checkpoint, task: Task) -> None:
    description, needed = checkpoint.description, "a classifier"
    if differ(description.task_name, task.name):
        raise UserError(
            f"task_name: {checkpoint.source} was fine-tuned on {description.task_name}, not {task.name}; "
            "where its config.json is wrong, mend finetuning_task (or task_name) there and remove "
            "config_sha256"
        )
    if task.kind is not None:
        outputs = task.kind.outputs(task.labels)
        needed = f"{outputs} output{'s' if outputs > 1 else ''} ({task.kind.name})"
        if (description.kind, description.outputs) == (task.kind, outputs):
            return
    elif description.kind is not None:
        return
    kind, has = description.kind, "no classifier"
    if kind:
        has = f"a classifier with {description.outputs} outputs ({kind.name})"
    raise UserError(f"task_name: {task.name} needs {needed} but {checkpoint.source} has {has}")
