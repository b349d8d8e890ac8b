"""The pages of the documentation, and the commands that they show."""

import pathlib
import re

from src.files import ROOT

FOLDER = pathlib.Path(ROOT)
PAGES = [
    FOLDER / "README.md",
    FOLDER / "README_CN.md",
    FOLDER / "CONTRIBUTING.md",
    *FOLDER.glob("docs/**/*.md"),
]


def unfenced(path):
    """A page's text without the blocks between ```."""
    return re.sub(r"(?ms)^```.*?^```$", "", path.read_text(encoding="utf-8"))


def blocks(path):
    """The lines of a page's indented blocks, continued ones joined, comments left out."""
    lines = unfenced(path).replace("\\\n", " ").splitlines()
    found = [re.sub(r"\s+", " ", line.split(" #")[0]).strip() for line in lines if line.startswith("    ")]
    return list(filter(None, found))


def is_command(line):
    """Whether a line of a block is one for a shell; others are examples of files."""
    return bool(re.match(r"([A-Z_]+=\S+ )*(python|bash) ", line))


def commands(path):
    """The commands of a page's indented blocks."""
    return list(filter(is_command, blocks(path)))
