"""Where a task's raw rows come from: the files' layout and the columns in them, read by
`src/data/readers`.
"""

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class GlueTsv:
    """A task as GLUE's TSV files and Hugging Face's parquet files hold it; JSON lines are read too."""

    text: str
    """Column of the first (or only) text."""
    text_pair: Optional[str]
    """Column of the second text, or None."""
    label: str
    """Column of the label in the train and dev files."""
    header: bool = True
    """Whether the TSV files start with a header row; without one, columns are numbers, of `width` columns."""
    width: int = 0
    """Columns of files without a header."""
    test_text: Optional[str] = None
    """Column of the text in the test file where it differs; that file then has a header."""
    parquet_text: Optional[str] = None
    """Column of the first text in parquet files where it differs."""
    parquet_text_pair: Optional[str] = None
    """Column of the second text there, likewise; the label's column is always `label`."""


@dataclass(frozen=True)
class OwnRows:
    """The user's own data: `text`, optionally `text_pair`, and `label`, as JSON lines, TSV or parquet."""

    text: str = "text"
    text_pair: str = "text_pair"
    label: str = "label"
