"""The one task table: what every other part needs to know about a task, by name.

A task's `columns` name the TSV (or parquet) columns that hold its text(s) and label. `header=False` files are
addressed by
column number. Sequence lengths follow TinyBERT (arXiv 1909.10351, appendix): 64 for one sentence and 128 for
pairs; its epochs and learning rates are in td_config/.
"""

import os
import re
from dataclasses import dataclass
from typing import Optional, Tuple

from src.errors import UserError

CLASSIFICATION = "classification"
REGRESSION = "regression"


@dataclass(frozen=True)
class Task:
    """One row of the table."""

    name: str
    """The name as GLUE writes it."""
    head: str
    """CLASSIFICATION or REGRESSION."""
    labels: Tuple[str, ...]
    """Class names in index order, as GLUE's and Hugging Face's numbering has them; empty for regression and
    own data.
    """
    metrics: Tuple[str, ...]
    """Names in `src.metrics`; the first one decides which checkpoint is best."""
    text: str
    """Column of the first (or only) text."""
    text_pair: Optional[str]
    """Column of the second text, or None."""
    label: str
    """Column of the label in the train and dev files."""
    eval_splits: Tuple[Tuple[str, str], ...] = (("eval", "dev"),)
    """(our split name, stem of the official file) for each evaluation set."""
    test_splits: Tuple[Tuple[str, str], ...] = (("test", "test"),)
    """(our split name, stem of the official file) for each unlabelled test set."""
    header: bool = True
    """Whether the TSV files start with a header row."""
    test_text: Optional[str] = None
    """Column of the text in the test file where it differs."""
    parquet_text: Optional[str] = None
    """Column of the first text in Hugging Face's parquet files where it differs."""
    parquet_text_pair: Optional[str] = None
    """Column of the second text there, likewise; the label's column is always `label`."""
    max_seq_length: int = 128
    """Longest row in tokens, [CLS] and [SEP] included, where the user names none."""

    @property
    def folder(self):
        """Lower-case folder name."""
        return self.name.lower()


_NLI = ("entailment", "neutral", "contradiction")
_RTE = ("entailment", "not_entailment")
_TASKS = (
    # CoLA's files have no header: source, label, the author's own mark, sentence. Its test file has one:
    # index, sentence.
    Task(
        "CoLA",
        CLASSIFICATION,
        ("unacceptable", "acceptable"),
        ("matthews",),
        "3",
        None,
        "1",
        header=False,
        test_text="sentence",
        parquet_text="sentence",
        max_seq_length=64,
    ),
    Task(
        "SST-2",
        CLASSIFICATION,
        ("negative", "positive"),
        ("accuracy",),
        "sentence",
        None,
        "label",
        max_seq_length=64,
    ),
    Task(
        "MRPC",
        CLASSIFICATION,
        ("not_equivalent", "equivalent"),
        ("f1", "accuracy"),
        "#1 String",
        "#2 String",
        "Quality",
        parquet_text="sentence1",
        parquet_text_pair="sentence2",
    ),
    Task("STS-B", REGRESSION, (), ("pearson", "spearman"), "sentence1", "sentence2", "score"),
    Task(
        "QQP",
        CLASSIFICATION,
        ("not_duplicate", "duplicate"),
        ("f1", "accuracy"),
        "question1",
        "question2",
        "is_duplicate",
    ),
    Task(
        "MNLI",
        CLASSIFICATION,
        _NLI,
        ("accuracy",),
        "sentence1",
        "sentence2",
        "gold_label",
        eval_splits=(("eval", "dev_matched"), ("eval_mm", "dev_mismatched")),
        test_splits=(("test", "test_matched"), ("test_mm", "test_mismatched")),
        parquet_text="premise",
        parquet_text_pair="hypothesis",
    ),
    Task("QNLI", CLASSIFICATION, _RTE, ("accuracy",), "question", "sentence", "label"),
    Task("RTE", CLASSIFICATION, _RTE, ("accuracy",), "sentence1", "sentence2", "label"),
    Task(
        "WNLI",
        CLASSIFICATION,
        ("not_entailment", "entailment"),
        ("accuracy",),
        "sentence1",
        "sentence2",
        "label",
    ),
    # The user's own data in the JSON-lines schema; head and labels come from its files (see data/readers.py).
    Task("custom", CLASSIFICATION, (), ("accuracy", "macro_f1"), "text", "text_pair", "label"),
)
_BY_KEY = {task.name.lower().replace("-", ""): task for task in _TASKS}

TASK_NAMES = tuple(task.name for task in _TASKS)


def _key(name):
    return str(name).strip().lower().replace("-", "").replace("_", "")


def get_task(name):
    """The `Task` called `name`, whatever its case and with or without hyphens (`SST-2`, `sst2`, `sts-b`).

    Raises:
        UserError: the table has no such task; the message lists the names it has.
    """
    if _key(name) not in _BY_KEY:
        raise UserError(f"task_name: unknown task '{name}'; known tasks are {', '.join(TASK_NAMES)}")
    return _BY_KEY[_key(name)]


def differ(one, other):
    """Whether two task names mean different tasks of the table; one that is unknown or the user's own agrees
    with any.
    """
    known = [_BY_KEY.get(_key(name)) for name in (one, other)]
    return None not in known and known[0] != known[1] and "custom" not in (known[0].name, known[1].name)


def same_labels(some, others):
    """Whether two sequences of class names are the same in the same order, whatever their case and
    punctuation; names that are unknown (an empty sequence) agree with any."""
    plain = [[re.sub(r"[\W_]+", "_", name.casefold()) for name in names] for names in (some, others)]
    return not some or not others or plain[0] == plain[1]


def task_folder(folder, task):
    """`folder`/TASK where that exists (in lower case or as GLUE writes it), else `folder` itself: the
    published layout or a task's own.
    """
    for name in (task.folder, task.name):
        if os.path.isdir(os.path.join(folder, name)):
            return os.path.join(folder, name)
    return folder
