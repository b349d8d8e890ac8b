"""An ONNX graph under construction: nodes and constants, each known by the name of what it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


def scalar(value: float) -> np.ndarray:
    """A float32 scalar."""
    return np.array(value, np.float32)


def shape(*sizes: int) -> np.ndarray:
    """What ONNX takes as a shape or a list of axes."""
    return np.array(sizes, np.int64)


class Graph:
    """Nodes and constants; its methods return the name of what they add."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._used: dict[str, int] = {}

    def _fresh(self, name: str) -> str:
        count = self._used[name] = self._used.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"

    def constant(self, value: np.ndarray | np.generic, name: str = "constant") -> str:
        """A constant; equal small ones are stored once."""
        array = np.asarray(value, order="C")  # ascontiguousarray would turn a scalar into a vector
        if array.size > 16:
            return self._stored(array, name)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._known:
            self._known[key] = self._stored(array, name)
        return self._known[key]

    def _stored(self, array: np.ndarray, name: str) -> str:
        fresh = self._fresh(name)
        self.constants.append(numpy_helper.from_array(array, fresh))
        return fresh

    def node(
        self, operator: str, *inputs: str | np.ndarray, name: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node of one output.

        Inputs that are no names become constants; "" leaves one out.
        """
        (made,) = self.several(1, operator, *inputs, name=name, domain=domain, **attributes)
        return made

    def several(
        self,
        outputs: int,
        operator: str,
        *inputs: str | np.ndarray,
        name: str = "",
        domain: str = "",
        **attributes: Any,
    ) -> list[str]:
        """Add a node of so many outputs; the others as of `node`."""
        names = [item if isinstance(item, str) else self.constant(item) for item in inputs]
        made = [self._fresh(name or operator) for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, names, made, name=made[0], domain=domain, **attributes))
        return made
