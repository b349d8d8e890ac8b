"""A program of its own: one small loss through `runtime.run`, a line RESULT ROWS MEAN for each of ROWS.

python tests/compiled.py WEIGHT FUSE CACHE ROWS ...
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from src import runtime  # noqa: E402, I001
from src.settings.shared import DeviceConfig  # noqa: E402

import mindspore as ms  # noqa: E402
import numpy as np  # noqa: E402


class Loss(ms.nn.Cell):
    """Weighted mean of exp(2 p x) / (x^2 + 3)."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight
        self.p = ms.Parameter(ms.Tensor(np.full(64, 0.5, np.float32)), name="p")

    def construct(self, x):  # (rows, 64)
        return self.weight * ms.ops.exp(x * self.p * 2.0) / (x * x + 3.0)


def main():
    """Set up, run each twice, print."""
    weight, fuse, cache, *rows = sys.argv[1:]
    config = DeviceConfig(device_target="CPU", enable_graph_kernel=fuse == "true", compile_cache=cache)
    runtime.set_up(config, 1)
    cell = Loss(float(weight))
    for count in map(int, rows):
        x = np.linspace(0, 1, count * 64, dtype=np.float32).reshape(count, 64)
        for _ in range(2):
            out = runtime.run("loss", cell, ms.Tensor(x)).asnumpy()
        print("RESULT", out.shape[0], float(out.astype(np.float64).mean()))


if __name__ == "__main__":
    main()
