"""Record files are held against their checksums before MindSpore opens them; without any, another process
looks first.
"""

import os
import subprocess
import sys

import pytest

from src.checksums import notes
from src.data import whole
from src.data.info import DatasetInfo
from src.data.whole import check_files
from src.errors import UserError
from src.kinds import CLASSIFICATION
from tests.helpers import make_examples, refuses, write_split

READ_ELSEWHERE = whole._read_elsewhere  # before a fixture takes it away


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with files that are called records; MindSpore would not read them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "sst-2"
    folder.mkdir()
    for name in ("train.mindrecord", "train.mindrecord.db", "eval.tf_record"):
        (folder / name).write_bytes(name.encode() * 99)
    return folder


@pytest.fixture
def noted(folder):
    DatasetInfo("SST-2", CLASSIFICATION, (), "", 9, True, 16, {}, checksums=notes(folder)).save(str(folder))
    return folder


@pytest.fixture
def looked(monkeypatch):
    """The files that another process was asked to read."""
    asked = []
    monkeypatch.setattr(whole, "_read_elsewhere", lambda files: asked.append(list(files)))
    return asked


def records(folder, name="train.mindrecord"):
    return [str(folder / name)]


def test_files_that_are_as_noted_are_opened_at_once(noted, looked):
    check_files(records(noted), "mindrecord")
    check_files(records(noted, "eval.tf_record"), "tfrecord")
    assert looked == []


@pytest.mark.parametrize("name", ["train.mindrecord", "train.mindrecord.db", "eval.tf_record"])
@pytest.mark.parametrize("place", [0, 500, -1])
def test_one_changed_bit_is_told(noted, looked, name, place):
    content = bytearray((noted / name).read_bytes())
    content[place] ^= 1
    (noted / name).write_bytes(content)
    kind = "tfrecord" if name.endswith("tf_record") else "mindrecord"
    with pytest.raises(
        UserError, match=rf"{name} is damaged: its SHA-256 .* run prepare_data.py again .*checksums"
    ):
        check_files([str(noted / name.removesuffix(".db"))], kind)
    assert looked == []


def test_files_without_checksums_are_looked_at_once_until_they_change(folder, looked):
    for content in (b"a", b"b"):
        (folder / "train.mindrecord").write_bytes(content)
        for _ in range(2):
            check_files(records(folder), "mindrecord")
    check_files(records(folder, "eval.tf_record"), "tfrecord")
    assert looked == [records(folder)] * 2
    os.utime(folder / "train.mindrecord.db", (5, 5))  # another index may give other rows
    check_files(records(folder), "mindrecord")
    assert len(looked) == 3


ENDS = {
    "sys.exit(0)": None,
    "os.kill(os.getpid(), signal.SIGSEGV)": "two.mindrecord is damaged: MindSpore crashes .*SIGSEGV",
    "os.kill(os.getpid(), signal.SIGABRT)": "two.mindrecord is damaged: MindSpore crashes .*SIGABRT",
    "time.sleep(9)": "two.mindrecord is damaged: MindSpore was still reading it after 0.4 s",
    "print('two is so and so'); sys.exit(3)": "^two is so and so$",
    "sys.exit('no such module')": "two.mindrecord cannot be read: no such module",
}


@pytest.mark.parametrize("end", ENDS)
def test_however_the_other_process_ends_it_is_one_line(tmp_path, monkeypatch, end):
    files = [str(tmp_path / name) for name in ("one.mindrecord", "two.mindrecord")]
    for path in files:
        open(path, "wb").close()
    code = f"import os, signal, sys, time\nprint('.', flush=True)\nprint('.', flush=True)\n{end}"
    run = subprocess.run
    monkeypatch.setattr(whole, "_SECONDS", 0.4)
    monkeypatch.setattr(
        whole.subprocess, "run", lambda command, **how: run([sys.executable, "-c", code], **how)
    )
    if ENDS[end] is None:
        READ_ELSEWHERE(files)
        return
    with pytest.raises(UserError, match=ENDS[end]):
        READ_ELSEWHERE(files)


def test_the_other_process_is_bound_and_has_no_place_in_a_job(tmp_path, monkeypatch):
    told = {}
    monkeypatch.setattr(
        whole.subprocess,
        "run",
        lambda command, **how: told.update(how, command=command) or subprocess.CompletedProcess(command, 0),
    )
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    monkeypatch.setenv("RANK_ID", "1")
    (tmp_path / "a.mindrecord").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    READ_ELSEWHERE(["a.mindrecord"])
    assert told["command"][1:] == ["-m", "src.data.whole", str(tmp_path / "a.mindrecord")]
    assert told["timeout"] >= 60 and not {"MS_ROLE", "RANK_ID"} & set(told["env"])


def test_a_published_file_is_read_by_another_process_and_a_damaged_one_is_one_line(tmp_path, monkeypatch):
    """The real thing, once: a file whose index points far beyond its end."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(whole, "_read_elsewhere", READ_ELSEWHERE)
    write_split(tmp_path, "good", make_examples(9, 12))
    write_split(tmp_path, "other", make_examples(9, 12))
    good, other = (str(tmp_path / f"{name}.mindrecord") for name in ("good", "other"))
    content = bytearray(open(other, "rb").read())
    content[(3 << 20) :] = bytes(len(content) - (3 << 20))
    with open(other, "wb") as file:
        file.write(content)
    whole._look_at([good])
    with pytest.raises(UserError) as error:
        READ_ELSEWHERE([good, other])
    refuses(error, "other.mindrecord")
