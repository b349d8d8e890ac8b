"""ONNX Runtime Web, the runtime of `src/deploy/web.py`'s page: from a path the user gives, or from npm."""

import gzip
import os
import re
import shutil
import subprocess
import tarfile
import tempfile

from src.errors import UserError, one_line, shown

PACKAGE, VERSION = "onnxruntime-web", "1.22.0"
"""The npm package and the version asked for: of those that run our graphs the smallest when packed."""
OLDEST = (1, 19)
"""The first whose files are named so."""
# {name in the package's dist/: name in the page's folder}; in .js, for not every web server knows .mjs.
_FILES = {
    "ort.wasm.min.mjs": "ort.js",
    "ort-wasm-simd-threaded.mjs": "loader.js",
    "ort-wasm-simd-threaded.wasm": "ort.wasm.gz",
}
FILES = tuple(_FILES.values())
_MOST_BYTES = 64 << 20  # of one of them
_SECONDS = 300
_IMPATIENT = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000")  # npm's own take minutes where offline
_ADVICE = (
    f"give the folder or .tgz of the npm package {PACKAGE} (npm pack {PACKAGE}@{VERSION}): --web_runtime PATH"
)


def write_runtime(folder: str, given: str) -> str:
    """Write the `FILES` into a new folder, the largest packed by gzip: the page unpacks it itself.

    Args:
        given (str): the package as a folder (or its dist/) or as npm's .tgz; "" asks npm for it.

    Returns:
        The version.

    Raises:
        UserError: the package is not there, not whole or too old, or npm cannot get it.
    """
    files = _given(given) if given else _from_npm()
    version = _version(files["ort.wasm.min.mjs"], given or PACKAGE)
    os.mkdir(folder)
    for name, target in _FILES.items():
        data = files[name]
        if target.endswith(".gz"):
            data = gzip.compress(data, mtime=0)  # the same bytes at every export
        with open(os.path.join(folder, target), "wb") as file:
            file.write(data)
    return version


def _given(path: str) -> dict[str, bytes]:
    """{name: bytes} of the package's files at a path."""
    if os.path.isfile(path):
        return _unpacked(path)
    for folder in (path, os.path.join(path, "dist"), os.path.join(path, "node_modules", PACKAGE, "dist")):
        places = {name: os.path.join(folder, name) for name in _FILES}
        if all(map(os.path.isfile, places.values())):
            return {name: _read(place) for name, place in places.items()}
    if not os.path.isdir(path):
        raise UserError(f"web_runtime: {path} does not exist; {_ADVICE}")
    raise UserError(f"web_runtime: {path} does not hold {', '.join(_FILES)}; {_ADVICE}")


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _unpacked(path: str) -> dict[str, bytes]:
    """{name: bytes} of the `_FILES` in npm's .tgz. Only these members are read, into memory: nothing else of
    the archive counts.
    """
    files = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.removeprefix("package/dist/")
                if name in _FILES and name != member.name and member.isfile() and member.size <= _MOST_BYTES:
                    file = archive.extractfile(member)
                    assert file is not None  # it is None for folders and the like
                    files[name] = file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(
            f"web_runtime: {path} is no .tgz as npm pack writes it: {error}; {_ADVICE}"
        ) from error
    absent = [name for name in _FILES if name not in files]
    if absent:
        raise UserError(f"web_runtime: {path} does not hold package/dist/{absent[0]}; {_ADVICE}")
    return files


def _from_npm() -> dict[str, bytes]:
    """{name: bytes} of the `_FILES` of the package that npm fetches and compares with its checksum."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"web_runtime: npm is not installed, which would fetch {PACKAGE}; {_ADVICE}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--prefer-offline", "--loglevel=error", *_IMPATIENT]
        try:
            run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"web_runtime: npm did not answer in {_SECONDS} seconds; {_ADVICE}") from error
        if run.returncode:
            said = shown(one_line(run.stderr), 200)
            raise UserError(f"web_runtime: npm cannot fetch {PACKAGE} {VERSION}: {said}; {_ADVICE}")
        return _unpacked(os.path.join(folder, f"{PACKAGE}-{VERSION}.tgz"))


def _version(script: bytes, source: str) -> str:
    """The version that the runtime's script names at its beginning, as text."""
    found = re.search(rb"ONNX Runtime Web v((\d+)\.(\d+)[\w.+-]*)", script[:1000])
    if not found:
        raise UserError(
            f"web_runtime: {source} does not say which version of ONNX Runtime Web it is; {_ADVICE}"
        )
    if (int(found[2]), int(found[3])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise UserError(
            f"web_runtime: {source} is ONNX Runtime Web {found[1].decode()}, older than {oldest}; {_ADVICE}"
        )
    return found[1].decode()
