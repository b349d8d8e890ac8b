"""What the folder of a run says, finished or not."""

import datetime
import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Dict, List, Optional, TypeVar, Union

from msgspec import Meta, Struct

from src.checkpoint.folder import CONFIG_FILE, PACKED_FILE, ckpt_file, packed_folder
from src.errors import UserError
from src.files import write_json
from src.json_file import Count, read_json
from src.metrics import METRICS
from src.report.curves import read_lines, scores_of
from src.run_folder import CONFIG_YAML, METRICS_FILE, RECORD_FILE, RESULTS_FILE
from src.settings.commands import TRAINING
from src.settings.defaults import differing
from src.settings.keys import flat
from src.settings.network import QuantConfig
from src.settings.parsing import from_json
from src.settings.yaml_file import load_yaml
from src.tasks import Task, get_task

_T = TypeVar("_T")
_PACKAGES = ("mindspore", "numpy", "scikit-learn", "tokenizers", "safetensors")
_Scores = Dict[str, Union[int, float]]
_TEACHERS = ("load_teacher_ckpt_path", "teacher_model_dir")
_STARTS = ("load_td1_ckpt_path", "load_gd_ckpt_path", "student_model_dir", "load_ckpt_path")


class Record(Struct):
    """What a report shows of run.json."""

    command: List[str] = []
    started: str = ""
    device: str = ""
    machine: str = ""
    versions: Dict[str, str] = {}
    teacher: Optional[_Scores] = None
    students: List[str] = []
    """Folders in which the run leaves its student, as it comes about; the last one first. Relative to the
    run's folder."""
    compares_layers: bool = False
    """Whether the run fits a student's layers to a teacher's."""


class Results(Struct):
    """What a report shows of results.json."""

    models: Dict[str, Optional[_Scores]] = {}
    losses: _Scores = {}
    """Of the last step."""
    fault: str = ""
    """Why the run has failed though it came to its end; "" where it has not."""
    parameters: Optional[Count] = None
    wall_seconds: Optional[Annotated[float, Meta(ge=0, le=1e12)]] = None
    peak_memory_mib: Optional[Union[int, float]] = None


class _Config(Struct):
    """What a report shows of a model's config.json."""

    num_hidden_layers: int = 0
    hidden_size: int = 0
    quantization: Optional[Dict[str, Any]] = None


@dataclass(frozen=True)
class Network:
    """What a network is; the defaults of one that is not known."""

    num_hidden_layers: int = 0
    hidden_size: int = 0
    quantization: Optional[QuantConfig] = None

    @property
    def is_quantized(self) -> bool:
        """Whether any of its numbers is rounded to few bits."""
        return self.quantization is not None and self.quantization.is_active


def write_record(
    path: str,
    device: str,
    processes: int,
    teacher: dict[str, float] | None,
    made_from: dict[str, Any],
    students: Sequence[str],
    compares_layers: bool,
) -> None:
    """Write run.json: the command of this process, where and with what it runs, and when it began.

    Args:
        path: of the file. device, processes: of the run. teacher: the results of its evaluation.
        made_from: what the run is made from, by which one that is stopped before its first state is known
            again.
        students, compares_layers: as of the `Record`; the folders from here.
    """
    versions = {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}
    script, *arguments = sys.argv
    write_json(
        path,
        {
            "command": [os.path.basename(script), *arguments],
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "device": device,
            "processes": processes,
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "versions": versions,
            "teacher": teacher,
            "made_from": made_from,
            "students": [os.path.relpath(student, os.path.dirname(path)) for student in students],
            "compares_layers": compares_layers,
        },
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # as of a MindSpore that was built by hand
        return "unknown"


@dataclass(frozen=True)
class Run:
    """The content of a run's folder; what is missing or damaged is empty, and `notes` say so."""

    folder: str
    settings: dict[str, Any]
    """Nested, as config.yaml has them."""
    record: Record
    results: Results
    lines: list[dict[str, Any]]
    """Of metrics.jsonl."""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: str) -> "Run":
        """The run in a folder.

        Raises:
            UserError: it is no run's folder.
        """
        path = os.path.join(folder, CONFIG_YAML)
        notes: list[str] = []
        if not os.path.exists(path):
            raise UserError(f"{folder} is no run's folder: it has no {CONFIG_YAML}")
        settings, _ = load_yaml(path)
        if not settings:
            raise UserError(f"{path} holds no settings")

        def noted(read, name, *what):
            return or_note(lambda: read(os.path.join(folder, name), *what), "", notes)

        record = noted(read_json, RECORD_FILE, "how the run was started:", Record) or Record()
        results = noted(read_json, RESULTS_FILE, "what a run has at its end:", Results) or Results()
        lines, broken = noted(read_lines, METRICS_FILE) or ([], 0)
        if broken:
            notes.append(f"metrics.jsonl: {broken} line(s) are no JSON of a step, and are left out")
        return cls(folder, settings, record, results, lines, notes)

    @property
    def name(self) -> str:
        """Of the folder."""
        return os.path.basename(os.path.abspath(self.folder))

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return self.results != Results()

    @property
    def command(self) -> str:
        """The command line as one starts it; "" where unknown."""
        return f"python {shlex.join(self.record.command)}" if self.record.command else ""

    @property
    def script(self) -> str:
        """The file of its command; "" where unknown."""
        return next(iter(self.record.command), "")

    @property
    def config_class(self) -> type | None:
        """Of the settings; None where the command is unknown."""
        return TRAINING.get(self.script.removesuffix(".py"))

    def split_settings(self) -> tuple[dict[str, tuple[Any, Any]], dict[str, Any]]:
        """({key: (value, default)} of the settings that are not the defaults, {key: value} of the others)."""
        given = flat(self.settings, "config.yaml")
        if self.config_class is None:
            return {}, given
        changed = differing(self.config_class, self.settings)
        return changed, {key: value for key, value in given.items() if key not in changed}

    def setting(self, *names: str) -> str:
        """The first of some settings that is not empty; "" for none."""
        return next((str(self.settings[name]) for name in names if self.settings.get(name)), "")

    @property
    def task(self) -> Task | None:
        """The `Task`, or None."""
        name = self.setting("task_name")
        return get_task(name) if name else None

    @property
    def answers_rows(self) -> bool:
        """Whether it evaluates a student on a task's rows."""
        return self.task is not None and bool(self.settings.get("do_eval", True))

    @property
    def student(self) -> str:
        """The folder of the student, as far as it has come; "" where there is none yet."""
        folders = (os.path.normpath(os.path.join(self.folder, name)) for name in self.record.students)
        return next(filter(_weights, folders), "")


