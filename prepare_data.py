"""Raw task files (GLUE TSV, Hugging Face parquet, JSON lines), or a text corpus for general distillation, to
record files.
"""

import os
import time
from itertools import groupby, islice

import numpy as np
from tqdm import tqdm

from src.data import corpus
from src.data.pool import available_cores
from src.data.readers import BadRows, count_rows, find_source, label_map, read_split, require_source
from src.data.records import (
    INFO_FILE,
    DatasetInfo,
    Examples,
    RecordWriter,
    import_tensorflow,
    length_histogram,
    offsets_of,
)
from src.data.tokenization import TokenizerPool
from src.errors import UserError, command
from src.files import replacing_folder
from src.settings.parsing import parse, required
from src.settings.tools import PrepareConfig
from src.tasks import CLASSIFICATION, REGRESSION, get_task
from src.vocabulary import is_lower_case, read_vocabulary, vocabulary_hash

CHUNK_ROWS = 2048  # rows tokenized and written at a time: what bounds the memory
PROGRESS_SECONDS = 30  # between two lines where there is no terminal for a bar
TASK_KEYS = ("data_dir", "labels")
CORPUS_KEYS = (
    "input",
    "short_seq_prob",
    "next_sentence",
    "dupe_factor",
    "masked_lm_prob",
    "seed",
    "shard_mb",
)


@command
def main(arguments=None):
    """Parse, and prepare a corpus or a task."""
    settings, notices = parse(PrepareConfig, arguments, "prepare_data.py")
    print(*notices, sep="\n", end="\n" if notices else "")
    required(settings, "task_name")
    if corpus.is_corpus_task(settings.task_name):
        prepare_corpus(settings)
    else:
        prepare_task(settings)


def refuse_unused(settings, names, hint):
    """A `UserError` naming the first of `names` that was given: it belongs to the other kind of data."""
    for name in names:
        if getattr(settings, name) != getattr(PrepareConfig(), name):
            raise UserError(f"{name} does not apply to task_name {settings.task_name}: {hint}")


def lower_cases(settings, vocabulary):
    """Whether the text is lower-cased."""
    return is_lower_case(vocabulary) if settings.do_lower_case == "auto" else settings.do_lower_case


def describe_lengths(counts):
    """Percentiles of rows counted by their length in tokens (index)."""
    share = np.cumsum(counts) / counts.sum()
    percentiles = " / ".join(str(int(np.searchsorted(share, point))) for point in (0.5, 0.9, 0.99))
    return f"length in tokens: median / 90 % / 99 % = {percentiles}, longest {np.flatnonzero(counts)[-1]}"


# --- a task -------------------------------------------------------------------------------------------------


def prepare_task(settings):
    """Check, convert every split, print what was made."""
    task = get_task(settings.task_name)
    refuse_unused(settings, CORPUS_KEYS, "it is for a text corpus (--task_name gd)")
    required(settings, "data_dir", "vocab_file", "output_dir")
    folder = output_folder(settings, task)
    vocabulary = read_vocabulary(settings.vocab_file)
    sources, absent = find_sources(task, settings.data_dir)
    if settings.dataset_type == "tfrecord":
        import_tensorflow()  # missing? say so before any work
    labels = label_map(task, sources["train"], settings.labels, BadRows(settings.skip_bad_rows))
    lower_case = lower_cases(settings, vocabulary)
    max_seq_length = settings.max_seq_length or task.max_seq_length
    workers = settings.num_workers or available_cores()

    splits = {}
    with replacing_folder(folder) as temporary, TokenizerPool(vocabulary, lower_case, workers) as pool:
        for split, source in sources.items():
            rows = read_split(
                task,
                source,
                labels,
                bad_rows := BadRows(settings.skip_bad_rows),
                test=split.startswith("test"),
            )
            encoded = pool.map(chunks(rows), max_seq_length)
            with tqdm(total=count_rows(source), desc=split, unit=" rows", leave=False, disable=None) as bar:
                splits[split] = write_split(temporary, split, encoded, settings.dataset_type, labels, bar)
            report(split, splits[split], bad_rows)
        DatasetInfo(
            task.name,
            labels.head,
            labels.names,
            vocabulary_hash(vocabulary),
            len(vocabulary),
            lower_case,
            max_seq_length,
            {name: made["info"] for name, made in splits.items()},
        ).save(temporary)
    for name in absent:
        print(f"no {name} file in {settings.data_dir}: that split was not made")
    classes = (
        f"{len(labels.names)} classes "
        f"({', '.join(labels.names[:6])}{', ...' if len(labels.names) > 6 else ''})"
        if labels.names
        else "regression"
    )
    print(
        f"{task.name}: {classes}, at most {max_seq_length} tokens a row, "
        f"{'lower-cased' if lower_case else 'case kept'}"
    )
    print(
        f"wrote {', '.join(splits)} as {settings.dataset_type} to {folder}; next: python "
        f"run_task_distill.py --task_name {task.name} --train_data_dir {folder} --eval_data_dir {folder} "
        "--load_teacher_ckpt_path TEACHER"
    )


