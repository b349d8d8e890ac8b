"""The folder of one run: whose it is, and what an earlier run left in it."""

import contextlib
import json
import os
import shutil
import time

from src.checkpoint.folder import CONFIG_FILE, PACKED_FILE, VOCABULARY_FILE, WEIGHTS_FILE, step_files
from src.errors import UserError, listed
from src.events import Events, event_files
from src.files import check_apart, locked, make_folder, replacing, sweep, write_text
from src.json_file import parse
from src.tasks import TASK_NAMES, get_task

STATE_FILE, STAGES_FILE, RESULTS_FILE = "state.safetensors", "stages.json", "results.json"
METRICS_FILE, CONFIG_YAML, PROFILE = "metrics.jsonl", "config.yaml", "profile"
REPORT_FILE, RECORD_FILE = "report.html", "run.json"
PREDICTIONS_FILE, LAYERS_FILE = "predictions.npz", "layers.json"
"""What the report is made of besides."""
RECORDS, TEACHER_CACHE = "records", "teacher_cache"
"""Folders of what a run reads; a next one there uses it again, or makes it anew."""
_OF_REPORT = (REPORT_FILE, RECORD_FILE, PREDICTIONS_FILE, LAYERS_FILE)
_OWN = (CONFIG_YAML, METRICS_FILE, RESULTS_FILE, PROFILE, STATE_FILE, STAGES_FILE, *_OF_REPORT)
LATENT, UNPACKED = "latent", "unpacked"
"""Folders of the folders of float32 weights beside a packed model, asked for or not."""
_TASKS = tuple(get_task(name).folder for name in TASK_NAMES)
_MODELS = (
    "gd",
    "phase1",
    *(os.path.join(place, task) for place in ("", LATENT, UNPACKED) for task in _TASKS),
)
"""Folders that take a run's networks."""
_HELD = contextlib.ExitStack()
_HELD_PATHS = set()
"""The folders that this process has locked, for as long as it lives."""


