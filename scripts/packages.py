"""Looks at the packages of the Python that runs it; standard library only.

python packages.py missing REQUIREMENTS_FILE   prints what is not installed; exit status 1 if anything is
python packages.py remove_damaged              removes the metadata of packages that lack files, so that
                                               pip installs them again
"""

import glob
import os
import re
import shutil
import sys
import sysconfig
from importlib import metadata


def names(path):
    """The packages a requirement file lists, those of the files it includes first."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.partition("#")[0].strip()
            if line.startswith("-r"):
                yield from names(os.path.join(os.path.dirname(path), line[2:].strip()))
            elif line:
                yield re.match(r"[\w.-]+", line).group()


def is_installed(name):
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def missing(path):
    """Print the packages of a requirement file that are absent. Other versions than it asks for are the
    user's choice.
    """
    absent = [name for name in names(path) if not is_installed(name)]
    print(", ".join(absent))
    return 1 if absent else 0


def is_whole(distribution):
    """Whether every file of an installed package is there in its recorded size (byte code, which Python
    rewrites, aside).
    """
    if distribution.files is None:  # pip writes the list of files last
        return False
    files = [(file.locate(), file.size) for file in distribution.files if file.suffix != ".pyc"]
    return all(os.path.exists(path) and size in (None, os.path.getsize(path)) for path, size in files)


def remove_damaged():
    """Take the `.dist-info` folder of every damaged package away."""
    for folder in glob.glob(os.path.join(glob.escape(sysconfig.get_path("purelib")), "*.dist-info")):
        if not is_whole(metadata.Distribution.at(folder)):
            print(f"removing the half-installed {os.path.basename(folder)}")
            shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(missing(sys.argv[2]) if sys.argv[1] == "missing" else remove_damaged())
