"""A task's raw files to a folder of record files, one a split."""

import os
from itertools import islice

import numpy as np

from src.data.info import INFO_FILE
from src.data.prepare import Progress, describe_lengths, split_info
from src.data.readers.files import count_rows, find_source, require_source
from src.data.readers.labels import discover_labels
from src.data.readers.split import read_split
from src.data.records import RecordWriter
from src.data.tokenization import TokenizerPool
from src.errors import UserError
from src.files import replacing_folder

CHUNK_ROWS = 2048  # rows tokenized and written at a time: what bounds the memory


def prepare_task(task, data_dir, names, max_seq_length, folder, options):
    """Convert every split, and print what was made.

    Args:
        task (Task): of the task table. data_dir (str): folder with the raw files.
        names (tuple of str): class names of own data in index order, () where the files tell them.
        max_seq_length (int): longest row in tokens, special ones included.
        folder (str): what is written, as `output_folder` gives it; an older one is replaced.
        options (Options)

    Returns:
        names of the splits, in order

    Raises:
        UserError: a file is missing or malformed.
    """
    sources, absent = find_sources(task, data_dir)
    kind, names = discover_labels(task, sources["train"], names, options.bad_rows())
    pool = TokenizerPool(options.vocabulary, options.lower_case, kind, max_seq_length, options.num_workers)
    splits = {}
    with replacing_folder(folder) as temporary, pool:
        for split, source in sources.items():
            bad_rows = options.bad_rows()
            rows = read_split(task, source, kind, names, bad_rows, test=split.startswith("test"))
            writer = RecordWriter(temporary, split, options.dataset_type, kind.columns)
            with Progress(split, count_rows(source), "rows") as progress:
                splits[split] = write_split(writer, pool.map(chunks(rows)), bad_rows, progress)
        options.info(task.name, kind, names, max_seq_length, splits).save(temporary)
    for stem in absent:
        print(f"no {stem} file in {data_dir}: that split was not made")
    listed = f" ({', '.join(names[:6])}{', ...' if len(names) > 6 else ''})" if names else ""
    print(
        f"{task.name}: {kind.describe(kind.outputs(names))}{listed}, at most {max_seq_length} tokens a row, "
        f"{'lower-cased' if options.lower_case else 'case kept'}"
    )
    return list(splits)


def output_folder(output_dir, task, inputs):
    """Where the records go. The folder is replaced as a whole, so it must be new, empty, or an earlier
    result.

    Args:
        inputs (dict): {setting: path} of what is read, which must not lie inside.
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


def find_sources(task, data_dir):
    """({our split name: Source}, names of the optional files that are absent); train and the first dev set
    must exist.
    """
    formats = task.source.formats
    sources, absent = {"train": require_source(data_dir, "train", formats)}, []
    for split, stem in task.eval_splits + task.test_splits:
        find = require_source if split == "eval" else find_source
        source = find(data_dir, stem, formats)
        if source:
            sources[split] = source
        else:
            absent.append(stem)
    return sources, absent


def chunks(rows):
    """An iterator's rows in lists of `CHUNK_ROWS`, the last one shorter."""
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield chunk


def write_split(writer, encoded, bad_rows, progress):
    """Write one split from its (Examples, cut), print its line, and return what dataset.json says of it."""
    rows, cut, labelled, counts = 0, 0, False, np.zeros(1, np.int64)
    for examples, cut_here in encoded:
        writer.write(examples)
        here = np.bincount(examples.lengths, minlength=len(counts))
        here[: len(counts)] += counts
        rows, cut, labelled, counts = rows + len(examples), cut + cut_here, bool(examples.columns), here
        progress.update(len(examples), rows=len(examples))
    writer.close()
    print(
        f"{progress.name}: {rows:,} rows{'' if labelled else ' without labels'}, {bad_rows.count:,} skipped, "
        f"{cut:,} cut; {describe_lengths(counts)}; {progress.rate}"
    )
    if bad_rows.count:
        print(f"  first skipped row: {bad_rows.first}")
    skipped = {"skipped": bad_rows.count} if bad_rows.count else {}
    return {**split_info(rows, labelled, counts, [writer.name]), **skipped}
