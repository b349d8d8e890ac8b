"""Distances of layers, against sums written out by hand."""

import numpy as np
import pytest

from src.errors import UserError
from src.report.layers import LayerDistances, distances, note, read


def test_distances_are_shares_of_the_teachers_squares_over_tokens_of_one_row():
    random = np.random.default_rng(5)
    mask = np.int32([[1, 1, 2, 0], [1, 1, 1, 1]])  # bins of rows of 2 and 1 tokens, and of 4
    states, others = (random.normal(size=(3, 2, 4, 6)).astype(np.float32) for _ in range(2))
    scores, further = (random.normal(size=(2, 2, 3, 4, 4)).astype(np.float32) for _ in range(2))
    states[:, 0, 3], scores[:, 0, :, 3], scores[:, 0, :, 0, 2] = 1e9, np.nan, 1e9  # of padding, of two rows
    found = distances(list(states), list(scores), list(others), list(further), mask, 2, 3)
    tokens = [(0, 0), (0, 1), (0, 2), *((1, place) for place in range(4))]
    for layer, value in enumerate(found.hidden):
        off = sum(((states[layer][token] - others[layer][token]) ** 2).sum() for token in tokens)
        assert value == pytest.approx(
            off / sum((others[layer][token] ** 2).sum() for token in tokens), rel=1e-5
        )
    pairs = [(0, a, b) for a in range(2) for b in range(2)] + [(0, 2, 2)]
    pairs += [(1, a, b) for a in range(4) for b in range(4)]
    for layer, value in enumerate(found.attention):
        off = sum(((scores[layer][b, :, q, k] - further[layer][b, :, q, k]) ** 2).sum() for b, q, k in pairs)
        whole = sum((further[layer][b, :, q, k] ** 2).sum() for b, q, k in pairs)
        assert value == pytest.approx(off / whole, rel=1e-5)


def test_equal_layers_have_no_distance_and_what_is_not_compared_has_no_line():
    ones, mask = np.ones((1, 2, 2), np.float32), np.int32([[1, 1]])
    found = distances([ones, ones], [], [ones, 2 * ones], [], mask, 3, 1)
    assert found == LayerDistances(3, (), (0.0, 0.25), 1)
    assert found.lines == [("embeddings", 0, None, 0.0), ("layer 1", 3, None, 0.25)]
    assert LayerDistances(2, (0.5, 0.25), (), 1).lines == [
        ("layer 1", 2, 0.5, None),
        ("layer 2", 4, 0.25, None),
    ]


def test_stages_stand_beside_each_other_in_the_file(tmp_path):
    path, first = str(tmp_path / "layers.json"), LayerDistances(2, (0.5,), (1.0, 0.25), 8)
    note(path, "phase1", first)
    note(path, "quantized", LayerDistances(1, (), (0.0,), 4))
    assert read(path)["phase1"] == first and list(read(path)) == ["phase1", "quantized"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"phase1": 3}',
        '{"phase1": {"stride": 1, "hidden": ["x"]}}',
        '{"phase1": {"stride": 1, "attention": [1, 1], "hidden": [1], "rows": 1}}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / "layers.json").write_text(text)
    with pytest.raises(UserError, match="layers.json"):
        read(str(tmp_path / "layers.json"))
