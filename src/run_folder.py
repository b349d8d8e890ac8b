"""The folder of one run: whose it is, and what an earlier run left in it."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any, Dict, Union

from msgspec import Struct

from src.checkpoint.folder import CONFIG_FILE, PACKED_FILE, VOCABULARY_FILE, WEIGHTS_FILE, step_files
from src.errors import MADE_AHEAD, UserError, listed
from src.events import Events, event_files
from src.files import check_apart, locked, make_folder, replacing, sweep, write_text
from src.json_file import Count, Text, checked, parse, read_json

STATE_FILE, STAGES_FILE, RESULTS_FILE = "state.safetensors", "stages.json", "results.json"
METRICS_FILE, CONFIG_YAML, PROFILE = "metrics.jsonl", "config.yaml", "profile"
REPORT_FILE, RECORD_FILE = "report.html", "run.json"
PREDICTIONS_FILE, LAYERS_FILE = "predictions.npz", "layers.json"
"""What the report is made of besides."""
RECORDS, TEACHER_CACHE = "records", "teacher_cache"
"""Folders of what a run reads; a next one there uses it again, or makes it anew."""
_OF_REPORT = (REPORT_FILE, RECORD_FILE, PREDICTIONS_FILE, LAYERS_FILE)
_BEGUN = (CONFIG_YAML, METRICS_FILE)
"""Every run writes both as it begins, so that both together are an earlier one's."""
_WRITTEN = (RESULTS_FILE, STATE_FILE, STAGES_FILE, *_OF_REPORT)
LATENT, UNPACKED = "latent", "unpacked"
"""Folders of the folders of float32 weights beside a packed model, asked for or not."""
_HELD = contextlib.ExitStack()
_HELD_PATHS: set[str] = set()
"""The folders that this process has locked, for as long as it lives."""


class _Line(Struct):
    """What every line of metrics.jsonl has; all else in it are numbers."""

    time: float
    stage: Text
    step: Count


