"""Fixtures of the deployment's tests: a tiny task, its models, and what export.py makes of them."""

import sys
from dataclasses import dataclass

import pytest

import export
from src.nn.heads import BertForSequence
from src.settings.network import QuantConfig
from tests.commands import reference_logits
from tests.helpers import fill, save_network, teachable, tiny_config, tiny_network, write_info, write_split

TERNARY = QuantConfig(
    embedding_bits=2,
    weight_bits=2,
    activation_bits=8,
    activation_quantizer="dynamic",
    activation_clip_value=0.0,
    rest_bits=8,
)


@dataclass(frozen=True)
class Task:
    """Folders of SST-2's records and of two models."""

    data: str
    plain: str
    """A float model, of one layer: it is compiled for every export and answer."""
    ternary: str
    """A quantized one, of one layer."""
    rows: object
    """The 21 rows, as `Examples`."""
    accuracy: float
    """Of the float model, by NumPy."""

    @property
    def flags(self):
        """What names the records on a command line."""
        return "--task_name", "SST-2", "--data_dir", self.data


@pytest.fixture(scope="session")
def task(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("task"), teachable(21, 2)
    write_split(folder / "data", "eval", rows)
    write_info(folder / "data")
    ternary = fill(BertForSequence(tiny_config(num_hidden_layers=1), 2, quantization=TERNARY), 6)
    plain = save_network(folder / "float", tiny_network(4, labels=2, num_hidden_layers=1))
    right = (reference_logits(plain, rows).argmax(axis=1) == rows.labels).mean()
    return Task(str(folder / "data"), plain, save_network(folder / "ternary", ternary), rows, right)


def run_export(*arguments):
    """export.py in this process; `run_script` of the helpers would need a test's own capsys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["export.py", *map(str, arguments)])
        export.main()


@pytest.fixture(scope="session")
def onnx_file(task, tmp_path_factory):
    """The float model as export.py writes it, vocab.txt beside it."""
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    run_export("--ckpt_file", task.plain, "--file_name", path)
    return path


@pytest.fixture(scope="session")
def mindir_file(task, tmp_path_factory):
    """The same as a MINDIR for 8 rows of 14 tokens."""
    path = tmp_path_factory.mktemp("mindir") / "m.mindir"
    shape = ("--batch_size", 8, "--seq_length", 14)
    run_export("--ckpt_file", task.plain, "--file_name", path, "--file_format", "MINDIR", *shape)
    return path
