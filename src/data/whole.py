"""Whether record files may be opened: MindSpore reads a damaged MindRecord file into a crash, without end, or
as other rows, so it is held against the checksums of its `dataset.json` first.

MindRecord files without any, as the published programs wrote them, are read once by a process of its own,
whose crash is one line here. That costs its start, 2 to 3 seconds, and a reading of the files; where they
then lie unchanged it is not done again. TFRecord files without any are not looked at here: their lengths are
followed record by record as they are counted.
"""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager

from src import checksums
from src.data.info import INFO_FILE, DatasetInfo
from src.errors import UserError, one_line
from src.files import ROOT

_AGAIN = (
    "copy it anew or run prepare_data.py again (where it was changed on purpose, remove it from checksums "
    f"in {INFO_FILE})"
)
_REFUSED = 3  # exit status of the process that looks, with the line on its standard output
_SECONDS, _BYTES_A_SECOND = 120, 1 << 20
_MEMORY, _TIMES = 4 << 30, 10  # bytes, and bytes for each of the largest file: rows are padded while read
_OF_A_JOB = ("MS_", "RANK_", "OMPI_", "DEVICE_ID")
"""How the variables begin that tell a process its place in a job, which the looking one has none in."""


def check_files(files: Sequence[str], dataset_type: str) -> None:
    """Raise a `UserError` where a record file is not what its folder notes of it, or cannot be read.

    Args:
        files: that are there. dataset_type: `mindrecord` or `tfrecord`.
    """
    unknown: list[str] = []
    infos: dict[str, DatasetInfo | None] = {}
    for path in files:
        folder = os.path.dirname(path)
        if folder not in infos:
            infos[folder] = DatasetInfo.load(folder)
        parts = [path, path + ".db"] if dataset_type == "mindrecord" else [path]
        if not all([check_noted(part, infos[folder]) for part in parts]) and dataset_type == "mindrecord":
            unknown.append(path)
    if unknown:
        _look_at(unknown)


def check_noted(path: str, info: DatasetInfo | None) -> bool:
    """Whether anything is noted of a file in its folder's `DatasetInfo`.

    Raises:
        UserError: it is not what was noted.
    """
    noted = info.checksums.get(os.path.basename(path)) if info else None
    if noted:
        checksums.check(path, noted, _AGAIN)
    return noted is not None


def _look_at(files: Sequence[str]) -> None:
    """Have MindRecord files without checksums read by another process, unless they were and are the same."""
    with checksums.entry_of(files[0], "look"):  # the processes of a job ask for the same files: one looks
        lacking = [path for path in files if not _was_read(path)]
        if lacking:
            _read_elsewhere(lacking)
        for path in lacking:
            remember(path)


def remember(path: str) -> None:
    """Keep that a MindRecord file, as it lies there, can be read."""
    with _reading(path) as entry:
        entry.keep(checksums.digest_of(path))


def _reading(path: str) -> AbstractContextManager[checksums.Entry]:
    """What is known of having read a file with its index."""
    return checksums.entry_of(path, f"read with {os.stat(path + '.db').st_mtime_ns}")


def _was_read(path: str) -> bool:
    with _reading(path) as entry:
        if not entry.value() or entry.value() != checksums.digest_of(path):
            return False
        entry.touch()
        return True


def _read_elsewhere(files: Sequence[str]) -> None:
    """Read files in a process of its own; a `UserError` with what it says, or with how it ended."""
    command = [sys.executable, "-m", "src.data.whole", *map(os.path.abspath, files)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OF_A_JOB)}
    seconds = _SECONDS + sum(map(os.path.getsize, files)) // _BYTES_A_SECOND
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=kept, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        path = _last_begun(error.stdout, files)
        raise UserError(f"{path} is damaged: MindSpore was still reading it after {seconds} s") from error
    if done.returncode == 0:
        return
    path = _last_begun(done.stdout, files)
    if done.returncode == _REFUSED:
        raise UserError(done.stdout.decode(errors="surrogateescape").splitlines()[-1])
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise UserError(f"{path} is damaged: MindSpore crashes as it reads it ({name}); copy it anew")
    lines = done.stderr.decode(errors="backslashreplace").strip().splitlines() or ["no message"]
    raise UserError(f"{path} cannot be read: {one_line(lines[-1])[:200]}")


def _last_begun(output: bytes | None, files: Sequence[str]) -> str:
    """Which file a process was reading as it ended: it prints a point before each."""
    return files[max(0, min((output or b"").count(b".\n"), len(files)) - 1)]


def _read_all(files: Sequence[str]) -> int:
    """What the other process does: read every file, with a bound on its memory."""
    from src.data.records import read_alone

    most = _MEMORY + _TIMES * max(map(os.path.getsize, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    for path in files:
        print(".", flush=True)
        try:
            read_alone(path)
        except UserError as error:
            print(one_line(error), flush=True)
            return _REFUSED
        except MemoryError:
            print(f"{path} is damaged: reading it takes more than {most >> 20:,} MiB", flush=True)
            return _REFUSED
    return 0


if __name__ == "__main__":
    # Without taking down what MindSpore has running: it may wait for threads that the file has stopped.
    status = _read_all(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)