class RunFolder:
    """The folder of one run: `config.yaml`, `metrics.jsonl`, event files, its report and checkpoints.

    Nothing is written before `start`: a run that is refused leaves an older run's records alone.

    Args:
        path (str): the folder. writes (bool): false for all but the first process of a group, whose files
            these are.
        resume (bool): an earlier run there is gone on with. overwrite (bool): its files are replaced.
        inputs (dict): {setting: path} of what the run reads, which is never replaced.
        tensorboard (bool): what goes to metrics.jsonl goes to event files too.
        networks (tuple of str): the folders in it that this run's networks go to. Those of other tasks are
            none of its business.
        elsewhere (dict): {setting: path} of a folder outside it that networks go to.

    Raises:
        UserError: event files cannot be written here.
    """

    def __init__(
        self,
        path: str,
        writes: bool = True,
        resume: bool = False,
        overwrite: bool = False,
        inputs: Mapping[str, str] | None = None,
        tensorboard: bool = False,
        networks: Sequence[str] = (),
        elsewhere: Mapping[str, str] | None = None,
    ):
        self.path, self.writes, self.resume, self.overwrite = path, writes, resume, overwrite
        self.inputs, self.elsewhere = inputs or {}, elsewhere or {}
        self._events = Events(path) if tensorboard and writes else None
        self._models = {
            **{self.join(name): "output_dir" for name in networks},
            **{folder: key for key, folder in self.elsewhere.items()},
        }
        self._claimed = False

    # --- an earlier run's -----------------------------------------------------------------------------------

    def claim(self) -> None:
        """Make the folder if it is missing, lock it for the life of this process, and sweep out what killed
        ones left. Done once; a folder that is still empty when the command ends is removed.

        Raises:
            UserError: another run is writing to it, or it holds an earlier run's results, which this one
                neither goes on with nor replaces, or files of somebody else's that this one would replace, or
                what this one reads.
        """
        if self._claimed or not self.writes:
            return
        if self.resume and self.overwrite:
            raise UserError(
                "resume, overwrite_output_dir: one goes on, one begins anew; give only one of them"
            )
        places = {"output_dir": self.path, **self.elsewhere}
        for key, folder in places.items():
            if os.path.isdir(folder):
                _hold(folder, key)
        for folder, key in self._models.items():
            check_apart(folder, key, self.inputs)
            if os.path.exists(folder) and not os.path.isdir(folder):
                raise UserError(f"{key}: {folder} is a file, and the network needs a folder of that name")
        for folder in (self.path, *self._models, *map(self.join, (RECORDS, TEACHER_CACHE))):
            sweep(folder)
        if not (self.overwrite or self.goes_on):
            self._check_free(places)
        for key, folder in places.items():
            _make_ahead(folder)
            _hold(folder, key)
        self._claimed = True

    def _check_free(self, places):
        """A `UserError` where the folders {setting: path} hold what is worth keeping."""
        networks = self._networks()
        states = [name for name in self._unfinished() if os.path.exists(self.join(name))]
        for key, place in places.items():
            mine = [folder for folder in networks if self._models[folder] == key]
            results = [os.path.relpath(folder, place) for folder in mine]
            if place in mine:  # the folder is a network's own
                results = [os.path.basename(path) for path in networks[place]]
            results = [*(states if key == "output_dir" else ()), *results]
            if results:
                way = (
                    "nothing there says how to go on with it"
                    if self.resume
                    else "go on with that run by --resume true"
                )
                raise UserError(
                    f"{key}: {place} holds an earlier run's results ({listed(results)}); {way}, replace it "
                    "by --overwrite_output_dir true, or name another folder"
                )
        foreign = [] if self._proven() else self._records()
        if self.resume and foreign == [self.join(CONFIG_YAML)]:  # a run was killed as it began
            return
        if foreign:
            raise UserError(
                f"output_dir: {self.path} holds {listed(map(self._named, foreign))}, which would be replaced "
                "though no run of this program seems to have written it; name another folder, or replace it "
                "by --overwrite_output_dir true"
            )

    def _unfinished(self):
        """Names of what a run goes on from. What a finished one noted of its stages is a record: further
        tasks, and a phase 2 from its phase 1, may have the same folder.
        """
        return (STATE_FILE,) if os.path.exists(self.join(RESULTS_FILE)) else (STATE_FILE, STAGES_FILE)

    @property
    def goes_on(self) -> bool:
        """Whether this run is an earlier one's, which has left a state; one that was killed before its first
        may have networks all the same, and run.json says what it was made from.
        """
        if not self.resume:
            return False
        if any(os.path.exists(self.join(name)) for name in (STATE_FILE, STAGES_FILE)):
            return True
        return bool(self._networks()) and not os.path.exists(self.join(RESULTS_FILE)) and self._is_known()

    def _is_known(self):
        try:
            return isinstance(read_json(self.join(RECORD_FILE), "a run's record").get("made_from"), dict)
        except UserError:  # there is none, or it is damaged
            return False

    def _proven(self):
        """Whether an earlier run began there."""
        return all(os.path.isfile(self.join(name)) for name in _BEGUN)

    def _networks(self):
        """{folder: the files in it} of the networks that earlier runs wrote where this one will."""
        found = {}
        for folder in filter(os.path.isdir, self._models):
            names = (os.path.join(folder, name) for name in (WEIGHTS_FILE, PACKED_FILE))
            weights = [*filter(os.path.isfile, names), *step_files(folder)]
            beside = (os.path.join(folder, name) for name in (CONFIG_FILE, VOCABULARY_FILE))
            if weights:
                found[folder] = [*weights, *filter(os.path.isfile, beside)]
        return found

    def _records(self):
        """Paths of the files there that this run would replace."""
        return [*filter(os.path.exists, map(self.join, (*_BEGUN, *_WRITTEN))), *event_files(self.path)]

    def _named(self, path):
        return os.path.relpath(path, self.path) if path.startswith(os.path.join(self.path, "")) else path

    def replaced(self) -> list[str]:
        """Paths of the networks' files that `start` removes."""
        return [] if self.goes_on else sum(self._networks().values(), [])

    def _remove_earlier(self):
        """Remove exactly the files that runs write, and folders that are then empty; say so."""
        networks, own = self._networks(), self._records()
        if self.overwrite and os.path.exists(self.join(PROFILE)):
            own.append(self.join(PROFILE))
        if networks or own:
            print(
                f"output_dir: replaces what an earlier run left in {self.path}: "
                f"{listed(map(self._named, [*networks, *own]))}",
                flush=True,
            )
        begun = [*map(self.join, _BEGUN)]  # they are replaced, and tell until then whose the others are
        for path in sum(networks.values(), [path for path in own if path not in begun]):
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        for folder, key in self._models.items():
            if key == "output_dir":  # others are locked
                _remove_empty(folder)
        for name in (LATENT, UNPACKED):
            _remove_empty(self.join(name))

    # --- this run's -----------------------------------------------------------------------------------------

    def start(self, resolved: str, kept: Mapping[str, float] | None = None) -> None:
        """`claim` the folder, remove what an earlier run left unless this one goes on with it,
        write config.yaml, begin metrics.jsonl: empty, or for a run that is resumed with the lines that count.

        Args:
            resolved (str): the settings as YAML: the same command with it repeats the run.
            kept (dict): {stage: the last step whose line counts} of a run that is resumed.

        Raises:
            UserError: as `claim`.
        """
        if not self.writes:
            return
        self.claim()
        metrics, records = self.join(METRICS_FILE), []
        if self.goes_on:
            if kept and os.path.exists(metrics):
                records = [
                    line for line in _records_of(metrics) if line["step"] <= kept.get(line["stage"], -1)
                ]
            for name in (RESULTS_FILE, REPORT_FILE):  # they are written again when the run ends
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self.join(name))
        else:
            self._remove_earlier()
        write_text(self.join(CONFIG_YAML), resolved)
        with replacing(metrics) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
        if self._events:
            self._events.start(records)

    def record(self, **values: Any) -> None:
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

    def join(self, *names: str) -> str:
        """A path in the folder."""
        return os.path.join(self.path, *names)


