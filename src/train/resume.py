"""What a run that was stopped goes on from, and whether it is the same run."""

import os

from src.checkpoint.folder import WEIGHTS_FILE, digest
from src.errors import UserError
from src.files import read_json, sample_checksum
from src.runtime import same_everywhere, say

STATE_FILE = "state.safetensors"
NOTHING, STATE, FINISHED = 0, 1, 2


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
