"""A task's raw files to a folder of record files, one a split."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

import numpy as np

from src.checksums import notes
from src.data.augment.augmenter import Augmentation
from src.data.augment.split import augment_split
from src.data.info import INFO_FILE, Split
from src.data.origins import append_texts, texts_file, texts_in
from src.data.prepare import CountingBar, Options, describe_lengths, split_info
from src.data.readers.files import BESIDE, Source, count_rows, find_source, require_source
from src.data.readers.labels import discover_labels
from src.data.readers.rows import BadRows, Row
from src.data.readers.split import read_split
from src.data.record_writer import RecordWriter
from src.data.tokenization import Encoded
from src.errors import UserError, listed
from src.files import replacing_folder
from src.kinds.base import BERT_WINDOWS, TaskKind
from src.tasks import Task
from src.terminal import say

CHUNK_ROWS = 2048  # rows tokenized and written at a time: what bounds the memory


def prepare_task(
    task: Task,
    data_dir: str,
    names: tuple[str, ...],
    longest: int,
    folder: str,
    options: Options,
    augmentation: Augmentation | None = None,
    train: str = "train",
    dev: bool = True,
) -> list[str]:
    """Convert every split, print what was made, and give the names of the splits in order.

    Args:
        data_dir: folder with the raw files.
        names: class names of own data in index order, () where the files tell them.
        longest: longest row in tokens, special ones included.
        folder: what is written, as `output_folder` gives it; an older one is replaced.
        augmentation: adds rows to the training split.
        train: stem of the training file, "" for none. dev: whether there must be a dev set.

    Raises:
        UserError: a file is missing or malformed.
    """
    sources, absent = find_sources(task, data_dir, train, dev)
    kind, names = discover_labels(task, sources["train" if train else "eval"], names, options.bad_rows())
    if options.windows != BERT_WINDOWS and not kind.needs_texts:
        raise UserError(f"doc_stride, max_query_length: they are for questions; {task.name} has none")
    added = augment_split(augmentation, task, sources, kind, names, folder, options) if augmentation else None
    splits: dict[str, Split] = {}
    with replacing_folder(folder) as temporary, options.pool(kind, longest) as pool:
        for split, source in sources.items():
            bad_rows = options.bad_rows()
            rows = read_split(task, source, kind, names, bad_rows, test=split.startswith("test"))
            writer = RecordWriter(temporary, split, options.dataset_type, kind.columns)
            total = count_rows(source)
            if added and split == "train":
                rows, total = chain(rows, added.rows()), total + added.count
            texts = texts_file(temporary, split) if kind.needs_texts and split != "train" else ""
            tally = AnswerTally(kind)
            encoded = tally.kept(pool.map(chunks(tally.given(rows))))
            with CountingBar(split, total, "row") as progress:
                splits[split] = write_split(writer, encoded, bad_rows, progress, texts)
            tally.tell()
        options.info(task.name, kind, names, longest, splits, notes(temporary)).save(temporary)
    for stem in absent:
        print(f"no {stem} file in {data_dir}: that split was not made")
    _say_what(task, kind, names, longest, options.lower_case)
    return list(splits)


def _say_what(task: Task, kind: TaskKind, names: tuple[str, ...], longest: int, lower_case: bool) -> None:
    """Print one line about what was made."""
    named = f" ({listed(names[:6])}{', ...' if len(names) > 6 else ''})" if names else ""
    print(
        f"{task.name}: {kind.describe(kind.outputs(names))}{named}, at most {longest} tokens a row, "
        f"{'lower-cased' if lower_case else 'case kept'}"
    )


def output_folder(output_dir: str, task: Task, inputs: Mapping[str, str]) -> str:
    """Where the records go. The folder is replaced as a whole, so it must be new, empty, or an earlier
    result.

    Args:
        inputs: {setting: path} of what is read, which must not lie inside.
    """
    folder = os.path.join(output_dir, task.folder)
    inside = os.path.realpath(folder) + os.sep
    for name, path in inputs.items():
        if (os.path.realpath(path) + os.sep).startswith(inside):
            raise UserError(
                f"output_dir: the records would replace {folder}, which holds {name} {path}; choose "
                "another one"
            )
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UserError(f"output_dir: {folder} is a file")
    if os.path.isdir(folder) and os.listdir(folder) and not os.path.exists(os.path.join(folder, INFO_FILE)):
        raise UserError(
            f"output_dir: {folder} exists and is no earlier result of prepare_data.py; move it away or "
            "choose another output_dir"
        )
    return folder


def find_sources(
    task: Task, data_dir: str, train: str = "train", dev: bool = True
) -> tuple[dict[str, Source], list[str]]:
    """({our split name: Source}, names of the optional files that are absent); train and, where it is needed,
    the first dev set must exist. `train`, `dev` as in `prepare_task`.
    """
    formats = task.source.formats
    sources = {"train": require_source(data_dir, train, formats)} if train else {}
    absent = []
    for split, stem in task.eval_splits + (task.test_splits if train else ()):
        find = require_source if split == "eval" and dev else find_source
        source = find(data_dir, stem, formats)
        if source:
            sources[split] = source
        else:
            absent.append(stem)
    return sources, absent


def has_dev_only(folder: str, task: Task) -> bool:
    """Whether a folder has the raw dev set of a task and no training file, as for a model that is finished;
    then it is said.
    """
    (_, dev), formats = task.eval_splits[0], task.source.formats
    if find_source(folder, "train", formats) or not find_source(folder, dev, formats):
        return False
    labels = ", whose labels count (--labels names more)" if task.is_own else ""
    say(f"no train file in {folder}: the dev set alone is prepared{labels}")
    return True


def holds_raw(folder: str, task: Task) -> bool:
    """Whether a folder has any raw file of a task."""
    stems = ["train", "train_aug", *(stem for _, stem in task.eval_splits + task.test_splits)]
    return any(find_source(folder, stem, task.source.formats) for stem in stems if stem not in BESIDE)


class AnswerTally:
    """How many answers inside texts, as entities, no record holds.

    Args:
        kind: what is counted.
    """

    def __init__(self, kind: TaskKind):
        self._kind, self.lost = kind, 0

    def given(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The `rows`, passing by."""
        for row in rows:
            self.lost += self._kind.count_answers(row.label)
            yield row

    def kept(self, encoded: Iterable[Encoded]) -> Iterator[Encoded]:
        """What is made of them, passing by."""
        for examples, cut in encoded:
            self.lost -= self._kind.kept_answers(examples)
            yield examples, cut

    def tell(self) -> None:
        """Print what was lost, if anything was."""
        if self.lost:
            print(
                f"  {self.lost:,} {self._kind.answers_called} lost: cut off (a larger --max_seq_length keeps "
                "them) or without a token"
            )


def chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """An iterator's rows in lists of `CHUNK_ROWS`, the last one shorter."""
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield chunk


def write_split(
    writer: RecordWriter,
    encoded: Iterable[Encoded],
    bad_rows: BadRows,
    progress: CountingBar,
    texts: str = "",
) -> Split:
    """Write one split, print its line, and return what dataset.json says of it.

    Args:
        texts: where the texts go that rows are windows of; "" where nobody reads them.
    """
    rows, cut, labelled, counts, whole = 0, 0, False, np.zeros(1, np.int64), 0
    with open(texts, "w", encoding="utf-8", newline="\n") if texts else contextlib.nullcontext() as file:
        for examples, cut_here in encoded:
            writer.write(examples)
            if file:
                append_texts(file, examples)
            here = np.bincount(examples.lengths, minlength=len(counts))
            here[: len(counts)] += counts
            rows, cut, labelled, counts = rows + len(examples), cut + cut_here, bool(examples.columns), here
            whole += texts_in(examples)
            progress.update(texts_in(examples) or len(examples), rows=len(examples))
    writer.close()
    windows = f" of {whole:,} texts" if whole else ""
    say(
        f"{progress.name}: {rows:,} rows{windows}{'' if labelled else ' without labels'}, "
        f"{bad_rows.count:,} skipped, "
        f"{cut:,} cut; {describe_lengths(counts)}; {progress.rate}"
    )
    if bad_rows.count:
        say(f"  first skipped row: {bad_rows.first}")
    for what, (count, where) in bad_rows.notes.items():
        say(f"  {count:,} {what}; the first: {where}")
    split = split_info(rows, labelled, counts, [writer.name])
    if bad_rows.count:
        split["skipped"] = bad_rows.count
    return split
