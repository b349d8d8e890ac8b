"""The house plan as a test: who may import whom, how long a file may be, that code is formatted.

Parsed from the source, so that nothing need be imported.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Room of src/ -> the other rooms it imports, all of them. Everything may import its own room.
ALLOWED = {
    "errors": set(),
    "events": {"errors"},
    "examples": set(),
    "quant": set(),
    "sources": set(),
    "files": {"errors", "json_file"},
    "json_file": {"errors"},
    "checksums": {"errors", "files", "json_file"},
    "kinds": {"errors", "examples"},
    "fingerprint": set(),
    "terminal": set(),
    "graph_kernels": set(),
    "metrics": {"errors"},
    "nn": {"quant"},
    "compile_cache": {"errors", "files", "fingerprint", "json_file"},
    "compiler": {"compile_cache", "errors", "graph_kernels", "terminal"},
    "runtime": {"compiler", "errors", "terminal"},
    "vocabulary": {"errors"},
    "tokenizer_files": {"errors", "json_file", "vocabulary"},
    "evaluate": {"examples", "metrics", "terminal"},
    "settings": {"errors", "files", "json_file", "kinds", "terminal"},
    "tasks": {"errors", "kinds", "sources"},
    "description": {"errors", "json_file", "kinds", "settings", "tasks"},
    "modelarts": {"errors", "files", "json_file", "runtime", "settings"},
    "checkpoint": {
        "checksums",
        "description",
        "errors",
        "files",
        "json_file",
        "kinds",
        "nn",
        "quant",
        "settings",
        "tasks",
        "tokenizer_files",
        "vocabulary",
    },
    "data": {
        "checksums",
        "description",
        "errors",
        "examples",
        "files",
        "json_file",
        "kinds",
        "sources",
        "tasks",
        "terminal",
        "vocabulary",
    },
    "deploy": {
        "checkpoint",
        "data",
        "description",
        "errors",
        "examples",
        "files",
        "json_file",
        "kinds",
        "nn",
        "quant",
        "runtime",
        "tasks",
        "terminal",
        "vocabulary",
    },
    "submission": {"errors", "files", "sources"},
    "predictor": {
        "data",
        "deploy",
        "evaluate",
        "metrics",
        "model",
        "runtime",
        "settings",
        "submission",
        "terminal",
    },
    "run_folder": {"checkpoint", "errors", "events", "files", "json_file"},
    "raw_data": {
        "checkpoint",
        "data",
        "errors",
        "kinds",
        "run_folder",
        "settings",
        "tasks",
        "tokenizer_files",
        "vocabulary",
    },
    "model": {
        "checkpoint",
        "deploy",
        "errors",
        "nn",
        "quant",
        "runtime",
        "settings",
        "terminal",
        "vocabulary",
    },
    "report": {
        "checkpoint",
        "errors",
        "examples",
        "files",
        "json_file",
        "kinds",
        "metrics",
        "run_folder",
        "settings",
        "tasks",
        "vocabulary",
    },
    "masked_lm": {"checkpoint", "data", "errors", "nn", "runtime", "vocabulary"},
    "distill": {
        "checkpoint",
        "compile_cache",
        "description",
        "errors",
        "evaluate",
        "examples",
        "files",
        "json_file",
        "metrics",
        "model",
        "nn",
        "runtime",
        "terminal",
    },
    "train": {
        "checkpoint",
        "checksums",
        "compile_cache",
        "data",
        "description",
        "distill",
        "errors",
        "evaluate",
        "files",
        "json_file",
        "metrics",
        "model",
        "nn",
        "report",
        "run_folder",
        "runtime",
        "settings",
        "tasks",
        "terminal",
        "vocabulary",
    },
}
LONGEST_FILE, LONGEST_ENTRY_SCRIPT, LONGEST_FUNCTION = 500, 120, 50
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ENTRY_SCRIPTS = sorted(ROOT.glob("*.py"))
LAUNCHERS = sorted((ROOT / "scripts").rglob("*.py"))
# Not installed by requirements.txt, or slow to import.
HEAVY = {"tensorflow", "torch", "transformers", "pyarrow", "onnx", "onnxruntime"}
# The processes that tokenize import these rooms; MindSpore would cost each of them seconds and 300 MB.
WITHOUT_MINDSPORE = {
    "checksums",
    "errors",
    "files",
    "json_file",
    "vocabulary",
    "tokenizer_files",
    "sources",
    "examples",
    "kinds",
    "tasks",
    "settings",
    "terminal",
    "data",
}


def title(path):
    return str(path.relative_to(ROOT))


def for_types_alone(node):
    """Whether a node is `if TYPE_CHECKING:`, whose imports serve annotations: nothing runs by them."""
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def below(node):
    """All nodes below one, in functions too."""
    for child in ast.iter_child_nodes(node):
        if not for_types_alone(child):
            yield child
            yield from below(child)


def imported(nodes):
    """Dotted names of the modules that AST nodes import; `from src.a import x` gives src.a.x."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def run_on_import(node):
    """The nodes that run when a module is imported: all but those inside functions."""
    for child in ast.iter_child_nodes(node):
        if for_types_alone(child):
            continue
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from run_on_import(child)


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def room_of(path):
    return path.relative_to(ROOT / "src").with_suffix("").parts[0]


