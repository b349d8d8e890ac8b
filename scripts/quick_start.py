"""The whole way in a few minutes on a CPU: a corpus, a teacher, a student without distillation and one with,
a table.

Nothing is downloaded and nothing is pre-trained: the corpus comes from templates (src/data/synthetic.py) and
every network starts from random weights. Both students have the same architecture and see the same sentences
equally often. Run it with scripts/quick_start.sh; results go to output/quick_start, which is replaced as a
whole.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time

from src.errors import UserError, command
from src.files import read_json
from src.train.session import results_table

FOLDER = os.path.join("output", "quick_start")
TASK = "SST-2"
TRAIN_ROWS, DEV_ROWS = 6000, 1000
TEACHER_EPOCHS = 4
PHASE1_EPOCHS, PHASE2_EPOCHS = 2, 3
TEACHER = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
STUDENT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
# From random weights a small network without dropout and with larger first weights leaves its plateau
# soonest.
COMMON = {
    "max_position_embeddings": 64,
    "hidden_act": "gelu_new",
    "initializer_range": 0.05,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
TEACHER_RATE, STUDENT_RATE, PHASE1_RATE, PHASE2_RATE = 5e-4, 2e-3, 2e-3, 2e-3
EPOCHS = PHASE1_EPOCHS + PHASE2_EPOCHS  # of either student
EXPLANATION = f"""\
{DEV_ROWS:,} dev sentences, none of them among the {TRAIN_ROWS:,} training sentences. Both students start
from random weights and see every training sentence {EPOCHS} times. The fine-tuned one learns from the
labels, the distilled one only from its teacher: attention scores and hidden states ({PHASE1_EPOCHS} times),
then predictions ({PHASE2_EPOCHS} times). The dev sentences also chose each network's best epoch."""


def path(*names):
    """A path in the quick start's folder."""
    return os.path.join(FOLDER, *names)


def flags(prefix, values):
    """`--prefix.key value` for every entry of a dict."""
    return [part for key, value in values.items() for part in (f"--{prefix}.{key}", str(value))]


def step(title, *arguments):
    """Print and run one command of the repository; its failure ends the quick start."""
    print(f"\n=== {title}\n$ python {shlex.join(arguments)}", flush=True)
    status = subprocess.run([sys.executable, "-u", *arguments]).returncode
    if status:
        raise UserError(f"'{title}' ended with exit status {status}; its message is above")


def training_flags(name):
    """What every training command gets: the task, its data, its run folder.

    One length for all rows: for networks this small, compiling a graph for each bucket takes longer than it
    saves.
    """
    data = path("data", "sst-2")
    return [
        "--task_name",
        TASK,
        "--train_data_dir",
        data,
        "--eval_data_dir",
        data,
        "--output_dir",
        path(name),
        "--enable_buckets",
        "false",
    ]


def finetune(title, name, network, epochs, learning_rate):
    """Fine-tune a network from random weights; returns its folder."""
    step(
        title,
        "run_finetune.py",
        *training_flags(name),
        "--vocab_file",
        path("corpus", "vocab.txt"),
        "--epoch_size",
        str(epochs),
        *flags("net_cfg", {**network, **COMMON}),
        "--finetune_cfg.optimizer_cfg.AdamWeightDecay.learning_rate",
        str(learning_rate),
    )
    return path(name, "sst-2")


def distil(title, name, teacher):
    """Distil the teacher into a student that starts from random weights; returns its folder."""
    step(
        title,
        "run_task_distill.py",
        *training_flags(name),
        "--load_teacher_ckpt_path",
        teacher,
        "--td_phase1_epoch_size",
        str(PHASE1_EPOCHS),
        "--td_phase2_epoch_size",
        str(PHASE2_EPOCHS),
        *flags("td_student_net_cfg", STUDENT),
        "--phase1_cfg.optimizer_cfg.AdamWeightDecay.learning_rate",
        str(PHASE1_RATE),
        "--phase2_cfg.optimizer_cfg.AdamWeightDecay.learning_rate",
        str(PHASE2_RATE),
    )
    return path(name, "sst-2")


def evaluate(title, model):
    """The results of eval.py for the network in the folder `model`."""
    results = os.path.join(os.path.dirname(model), "evaluation.json")
    step(
        title,
        "eval.py",
        "--task_name",
        TASK,
        "--model_dir",
        model,
        "--data_dir",
        path("data"),
        "--output_file",
        results,
    )
    return read_json(results, "the evaluation")


@command
def main():
    """Corpus, records, teacher, both students, table."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    step(
        "make the corpus",
        "-m",
        "src.data.synthetic",
        "--output_dir",
        path("corpus"),
        "--train_rows",
        str(TRAIN_ROWS),
        "--dev_rows",
        str(DEV_ROWS),
    )
    step(
        "tokenize it",
        "prepare_data.py",
        "--task_name",
        TASK,
        "--data_dir",
        path("corpus"),
        "--vocab_file",
        path("corpus", "vocab.txt"),
        "--output_dir",
        path("data"),
    )
    teacher = finetune("train the teacher", "teacher", TEACHER, TEACHER_EPOCHS, TEACHER_RATE)
    plain = finetune(
        "train the student without distillation", "student_finetuned", STUDENT, EPOCHS, STUDENT_RATE
    )
    distilled = distil("distil the teacher into the same student", "student_distilled", teacher)
    models = {
        "teacher": evaluate("evaluate the teacher", teacher),
        "student, fine-tuned only": evaluate("evaluate the fine-tuned student", plain),
        "student, distilled": evaluate("evaluate the distilled student", distilled),
    }
    print(
        f"\n{results_table(models, ('accuracy',))}\n\n{EXPLANATION}\n"
        f"{(time.monotonic() - started) / 60:.1f} minutes; everything is in {FOLDER}"
    )


if __name__ == "__main__":
    main()
