"""Jobs on ModelArts: the cloud's folders are copied to the machine, the program runs on the copies, its
results are copied back. `src/settings/paths.py` says which settings are taken from which copy.
"""

import contextlib
import errno
import functools
import os
import re
import shutil
import signal
import stat
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from src.errors import ZIP_FAULTS, UserError, one_line, shown
from src.files import make_folder, working_folder, write_json
from src.json_file import read_json
from src.runtime import environment_number
from src.settings.defaults import chosen
from src.settings.parsing import part, read_settings
from src.settings.paths import inside_copies
from src.settings.shared import ModelArtsConfig
from src.settings.training import TrainingConfig

if TYPE_CHECKING:
    from src.settings.tools import ExportConfig

T = TypeVar("T")
C = TypeVar("C", bound="ExportConfig | TrainingConfig")
"""The settings of a command that ModelArts runs."""
_DEVICES_OF_A_MACHINE = 8
_WAIT_SECONDS = 2 * 60 * 60  # for the process that downloads; a corpus takes its time
_FLAG_AGE_SECONDS = 5 * 60  # an older flag is an earlier job's: the processes of one job start within moments


def with_settings(config_class: type[C]) -> Callable[[Callable[[C], T]], Callable[[], T]]:
    """Decorator of an entry script's `main(settings)`: it is called with the command line's settings, inside
    `on_platform`.
    """

    def decorate(main: Callable[[C], T]) -> Callable[[], T]:
        @functools.wraps(main)
        def run() -> T:
            with on_platform(read_settings(config_class)) as settings:
                if issubclass(config_class, TrainingConfig):
                    print(*chosen(settings), sep="\n", flush=True)
                return main(settings)

        return run

    return decorate


@contextlib.contextmanager
def on_platform(settings: C) -> Iterator[C]:
    """Yield a command's settings; with `enable_modelarts` true, as they are inside the machine's copies,
    which are made before and copied back afterwards.
    """
    if not settings.enable_modelarts:
        yield settings
        return
    with copies(part(settings, ModelArtsConfig), getattr(settings, "resume", False)):
        device_id = environment_number("DEVICE_ID", default=settings.device_id)
        yield replace(inside_copies(settings), device_id=device_id)


@contextlib.contextmanager
def copies(config: ModelArtsConfig, resume: bool = False) -> Iterator[None]:
    """Download first, and upload the results at the end.

    The upload also follows an error, Ctrl-C and the platform's stop signal; if it then fails too, that is
    printed and the first error stays.

    Args:
        config (ModelArtsConfig): the job's folders. resume (bool): what train_url holds is needed too.

    Raises:
        UserError: moxing is missing, a folder cannot be copied, or a zip is damaged, leads out of its folder
            or has no room.
    """
    moxing = _moxing()
    _download_once(config, resume and bool(config.train_url), moxing)
    make_folder(config.output_path)
    try:
        with _stop_as_exception():
            yield
    except BaseException:
        try:
            _upload(config, moxing)
        except (UserError, OSError) as error:
            print(f"error: {one_line(error)}", file=sys.stderr, flush=True)
        raise
    _upload(config, moxing)


def _moxing():
    try:
        import moxing
    except ImportError as error:
        raise UserError(
            "enable_modelarts: the package moxing exists only on ModelArts and cannot be imported here "
            f"({one_line(error)}); run with --enable_modelarts false"
        ) from error
    return moxing


@contextlib.contextmanager
def _stop_as_exception():
    """Turn SIGTERM, with which the platform and launchers stop a process, into `SystemExit`: the results are
    still copied.

    Python runs a handler only between its own instructions, so not while MindSpore waits for another process.
    If that one has died, MindSpore gives up after 30 s on CPU. The launchers wait longer before they kill;
    where the platform does not, the results of such a job are lost.
    """
    if _is_scheduler():  # it waits inside MindSpore all the time, and has no results
        yield
        return

    def stop(number, _):
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        # None: set by a library in C, and not to be had back.
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


# --- copying ------------------------------------------------------------------------------------------------


class _Flag(Struct):
    """What the process that downloads leaves for the others."""

    error: str
    """"" where it has all."""


def _rank():
    """Number of this process among all of the job; the launchers have names of their own for it."""
    return environment_number("RANK_ID", "OMPI_COMM_WORLD_RANK", default=0)


def _is_scheduler():
    """Whether this is the extra process of a job on GPU or CPU, which runs the same program but only connects
    the others.
    """
    return os.environ.get("MS_ROLE") == "MS_SCHED"


def _first_of_machine():
    size = environment_number("RANK_SIZE", "MS_WORKER_NUM", "OMPI_COMM_WORLD_SIZE", default=1)
    device = environment_number("DEVICE_ID", "OMPI_COMM_WORLD_LOCAL_RANK", default=_rank())
    return device % min(size, _DEVICES_OF_A_MACHINE) == 0


def _download_once(config, resume, moxing):
    """Download in the machine's first process; the others wait for the flag that it leaves beside the
    data.
    """
    if _is_scheduler() or not (config.data_url or config.checkpoint_url or resume):
        return
    flag = os.path.normpath(config.data_path) + ".downloaded"
    if not _first_of_machine():
        _wait_for(flag)
        return
    make_folder(os.path.dirname(os.path.abspath(flag)))
    with contextlib.suppress(FileNotFoundError):
        os.remove(flag)
    try:
        _download(config, resume, moxing)
    except (UserError, OSError) as error:
        write_json(flag, {"error": one_line(error)})
        raise
    write_json(flag, {"error": ""})


