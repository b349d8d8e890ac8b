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
def main():
    """Settings, records, files."""
    settings = read_settings(PreprocessConfig)
    required(settings, "task_name", "data_dir")
    task = get_task(settings.task_name)
    data = load_task_data(settings, "", task_folder(settings.data_dir, task))
    split, examples = next(iter(data.evals.items()))
    length = settings.seq_length or task.max_seq_length
    longest = int(examples.lengths.max())
    if longest > length:
        raise UserError(
            f"seq_length: the {split} records hold a row of {longest} tokens, more than {length}; export "
            f"the model with --seq_length {longest}, or prepare the data with --max_seq_length {length}"
        )
    rows = Batches(examples, 1).pad(range(len(examples)), length)
    check_replaceable(settings.output_dir, "output_dir", OWN_INPUTS)
    with replacing_folder(settings.output_dir) as folder:
        write_inputs(
            folder,
            rows,
            examples.labels,
            {
                "task_name": task.name,
                "split": split,
                "regression": data.regression,
                "num_labels": data.num_labels,
                "labels": list(data.labels),
                "vocab_sha256": data.info.vocab_sha256 if data.info else None,
                "largest_token_id": int(examples.input_ids.max()),
                "largest_segment_id": int(examples.segment_ids.max()),
            },
        )
    if len(data.evals) > 1:
        print(f"only the {split} rows are written, not those of {', '.join(list(data.evals)[1:])}")
    print(
        f"done: {len(examples)} rows of {length} tokens in {settings.output_dir}; next: python "
        f"infer_mindir.py --model_file MINDIR_FILE --input_dir {settings.output_dir}",
        flush=True,
    )


if __name__ == "__main__":
    main()
