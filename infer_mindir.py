"""Run a MINDIR over the .bin files of preprocess.py: in MindSpore Lite where it is installed (as on Ascend
310), else in MindSpore.

python infer_mindir.py --model_file MODEL.mindir --input_dir preprocess_Result --output_dir result_Files
"""

import time

import numpy as np
from tqdm import tqdm

from src.deploy.bin_files import OWN_RESULTS, check_model, read_info, read_inputs, write_results
from src.deploy.sessions import MindirModel
from src.errors import command
from src.files import check_replaceable, replacing_folder
from src.settings.parsing import read_settings, required
from src.settings.tools import InferConfig


@command
def main():
    """Settings, model, rows, result files."""
    settings = read_settings(InferConfig)
    required(settings, "model_file")
    info = read_info(settings.input_dir)
    rows = info["rows"]
    check_replaceable(settings.output_dir, "output_dir", OWN_RESULTS)
    model = MindirModel(settings.model_file, settings.device_target, settings.device_id)
    check_model(info, model.metadata, settings.input_dir, settings.model_file)
    model(*read_inputs(settings.input_dir, 0, 1))  # loads and compiles, unclocked
    seconds = []
    with replacing_folder(settings.output_dir) as folder:
        for start in tqdm(range(0, rows, model.batch_size), desc="inference", leave=False, disable=None):
            columns = read_inputs(settings.input_dir, start, min(start + model.batch_size, rows))
            began = time.perf_counter()
            logits = model(*columns)
            seconds.append(time.perf_counter() - began)
            write_results(folder, start, logits)
    print(
        f"done: logits of {rows} rows in {settings.output_dir}, {1000 * np.mean(seconds):.2f} ms a batch "
        f"of {model.batch_size}; next: python postprocess.py --input_dir {settings.input_dir} "
        f"--result_dir {settings.output_dir}",
        flush=True,
    )


if __name__ == "__main__":
    main()
