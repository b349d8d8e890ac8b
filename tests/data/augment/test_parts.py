"""Augmented rows in files: made once, gone on with, refused where they are another plan's."""

import pytest

from src.data.augment import parts as module
from src.data.augment.parts import Parts
from src.data.readers.rows import Row
from src.errors import UserError

ROWS = [Row(f"text {number}", None if number % 2 else "山", number / 2, number + 1) for number in range(7)]


@pytest.fixture(autouse=True)
def two_rows_a_part(monkeypatch):
    monkeypatch.setattr(module, "PART_ROWS", 2)


class Doubling:
    """Two new rows of each; it keeps which it was asked for, and stops where it is told to."""

    def __init__(self, stop_at=None):
        self.asked, self.stop_at = [], stop_at

    def __call__(self, rows, first):
        if first == self.stop_at:
            raise KeyboardInterrupt
        assert rows == ROWS[first : first + len(rows)]
        self.asked.append(first)
        return [row._replace(text=f"{row.text} {word}") for row in rows for word in ("a", "水")]


def fill(folder, augmenter, plan=None):
    parts = Parts(str(folder), plan or {"seed": 1, "labels": ("a", "b")})
    parts.fill(iter(ROWS), len(ROWS), augmenter)
    return parts


def contents_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_stopped_run_goes_on_and_a_cut_part_is_made_again(tmp_path):
    whole = fill(tmp_path / "one", Doubling())
    assert list(whole.rows()) == Doubling()(ROWS, 0) and whole.count == 14
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "two", Doubling(stop_at=4))
    again = Doubling()
    parts = fill(tmp_path / "two", again)
    assert again.asked == [4, 6] and list(parts.rows()) == list(whole.rows()) and parts.count == 14
    assert contents_of(tmp_path / "two") == contents_of(tmp_path / "one")
    for size, name in ((0, "part-00000.jsonl"), (30, "part-00001.jsonl"), (-8, "part-00003.jsonl")):
        path = tmp_path / "two" / name
        path.write_bytes(path.read_bytes()[:size])
    path = tmp_path / "two" / "part-00002.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))  # cut between two lines
    with pytest.raises(UserError, match="part-00000.jsonl was lost or damaged meanwhile"):
        list(parts.rows())
    again = Doubling()
    fill(tmp_path / "two", again)
    assert again.asked == [0, 2, 4, 6] and contents_of(tmp_path / "two") == contents_of(tmp_path / "one")


def test_another_plan_and_other_folders_are_refused(tmp_path):
    fill(tmp_path / "one", Doubling())
    with pytest.raises(UserError, match="was begun with seed 1, now it is 2; continue with"):
        fill(tmp_path / "one", Doubling(), {"seed": 2, "labels": ("a", "b")})
    (tmp_path / "one" / "notes.txt").write_text("keep me")
    with pytest.raises(UserError, match="holds notes.txt and is no earlier result"):
        fill(tmp_path / "one", Doubling())
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        fill(tmp_path / "file", Doubling())
