"""The diffs that CONTRIBUTING.md shows fit the code, and what they add works."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.helpers import ROOT

CHECK = """
import os
import mindspore as ms
import numpy as np
from src.checkpoint.formats import read_any
from src.distill.distiller import LossTerms
from src.distill.losses import direction_loss
from src.errors import UserError
from src.kinds import kind_named
from src.quant.packing import integer_codes
from src.quant.quantizers import build_quantizer
from src.settings.network import QuantConfig
from src.settings.stage import Phase1Config
from src.tasks import get_task

assert get_task("scitail").labels == ("neutral", "entails")
assert os.path.isfile("td_config/td_config_scitail.yaml")

rating = kind_named("rating", "here")
assert rating.parse_label("4", (), "row 1") == 4.0
found = rating.outcomes(np.array([[3.6], [9.0]]), None, None, ())
assert [rating.columns_of(one) for one in found] == [[("4",)], [("5",)]]
try:
    rating.parse_label("6", (), "row 1")
    raise SystemExit("6 stars were taken")
except UserError:
    pass

assert QuantConfig(weight_bits=2, weight_quantizer="ttq").weight_quantizer == "ttq"
x = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32)
kept = np.abs(x) > 0.05 * np.abs(x).max(1, keepdims=True)
wanted = np.sign(x) * kept * (np.abs(x) * kept).sum(1, keepdims=True) / kept.sum(1, keepdims=True)
found = build_quantizer("ttq", 2, "row")(ms.Tensor(x)).asnumpy()
np.testing.assert_allclose(found, wanted, rtol=1e-5)
assert integer_codes(found) is not None

assert LossTerms.intermediate(Phase1Config(direction_loss=True), "phase1_cfg").names()[-1] == "direction_loss"
student, teacher = np.random.default_rng(1).normal(size=(2, 1, 6, 8)).astype(np.float32)
tokens = np.array([1, 1, 1, 1, 0, 0], np.float32).reshape(1, 6, 1)
cosine = (student * teacher).sum(-1) / np.linalg.norm(student, axis=-1) / np.linalg.norm(teacher, axis=-1)
arrays = [ms.Tensor(item) for item in (student, teacher, tokens)]
value = direction_loss((arrays[0],), (arrays[1],), arrays[2], ms.Tensor(4.0)).asnumpy()
np.testing.assert_allclose(value, (1 - cosine[0, :4]).mean(), rtol=1e-5)

try:
    read_any("broken.npz")
    raise SystemExit("a broken archive was read")
except UserError as error:
    assert "cannot be read as a NumPy archive" in str(error)
"""


def diffs():
    text = (pathlib.Path(ROOT) / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(r"(?ms)^```diff\n(.*?)^```$", text)


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the code with every diff applied."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("src", "td_config"):
        shutil.copytree(f"{ROOT}/{name}", folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for diff in diffs():
        command = ["git", "apply", "--verbose", "-"]
        done = subprocess.run(command, cwd=folder, input=diff, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
    return folder


def test_each_of_the_five_is_shown():
    assert len(diffs()) == 5


def test_what_they_add_works(extended):
    (extended / "broken.npz").write_bytes(b"nothing")
    done = subprocess.run([sys.executable, "-c", CHECK], cwd=extended, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_they_are_written_as_the_rest(extended):
    for command in (["format", "--check"], ["check"]):
        words = [sys.executable, "-m", "ruff", *command, "--config", f"{ROOT}/pyproject.toml", "src"]
        done = subprocess.run(words, cwd=extended, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout
