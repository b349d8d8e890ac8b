"""Turn inference's result files into the task's metric; every row counts.

python postprocess.py --task_name SST-2 --input_dir preprocess_Result --result_dir result_Files
"""

from src import metrics
from src.deploy.bin_files import read_info, read_labels, read_results
from src.errors import UserError, command
from src.settings.parsing import read_settings
from src.settings.tools import PostprocessConfig
from src.tasks import get_task


@command
def main():
    """Settings, labels and logits, metric."""
    settings = read_settings(PostprocessConfig)
    info = read_info(settings.input_dir)
    task = get_task(settings.task_name or info["task_name"])
    if get_task(info["task_name"]) != task:
        raise UserError(f"task_name: {settings.input_dir} holds rows of {info['task_name']}, not {task.name}")
    names = metrics.choose(task.metrics, settings.assessment_method, info["num_labels"], info["regression"])
    logits = read_results(settings.result_dir, info["rows"], info["num_labels"])
    results = metrics.compute(names, logits, read_labels(settings.input_dir, info["rows"]))
    print(metrics.result_block(results, names) + f"\n{info['rows']} rows", flush=True)


if __name__ == "__main__":
    main()
