"""An ONNX graph under construction: nodes and constants, each known by the name of what it gives."""

import numpy as np
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


def scalar(value):
    """A float32 scalar."""
    return np.array(value, np.float32)


def shape(*sizes):
    """What ONNX takes as a shape or a list of axes."""
    return np.array(sizes, np.int64)


class Graph:
    """Nodes and constants; its methods return the name of what they add."""

    def __init__(self):
        self.nodes, self.constants, self._known, self._used = [], [], {}, {}

    def _fresh(self, name):
        count = self._used[name] = self._used.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"

    def constant(self, value, name="constant"):
        """A constant; equal small ones are stored once."""
        value = np.asarray(value, order="C")  # ascontiguousarray would turn a scalar into a vector
        key = (value.dtype.str, value.shape, value.tobytes()) if value.size <= 16 else None
        if key in self._known and key is not None:
            return self._known[key]
        fresh = self._fresh(name)
        self.constants.append(numpy_helper.from_array(value, fresh))
        self._known[key] = fresh
        return fresh

    def node(self, operator, *inputs, name="", outputs=1, domain="", **attributes):
        """Add a node; its output's name, or a list of them for several.

        Inputs that are no names become constants; "" leaves one out.
        """
        names = [item if isinstance(item, str) else self.constant(item) for item in inputs]
        made = [self._fresh(name or operator) for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, names, made, name=made[0], domain=domain, **attributes))
        return made[0] if outputs == 1 else made
