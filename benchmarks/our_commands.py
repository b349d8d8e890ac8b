"""This project's commands as the benchmarks of whole runs start them, with a compile cache of their own."""

import json
import os

from benchmarks.measure import python, run_command


def first_rows(glue_dir, task, count, folder):
    """Write FOLDER/TASK with dev.tsv and the first `count` rows (0: all) of train.tsv; returns its path."""
    path = os.path.join(folder, task)
    os.makedirs(path, exist_ok=True)
    for split, limit in (("train", count), ("dev", 0)):
        with open(os.path.join(glue_dir, task, f"{split}.tsv"), encoding="utf-8") as file:
            lines = file.readlines()
        with open(os.path.join(path, f"{split}.tsv"), "w", encoding="utf-8") as file:
            file.writelines(lines[: limit + 1 if limit else None])
    return path


class OurCommands:
    """Commands of one user, in a folder that holds all they leave, the compile cache included."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.environment = {"XDG_CACHE_HOME": os.path.join(folder, "cache")}
        self.done = []

    def begin(self):
        """Forget the times so far."""
        self.done = []

    def run(self, script, *arguments):
        """Run an entry script; its time and peak memory count."""
        log = os.path.join(self.folder, f"{len(self.done)}-{script}.log")
        done = run_command(python(script, *arguments), log, self.folder, self.environment)
        self.done.append(done)
        return done

    def prepare(self, task, raw_dir, vocabulary_dir, data_dir):
        """Raw rows to records."""
        vocabulary = os.path.join(vocabulary_dir, "vocab.txt")
        folders = ("--data_dir", raw_dir, "--vocab_file", vocabulary, "--output_dir", data_dir)
        return self.run("prepare_data.py", "--task_name", task, *folders)

    def convert(self, source, output, *further):
        """A Hugging Face folder to a checkpoint of ours."""
        return self.run("convert_checkpoint.py", "--input", source, "--output", output, *further)

    def total(self):
        """Seconds of all commands since `begin`, and the largest peak."""
        seconds = round(sum(item["seconds"] for item in self.done), 2)
        return {"seconds": seconds, "peak_mib": max(item["peak_mib"] for item in self.done)}

    def dev_score(self, run_dir, model, metric):
        """A score of a run's results.json, in percent."""
        with open(os.path.join(run_dir, "results.json"), encoding="utf-8") as file:
            return round(100 * json.load(file)["models"][model][metric], 2)
