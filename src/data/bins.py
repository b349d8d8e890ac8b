"""Which rows go into which step and which bin: rows share the rows of a batch, so that almost no token is
padding.

A bin is one row of a batch, `length` tokens wide, that holds one or more rows of the data one after another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_WIDTH_STEP = 8  # tokens; widths that vector units like
_WIDTHS = 12  # widths that are tried
_SAMPLE = 64  # steps on which they are tried
_MICRO_BATCH_TOKENS = 50  # an estimate of what adding a micro-batch's gradients to a sum costs, in tokens
_EVEN_TOKENS = 3000  # tokens of a bin at which attention would take as long as all else


@dataclass(frozen=True)
class Shape:
    """What every micro-batch of a stage looks like, so that one graph is compiled for all of them."""

    bins: int
    """Rows of the batch."""
    length: int
    """Tokens of a bin."""
    rows: int
    """Rows of the data that a micro-batch holds at most."""

    @property
    def tokens(self) -> int:
        """Tokens that a micro-batch computes."""
        return self.bins * self.length


def fill_bins(lengths: np.ndarray, length: int) -> list[list[int]]:
    """[indices of the rows of a bin], all bins of `length` tokens: each takes the longest row that is left
    and those of the others that fill it best.

    Which sums some rows can have are the bits of a number; adding a row shifts it by the row's length.

    Args:
        lengths: tokens of each row, none longer than `length`.
    """
    left = [(int(lengths[index]), int(index)) for index in np.argsort(-lengths, kind="stable")]
    bins, within = [], (2 << length) - 1
    while left:
        reached = [1 << left[0][0]]
        for size, _ in left[1:]:
            reached.append((reached[-1] | reached[-1] << size) & within)
        held: list[tuple[int, int]] = []
        rest: list[tuple[int, int]] = []
        total = reached[-1].bit_length() - 1
        for number in range(len(left) - 1, 0, -1):  # short rows last: they are what fills the next bins' gaps
            needed = not reached[number - 1] >> total & 1
            (held if needed else rest).append(left[number])
            total -= left[number][0] * needed
        bins.append([left[0][1], *(index for _, index in reversed(held))])
        left = rest[::-1]
    return bins


def at_least(bins: Sequence[list[int]], count: int) -> list[list[int]]:
    """The same bins, some split where they are fewer than `count`; fewer still where there are not as many
    rows.
    """
    bins = list(bins)
    while len(bins) < count and max(map(len, bins)) > 1:
        largest = max(range(len(bins)), key=lambda index: len(bins[index]))
        held = bins[largest]
        bins[largest : largest + 1] = [held[::2], held[1::2]]
    return bins


def balanced_steps(lengths: np.ndarray, count: int, generator: np.random.Generator) -> list[np.ndarray]:
    """[row numbers] of each of an epoch's `count` steps: every row once, numbers of rows that differ by one
    at most, nearly equal numbers of tokens.

    Rows are sorted by length and dealt out, a stratum at a time, the longest to the step that has the fewest
    tokens; noise in the lengths makes other companions in every epoch.

    Args:
        lengths: tokens of each row. generator: draws the epoch's order.
    """
    noisy = lengths * generator.uniform(0.8, 1.25, len(lengths))
    order = np.lexsort((generator.random(len(lengths)), -noisy))
    steps: list[list[int]] = [[] for _ in range(count)]
    tokens = np.zeros(count)
    for start in range(0, len(order), count):
        stratum = order[start : start + count]
        stratum = stratum[np.argsort(-lengths[stratum], kind="stable")]
        fewest = np.lexsort((generator.random(count), tokens))[: len(stratum)]
        for step, row in zip(fewest, stratum):
            steps[step].append(row)
        tokens[fewest] += lengths[stratum]
    generator.shuffle(steps)
    return [np.array(step) for step in steps]


def widths(longest: int) -> list[int]:
    """Bin widths worth trying, ascending; all of them hold the longest row."""
    first = -(-longest // _WIDTH_STEP) * _WIDTH_STEP
    wider = first + _WIDTH_STEP * np.arange(_WIDTHS)
    return sorted({*wider.tolist(), first * 3 // 2, first * 2} & set(range(first, 3 * first, _WIDTH_STEP)))


def _cost(needed: np.ndarray, bins: int, length: int) -> float:
    """Tokens' worth of time that steps take which need so many bins, on average."""
    micro = np.ceil(needed / bins)
    added = _MICRO_BATCH_TOKENS if micro.max() > 1 else 0
    return (micro * (bins * length * (1 + length / _EVEN_TOKENS) + added)).mean()


def choose_shape(steps: Sequence[np.ndarray], max_tokens: int, longest: int, rows: int) -> Shape:
    """The cheapest `Shape` for steps.

    Args:
        steps: lengths of the rows of some steps; where one micro-batch is to hold a whole step, all of them
            must fit. max_tokens: of a micro-batch; more only where one row needs more. longest, rows: tokens
            of the longest row, and rows of a step, that there may ever be.
    """
    sample, candidates = steps[:: max(1, len(steps) // _SAMPLE)], []
    narrowest, *wider = widths(longest)
    for length in (narrowest, *(width for width in wider if width <= max_tokens)):
        needed = np.array([len(fill_bins(step, length)) for step in sample])
        for bins in range(1, max(1, max_tokens // length) + 1):
            candidates.append((_cost(needed, bins, length), bins, length, needed.min() <= bins))
    most: dict[int, int] = {}
    candidates.sort()
    for _, bins, length, at_once in candidates:
        # Where steps are done at once, a rare one that does not fit would have another graph compiled.
        if at_once and length not in most:
            most[length] = max(len(fill_bins(step, length)) for step in steps)
        if not at_once or most[length] <= bins:
            return Shape(bins, length, rows)
    _, bins, length, _ = candidates[0]  # some steps fit at once, others never do
    return Shape(bins, length, rows)
