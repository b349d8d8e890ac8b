"""Kept graphs and fused kernels, each run a process of its own; expected values by NumPy."""

import contextlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src import compile_cache, graph_kernels
from src.compile_cache import CompileCache
from src.compiler import Compiler
from src.errors import UserError

PROGRAM = Path(__file__).parent / "compiled.py"
FOUR = 4, 5, 6, 7  # rows of four graphs


def run(folder, weight=1.0, rows=(4, 5), fuse="false", cache="store", **environment):
    """{rows: mean} of the program, which runs in `folder`; the notices it printed."""
    command = [sys.executable, str(PROGRAM), str(weight), fuse, cache, *map(str, rows)]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    results = [line.split()[1:] for line in lines if line.startswith("RESULT")]
    notices = [line for line in lines if not line.startswith(("RESULT", "compiled "))]
    return {int(count): float(mean) for count, mean in results}, notices


def expected(weight=1.0, rows=(4, 5)):
    values = {}
    for count in rows:
        x = np.linspace(0, 1, count * 64, dtype=np.float64)
        values[count] = pytest.approx((weight * np.exp(x) / (x * x + 3)).mean(), rel=1e-5)
    return values


def kept(folder):
    entries = (Path(folder) / "store").iterdir()
    return {entry for entry in entries if not entry.name.startswith("work-") and "kernels" not in entry.name}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(folder of a run after two at once, the graphs kept before and after it)."""
    folder = tmp_path_factory.mktemp("ran")
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: run(folder, rows=FOUR), range(2)))
    assert both == [(expected(rows=FOUR), [])] * 2
    first = kept(folder)
    assert run(folder, rows=FOUR) == (expected(rows=FOUR), [])
    return folder, first, kept(folder)


def test_a_graph_is_taken_only_where_all_that_it_is_made_of_is_the_same(ran, tmp_path):
    """Those of two processes at once too; nothing but the kept graphs is left in their folder."""
    folder, first, second = ran
    assert first == second and len(first) == 4  # a graph a shape
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    known = {tmp_path / graph.relative_to(folder) for graph in first}
    # New shapes before and after a known one: MindSpore itself would count, and take the next graph for them.
    for weight, rows, graphs in ((1.0, (3, 5, 8, 4), 6), (2.0, (4, 5), 8)):  # a loss weight
        assert run(tmp_path, weight, rows) == (expected(weight, rows), [])
        assert len(kept(tmp_path)) == graphs and known < kept(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    assert not [path for path in (tmp_path / "store").iterdir() if path.name.startswith("work-")]


@pytest.mark.skipif(bool(graph_kernels.missing()), reason=graph_kernels.missing())
def test_fused_graphs_are_kept_likewise_and_the_third_run_builds_fewer_kernels(tmp_path):
    """Counted by a g++ that writes a line a call; what is left is the tiny graph that starts the compiler."""
    calls, program, folder = tmp_path / "calls", tmp_path / "bin" / "g++", tmp_path / "run"
    program.parent.mkdir()
    folder.mkdir()
    calls.write_text("")
    program.write_text(f'#!/bin/sh\necho >> {calls}\nexec {shutil.which("g++")} "$@"\n')
    program.chmod(0o755)
    flags = {"fuse": "true", "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    graphs, built = [], []
    for _ in range(3):
        assert run(folder, **flags) == (expected(), [])
        graphs.append(kept(folder))
        built.append(len(calls.read_text()))
    assert graphs[0] == graphs[1] == graphs[2] and len(graphs[0]) == 2
    assert 2 * built[0] == built[1] and 0 < built[2] - built[1] < built[0]


DAMAGES = (
    lambda graph, sums: graph.write_bytes(graph.read_bytes()[:-100]),
    lambda graph, sums: graph.write_bytes(graph.read_bytes()[:-1] + b"?"),
    lambda graph, sums: sums.unlink(),
    lambda graph, sums: sums.write_text(sums.read_text()[:20]),
)


def test_a_damaged_graph_is_told_removed_and_made_anew(ran, tmp_path):
    shutil.copytree(ran[0], tmp_path, dirs_exist_ok=True)
    for entry, damage in zip(sorted(kept(tmp_path)), DAMAGES, strict=True):
        damage(entry / "graph.mindir", entry / "sums.json")
    results, notices = run(tmp_path, rows=FOUR)
    assert results == expected(rows=FOUR)
    assert len(notices) == 4 and all("is damaged and removed" in line for line in notices)
    assert run(tmp_path, rows=FOUR) == (expected(rows=FOUR), [])


def test_a_folder_that_cannot_be_written_and_a_missing_compiler_are_one_notice_each(tmp_path):
    for name in ("cat", "grep", "sed"):  # MindSpore calls them
        (tmp_path / name).symlink_to(shutil.which(name))
    (tmp_path / "file").write_text("")
    results, notices = run(tmp_path, cache="file/store", fuse="true", PATH=str(tmp_path))
    assert results == expected() and len(notices) == 2
    assert "compile_cache:" in notices[0] and "cannot be written" in notices[0]
    assert "there is no g++ on the PATH; " in notices[1] and "operators are not fused" in notices[1]


def test_a_broken_compiler_is_noticed(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "g++").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "g++").chmod(0o755)
    results, notices = run(tmp_path, fuse="true", PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert results == expected()
    assert len(notices) == 1 and "MindSpore's kernel compiler does not work here" in notices[0]


def test_without_room_nothing_is_fused_and_several_processes_do_not_go_on(tmp_path, monkeypatch):
    """As on a disk that became full: the compiler of fused kernels would wait for ever."""
    monkeypatch.setattr(graph_kernels, "ROOM", 1 << 62)
    said = []
    for size in (1, 2):
        compiler = Compiler(said.append)
        compiler.fuse, compiler._work = True, str(tmp_path)
        compiler.join(0, size)
        with pytest.raises(UserError, match="MiB free") if size > 1 else contextlib.nullcontext():
            result = compiler.run("loss", ms.nn.ReLU(), ms.Tensor([-1.0, 2.0], ms.float32))
            assert result.asnumpy().tolist() == [0, 2] and not compiler.fuse
    assert len(said) == 1 and f"enable_graph_kernel: {tmp_path} has" in said[0]


def test_the_graphs_unused_for_longest_go_first(tmp_path, monkeypatch):
    said = []
    cache = CompileCache(str(tmp_path), said.append)
    newest, middle, oldest = (digit * 40 for digit in "abc")
    for age, name in enumerate([newest, middle, oldest, "of-the-user"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "graph.mindir").write_bytes(bytes(100))
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(compile_cache, "LARGEST", 250)
    (tmp_path / "notes.txt").write_text("a file of the user's")
    for number in (os.getpid(), 2**22 + 1):  # the second one is no process
        (tmp_path / f"work-{number}-x").mkdir()
        os.utime(tmp_path / f"work-{number}-x", (1e9, 1e9))
    cache._bound(newest)
    names = {path.name for path in tmp_path.iterdir()} - {os.path.basename(cache.work)}
    assert names == {newest, middle, "of-the-user", "notes.txt", f"work-{os.getpid()}-x"}
    assert len(said) == 1 and "1 graphs unused for longest" in said[0]
    cache.close()


@pytest.mark.parametrize(
    "first, policy, spins", [("src", "", False), ("mindspore", "", True), ("mindspore", "PASSIVE", False)]
)
def test_mindspore_loaded_before_src_is_noticed(first, policy, spins, monkeypatch):
    """A stand-in for MindSpore: what counts is whether a module of that name is there already."""
    load = (
        "import sys, types; sys.modules['mindspore'] = types.ModuleType('mindspore')"
        if first != "src"
        else ""
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment.update({"OMP_WAIT_POLICY": policy} if policy else {})
    command = [sys.executable, "-c", f"{load}\nimport src; print(src.THREADS_SPIN)"]
    done = subprocess.run(command, cwd=PROGRAM.parent.parent, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == str(spins), done.stderr
    monkeypatch.setattr("src.THREADS_SPIN", spins)
    assert ("imported before src" in graph_kernels.missing()) == spins
