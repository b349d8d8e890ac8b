"""Low-bit codes as bytes, in NumPy: what a packed model file holds.

Ternary codes go 5 to a byte (3^5 = 243 of 256 values: 1.6 bits each) or 4 to a byte (2 bits each); uniform
codes one to a byte. Every `pack_*` returns arrays from which its `unpack_*` gives the quantized tensor back:
ternary ones bit for bit, uniform ones to float32's rounding.
"""

import numpy as np

TERNARY_DENSITIES = (5, 4)


def pack_ternary(values, density=5):
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
    return _pack_digits(codes.ravel(), density), scales.astype(np.float32)


def unpack_ternary(packed, scales, shape, density=5):
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
    if density not in TERNARY_DENSITIES:
        raise ValueError(f"ternary codes go 5 or 4 to a byte, not {density}")


def _pack_digits(codes, density):
    """-1, 0, 1 as digits of base 3 (5 a byte) or base 4 (4 a byte), the first one lowest."""
    digits = np.full(-(-codes.size // density) * density, 1, np.uint8)  # the filling is a 0
    digits[: codes.size] = codes + 1
    return _join_digits(digits, 3 if density == 5 else 4, density)


def _join_digits(digits, base, density):
    """Every `density` digits of the last axis as one byte, the first one lowest."""
    weights = (base ** np.arange(density)).astype(np.uint8)
    return (digits.reshape(*digits.shape[:-1], -1, density) * weights).sum(axis=-1, dtype=np.uint8)


def pack_2_bits(codes, columns):
    """Ternary codes as ONNX Runtime's 2-bit kernels read them: code + 2, 4 to a byte, the first one lowest.

    Args:
        codes (ndarray): -1, 0 and 1, (rows, n). columns (int): n or more, a multiple of 4; the rest is filled
            with zeros.

    Returns:
        uint8 (rows, columns / 4).
    """
    return _join_digits(
        np.pad(codes, ((0, 0), (0, columns - codes.shape[1]))).astype(np.uint8) + np.uint8(2) & 3, 4, 4
    )


def _unpack_digits(packed, density):
    base = 3 if density == 5 else 4
    table = np.arange(256)[:, None] // base ** np.arange(density) % base  # every byte's digits
    valid = (table < 3).all(axis=1) & (np.arange(256) < base**density)
    if not valid[packed].all():
        raise ValueError("a byte stands for no ternary codes")
    return (table - 1).astype(np.int8)[packed].ravel()


def pack_symmetric(values, bits, granularity):
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


def unpack_symmetric(codes, steps):
    """codes * step, float32."""
    return codes.astype(np.float32) * steps.astype(np.float32)[:, None]


def pack_minmax(values, bits, granularity):
    """Codes of `MinMaxUniform`: (codes uint8, low float32, width float32); low and width are (rows,) or
    (1,).
    """
    axis = 1 if granularity == "row" else None
    low = values.min(axis=axis).reshape(-1).astype(np.float32)
    width = (values.max(axis=axis).reshape(-1) - low + np.float32(1e-8)).astype(np.float32)
    levels = np.float32(2**bits - 1)
    codes = np.rint((values - low[:, None]) / width[:, None] * levels)
    return codes.astype(np.uint8), low, width


def unpack_minmax(codes, low, width, bits):
    """codes / levels * width + low, float32."""
    levels = np.float32(2**bits - 1)
    return (codes.astype(np.float32) / levels * width[:, None] + low[:, None]).astype(np.float32)


def integer_codes(values):
    """The int8 codes and float32 steps that give a quantized matrix back, whatever quantizer made it.

    Args:
        values (ndarray): float32 (rows, columns).

    Returns:
        (codes, steps): int8 of values' shape and float32 (rows,) or (1,), with codes * steps equal to the
        values but for float32's rounding; None where no common step of at most 8 bits, a tensor or a row,
        does that.
    """
    for granularity in ("tensor", "row"):
        for bits in (2, 3, 4, 5, 6, 7, 8):
            codes, steps = pack_symmetric(values, bits, granularity)
            largest = (
                np.abs(values).max(axis=1, keepdims=True) if granularity == "row" else np.abs(values).max()
            )
            if np.all(np.abs(unpack_symmetric(codes, steps) - values) <= 1e-6 * largest):
                return codes, steps
    return None
