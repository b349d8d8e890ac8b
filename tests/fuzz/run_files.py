"""What a run reads of itself, and a report of any run: targets as in `targets.py`. The files are those that
runs write.
"""

import functools
import os
import pathlib
import sys
import tempfile

import numpy as np

from src.checksums import write_sealed
from src.errors import UserError
from src.events import Events
from src.report import layout
from src.report.answers import view_of
from src.report.gather import report_of
from src.report.predictions import Predictions
from src.report.run import Run
from src.report.texts import Texts
from src.run_folder import (
    CONFIG_YAML,
    LAYERS_FILE,
    METRICS_FILE,
    PREDICTIONS_FILE,
    RECORD_FILE,
    RESULTS_FILE,
    STAGES_FILE,
    STATE_FILE,
    RunFolder,
    _records_of,
)
from src.runtime import ALONE
from src.train.known_scores import known_scores
from src.train.resume import FinishedStages, read_state, write_state
from tests.fuzz.target import Target, as_json, as_lines
from tests.reports import classes, numbers, tags, write_run

MADE = {"stage": "a", "seed": 1, "total_steps": 9}


def written(write):
    """The bytes of a file that `write(path)` makes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        write(path)
        with open(path, "rb") as file:
            return file.read()


# --- resumed ------------------------------------------------------------------------------------------------

NOTE = {**MADE, "step": 3, "best": {"accuracy": 0.5, "step": 2}, "first_loss": 2.5, "spans": [[0, 0]]}
STATE = written(lambda path: write_state(path, NOTE, {"a": np.ones(3, np.float32)}))
FINISHED = {"a": {"made": MADE, "results": {"accuracy": 0.5}, "last_step": {"loss": 0.25}}}
STAGES = written(lambda path: write_sealed(path, FINISHED))


def state(folder):
    """A note that is believed is the one that was written."""
    note, values = read_state(os.path.join(folder, STATE_FILE))
    assert note["step"] == 3 and note["spans"] == [(0, 0)] and values["a"].tolist() == [1, 1, 1]


def resumed(folder):
    """What a run asks of the files of its folder before it goes on."""
    run = RunFolder(folder, writes=False, resume=True)
    found = FinishedStages(run)
    found.check(MADE, ALONE)
    found.last_steps()
    for name in found._known:
        stage = type("Stage", (), {"name": name})
        found.results(stage), found.last_step(stage)


def finished(folder):
    resumed(folder)
    (known,) = FinishedStages(RunFolder(folder, writes=False, resume=True))._known.values()
    assert known.results == {"accuracy": 0.5} and known.made == MADE


@functools.cache
def kept_scores_of():
    """A function of a folder that asks for a teacher's scores there, which are known as NAME.json."""
    from tests.helpers import as_model, make_examples, tiny_network

    teacher, rows = as_model(tiny_network(labels=2)), make_examples(2, 8)

    def ask(folder):
        def measure():
            raise UserError("measured anew")

        found = known_scores(folder, teacher, {"eval": rows}, ("accuracy",), measure)
        assert found == {"accuracy": 0.5}

    return ask


def kept_scores(folder):
    """The scores lie where this teacher's are looked for."""
    import src.train.known_scores as module

    plain, module._key = module._key, lambda *_: "scores"
    try:
        kept_scores_of()(folder)
    finally:
        module._key = plain


METRICS = as_lines(
    {"time": 1.5, "stage": "a", "epoch": 1, "step": 2, "loss": 0.5},
    {"time": 2.5, "stage": "a", "epoch": 1, "step": 3, "accuracy": 0.5},
)


def metrics(folder):
    """A resumed run takes the lines over, into event files too where what writes them is loaded, which takes
    seconds. Lines that are left out are told here.
    """
    path = os.path.join(folder, METRICS_FILE)
    records = _records_of(path)
    if "tensorboardX" in sys.modules:
        events = Events(folder)
        events.start(records)
        events._file.close()
    if len(records) < 2:
        raise UserError(f"{path}: lines are left out")


# --- reported -----------------------------------------------------------------------------------------------


FEW_SETTINGS = b"task_name: SST-2\nseed: 3\nphase1_cfg:\n  batch_size: 8\nload_teacher_ckpt_path: t\n"
"""All of them, as a run writes them, would take most of the time."""


@functools.cache
def run_of(said=classes):
    """{name: bytes} of a run's folder; its student lies there too."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_run(pathlib.Path(folder) / "run", said(), record={"students": ["."]})
        files = [file for place in (path, path / "sst-2") for file in place.iterdir() if file.is_file()]
        return {**{file.name: file.read_bytes() for file in files}, CONFIG_YAML: FEW_SETTINGS}


def report(folder):
    """All that the page shows, but for the pictures. What is missing or damaged is told there."""
    found = report_of(folder)
    layout.cards_of(found), layout.facts_of(found), layout.scores_table(found.summary.scores)
    layout.comparison_lines([found, found]), layout.overlays(["a", "b"], [found, found])
    if found.view and found.view.matrix:
        layout.matrix_lines(found.view.matrix)
    if found.notes:
        raise UserError(found.notes[0])


def settings_of_report(folder):
    report(folder)
    Run.read(folder).split_settings()


def answers(folder):
    """Of any kind of task."""
    found = view_of(Predictions.load(os.path.join(folder, PREDICTIONS_FILE)), Texts(None))
    if found.matrix:
        layout.matrix_lines(found.matrix)


KINDS = classes, numbers, tags


def of_report(name):
    return Target(f"{name} of a report", name, (run_of()[name],), report, run_of())


TARGETS = (
    Target("state", STATE_FILE, (STATE,), state),
    Target("state of a resumed run", STATE_FILE, (STATE,), resumed),
    Target(STAGES_FILE, STAGES_FILE, (STAGES,), finished),
    Target(
        "run.json of a resumed run",
        RECORD_FILE,
        (as_json({"made_from": MADE}),),
        resumed,
        {STATE_FILE: STATE},
    ),
    Target("results.json of a resumed run", RESULTS_FILE, (as_json({"made_from": MADE}),), resumed),
    Target(METRICS_FILE, METRICS_FILE, (METRICS,), metrics),
    Target(
        "kept scores",
        "scores.json",
        (written(lambda path: write_sealed(path, {"accuracy": 0.5})),),
        kept_scores,
    ),
    Target("config.yaml of a report", CONFIG_YAML, (FEW_SETTINGS,), settings_of_report, run_of()),
    *map(of_report, (RECORD_FILE, RESULTS_FILE, LAYERS_FILE, PREDICTIONS_FILE, METRICS_FILE)),
    Target("predictions.npz", PREDICTIONS_FILE, tuple(run_of(of)[PREDICTIONS_FILE] for of in KINDS), answers),
)
