"""Packing is lossless, as small as promised, and refuses what it cannot be."""

import mindspore as ms
import numpy as np
import pytest

from src.quant.packing import (
    pack_minmax,
    pack_symmetric,
    pack_ternary,
    unpack_minmax,
    unpack_symmetric,
    unpack_ternary,
)
from src.quant.quantizers import build_quantizer


def weights(rows=37, columns=23, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def quantized(kind, bits, granularity, x):
    return build_quantizer(kind, bits, granularity)(ms.Tensor(x)).asnumpy()


@pytest.mark.parametrize("density,bits", [(5, 1.6), (4, 2.0)])
@pytest.mark.parametrize("granularity,scales", [("row", 37), ("tensor", 1)])
def test_ternary_comes_back_bit_for_bit_at_its_size(density, bits, granularity, scales):
    values = quantized("twn", 2, granularity, weights())
    packed, found = pack_ternary(values, density)
    assert (
        packed.dtype == np.uint8
        and len(packed) == int(np.ceil(37 * 23 * bits / 8))
        and found.shape == (scales,)
    )
    np.testing.assert_array_equal(unpack_ternary(packed, found, values.shape, density), values)


def test_bytes_are_digits_lowest_first():
    values = np.float32([[-1, 0, 1, 1, -1, 1]])
    assert pack_ternary(values, 5)[0].tolist() == [
        0 + 1 * 3 + 2 * 9 + 2 * 27 + 0 * 81,
        2 + 1 * 3 + 1 * 9 + 1 * 27 + 1 * 81,
    ]
    assert pack_ternary(values, 4)[0].tolist() == [0 + 1 * 4 + 2 * 16 + 2 * 64, 0 + 2 * 4 + 1 * 16 + 1 * 64]


def test_rows_of_zeros_and_tensors_of_zeros():
    values = np.float32([[0, 0, 0], [0.5, -0.5, 0]])
    for item in (values, np.zeros_like(values)):
        packed, scales = pack_ternary(item)
        np.testing.assert_array_equal(unpack_ternary(packed, scales, item.shape), item)


def test_two_magnitudes_in_a_row_are_refused():
    with pytest.raises(ValueError, match="not ternary"):
        pack_ternary(np.float32([[0.5, -0.25, 0]]))


@pytest.mark.parametrize("change", ["short", "byte", "scales", "density"])
def test_damaged_codes_are_refused(change):
    packed, scales = pack_ternary(quantized("twn", 2, "row", weights()))
    shape, density = (37, 23), 5
    if change == "short":
        packed = packed[:-1]
    elif change == "byte":
        packed = packed.copy()
        packed[3] = 250
    elif change == "scales":
        scales = scales[:5]
    else:
        density = 3
    with pytest.raises(ValueError):
        unpack_ternary(packed, scales, shape, density)


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("granularity", ["row", "tensor"])
def test_uniform_codes_give_the_fake_quantized_values(bits, granularity):
    x = weights()
    for found, kind in (
        (unpack_symmetric(*pack_symmetric(x, bits, granularity)), "symmetric"),
        (unpack_minmax(*pack_minmax(x, bits, granularity), bits), "minmax"),
    ):
        # All but the last bit.
        np.testing.assert_allclose(found, quantized(kind, bits, granularity, x), rtol=1e-6, atol=1e-6)
