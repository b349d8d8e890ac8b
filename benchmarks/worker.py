"""One side of a benchmark in a process of its own: reads one request a line, answers one JSON line.

measure.Worker starts it: worker.py SIDE WORK, SIDE "ours" or "torch" and WORK the step as JSON (steps.py), or
"deployed" and the model (deploy.py).
"""

import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import peak_mib  # noqa: E402
from benchmarks.rows import Rows  # noqa: E402


def main():
    side, work = sys.argv[1], json.loads(sys.argv[2])
    if side == "ours":
        import src  # noqa: F401  before MindSpore: with spinning threads products take three times as long
        from benchmarks.our_side import Side
    elif side == "deployed":
        from benchmarks.deploy_sides import Side
    else:
        from benchmarks.torch_steps import Side
    worker = Side(work, Rows.load(work["rows"]))
    for line in sys.stdin:
        call, *arguments = json.loads(line)
        answer = peak_mib() if call == "peak_mib" else getattr(worker, call)(*arguments)
        print("answer " + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
