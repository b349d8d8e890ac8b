"""What the training commands share: set-up, data, evaluation and the closing summary."""

import os
import resource
import time
from dataclasses import dataclass, replace

from tabulate import tabulate

from src import metrics, runtime
from src.data.dataset import Batches
from src.data.task_data import TaskData, load_task_data
from src.evaluate import evaluate
from src.files import write_json
from src.nn.heads import Logits
from src.settings.parsing import required, to_yaml
from src.tasks import get_task
from src.train.callbacks import Evaluation, LastCheckpoint, Profile, StepCheckpoints
from src.train.curves import draw


@dataclass
class TrainingRun:
    """One run of a training command."""

    settings: object
    device: str
    group: runtime.Group
    run: runtime.RunFolder
    started: float

    @classmethod
    def begin(cls, settings, name, **further):
        """Set up the device and the group and print the settings; `run.start` is left to the command's own
        checks.

        Args:
            settings (TrainingConfig): the run's settings. name (str): of the run folder when output_dir is
                unset.
            further: fields of a subclass.
        """
        started = time.time()
        device = runtime.set_up(settings, settings.seed)
        group = runtime.join_group(settings, device)
        one_shape = settings.enable_data_sink and device != "CPU" and settings.enable_buckets
        if one_shape:
            settings = replace(settings, enable_buckets=False)
        if group.first:
            print(to_yaml(settings), flush=True)
        if settings.enable_data_sink and device == "CPU":
            runtime.say("enable_data_sink: not available on CPU, ignored")
        elif one_shape:
            runtime.say(
                "enable_buckets: the data sink needs batches of one shape, so all rows are padded to the "
                "longest of them"
            )
        run = runtime.RunFolder(settings.output_dir or os.path.join("output", name), group.first)
        return cls(settings, device, group, run, started, **further)

    def sink_steps(self, batches):
        """Batches the device pulls at a time, or 0 where the data sink is off or does not exist."""
        if not self.settings.enable_data_sink or self.device == "CPU":
            return 0
        return (
            len(batches)
            if self.settings.data_sink_steps == -1
            else min(self.settings.data_sink_steps, len(batches))
        )

    def shared_callbacks(self, folder):
        """Callbacks of any stage that writes to `folder`, as the settings ask: checkpoints every so many
        steps, a profile.
        """
        settings, chosen = self.settings, []
        if settings.save_ckpt_step:
            chosen.append(StepCheckpoints(settings.save_ckpt_step, settings.max_ckpt_num, folder))
        if settings.profile_steps and self.group.first:
            chosen.append(Profile(settings.profile_steps, self.device, self.run.join("profile")))
        return chosen

    def close(self, results, last_line):
        """Write results.json and the curves, print where they are and the last line.

        Args:
            results (dict): for results.json. last_line (str): what was produced, where, and what to run next.
        """
        if not self.group.first:
            return
        summary = {
            **results,
            "device": self.device,
            "wall_seconds": round(time.time() - self.started, 1),
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        write_json(self.run.join("results.json"), summary)
        drawn = draw(self.run.join("metrics.jsonl"), self.run.join("curves.png"))
        print(
            f"wall time {summary['wall_seconds']:.0f} s, peak memory {summary['peak_memory_mib']} MiB; "
            f"results.json{', curves.png' if drawn else ''} and metrics.jsonl are in {self.run.path}"
        )
        print(last_line, flush=True)


@dataclass
class Session(TrainingRun):
    """One run of a command that trains on a task."""

    data: TaskData = None
    metric_names: tuple = ()

    @classmethod
    def open(cls, settings, command_name, labels=()):
        """Check the paths, set up the device, read the data, print the settings; `run.start` is left to the
        command's own checks.

        Args:
            settings (RunConfig): the run's settings.
            command_name (str): names the run folder when output_dir is unset.
            labels (tuple of str): class names where neither the task table nor the data's dataset.json gives
                them.
        """
        required(settings, "task_name")
        task = get_task(settings.task_name)
        if settings.do_train:
            required(settings, "train_data_dir")
        if settings.do_eval:
            required(settings, "eval_data_dir")
        if not settings.do_train:
            command_name += "-eval"  # the training run's own records stay
        session = cls.begin(settings, f"{command_name}-{task.folder}")
        data = load_task_data(
            settings, settings.train_data_dir if settings.do_train else "", settings.eval_data_dir, labels
        )
        session.data = data
        session.metric_names = metrics.choose(
            task.metrics, settings.assessment_method, data.num_labels, data.regression
        )
        sizes = ", ".join(
            f"{split} {len(rows)} rows" for split, rows in {"train": data.train, **data.evals}.items() if rows
        )
        runtime.say(f"task {task.name} on {session.device}: {sizes}")
        return session

    def train_batches(self, config, **extra):
        """`Batches` of the training rows for a `PhaseConfig`; `extra` are further columns."""
        settings = self.settings
        return Batches(
            self.data.train,
            config.batch_size,
            settings.bucket_boundaries,
            settings.enable_buckets,
            settings.do_shuffle,
            drop_remainder=True,
            seed=settings.seed,
            rank=self.group.rank,
            device_num=self.group.size,
            extra=extra,
        )

    def evaluator(self, network):
        """() -> results of `network` (a `BertForSequence`) on every evaluation set."""
        batches = self.data.eval_batches(
            self.settings.eval_cfg.batch_size, self.settings.bucket_boundaries, self.settings.enable_buckets
        )
        logits = Logits(network)
        return lambda: evaluate(logits, batches, self.metric_names)

    def callbacks(self, folder, evaluation=None):
        """Checkpoint (and evaluation) callbacks of a stage that writes to `folder`.

        Returns:
            (callbacks, the `Evaluation` among them or None)
        """
        chosen, watcher = self.shared_callbacks(folder), None
        if evaluation:
            watcher = Evaluation(evaluation, self.settings.eval_cfg.eval_step, folder)
            chosen.append(watcher)
        else:
            chosen.append(LastCheckpoint(folder))
        return chosen, watcher

    def finish(self, models, last_line):
        """`close` with a table of models above.

        Args:
            models (dict): {row title: results of `evaluate` with `parameters` added}, in order; may be empty.
            last_line (str): as in `close`.
        """
        if models and self.group.first:
            print(results_table(models, self.metric_names))
        self.close({"task": self.data.task.name, "models": models}, last_line)


def results_table(models, metric_names):
    """A table of models: parameters, each metric in percent, seconds per 1,000 rows."""
    extra = [name for results in models.values() for name in results if "/" in name]
    names = list(metric_names) + list(dict.fromkeys(extra))
    rows = [
        [
            title,
            f"{results['parameters']:,}",
            *(f"{100 * results[name]:.2f}" for name in names),
            f"{results['seconds_per_1000_rows']:.2f}",
        ]
        for title, results in models.items()
    ]
    head = [
        "model",
        "parameters",
        *(
            metrics.printed_name(name.split("/")[0]) + name.partition("/")[1] + name.partition("/")[2]
            for name in names
        ),
        "seconds / 1,000 rows",
    ]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True, stralign="right")
