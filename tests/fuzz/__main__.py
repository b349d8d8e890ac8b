"""python -m tests.fuzz --minutes 30 [--seed 1] [--only NAME ...]"""

import argparse
import contextlib
import faulthandler
import resource
import sys

from tests.fuzz.run import run_for
from tests.fuzz.targets import TARGETS

MEMORY = 6 << 30


def main():
    """Fuzz; exit status 1 where there was a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Damaged input for all readers."
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0, help="another one tries other inputs")
    parser.add_argument("--only", nargs="+", default=[""], help="parts of targets' names")
    asked = parser.parse_args()
    faulthandler.enable()  # a crash of native code says where
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    with contextlib.suppress(ImportError):
        import tensorboardX  # noqa: F401  records of runs go to its event files
    targets = [target for target in TARGETS if any(part in target.name for part in asked.only)]
    tried, refused, faults = run_for(targets, asked.minutes, asked.seed * 1_000_000)
    print(
        f"{tried:,} inputs of {len(targets)} readers, {refused:,} refused in one line, {len(faults)} faults"
    )
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
