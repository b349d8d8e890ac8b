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


class TrainStepsAlone(Compiler):
    """Compiles train steps; unfused, and keeps none. A forward pass takes 3 to 6 s to compile and a tenth of
    one to run eagerly. Tests of all that start processes of their own or ask for the `compiler` fixture.
    """

    def prepare(self, fuse, cache):
        pass

    def run(self, title, cell, *inputs):
        if cell.training:
            return super().run(title, cell, *inputs)
        with eager():
            return cell(*inputs)


runtime._compiler = TrainStepsAlone()

# For every graph it cuts the lines of all functions out of their files anew.
inspect.getsourcelines = functools.cache(inspect.getsourcelines)

runtime.use_device("CPU")


@pytest.fixture(autouse=True, scope="module")
def nothing_old_is_looked_through_for_garbage():
    """MindSpore collects garbage before each compilation: a quarter of a second once PyTorch is loaded."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def same_seed_for_every_test():
    ms.set_seed(1)
