"""Who may import whom (the table of the layout): parsed from the source, so that nothing need be imported."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BASE = {"errors", "files", "vocabulary", "tasks"}

# Part of src/ -> the other parts it may import. Everything may import its own part.
ALLOWED = {
    "errors": set(),
    "files": {"errors"},
    "vocabulary": {"errors"},
    "tasks": {"errors"},
    "config": BASE,
    "metrics": BASE,
    "checkpoint": BASE,
    "quant": set(),
    "data": BASE | {"config"},
    "model": BASE | {"config", "quant", "checkpoint"},
    "evaluate": BASE | {"metrics"},
    "distill": BASE | {"model", "checkpoint", "data", "evaluate"},
    "runtime": BASE | {"config"},
    "train": BASE
    | {"config", "metrics", "checkpoint", "quant", "data", "model", "evaluate", "distill", "runtime"},
    "deploy": BASE | {"quant", "config", "checkpoint", "runtime"},
    "modelarts": BASE | {"config", "runtime"},
}
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ENTRY_SCRIPTS = sorted(ROOT.glob("*.py"))
# Not installed by requirements.txt, or slow to import.
HEAVY = {"tensorflow", "torch", "transformers", "pyarrow", "onnx", "onnxruntime"}


def title(path):
    return str(path.relative_to(ROOT))


def imported(nodes):
    """Dotted names of the modules that AST nodes import; `from src import x` and `from src.a import x` give
    src.x and src.a.x.
    """
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def run_on_import(node):
    """The nodes that run when a module is imported: all but those inside functions."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from run_on_import(child)


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def part_of(path):
    return path.relative_to(ROOT / "src").with_suffix("").parts[0]


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path != ROOT / "src" / "__init__.py"], ids=title
)
def test_imports_go_one_way(path):
    part = part_of(path)
    assert part in ALLOWED, f"{part} is not in the table: give it a row"
    used = {name.split(".")[1] for name in imported(ast.walk(parse(path))) if name.startswith("src.")}
    assert used - {part} <= ALLOWED[part]


def test_the_table_itself_has_no_cycle():
    done = set()
    while ready := {part for part, uses in ALLOWED.items() if uses <= done} - done:
        done |= ready
    assert done == set(ALLOWED)


@pytest.mark.parametrize("path", SOURCES + ENTRY_SCRIPTS + sorted((ROOT / "scripts").glob("*.py")), ids=title)
def test_nothing_imports_an_entry_script(path):
    scripts = {script.stem for script in ENTRY_SCRIPTS}
    assert not {name.split(".")[0] for name in imported(ast.walk(parse(path)))} & (
        scripts | {"scripts", "tests", "benchmarks"}
    )


@pytest.mark.parametrize(
    "path", [path for path in SOURCES + ENTRY_SCRIPTS if path.name != "onnx_graph.py"], ids=title
)
def test_heavy_packages_are_imported_only_where_they_are_used(path):
    assert not {name.split(".")[0] for name in imported(run_on_import(parse(path)))} & HEAVY
