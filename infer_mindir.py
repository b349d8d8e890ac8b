"""Run a MINDIR over the .bin files of preprocess.py: in MindSpore Lite where it is installed (as on Ascend
310), else in MindSpore.

python infer_mindir.py --model_file MODEL.mindir --input_dir preprocess_Result --output_dir result_Files
"""

import time

import numpy as np

from src.deploy.bin_files import OWN_RESULTS, read_inputs, write_model, write_results
from src.deploy.sessions import MindirSession
from src.errors import command
from src.files import check_replaceable, replacing_folder
from src.settings.parsing import read_settings, required
from src.settings.tools import InferConfig
from src.terminal import bar


@command
def main() -> None:
    """Settings, rows, model, result files.

    The session stands alone, without a `Model` around it: where MindSpore Lite is, MindSpore may not be.
    """
    settings = read_settings(InferConfig)
    required(settings, "model_file")
    inputs = read_inputs(settings.input_dir)
    check_replaceable(settings.output_dir, "output_dir", OWN_RESULTS)
    model = MindirSession(settings.model_file, settings.device_target, settings.device_id)
    model.description.check_fits(inputs.facts, "model_file")
    model(*inputs.read(0, 1))  # loads and compiles, unclocked
    seconds = []
    size = model.batch_size or settings.batch_size
    starts = range(0, inputs.rows, size)
    with replacing_folder(settings.output_dir) as folder:
        write_model(folder, model.description)
        for start in bar("inference", len(starts), "batch", starts):
            columns = inputs.read(start, min(start + size, inputs.rows))
            began = time.perf_counter()
            logits = model(*columns)
            seconds.append(time.perf_counter() - began)
            write_results(folder, start, logits)
    print(
        f"done: logits of {inputs.rows} rows in {settings.output_dir}, {1000 * np.mean(seconds):.2f} ms a "
        f"batch of {size}; next: python postprocess.py --input_dir {settings.input_dir} "
        f"--result_dir {settings.output_dir}",
        flush=True,
    )


if __name__ == "__main__":
    main()
