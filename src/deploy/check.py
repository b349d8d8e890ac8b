"""Whether an exported file, loaded again, answers as the network it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from src.deploy.sessions import Exported
from src.description import Description
from src.errors import UserError

if TYPE_CHECKING:
    from src.model import Model
    from src.settings.network import BertConfig
SAMPLE_ROWS = 64


def tolerance(file_format: str, description: Description) -> float:
    """The largest difference that `check_same` allows a file of a format.

    Rounding to 8 bits carries the last float bit of one layer through all later ones.
    """
    if not description.is_quantized:
        return 1e-3
    return 0.1 if file_format == "ONNX" else 1e-2


def check_same(exported: Exported | Model, model: Model, allowed: float, length: int) -> float:
    """Compare an exported file with its model on sample rows, in the batches the file takes: ranges of
    activations are a batch's own.

    Args:
        exported: int32 columns -> logits, with its `batch_size` and `length`, None for any.
        model: what it was written from.
        allowed (float): largest root mean square difference of the logits, as a share of their standard
            deviation.
        length (int): tokens of the longest sample row where the file takes any.

    Returns:
        The difference.

    Raises:
        UserError: they differ by more.
    """
    batch_size, length = exported.batch_size or SAMPLE_ROWS, exported.length or min(length, 64)
    rows = batch_size * -(-SAMPLE_ROWS // (4 * batch_size))
    columns = sample_rows(model.config, rows, length)
    batches = [
        [column[start : start + batch_size] for column in columns] for start in range(0, rows, batch_size)
    ]
    with model.evaluating():
        expected = np.concatenate([model(*batch) for batch in batches])
    found = np.concatenate([exported(*batch) for batch in batches])
    difference = float(np.sqrt(np.mean((found - expected) ** 2)) / max(float(expected.std()), 1e-6))
    if not difference <= allowed:  # a NaN fails too
        raise UserError(
            f"the exported file differs from the network: by {difference:.3g} of the logits' spread on "
            f"{rows} sample rows, where {allowed} is the most; it was removed"
        )
    return difference


def check_equal(exported: Exported, reference: Exported, config: BertConfig, length: int) -> None:
    """Compare the logits of two exported files that take any rows, bit for bit, on sample rows.

    Args:
        exported, reference: int32 columns -> logits.
        config: of the network.
        length (int): tokens of the longest sample row.

    Raises:
        UserError: they differ.
    """
    for rows in (1, SAMPLE_ROWS // 4):
        columns = sample_rows(config, rows, min(length, 64))
        found, expected = exported(*columns), reference(*columns)
        if not np.array_equal(found, expected, equal_nan=True):
            raise UserError(
                "the exported file's ternary weights do not unpack to the network's: its logits differ by up "
                f"to {np.abs(found - expected).max():.3g} from those of unpacked weights; it was removed"
            )


def sample_rows(config: BertConfig, rows: int, length: int) -> tuple[np.ndarray, ...]:
    """input_ids, input_mask, segment_ids, int32 (rows, length): random tokens of various lengths, the same at
    every call.
    """
    generator = np.random.default_rng(0)
    sizes = generator.integers(min(8, length), length + 1, rows)
    mask = np.arange(length) < sizes[:, None]
    ids = np.where(mask, generator.integers(1, config.vocab_size, (rows, length)), 0)
    second = mask & (np.arange(length) >= sizes[:, None] // 2)
    segments = second if config.type_vocab_size > 1 else np.zeros_like(ids)
    return tuple(column.astype(np.int32) for column in (ids, mask, segments))
