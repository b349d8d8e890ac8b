"""A checkpoint that takes a task's name and class names."""

from dataclasses import replace

from src.errors import UserError
from src.tasks import plain_labels


def with_labels(checkpoint, task):
    """`checkpoint` as one of `task` (a `Task`; the user's own data, without a kind, fits any head).

    A checkpoint that names the same labels in another order gets its classifier's rows into the task's order;
    its predictions stay what they were.

    Returns:
        (checkpoint, notices)

    Raises:
        UserError: it has no classifier, one of another kind or number of outputs, or labels of other names.
    """
    _check_head(checkpoint, task)
    old_names, new_names = checkpoint.description.labels, task.labels
    description = replace(checkpoint.description, task_name=task.name, labels=new_names or old_names)
    weights, notices = checkpoint.weights, []
    if old_names and new_names:
        old, new = plain_labels(old_names), plain_labels(new_names)
        if sorted(old) != sorted(new):
            raise UserError(
                f"task_name: the labels of {task.name} are {', '.join(new_names)} but {checkpoint.source} "
                f"was trained on {', '.join(old_names)}"
            )
        if old != new:
            order = [old.index(name) for name in new]
            moved = {name: weights[name][order] for name in ("classifier.weight", "classifier.bias")}
            weights = {**weights, **moved}
            notices.append(f"classifier rows reordered from {', '.join(old_names)} to {', '.join(new_names)}")
    return replace(checkpoint, weights=weights, description=description), notices


def _check_head(checkpoint, task):
    description, needed = checkpoint.description, "a classifier"
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
