"""Public functions say their types, and mypy finds no contradiction in them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*(ROOT / "src").rglob("*.py"), *ROOT.glob("*.py")])


def public_functions(node):
    """The functions, and methods of classes, whose names have no underscore before them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child)
        elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            yield child


def unannotated(function):
    """What of a function has no type: arguments but self and cls, and what it returns."""
    arguments = function.args
    named = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    missing = [one.arg for one in named if one and one.arg not in ("self", "cls") and one.annotation is None]
    return missing + ["return"] * (function.returns is None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_public_functions_say_their_types(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    missing = {
        f"{function.name}, line {function.lineno}": unannotated(function)
        for function in public_functions(tree)
    }
    assert not {name: names for name, names in missing.items() if names}


def test_mypy_finds_nothing():
    command = [sys.executable, "-m", "mypy", "--no-error-summary"]  # it keeps what it knows in .mypy_cache
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
