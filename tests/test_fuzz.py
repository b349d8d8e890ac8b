"""A few damaged inputs for every reader, always the same; `python -m tests.fuzz` tries many."""

import pytest

from tests.fuzz.run import attempt, check, place
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_input_is_read_or_refused_in_one_line(target, tmp_path):
    place(target, str(tmp_path))
    for content in target.seeds:
        attempt(target, content, str(tmp_path))
    tried, refused = check(target, 20)
    assert tried >= 20
