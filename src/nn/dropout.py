"""Dropout whose masks follow from numbers that a state file can hold.

MindSpore's own operator keeps a generator inside each compiled graph, which nothing reads or sets, so a run
that is resumed would draw other masks. Here a mask is computed: its element (r, c) is

    h = (t + s c_r) (t + u d_c),  t = f a_r b_c        modulo a prime

with a_r, c_r of its row and b_c, d_c of its column, which are fixed random numbers of the layer, and f, s, u
of the micro-batch (`Draws`); it is kept where h is among the first 1 - p of the residues. All of it is whole
numbers below 2^24, exact in float32. Two rows with the same pair of numbers, one pair of rows in 16 million,
share their mask.
"""

import zlib

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops.primitive import constexpr

from src.quant.quantizers import Round

# Safe primes, (P - 1) / 2 prime too: of any factor above 1 the powers take half of all residues or all of
# them, and the three together come back after more than 10^9 micro-batches.
PRIMES, FACTORS = (4079, 3863, 3803), (3, 5, 2)
PRIME = PRIMES[0]


@constexpr
def _keys(seeds, side, count):
    """Two random numbers, none of them 0, for each of `count` rows, side 0, or columns, side 1."""
    numbers = np.random.default_rng((*seeds, side)).integers(1, PRIME, (2, count)).astype(np.float32)
    return tuple(ms.Tensor(key.reshape((-1, 1) if side == 0 else (1, -1))) for key in numbers)


class Residue(nn.Cell):
    """The residue of x that is nearest to 0, modulo a prime (or a tensor of them), |x| < 2^24."""

    def __init__(self, prime: float | Tensor):
        super().__init__()
        self.prime, self.inverse = prime, 1.0 / prime
        self.round = Round()

    def construct(self, x: Tensor) -> Tensor:
        return x - self.round(x * self.inverse) * self.prime


class Dropout(nn.Cell):
    """While training, sets a share of x to 0 and divides the rest by what is left of 1.

    Args:
        rate: that share; 4079 steps from 0 to 1 are told apart.

    Inputs:
        x: float, (..., C). Rows are all of its other axes.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = float(rate)
        self.scale = 1.0 / (1.0 - self.rate)
        self.bound = round((1.0 - self.rate) * PRIME) - PRIME / 2  # between two residues
        self.residue = Residue(float(PRIME))
        self.seeds: tuple[int, ...] = (0,)
        self.draw = ms.Tensor([1.0, 1.0, 1.0], ms.float32)

    def follow(self, draw: ms.Parameter, seeds: tuple[int, ...]) -> None:
        """Draw masks from `draw` of `Draws`, and from `seeds` of this layer."""
        self.seeds = seeds
        self.__dict__["draw"] = draw  # not one of this cell's parameters: no weight of the network

    def construct(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        flat = x.reshape((-1, x.shape[-1]))
        kept = ops.cast(self.residues(flat.shape[0], flat.shape[1]) < self.bound, ms.float32) * self.scale
        return (flat * ops.stop_gradient(ops.cast(kept, x.dtype))).reshape(x.shape)

    def residues(self, rows: int, columns: int) -> Tensor:
        """float32 (rows, columns): whole numbers from -2039 to 2039."""
        first, second, third = self.draw[0:1], self.draw[1:2], self.draw[2:3]
        a, c = _keys(self.seeds, 0, rows)  # (rows, 1)
        b, d = _keys(self.seeds, 1, columns)  # (1, columns)
        t = self.residue(self.residue(a * first) * b)
        return self.residue((t + self.residue(c * second)) * (t + self.residue(d * third)))


class Draws(nn.Cell):
    """The three numbers that the masks of a micro-batch follow from; a call goes on to the next one's.

    Args:
        layers: who follow them. seed, name: of the run and its stage.
        rank: of the process, whose masks are its own; the numbers are everybody's.
    """

    def __init__(self, layers: list[Dropout], seed: int, name: str, rank: int):
        super().__init__()
        seed, stage = int(seed), zlib.crc32(name.encode())
        start = np.random.default_rng((seed, stage)).integers(1, min(PRIMES) // 2, len(PRIMES))
        self.numbers = ms.Parameter(ms.Tensor(start, ms.float32), name="dropout_draw", requires_grad=False)
        self.factors = ms.Tensor(FACTORS, ms.float32)
        self.residue = Residue(ms.Tensor(PRIMES, ms.float32))
        for place, layer in enumerate(layers):
            layer.follow(self.numbers, (seed, stage, rank, place))

    def construct(self) -> None:
        ops.assign(self.numbers, self.residue(self.numbers * self.factors))


def draws_for(network: nn.Cell, seed: int, name: str, rank: int) -> Draws | None:
    """`Draws` for the dropout of a network that is about to be trained; None where it has none."""
    layers = [cell for _, cell in network.cells_and_names() if isinstance(cell, Dropout) and cell.rate > 0]
    return Draws(layers, seed, name, rank) if layers else None
