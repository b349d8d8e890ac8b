"""How fast a preparation goes, in a file or a pipe."""

import re

import pytest

from src import terminal
from src.data import prepare


@pytest.mark.parametrize("unit, done", [("row", "3[0-9]/50 rows"), ("byte", "3[0-9].[0-9]/50.0 bytes")])
def test_what_was_skipped_counts_as_done_and_not_as_speed(monkeypatch, capsys, unit, done):
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.0)
    now = iter(range(0, 1000, 2))
    monkeypatch.setattr(prepare.time, "time", lambda: float(next(now)))
    with prepare.CountingBar("train", 50, unit) as progress:
        progress.skip(20)
        for _ in range(15):
            progress.update(1, rows=2)
        assert re.fullmatch(r"\d+ rows/s", progress.rate)
    lines = capsys.readouterr().err.splitlines()
    assert lines and re.match(rf"train: {done}, \d+ %, .* left, \d+ rows/s", lines[-1]), lines


def test_more_than_was_expected_is_all(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.0)
    with prepare.CountingBar("train", 2, "row") as progress:
        for _ in range(5):
            progress.update(1, rows=1)
    assert "5/5 rows, 100 %" in capsys.readouterr().err
