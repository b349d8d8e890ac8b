"""Runs an entry script and sends its own process a signal after a step.

python tests/killed_at.py STAGE STEP SIGNAL SCRIPT ARGUMENTS...
"""

import os
import runpy
import sys

sys.path.insert(0, os.getcwd())
import src  # noqa: E402, F401  before MindSpore
from src.train.progress import Progress  # noqa: E402

name, at, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
del sys.argv[:4]
on_step = Progress.on_step


def then_killed(self, stage, step):
    on_step(self, stage, step)
    if (stage.name, step) == (name, at):
        os.kill(os.getpid(), number)


Progress.on_step = then_killed
runpy.run_path(sys.argv[0], run_name="__main__")
