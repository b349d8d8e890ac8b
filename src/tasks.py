"""The one task table: what every other part needs to know about a task, by name.

Sequence lengths follow TinyBERT (arXiv 1909.10351, appendix): 64 for one sentence and 128 for pairs; its
epochs and learning rates are in td_config/. CLUE's titles and sentences have some 50 characters.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Tuple, Union

from src.errors import UserError, shown
from src.kinds import CLASSIFICATION, REGRESSION, SPAN, SPAN_OR_NONE, TAGGING
from src.kinds.base import TaskKind
from src.sources import ClueEntities, ClueTopics, GlueTsv, OwnRows, OwnTexts, SquadJson


@dataclass(frozen=True)
class Task:
    """One row of the table."""

    name: str
    """The name as its benchmark writes it."""
    kind: Optional[TaskKind]
    """None: the user's own data say it."""
    labels: Tuple[str, ...]
    """Class names in index order, as GLUE's and Hugging Face's numbering has them; empty for regression and
    own data."""
    metrics: Tuple[str, ...]
    """Names in `src.metrics`; the first one decides which checkpoint is best."""
    source: Union[GlueTsv, ClueTopics, ClueEntities, SquadJson, OwnRows]
    """Where its raw rows come from."""
    max_seq_length: int = 128
    """Longest row in tokens, [CLS] and [SEP] included, where the user names none."""
    eval_splits: Tuple[Tuple[str, str], ...] = (("eval", "dev"),)
    """(our split name, stem of the official file) for each evaluation set."""
    test_splits: Tuple[Tuple[str, str], ...] = (("test", "test"),)
    """(our split name, stem of the official file) for each unlabelled test set."""
    other_order: Tuple[str, ...] = ()
    """`labels` as Google's run_classifier.py and the published records and checkpoints number them, where
    that differs."""
    submission: str = ""
    """How predictions for its test sets are written: a key of `LAYOUTS` in `src/submission.py`; "": as its
    kind's usually are."""

    @property
    def folder(self) -> str:
        """Lower-case folder name."""
        return self.name.lower()

    @property
    def is_own(self) -> bool:
        """Whether it is the user's own data, whose kind and labels its files say."""
        return self.kind is None


_NLI = ("entailment", "neutral", "contradiction")
_RTE = ("entailment", "not_entailment")
# CoLA's files have no header: source, label, the author's own mark, sentence. Its test file has one.
_COLA = GlueTsv("3", None, "1", header=False, width=4, test_text="sentence", parquet_text="sentence")
_MRPC = GlueTsv("#1 String", "#2 String", "Quality", parquet_text="sentence1", parquet_text_pair="sentence2")
_MNLI = GlueTsv(
    "sentence1", "sentence2", "gold_label", parquet_text="premise", parquet_text_pair="hypothesis"
)
# TNEWS numbers its classes; 105 and 111 there are none.
_TOPICS = (
    ("100", "news_story"),
    ("101", "news_culture"),
    ("102", "news_entertainment"),
    ("103", "news_sports"),
    ("104", "news_finance"),
    ("106", "news_house"),
    ("107", "news_car"),
    ("108", "news_edu"),
    ("109", "news_tech"),
    ("110", "news_military"),
    ("112", "news_travel"),
    ("113", "news_world"),
    ("114", "news_stock"),
    ("115", "news_agriculture"),
    ("116", "news_game"),
)
_CLUENER = TAGGING.tags(
    ("address", "book", "company", "game", "government", "movie", "name", "organization", "position", "scene")
)
_TWO_SENTENCES = GlueTsv("sentence1", "sentence2", "label")
_TASKS = (
    Task("CoLA", CLASSIFICATION, ("unacceptable", "acceptable"), ("matthews",), _COLA, 64),
    Task(
        "SST-2",
        CLASSIFICATION,
        ("negative", "positive"),
        ("accuracy",),
        GlueTsv("sentence", None, "label"),
        64,
    ),
    Task("MRPC", CLASSIFICATION, ("not_equivalent", "equivalent"), ("f1", "accuracy"), _MRPC),
    Task("STS-B", REGRESSION, (), ("pearson", "spearman"), GlueTsv("sentence1", "sentence2", "score")),
    Task(
        "QQP",
        CLASSIFICATION,
        ("not_duplicate", "duplicate"),
        ("f1", "accuracy"),
        GlueTsv("question1", "question2", "is_duplicate"),
    ),
    Task(
        "MNLI",
        CLASSIFICATION,
        _NLI,
        ("accuracy",),
        _MNLI,
        eval_splits=(("eval", "dev_matched"), ("eval_mm", "dev_mismatched")),
        test_splits=(("test", "test_matched"), ("test_mm", "test_mismatched"), ("test_ax", "diagnostic")),
        other_order=("contradiction", "entailment", "neutral"),
    ),
    Task("QNLI", CLASSIFICATION, _RTE, ("accuracy",), GlueTsv("question", "sentence", "label")),
    Task("RTE", CLASSIFICATION, _RTE, ("accuracy",), _TWO_SENTENCES),
    Task("WNLI", CLASSIFICATION, ("not_entailment", "entailment"), ("accuracy",), _TWO_SENTENCES),
    Task("SQuAD", SPAN, (), SPAN.default_metrics, SquadJson("v1.1"), 384),
    Task("SQuAD2", SPAN_OR_NONE, (), SPAN_OR_NONE.default_metrics, SquadJson("v2.0"), 384),
    Task(
        "TNEWS",
        CLASSIFICATION,
        tuple(name for _, name in _TOPICS),
        ("accuracy", "macro_f1"),
        ClueTopics(_TOPICS),
        64,
        submission="clue_topics",
    ),
    Task(
        "CLUENER", TAGGING, _CLUENER, TAGGING.default_metrics, ClueEntities(), 64, submission="clue_entities"
    ),
    Task("custom", None, (), (), OwnRows()),
)
_BY_KEY = {task.name.lower().replace("-", ""): task for task in _TASKS}

