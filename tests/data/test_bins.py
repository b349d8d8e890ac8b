"""Bins and steps against brute force: nothing lost, nothing over-full, few bins, equal steps, a shape that
holds."""

from itertools import combinations

import numpy as np
import pytest

from src.data.bins import at_least, balanced_steps, choose_shape, fill_bins, widths


def fewest_bins(lengths, length):
    """The least number of bins, by trying all assignments."""
    best = len(lengths)

    def place(index, room):
        nonlocal best
        if len(room) >= best:
            return
        if index == len(lengths):
            best = len(room)
            return
        for number in range(len(room)):
            if room[number] >= lengths[index]:
                place(index + 1, [*room[:number], room[number] - lengths[index], *room[number + 1 :]])
        place(index + 1, [*room, length - lengths[index]])

    place(0, [])
    return best


@pytest.mark.parametrize("seed", range(20))
def test_bins_hold_every_row_once_and_are_hardly_more_than_the_fewest_possible(seed):
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 13, 8)
    bins = fill_bins(lengths, 12)
    assert sorted(row for held in bins for row in held) == list(range(8))
    assert all(lengths[held].sum() <= 12 for held in bins)
    assert len(bins) <= fewest_bins(lengths.tolist(), 12) + 1


@pytest.mark.parametrize("seed", range(10))
def test_the_first_bin_is_as_full_as_any_choice_beside_the_longest_row_makes_it(seed):
    lengths = np.random.default_rng(seed).integers(2, 20, 9)
    first = fill_bins(lengths, 20)[0]
    others = np.delete(lengths, lengths.argmax())
    sums = {sum(some) for count in range(9) for some in combinations(others.tolist(), count)}
    assert lengths[first[0]] == lengths.max()
    assert lengths[first].sum() == lengths.max() + max(s for s in sums if s <= 20 - lengths.max())


@pytest.mark.parametrize(
    "lengths,length,count", [([7], 8, 1), ([8], 8, 1), ([4] * 6, 8, 3), ([5] * 6, 8, 6), ([1] * 17, 8, 3)]
)
def test_bins_of_one_row_and_of_equal_rows(lengths, length, count):
    assert len(fill_bins(np.array(lengths), length)) == count


@pytest.mark.parametrize("rows,count", [(1, 1), (5, 5), (33, 2), (1000, 32)])
def test_steps_hold_every_row_once_and_differ_by_one_row_at_most(rows, count):
    lengths = np.random.default_rng(1).integers(4, 60, rows)
    steps = balanced_steps(lengths, count, np.random.default_rng(2))
    assert len(steps) == count and sorted(np.concatenate(steps).tolist()) == list(range(rows))
    assert max(map(len, steps)) - min(map(len, steps)) <= 1


def test_steps_have_nearly_equal_tokens_where_random_ones_do_not():
    lengths = np.clip(np.random.default_rng(0).gamma(3, 8, 3200), 4, 128).astype(int)
    steps = balanced_steps(lengths, 100, np.random.default_rng(0))
    tokens = np.array([lengths[step].sum() for step in steps])
    blind = lengths.reshape(100, 32).sum(1)
    assert tokens.std() < 0.15 * blind.std() and np.ptp(tokens) < 0.1 * tokens.mean()


def test_most_pairs_of_rows_meet_about_as_often_as_by_chance():
    lengths = np.clip(np.random.default_rng(0).gamma(3, 8, 64), 4, 128).astype(int)
    met, epochs = np.zeros((64, 64)), 1500
    for epoch in range(epochs):
        for step in balanced_steps(lengths, 8, np.random.default_rng((3, epoch))):
            met[np.ix_(step, step)] += 1
    share = met[~np.eye(64, dtype=bool)].reshape(64, 63) / epochs
    assert share.mean() == pytest.approx(7 / 63)  # by chance: the 7 others of a step out of 63
    # Not all pairs: the longest rows are kept apart and meet the same few rows more often.
    assert np.median(share) > 0.08 and (share > 0.03).mean() > 0.8


def test_steps_repeat_with_their_generator_and_differ_between_epochs():
    lengths = np.arange(4, 104)
    one, same, other = (
        [step.tolist() for step in balanced_steps(lengths, 10, np.random.default_rng((1, epoch)))]
        for epoch in (0, 0, 1)
    )
    assert one == same and one != other


@pytest.mark.parametrize("longest", [1, 8, 9, 103, 128, 192, 250, 384, 512])
def test_widths_are_multiples_of_8_that_hold_the_longest_row(longest):
    found = widths(longest)
    assert found[0] == -(-longest // 8) * 8 and found == sorted(set(found))
    assert all(isinstance(width, int) and width % 8 == 0 for width in found)


def test_rows_of_any_length_find_a_shape():
    for longest in range(8, 520, 24):
        steps = [np.array([longest, longest // 2, 8])]
        shape = choose_shape(steps, 1024, longest, 3)
        assert shape.length >= longest and sum(map(len, fill_bins(steps[0], shape.length))) == 3


def test_bins_are_split_where_there_are_too_few():
    assert at_least([[3, 1, 2], [0]], 2) == [[3, 1, 2], [0]]
    assert at_least([[3, 1, 2], [0]], 4) == [[3], [2], [1], [0]]
    assert at_least([[0]], 3) == [[0]]


def random_steps(rows, seed=0, count=50):
    lengths = np.clip(np.random.default_rng(seed).gamma(4, 7, rows * count), 4, 100).astype(int)
    return [lengths[step] for step in balanced_steps(lengths, count, np.random.default_rng(seed))]


@pytest.mark.parametrize("rows", [1, 8, 32])
@pytest.mark.parametrize("max_tokens", [64, 128, 256, 1024])
def test_a_shape_keeps_to_max_tokens_unless_one_row_is_longer(rows, max_tokens):
    shape = choose_shape(random_steps(rows), max_tokens, 100, rows)
    assert shape.length >= 100 and shape.rows == rows
    assert shape.tokens <= max(max_tokens, 104) and (shape.tokens <= max_tokens or shape.bins == 1)


@pytest.mark.parametrize("rows,max_tokens", [(16, 1024), (32, 1024), (64, 1024), (32, 2048)])
def test_padding_is_little_where_steps_have_many_rows(rows, max_tokens):
    steps = random_steps(rows)
    shape = choose_shape(steps, max_tokens, 100, rows)
    parts = [-(-len(fill_bins(step, shape.length)) // shape.bins) for step in steps]
    tokens = sum(step.sum() for step in steps)
    assert 1 - tokens / (sum(parts) * shape.tokens) < 0.08
    assert set(parts) == {1} or 1 not in parts  # all at once, or none


def test_steps_some_of_which_fit_at_once_and_others_never_do_get_a_shape():
    steps = [np.array([8, 8]), np.array([100, 100])] * 5
    shape = choose_shape(steps, 128, 100, 2)
    assert shape.tokens <= 128 and shape.length >= 100
