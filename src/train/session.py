"""What the training commands share: set-up, data, stages, evaluation and the closing summary."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

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
from src.settings.training import DistillingConfig, FoldersConfig, RunConfig, TrainingConfig
from src.tasks import get_task
from src.terminal import busy, say
from src.train.callbacks import Callback, Evaluation, LastCheckpoint, Profile, StepCheckpoints, TrainingState
from src.train.known_scores import known_scores, rows_digest
from src.train.report_files import keep_answers, keep_layers, keep_record, write_report
from src.train.resume import FinishedStages, deciding, inputs_of, repeatable
from src.train.stage import Stage, StagePlan
from src.train.verdict import no_better_than_a_constant

if TYPE_CHECKING:
    import mindspore as ms
    from typing_extensions import Self

    from src.data.steps import Steps
    from src.distill.distiller import Distiller
    from src.distill.teacher import LiveTeacher
    from src.examples import Examples
    from src.model import Model
    from src.settings.stage import PhaseConfig
    from src.train.stage import TrainingSteps


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
    finished: FinishedStages = field(init=False)
    """From `start` on."""
    data_digest: dict[str, str] = field(default_factory=dict)
    teacher_digest: dict[str, str] = field(default_factory=dict)
    """What the run is made from besides its settings: {title: digest} of the rows, and of the teacher."""
    teacher_results: dict[str, float] | None = None
    """Of its evaluation, where there was one."""

    @classmethod
    def begin(
        cls,
        name: str,
        config: TrainingConfig,
        rows: BatchesConfig,
        resolved: str,
        networks: tuple[str, ...] = (),
        elsewhere: dict[str, str] | None = None,
    ) -> Self:
        """Set up the device and the group; `start` is left to the command's own checks.

        Args:
            name: of the run folder when output_dir is unset.
            config, rows: those parts of the command's settings.
            resolved: all of them, as YAML.
            networks, elsewhere: where networks go, as for a `RunFolder`.
        """
        return cls(**cls._set_up(name, config, rows, resolved, networks, elsewhere))

    @staticmethod
    def _set_up(name, config, rows, resolved, networks, elsewhere=None) -> dict[str, Any]:
        """The fields that a run has from the beginning; arguments as of `begin`."""
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
        over = config.resume, config.overwrite_output_dir
        run = RunFolder(path, group.first, *over, inputs, config.tensorboard, networks, elsewhere)
        run.claim()
        said = {"config": config, "rows": rows, "resolved": resolved}
        return {**said, "device": device, "group": group, "run": run, "started": started}

    def packs(self, model: Model) -> bool:
        """Whether rows share the rows of a batch where this model runs."""
        return model.packs(self.rows, self.device)

    def compute_type(self, name: str) -> ms.Type:
        """The MindSpore type that a `compute_type` setting means on this device."""
        return runtime.compute_type(name, self.device)

    def check_steps(self, batches: TrainingSteps, config: PhaseConfig, epochs: int) -> int:
        """Optimizer steps of a stage; a `UserError` where it could not go through these batches, before hours
        of another one."""
        return self.plan(batches, config, epochs).steps(batches)

    def made_from(self) -> dict[str, Any]:
        """What the run is made from: {dotted key: JSON value} of the settings that decide, the rows, the
        teacher.
        """
        return {**deciding(self.resolved), **self.data_digest, **self.teacher_digest}

    def start(
        self,
        students: Sequence[str],
        compares_layers: bool = False,
        resolved: str = "",
        if_finished: Callable[[], None] | None = None,
    ) -> bool:
        """Begin the run folder's records: nothing is refused any more. Returns whether there is anything to
        do: not so where a run is resumed that is finished.

        Args:
            students: where the run leaves its network as it comes about, the last folder first. Or the
                network that it evaluates, a folder or a file.
            compares_layers: whether its layers are fitted to a teacher's.
            resolved: every setting as YAML, where more is known of them than before.
            if_finished: what is then still to be done, by the first process.
        """
        self.resolved = resolved or self.resolved
        self.finished = FinishedStages(self.run)
        if self.config.resume and self.finished.check(self.made_from(), self.group):
            say(f"resume: this run is finished; its results are in {self.run.join(RESULTS_FILE)}")
            if self.group.first:
                self._make_up(if_finished)
            return False
        kept = self.finished.last_steps()
        self.run.start(repeatable(self.resolved), kept)
        keep_record(
            self.run,
            self.device,
            self.group,
            teacher=self.teacher_results,
            made_from=self.made_from(),
            students=students,
            compares_layers=compares_layers,
        )
        return True

    def _make_up(self, if_finished):
        """What a finished run has left undone: it may have been killed at its very end."""
        if not os.path.exists(self.run.join(REPORT_FILE)):
            write_report(self.run)
        if if_finished:
            if_finished()

    def plan(self, batches: TrainingSteps, config: PhaseConfig, epochs: int, max_steps: int = 0) -> StagePlan:
        """How a stage goes on this device; arguments as the plan's fields."""
        sink = 0
        if self.config.enable_data_sink and self.device != "CPU":
            wanted = self.config.data_sink_steps
            sink = len(batches) if wanted == -1 else min(wanted, len(batches))
        return StagePlan(config, epochs, max_steps, sink)

    def stage(
        self,
        name: str,
        student: Model,
        loss: Distiller,
        batches: TrainingSteps,
        config: PhaseConfig,
        epochs: int,
        max_steps: int = 0,
        teacher: LiveTeacher | None = None,
    ) -> Stage:
        """What fits `student` by a loss; arguments as of `Stage` and `StagePlan`."""
        plan = self.plan(batches, config, epochs, max_steps)
        first = {"the student's first weights": digest(student.weights())[:16]}
        made_from = {**self.made_from(), **first}
        return Stage(name, student, loss, batches, plan, self.run, self.group, made_from, teacher)

    def fit(self, stage: Stage, folder: str, evaluation: Evaluation | None = None) -> dict[str, float] | None:
        """Run a stage; its student then has the weights that are saved in `folder`, the best ones where there
        is an evaluation, else the last. Of a run that is resumed, a finished stage is not run again, and the
        one that was stopped goes on.

        Args:
            evaluation: of the student, or None.

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
        callbacks: list[Callback] = [evaluation or LastCheckpoint(folder), saving]
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

    def close(self, results: dict[str, Any], last_line: str, fault: str = "") -> None:
        """Write results.json and the report, print where they are and the last line.

        Args:
            results: for results.json. last_line: what was produced, where, and what to run next.
            fault: why the run has failed all the same, if it has.

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

    config: RunConfig
    evaluation: EvalConfig = field(kw_only=True)
    data: TaskData = field(kw_only=True)
    metric_names: tuple[str, ...] = field(kw_only=True)
    fault: str = ""
    """Why the run has failed though it went through: a student that has learnt nothing."""

    @classmethod
    def open(
        cls,
        name: str,
        config: RunConfig,
        folders: FoldersConfig,
        resolved: str,
        labels: Sequence[str] = (),
        networks: tuple[str, ...] = (),
    ) -> Self:
        """Set up the device and read the data; `start` is left to the command's own checks.

        Args:
            name: of the command; names the run folder when output_dir is unset.
            config, folders: those parts of the command's settings.
            resolved: all of them, as YAML.
            labels: class names where neither the task table nor the data's dataset.json gives them.
            networks: as for a `RunFolder`.
        """
        required(config, "task_name")
        if config.do_train:
            required(folders, "train_data_dir")
        if config.do_eval:
            required(folders, "eval_data_dir")
        task = get_task(config.task_name)
        set_up = cls._set_up(f"{name}-{task.folder}", config, config, resolved, networks)
        data = load_task_data(
            task,
            folders.train_data_dir if config.do_train else "",
            folders.eval_data_dir,
            config.dataset_type,
            config.schema_dir,
            config.task_type,
            labels,
            config.label_order,
        )
        names = metrics.choose(task.metrics, config.assessment_method, data.kind, data.outputs)
        session = cls(**set_up, evaluation=folders.eval_cfg, data=data, metric_names=names)
        session.data_digest = {"the rows": rows_digest(data.splits)[:16]}
        for note in metrics.notes(names, data.evals):
            say(note)
        sizes = ", ".join(f"{split} {len(rows)} rows" for split, rows in data.splits.items())
        say(f"data: task {task.name} on {session.device}: {sizes}")
        return session

    def stage(self, name: str, student: Model, *arguments: Any, **options: Any) -> Stage:
        """As a `TrainingRun`'s; of the student's word embeddings only the rows that occur in the data are
        trained.
        """
        student.narrow(self.data.token_ids())
        return super().stage(name, student, *arguments, **options)

    def fit(self, stage: Stage, folder: str, evaluation: Evaluation | None = None) -> dict[str, float] | None:
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

    @property
    def _training_rows(self) -> Examples:
        """The data's, which a command that trains has read."""
        assert self.data.train is not None
        return self.data.train

    def train_batches(
        self, config: PhaseConfig, packs: bool | None = None, rows: Examples | None = None
    ) -> Steps:
        """The training rows (or `rows`) in steps; without `packs` as the device does, where no model is there
        yet.
        """
        rows = self._training_rows if rows is None else rows
        packs = self.rows.packs(self.device) if packs is None else packs
        return steps_of(rows, config, self.rows, packs, self.group)

    def teacher(
        self, teacher: Model | None, loss: Distiller, steps: Steps, epochs: int
    ) -> LiveTeacher | None:
        """The source of the teacher's answers to what a loss asks: the cache where there are several epochs
        of the steps' rows, in one process, else the network; None where it asks nothing.
        """
        config = self.config
        assert isinstance(config, DistillingConfig)  # of the commands that have a teacher
        elsewhere = self.group.size > 1 or (config.enable_data_sink and self.device != "CPU")
        # A job on ModelArts uploads all that is in the run folder.
        limit = 0 if epochs == 1 or elsewhere or config.enable_modelarts else config.teacher_cache_gb
        return cached_teacher(teacher, loss, steps, self.run.join(TEACHER_CACHE), limit)

    def rows_with_logits(self, teacher: Model, stage: str, folder: str) -> Examples | None:
        """The training rows with a teacher's logits, which stand for running it in every epoch; None
        where the stage of that name, whose student is in `folder`, is finished.
        """
        if self.finished.has(stage, folder):
            return None
        batches = rows_to_evaluate(
            self._training_rows, self.evaluation.batch_size, self.rows, self.packs(teacher)
        )
        rows = with_logits(teacher, batches)
        teacher.release()
        return rows

    def evaluate(self, model: Model) -> dict[str, float]:
        """Results of a model on every evaluation set, its `parameters` among them."""
        return self._scores(model, self.data, lambda *rows: keep_answers(self.run, model.description, *rows))

    def _scores(self, model, data, keep=None):
        batches = data.eval_batches(self.evaluation.batch_size, self.rows, self.packs(model))
        results = {**evaluate(model, batches, self.metric_names, keep), "parameters": model.parameters}
        model.release()  # a stage needs the memory that its graphs hold
        return results

    def evaluation_of(self, model: Model, folder: str) -> Evaluation | None:
        """What keeps the best weights of a model in `folder`; None where none is wanted.

        Moving-average ranges that are not calibrated yet would answer the same to every row.
        """
        if not self.config.do_eval:
            return None
        batches = self.data.eval_batches(self.evaluation.batch_size, self.rows, self.packs(model))

        seen: list[Any] = []  # the logits and rows of the last evaluation

        def results() -> dict[str, float] | None:
            seen.clear()
            if model.uncalibrated_ranges():
                return None
            return evaluate(model, batches, self.metric_names, lambda *rows: seen.extend(rows))

        def keep() -> None:
            keep_answers(self.run, model.description, *seen)

        return Evaluation(results, self.evaluation.eval_step, folder, keep)

    def check_teacher(self, teacher: Model, key: str, path: str, least_gain: float) -> dict[str, float]:
        """Evaluate a teacher; a `UserError` where it is not better than guessing. Returns its
        results.

        Without evaluation rows, training rows serve, drawn at random.
        """
        say(f"teacher: {teacher.summary}, {path}")
        data = self.data
        if not data.evals:
            rows = np.random.default_rng(self.rows.seed).permutation(len(self._training_rows))[:SAMPLE_ROWS]
            data = replace(data, evals={"train sample": self._training_rows.take(np.sort(rows))})
        kept = self.config.compile_cache if self.device == "CPU" else "off"
        how = self.metric_names, self.evaluation.batch_size, part(self.rows, PackingConfig)
        results = known_scores(kept, teacher, data.evals, how, lambda: self._scores(teacher, data))
        self.teacher_results = results
        self.teacher_digest = {"the teacher's weights": digest(teacher.weights())[:16]}
        examples = next(iter(data.evals.values()))
        check_better_than_guessing(results, self.metric_names[0], examples, least_gain, key, path)
        return results

    def finish(self, models: Mapping[str, dict[str, float] | None], last_line: str) -> None:
        """`close` with a table of models above.

        Args:
            models: {row title: results of `evaluate`, or None}, in order.
            last_line: as in `close`.

        Raises:
            UserError: the student has learnt nothing.
        """
        known = {title: results for title, results in models.items() if results}
        if known and self.group.first:
            print(results_table(known, self.metric_names))
        made = {"made_from": self.made_from()} if self.config.do_train and not self.fault else {}
        self.close({"task": self.data.task.name, "models": known, **made}, last_line, self.fault)


def results_table(models: dict[str, dict[str, float]], metric_names: tuple[str, ...]) -> str:
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
