"""Runs the commands of the documents as they stand, with tiny inputs in place of the capital words.

    python -m tests.run_documents [README.md docs/data.md ...] [--only WORD ...] [--work DIR]

They run in a clone of this repository (of what is committed), in the order of the page, each in turn; a table
says how each ended, and which were left out and why. What they need that the page does not make (a teacher,
an earlier run) is made first, by the same commands, and once for a folder DIR. A network of 4 layers, 24
wide, learns nothing at BERT's learning rates, few epochs show that a command runs, and fusing operators takes
longer than it saves: `FURTHER` is added. Chinese pages show the same commands (tests/test_documents.py). Not
part of the test suite: a page takes minutes. Exit status 1 where a command failed.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from tabulate import tabulate

from src.files import ROOT
from tests.document_inputs import vocabulary, write_raw
from tests.documents import PAGES, blocks, is_command

TASKS = ("SST-2", "STS-B", "MRPC", "MNLI", "TNEWS", "CLUENER", "SQuAD2", "SQuAD", "custom")
RECIPES = {"td_config_15cls": "TNEWS", "td_config_ner": "CLUENER", "version_2_with_negative": "SQuAD2"}
"""{part of a command: its task}, where it does not name it."""
LAYERS = {"encoder": 4, "encoder-6": 6, "mlm": 2}
"""Of the made checkpoints: recipes have students of 4 layers, the README's own data a teacher of 6."""
LEFT_OUT = {
    "scripts/quick_start.sh": "takes minutes; needs no inputs, run it by itself",
    "output/quick_start/": "needs its runs",
    "scripts/run_tests.sh": "the test suite",
    "benchmarks/": "takes an hour",
    "http.server": "does not end",
}
UNFUSED = {"enable_graph_kernel": "false"}
ONLY_TINY = {"min_teacher_gain": 0, **UNFUSED}
FEW_EPOCHS = {"td_phase1_epoch_size": 2, "td_phase2_epoch_size": 1, **ONLY_TINY}
FURTHER = {
    "run_finetune": {
        **UNFUSED,
        "epoch_size": 8,
        "finetune_cfg.batch_size": 16,
        "finetune_cfg.optimizer_cfg.AdamWeightDecay.learning_rate": 2e-3,
    },
    "run_task_distill": FEW_EPOCHS,
    "run_standalone_td": FEW_EPOCHS,
    "train.py": ONLY_TINY,
    "run_train.sh": ONLY_TINY,
    "run_standalone_gd": UNFUSED,
    "run_distributed_gd_cpu": UNFUSED,
    "eval.py": UNFUSED,
    "run_eval.sh": UNFUSED,
}
"""{part of a script's name: what is added to its commands, where they do not say it themselves}"""


def task_of(command):
    """The task that a command is about, by its words; SST-2 where it names none."""
    said = next((task for part, task in RECIPES.items() if part in command), None)
    plain = command.lower().replace("-", "")
    found = [task for task in TASKS if re.search(rf"\b(td_config_)?{task.lower().replace('-', '')}\b", plain)]
    return said or (found[0] if found else "SST-2")