def output_folder(settings, task):
    """Where the records go. The folder is replaced as a whole, so it must be new, empty, or an earlier
    result.
    """
    folder = os.path.join(settings.output_dir, task.folder)
    inside = os.path.realpath(folder) + os.sep
    for name in ("data_dir", "vocab_file"):
        path = getattr(settings, name)
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
    sources, absent = {"train": require_source(data_dir, "train")}, []
    for split, stem in task.eval_splits + task.test_splits:
        source = require_source(data_dir, stem) if split == "eval" else find_source(data_dir, stem)
        if source:
            sources[split] = source
        else:
            absent.append(stem)
    return sources, absent


def chunks(rows):
    """Rows in groups: (texts, pairs or None, labels or None) with the last one passed through the tokenizer
    as it is.
    """
    while chunk := list(islice(rows, CHUNK_ROWS)):
        texts, pairs, labels, _ = zip(*chunk)
        yield (
            list(texts),
            None if all(pair is None for pair in pairs) else list(pairs),
            None if labels[0] is None else np.array(labels),
        )


def write_split(folder, split, encoded, dataset_type, labels, bar):
    """Write one split's record file from tokenized chunks; what the report and dataset.json say about it, as
    a dict.
    """
    writer = RecordWriter(folder, split, dataset_type, labels.head == REGRESSION)
    start, cut, rows, labelled, counts = time.monotonic(), 0, 0, False, np.zeros(1, np.int64)
    for (input_ids, segment_ids, lengths, cut_here), label in encoded:
        examples = Examples(input_ids, segment_ids, offsets_of(lengths), label)
        writer.write(examples)
        here = np.bincount(lengths, minlength=len(counts))
        here[: len(counts)] += counts
        counts, cut, rows, labelled = here, cut + cut_here, rows + len(examples), label is not None
        bar.update(len(examples))
    writer.close()
    return {
        "info": {
            "rows": rows,
            "labelled": labelled,
            "length_histogram": length_histogram(counts),
            "files": [writer.name],
        },
        "counts": counts,
        "cut": cut,
        "seconds": time.monotonic() - start,
    }


def report(split, made, bad_rows):
    """Print one split's line of the summary."""
    rows = made["info"]["rows"]
    print(
        f"{split}: {rows:,} rows{'' if made['info']['labelled'] else ' without labels'}, "
        f"{bad_rows.count:,} skipped, {made['cut']:,} cut; {describe_lengths(made['counts'])}; "
        f"{rows / max(made['seconds'], 1e-9):,.0f} rows/s"
    )
    if bad_rows.count:
        print(f"  first skipped row: {bad_rows.first}")


# --- a corpus -----------------------------------------------------------------------------------------------


def prepare_corpus(settings):
    """Check, pack the corpus into the shards that are lacking, print what was made."""
    refuse_unused(settings, TASK_KEYS, "a text corpus is given by --input and has no classes")
    required(settings, "input", "vocab_file", "output_dir")
    files, folder = corpus.find_files(settings.input), os.path.join(settings.output_dir, corpus.FOLDER)
    for path in settings.input:
        if (os.path.realpath(folder) + os.sep).startswith(os.path.realpath(path) + os.sep):
            raise UserError(
                f"output_dir: {folder} lies inside the input {path} and would be read as text; choose "
                "another one"
            )
    vocabulary = read_vocabulary(settings.vocab_file)
    recipe, lower_case = corpus_recipe(settings, vocabulary), lower_cases(settings, vocabulary)
    shards = corpus.ShardFolder(
        folder,
        corpus.make_plan(
            files, vocabulary_hash(vocabulary), lower_case, settings.dataset_type, settings.shard_mb, recipe
        ),
    )
    if shards.complete:
        print(
            f"{folder} is complete: {shards.total('rows'):,} rows in {len(shards.files)} files; nothing to do"
        )
        return
    if settings.dataset_type == "tfrecord":
        import_tensorflow()  # missing? say so before any work
    if shards.shards:
        print(f"{folder} has {len(shards.shards)} finished shards; continuing with the others")
    bad_rows, progress = BadRows(settings.skip_bad_rows), Progress(sum(file.size for file in files))
    workers = settings.num_workers or available_cores()
    with shards.only_writer(), corpus.BlockPool((vocabulary, lower_case, recipe), workers) as pool:
        write_shards(shards, files, bad_rows, corpus.block_sizes(recipe, settings.shard_mb), pool, progress)
    progress.close()
    if not shards.total("rows"):
        shards.discard()
        raise UserError(f"input: {', '.join(settings.input)} holds no text")
    train = {
        "rows": shards.total("rows"),
        "labelled": recipe.next_sentence,
        "length_histogram": length_histogram(shards.lengths),
        "files": shards.files,
    }
    DatasetInfo(
        corpus.FOLDER,
        CLASSIFICATION,
        (),
        vocabulary_hash(vocabulary),
        len(vocabulary),
        lower_case,
        recipe.max_seq_length,
        {"train": train},
    ).save(folder)
    report_corpus(shards, bad_rows, progress, settings)


