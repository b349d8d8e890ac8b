"""CPU, graph mode, quiet logs: before MindSpore is imported anywhere."""

import atexit
import functools
import gc
import inspect
import os
import shutil
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What tests compile is not kept among the user's own graphs.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="test-cache-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import src  # noqa: E402, F401, I001  (sets what MindSpore reads as it is imported)

import mindspore as ms  # noqa: E402, I001
import pytest  # noqa: E402

from src import runtime  # noqa: E402
from src.compiler import Compiler  # noqa: E402
from src.nn.layers import eager  # noqa: E402


class InThisProcess(Compiler):
    """Unfused, nothing kept, and operator by operator but for tests that ask for `compiled` cells or
    `compiled_steps`: a train step of a tiny network takes 3 to 15 s to compile, and 0.2 s to run eagerly.
    Processes that tests start compile.
    """

    compiles = staticmethod(lambda cell: False)

    def prepare(self, fuse, cache):
        pass

    def run(self, title, cell, *inputs):
        if self.compiles(cell):
            return super().run(title, cell, *inputs)
        with eager():
            return cell(*inputs)


runtime._compiler = InThisProcess()

# For every graph it cuts the lines of all functions out of their files anew.
inspect.getsourcelines = functools.cache(inspect.getsourcelines)

runtime.use_device("CPU")


@pytest.fixture(autouse=True, scope="module")
def nothing_old_is_looked_through_for_garbage():
    """MindSpore collects garbage before each compilation: a quarter of a second once PyTorch is loaded."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def compiled(monkeypatch):
    """Train steps and forward passes are graphs, as users have them."""
    yield from _graphs(monkeypatch, lambda cell: True)


@pytest.fixture
def compiled_steps(monkeypatch):
    """Train steps are; evaluation and teachers stay eager."""
    yield from _graphs(monkeypatch, lambda cell: cell.training)


def _graphs(monkeypatch, wanted):
    """Graphs of the cells that are `wanted` during a test, which must have one."""
    before = runtime._compiler.seconds
    monkeypatch.setattr(runtime._compiler, "compiles", wanted)
    yield
    assert runtime._compiler.seconds > before


@pytest.fixture(autouse=True)
def same_seed_for_every_test():
    ms.set_seed(1)
