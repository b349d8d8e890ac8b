"""Event files, read back by their format: records of TensorFlow's kind, each an Event."""

import json
import struct
import sys

import pytest

from src.errors import UserError
from src.run_folder import STATE_FILE, RunFolder

event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")


def crc32c(data):
    """Castagnoli's checksum, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events_of(folder):
    """The events of the one event file in a folder."""
    (path,) = folder.glob("events.out.tfevents.*")
    data, events = path.read_bytes(), []
    while data:
        (length,), (checked,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        record, (sum_of_it,) = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])
        assert checked == masked(data[:8]) and sum_of_it == masked(record)
        events.append(event_pb2.Event.FromString(record))
        data = data[16 + length :]
    return events


def scalars(folder):
    """[(tag, step, value)]"""
    return [
        (item.tag, event.step, item.simple_value)
        for event in events_of(folder)
        for item in event.summary.value
    ]


def test_the_checksum_here_is_the_standards():
    assert crc32c(b"123456789") == 0xE3069283


def test_event_files_hold_what_metrics_jsonl_holds_as_it_comes(tmp_path):
    run = RunFolder(str(tmp_path), tensorboard=True)
    assert not list(tmp_path.iterdir())  # nothing before the start
    run.start("seed: 1\n")
    run.record(stage="phase1", epoch=1, step=50, loss=0.25, learning_rate=1e-3)
    run.record(stage="phase2", epoch=1, step=2, accuracy=0.5)
    events = events_of(tmp_path)
    assert events[0].file_version == "brain.Event:2"
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [event.wall_time for event in events[1:]] == [row["time"] for row in rows]
    assert scalars(tmp_path) == [
        ("phase1/epoch", 50, 1.0),
        ("phase1/loss", 50, 0.25),
        ("phase1/learning_rate", 50, pytest.approx(1e-3)),
        ("phase2/epoch", 2, 1.0),
        ("phase2/accuracy", 2, 0.5),
    ]


def test_a_resumed_run_has_one_file_with_the_steps_that_count(tmp_path):
    run = RunFolder(str(tmp_path), tensorboard=True)
    run.start("seed: 1\n")
    for step in (1, 2, 3):
        run.record(stage="gd", step=step, loss=float(step))
    (tmp_path / STATE_FILE).touch()
    run = RunFolder(str(tmp_path), resume=True, tensorboard=True)
    run.start("seed: 1\n", kept={"gd": 2})
    run.record(stage="gd", step=3, loss=9.0)
    assert scalars(tmp_path) == [("gd/loss", 1, 1.0), ("gd/loss", 2, 2.0), ("gd/loss", 3, 9.0)]


def test_whatever_number_a_line_has_a_resumed_run_writes_it(tmp_path):
    numbers = (b"1e300", b"-1e300", b"1e999", b"NaN", b"9" * 99, b"-" + b"9" * 99)
    rows = (b'{"time": %s, "stage": "gd", "step": 1, "loss": %s}\n' % (number, number) for number in numbers)
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(rows))
    (tmp_path / STATE_FILE).touch()
    RunFolder(str(tmp_path), resume=True, tensorboard=True).start("seed: 1\n", kept={"gd": 2})
    assert len(scalars(tmp_path)) == len(numbers)


def test_without_the_setting_and_in_the_other_processes_there_is_none(tmp_path):
    for options in ({}, {"writes": False, "tensorboard": True}):
        run = RunFolder(str(tmp_path), **options)
        run.start("seed: 1\n")
        run.record(stage="gd", step=1, loss=1.0)
    assert not list(tmp_path.glob("events*"))


def test_without_the_package_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    with pytest.raises(
        UserError, match="tensorboard: .*pip install tensorboardX, or give --tensorboard false"
    ):
        RunFolder(str(tmp_path), tensorboard=True)
    assert not list(tmp_path.iterdir())
