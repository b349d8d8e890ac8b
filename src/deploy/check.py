"""Whether an exported file, loaded again, answers as the network it came from."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from src.deploy.sessions import Exported, OnnxSession
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


@functools.cache
def saturates() -> bool:
    """Whether ONNX Runtime's products of uint8 and int8 numbers saturate at 16 bits on this processor, as on
    x86 without VNNI: a sum of two of them, and more, then is another than in training.
    """
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    left, right = np.full((16, 32), 255, np.uint8), np.full((32, 16), 127, np.int8)
    inputs = [
        helper.make_tensor_value_info("left", TensorProto.UINT8, left.shape),
        helper.make_tensor_value_info("right", TensorProto.INT8, right.shape),
    ]
    output = helper.make_tensor_value_info("product", TensorProto.INT32, (16, 16))
    node = helper.make_node("MatMulInteger", ["left", "right"], ["product"])
    graph = helper.make_graph([node], "product", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"left": left, "right": right})
    return bool((found != 255 * 127 * 32).any())


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
        why = ""
        if isinstance(exported, OnnxSession) and model.description.is_quantized and saturates():
            why = (
                "; on this processor, which has no VNNI, ONNX Runtime's 8-bit products saturate: export and "
                "use int8 graphs where it has, or take --onnx_weights float"
            )
        raise UserError(
            f"the exported file differs from the network: by {difference:.3g} of the logits' spread on "
            f"{rows} sample rows, where {allowed} is the most; it was removed{why}"
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
