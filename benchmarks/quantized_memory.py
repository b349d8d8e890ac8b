"""Peak memory of training a ternary network on STS-B as shipped, against the same in PyTorch.

    python benchmarks/quantized_memory.py --teacher_dir HF_TEACHER --glue_dir GLUE

Ours is train.py with ternary_config.yaml for one epoch, in which all lengths occur, evaluation and the packed
file included. PyTorch's is torch_distill.py: same quantizers and losses, batches of 32 padded to the longest
of the batch. Both are whole processes.
"""

import argparse
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import add_json_option, last_json, python, report, run_command  # noqa: E402
from benchmarks.our_commands import OurCommands, first_rows  # noqa: E402


def ours(options, raw, folder):
    """Seconds and peak of train.py, and the score."""
    commands = OurCommands(folder)
    data, teacher, output = (os.path.join(folder, part) for part in ("data", "teacher", "run"))
    commands.prepare("STS-B", raw, options.teacher_dir, data)
    commands.convert(options.teacher_dir, teacher, "--task_name", "STS-B")
    done = commands.run(
        "train.py",
        "--config_path", os.path.join(ROOT, "ternary_config.yaml"), "--task_name", "sts-b",
        "--teacher_model_dir", teacher, "--student_model_dir", teacher,
        "--data_dir", f"{data}/sts-b", "--epoch_size", 1, "--output_dir", output,
    )  # fmt: skip
    return {**done, "dev": commands.dev_score(output, "quantized student", "pearson")}


def torch(options, glue_dir, folder):
    log = os.path.join(folder, "torch.log")
    command = python(
        "benchmarks/torch_distill.py",
        "--task", "STS-B", "--teacher_dir", options.teacher_dir, "--glue_dir", glue_dir,
        "--quantized", "--dropout", 0, "--phase2_epochs", 1, "--output_dir", os.path.join(folder, "torch"),
    )  # fmt: skip
    return {**run_command(command, log), "dev": last_json(log)["dev"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher_dir", required=True, help="STS-B's teacher, a Hugging Face folder")
    parser.add_argument("--glue_dir", required=True, help="folder with STS-B/train.tsv and dev.tsv")
    parser.add_argument("--rows", type=int, default=0, help="training rows; 0: all")
    parser.add_argument("--torch_only", action="store_true", help="measure PyTorch's side alone")
    add_json_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raw = first_rows(options.glue_dir, "STS-B", options.rows, folder)
        sides = {} if options.torch_only else {"ours": ours(options, raw, os.path.join(folder, "ours"))}
        sides["PyTorch"] = torch(options, folder, folder)
    setting = f"STS-B, {options.rows or 'all'} rows, one epoch, W2A8 as shipped, batch 32, up to 128 tokens"
    report(options, "ternary training", setting, sides, memory_reach=1.3)


if __name__ == "__main__":
    main()
