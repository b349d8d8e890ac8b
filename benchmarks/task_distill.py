"""Whole task distillation of SST-2 on some of its rows, 3 + 1 epochs, in three ways: time to the end and the
score there.

    python benchmarks/task_distill.py --teacher_dir HF_TEACHER --glue_dir GLUE [--rows 6400]

The published way is rows padded to 64 and the teacher in every step, in PyTorch, or with --only
ours-published in this project with its caches, packing and fusion off; then PyTorch with batches grouped by
length; then run_task_distill.py as it is. All make a student of 3 of the teacher's layers with batches of 32.
Time is of the whole commands, ours with prepare_data.py and convert_checkpoint.py and an empty compile cache.
"""

import argparse
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import add_json_option, last_json, python, report, run_command  # noqa: E402
from benchmarks.our_commands import OurCommands, first_rows  # noqa: E402

LAYERS = (1, 3, 5)
WAYS = {
    "ours": "ours",
    "torch-grouped": "PyTorch, grouped by length",
    "torch-published": "PyTorch, the published way",
    "ours-published": "ours, the published way",
}
OFF = (
    "--padding", "buckets", "--enable_buckets", "false", "--teacher_cache_gb", "0",
    "--phase2_cfg.cache_teacher", "false", "--enable_graph_kernel", "false",
)  # fmt: skip
"""Settings that give up what this project adds."""
REACH = {"torch-grouped": 2.0, "torch-published": 8.0}


def ours(options, glue_dir, folder, *further):
    """Seconds and peak of the commands, and the best score."""
    commands = OurCommands(folder)
    data, teacher, output = (os.path.join(folder, part) for part in ("data", "teacher", "run"))
    commands.prepare("SST-2", os.path.join(glue_dir, "SST-2"), options.teacher_dir, data)
    commands.convert(options.teacher_dir, teacher, "--task_name", "SST-2")
    commands.run(
        "run_task_distill.py",
        "--task_name", "sst-2", "--load_teacher_ckpt_path", teacher, "--output_dir", output,
        "--train_data_dir", f"{data}/sst-2", "--eval_data_dir", f"{data}/sst-2",
        "--student_init", "teacher_layers", "--td_student_net_cfg.num_hidden_layers", len(LAYERS),
        "--td_phase1_epoch_size", options.epochs[0], "--td_phase2_epoch_size", options.epochs[1],
        "--seed", options.seed, *further,
    )  # fmt: skip
    return {**commands.total(), "dev": commands.dev_score(output, "distilled student", "accuracy")}


def torch(options, glue_dir, folder, batching):
    log = os.path.join(folder, f"torch-{batching}.log")
    command = python(
        "benchmarks/torch_distill.py",
        "--task", "SST-2", "--teacher_dir", options.teacher_dir, "--glue_dir", glue_dir,
        "--layers", *LAYERS, "--batching", batching, "--seed", options.seed,
        "--phase1_epochs", options.epochs[0], "--phase2_epochs", options.epochs[1],
        "--output_dir", os.path.join(folder, f"torch-{batching}"),
    )  # fmt: skip
    return {**run_command(command, log), "dev": last_json(log)["dev"]}


def run_way(way, options, folder):
    """One way's seconds, peak and score."""
    if way.startswith("ours"):
        own = os.path.join(folder, way)
        return ours(options, folder, own, *(OFF if way == "ours-published" else ()))
    return torch(options, folder, folder, "grouped" if way == "torch-grouped" else "64")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher_dir", required=True, help="SST-2's teacher, a Hugging Face folder")
    parser.add_argument("--glue_dir", required=True, help="folder with SST-2/train.tsv and dev.tsv")
    parser.add_argument("--rows", type=int, default=6400, help="training rows, the first ones; 0: all")
    parser.add_argument("--epochs", type=int, nargs=2, default=(3, 1), help="of phase 1 and phase 2")
    parser.add_argument("--seed", type=int, default=42, help="of every way")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS)[:3], help="which ways")
    add_json_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first_rows(options.glue_dir, "SST-2", options.rows, folder)
        results = {way: run_way(way, options, folder) for way in options.only}
    sides = {WAYS[way]: values for way, values in results.items()}
    epochs = f"{options.epochs[0]} + {options.epochs[1]} epochs"
    setting = f"SST-2, {options.rows or 'all'} training rows, {epochs}, teacher 6 x 384, student 3 x 384"
    reach = {WAYS[way]: value for way, value in REACH.items()}
    report(options, "whole task distillation", setting, sides, reach=reach)


if __name__ == "__main__":
    main()