def or_note(read: Callable[[], _T], what: str, notes: list[str]) -> _T | None:
    """What `read` gives; None where it raises a `UserError`, of which `notes` get a line."""
    try:
        return read()
    except UserError as error:
        notes.append(f"{what}: {error}" if what else str(error))
        return None


def _weights(folder: str) -> str:
    """The file of the weights that a model's folder means; "" where it holds none."""
    if not os.path.isdir(folder):
        return ""
    packed = packed_folder(folder)
    return os.path.join(packed, PACKED_FILE) if packed else ckpt_file(folder) or ""


def _network(folder: str) -> Network:
    """The `Network` of a model's folder; an empty one where its config.json does not say."""
    path = os.path.join(folder, CONFIG_FILE)
    try:
        found = read_json(path, "configuration", _Config)
        bits = found.quantization
        quantization = None if bits is None else from_json(QuantConfig, bits, path)
        return Network(found.num_hidden_layers, found.hidden_size, quantization)
    except UserError:  # no model yet
        return Network()


@dataclass(frozen=True)
class Summary:
    """A run in numbers; None (or "") for what is not known."""

    task: str
    student: str
    """Its folder."""
    started_from: str
    teacher: str
    """Its path."""
    network: Network
    """The student's."""
    metric: str = ""
    """The deciding one."""
    score: float | None = None
    teacher_score: float | None = None
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """{model: {metric: value}} of everything that was evaluated."""
    parameters: int | None = None
    teacher_parameters: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    """A thousand rows, on the run's device."""
    teacher_seconds: float | None = None

    @property
    def kept(self) -> float | None:
        """The share of the teacher's score that the student keeps; None where that means nothing."""
        if self.score is None or self.teacher_score is None or self.teacher_score <= 0:
            return None
        return self.score / self.teacher_score

    @property
    def smaller(self) -> float | None:
        """How many times the student's file is smaller than the teacher's weights in float32."""
        return 4 * self.teacher_parameters / self.bytes if self.teacher_parameters and self.bytes else None

    @property
    def faster(self) -> float | None:
        """How many times a row takes the student less time than the teacher; None of a quantized one, whose
        rounding MindSpore does in floats.
        """
        if self.network.is_quantized:
            return None
        return self.teacher_seconds / self.seconds if self.teacher_seconds and self.seconds else None


def summary_of(run: Run) -> Summary:
    """The `Summary` of a run; of one that did not end its best evaluation so far counts."""
    folder = run.student
    path = _weights(folder) if folder else ""
    facts: dict[str, Any] = {
        "task": run.task.name if run.task else "general distillation",
        "student": folder,
        "started_from": run.setting(*_STARTS),
        "teacher": run.setting(*_TEACHERS),
        "network": _network(folder),
        "bytes": os.path.getsize(path) if path else None,
    }
    models = {name: found for name, found in run.results.models.items() if found}
    if not models and run.record.teacher:
        models = {"teacher": run.record.teacher}
    students = [found for name, found in models.items() if name != "teacher"]
    if not students:
        so_far = _so_far(run)
        students, models = list(so_far.values()), {**models, **so_far}
    teacher = models.get("teacher", {})
    student = students[-1] if students else {"parameters": run.results.parameters}
    if students:
        metric = next((name for name in student if name in METRICS), "")
        facts |= {"metric": metric, "score": student.get(metric), "teacher_score": teacher.get(metric)}
    for name, key in (("seconds", "seconds_per_1000_rows"), ("parameters", "parameters")):
        facts |= {name: student.get(key), f"teacher_{name}": teacher.get(key)}
    return Summary(**facts, scores=models)


def _so_far(run: Run) -> dict[str, dict[str, float]]:
    """{title: metrics} of the best evaluation of the last stage that has any."""
    found = scores_of(run.lines)
    if not found:
        return {}
    stage, _, last = found[-1]
    metric = next(iter(last))
    of_stage = [scores for name, _, scores in found if name == stage and metric in scores]
    return {f"{stage}, so far": max(of_stage, key=lambda scores: scores[metric])}
