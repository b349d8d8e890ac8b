"""Evaluate a checkpoint on a task's dev set; every row counts.

    python eval.py --task_name SST-2 --model_dir MODEL_DIR --data_dir DATA_DIR

MODEL_DIR and DATA_DIR are the model's and the data's own folders (records or raw files), or hold them under
the task's lower-case name.
"""

import os
from collections.abc import Callable

import numpy as np

from src import metrics
from src.data.task_data import load_task_data
from src.deploy.sessions import EXPORTED_ENDINGS
from src.errors import UserError, command
from src.evaluate import evaluate
from src.examples import Examples
from src.files import make_folder, write_json
from src.kinds.base import TaskKind
from src.model import Model
from src.raw_data import dev_records
from src.runtime import compute_type, set_up
from src.settings.parsing import part, read_settings, required
from src.settings.shared import DeviceConfig
from src.settings.tools import EvaluateConfig
from src.tasks import get_task, task_folder
from src.terminal import result


def prediction_writer(folder: str, kind: TaskKind) -> Callable[[np.ndarray, Examples], None]:
    """A function of logits and Examples that writes the answers in the layout of the kind of task.

    Raises:
        UserError: it has none.
    """
    if not kind.prediction_files:
        raise UserError(
            f"predictions_dir: only answers to questions (SQuAD) have a layout, a {kind.name} task has none"
        )
    make_folder(folder)

    def write(logits: np.ndarray, examples: Examples) -> None:
        files = kind.predictions_of(logits, examples)
        if "best_span_f1" in kind.metrics:
            evidence = kind.evidence(("best_span_f1",), logits, examples, ())
            files["best_thresholds.json"] = metrics.best_thresholds(*evidence["best_span_f1"])
        for name, value in files.items():
            write_json(os.path.join(folder, name), value)

    return write


@command
def main() -> None:
    """Settings, model, data, result."""
    settings = read_settings(EvaluateConfig)
    required(settings, "task_name", "model_dir", "data_dir")
    if settings.model_dir.endswith(EXPORTED_ENDINGS):
        raise UserError(
            f"model_dir: {settings.model_dir} is an exported file; run: python run_eval_onnx.py --model_file "
            f"{settings.model_dir} --task_name {settings.task_name} --data_dir {settings.data_dir}"
        )
    task = get_task(settings.task_name)
    device = set_up(part(settings, DeviceConfig), seed=0)
    number_type, known = compute_type(settings.compute_type, device), settings.known(task.kind)
    model = Model.load(task_folder(settings.model_dir, task), number_type, known=known)
    with dev_records(settings, task_folder(settings.data_dir, task), task, model) as folder:
        data = load_task_data(
            task,
            "",
            folder,
            settings.dataset_type,
            settings.schema_dir,
            labels=model.description.labels,
            label_order=settings.label_order,
        )
    data.check_model(model.description, "model_dir")
    model.description = model.description.at_threshold(settings.null_score_diff_threshold)
    kind, seen = model.description.head_kind, []
    write = prediction_writer(settings.predictions_dir, kind) if settings.predictions_dir else None
    names = metrics.choose(task.metrics, settings.assessment_method, data.kind, data.outputs)
    for note in metrics.notes(names, data.evals):
        print(note)
    batches = data.eval_batches(settings.batch_size, settings, model.packs(settings, device))
    results = {
        "task": task.name,
        "model": model.source,
        "device": device,
        "parameters": model.parameters,
        **evaluate(model, batches, names, lambda *rows: seen.append(rows)),
    }
    ((logits, examples),) = seen
    if write:
        write(logits, examples)
    if kind.logits_per == "row":
        labels = model.description.label_names
        lines = metrics.running_lines(names[0], kind, logits, examples, labels, settings.batch_size)
        print(*lines, sep="\n")
    if settings.output_file:
        write_json(settings.output_file, results)
    result(results, "\n".join([*metrics.result_lines(results), metrics.best_line(results, names[0])]))


if __name__ == "__main__":
    main()
