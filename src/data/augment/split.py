"""A task's training split to the new rows beside it."""

import os
from collections.abc import Iterator, Mapping

from src.data.augment.augmenter import Augmentation
from src.data.augment.parts import Parts
from src.data.prepare import Options
from src.data.readers.files import Source
from src.data.readers.rows import Row
from src.data.readers.split import read_split
from src.errors import UserError
from src.files import sample_checksum
from src.kinds.base import TaskKind
from src.tasks import Task
from src.vocabulary import vocabulary_hash


def augment_split(
    augmentation: Augmentation,
    task: Task,
    sources: Mapping[str, Source],
    kind: TaskKind,
    names: tuple[str, ...],
    folder: str,
    options: Options,
) -> Parts:
    """The `Parts` with the rows that an `Augmentation` makes of a task's training split.

    Args:
        sources: by the split. names: of the labels.
        folder: where the records will be; the parts go beside it.

    Raises:
        UserError: the task has answers inside its texts, or a file of any split is malformed: that is seen
            before the long work.
    """
    if kind.logits_per != "row":
        raise UserError(
            f"augment: {task.name} has answers inside its texts, which other words would move; only tasks "
            "with a class or a number for a text or a pair are augmented"
        )

    def rows(split: str) -> Iterator[Row]:
        return read_split(task, sources[split], kind, names, options.bad_rows(), split.startswith("test"))

    counts = {split: sum(1 for _ in rows(split)) for split in sources}
    paths = sources["train"].paths
    plan = {
        "vocab_sha256": vocabulary_hash(options.vocabulary),
        "do_lower_case": options.lower_case,
        "strip_accents": options.strip_accents,
        "labels": names,
        "inputs": [f"{os.path.basename(path)}, {sample_checksum(path)[:16]}" for path in paths],
        **augmentation.identity,
    }
    parts = Parts(f"{folder}.augmented", plan)
    parts.fill(rows("train"), counts["train"], augmentation.augmenter)
    print(f"augment: {counts['train']:,} rows gave {parts.count:,} more, kept as text in {parts.folder}")
    return parts