def imports_of_rooms():
    """{room: the other rooms it imports}."""
    rooms = {}
    for path in SOURCES:
        if path == ROOT / "src" / "__init__.py":
            continue
        names = list(imported(below(parse(path))))
        assert not [name for name in names if name.startswith(".")], f"{path}: imports are written in full"
        used = {name.split(".")[1] for name in names if name.startswith("src.")}
        rooms.setdefault(room_of(path), set()).update(used - {room_of(path)})
    return rooms


def test_every_room_imports_what_the_table_says_and_nothing_else():
    assert imports_of_rooms() == ALLOWED


def test_imports_go_one_way():
    done = set()
    while ready := {room for room, uses in ALLOWED.items() if uses <= done} - done:
        done |= ready
    assert done == set(ALLOWED)


@pytest.mark.parametrize("path", SOURCES + ENTRY_SCRIPTS + LAUNCHERS, ids=title)
def test_nothing_imports_an_entry_script(path):
    scripts = {script.stem for script in ENTRY_SCRIPTS}
    roots = {name.split(".")[0] for name in imported(ast.walk(parse(path)))}
    launch = {"scripts"} if path not in LAUNCHERS else set()
    assert not roots & (scripts | launch | {"tests", "benchmarks"})


def test_no_test_imports_another_test():
    for path in (ROOT / "tests").rglob("test_*.py"):
        names = [name for name in imported(ast.walk(parse(path))) if name.startswith("tests.")]
        assert not [name for name in names if any(part.startswith("test_") for part in name.split(".")[1:-1])]


@pytest.mark.parametrize("path", SOURCES + ENTRY_SCRIPTS, ids=title)
def test_heavy_packages_are_imported_only_where_they_are_used(path):
    heavy = set() if path.parent.name == "deploy" and path.name.startswith("onnx_") else set(HEAVY)
    if path in SOURCES and room_of(path) in WITHOUT_MINDSPORE:
        heavy.add("mindspore")
    assert not {name.split(".")[0] for name in imported(run_on_import(parse(path)))} & heavy


def test_json_comes_in_by_one_function():
    reading = re.compile(r"\bjson\.loads?\b")
    found = {
        title(path) for path in SOURCES + ENTRY_SCRIPTS if reading.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"src/json_file.py"}


@pytest.mark.parametrize("path", SOURCES + ENTRY_SCRIPTS + LAUNCHERS, ids=title)
def test_files_and_functions_are_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= (LONGEST_ENTRY_SCRIPT if path in ENTRY_SCRIPTS else LONGEST_FILE)
    for node in ast.walk(parse(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


@pytest.mark.parametrize("command", [("format", "--check"), ("check",)], ids=" ".join)
def test_the_code_is_formatted_and_clean(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--quiet", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
