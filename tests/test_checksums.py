"""Whether a file is still what was noted of it, and what is not hashed twice."""

import contextlib
import hashlib
import math
import os
import resource
import time
from typing import Dict

import pytest

from src import checksums
from src.checksums import Entry, check, digest_of, entry_of, note, notes
from src.errors import UserError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def hashed(monkeypatch):
    """The files that were really read, all of them being large."""
    read, plain = [], checksums.checksum
    monkeypatch.setattr(checksums, "checksum", lambda path: read.append(str(path)) or plain(path))
    monkeypatch.setattr(checksums, "SMALL", 0)
    return read


def test_what_is_noted_is_length_and_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert notes(str(tmp_path)) == {"a": {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}}
    check(str(tmp_path / "a"), note(str(tmp_path / "a")), "copy it anew")


@pytest.mark.parametrize("content, words", [(b"abcd", "has 4 bytes, not 3"), (b"abd", "SHA-256 is not")])
def test_another_byte_or_length_is_told_with_what_to_do(tmp_path, content, words):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    noted = note(str(path))
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"a is damaged: .*{words}.*; copy it anew"):
        check(str(path), noted, "copy it anew")


@pytest.mark.parametrize(
    "value", [{"b": 0.1, "a": [1, None, "名", "\udcff"]}, {}, {"x": math.nan}], ids=["some", "none", "nan"]
)
def test_json_with_a_checksum_inside_comes_back_or_is_refused(tmp_path, value):
    path = str(tmp_path / "a.json")
    checksums.write_sealed(path, value)
    assert repr(checksums.read_sealed(path, "a file", dict)) == repr(value)
    with open(path, "rb") as file:
        data = file.read()
    for place, byte in enumerate(data):
        with open(path, "wb") as file:
            file.write(data[:place] + bytes([byte ^ 1]) + data[place + 1 :])
        with contextlib.suppress(UserError):
            assert repr(checksums.read_sealed(path, "a file", dict)) == repr(value)


def test_json_with_a_checksum_inside_has_a_shape_too(tmp_path):
    checksums.write_sealed(str(tmp_path / "a.json"), {"a": "text"})
    with pytest.raises(UserError, match="^a file .*a.json.* must be a whole number"):
        checksums.read_sealed(str(tmp_path / "a.json"), "a file", Dict[str, int])


def test_a_large_file_is_hashed_once_and_anew_where_it_changed_or_a_day_is_over(tmp_path, hashed):
    path = str(tmp_path / "a")
    for content, times in ((b"abc", 1), (b"abd", 2)):
        with open(path, "wb") as file:
            file.write(content)
        os.utime(path, (times, times))
        for _ in range(3):
            assert digest_of(path) == hashlib.sha256(content).hexdigest()
        assert len(hashed) == times
    os.rename(path, path + "b")  # the same file elsewhere
    assert digest_of(path + "b") == hashlib.sha256(b"abd").hexdigest() and len(hashed) == 2
    for entry in os.scandir(tmp_path / "cache" / "ternarybert-mindspore" / "seen"):
        os.utime(entry.path, (0, time.time() - 2 * 86400))
    digest_of(path + "b")
    assert len(hashed) == 3


def test_what_lies_in_the_cache_is_believed_only_as_a_digest(tmp_path, hashed):
    path = str(tmp_path / "a")
    with open(path, "wb") as file:
        file.write(b"abc")
    for content in (b"", b"x" * 64, b"\xff"):
        with entry_of(path) as entry:
            with open(entry._path, "wb") as file:
                file.write(content)
        assert digest_of(path) == hashlib.sha256(b"abc").hexdigest()
    assert len(hashed) == 3


def test_another_process_waits_for_the_one_that_hashes(tmp_path):
    path = str(tmp_path / "a")
    open(path, "wb").close()
    reading, writing = os.pipe()
    with entry_of(path) as entry:
        child = os.fork()
        if not child:
            with entry_of(path) as own:
                os.write(writing, own.value().encode() or b"nothing")
            os._exit(0)
        time.sleep(0.1)
        entry.keep("0" * 64)
    assert os.read(reading, 100) == b"0" * 64
    os.waitpid(child, 0)


@pytest.mark.parametrize("home", ["/dev/null", "/proc/1/no"])
def test_without_a_place_for_it_everything_is_hashed(tmp_path, monkeypatch, hashed, home):
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    path = str(tmp_path / "a")
    open(path, "wb").close()
    digest_of(path)
    digest_of(path)
    assert len(hashed) == 2 and Entry(path, "x").value() == ""


def test_entries_unused_for_a_month_go(tmp_path):
    path = str(tmp_path / "a")
    open(path, "wb").close()
    with entry_of(path, "old") as entry:
        old = entry._path
    os.utime(old, (0, time.time() - 31 * 86400))
    checksums._sweep.cache_clear()
    with entry_of(path, "new") as entry:
        entry.keep("1" * 64)
        assert os.listdir(os.path.dirname(old)) == [os.path.basename(entry._path)]


def test_a_full_disk_of_the_cache_costs_nothing(tmp_path):
    """Neither as a digest is kept nor as its file is closed: the system has refused it once."""
    (tmp_path / "a").write_bytes(b"abc")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with entry_of(str(tmp_path / "a")) as entry:
            entry.keep("0" * 64)
            assert entry.value() == ""
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
