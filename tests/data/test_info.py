"""dataset.json."""

import json

import numpy as np
import pytest

from src.data.info import DatasetInfo, length_histogram
from src.errors import UserError
from src.kinds import CLASSIFICATION

SPLITS = {"train": {"rows": 4, "labelled": True, "length_histogram": {"8": 4}, "files": ["train.mindrecord"]}}


def test_info_comes_back(tmp_path):
    info = DatasetInfo("SST-2", CLASSIFICATION, ("negative", "positive"), "ab12", 40, True, 64, SPLITS)
    assert DatasetInfo.load(str(tmp_path)) is None
    info.save(str(tmp_path))
    assert DatasetInfo.load(str(tmp_path)) == info
    values = json.loads((tmp_path / "dataset.json").read_text())
    assert list(values) == ["task_name", "head", "labels", "vocab_sha256", "vocab_size", "do_lower_case"] + [
        "max_seq_length",
        "splits",
    ]
    assert values["head"] == "classification" and values["labels"] == ["negative", "positive"]


@pytest.mark.parametrize("strip_accents", [True, False])
def test_accents_are_told_where_case_does_not_tell_them(tmp_path, strip_accents):
    info = DatasetInfo("SST-2", CLASSIFICATION, ("a", "b"), "ab12", 40, True, 64, SPLITS, strip_accents)
    info.save(str(tmp_path))
    assert DatasetInfo.load(str(tmp_path)) == info


@pytest.mark.parametrize("text", ['{"task_name": "SST-2"}', "{"])
def test_a_description_that_is_damaged(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UserError, match="lacks head|cannot be read as JSON"):
        DatasetInfo.load(str(tmp_path))


def test_a_kind_of_task_that_is_unknown(tmp_path):
    DatasetInfo("SST-2", CLASSIFICATION, ("a", "b"), "ab12", 40, True, 64, SPLITS).save(str(tmp_path))
    path = tmp_path / "dataset.json"
    path.write_text(path.read_text().replace("classification", "clairvoyance"))
    with pytest.raises(UserError, match="dataset.json.*clairvoyance"):
        DatasetInfo.load(str(tmp_path))


def test_histogram_has_every_row_in_its_bucket():
    counts = np.bincount([1, 8, 9, 16, 17, 64])
    assert length_histogram(counts) == {"8": 2, "16": 2, "24": 1, "64": 1}
