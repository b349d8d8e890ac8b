"""The label names of a task; of the user's own data what the training file holds."""

from src.data.readers.rows import NO_LABEL, BadRows
from src.errors import UserError
from src.kinds import CLASSIFICATION, REGRESSION


def discover_labels(task, source, names=(), bad_rows=None):
    """(kind, class names) of a task; own data without `names` take both from the training file.

    Own data: labels that are all numbers, at least one with a decimal point, make a regression; strings or
    whole numbers are class names, sorted (whole numbers by value).

    Args:
        task (Task): row of the task table.
        source (Source): the training set.
        names (tuple of str): class names in index order as the user gives them.
        bad_rows (BadRows): what happens at a malformed row. Default: a `UserError`.

    Returns:
        (TaskKind, tuple of str)

    Raises:
        UserError: `names` contradict the task or repeat, or the training labels are of mixed kinds or of one
            class only.
    """
    if len(set(names)) != len(names) or len(names) == 1:
        raise UserError(f"labels: give two or more different names, not {', '.join(names)}")
    if not task.is_own:
        if names and tuple(names) != task.labels:
            raise UserError(
                f"labels: {task.name} has the labels "
                f"{', '.join(task.labels) or f'(none, it is a {task.kind.name})'}; --labels is for own data "
                "(--task_name custom)"
            )
        return task.kind, task.labels
    if names:
        return CLASSIFICATION, tuple(names)
    return _labels_in(source, task, bad_rows or BadRows())


def _labels_in(source, task, bad_rows):
    seen, types = set(), set()
    for _, _, label, where, _ in source.raw_rows(task, False, bad_rows):
        if label == "":
            bad_rows.add(f"{where}: {NO_LABEL}")
            continue
        if isinstance(label, bool) or not isinstance(label, (str, int, float)):
            raise UserError(f"{where}: the label must be a string or a number, not {label!r}")
        types.add(type(label))
        if types == {str, int} or types >= {str, float}:
            raise UserError(
                f"{where}: the label {label!r} is of another kind than those above; use strings or "
                "numbers, not both"
            )
        if float not in types:  # a regression's many values need not be kept
            seen.add(label)
    if float in types:
        return REGRESSION, ()
    if len(seen) < 2:
        raise UserError(f"{source.paths[0]}: two or more different labels are needed, found {len(seen)}")
    return CLASSIFICATION, tuple(str(label) for label in sorted(seen))