class Workspace:
    """A clone with tiny inputs beside it.

    Args:
        folder (str): empty, new, or one of an earlier call, which is gone on with.
    """

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self.clone, self.made = self.path("clone"), self.path("inputs-made")
        if os.path.isdir(self.made):
            git = ["git", "-C", self.clone]
            subprocess.run([*git, "fetch", "-q", ROOT, "HEAD"], check=True)
            subprocess.run([*git, "reset", "-q", "--hard", "FETCH_HEAD"], check=True)
            return
        subprocess.run(["git", "clone", "-q", ROOT, self.clone], check=True)
        venv = os.path.join(ROOT, ".venv")
        if os.path.exists(venv):
            os.symlink(os.path.realpath(venv), os.path.join(self.clone, ".venv"))
        write_raw(self.path("raw"))
        self._encoders()
        os.mkdir(self.made)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def _encoders(self):
        from transformers import BertConfig, BertForMaskedLM, BertModel

        for name, layers in LAYERS.items():
            config = BertConfig(
                vocab_size=len(vocabulary()), hidden_size=24, num_hidden_layers=layers,
                num_attention_heads=12, intermediate_size=48, initializer_range=0.1,
            )  # fmt: skip
            network = BertForMaskedLM if name == "mlm" else BertModel
            network(config).save_pretrained(self.path(name))
            pathlib.Path(self.path(name, "vocab.txt")).write_text("\n".join(vocabulary()) + "\n")

    def begin(self):
        """Forget what an earlier page made."""
        for folder in (self.path("made"), os.path.join(self.clone, "output")):
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, command):
        """(exit status, seconds, the end of what it printed) of a command in the clone."""
        environment = {**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU"}
        environment["XDG_CACHE_HOME"] = self.path("cache")
        environment["PATH"] = os.path.dirname(sys.executable) + os.pathsep + environment["PATH"]
        start = time.monotonic()
        done = subprocess.run(
            command, shell=True, cwd=self.clone, env=environment, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.returncode, time.monotonic() - start, done.stdout[-1500:]

    def make(self, name, command):
        """Run once what other commands build on; its failure ends everything."""
        mark = pathlib.Path(self.made, name)
        if not mark.exists():
            status, _, said = self.run(command)
            if status:
                sys.exit(f"{command}\n{said}")
            mark.touch()

    def teacher(self, task):
        """The folder of a teacher of a task, made when it is first asked for."""
        key, raw, run = task.lower(), self.path("raw", task), self.path("teachers", task)
        given = f"--task_name {task} --load_ckpt_path {self.path('encoder')} --train_data_dir {raw} "
        given += f"--eval_data_dir {raw} --output_dir {run} --overwrite_output_dir true"
        self.make(f"teacher {key}", self.filled(f"python run_finetune.py {given}"))
        return os.path.join(run, key)

    def earlier(self, run, task):
        """Make a run of task distillation (td) or ternary training, whose folder is in output/."""
        if os.path.exists(os.path.join(self.clone, "output", f"{run}-{task.lower()}")):
            return
        teacher, data = self.teacher(task), os.path.join(self.records(task), task.lower())
        command = (
            f"python train.py --teacher_model_dir {teacher} --student_model_dir {teacher} --data_dir {data}"
        )
        if run == "td":
            command = f"python run_task_distill.py --load_teacher_ckpt_path {teacher} --train_data_dir {data}"
            command += f" --eval_data_dir {data} --td_student_net_cfg.num_hidden_layers 4"
        status, _, said = self.run(self.filled(f"{command} --task_name {task}"))
        if status:
            sys.exit(f"{command}\n{said}")

    def hugging_face(self, task):
        """The same as a Hugging Face folder."""
        teacher, folder = self.teacher(task), self.path("hf", task)
        given = f"--ckpt_file {teacher} --file_name {folder} --file_format SAFETENSORS"
        self.make(f"hf {task}", f"python export.py {given}")
        return folder

    def records(self, task):
        """The folder of records of all tasks, with those of this one."""
        given = f"--vocab_file {self.path('encoder', 'vocab.txt')} --output_dir {self.path('data')}"
        source = f"--task_name {task} --data_dir {self.path('raw', task)}"
        if task == "gd":
            source = f"--task_name gd --input {self.path('raw', 'corpus.txt')}"
        self.make(f"records {task}", f"python prepare_data.py {source} {given}")
        return self.path("data")

    def stands_for(self, word, task, command):
        """What a capital word of a command is here; the word where it is none of an input's."""
        data = self.path("data") if "prepare_data" in command else None
        inputs = {
            "VOCAB_FILE": lambda: self.path("encoder", "vocab.txt"),
            "RAW_DIR": lambda: self.path("raw", task),
            "CLUENER_DIR": lambda: self.path("raw", "CLUENER"),
            "SQUAD_DIR": lambda: self.path("raw", "SQuAD"),
            "TNEWS_DIR": lambda: self.path("raw", "TNEWS"),
            "MY_DIR": lambda: self.path("raw", "custom"),
            "HCCL_JSON": lambda: self.path("raw", "hccl.json"),
            "CORPUS": lambda: self.path("raw", "corpus.txt"),
            "ENCODER_DIR": lambda: self.path("encoder-6" if task == "custom" else "encoder"),
            "MLM_DIR": lambda: self.path("mlm"),
            "HF_DIR": lambda: self.hugging_face(task),
            "TEACHER_DIR": lambda: self.path("new-teacher") if "convert" in command else self.teacher(task),
            "FINE_TUNED_DIR": lambda: self.teacher(task),
            "MODEL_DIR": lambda: self.teacher(task),
            "MODEL": lambda: self.teacher(task),
            "DATA_DIR": lambda: data or self.records("gd" if "/gd" in command else task),
            "TASK_DIR": lambda: os.path.join(self.records(task), task.lower()),
        }
        if word in inputs:
            return inputs[word]()
        return self.path("made", word) if re.fullmatch(r"[A-Z]+(_[A-Z]+)*", word) else word

    def filled(self, command):
        """A command with paths in place of the words that stand for them."""
        task = task_of(command)
        words = sorted(set(re.findall(r"(?<![\w$=-])(?:\./)?([A-Z]{2,}(?:_[A-Z]+)*)(?![\w=.-]*-)", command)))
        values = {word: self.stands_for(word, task, command) for word in words if word not in NO_INPUTS}
        for word, value in sorted(values.items(), key=lambda item: -len(item[0])):
            command = re.sub(rf"(?<![\w/-])(\./)?{word}(?=[\s/.]|$)", value, command)
        if re.search(r"_(ascend|gpu)\.sh", command):
            return "DRY_RUN=1 " + command
        if " WEB" in command:
            command += f" --web_runtime {os.environ['WEB_RUNTIME']}"
        for script, options in FURTHER.items():
            for key, value in options.items() if script in command else ():
                command += "" if f"--{key} " in command else f" --{key} {value}"
        return command


NO_INPUTS = {"MINDIR", "WEB", "SAFETENSORS", "SST", "STS", "MNLI", "MRPC", "TNEWS", "CLUENER", "CPU", "GPU"}
"""Capital words that are values."""


def left_out(line, only):
    """Why a line of a page is not run; "" for one that is. `only` as `--only`."""
    if only and not any(word in line for word in only):
        return "not asked for"
    if not is_command(line):
        return "no command: an example of a file"
    if " WEB" in line and not os.environ.get("WEB_RUNTIME"):
        return "needs npm; WEB_RUNTIME=PATH, as for --web_runtime, runs it"
    return next((why for part, why in LEFT_OUT.items() if part in line), "")


def run_page(workspace, page, only):
    """Rows of the table: the page's commands, how they ended, seconds, their last words; what failed is
    printed in full.
    """
    rows = []
    workspace.begin()
    for line in blocks(page):
        title, reason = (page.name, line[:90]), left_out(line, only)
        if reason:
            rows.append((*title, f"left out: {reason}", ""))
            continue
        for run, task in re.findall(r"(?<!--output_dir )\boutput/(td|ternary)-([\w-]+)", line):
            workspace.earlier(run, task_of(task))
        command = workspace.filled(line)
        status, seconds, said = workspace.run(command)
        ended = "ok, printed only: no such devices here" if command.startswith("DRY_RUN=1 ") else "ok"
        rows.append((*title, f"exit status {status}" if status else ended, f"{seconds:.0f}"))
        print(*rows[-1], said.strip().rpartition("\n")[2][:200], sep=" | ", flush=True)
        if status:
            print(f"$ {command}\n{said}", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help="pages; all English ones where none is given")
    parser.add_argument("--only", nargs="*", default=[], help="run commands with one of these words")
    parser.add_argument("--work", help="a folder to keep, and to go on with; a temporary one otherwise")
    options = parser.parse_args()
    english = [page for page in PAGES if "zh" not in page.parts and page.name != "README_CN.md"]
    pages = [pathlib.Path(page).resolve() for page in options.pages] or english
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Workspace(options.work or temporary)
        rows = [row for page in pages for row in run_page(workspace, page, options.only)]
    rows = [row for row in rows if not row[2].endswith("not asked for")]
    print(tabulate(rows, headers=("page", "command", "ended", "s")))
    sys.exit(any(row[2].startswith("exit") for row in rows))


if __name__ == "__main__":
    main()