class RunFolder:
    """The folder of one run: `config.yaml`, `metrics.jsonl`, event files, its report and checkpoints.

    Nothing is written before `start`: a run that is refused leaves an older run's records alone.

    Args:
        path (str): the folder. writes (bool): false for all but the first process of a group, whose files
            these are.
        resume (bool): an earlier run there is gone on with. overwrite (bool): its files are replaced.
        inputs (dict): {setting: path} of what the run reads, which is never replaced.
        tensorboard (bool): what goes to metrics.jsonl goes to event files too.

    Raises:
        UserError: event files cannot be written here.
    """

    def __init__(self, path, writes=True, resume=False, overwrite=False, inputs=None, tensorboard=False):
        self.path, self.writes, self.resume, self.overwrite = path, writes, resume, overwrite
        self.inputs = inputs or {}
        self._events = Events(path) if tensorboard and writes else None
        self.models = [self.join(name) for name in _MODELS]
        """Folders that take its networks; further ones may lie elsewhere."""

    # --- an earlier run's -----------------------------------------------------------------------------------

    def claim(self):
        """Lock the folder, if it is there, for the life of this process, and sweep out what killed ones left.

        Raises:
            UserError: another run is writing to it, or it holds an earlier run's results, which this one
                neither goes on with nor replaces, or reads.
        """
        if not self.writes:
            return
        if self.resume and self.overwrite:
            raise UserError(
                "resume, overwrite_output_dir: one goes on, one begins anew; give only one of them"
            )
        for folder in filter(os.path.isdir, (self.path, *self.models[len(_MODELS) :])):
            _hold(folder)
        for folder in (self.path, *self.models, *map(self.join, (RECORDS, TEACHER_CACHE))):
            sweep(folder)
        goes_on = self.resume and self._begun()
        for folder in () if goes_on else self._networks():
            check_apart(folder, "output_dir", self.inputs)
        results = self._results()
        if results and not (self.overwrite or goes_on or (self.resume and self._was_killed())):
            way = (
                "nothing there says how to go on with it"
                if self.resume
                else "go on with that run by --resume true"
            )
            raise UserError(
                f"output_dir: {self.path} holds an earlier run's results "
                f"({listed(map(self._named, results))}); {way}, replace it by --overwrite_output_dir true, "
                "or name another folder"
            )

    def _was_killed(self):
        """Whether a run has begun there and not ended; one without a state is begun anew."""
        return os.path.exists(self.join(CONFIG_YAML)) and not os.path.exists(self.join(RESULTS_FILE))

    def _begun(self):
        return any(os.path.exists(self.join(name)) for name in (STATE_FILE, STAGES_FILE))

    def _networks(self):
        """{folder: the files in it} of the networks that earlier runs wrote."""
        found = {}
        for folder in filter(os.path.isdir, self.models):
            names = (os.path.join(folder, name) for name in (WEIGHTS_FILE, PACKED_FILE))
            weights = [*filter(os.path.isfile, names), *step_files(folder)]
            beside = (os.path.join(folder, name) for name in (CONFIG_FILE, VOCABULARY_FILE))
            if weights:
                found[folder] = [*weights, *filter(os.path.isfile, beside)]
        return found

    def _results(self):
        """Paths of what it took a run's time to make."""
        states = (self.join(name) for name in (STATE_FILE, STAGES_FILE))
        return [*filter(os.path.exists, states), *self._networks()]

    def _named(self, path):
        return os.path.relpath(path, self.path) if path.startswith(os.path.join(self.path, "")) else path

    def _remove_earlier(self):
        """Remove exactly the files that runs write, and folders that are then empty."""
        networks = self._networks()
        own = [*filter(os.path.exists, map(self.join, _OWN)), *event_files(self.path)]
        if networks or self._begun():
            print(
                f"output_dir: replaces what an earlier run left in {self.path}: "
                f"{listed(map(self._named, [*networks, *own]))}",
                flush=True,
            )
        for path in sum(networks.values(), own):
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        for folder in networks:
            _remove_empty(folder)
        for name in (LATENT, UNPACKED):
            _remove_empty(self.join(name))

    # --- this run's -----------------------------------------------------------------------------------------

    def start(self, resolved, kept=None):
        """Make the folder if it is missing, remove what an earlier run left unless this one goes on with it,
        write config.yaml, begin metrics.jsonl: empty, or for a run that is resumed with the lines that count.

        Args:
            resolved (str): the settings as YAML: the same command with it repeats the run.
            kept (dict): {stage: the last step whose line counts} of a run that is resumed.

        Raises:
            UserError: as `claim`.
        """
        if not self.writes:
            return
        make_folder(self.path)
        self.claim()
        metrics, lines = self.join(METRICS_FILE), []
        if self.resume and self._begun():
            if kept and os.path.exists(metrics):
                with open(metrics, encoding="utf-8") as file:
                    lines = [line for line in file if _counts(line, kept)]
            for name in (RESULTS_FILE, REPORT_FILE):  # they are written again when the run ends
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self.join(name))
        else:
            self._remove_earlier()
        write_text(self.join(CONFIG_YAML), resolved)
        with replacing(metrics) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(lines)
        if self._events:
            self._events.start(map(parse, lines))

    def record(self, **values):
        """Append one line of JSON to metrics.jsonl, with the time in seconds since the epoch."""
        if not self.writes:
            return
        metrics, values = self.join(METRICS_FILE), {"time": round(time.time(), 3), **values}
        try:
            with open(metrics, "a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
            if self._events:
                self._events.write(values)
        except OSError as error:  # of an open file the system does not say which
            error.filename = error.filename or metrics
            raise

    def join(self, *names):
        """A path in the folder."""
        return os.path.join(self.path, *names)


def _remove_empty(folder):
    with contextlib.suppress(OSError):  # something else is in it, or there is none
        os.rmdir(folder)


def _hold(path):
    """Lock a folder for the life of this process; the system unlocks it however that ends.

    Raises:
        UserError: another process has it.
    """
    real = os.path.realpath(path)
    if real in _HELD_PATHS:
        return
    try:
        _HELD.enter_context(locked(real))
    except BlockingIOError as error:
        raise UserError(
            f"output_dir: another run is writing to {path} ({error}); wait for its end, or name another "
            "folder"
        ) from error
    _HELD_PATHS.add(real)


def _counts(line, kept):
    """Whether a line of metrics.jsonl is of a step up to the last that counts of its stage; one that a killed
    process left unfinished is of none.
    """
    try:
        values = parse(line)
        return values["step"] <= kept.get(values["stage"], -1)
    except (ValueError, KeyError, TypeError):
        return False
