"""What the tests of entry scripts share: small settings, a teacher good without training, refusals."""

import sys

import numpy as np
import pytest

from src.checkpoint.folder import load, save
from tests.helpers import save_network, tiny_network, weights_of
from tests.numpy_bert import NumpyBert

SMALL = [
    "--phase1_cfg.batch_size",
    "8",
    "--phase2_cfg.batch_size",
    "8",
    "--eval_cfg.batch_size",
    "8",
    "--bucket_boundaries",
    "[16]",
    "--td_phase1_epoch_size",
    "1",
    "--td_phase2_epoch_size",
    "2",
    "--log_step",
    "2",
    "--min_teacher_gain",
    "0",
    "--phase2_cfg.optimizer_cfg.AdamWeightDecay.learning_rate",
    "1e-3",
]


def refused_by(script, capsys, *arguments):
    """The one line on standard error of an entry script."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script.__name__, *map(str, arguments)])
        script.main()
    lines = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.strip() and "it/s" not in line and "%|" not in line
    ]
    assert caught.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def says(line, *words):
    for word in words:
        assert word in line, f"{word!r} is not in {line!r}"


def reference_logits(folder, examples):
    """NumPy's logits of every row with a saved checkpoint's weights."""
    checkpoint = load(folder)
    reference = NumpyBert(checkpoint.weights, checkpoint.description.bert)
    return np.stack(
        [
            reference.row(
                examples.input_ids[start:end], np.ones(end - start), examples.segment_ids[start:end]
            )[0]
            for start, end in zip(examples.offsets[:-1], examples.offsets[1:])
        ]
    )


def good_teacher(folder, examples, outputs=2, layers=2, **saved):
    """A random teacher whose classifier is fitted to the rows by least squares: better than chance without
    training.
    """
    network = tiny_network(4, labels=outputs, num_hidden_layers=layers)
    reference = NumpyBert(weights_of(network), network.config)
    # Its logits: pooled.
    reference.weights["classifier.weight"], reference.weights["classifier.bias"] = (np.eye(16), np.zeros(16))
    pooled = np.stack(
        [
            reference.row(
                examples.input_ids[start:end], np.ones(end - start), examples.segment_ids[start:end]
            )[0]
            for start, end in zip(examples.offsets[:-1], examples.offsets[1:])
        ]
    )
    target = examples.labels[:, None] if outputs == 1 else 6.0 * np.eye(outputs)[examples.labels] - 3.0
    solution = np.linalg.lstsq(np.c_[pooled, np.ones(len(pooled))], target, rcond=None)[0]  # (17, C)
    path = save_network(folder, network, **saved)
    checkpoint = load(path)
    weights = {
        **checkpoint.weights,
        "classifier.weight": solution[:16].T.astype(np.float32),
        "classifier.bias": solution[16].astype(np.float32),
    }
    save(path, weights, checkpoint.description, checkpoint.vocabulary)
    return path
