"""Low-bit codes as bytes, in NumPy: what a packed model file holds.

Ternary codes go 5 to a byte (3^5 = 243 of 256 values: 1.6 bits each) or 4 to a byte (2 bits each); uniform
codes one to a byte. Every `pack_*` returns arrays from which its `unpack_*` gives the quantized tensor back:
ternary ones bit for bit, uniform ones to float32's rounding.
"""

import numpy as np

_BASES = {5: 3, 4: 4}
"""Ternary codes a byte -> the base whose digits they are."""


def pack_ternary(values: np.ndarray, density: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Pack a tensor that holds -alpha, 0 and alpha only, one alpha a row or one for all.

    Args:
        values (ndarray): float32 (rows, columns), already ternary.
        density (int): codes a byte, 5 or 4.

    Returns:
        (bytes, scales): uint8 (ceil(size / density),) and float32 (rows,) or, where all rows share theirs,
            (1,).

    Raises:
        ValueError: a row has more than one magnitude.
    """
    _check_density(density)
    size = np.abs(values)
    scales = size.max(axis=1)
    codes = np.sign(values).astype(np.int8)
    if not np.array_equal(codes * scales[:, None], values):
        raise ValueError("the tensor is not ternary: a row has more than one magnitude")
    used = scales[scales > 0]
    if len(used) and (used == used[0]).all():  # a row without any alpha fits a common one too
        scales = used[:1]
    return pack_digits(codes.ravel(), density), scales.astype(np.float32)


def unpack_ternary(
    packed: np.ndarray, scales: np.ndarray, shape: tuple[int, ...], density: int = 5
) -> np.ndarray:
    """The tensor that `pack_ternary` packed, float32 of `shape`.

    Raises:
        ValueError: the number of bytes or scales does not fit the shape, or a byte is no code.
    """
    _check_density(density)
    rows, columns = shape
    if len(packed) != -(-rows * columns // density):
        raise ValueError(f"{len(packed)} bytes do not hold {rows} x {columns} codes at {density} a byte")
    if scales.shape not in ((1,), (rows,)):
        raise ValueError(f"{scales.size} scales do not fit {rows} rows")
    codes = _unpack_digits(packed, density)[: rows * columns].reshape(shape)
    # + 0.0 turns -0.0 into 0.0
    return (codes * scales.astype(np.float32)[:, None]).astype(np.float32) + np.float32(0)


def _check_density(density):
    if density not in _BASES:
        raise ValueError(f"ternary codes go 5 or 4 to a byte, not {density}")


def pack_digits(codes: np.ndarray, density: int = 5) -> np.ndarray:
    """A vector of -1, 0 and 1 as digits of base 3 (5 a byte) or base 4 (4 a byte), the first one lowest."""
    digits = np.full(-(-codes.size // density) * density, 1, np.uint8)  # the filling is a 0
    digits[: codes.size] = codes + 1
    weights = (_BASES[density] ** np.arange(density)).astype(np.uint8)
    return (digits.reshape(-1, density) * weights).sum(axis=-1, dtype=np.uint8)


def digit_table(density: int = 5) -> np.ndarray:
    """The codes that a byte of `pack_digits` stands for, as its row: int8 (243, 5) or (256, 4), where a 2 is
    no code.
    """
    base = _BASES[density]
    return (np.arange(base**density)[:, None] // base ** np.arange(density) % base - 1).astype(np.int8)


def _unpack_digits(packed: np.ndarray, density: int) -> np.ndarray:
    table = digit_table(density)
    if packed.max(initial=0) >= len(table) or (table[packed] > 1).any():
        raise ValueError("a byte stands for no ternary codes")
    return table[packed].ravel()


def pack_symmetric(values: np.ndarray, bits: int, granularity: str) -> tuple[np.ndarray, np.ndarray]:
    """Codes round(x / step) of a matrix, step = max|x| / (2^(bits-1) - 1) a row or a tensor:
    `SymmetricUniform`'s own arithmetic.

    Args:
        values (ndarray): float32 (rows, columns), already clipped. bits (int): 2 to 8. granularity (str):
            "row" or "tensor".

    Returns:
        (codes, steps): int8 of values' shape, float32 (rows,) or (1,).
    """
    largest = (
        np.abs(values).max(axis=1) if granularity == "row" else np.abs(values).max(keepdims=True).reshape(1)
    )
    steps = np.maximum(largest.astype(np.float32), np.float32(1e-8)) / np.float32(2 ** (bits - 1) - 1)
    return np.rint(values / steps[:, None]).astype(np.int8), steps


def unpack_symmetric(codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """codes * step, float32."""
    return codes.astype(np.float32) * steps.astype(np.float32)[:, None]


def pack_minmax(values: np.ndarray, bits: int, granularity: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes of `MinMaxUniform`: (codes uint8, low float32, width float32); low and width are (rows,) or
    (1,).
    """
    axis = 1 if granularity == "row" else None
    low = values.min(axis=axis).reshape(-1).astype(np.float32)
    width = (values.max(axis=axis).reshape(-1) - low + np.float32(1e-8)).astype(np.float32)
    levels = np.float32(2**bits - 1)
    codes = np.rint((values - low[:, None]) / width[:, None] * levels)
    return codes.astype(np.uint8), low, width


def unpack_minmax(codes: np.ndarray, low: np.ndarray, width: np.ndarray, bits: int) -> np.ndarray:
    """codes / levels * width + low, float32."""
    levels = np.float32(2**bits - 1)
    return (codes.astype(np.float32) / levels * width[:, None] + low[:, None]).astype(np.float32)


def integer_codes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The int8 codes and float32 steps that give a quantized matrix back, whatever quantizer made it.

    Args:
        values (ndarray): float32 (rows, columns).

    Returns:
        (codes, steps): int8 of values' shape and float32 (rows,) or (1,), with codes * steps equal to the
        values but for float32's rounding, and bit for bit where any steps do that; None where no common step
        of at most 8 bits, a tensor or a row, gives them.
    """
    size = np.abs(values)
    for bits in (2, 3, 4, 5, 6, 7, 8):  # ternary ones first, by row too: they may fit wider codes of a tensor
        for granularity in ("tensor", "row"):
            codes, steps = pack_symmetric(values, bits, granularity)
            largest = size.max(axis=1, keepdims=True) if granularity == "row" else size.max()
            if np.all(np.abs(unpack_symmetric(codes, steps) - values) <= 1e-6 * largest):
                return codes, _exact_steps(values, codes, steps)
    return None


def _exact_steps(values: np.ndarray, codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """`steps`, of which each one that does not give its values back exactly is its neighbour that does."""
    exact = steps.copy()
    for nearby in (np.nextafter(steps, np.float32(0)), np.nextafter(steps, np.float32(np.inf)), steps):
        right = unpack_symmetric(codes, nearby) == values
        right = right.all(axis=1) if len(steps) > 1 else right.all()
        exact = np.where(right, nearby, exact)
    return exact


def is_ternary(codes: np.ndarray) -> bool:
    """Whether codes are -1, 0 and 1."""
    return bool(np.abs(codes).max(initial=0) <= 1)
