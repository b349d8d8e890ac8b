"""Files appear whole or not at all: they are written under a temporary name beside the target and renamed."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile

from src.errors import WRITE_FAULTS, UserError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # of the repository


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary path in `path`'s folder; on success it becomes `path` (mode 0644), on failure it is
    removed.

    The temporary name keeps `path`'s ending, which some writers (MindSpore's `save_checkpoint`) insist on.
    """
    path = os.path.abspath(path)
    folder, name = os.path.split(path)
    make_folder(folder)
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".writing-", suffix="-" + name)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    os.close(handle)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in WRITE_FAULTS and error.filename is None:
            error.filename = path  # a full disk: the system knows the open file by its number only
        raise
    finally:
        # save_checkpoint has a name of its own for it while it writes.
        for left in (temporary, os.path.splitext(temporary)[0] + ".tmp"):
            if os.path.exists(left):
                os.chmod(left, 0o644)  # save_checkpoint leaves 0400
                os.remove(left)


@contextlib.contextmanager
def replacing_folder(path):
    """Yield a new temporary folder beside `path`; on success it takes `path`'s place, on failure it is
    removed.
    """
    path = os.path.abspath(path)
    parent, name = os.path.split(path)
    make_folder(parent)
    temporary = tempfile.mkdtemp(dir=parent, prefix=".writing-", suffix="-" + name)
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        if os.path.isdir(path):
            old = tempfile.mkdtemp(dir=parent, prefix=f".old-{name}-")
            os.rename(path, os.path.join(old, name))
            os.rename(temporary, path)
            shutil.rmtree(old)
        else:
            os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_safetensors(path, arrays, metadata):
    """Write {name: array} and {name: text} to the file `path`; a `UserError` where the disk does not take
    it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(arrays, path, metadata)
    except SafetensorError as error:
        raise UserError(f"{path} cannot be written: {error}") from error


def check_replaceable(path, key, own):
    """Raise a `UserError` where the folder `path` holds anything but files whose names match the pattern
    `own`.

    Args:
        path (str): a folder about to be replaced. key (str): the setting that named it. own (str): regular
            expression.
    """
    if os.path.isdir(path):
        foreign = sorted(name for name in os.listdir(path) if not re.fullmatch(own, name))
        if foreign:
            raise UserError(
                f"{key}: {path} holds {foreign[0]}, which this program does not write, and would be "
                "replaced; name another folder"
            )
    elif os.path.exists(path):
        raise UserError(f"{key}: {path} is a file, not a folder")


def check_apart(folder, key, inputs):
    """Raise a `UserError` where `folder`, which a program will write because of the setting `key`, is where
    one of its inputs lies.

    Args:
        inputs (dict): {setting: path of a file or folder, or ""}.
    """
    for name, path in inputs.items():
        own = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))  # a file, or a prefix
        if path and os.path.realpath(folder) == os.path.realpath(own):
            raise UserError(
                f"{key}: {folder} is where {name} lies, which the results would replace or mix with; name "
                "another folder"
            )


def make_folder(path):
    """Create `path` and its parents; a `UserError` where that is impossible."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {path}: {error.strerror}") from error


def checksum(path):
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def sample_checksum(path, size=1 << 16):
    """SHA-256 (hexadecimal) of a file's length and its first and last `size` bytes: tells large files apart
    without reading them.
    """
    length = os.path.getsize(path)
    digest = hashlib.sha256(f"{length}\n".encode())
    with open(path, "rb") as file:
        digest.update(file.read(size))
        file.seek(max(0, length - size))
        digest.update(file.read(size))
    return digest.hexdigest()


def write_text(path, text):
    """Write a UTF-8 text file, atomically."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def write_json(path, value):
    """Write `value` as indented UTF-8 JSON, atomically."""
    with replacing(path) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, ensure_ascii=False)
            file.write("\n")


def read_json(path, what):
    """The JSON object in `path`; a `UserError` that calls the file `what` when it is missing or not a JSON
    object.
    """
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except FileNotFoundError as error:
        raise UserError(f"{what} {path} does not exist") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{what} {path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{what} {path} must hold a JSON object, not {type(value).__name__}")
    return value
