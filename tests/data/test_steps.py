"""Training steps: every row once an epoch, shares of the devices, resumption, what is said of them."""

from dataclasses import replace

import numpy as np
import pytest

from src.data.bins import Shape, fill_bins
from src.data.steps import PackedSteps, PaddedSteps
from src.errors import UserError
from src.examples import Column
from tests.helpers import make_examples, refuses

TAGS = Column("tag_ids", np.int32, "token", -100)


def packed(examples, rows=8, accumulation=1, max_tokens=64, **options):
    return PackedSteps(examples, rows, accumulation, max_tokens, **options)


def padded(examples, rows=8, accumulation=1, **options):
    return PaddedSteps(examples, rows, accumulation, (8, 16), **options)


def rows_of(steps):
    """[row numbers] of each step of the next epoch."""
    return [np.concatenate([part.rows for part in step]).tolist() for step in steps]


def assert_holds_its_rows(batch, examples):
    """Every row's tokens, mask number, positions and columns, a row at a time."""
    ids, mask, segments, positions, first = batch.inputs
    tags, label = batch.columns
    seen, numbers = np.zeros(ids.size, bool), {}
    assert (first >= 0).sum() == len(batch.rows)
    for place, row in enumerate(batch.rows):
        start, end = examples.offsets[row : row + 2]
        here, size = slice(first[place], first[place] + end - start), ids.shape[1]
        assert here.start // size == (here.stop - 1) // size  # inside one bin
        for found, expected in ((ids, examples.input_ids), (segments, examples.segment_ids)):
            np.testing.assert_array_equal(found.ravel()[here], expected[start:end])
        np.testing.assert_array_equal(tags.ravel()[here], examples.columns[TAGS][start:end])
        np.testing.assert_array_equal(positions.ravel()[here], np.arange(end - start))
        numbers[here.start // size] = numbers.get(here.start // size, 0) + 1
        assert set(mask.ravel()[here].tolist()) == {numbers[here.start // size]}
        assert label[place] == list(examples.columns.values())[1][row] and not seen[here].any()
        seen[here] = True
    assert not mask.ravel()[~seen].any() and (tags.ravel()[~seen] == -100).all()


def tagged(rows, longest, **options):
    examples = make_examples(rows, longest, **options)
    tags = np.arange(len(examples.input_ids), dtype=np.int32)
    tags[::3] = TAGS.fill
    return replace(examples, columns={TAGS: tags, **examples.columns})


def expected_totals(examples, rows):
    """Of a step of these rows, counted a row at a time."""
    spans = [(int(examples.offsets[row]), int(examples.offsets[row + 1])) for row in rows]
    sizes = [end - start for start, end in spans]
    with_a_tag = sum(place % 3 != 0 for span in spans for place in range(*span))
    return [len(rows), sum(sizes), sum(size**2 for size in sizes), with_a_tag]


@pytest.mark.parametrize("make", [packed, padded])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_steps_hold_their_rows_and_the_totals_of_the_whole_step(make, shuffle, accumulation):
    examples = tagged(64, 30)
    steps = make(examples, accumulation=accumulation, shuffle=shuffle)
    assert len(steps) == 8 // accumulation
    for _ in range(2):
        seen = []
        for step in steps:
            rows = np.concatenate([part.rows for part in step])
            seen += rows.tolist()
            for part in step:
                assert_holds_its_rows(part, examples)
                assert part.totals.tolist() == expected_totals(examples, rows)
                assert len(part.arrays) == len(steps.columns)
        assert sorted(seen) == list(range(64))


@pytest.mark.parametrize("rows,size,count", [(1, 1, 1), (8, 8, 1), (33, 32, 2), (100, 8, 13)])
def test_packed_steps_leave_no_row_out_and_have_one_shape(rows, size, count):
    examples = make_examples(rows, 30)
    steps = packed(examples, size)
    found = rows_of(steps)
    assert len(found) == len(steps) == steps.count(rows) == count
    assert sorted(sum(found, [])) == list(range(rows))
    assert max(map(len, found)) <= size and max(map(len, found)) - min(map(len, found)) <= 1
    assert {part.inputs[0].shape for step in steps for part in step} == {
        (steps.shape.bins, steps.shape.length)
    }


def test_rows_longer_than_max_tokens_have_a_micro_batch_of_their_own():
    steps = packed(make_examples(16, 30, shortest=30), max_tokens=16)
    assert (steps.shape.bins, steps.shape.length) == (1, 32) and steps.several
    assert [len(step) for step in steps] == [8, 8]


@pytest.mark.parametrize("make", [packed, padded])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("rows,size,devices", [(67, 4, 2), (67, 4, 3), (48, 8, 3), (4, 1, 3), (5, 1, 3)])
def test_devices_have_disjoint_complete_shares_that_are_never_empty(make, shuffle, rows, size, devices):
    examples = tagged(rows, 30)
    ranks = [
        make(examples, size, shuffle=shuffle, rank=rank, device_num=devices, seed=3)
        for rank in range(devices)
    ]
    assert len({(steps.several, steps.shape, steps.summary, len(steps)) for steps in ranks}) == 1
    seen = []
    for together in zip(*ranks, strict=True):
        own = [[row for part in step for row in part.rows.tolist()] for step in together]
        assert all(own) and max(map(len, own)) - min(map(len, own)) <= 1
        step = sum(own, [])
        seen += step
        for part in sum(together, []):
            assert_holds_its_rows(part, examples)
            assert part.totals.tolist() == expected_totals(examples, step)
    assert len(seen) == len(set(seen))
    left_out = rows - len(ranks[0]) * size * devices if make is padded else 0
    assert len(seen) == rows - left_out


def test_no_device_has_all_the_long_rows():
    examples = make_examples(600, 30)
    ranks = [packed(examples, 8, rank=rank, device_num=3) for rank in range(3)]
    tokens = [sum(examples.lengths[rows].sum() for rows in rows_of(steps)) for steps in ranks]
    assert max(tokens) < 1.02 * min(tokens)


@pytest.mark.parametrize("make", [packed, padded])
def test_an_epoch_is_told_by_its_number_and_has_other_companions(make):
    examples = make_examples(64, 30)
    steps = make(examples, seed=1)
    epochs = [rows_of(steps) for _ in range(3)]
    again = make(examples, seed=1)
    again.epoch = 2
    assert rows_of(again) == epochs[2] and rows_of(make(examples, seed=2)) != epochs[0]
    companions = [{frozenset(step) for step in epoch} for epoch in epochs]
    assert not companions[0] & companions[1] and not companions[1] & companions[2]


@pytest.mark.parametrize(
    "make, options",
    [
        (
            packed,
            [{}, {"seed": 1}, {"rows": 4}, {"shuffle": False}, {"max_tokens": 1024}, {"accumulation": 2}],
        ),
        (padded, [{}, {"seed": 1}, {"rows": 4}, {"shuffle": False}, {"enable_buckets": False}]),
        (padded, [{}, {"rows": 4, "accumulation": 2}]),
    ],
)
def test_steps_of_another_grouping_have_other_rows_in_their_micro_batches(make, options):
    examples, seen = make_examples(50, 30), {}
    for changes in (*options, {}):
        steps = make(examples, **changes)
        parts = [(part.rows.tolist(), part.inputs[0].shape) for step in steps for part in step]
        assert seen.setdefault(make(examples, **changes).grouping, parts) == parts
    assert len(seen) == len(options) and len({*map(str, seen.values())}) == len(options)
    assert packed(examples, rows=4, accumulation=2).grouping == packed(examples).grouping


def test_unshuffled_packed_rows_keep_their_order():
    examples = make_examples(20, 30)
    assert [sorted(rows) for rows in rows_of(packed(examples, 7, shuffle=False))] == [
        list(range(7)),
        list(range(7, 14)),
        list(range(14, 20)),
    ]


def test_another_parts_shape_is_taken_unless_a_row_is_longer():
    shape = Shape(2, 32, 8)
    assert packed(make_examples(33, 30), shape=shape).shape is shape
    assert packed(make_examples(33, 40), shape=shape).shape.length >= 40
    for rows in (26, 24, 17):  # steps of other sizes than the first part's 6 or 7 rows
        steps = packed(make_examples(rows, 30), shape=packed(make_examples(26, 30), max_tokens=1024).shape)
        assert sorted(sum(rows_of(steps), [])) == list(range(rows))


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("make", [packed, padded])
def test_padding_and_summary_say_what_the_first_epoch_computes(make, devices):
    examples = make_examples(67, 30)
    ranks = [make(examples, rank=rank, device_num=devices) for rank in range(devices)]
    summary, padding = ranks[0].summary, ranks[0].padding
    parts = [part for steps in ranks for step in steps for part in step]
    tokens = sum((part.inputs[1] > 0).sum() for part in parts)
    assert padding == pytest.approx(1 - tokens / sum(part.inputs[1].size for part in parts))
    assert f"{100 * padding:.1f} % are padding" in summary
    assert ranks[0].tokens == pytest.approx(
        examples.lengths.mean() * (67 / len(ranks[0]) if make is packed else 8 * devices)
    )
    left_out = 67 - sum(len(part.rows) for part in parts)
    assert (f"{left_out} rows, other ones each time, are left out" in summary) == (left_out > 0)
    if make is packed:
        steps = len(ranks[0]) * devices
        assert summary.startswith(f"{67 / steps:.4g} rows, {examples.lengths.sum() / steps:.0f} tokens")
        assert f"x {ranks[0].shape.bins} x {ranks[0].shape.length}:" in summary


def test_a_thousand_steps_speak_for_a_longer_epoch():
    examples = make_examples(6000, 30, seed=2)
    ranks = [packed(examples, 3, max_tokens=32, rank=rank, device_num=2) for rank in range(2)]
    assert len(ranks[0]) == 1000 and len(ranks[0].micro_batches) == 500  # of each of two devices
    assert ranks[0].summary == ranks[1].summary and ranks[0].summary.startswith("3 rows, ")
    parts = [part for steps in ranks for step in steps for part in step]
    computed = sum(part.inputs[1].size for part in parts)
    assert ranks[0].padding == pytest.approx(1 - examples.lengths.sum() / computed, abs=0.01)


@pytest.mark.parametrize("make", [packed, padded])
def test_too_few_rows_are_refused_in_the_settings_own_numbers(make):
    with pytest.raises(UserError) as error:
        make(make_examples(31, 8), 4, 4, device_num=2)
    refuses(error, "batch_size 4 x 4 on 2 device(s)", "31 training rows")
    with pytest.raises(UserError) as error:
        make(make_examples(3, 8).take([]))
    refuses(error, "no rows")


def test_a_step_has_at_least_so_many_micro_batches():
    examples = make_examples(24, 12)
    assert PackedSteps(examples, 4, 2, 1024).fewest == 1  # what is accumulated fits into one
    several = PackedSteps(examples, 12, 1, 24)
    assert several.fewest == min(len(step) for step in several) > 1
    assert PaddedSteps(examples, 4, 2, (16,)).fewest == 2


def test_every_device_has_as_many_micro_batches():
    """Ranges that are the group's are exchanged in each; one device more would wait for ever."""
    examples, uneven = make_examples(300, 40, seed=4), 0
    ranks = [packed(examples, 4, max_tokens=64, rank=rank, device_num=2) for rank in range(2)]
    for steps in zip(*ranks):
        counts = [len(step) for step in steps]
        assert len(set(counts)) == 1 and all(len(part.rows) for step in steps for part in step)
        needed = [len(fill_bins(lengths_of(step, examples), ranks[0].shape.length)) for step in steps]
        uneven += len(set(needed)) > 1
    assert uneven  # else this shows nothing


def lengths_of(step, examples):
    return examples.lengths[np.concatenate([part.rows for part in step])]
