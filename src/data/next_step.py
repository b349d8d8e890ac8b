"""What to run after a task's data have been prepared."""

import os
import shlex
from typing import List, Optional

from src.data.info import DatasetInfo
from src.description import Said, said_labels, smaller_student
from src.errors import UserError, listed
from src.json_file import Count, Text, read_json
from src.kinds.base import TaskKind
from src.tasks import Task, same_labels


class _Config(Said):
    """What a model's config.json says that decides."""

    architectures: Optional[List[Text]] = None
    num_hidden_layers: Optional[Count] = None

    def has_head_for(self, kind: TaskKind) -> bool:
        """Whether the model has a head for a kind of task."""
        return kind.architecture in (self.architectures or ()) or self.problem_type == kind.problem_type


def what_next(task: Task, folder: str, model: str) -> str:
    """Commands for the records in `folder`, as the end of a line.

    Args:
        task: of the records. model: the folder of the model whose vocabulary they have, with its config.json;
            any other word where none is known.
    """
    info = DatasetInfo.load(folder)
    assert info is not None  # it has just been written
    says, labels = _read(os.path.join(model, "config.json"))
    place, records = shlex.quote(model), shlex.quote(folder)
    finished = says.has_head_for(info.kind)
    outputs = says.num_labels or len(says.id2label or ())  # 0: it says none
    fits = finished and outputs in (0, info.kind.outputs(info.labels)) and same_labels(info.labels, labels)
    scores = f"python eval.py --task_name {task.name} --data_dir {records} --model_dir"
    if "train" not in info.splits:
        return f"{scores} {place}" if fits else f"score a model of this task: {scores} MODEL_DIR"
    data = f"--task_name {task.name} --train_data_dir {records} --eval_data_dir {records}"
    makes = f"python run_finetune.py --load_ckpt_path {place} {data}"
    distils = "python run_task_distill.py --load_teacher_ckpt_path"
    if fits:
        student = smaller_student(says.num_hidden_layers or 12)
        return (
            f"{model} is a model of this task: distil it: {distils} {place} {data} {student}; or score it: "
            f"{scores} {place}"
        )
    if finished:
        return (
            f"{model} answers with other labels than these data ({listed(labels) or outputs}): give its "
            f"encoder a new head: {makes}; or export it as it is: python export.py --ckpt_file {place}"
        )
    return f"without a teacher of this task: {makes}; with one: {distils} TEACHER {data}"


def _read(path: str) -> tuple[_Config, tuple[str, ...]]:
    """(`_Config`, class names) of a config.json; empty ones where it is none of a model: that is told where
    the model is read, and the records are there.
    """
    try:
        says = read_json(path, "configuration", _Config)
        return says, said_labels(says, path)
    except UserError:
        return _Config(), ()
