"""A run's numbers as event files, which TensorBoard draws while it trains."""

import glob
import os
from collections.abc import Iterable
from typing import Any

from src.errors import UserError


def event_files(folder: str) -> list[str]:
    """Paths of the event files in a folder."""
    return glob.glob(os.path.join(glob.escape(folder), "events.out.tfevents.*"))


class Events:
    """The event file in a run folder: what metrics.jsonl says, as scalars STAGE/NAME by step. Every record is
    on the disk when `write` returns.

    Args:
        folder (str): the run's; nothing is written before `start`.

    Raises:
        UserError: the package that writes event files is not installed.
    """

    def __init__(self, folder: str):
        try:
            # The writer below its SummaryWriter, which has a thread and loses what waits there at a crash.
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event
        except ImportError as error:
            raise UserError(
                "tensorboard: event files need the package tensorboardX: pip install tensorboardX, or give "
                "--tensorboard false"
            ) from error
        self._folder, self._open, self._event, self._file = folder, EventsWriter, Event, None

    def start(self, records: Iterable[dict[str, Any]]) -> None:
        """Begin with these records (iterable of dict, lines of metrics.jsonl), in place of older files."""
        for path in event_files(self._folder):
            os.remove(path)
        self._file = self._open(os.path.join(self._folder, "events"))
        for record in records:
            self.write(record)

    def write(self, record: dict[str, Any]) -> None:
        """Add one record."""
        event = self._event(wall_time=record["time"], step=record["step"])
        for name, value in record.items():
            if name not in ("time", "step", "stage"):
                event.summary.value.add(tag=f"{record['stage']}/{name}", simple_value=value)
        assert self._file is not None  # `start` has opened it
        self._file.write_event(event)
        self._file.flush()
