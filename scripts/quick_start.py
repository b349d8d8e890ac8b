"""The whole way in a few minutes on a CPU: a corpus, a teacher, a student without distillation and one with,
its ternary form, an ONNX file, an answer, a table.

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

from tabulate import tabulate

from src.errors import UserError, command
from src.json_file import read_json

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
TEACHER_RATE, STUDENT_RATE, PHASE1_RATE, PHASE2_RATE, TERNARY_RATE = 5e-4, 2e-3, 2e-3, 2e-3, 1e-3
TERNARY_EPOCHS = 2
EPOCHS = PHASE1_EPOCHS + PHASE2_EPOCHS  # of either student
EXPLANATION = f"""\
{DEV_ROWS:,} dev sentences, none of them among the {TRAIN_ROWS:,} training sentences. Both students start
from random weights and see every training sentence {EPOCHS} times. The fine-tuned one learns from the
labels, the distilled one only from its teacher: attention scores and hidden states ({PHASE1_EPOCHS} times),
then predictions ({PHASE2_EPOCHS} times). The ternary one starts from it and learns from it. The dev sentences
also chose each network's best epoch. A network this small is mostly position table and overhead: a BERT's
file becomes 18 times smaller (docs/quantization.md)."""
SENTENCE = "the plot was dull , but i loved the songs"


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


def ternary(title, name, model):
    """Make a network ternary, with itself as the teacher; returns the packed model's folder."""
    data = path("data", "sst-2")
    step(
        title,
        "train.py",
        *("--config_path", "ternary_config.yaml", "--task_name", TASK, "--data_dir", data),
        *("--teacher_model_dir", model, "--student_model_dir", model, "--output_dir", path(name)),
        *("--epoch_size", str(TERNARY_EPOCHS), "--enable_buckets", "false"),
        *("--train_cfg.optimizer_cfg.AdamWeightDecay.learning_rate", str(TERNARY_RATE)),
    )
    return path(name, "sst-2")


def export(title, model, file):
    """Export a model to the ONNX file `file`; returns its path."""
    step(title, "export.py", "--ckpt_file", model, "--file_name", file)
    return file


def evaluate(title, model):
    """The results of a network's folder or an ONNX file, and the bytes of its weights."""
    exported = model.endswith(".onnx")
    script, key = ("run_eval_onnx.py", "--model_file") if exported else ("eval.py", "--model_dir")
    results = f"{model}-evaluation.json"
    step(title, script, "--task_name", TASK, key, model, "--data_dir", path("data"), "--output_file", results)
    files = [model] if exported else [entry.path for entry in os.scandir(model)]
    return {**read_json(results, "the evaluation"), "bytes": max(map(os.path.getsize, files))}


def table(models):
    """{title: results} as a table."""
    rows = [
        [
            title,
            f"{found['bytes']:,}",
            f"{100 * found['accuracy']:.2f}",
            f"{found['seconds_per_1000_rows']:.3f}",
        ]
        for title, found in models.items()
    ]
    head = ["model", "bytes", "accuracy", "ms a sentence"]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True, stralign="right")


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
    packed = ternary("make the distilled student ternary", "student_ternary", distilled)
    onnx = export("export it", packed, path("student.onnx"))
    models = {
        "teacher": evaluate("evaluate the teacher", teacher),
        "student, fine-tuned only": evaluate("evaluate the fine-tuned student", plain),
        "student, distilled": evaluate("evaluate the distilled student", distilled),
        "student, distilled, ternary, packed": evaluate("evaluate the packed student", packed),
        "the same as ONNX": evaluate("evaluate the ONNX file", onnx),
    }
    step("ask the ONNX file", "predict.py", "--model", onnx, "--text", SENTENCE)
    runs = [path(name) for name in ("teacher", "student_finetuned", "student_distilled", "student_ternary")]
    step("put the runs side by side", "report.py", *runs, "--output_file", path("comparison.html"))
    print(
        f"\n{table(models)}\n\n{EXPLANATION}\n"
        f"{(time.monotonic() - started) / 60:.1f} minutes; everything is in {FOLDER}; look in a browser at "
        'comparison.html and each run\'s report.html. Next, your own model: README.md, "Distil my model"'
    )


if __name__ == "__main__":
    main()
