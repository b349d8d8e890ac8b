"""What a target is."""

import json
from typing import Callable, NamedTuple, Tuple

from scripts.launch import LaunchError
from src.errors import UserError

ALLOWED = (UserError, LaunchError)


class Target(NamedTuple):
    """Something that reads one file of a folder."""

    name: str
    file: str
    """The file's name."""
    seeds: Tuple[bytes, ...]
    """Valid contents."""
    read: Callable
    """read(folder)"""
    beside: dict = {}
    """{name: bytes} of further files."""
    refused: dict = {}
    """{number of a seed: words} of those that are refused unchanged, which the line says."""


def as_json(value):
    return json.dumps(value, indent=1).encode()


def as_lines(*values):
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)
