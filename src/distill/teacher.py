"""The teacher of a distillation: loaded, frozen, and refused where it is no better than guessing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from src import metrics
from src.errors import UserError
from src.model import Model, read_as_run
from src.runtime import run
from src.terminal import say

if TYPE_CHECKING:
    import mindspore as ms

    from src.checkpoint.folder import Checkpoint
    from src.data.micro_batches import MicroBatch
    from src.data.task_data import TaskData
    from src.description import Description
    from src.distill.distiller import Distiller, TeacherAnswers
    from src.examples import Examples
    from src.nn.layers import Tensors
    from src.settings.network import BertConfig, Known

SAMPLE_ROWS = 2000
"""Training rows that judge a teacher where no others are there to evaluate it on."""


def as_used(description: Description, used: BertConfig, section: str) -> Description:
    """A teacher's `Description` as it runs here: the run may choose the other form of GELU.

    Args:
        used: as the run's settings, whose key is `section`, want it.

    Raises:
        UserError: its weights were trained with another activation.
    """
    own = description.bert
    if used.hidden_act != own.hidden_act:
        if "relu" in (used.hidden_act, own.hidden_act):
            raise UserError(
                f"{section}.hidden_act: {description.source} was trained with {own.hidden_act}; only gelu "
                f"and gelu_new stand for each other, not {used.hidden_act}"
            )
        say(
            f"the teacher computes {used.hidden_act} where its checkpoint says {own.hidden_act}, as "
            f"{section} asks"
        )
    return replace(description, bert=used)


def load_teacher(
    path: str, known: Known, compute_type: ms.Type, with_head: bool = True
) -> tuple[Checkpoint, Model]:
    """(the teacher's `Checkpoint`, the frozen `Model` of it).

    Args:
        path: the checkpoint. compute_type: of the matrix products.
        known: the run's settings for its network.
        with_head: it is a task's teacher; else its head, if it has one, is left out.

    Raises:
        UserError: the settings contradict the checkpoint.
    """
    checkpoint, used = read_as_run(path, known, free=("hidden_act",))
    description = as_used(checkpoint.description, used, known.section)
    model = Model.from_checkpoint if with_head else Model.encoder
    return checkpoint, model(checkpoint, compute_type, description)


def task_teacher(path: str, key: str, data: TaskData, known: Known, compute_type: ms.Type) -> Model | None:
    """The frozen `Model` of train.py's teacher, or None without a `path`; further arguments as of
    `load_teacher`.

    Args:
        key: the setting that names `path`. data: the task's rows.

    Raises:
        UserError: the settings contradict the checkpoint, or it is not of this task.
    """
    if not path:
        return None
    _, teacher = load_teacher(path, known, compute_type)
    data.check_model(teacher.description, key, known.net.seq_length)
    return teacher


class LiveTeacher:
    """Answers a micro-batch by running the network.

    Args:
        network: what is run.
    """

    kept = "as computed"
    """How the answers are: a stage that goes on must have them so too."""

    def __init__(self, network: TeacherAnswers):
        self.network = network

    @classmethod
    def of(cls, teacher: Model | None, loss: Distiller) -> LiveTeacher | None:
        """For a teacher and what is compared with it; None where that needs no answers."""
        network = loss.ask(teacher.network) if teacher else None
        return cls(network) if network else None

    def __call__(self, batch: MicroBatch, arrays: Tensors) -> Tensors:
        """The answers for a `MicroBatch`, whose arrays are given as tensors."""
        rows, tokens = arrays[0].shape
        return run(f"teacher, {rows} x {tokens}", self.network, *arrays[:5])


def check_better_than_guessing(
    results: dict[str, float], metric: str, examples: Examples, least_gain: float, key: str, path: str
) -> None:
    """Print a teacher's score; a `UserError` where it is not better than the best constant answer, though
    the rows could show it.

    Args:
        results: of `evaluate`. metric: the deciding one. examples: the rows.
        least_gain: points by which it must be better, unless every answer is right.
        key, path: the setting that names the teacher, and its value.
    """
    name, score = metrics.printed_name(metric), results[metric]
    chance = metrics.chance_level(metric, examples)
    say(f"teacher: {name} {metrics.percent(score)} (the best constant answer: {metrics.percent(chance)})")
    undecided = metrics.undecided(metric, examples) or metrics.all_alike(examples)
    if undecided:
        say(f"note: whether the teacher is better than a guess cannot be seen: {undecided}")
    elif 100 * (score - chance) < least_gain and score < 1:
        why = _why_no_better(score, chance, examples.labels)
        raise UserError(
            f"{key}: the teacher reaches {name} {metrics.percent(score)} where always giving the best "
            f"constant answer reaches {metrics.percent(chance)}; {why} (fine-tune it: "
            f"python run_finetune.py --load_ckpt_path {path}; or, where no teacher beats a guess, "
            "--min_teacher_gain 0)"
        )


def _why_no_better(score, chance, labels):
    """What may be wrong with a teacher that is no better than guessing."""
    usual = "it was not fine-tuned on this task or its labels or vocabulary differ"
    if score >= chance or labels.dtype.kind != "i" or labels.ndim > 1:  # no classes
        return usual
    return (
        "where it is worse than a guess, its classes are often numbered in another order than the data's: "
        "convert it again with convert_checkpoint.py --label_order NAME,NAME,... in the order it was trained "
        f"with (and give --label_order here for published records in another order); else {usual}"
    )