def _wait_for(flag):
    """Return once the first process has downloaded everything.

    Raises:
        UserError: it failed, or the time is up.
    """
    started = time.time()
    while not _written_since(flag, started - _FLAG_AGE_SECONDS):
        if time.time() - started > _WAIT_SECONDS:
            raise UserError(
                "the job's first process on this machine has not finished downloading after "
                f"{_WAIT_SECONDS} s (no new {flag})"
            )
        time.sleep(0.5)
    error = read_json(flag, "the download's flag", _Flag).error
    if error:
        raise UserError(f"the job's first process on this machine could not download: {error}")


def _written_since(path, moment):
    try:
        return os.path.getmtime(path) > moment
    except OSError:
        return False


def _download(config, resume, moxing):
    """Copy the data, the checkpoints and the results of a run to be resumed to the machine, and unpack the
    data's zips.
    """
    for key, folder in (("data_url", config.data_path), ("checkpoint_url", config.load_path)):
        url = getattr(config, key)
        if url:
            make_folder(folder)
            _copy(moxing, key, url, folder)
            if not os.listdir(folder):
                raise UserError(f"{key}: {url} holds nothing")
    if resume and moxing.file.exists(config.train_url):
        make_folder(config.output_path)
        _copy(moxing, "train_url", config.train_url, config.output_path)
    if config.data_url and config.need_modelarts_dataset_unzip:
        for path in _zips(config):
            unpack(path, config.data_path)
            print(f"unpacked {path}", flush=True)


def _zips(config):
    """Paths of the zips to unpack."""
    found = sorted(name for name in os.listdir(config.data_path) if name.lower().endswith(".zip"))
    name = config.modelarts_dataset_unzip_name
    if name:
        chosen = [item for item in found if item in (name, name + ".zip")]
        if not chosen:
            raise UserError(
                f"modelarts_dataset_unzip_name: {config.data_url} has no {name}.zip; it has "
                f"{', '.join(found) or 'no zip at all'}"
            )
        found = chosen
    return [os.path.join(config.data_path, item) for item in found]


def _upload(config, moxing):
    """Copy the results to train_url; only the job's first process, which writes them, does."""
    if _is_scheduler() or _rank() or not os.listdir(config.output_path):
        return
    if config.train_url:
        _copy(moxing, "train_url", config.output_path, config.train_url)
    else:
        print(f"train_url is not set: the results stay in {config.output_path} on the machine", flush=True)


def _copy(moxing, key, source, target):
    """Copy the folder `source` into the folder `target`; either is the machine's or the cloud's. `key` is the
    setting, for the message.
    """
    try:
        moxing.file.copy_parallel(source, target)
    except Exception as error:  # moxing raises many kinds, all about the cloud, the network or the disk
        raise UserError(f"{key}: cannot copy {source} to {target}: {one_line(error)}") from error
    print(f"copied {source} to {target}", flush=True)


# --- unpacking ----------------------------------------------------------------------------------------------


def unpack(path: str, folder: str) -> None:
    """Unpack a zip into `folder`, over files of the same names; nothing appears there unless all of it could
    be unpacked.

    Args:
        path (str): the zip. folder (str): an existing folder.

    Raises:
        UserError: the zip is damaged or needs a password, a member would leave the folder or is no ordinary
            file, or the disk is too small.
    """
    try:
        with working_folder(folder) as temporary, zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _check_member(member, path)
            size, free = (
                sum(member.file_size for member in archive.infolist()),
                shutil.disk_usage(folder).free,
            )
            if size > free:
                raise UserError(f"{path} unpacks to {size:,} bytes, but {folder} has room for {free:,}")
            archive.extractall(temporary)  # reads no more of a member than the size checked above
            _check_places(path, temporary, folder)
            _move(temporary, folder)
    except ZIP_FAULTS as error:
        # The disk's fault; bz2's own has no reason, and a seek to before the file's begin has none but this.
        if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:
            raise
        raise UserError(f"{path} is not a readable zip: {one_line(error)}") from error


def _check_member(member, path):
    """Refuse a member that would not be an ordinary file or folder below where it is unpacked."""
    name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in re.split(r"[\\/]", name):
        raise UserError(
            f"{path}: its member {shown(name)} would be unpacked outside the folder; nothing was unpacked"
        )
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):  # 0: packed on a system that does not record it
        raise UserError(
            f"{path}: its member {shown(name)} is a link or a device, not a file; nothing was unpacked"
        )


def _check_places(path, source, target):
    """Refuse files below `source` where `target` has a folder of that name, and folders where it has a
    file or a link.
    """
    for parent, folders, files in os.walk(source):
        for name in folders + files:
            member = os.path.relpath(os.path.join(parent, name), source)
            place = os.path.join(target, member)
            if name in folders and os.path.islink(place):
                raise UserError(
                    f"{path}: its member {shown(member)} is a folder, but {place} is a link, which leads "
                    "elsewhere; nothing was unpacked"
                )
            if os.path.exists(place) and os.path.isdir(place) != (name in folders):
                raise UserError(
                    f"{path}: its member {shown(member)} is a {'folder' if name in folders else 'file'}, but "
                    f"{place} is not; nothing was unpacked"
                )


def _move(source, target):
    """Move the files below the folder `source` to the same places below `target`, which is on the same
    disk.
    """
    for parent, _, names in os.walk(source):
        folder = os.path.join(target, os.path.relpath(parent, source))
        make_folder(folder)
        for name in names:
            os.replace(os.path.join(parent, name), os.path.join(folder, name))
