"""What a run that was stopped goes on from, and whether it is the same run."""

import math
import os

import yaml
from safetensors import SafetensorError, safe_open

from src.checkpoint.folder import WEIGHTS_FILE, digest
from src.errors import UserError, shown
from src.files import sample_checksum, write_json
from src.json_file import parse, read_json
from src.runtime import same_everywhere, say
from src.settings.paths import INCIDENTAL

STATE_FILE, STAGES_FILE = "state.safetensors", "stages.json"
NOTHING, STATE, FINISHED = 0, 1, 2


def read_note(path):
    """What a saved state says of itself: its stage and step, and what it was made with.

    Raises:
        UserError: the file is damaged or no state.
    """
    return read_state(path, weights=False)[0]


def read_state(path, weights=True):
    """(the note, {name: array}) of a saved state; without `weights` the note alone.

    Raises:
        UserError: as `read_note`.
    """
    try:
        with safe_open(path, "numpy") as file:
            note = parse(file.metadata()["state"])
            names = file.keys() if weights else ()
            return {**note, "step": int(note["step"])}, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"resume: {path} is damaged or no state of a training run: {error}") from error


def made_from(settings, teacher, start, files):
    """What a run is made from, for its state to be held against: {dotted key: JSON value}.

    Args:
        settings (dict): those that must be the same when it goes on, sections as dicts.
        teacher (Checkpoint), start (Checkpoint or None): the student's. files (list of str): of the corpus.
    """
    corpus = [f"{os.path.basename(path)} {sample_checksum(path)}" for path in files]
    return {
        **dict(_flat(settings)),
        "the teacher's weights": digest(teacher.weights)[:16],
        "the student's first weights": digest(start.weights)[:16] if start else "",
        "the corpus": digest({}, *corpus)[:16],
    }


def _flat(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, list(value) if isinstance(value, tuple) else value


def go_on(stage, folder):
    """Bring a stage to where a stopped run of it last saved its state; True if that run is already finished.

    Args:
        stage (Stage): new. folder (str): of the student.

    Raises:
        UserError: the state is damaged or of another run, or the processes of the job find different things.
    """
    state = stage.run.join(STATE_FILE)
    found = _found(stage, folder, state)
    _check_same(found, stage.run, stage.group)
    if found == FINISHED:
        say(f"resume: this run is finished; its student is in {folder}")
    elif found == STATE:
        stage.load_state(state)
        say(f"resumed after step {stage.step_number} of {stage.total_steps}")
    else:
        say(f"resume: there is no {state}, so training begins anew")
    return found == FINISHED


def _check_same(found, run, group):
    """A `UserError` where the processes of a job find different things in the run's folder."""
    if not same_everywhere(int(found), group):
        raise UserError(
            f"resume: not every process of the job finds the same in {run.path}; put the first one's "
            f"{STATE_FILE}, {STAGES_FILE} or results.json into output_dir on every machine"
        )


def _found(stage, folder, state):
    """What the run folder holds of this very run: NOTHING, a saved STATE, or that it is FINISHED."""
    results = _read_or_nothing(stage.run.join("results.json"))
    finished = results.get("resumed_with") == stage.fingerprint()
    if finished and os.path.exists(os.path.join(folder, WEIGHTS_FILE)):
        return FINISHED
    return STATE if os.path.exists(state) else NOTHING


def forget(run):
    """Remove a run folder's saved state."""
    state = run.join(STATE_FILE)
    if run.writes and os.path.exists(state):
        os.remove(state)


def deciding(resolved):
    """{dotted key: JSON value} of the settings, given as YAML, that a resumed run must have too."""
    return dict(_flat({key: item for key, item in yaml.safe_load(resolved).items() if key not in INCIDENTAL}))


class FinishedStages:
    """Which stages a run of several has behind it, and with what results: `stages.json` of its folder.

    Args:
        run (RunFolder): the run's, which this process has locked. resume (bool): whether an earlier run's
            count.
    """

    def __init__(self, run, resume):
        self.run, self.resume = run, resume
        self._path, self._state = run.join(STAGES_FILE), run.join(STATE_FILE)
        self._known = _read_or_nothing(self._path) if resume else {}

    def check(self, made_from, group):
        """Whether the run is finished.

        Raises:
            UserError: what an earlier run left was made from something else, or the processes of the job find
                different things.
        """
        results = _read_or_nothing(self.run.join("results.json")).get("made_from")
        left = {"results.json": results, **{name: stage["made"] for name, stage in self._known.items()}}
        if os.path.exists(self._state):
            left[STATE_FILE] = read_note(self._state)
        for name, made in left.items():
            differing = [key for key, value in made_from.items() if made and made.get(key) != value]
            if differing:
                key = differing[0]
                before, now = shown(made.get(key)), shown(made_from[key])
                raise UserError(
                    f"resume: {name} in {self.run.path} was made with {key} {before}, now it is {now}; use "
                    "the same settings and data, or --resume false to begin anew"
                )
        _check_same(bool(results), self.run, group)
        return bool(results)

    def last_steps(self):
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

    def go_on(self, stage, folder, evaluation):
        """Whether a stage is finished; else it is brought to where it was stopped.

        Args:
            stage (Stage): new. folder (str): of its student. evaluation (Evaluation): of it, or None.

        Raises:
            UserError: the state is damaged or of another run, or the processes find different things.
        """
        if not self.resume:
            return False
        finished = stage.name in self._known and os.path.exists(os.path.join(folder, WEIGHTS_FILE))
        stopped = not finished and self._stopped() is not None
        found = FINISHED if finished else STATE if stopped else NOTHING
        _check_same(found, self.run, stage.group)
        if finished:
            say(f"resume: {stage.name} is finished; its student is in {folder}")
        elif stopped:
            best = stage.load_state(self._state)
            if evaluation:
                evaluation.best = best
            say(f"{stage.name} resumed after step {stage.step_number} of {stage.total_steps}")
        else:
            say(f"resume: {stage.name} was not begun, or saved no state; it begins anew")
        return finished

    def results(self, stage):
        """Of a finished stage's best evaluation, or None."""
        return self._known[stage.name]["results"]

    def note(self, stage, results):
        """A stage is finished, with these results."""
        self._known[stage.name] = {"made": stage.fingerprint(), "results": results}
        if self.run.writes:
            write_json(self._path, self._known)
        forget(self.run)

    def forget(self):
        """Remove what an earlier run in the folder left."""
        if self.run.writes and os.path.exists(self._path):
            os.remove(self._path)
        forget(self.run)


def _read_or_nothing(path):
    try:
        return read_json(path, "an earlier run's file")
    except UserError:  # none, or of a run that was stopped while it wrote it
        return {}
