"""Turn a task's records into .bin files, one a row and tensor, for inference on Ascend 310
(scripts/run_infer_310.sh).

python preprocess.py --task_name SST-2 --data_dir DATA_DIR --seq_length 64
"""

from src.data.dataset import Batches
from src.data.task_data import load_task_data
from src.deploy.bin_files import OWN_INPUTS, write_inputs
from src.errors import UserError, command
from src.files import check_replaceable, replacing_folder
from src.settings.parsing import read_settings, required
from src.settings.tools import PreprocessConfig
from src.tasks import get_task, task_folder


@command
def main() -> None:
    """Settings, records, files."""
    settings = read_settings(PreprocessConfig)
    required(settings, "task_name", "data_dir")
    task, output_dir = get_task(settings.task_name), settings.output_dir
    data_dir = task_folder(settings.data_dir, task)
    records = settings.dataset_type, settings.schema_dir
    data = load_task_data(task, "", data_dir, *records, label_order=settings.label_order)
    split, others = settings.split, [name for name in data.evals if name != settings.split]
    if split not in data.evals:
        raise UserError(f"split: {data_dir} has no {split} rows; it has {', '.join(data.evals)}")
    examples, facts = data.evals[split], data.facts(split)
    length = settings.seq_length or task.max_seq_length
    if facts.longest > length:
        raise UserError(
            f"seq_length: {facts.rows} hold a row of {facts.longest} tokens, more than {length}; export the "
            f"model with --seq_length {facts.longest}, or prepare the data with --max_seq_length {length}"
        )
    rows = Batches(examples, 1).pad(range(len(examples)), length)
    check_replaceable(output_dir, "output_dir", OWN_INPUTS)
    with replacing_folder(output_dir) as folder:
        write_inputs(folder, rows, examples, facts, split, settings.layout)
    if others:
        print(f"only the {split} rows are written; others: --split {' or '.join(others)}")
    print(
        f"done: {len(examples)} rows of {length} tokens in {output_dir}; next: python infer_mindir.py "
        f"--model_file MINDIR_FILE --input_dir {output_dir}",
        flush=True,
    )


if __name__ == "__main__":
    main()
