"""What a run that was stopped goes on from, and whether it is the same run."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Dict, List, Optional, Tuple, Union

import yaml
from msgspec import Meta, Struct
from msgspec.structs import asdict
from safetensors import SafetensorError, safe_open

from src.checkpoint.folder import WEIGHTS_FILE, digest
from src.checksums import read_sealed, write_sealed
from src.errors import UserError, shown
from src.files import replacing, sample_checksum, write_safetensors
from src.json_file import Count, Digest, checked, parse, read_json
from src.run_folder import RECORD_FILE, RESULTS_FILE, STAGES_FILE, STATE_FILE, RunFolder
from src.runtime import same_everywhere
from src.settings.paths import CHECKPOINTS, DATA, INCIDENTAL, OF_ONE_START
from src.terminal import say

if TYPE_CHECKING:
    import numpy as np

    from src.runtime import Group
    from src.train.callbacks import Evaluation
    from src.train.stage import Stage

NOTHING, STATE, FINISHED = 0, 1, 2
_Results = Dict[str, Union[int, float]]


class _Note(Struct):
    """What a saved state says of itself, beside {key: JSON value} of what it was made with."""

    stage: str
    step: Count
    best: Optional[_Results]
    first_loss: Optional[float]
    spans: Annotated[List[Tuple[Count, Count]], Meta(min_length=1, max_length=2)]
    sha256: Digest
    """Of the arrays."""


def read_note(path: str) -> dict[str, Any]:
    """What a saved state says of itself: its stage and step, and what it was made with.

    Raises:
        UserError: the file is damaged or no state.
    """
    return read_state(path, weights=False)[0]


def read_state(path: str, weights: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(the note, {name: array}) of a saved state; without `weights` the note alone.

    Raises:
        UserError: as `read_note`.
    """
    try:
        with safe_open(path, "numpy") as file:
            said = file.metadata() or {}
            text, note_sha256 = said["state"], said["sha256"]
            if note_sha256 != digest({}, text):
                raise ValueError("the checksum of its note differs from the one stored in it")
            note = parse(text)
            known = asdict(checked(note, _Note, path))
            values = {name: file.get_tensor(name) for name in file.keys()} if weights else {}
            if weights and known["sha256"] != digest(values):
                raise ValueError("its checksum differs from the one stored in it")
            return {**note, **known}, values
    except UserError as error:
        raise UserError(f"resume: {error}") from error
    except KeyError as error:  # or it is of a version whose notes had no checksum
        raise UserError(
            f"resume: {path} is damaged or of an earlier version (it lacks {error}); replace that run by "
            "--overwrite_output_dir true in the place of --resume true"
        ) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"resume: {path} is damaged or no state of a training run: {error}") from error


def write_state(path: str, note: dict[str, Any], values: dict[str, np.ndarray]) -> None:
    """Write the file that `read_state` reads, atomically: its note has the arrays' checksum, and a checksum
    of its own, so that it can be believed without them.
    """
    text = json.dumps({**note, "sha256": digest(values)})
    with replacing(path) as temporary:
        write_safetensors(temporary, values, {"state": text, "sha256": digest({}, text)})


