"""A few damaged inputs for every reader, always the same; `python -m tests.fuzz` tries many."""

import pytest

from tests.fuzz.run import attempt, check, place
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_input_is_read_or_refused_in_one_line(target):
    tried, refused = check(target, 20)
    assert tried >= 20


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_input_as_it_was_written_is_read(target, tmp_path):
    place(target, str(tmp_path))
    for number, content in enumerate(target.seeds):
        line = attempt(target, content, str(tmp_path))
        if number in target.refused:
            assert target.refused[number] in line
        else:
            assert line == ""