TASK_NAMES = tuple(task.name for task in _TASKS)
TEXTS = Task("texts", None, (), (), OwnTexts())
"""Texts to be answered, which may have labels that nobody reads; it is none of the table."""


def _key(name):
    return str(name).strip().lower().replace("-", "").replace("_", "")


def get_task(name: str) -> Task:
    """The `Task` called `name`, whatever its case and with or without hyphens (`SST-2`, `sst2`, `sts-b`).

    Raises:
        UserError: the table has no such task; the message lists the names it has.
    """
    if _key(name) not in _BY_KEY:
        raise UserError(f"task_name: unknown task {shown(name)}; known tasks are {', '.join(TASK_NAMES)}")
    return _BY_KEY[_key(name)]


# What other programs write before and after a task's name, as in glue/mnli_matched and squad_v2.
_AROUND = re.compile(r"^(glue|clue)[/:_-]|[-_]?(mm|matched|mismatched|v1(\.1)?|dev|train)$")


def known_task(name: str) -> str:
    """The name in the table of the task that another program calls `name`; "" for none."""
    plain = _AROUND.sub("", str(name).strip().lower())
    task = _BY_KEY.get(_key(name)) or _BY_KEY.get(_key(re.sub(r"[-_]?v2(\.0)?$", "2", plain)))
    return task.name if task and not task.is_own else ""


def differ(one: str, other: str) -> bool:
    """Whether two task names mean different tasks of the table; one that is unknown or the user's own agrees
    with any.
    """
    mine, theirs = (_BY_KEY.get(_key(name)) for name in (one, other))
    if mine is None or theirs is None:
        return False
    return mine != theirs and not (mine.is_own or theirs.is_own)


def plain_labels(names: Sequence[str]) -> list[str]:
    """Class names without what people write differently, case and what stands between words; as they are
    where nothing else tells two of them apart. Signs at a name's ends are part of it: + and -, A+ and A-.
    """
    plain = [re.sub(r"(?<=[^\W_])[\W_]+(?=[^\W_])", "_", name.casefold()) for name in names]
    return plain if len(set(plain)) == len(plain) else list(names)


def real_names(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """`names`, or () where they are only the classes' numbers, 0, 1, ..., and the `others` are names: what
    Hugging Face's run_glue.py writes says no more than LABEL_0, LABEL_1, ...
    """
    numbers = tuple(map(str, range(len(names))))
    named = any(not name.isdigit() for name in others)
    return () if named and tuple(names) == numbers else tuple(names)


def same_labels(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two sequences of class names are the same in the same order; names that are unknown (an empty
    sequence) agree with any."""
    return not some or not others or plain_labels(some) == plain_labels(others)


def why_order_matters(name: str) -> str:
    """Why numbers without names do not tell which of a task's classes they are, for a message; "" where
    everybody numbers them alike, and for a task that is unknown.
    """
    task = _BY_KEY.get(_key(name))
    if task is None or not task.other_order:
        return ""
    return (
        f"and {task.name}'s classes are {', '.join(task.other_order)} for Google's run_classifier.py and the "
        f"published records and checkpoints, but {', '.join(task.labels)} for Hugging Face's data sets"
    )


def places(names: Sequence[str], wanted: Sequence[str], key: str, what: str) -> list[int]:
    """Where each of the `wanted` class names stands among `names`.

    Args:
        key (str), what (str): the setting that gave one of the two, and what the names number, for messages.

    Raises:
        UserError: they are not the same names.
    """
    if not wanted:
        raise UserError(f"{key}: {what} have no classes to name")
    plain = plain_labels(names)
    if sorted(plain) != sorted(plain_labels(wanted)):
        raise UserError(
            f"{key}: must be {', '.join(sorted(wanted))} in the order of {what}, not {', '.join(names)}"
        )
    return [plain.index(name) for name in plain_labels(wanted)]


def task_folder(folder: str, task: Task) -> str:
    """`folder`/TASK where that exists (in lower case or as GLUE writes it), else `folder` itself: the
    published layout or a task's own.
    """
    for name in (task.folder, task.name):
        if os.path.isdir(os.path.join(folder, name)):
            return os.path.join(folder, name)
    return folder
