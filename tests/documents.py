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


def commands(path):
    """The commands of a page's indented blocks, continued lines joined, comments left out."""
    lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    found = [re.sub(r"\s+", " ", line.split(" #")[0]).strip() for line in lines if line.startswith("    ")]
    return [line for line in found if re.match(r"([A-Z_]+=\S+ )*(python|bash) ", line)]
