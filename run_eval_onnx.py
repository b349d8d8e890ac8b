"""Evaluate an exported model, ONNX or MINDIR, on a task's records: metrics, throughput, latency.

python run_eval_onnx.py --model_file output/export/sst-2.onnx --task_name SST-2 --data_dir DATA_DIR
"""

from typing import Any

from src import metrics
from src.data.dataset import Batches
from src.data.task_data import load_task_data
from src.deploy.sessions import EXPORTED_ENDINGS
from src.errors import UserError, command
from src.evaluate import evaluate
from src.files import write_json
from src.model import Model
from src.settings.parsing import read_settings, required
from src.settings.tools import EvaluateExportedConfig
from src.tasks import get_task, task_folder
from src.terminal import result


@command
def main() -> None:
    """Settings, model, data, result."""
    settings = read_settings(EvaluateExportedConfig)
    required(settings, "model_file", "task_name", "data_dir")
    task, path = get_task(settings.task_name), settings.model_file
    if not path.endswith(EXPORTED_ENDINGS):
        raise UserError(
            f"{path}: not an exported model; its name must end in {' or '.join(EXPORTED_ENDINGS)}"
        )
    place = {"device": settings.device_target, "device_id": settings.device_id}
    model = Model.load(path, **place, threads=settings.threads)
    data = load_task_data(
        task,
        "",
        task_folder(settings.data_dir, task),
        settings.dataset_type,
        settings.schema_dir,
        labels=model.description.labels,
        label_order=settings.label_order,
    )
    data.check_model(model.description, "model_file", model.length)
    model.description = model.description.at_threshold(settings.null_score_diff_threshold)
    names = metrics.choose(task.metrics, settings.assessment_method, data.kind, data.outputs)
    for note in metrics.notes(names, data.evals):
        print(note)
    batch_size = model.batch_size or settings.batch_size
    lengths = settings.bucket_boundaries, settings.enable_buckets
    if model.length:  # it takes rows of one length
        lengths = (model.length,), True
    batches = {split: Batches(rows, batch_size, *lengths) for split, rows in data.evals.items()}
    results: dict[str, Any] = {"task": task.name, "model": path, "batch_size": batch_size}
    results |= evaluate(model, batches, names)
    speed = (
        f"throughput: {1000 / results['seconds_per_1000_rows']:.1f} sentences/s; latency of a batch of "
        f"{batch_size}: p50 {results['p50_ms']:.2f} ms, p95 {results['p95_ms']:.2f} ms"
    )
    if settings.output_file:
        write_json(settings.output_file, results)
    lines = [*metrics.result_lines(results), speed, metrics.result_block(results, names)]
    result(results, "\n".join(lines))


if __name__ == "__main__":
    main()
