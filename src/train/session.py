"""What the training commands share: set-up, data, stages, evaluation and the closing summary."""

import os
import resource
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Optional

import numpy as np
from tabulate import tabulate

from src import metrics, runtime
from src.checkpoint.folder import digest
from src.data.dataset import rows_to_evaluate
from src.data.steps import steps_of
from src.data.task_data import TaskData, load_task_data
from src.distill.teacher import SAMPLE_ROWS, check_better_than_guessing
from src.distill.teacher_cache import cached_teacher, with_logits
from src.errors import UserError
from src.evaluate import evaluate
from src.files import write_json
from src.run_folder import (
    METRICS_FILE,
    PROFILE,
    REPORT_FILE,
    RESULTS_FILE,
    STATE_FILE,
    TEACHER_CACHE,
    UNPACKED,
    RunFolder,
)
from src.settings.parsing import part, required
from src.settings.shared import BatchesConfig, PackingConfig
from src.settings.stage import EvalConfig
from src.settings.training import TrainingConfig
from src.tasks import get_task
from src.terminal import busy, say
from src.train.callbacks import Evaluation, LastCheckpoint, Profile, StepCheckpoints, TrainingState
from src.train.known_scores import known_scores, rows_digest
from src.train.report_files import keep_answers, keep_layers, keep_record, write_report
from src.train.resume import FinishedStages, deciding, inputs_of, repeatable
from src.train.stage import Stage, StagePlan
from src.train.verdict import no_better_than_a_constant


