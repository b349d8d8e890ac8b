"""Turn inference's result files into the task's metric; every row counts.

python postprocess.py --task_name SST-2 --input_dir preprocess_Result --result_dir result_Files
"""

from src import metrics
from src.deploy.bin_files import kind_of_results, read_inputs, read_results
from src.errors import UserError, command
from src.settings.parsing import read_settings
from src.settings.tools import PostprocessConfig
from src.tasks import get_task
from src.terminal import result


@command
def main() -> None:
    """Settings, rows and logits, metric."""
    settings = read_settings(PostprocessConfig)
    inputs = read_inputs(settings.input_dir)
    facts = inputs.facts
    assert facts.kind is not None  # rows.json says one
    task = get_task(settings.task_name or facts.task_name)
    if get_task(facts.task_name) != task:
        raise UserError(f"task_name: {inputs.folder} holds rows of {facts.task_name}, not {task.name}")
    names = metrics.choose(task.metrics, settings.assessment_method, facts.kind, facts.outputs)
    examples = inputs.examples()
    logits = read_results(settings.result_dir, inputs, examples)
    kind = kind_of_results(settings.result_dir, inputs, settings.null_score_diff_threshold)
    results = metrics.score(names, kind, logits, examples, facts.labels)
    text = metrics.result_block(results, names) + f"\n{inputs.rows} rows"
    result({"task": task.name, **results, "rows": inputs.rows}, text)


if __name__ == "__main__":
    main()
