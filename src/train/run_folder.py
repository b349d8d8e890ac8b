"""The folder of one run."""

import contextlib
import fcntl
import json
import os
import time

from src.errors import UserError
from src.files import make_folder, replacing, write_text
from src.report.layers import LAYERS_FILE
from src.report.predictions import PREDICTIONS_FILE
from src.report.run import REPORT_FILE

_HELD = {}
"""{folder: file descriptor} of the folders that this process has locked."""


class RunFolder:
    """The folder of one run: `config.yaml`, `metrics.jsonl`, its report and checkpoints.

    Nothing is written before `start`: a run that is refused leaves an older run's records alone.

    Args:
        path (str): the folder. writes (bool): false for all but the first process of a group, whose files
            these are.
    """

    def __init__(self, path, writes=True):
        self.path = path
        self.writes = writes
        self._metrics = os.path.join(path, "metrics.jsonl")

    def start(self, resolved, kept=None):
        """Make the folder if it is missing, write config.yaml, begin metrics.jsonl: empty, or for a run that
        is resumed with the lines that count.

        Args:
            resolved (str): the settings as YAML: the same command with it repeats the run.
            kept (dict): {stage: the last step whose line counts} of a run that is resumed.

        Raises:
            UserError: another process is running in the folder.
        """
        if not self.writes:
            return
        make_folder(self.path)
        self.lock()
        # An older run's, which config.yaml will no longer describe.
        for name in ("results.json", REPORT_FILE, *(() if kept else (PREDICTIONS_FILE, LAYERS_FILE))):
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.join(name))
        write_text(self.join("config.yaml"), resolved)
        lines = []
        if kept and os.path.exists(self._metrics):
            with open(self._metrics, encoding="utf-8") as file:
                lines = [line for line in file if _counts(line, kept)]
        with replacing(self._metrics) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(lines)

    def lock(self):
        """Keep other processes out of the folder, if it is there, for the life of this one.

        Raises:
            UserError: another one is running in it.
        """
        if self.writes and os.path.isdir(self.path):
            _hold(self.path)

    def record(self, **values):
        """Append one line of JSON to metrics.jsonl, with the time in seconds since the epoch."""
        if not self.writes:
            return
        try:
            with open(self._metrics, "a", encoding="utf-8") as file:
                file.write(json.dumps({"time": round(time.time(), 3), **values}) + "\n")
        except OSError as error:  # of an open file the system does not say which
            error.filename = error.filename or self._metrics
            raise

    def join(self, *names):
        """A path in the folder."""
        return os.path.join(self.path, *names)


def _hold(path):
    """Lock a folder for the life of this process; the system unlocks it however that ends.

    Raises:
        UserError: another process has it.
    """
    real = os.path.realpath(path)
    if real in _HELD:
        return
    descriptor = os.open(real, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UserError(
            f"output_dir: another run is writing to {path}; wait for its end, or name another folder"
        ) from error
    except OSError:  # a file system without locks
        os.close(descriptor)
        return
    _HELD[real] = descriptor


def _counts(line, kept):
    """Whether a line of metrics.jsonl is of a step up to the last that counts of its stage; one that a killed
    process left unfinished is of none.
    """
    try:
        values = json.loads(line)
        return values["step"] <= kept.get(values["stage"], -1)
    except (ValueError, KeyError, TypeError):
        return False
