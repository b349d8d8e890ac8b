"""Weights into a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from src.checkpoint.mismatch import refuse, shape

if TYPE_CHECKING:
    from mindspore import nn


def assign(
    network: nn.Cell,
    weights: dict[str, np.ndarray],
    source: str,
    allow_missing: tuple[str, ...] = (),
    allow_unexpected: tuple[str, ...] = (),
    allow_missing_endings: tuple[str, ...] = (),
) -> tuple[list[str], list[str]]:
    """Set every parameter of `network` from `weights`, or none of them.

    Args:
        network: its `parameters_and_names()` say what is needed.
        weights: our parameter names -> arrays.
        source: where the weights come from, for the message.
        allow_missing: parameters whose names start with one of these may be missing; they keep their values.
        allow_unexpected: weights whose names start with one of these may be left over.
        allow_missing_endings: as allow_missing, for the end of a name.

    Returns:
        (missing, unexpected): the names that were allowed to be so, sorted.

    Raises:
        UserError: other missing or unexpected names, or other shapes; the message gives the first of each and
            how many.
    """
    import mindspore

    parameters = dict(network.parameters_and_names())  # compiling a graph changes the parameters' own names
    missing = sorted(set(parameters) - set(weights))
    unexpected = sorted(set(weights) - set(parameters))
    refuse(
        f"the weights of {source} do not fit the network",
        {
            "missing": [
                name
                for name in missing
                if not name.startswith(allow_missing) and not name.endswith(allow_missing_endings)
            ],
            "unexpected": [name for name in unexpected if not name.startswith(allow_unexpected)],
            "of another shape": [
                f"{name} {shape(weights[name])} where the network has {shape(parameters[name])}"
                for name in parameters
                if name in weights and shape(weights[name]) != shape(parameters[name])
            ],
        },
    )
    for name, parameter in parameters.items():
        if name in weights:
            parameter.set_data(mindspore.Tensor(np.array(weights[name], order="C"), parameter.dtype))
    return missing, unexpected
