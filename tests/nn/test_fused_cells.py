"""Our cells inside graphs with graph-kernel fusion, in a process of its own: fusion is set for a process."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.mark.skipif(
    importlib.util.find_spec("decorator") is None or shutil.which("g++") is None,
    reason="graph-kernel fusion needs the package decorator and g++",
)
def test_cells_compute_the_same_in_fused_graphs(tmp_path):
    run = subprocess.run(
        [sys.executable, os.path.join(ROOT, "tests", "nn", "fused_cells.py")],
        cwd=tmp_path,  # fusion writes its kernels into the working directory
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("passed") == 7
