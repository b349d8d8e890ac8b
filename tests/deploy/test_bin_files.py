"""The .bin files of inference on Ascend 310, ours and in the published programs' layout, by NumPy."""

import numpy as np
import pytest

from src.data.dataset import Batches
from src.deploy.bin_files import read_inputs, read_results, write_inputs, write_results
from src.description import DataFacts
from src.errors import UserError
from src.examples import Examples, offsets_of
from src.files import write_json
from src.json_file import read_json
from src.kinds import CLASSIFICATION, REGRESSION
from tests.helpers import labelled, refuses

ROWS, LENGTH = 35, 7


@pytest.fixture(params=[CLASSIFICATION, REGRESSION], ids=lambda kind: kind.name)
def rows(request):
    """(examples, their facts, input_ids, input_mask, segment_ids)."""
    kind, random = request.param, np.random.default_rng(3)
    lengths = random.integers(2, LENGTH + 1, ROWS)
    ids = random.integers(1, 30, lengths.sum()).astype(np.int32)
    segments = random.integers(0, 2, lengths.sum()).astype(np.int32)
    labels = random.integers(0, 2, ROWS).astype(np.int32 if kind is CLASSIFICATION else np.float32)
    examples = Examples(ids, segments, offsets_of(lengths), labelled(kind, labels))
    outputs = 2 if kind is CLASSIFICATION else 1
    facts = DataFacts("rows", LENGTH, 30, 1, task_name="custom", kind=kind, outputs=outputs)
    return examples, facts, Batches(examples, 1).pad(range(ROWS), LENGTH)


@pytest.mark.parametrize("start, end", [(0, 1), (0, 35), (30, 34), (32, 35), (5, 6)])
@pytest.mark.parametrize("layout", ["own", "published"])
def test_rows_come_back_as_they_were(rows, tmp_path, layout, start, end):
    examples, facts, columns = rows
    write_inputs(str(tmp_path), columns, examples, facts, "eval", layout)
    for found, column in zip(read_inputs(str(tmp_path)).read(start, end), columns):
        np.testing.assert_array_equal(found, column[start:end])


def test_the_published_files_hold_32_rows_with_token_types_before_the_mask(rows, tmp_path):
    examples, facts, (ids, mask, segments) = rows
    write_inputs(str(tmp_path), (ids, mask, segments), examples, facts, "eval", "published")
    folders = ["00_input_ids", "01_token_type_id", "02_input_mask"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == folders
    for folder, column in zip(folders, (ids, segments, mask)):
        assert len(list((tmp_path / folder).iterdir())) == 2
        first, last = (
            np.fromfile(tmp_path / folder / f"tinybert_bs32_{number}.bin", np.int32).reshape(32, LENGTH)
            for number in range(2)
        )
        np.testing.assert_array_equal(first, column[:32])
        np.testing.assert_array_equal(last, column[[32, 33, 34, *[32] * 29]])
    labels = np.load(tmp_path / "label_ids.npy")
    assert labels.dtype == examples.labels.dtype
    np.testing.assert_array_equal(labels, examples.labels[[*range(35), *[32] * 29]].reshape(2, 32))


def test_results_of_either_program_are_read(rows, tmp_path):
    examples, facts, columns = rows
    write_inputs(str(tmp_path), columns, examples, facts, "eval", "published")
    inputs = read_inputs(str(tmp_path))
    logits = np.random.default_rng(4).normal(size=(64, facts.outputs)).astype(np.float32)
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
    for number in range(2):
        part = logits[32 * number : 32 * number + 32]
        part.tofile(tmp_path / "theirs" / f"tinybert_bs32_{number}_0.bin")
    write_results(str(tmp_path / "ours"), 0, logits[:35])
    for name in ("theirs", "ours"):
        np.testing.assert_array_equal(read_results(str(tmp_path / name), inputs, examples), logits[:35])
    (tmp_path / "theirs" / "tinybert_bs32_1_0.bin").unlink()
    with pytest.raises(UserError) as error:
        read_results(str(tmp_path / "theirs"), inputs, examples)
    refuses(error, "theirs holds 1 result files", "35 rows in 2 files")


def test_a_layout_that_is_missing_or_unknown_is_refused(rows, tmp_path):
    examples, facts, columns = rows
    write_inputs(str(tmp_path), columns, examples, facts, "eval")
    path = str(tmp_path / "rows.json")
    info = read_json(path, "rows")
    assert info.pop("layout") == "own"
    for layout, said in (
        ({}, "rows.json lacks layout; run preprocess.py again"),
        ({"layout": "other"}, "rows.json: layout must be one of own, published, not 'other'"),
    ):
        write_json(path, {**info, **layout})
        with pytest.raises(UserError) as error:
            read_inputs(str(tmp_path))
        refuses(error, said)


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("column_{}", lambda values: values.astype("U"), "is <U"),
        ("column_{}", lambda values: values.astype(complex), "is complex128"),
        ("column_{}", lambda values: values[:-1], "is"),
        ("column_{}", lambda values: values[:, None], "(35, 1), not"),
        ("input_ids", lambda values: values.astype(np.float32), "input_ids is float32"),
        ("segment_ids", lambda values: values[1:], "segment_ids is int32"),
        ("offsets", lambda values: values[::-1], "its rows do not lie one after the other"),
        ("offsets", lambda values: values + 1, "its rows do not lie one after the other"),
        ("offsets", lambda values: values[:-1], "offsets is int64 (35,), not int64 (36,)"),
    ],
)
def test_arrays_of_another_type_or_length_are_refused(rows, tmp_path, name, change, words):
    examples, facts, columns = rows
    write_inputs(str(tmp_path), columns, examples, facts, "eval")
    (column,) = examples.columns
    path, name = tmp_path / "examples.npz", name.format(column.name)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, name: change(arrays[name])})
    with pytest.raises(UserError) as error:
        read_inputs(str(tmp_path)).examples()
    refuses(error, "examples.npz: ", words, "run preprocess.py again")
