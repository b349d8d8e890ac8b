"""What a run that was stopped goes on from, and whether it is the same run."""

import json
import math
import os

import yaml
from safetensors import SafetensorError, safe_open

from src.checkpoint.folder import WEIGHTS_FILE, digest
from src.errors import UserError
from src.files import read_json, sample_checksum, write_json
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
            note = json.loads(file.metadata()["state"])
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
    if not same_everywhere(found, stage.group):
        raise UserError(
            f"resume: not every process of the job finds the same in {stage.run.path}; put the first one's "
            f"{STATE_FILE} or results.json into output_dir on every machine"
        )
    if found == FINISHED:
        say(f"resume: this run is finished; its student is in {folder}")
    elif found == STATE:
        stage.load_state(state)
        say(f"resumed after step {stage.step_number} of {stage.total_steps}")
    else:
        say(f"resume: there is no {state}, so training begins anew")
    return found == FINISHED


def _found(stage, folder, state):
    """What the run folder holds of this very run: NOTHING, a saved STATE, or that it is FINISHED."""
    try:
        results = read_json(stage.run.join("results.json"), "the results")
    except UserError:  # none, or of a run that was stopped while it wrote them
        results = {}
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
        run (RunFolder): the run's. resume (bool): whether an earlier run's count.
    """

    def __init__(self, run, resume):
        self.run, self.resume = run, resume
        self._path = run.join(STAGES_FILE)
        self._known = self._read() if resume else {}

    def _read(self):
        try:
            return read_json(self._path, "the finished stages")
        except UserError:  # none, or of a run that was stopped while it wrote them
            return {}

    def last_steps(self):
        """{stage: last step whose metrics count}: of finished stages, and of the one that was stopped."""
        steps = dict.fromkeys(self._known, math.inf)
        state = self.run.join(STATE_FILE)
        if self.resume and os.path.exists(state):
            note = read_note(state)
            steps[note["stage"]] = note["step"]
        return steps

    def go_on(self, stage, folder, evaluation):
        """Whether a stage is finished; else it is brought to where it was stopped.

        Args:
            stage (Stage): new. folder (str): of its student. evaluation (Evaluation): of it, or None.

        Raises:
            UserError: the state is damaged or of another run.
        """
        if not self.resume:
            return False
        known = self._known.get(stage.name)
        if (
            known
            and known["made"] == stage.fingerprint()
            and os.path.exists(os.path.join(folder, WEIGHTS_FILE))
        ):
            say(f"resume: {stage.name} is finished; its student is in {folder}")
            return True
        state = self.run.join(STATE_FILE)
        if not os.path.exists(state):
            say(f"resume: {stage.name} was not begun, or saved no state; it begins anew")
            return False
        best = stage.load_state(state)
        if evaluation:
            evaluation.best = best
        say(f"{stage.name} resumed after step {stage.step_number} of {stage.total_steps}")
        return False

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