def corpus_recipe(settings, vocabulary):
    """The `Recipe` that the settings ask for."""
    length = settings.max_seq_length or 128
    if length < 8:
        raise UserError(
            f"max_seq_length {length} leaves no room for two texts between [CLS] and [SEP]; give 8 or more"
        )
    if settings.masked_lm_prob and "[MASK]" not in vocabulary:
        raise UserError(f"masked_lm_prob: the vocabulary {settings.vocab_file} has no [MASK]")
    # jsonargparse's range-checked numbers are classes of their own.
    return corpus.Recipe(
        int(length),
        float(settings.short_seq_prob),
        settings.next_sentence,
        int(settings.dupe_factor),
        float(settings.masked_lm_prob),
        int(settings.seed),
    )


def write_shards(shards, files, bad_rows, sizes, pool, progress):
    """Pack the blocks of the shards that are lacking; a shard is some consecutive blocks (`sizes` as from
    `corpus.block_sizes`).
    """
    block_bytes, blocks_per_shard = sizes

    def lacking():
        for block in corpus.read_blocks(files, bad_rows, block_bytes):
            if block.number // blocks_per_shard in shards.shards:
                progress.skip(block)
            else:
                yield block

    for number, results in groupby(pool.map(lacking()), lambda result: result[1].number // blocks_per_shard):
        with shards.shard(number) as shard:
            for packed, block in results:
                shard.write(packed)
                progress.update(block, len(packed.examples))


class Progress:
    """How fast it goes and how long it will take: a bar on a terminal, elsewhere a line every
    `PROGRESS_SECONDS`.

    Args:
        total (int): bytes of the files, as they are on disk.
    """

    def __init__(self, total):
        self._bar = tqdm(
            total=total, desc=corpus.FOLDER, unit="B", unit_scale=True, leave=False, disable=None
        )
        self._total, self._skipped, self._done, self._rows, self._lines = total, 0, 0, 0, 0
        self._start = self._printed = time.monotonic()

    def skip(self, block):
        """A block that needs no work."""
        self._skipped += block.read_bytes
        self._bar.initial = self._bar.n = self._bar.last_print_n = self._skipped + self._done
        if not self._rows:
            self._start = self._bar.start_t = time.monotonic()

    def update(self, block, rows):
        """A block that is written."""
        self._done, self._rows, self._lines = (
            self._done + block.read_bytes,
            self._rows + rows,
            self._lines + block.lines,
        )
        self._bar.set_postfix_str(self.rate, refresh=False)
        self._bar.update(block.read_bytes)
        now = time.monotonic()
        if self._bar.disable and now - self._printed >= PROGRESS_SECONDS:
            self._printed, position = now, self._skipped + self._done
            left = tqdm.format_interval((now - self._start) / max(self._done, 1) * (self._total - position))
            print(
                f"{corpus.FOLDER}: {100 * position / self._total:.1f} % of the input, {self.rate}, {left} "
                "left",
                flush=True,
            )

    @property
    def rate(self):
        """Lines and rows a second, without what was skipped."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        return f"{self._lines / seconds:,.0f} lines/s, {self._rows / seconds:,.0f} rows/s"

    def close(self):
        """Remove the bar."""
        self._bar.close()


def report_corpus(shards, bad_rows, progress, settings):
    """Print the summary."""
    documents, sentences, cut, rows = (shards.total(key) for key in ("documents", "sentences", "cut", "rows"))
    print(
        f"corpus: {documents:,} documents, {sentences:,} sentences ({cut:,} longer than a row, cut into "
        f"several), {shards.total('tokens'):,} tokens, {bad_rows.count:,} lines skipped"
    )
    if bad_rows.count:
        print(f"  first skipped line: {bad_rows.first}")
    print(f"train: {rows:,} rows; {describe_lengths(shards.lengths)}; {progress.rate}")
    print(
        f"wrote {len(shards.files)} {settings.dataset_type} files to {shards.folder}; next: python "
        f"run_general_distill.py --data_dir {shards.folder} --load_teacher_ckpt_path TEACHER"
    )


if __name__ == "__main__":
    main()