@dataclass
class TrainingRun:
    """One run of a training command."""

    config: TrainingConfig
    rows: BatchesConfig
    """How rows are put into batches on this device."""
    resolved: str
    """Every setting of the run as YAML, for its folder."""
    device: str
    group: runtime.Group
    run: RunFolder
    started: float
    finished: FinishedStages = None
    data_digest: dict = field(default_factory=dict)
    teacher_digest: dict = field(default_factory=dict)
    """What the run is made from besides its settings: {title: digest} of the rows, and of the teacher."""
    teacher_results: Optional[dict] = None
    """Of its evaluation, where there was one."""

    @classmethod
    def begin(cls, name, config, rows, resolved, networks=(), elsewhere=None, **further):
        """Set up the device and the group; `start` is left to the command's own checks.

        Args:
            name (str): of the run folder when output_dir is unset.
            config (TrainingConfig), rows (BatchesConfig): those parts of the command's settings.
            resolved (str): all of them, as YAML.
            networks, elsewhere: where networks go, as for a `RunFolder`.
            further: fields of a subclass.
        """
        started = time.time()
        device = runtime.set_up(config, rows.seed, config.distribute)
        group = runtime.join_group(config, device)
        if config.enable_data_sink and device == "CPU":
            say("enable_data_sink: not available on CPU, ignored")
        elif config.enable_data_sink and rows.enable_buckets and not rows.packs(device):
            rows = replace(rows, enable_buckets=False)
            say(
                "enable_buckets: the data sink needs batches of one shape, so all rows are padded to the "
                "longest of them"
            )
        path, inputs = config.output_dir or os.path.join("output", name), inputs_of(resolved)
        said = config.resume, config.overwrite_output_dir
        run = RunFolder(path, group.first, *said, inputs, config.tensorboard, networks, elsewhere)
        run.claim()
        return cls(config, rows, resolved, device, group, run, started, **further)

    def packs(self, model):
        """Whether rows share the rows of a batch where this `Model` runs."""
        return model.packs(self.rows, self.device)

    def compute_type(self, name):
        """The MindSpore type that a `compute_type` setting means on this device."""
        return runtime.compute_type(name, self.device)

    def check_steps(self, batches, config, epochs):
        """Optimizer steps of a stage; a `UserError` where it could not go through these batches, before hours
        of another one."""
        return self.plan(batches, config, epochs).steps(batches)

    def made_from(self):
        """What the run is made from: {dotted key: JSON value} of the settings that decide, the rows, the
        teacher.
        """
        return {**deciding(self.resolved), **self.data_digest, **self.teacher_digest}

    def start(self, resolved="", if_finished=None):
        """Begin the run folder's records: nothing is refused any more. A run that is resumed but finished
        ends here.

        Args:
            resolved (str): every setting as YAML, where more is known of them than before.
            if_finished (callable): what is then still to be done, by the first process.
        """
        self.resolved = resolved or self.resolved
        self.finished = FinishedStages(self.run)
        if self.config.resume and self.finished.check(self.made_from(), self.group):
            say(f"resume: this run is finished; its results are in {self.run.join(RESULTS_FILE)}")
            if self.group.first:
                self._make_up(if_finished)
            sys.exit(0)
        kept = self.finished.last_steps()
        self.run.start(repeatable(self.resolved), kept)
        keep_record(self.run, self.device, self.group, self.teacher_results, self.made_from())

    def _make_up(self, if_finished):
        """What a finished run has left undone: it may have been killed at its very end."""
        if not os.path.exists(self.run.join(REPORT_FILE)):
            write_report(self.run)
        if if_finished:
            if_finished()

    def plan(self, batches, config, epochs, max_steps=0):
        """The `StagePlan` of a stage on this device; arguments as its fields."""
        sink = 0
        if self.config.enable_data_sink and self.device != "CPU":
            wanted = self.config.data_sink_steps
            sink = len(batches) if wanted == -1 else min(wanted, len(batches))
        return StagePlan(config, epochs, max_steps, sink)

    def stage(self, name, student, loss, batches, config, epochs, max_steps=0, teacher=None):
        """The `Stage` that fits `student` (Model) by a loss (Distiller); arguments as there and in
        `StagePlan`.
        """
        plan = self.plan(batches, config, epochs, max_steps)
        first = {"the student's first weights": digest(student.weights())[:16]}
        made_from = {**self.made_from(), **first}
        return Stage(name, student, loss, batches, plan, self.run, self.group, made_from, teacher)

    def fit(self, stage, folder, evaluation=None):
        """Run a stage; its student then has the weights that are saved in `folder`, the best ones where there
        is an evaluation, else the last. Of a run that is resumed, a finished stage is not run again, and the
        one that was stopped goes on.

        Args:
            evaluation (Evaluation): of the student, or None.

        Returns:
            The results of the best evaluation, or None.
        """
        if self.finished.go_on(stage, folder, evaluation):
            stage.student.widen()
            stage.student.restore(folder)
            return self.finished.results(stage)
        state = self.run.join(STATE_FILE)
        saving = TrainingState(self.config.save_ckpt_step, state, evaluation)
        results = self._run(stage, folder, evaluation, saving)
        self.finished.note(stage, results)
        saving.end_if_told(stage)
        return results

    def _run(self, stage, folder, evaluation, saving):
        """`fit` a stage that is not finished."""
        config = self.config
        callbacks = [evaluation or LastCheckpoint(folder), saving]
        if config.profile_steps and self.group.first:
            callbacks.insert(0, Profile(config.profile_steps, self.device, self.run.join(PROFILE)))
        if config.save_ckpt_step:
            callbacks.insert(0, StepCheckpoints(config.save_ckpt_step, config.max_ckpt_num, folder))
        seconds = stage.fit(callbacks, config.log_step)
        stage.student.widen()
        passing = folder.startswith(self.run.join(UNPACKED))  # gone once they are packed
        where = "its weights are packed next" if passing else f"saved in {folder}"
        say(f"{stage.name}: {stage.total_steps} steps in {seconds:.0f} s; {where}")
        if evaluation is None:
            keep_layers(stage)
            return None
        if evaluation.best is None:
            raise UserError(f"{stage.name}: the student could not be evaluated once; train for more steps")
        if self.group.first:
            stage.student.restore(folder)
        keep_layers(stage)
        return {**evaluation.best, "parameters": stage.student.parameters}

    def close(self, results, last_line, fault=""):
        """Write results.json and the report, print where they are and the last line.

        Args:
            results (dict): for results.json. last_line (str): what was produced, where, and what to run next.
            fault (str): why the run has failed all the same, if it has.

        Raises:
            UserError: the fault.
        """
        if not self.group.first:
            return
        summary = {
            **results,
            **({"fault": fault} if fault else {}),
            "device": self.device,
            "wall_seconds": round(time.time() - self.started, 1),
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        write_json(self.run.join(RESULTS_FILE), summary)
        with busy("drawing the report"):
            drawn = write_report(self.run)
        print(
            f"wall time {summary['wall_seconds']:.0f} s, peak memory {summary['peak_memory_mib']} MiB; "
            f"{RESULTS_FILE}{f', {REPORT_FILE}' if drawn else ''} and {METRICS_FILE} are in {self.run.path}"
        )
        if fault:
            raise UserError(f"{fault}; its weights and results are saved")
        print(last_line, flush=True)


@dataclass
class Session(TrainingRun):
    """One run of a command that trains on a task."""

    evaluation: EvalConfig = None
    data: TaskData = None
    metric_names: tuple = ()
    fault: str = ""
    """Why the run has failed though it went through: a student that has learnt nothing."""

    @classmethod
    def open(cls, name, config, folders, resolved, labels=(), networks=()):
        """Set up the device and read the data; `start` is left to the command's own checks.

        Args:
            name (str): of the command; names the run folder when output_dir is unset.
            config (RunConfig), folders (FoldersConfig): those parts of the command's settings.
            resolved (str): all of them, as YAML.
            labels (tuple of str): class names where neither the task table nor the data's dataset.json gives
                them.
            networks (tuple of str): as for a `RunFolder`.
        """
        required(config, "task_name")
        if config.do_train:
            required(folders, "train_data_dir")
        if config.do_eval:
            required(folders, "eval_data_dir")
        task = get_task(config.task_name)
        name, evaluation = f"{name}-{task.folder}", folders.eval_cfg
        session = cls.begin(name, config, config, resolved, networks, evaluation=evaluation)
        session.data = data = load_task_data(
            task,
            folders.train_data_dir if config.do_train else "",
            folders.eval_data_dir,
            config.dataset_type,
            config.schema_dir,
            config.task_type,
            labels,
            config.label_order,
        )
        session.data_digest = {"the rows": rows_digest(data.splits)[:16]}
        session.metric_names = metrics.choose(task.metrics, config.assessment_method, data.kind, data.outputs)
        for note in metrics.notes(session.metric_names, data.evals):
            say(note)
        sizes = ", ".join(f"{split} {len(rows)} rows" for split, rows in data.splits.items())
        say(f"data: task {task.name} on {session.device}: {sizes}")
        return session

    def stage(self, name, student, *arguments, **options):
        """As a `TrainingRun`'s; of the student's word embeddings only the rows that occur in the data are
        trained.
        """
        student.narrow(self.data.token_ids())
        return super().stage(name, student, *arguments, **options)

    def fit(self, stage, folder, evaluation=None):
        """As a `TrainingRun`'s; results that show nothing learnt fail the run at its end, or are warned of
        where that is not certain.
        """
        results = super().fit(stage, folder, evaluation)
        if results:
            rows = next(iter(self.data.evals.values()))
            line, certain = no_better_than_a_constant(stage.name, results, self.metric_names, rows)
            self.fault = line if certain else self.fault
            if line and not certain:
                say(f"warning: {line}")
        return results

    def train_batches(self, config, packs=None, rows=None):
        """`Steps` of the training rows (or of `rows`, Examples) for a `PhaseConfig`; without `packs` as
        the device does, where no model is there yet.
        """
        rows = self.data.train if rows is None else rows
        packs = self.rows.packs(self.device) if packs is None else packs
        return steps_of(rows, config, self.rows, packs, self.group)

    def teacher(self, teacher, loss, epochs):
        """Who answers for a teacher (Model, or None) what a `Distiller` asks: from a cache where there are
        several epochs of the same rows, in one process; None where it asks nothing.
        """
        config = self.config
        elsewhere = self.group.size > 1 or (config.enable_data_sink and self.device != "CPU")
        # A job on ModelArts uploads all that is in the run folder.
        limit = 0 if epochs == 1 or elsewhere or config.enable_modelarts else config.teacher_cache_gb
        return cached_teacher(teacher, loss, self.data.train, self.run.join(TEACHER_CACHE), limit)

    def rows_with_logits(self, teacher, stage, folder):
        """The training rows with a teacher's (Model) logits, which stand for running it in every epoch; None
        where the stage of that name, whose student is in `folder`, is finished.
        """
        if self.finished.has(stage, folder):
            return None
        batches = rows_to_evaluate(
            self.data.train, self.evaluation.batch_size, self.rows, self.packs(teacher)
        )
        rows = with_logits(teacher, batches)
        teacher.release()
        return rows

    def evaluate(self, model):
        """Results of a `Model` on every evaluation set, its `parameters` among them."""
        return self._scores(model, self.data, lambda *rows: keep_answers(self.run, model.description, *rows))

    def _scores(self, model, data, keep=None):
        batches = data.eval_batches(self.evaluation.batch_size, self.rows, self.packs(model))
        results = {**evaluate(model, batches, self.metric_names, keep), "parameters": model.parameters}
        model.release()  # a stage needs the memory that its graphs hold
        return results

    def evaluation_of(self, model, folder):
        """The `Evaluation` that keeps the best weights of a `Model` in `folder`; None where none is wanted.

        Moving-average ranges that are not calibrated yet would answer the same to every row.
        """
        if not self.config.do_eval:
            return None
        batches = self.data.eval_batches(self.evaluation.batch_size, self.rows, self.packs(model))

        seen = []  # the logits and rows of the last evaluation

        def results():
            seen.clear()
            if model.uncalibrated_ranges():
                return None
            return evaluate(model, batches, self.metric_names, lambda *rows: seen.extend(rows))

        def keep():
            keep_answers(self.run, model.description, *seen)

        return Evaluation(results, self.evaluation.eval_step, folder, keep)

    def check_teacher(self, teacher, key, path, least_gain):
        """Evaluate a teacher (Model); a `UserError` where it is not better than guessing. Returns its
        results.

        Without evaluation rows, training rows serve, drawn at random.
        """
        say(f"teacher: {teacher.summary}, {path}")
        data = self.data
        if not data.evals:
            rows = np.random.default_rng(self.rows.seed).permutation(len(data.train))[:SAMPLE_ROWS]
            data = replace(data, evals={"train sample": data.train.take(np.sort(rows))})
        kept = self.config.compile_cache if self.device == "CPU" else "off"
        how = self.metric_names, self.evaluation.batch_size, part(self.rows, PackingConfig)
        results = known_scores(kept, teacher, data.evals, how, lambda: self._scores(teacher, data))
        self.teacher_results = results
        self.teacher_digest = {"the teacher's weights": digest(teacher.weights())[:16]}
        examples = next(iter(data.evals.values()))
        check_better_than_guessing(results, self.metric_names[0], examples, least_gain, key, path)
        return results

    def finish(self, models, last_line):
        """`close` with a table of models above.

        Args:
            models (dict): {row title: results of `evaluate`, or None}, in order.
            last_line (str): as in `close`.

        Raises:
            UserError: the student has learnt nothing.
        """
        models = {title: results for title, results in models.items() if results}
        if models and self.group.first:
            print(results_table(models, self.metric_names))
        made = {"made_from": self.made_from()} if self.config.do_train and not self.fault else {}
        self.close({"task": self.data.task.name, "models": models, **made}, last_line, self.fault)


def results_table(models, metric_names):
    """A table of models: parameters, each metric in percent, seconds per 1,000 rows."""
    extra = [name for results in models.values() for name in results if "/" in name]
    names = list(metric_names) + list(dict.fromkeys(extra))
    rows = [
        [
            title,
            f"{results['parameters']:,}",
            *(metrics.percent(results[name]) for name in names),
            _seconds(results),
        ]
        for title, results in models.items()
    ]
    head = ["model", "parameters", *(metrics.printed_name(name) for name in names), "seconds / 1,000 rows"]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True, stralign="right")


def _seconds(results):
    """Per 1,000 rows; scores that were kept have no time of this run."""
    seconds = results.get("seconds_per_1000_rows")
    return "kept from an earlier run" if seconds is None else f"{seconds:.2f}"