def _remove_empty(folder):
    with contextlib.suppress(OSError):  # something else is in it, or there is none
        os.rmdir(folder)


def _make_ahead(path):
    """Create a folder and its parents, which go again if nothing is written there."""
    folder, missing = os.path.realpath(path), []
    while not os.path.exists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    make_folder(path)
    MADE_AHEAD.extend(reversed(missing))


def _hold(path, key):
    """Lock a folder, which a setting names, for the life of this process; the system unlocks it however that
    ends.

    Raises:
        UserError: another process has it.
    """
    real = os.path.realpath(path)
    if real in _HELD_PATHS:
        return
    try:
        sure = _HELD.enter_context(locked(real))
    except BlockingIOError as error:
        raise UserError(
            f"{key}: another run is writing to {path} ({error}); wait for its end, or name another folder"
        ) from error
    if not sure:
        print(f"{key}: {path} cannot be locked; let no other run write there", flush=True)
    _HELD_PATHS.add(real)


def _records_of(path):
    """The records in a metrics.jsonl. Nothing that a run goes on from depends on them, so a line that is
    damaged is left out, which is said; of one that a killed process left unfinished there is nothing to say.
    """
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    records, damaged = [], []
    for number, line in enumerate(lines, 1):
        try:
            records.append(_record_of(line))
        except (ValueError, UserError):
            damaged.append(number)
    unfit = [f"line {number}" for number in damaged if number < len(lines)]
    if unfit:
        print(f"resume: left out of {path}: {listed(unfit)}, no record of a step", flush=True)
    return records


def _record_of(line):
    """What a line of metrics.jsonl says."""
    record = parse(line)
    checked(record, _Line, METRICS_FILE)
    numbers = {key: value for key, value in record.items() if key != "stage"}
    checked(numbers, Dict[Text, Union[int, float]], METRICS_FILE)
    return record
