"""Fixtures of the launchers' tests: a Python, a working folder, a copy of scripts/."""

import json
import shutil

import pytest

from scripts.launch.commands import ENTRIES
from tests.launchers import ROOT, SECONDS, STAND_IN_ENTRY, STAND_IN_PYTHON, Launched, write_program


@pytest.fixture
def python(tmp_path):
    """A Python that has everything."""
    return str(write_program(tmp_path / "bin" / "python", STAND_IN_PYTHON))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "some where").mkdir()
    return tmp_path / "some where"


@pytest.fixture
def checkout(tmp_path):
    """do(...): path of a copy of scripts/ whose entry scripts behave, rank by rank, as told."""

    def make(**todo):
        copy = tmp_path / "copy"
        shutil.copytree(ROOT / "scripts", copy / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("requirements.txt", "requirements-dev.txt"):
            shutil.copy(ROOT / name, copy)
        for name in (*ENTRIES, "gd_config.yaml"):
            (copy / name).write_text(STAND_IN_ENTRY)
        told = {key.removeprefix("rank_"): value for key, value in todo.items()}
        (copy / "do.json").write_text(json.dumps(told))
        return copy

    return make


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    yield
    while Launched.running:  # a failed test's
        launcher = Launched.running.pop()
        launcher.terminate()
        launcher.communicate(timeout=SECONDS)