def _flat(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, list(value) if isinstance(value, tuple) else value


def _check_same(found, run, group):
    """A `UserError` where the processes of a job find different things in the run's folder."""
    if not same_everywhere(int(found), group):
        raise UserError(
            f"resume: not every process of the job finds the same in {run.path}; put the first one's "
            f"{STATE_FILE}, {STAGES_FILE} or {RESULTS_FILE} into output_dir on every machine"
        )


def deciding(resolved: str) -> dict[str, Any]:
    """{dotted key: JSON value} of the settings, given as YAML, that a resumed run must have too."""
    settings = yaml.safe_load(resolved) or {}
    return dict(_flat({key: item for key, item in settings.items() if key not in INCIDENTAL}))


def inputs_of(resolved: str) -> dict[str, str]:
    """{setting: path} of what a run reads, of its settings, given as YAML."""
    settings = yaml.safe_load(resolved) or {}
    return {key: settings[key] for key in (*DATA, *CHECKPOINTS) if settings.get(key)}


def repeatable(resolved: str) -> str:
    """The settings, given as YAML, without those that say what this one start may do to an earlier run."""
    settings = yaml.safe_load(resolved) or {}
    kept = {key: value for key, value in settings.items() if key not in OF_ONE_START}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def corpus_digest(files: Iterable[str]) -> str:
    """What tells a corpus of record files from another one, without reading all of it."""
    return digest({}, *(f"{os.path.basename(path)} {sample_checksum(path)}" for path in files))[:16]


class _Made(Struct):
    """What results.json and run.json say of what a run was made from: {key: JSON value}."""

    made_from: Dict[str, Any] = {}


class _Finished(Struct):
    """A stage that needs no further step."""

    made: Dict[str, Any]
    """Its fingerprint."""
    results: Optional[_Results]
    """Of its best evaluation, if it had any."""
    last_step: _Results


class FinishedStages:
    """Which stages a run has behind it, and with what results: `stages.json` of its folder.

    Args:
        run: the run's, which this process has locked; where it is not resumed, nothing that lies
            there counts.
    """

    def __init__(self, run: RunFolder):
        self.run, self.resume = run, run.resume
        self._path, self._state = run.join(STAGES_FILE), run.join(STATE_FILE)
        self._known = self._read() if self.resume else {}

    def _read(self):
        """{stage: `_Finished`} of the file; {} where there is none."""
        if not os.path.exists(self._path):
            return {}
        try:
            return read_sealed(self._path, "the note of finished stages", Dict[str, _Finished])
        except UserError as error:
            raise UserError(
                f"resume: {error}; replace that run by --overwrite_output_dir true in the place of "
                "--resume true"
            ) from error

    def check(self, made_from: dict[str, Any], group: Group) -> bool:
        """Whether the run is finished.

        Raises:
            UserError: what an earlier run left was made from something else, or the processes of the job find
                different things.
        """
        results = _made_from(self.run.join(RESULTS_FILE))
        left = {RESULTS_FILE: results, **{name: stage.made for name, stage in self._known.items()}}
        if os.path.exists(self._state):
            left[STATE_FILE] = read_note(self._state)
        if self.run.goes_on:
            left[RECORD_FILE] = _made_from(self.run.join(RECORD_FILE))
        for name, made in left.items():
            differing = [key for key, value in made_from.items() if made and made.get(key) != value]
            if differing:
                key = differing[0]
                before, now = shown(made.get(key)), shown(made_from[key])
                raise UserError(
                    f"resume: {name} in {self.run.path} was made with {key} {before}, now it is {now}; use "
                    "the same settings and data, or replace that run by --overwrite_output_dir true in the "
                    "place of --resume true"
                )
        _check_same(bool(results), self.run, group)
        return bool(results)

    def last_steps(self) -> dict[str, float]:
        """{stage: last step whose metrics count}: of finished stages, and of the one that was stopped."""
        steps = dict.fromkeys(self._known, math.inf)
        note = self._stopped()
        if note:
            steps[note["stage"]] = note["step"]
        return steps

    def _stopped(self):
        """What the saved state of a stage that is not finished says; None where there is none."""
        note = read_note(self._state) if self.resume and os.path.exists(self._state) else None
        return None if note is None or note["stage"] in self._known else note

    def has(self, name: str, folder: str) -> bool:
        """Whether the stage of that name, whose student is in `folder`, needs no further step."""
        return name in self._known and os.path.exists(os.path.join(folder, WEIGHTS_FILE))

    def go_on(self, stage: Stage, folder: str, evaluation: Evaluation | None) -> bool:
        """Whether a stage is finished; else it is brought to where it was stopped.

        Args:
            stage: new. folder: of its student. evaluation: of it.

        Raises:
            UserError: the state is damaged or of another run, or the processes find different things.
        """
        if not self.resume:
            return False
        finished = self.has(stage.name, folder)
        stopped = not finished and self._stopped() is not None
        found = FINISHED if finished else STATE if stopped else NOTHING
        _check_same(found, self.run, stage.group)
        if finished:
            say(f"resume: {stage.name} is finished; its student is in {folder}")
            self._remove_state()  # it was killed before it did so itself
        elif stopped:
            best = stage.load_state(self._state)
            if evaluation:
                evaluation.best = best
            say(f"{stage.name} resumed after step {stage.step_number} of {stage.total_steps}")
        else:
            say(f"resume: {stage.name} was not begun, or saved no state; it begins anew")
        return finished

    def results(self, stage: Stage) -> dict[str, float] | None:
        """Of a finished stage: those of its best evaluation, or None."""
        return self._known[stage.name].results

    def last_step(self, stage: Stage) -> dict[str, float]:
        """Of a finished stage: what `Stage.read_step` said of its last step."""
        return self._known[stage.name].last_step

    def note(self, stage: Stage, results: dict[str, float] | None) -> None:
        """A stage is finished, with these results."""
        self._known[stage.name] = _Finished(stage.fingerprint(), results, stage.read_step())
        if self.run.writes:
            write_sealed(self._path, {name: asdict(known) for name, known in self._known.items()})
            if os.path.exists(self._state):  # of this stage: nothing else saves one while it runs
                os.remove(self._state)

    def _remove_state(self):
        """Remove the state of a stage that is finished."""
        if self.run.writes and os.path.exists(self._state) and not self._stopped():
            os.remove(self._state)


def _made_from(path):
    """What a JSON file says that a run was made from; {} where it does not. Nothing else depends on such a
    file, so one that is damaged is said and left out.
    """
    if not os.path.exists(path):
        return {}
    try:
        return read_json(path, "an earlier run's file", _Made).made_from
    except UserError as error:
        say(f"resume: left out: {error}")
        return {}
