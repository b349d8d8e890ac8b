"""The kinds of tasks, a file each: a new one is a file here and a line in the table."""

from src.errors import UserError, shown
from src.kinds.base import TaskKind
from src.kinds.classification import SequenceClassification
from src.kinds.regression import Regression
from src.kinds.span import QuestionAnswering, QuestionAnsweringOrNone
from src.kinds.tagging import TokenClassification

CLASSIFICATION, REGRESSION, TAGGING = SequenceClassification(), Regression(), TokenClassification()
SPAN, SPAN_OR_NONE = QuestionAnswering(), QuestionAnsweringOrNone()
KINDS = (CLASSIFICATION, REGRESSION, TAGGING, SPAN, SPAN_OR_NONE)


def kind_named(name: str, where: str) -> TaskKind:
    """The kind called `name` in settings and record folders; a `UserError` that starts with `where` for
    none.
    """
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise UserError(
        f"{where}: {shown(name)} is no kind of task; known are {', '.join(kind.name for kind in KINDS)}"
    )


def kind_of_problem(problem_type: str, where: str) -> TaskKind:
    """The kind that Hugging Face calls `problem_type`; a `UserError` that starts with `where` for none."""
    for kind in KINDS:
        if kind.problem_type == problem_type:
            return kind
    known = ", ".join(kind.problem_type for kind in KINDS)
    raise UserError(f"{where}: problem_type {shown(problem_type)} is not supported; known are {known}")
