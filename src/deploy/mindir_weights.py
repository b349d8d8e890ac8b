"""How a MINDIR holds quantized weights: as their codes, from which its graph computes the floats of its
products.

Ternary codes lie 5 to a byte, each row's filled up to whole bytes; others are int8. MindSpore unpacks them at
every call; a runtime that folds constants does it once. Codes are parameters: MindSpore would unpack
constants as it exports, into a large file.
"""

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from src.nn.layers import Dense, Embedding
from src.quant.packing import digit_table, integer_codes, is_ternary, pack_digits, unpack_symmetric

_DENSITY = 5


class Unpack(nn.Cell):
    """The rows of a weight from their codes.

    Args:
        columns (int): C. steps (Parameter): float32 (R, 1), or (1, 1) for all rows.
        digits (Parameter): float32 (243, 5), what a byte of ternary codes stands for; None for int8 codes.

    Inputs:
        stored: the first N of the R rows, uint8 (N, bytes) or int8 (N, C).

    Outputs:
        float32 (N, C).
    """

    def __init__(self, columns: int, steps: Parameter, digits: Parameter | None):
        super().__init__()
        self.columns = columns
        self.steps = steps
        self.by_row = len(steps) > 1
        self.ternary = digits is not None
        if self.ternary:
            self.digits = digits

    def construct(self, stored: Tensor) -> Tensor:
        return self.values(stored, self.steps[: stored.shape[0]] if self.by_row else self.steps)

    def values(self, stored: Tensor, steps: Tensor) -> Tensor:  # (N, bytes or C), (N or 1, 1) -> (N, C)
        """Any rows with their steps."""
        if not self.ternary:
            return ops.cast(stored, ms.float32) * steps
        table = self.digits if self.by_row else self.digits * steps
        rows = ops.gather(table, ops.cast(stored, ms.int32), 0)  # (N, bytes, 5)
        rows = rows.reshape((stored.shape[0], -1))[:, : self.columns]
        return rows * steps if self.by_row else rows


class CodedTable(nn.Cell):
    """An embedding table of which only the rows looked up are unpacked.

    Args:
        weight (Parameter): all rows as stored. unpack (Unpack): what they stand for.
    """

    def __init__(self, weight: Parameter, unpack: Unpack):
        super().__init__()
        self.weight = weight
        self.unpack = unpack

    def construct(self, ids: Tensor) -> Tensor:  # ids of any shape
        flat, steps = ids.reshape(-1), self.unpack.steps
        if self.unpack.by_row:
            steps = ops.gather(steps, flat, 0)
        rows = self.unpack.values(ops.gather(self.weight, flat, 0), steps)
        return rows.reshape(*ids.shape, -1)  # ids' shape + (C,)


def hold_as_codes(network: nn.Cell, weights: dict[str, np.ndarray]) -> int:
    """Hold every weight that has codes as such in a network for export.

    Args:
        network (Cell): one of the `HEADS`, whose weights nothing quantizes any more.
        weights (dict): {name in it: float32 array} as it computes with them. Weights whose codes do not give
            them back bit for bit stay floats: those of a min-max quantizer, and those that none quantized.

    Returns:
        How many weights are codes now.
    """
    held = 0
    digits = ms.Parameter(digit_table(_DENSITY).astype(np.float32), requires_grad=False)
    embeddings = network.bert.embeddings
    for name, cell in list(network.cells_and_names()):
        if not isinstance(cell, (Dense, Embedding)):
            continue
        found = exact_codes(weights[f"{name}.weight"])
        if found is None:
            continue
        codes, steps = found
        ternary = is_ternary(codes)
        weight = ms.Parameter(pack_rows(codes) if ternary else codes, requires_grad=False)
        steps = ms.Parameter(steps[:, None], requires_grad=False)
        unpack = Unpack(codes.shape[1], steps, digits if ternary else None)
        if cell is embeddings.word_embeddings:
            embeddings.word_embeddings = CodedTable(weight, unpack)
        else:
            cell.weight, cell.quantize = weight, unpack
        # Every cell that takes a parameter over puts its own name before the parameter's.
        weight.name, steps.name, digits.name = f"{name}.codes", f"{name}.steps", "digits"
        held += codes.size
    return held


def exact_codes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """int8 codes and float32 steps that give a matrix back bit for bit; None where there are none."""
    found = integer_codes(values)
    return found if found and np.array_equal(unpack_symmetric(*found), values) else None


def pack_rows(codes: np.ndarray) -> np.ndarray:
    """Ternary codes (R, C) as uint8 (R, bytes)."""
    filled = np.pad(codes, ((0, 0), (0, -codes.shape[1] % _DENSITY)))
    return pack_digits(filled.ravel(), _DENSITY).reshape(len(codes), -1)
