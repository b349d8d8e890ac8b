"""How a command ends: one line and exit status 2 for what the user can mend, a traceback for a fault in the
program.
"""

import contextlib
import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.checkpoint.folder import save as save_checkpoint
from src.errors import UserError, command
from src.files import link_to, replacing, write_safetensors
from tests.helpers import describe, tiny_network

ROOT = Path(__file__).resolve().parent.parent
needs_full_disk = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")


def ended(main, capsys):
    """The one line on standard error of a command that ends with status 2."""
    with pytest.raises(SystemExit) as caught:
        command(main)()
    text = capsys.readouterr().err
    assert caught.value.code == 2 and text.startswith("error: ") and text.count("\n") == 1
    return text[len("error: ") : -1]


def raising(error):
    def main():
        raise error

    return main


def test_the_result_and_a_user_error(capsys):
    assert command(lambda value: value)(3) == 3
    assert ended(raising(UserError("seed: must be\n  a number")), capsys) == "seed: must be a number"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ENOENT])
def test_an_error_with_a_path_is_one_line_with_the_systems_reason(capsys, number):
    assert (
        ended(raising(OSError(number, os.strerror(number), "/some/file")), capsys)
        == f"/some/file: {os.strerror(number)}"
    )


def test_a_file_that_cannot_be_opened_is_named(capsys, tmp_path):
    assert ended(lambda: open(tmp_path, "w"), capsys) == f"{tmp_path}: Is a directory"


def test_a_failed_renaming_names_the_target(capsys, tmp_path):
    (tmp_path / "temporary").write_text("x")
    (tmp_path / "target").mkdir()
    assert (
        ended(lambda: os.replace(tmp_path / "temporary", tmp_path / "target"), capsys)
        == f"{tmp_path / 'target'}: Is a directory"
    )


@contextlib.contextmanager
def small_disk():
    """No file can grow beyond 1,000 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_fills_up_names_the_file_that_is_being_replaced(capsys, tmp_path):
    def main():
        with small_disk(), replacing(str(tmp_path / "a.txt")) as temporary, open(temporary, "w") as file:
            file.write("x" * 9999)

    assert ended(main, capsys) == f"{tmp_path / 'a.txt'}: File too large" and not os.listdir(tmp_path)


def test_a_temporary_name_is_told_as_the_file_it_would_become(tmp_path, capsys):
    def main():
        with replacing(str(tmp_path / "a.safetensors")) as temporary:
            with small_disk():
                write_safetensors(temporary, {"x": np.zeros(9999, np.float32)}, {})

    line = ended(main, capsys)
    assert (
        line.startswith(f"{tmp_path}/a.safetensors cannot be written: ")
        and "File too large" in line
        and not os.listdir(tmp_path)
    )


def test_a_checkpoint_that_the_disk_does_not_take_leaves_nothing(tmp_path, capsys):
    network = tiny_network(labels=2)

    def main():
        with small_disk():
            save_checkpoint(str(tmp_path), {"x": np.zeros(9999, np.float32)}, describe(network))

    assert "eval_model" in ended(main, capsys) and os.listdir(tmp_path) == []


def test_a_full_disk_is_told_where_nobody_knows_the_file(capsys):
    assert (
        ended(raising(OSError(errno.ENOSPC, "No space left on device")), capsys)
        == "cannot write: No space left on device"
    )


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        TypeError("x"),
        ValueError("x"),
        OSError("x"),
        OSError(errno.EBADF, "Bad descriptor"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
    ],
    ids=repr,
)
def test_faults_in_the_program_keep_their_traceback(error):
    with pytest.raises(type(error)) as caught:
        command(raising(error))()
    assert caught.value is error


def printing_command(stdout, lines, *options, stderr=subprocess.PIPE):
    text = (
        f"from src.errors import command\n@command\ndef main():\n    for _ in range({lines}):\n        "
        "print('x' * 99)\nmain()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen(
        [sys.executable, *options, "-c", text],
        cwd=ROOT,
        env=environment,
        stdout=stdout,
        stderr=stderr,
        text=True,
    )


@needs_full_disk
@pytest.mark.parametrize("lines, options", [(1, ()), (1000, ()), (1, ("-u",))])
def test_standard_output_on_a_full_disk(lines, options):
    with open("/dev/full", "w") as full, printing_command(full, lines, *options) as process:
        assert process.stderr.read() == "error: standard output: No space left on device\n"
        assert process.wait(timeout=60) == 2


@needs_full_disk
def test_a_log_on_a_full_disk_takes_no_message_and_the_status_stays():
    with open("/dev/full", "w") as full, printing_command(full, 1, "-u", stderr=full) as process:
        assert process.wait(timeout=60) == 2


@pytest.mark.parametrize("options", [(), ("-u",)])
def test_standard_output_that_nobody_reads_any_more(options):
    reading, writing = os.pipe()
    os.close(reading)
    with printing_command(writing, 1000, *options) as process:
        os.close(writing)
        assert process.stderr.read() == "error: standard output: Broken pipe\n"
        assert process.wait(timeout=60) == 2


def test_a_message_without_end_loses_its_middle(capsys):
    for word, most in (("x" * 100_000, 400), ("x " * 50_000, 2100)):
        text = ended(raising(UserError(f"data_dir: {word}; give another")), capsys)
        assert len(text) < most and text.startswith(f"data_dir: {word[:3]}")
        assert text.endswith(f"{word[-3:]}; give another")


def test_too_little_memory_is_one_line(capsys):
    words = "there is not enough memory: Unable to allocate 4.00 EiB"
    assert ended(lambda: np.zeros(1 << 59), capsys).startswith(words)
    assert ended(raising(MemoryError()), capsys) == "out of memory"


def test_a_name_that_a_library_made_for_itself_is_told_as_the_file(capsys, tmp_path):
    def main():
        with replacing(str(tmp_path / "a.ckpt")) as temporary:
            raise OSError(errno.ENOSPC, "No space left on device", temporary.replace(".ckpt", ".tmp"))

    assert ended(main, capsys) == f"{tmp_path / 'a.ckpt'}: No space left on device"


def test_a_link_of_this_programs_is_told_as_what_it_leads_to(capsys, tmp_path):
    path = os.path.join(link_to(str(tmp_path)), "a.onnx")
    assert ended(raising(UserError(f"{path} is damaged")), capsys) == f"{tmp_path / 'a.onnx'} is damaged"
