"""Where a student comes from: a checkpoint, its teacher's layers, or random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from src.checkpoint.assign import assign
from src.checkpoint.folder import Checkpoint
from src.description import Description, fewer_layers
from src.distill.distiller import LossTerms, Projection, check_comparable, uniform_layer_map
from src.errors import UserError
from src.model import POOLER, Model, layer_weights, new_network, read_as_run

if TYPE_CHECKING:
    import mindspore as ms

    from src.data.task_data import TaskData
    from src.settings.network import StudentPlan

_WIDTHS = (
    "vocab_size",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "use_relative_positions",
)


@dataclass(frozen=True)
class Student:
    """A student ready to train."""

    model: Model
    projection: Projection
    start: str
    """What it started from, for the log."""
    checkpoint: Checkpoint | None = None
    """The one it started from."""

    @property
    def summary(self) -> str:
        """One line for the log."""
        return f"student: {self.model.summary}, started from {self.start}"


def warnings_of(student: Student, plan: StudentPlan, teacher: Model) -> list[str]:
    """Lines about a `Student` that is no smaller than its teacher (Model), or that begins a task with nothing
    though layers of its teacher would fit.
    """
    own, others, section, found = student.model.parameters, teacher.parameters, plan.section, []
    if own >= others:
        fewer = fewer_layers(teacher.config.num_hidden_layers)
        found.append(
            f"warning: the student has {own:,} weights and its teacher {others:,}, so it is not smaller; "
            f"fewer layers (--{section}.num_hidden_layers {fewer}) or narrower ones (--{section}.hidden_size "
            "and the like) make it so"
        )
    alike = all(getattr(student.model.config, name) == getattr(teacher.config, name) for name in _WIDTHS)
    if student.model.description.kind and not plan.path and not plan.from_teacher and alike:
        found.append(
            "warning: the student starts from random weights, which takes many more steps to the same score; "
            "--student_init teacher_layers starts it from layers of its teacher"
        )
    return found


def student_layers(
    chosen: Sequence[int], depth: int, teacher_depth: int, section: str = "td_student_net_cfg"
) -> tuple[int, ...]:
    """The teacher layers a student of `depth` layers copies: `chosen`, or the last of each group of the
    uniform layer map.
    """
    if chosen:
        if len(chosen) != depth or max(chosen) >= teacher_depth:
            raise UserError(
                f"student_layers: needs {depth} numbers from 0 to {teacher_depth - 1}, one a student layer, "
                f"not {', '.join(map(str, chosen))}"
            )
        return tuple(chosen)
    stride = uniform_layer_map(depth, teacher_depth, section)
    return tuple(range(stride - 1, teacher_depth, stride))


def build_student(
    plan: StudentPlan, terms: LossTerms, teacher: Checkpoint, data: TaskData | None, compute_type: ms.Type
) -> Student:
    """The student that a `StudentPlan` asks for.

    Args:
        terms: by which its layers are fitted; none where only its predictions are.
        teacher: as it was loaded, its own dropout rates included.
        data: the task that its head is for; None for a student without one.
        compute_type: of the matrix products.

    Raises:
        UserError: the checkpoint contradicts `plan.net` or the data, or the teacher cannot be compared with
            the student.
    """
    own, checkpoint, weights, start = teacher.description, None, {}, "random weights"
    if plan.path:
        checkpoint, bert = read_as_run(plan.path, plan.known(data.kind if data else None))
        weights, start = checkpoint.weights, plan.path
    else:
        bert = plan.net.resolve(own.bert)
        if plan.from_teacher:
            weights, start = _from_teacher(plan, bert, teacher)
    check_comparable(terms, bert, own.bert, plan.section, f"{plan.terms_section}.attention_loss")
    description = _described(bert, own, plan)
    if checkpoint and not own.vocab_sha256:
        description = replace(description, vocab_sha256=checkpoint.description.vocab_sha256)
    if checkpoint:
        _check_checkpoint(plan, replace(checkpoint.description, bert=bert), own, data)
    elif data:
        data.check_model(description, plan.section, plan.net.seq_length)
    if data:
        description = description.with_head(data.kind, data.outputs, data.labels, data.task.name)
    vocabulary = teacher.vocabulary or (checkpoint.vocabulary if checkpoint else None)
    model = Model(description, new_network(description, compute_type), vocabulary)
    projection = Projection(bert.hidden_size, own.bert.hidden_size, bert.initializer_range)
    if weights:
        kept = _without_foreign_head(weights, description, plan.keeps_head)
        missing, _ = assign(model.network, kept, start, ("classifier.", POOLER), allow_unexpected=(POOLER,))
        absent = [name for name in missing if name.startswith(POOLER)]
        start += f" ({', '.join(absent)} at random: it has no pooler)" if absent else ""
    if checkpoint and terms.hidden_loss > 0:
        start = _take_projection(projection, weights, start)
    return Student(model, projection, start, checkpoint)


def _check_checkpoint(plan, description, teacher, data):
    """Refuse a student's checkpoint of another vocabulary than its teacher's, or that does not fit the
    data.
    """
    known, other = teacher.vocab_sha256, description.vocab_sha256
    if known and other and known != other:
        raise UserError(
            f"{plan.key}: the student {plan.path} and the teacher {teacher.source} were trained with "
            "different vocabularies"
        )
    if data:  # the head that general distillation left is another task's
        described = description if plan.keeps_head else description.without_head()
        data.check_model(described, plan.key, plan.net.seq_length)


def _described(bert, teacher, plan):
    """The student's `Description` before it has a head: it reads text as its teacher does."""
    source = plan.path or f"the student ({plan.section})"
    return Description(
        bert,
        do_lower_case=teacher.do_lower_case,
        strip_accents=teacher.strip_accents,
        vocab_sha256=teacher.vocab_sha256,
        source=source,
    )


def _from_teacher(plan, bert, teacher):
    """(weights, what they are) of the teacher's own layers."""
    own = teacher.description.bert
    for name in _WIDTHS:
        if getattr(bert, name) != getattr(own, name):
            raise UserError(
                f"student_init: teacher_layers needs a student of the teacher's own widths, but "
                f"{plan.section}.{name} is {getattr(bert, name)} and the teacher has {getattr(own, name)}"
            )
    layers = student_layers(plan.layers, bert.num_hidden_layers, own.num_hidden_layers, plan.section)
    return layer_weights(teacher.weights, layers), f"the teacher's layers {', '.join(map(str, layers))}"


def _without_foreign_head(weights, description, keeps_head):
    """Weights for the student's network: a head that general distillation left is another task's, and the
    teacher's own stays where it fits.
    """
    kept = {name: value for name, value in weights.items() if not name.startswith("fit_dense.")}
    head = kept.get("classifier.weight")
    if head is not None and not (keeps_head and len(head) == description.outputs):
        kept = {name: value for name, value in kept.items() if not name.startswith("classifier.")}
    return kept


def _take_projection(projection, weights, start):
    """Give a projection the weights that an earlier stage left; returns what `start` says then.

    One that was learnt for a teacher of another width is no use; the new one's own start stays.
    """
    fit = {name: value for name, value in weights.items() if name.startswith("fit_dense.")}
    if not fit:
        return start
    width, learnt = projection.fit_dense.weight.shape[0], len(fit["fit_dense.bias"])
    if learnt != width:
        return f"{start} (a new projection: its own is to a teacher of width {learnt}, not {width})"
    assign(projection, fit, start)
    return start
