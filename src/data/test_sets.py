"""The rows of a test set, all of them and in their order, from raw files or from records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Optional, Tuple

from src.data.info import DatasetInfo
from src.data.origins import read_origin, texts_in
from src.data.prepare import CountingBar
from src.data.prepare_task import chunks
from src.data.readers.files import Source, count_rows, find_source, require_source
from src.data.readers.rows import EveryRow, Row
from src.data.readers.split import read_split
from src.data.records import find_split, has_split, read_records
from src.data.task_data import facts_of
from src.data.tokenization import TokenizerPool
from src.description import DataFacts, Description
from src.errors import UserError, shown
from src.examples import Examples, concatenate
from src.kinds.base import TaskKind
from src.tasks import Task


@dataclass(frozen=True)
class TestSet:
    """One split to answer."""

    __test__ = False  # pytest would collect it

    split: str
    """Our name of it: `test`, `test_mm`, ..."""
    examples: Examples
    names: Tuple[str, ...]
    """What each row of the file, which may be several of the `examples`, is called there; its number from 0
    where it has no name."""
    labels: Tuple[str, ...]
    """The class names of its task; () where it has none or they are unknown."""
    cut: int = 0
    """Rows that were longer than the model reads and were cut."""
    rows: Tuple[Row, ...] = ()
    """Those of raw files; () of records, which keep no texts."""


@dataclass(frozen=True)
class Reader:
    """How a model reads texts."""

    vocabulary: Tuple[str, ...]
    lower_case: bool
    longest: int
    """Tokens of the longest row; longer texts are cut."""
    num_workers: int
    """Processes that tokenize."""
    strip_accents: Optional[bool] = None
    """As the `Tokenizer`'s."""


def read_test_sets(
    task: Task, folder: str, split: str, description: Description, reader: Reader, dataset_type: str = "auto"
) -> list[TestSet]:
    """Every `TestSet` that `folder` holds of a task's splits, the first one at least.

    Args:
        folder: with the task's raw files or records.
        split: "test", or "eval" or "dev" for the dev sets. description: of the model.
        reader: how raw texts become rows. dataset_type: of records, as the setting.

    Raises:
        UserError: there is none, a row is malformed or was left out, or the model is of another task.
    """
    wanted = dict(task.test_splits if split == "test" else task.eval_splits)
    first, *_ = wanted
    found = {name: find_source(folder, stem, task.source.formats) for name, stem in wanted.items()}
    sources = {name: source for name, source in found.items() if source}
    if first in sources:
        return [_raw(task, source, name, description, reader) for name, source in sources.items()]
    if not has_split(folder, first):
        require_source(folder, wanted[first], task.source.formats)  # says what it looked for
    files = {name: find_split(folder, name, dataset_type) for name in wanted if has_split(folder, name)}
    # A folder whose names say no split serves only the first one.
    files = {name: held for name, held in files.items() if name == first or held != files[first]}
    return [_prepared(task, folder, name, held, description) for name, held in files.items()]


def _with_task(
    rows: DataFacts, task: Task, description: Description, info: DatasetInfo | None
) -> tuple[DataFacts, TaskKind]:
    """The facts of a task's rows, and its kind; the user's own data are what their dataset.json or the model
    says.
    """
    known = info or description
    kind, labels = task.kind or known.kind, task.labels or known.labels
    assert kind is not None  # what answers has a head
    outputs = kind.outputs(labels) or description.outputs
    return replace(rows, task_name=task.name, kind=kind, labels=labels, outputs=outputs), kind


def _raw(task: Task, source: Source, name: str, description: Description, reader: Reader) -> TestSet:
    """The `TestSet` of raw files."""
    facts, kind = _with_task(DataFacts(), task, description, None)
    description.check_fits(facts, "task_name")
    kept: list[Row] = []

    def rows() -> Iterator[Row]:
        names = facts.labels or description.label_names
        test = name.startswith("test") or task.is_own  # own rows are read alike, with labels and without
        for row in read_split(task, source, kind, names, EveryRow(), test):
            kept.append(row._replace(label=None))
            yield kept[-1]

    parts: list[Examples] = []
    cut = 0
    arguments = reader.vocabulary, reader.lower_case, kind, reader.longest, reader.num_workers
    pool = TokenizerPool(*arguments, strip_accents=reader.strip_accents)
    with pool, CountingBar(f"read {name}", count_rows(source), "row") as progress:
        for examples, cut_here in pool.map(chunks(rows())):
            parts.append(examples)
            cut += cut_here
            progress.update(texts_in(examples) or len(examples), rows=len(examples))
    examples = parts[0] if len(parts) == 1 else concatenate(parts)
    return TestSet(name, examples, _numbered([row.id for row in kept]), facts.labels, cut, tuple(kept))


def _prepared(
    task: Task, folder: str, name: str, files: tuple[list[str], str], description: Description
) -> TestSet:
    """The `TestSet` of records."""
    info = DatasetInfo.load(folder)
    skipped = info.splits.get(name, {}).get("skipped") if info else None
    if skipped:
        raise UserError(
            f"data_dir: {skipped} rows of {name} were left out when {folder} was prepared (skip_bad_rows), "
            "so the others' numbers are not the test set's; mend the raw file and prepare it again"
        )
    examples = read_records(*files, ())
    facts, kind = _with_task(facts_of(name, examples, info), task, description, info)
    description.check_fits(facts, "task_name")
    if kind.needs_texts:
        examples = replace(examples, origin=read_origin(folder, name, examples))
    names = _numbered([""] * (texts_in(examples) or len(examples)))
    return TestSet(name, examples, names, facts.labels)


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    """Each row's own name, or its number.

    Raises:
        UserError: two rows have the same one, or one would break a line of the answers.
    """
    found = tuple(name or str(number) for number, name in enumerate(names))
    seen: set[str] = set()
    for number, name in enumerate(found, 1):
        if name in seen or name.split() != [name]:
            raise UserError(
                f"row {number} of the test set is called {shown(name)}, which must be one word that no other "
                "row has: its answer could not be told from others"
            )
        seen.add(name)
    return found
