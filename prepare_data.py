"""Raw task files (GLUE TSV, Hugging Face parquet, JSON lines) to the record files that training and evaluation read."""
import os
import time
from itertools import islice

import numpy as np
from tqdm import tqdm

from src.config import PrepareConfig, parse, required
from src.data.readers import BadRows, count_rows, find_source, label_map, read_split, require_source
from src.data.records import INFO_FILE, DatasetInfo, Examples, RecordWriter, import_tensorflow, length_histogram, offsets_of
from src.data.tokenization import TokenizerPool
from src.errors import UserError, command
from src.files import replacing_folder
from src.tasks import REGRESSION, get_task
from src.vocabulary import is_lower_case, read_vocabulary, vocabulary_hash

CHUNK_ROWS = 2048  # rows tokenized and written at a time: what bounds the memory


@command
def main(arguments=None):
    """Parse, check, convert every split, print what was made."""
    settings, notices = parse(PrepareConfig, arguments, "prepare_data.py")
    print(*notices, sep="\n", end="\n" if notices else "")
    required(settings, "task_name", "data_dir", "vocab_file", "output_dir")
    task = get_task(settings.task_name)
    folder = output_folder(settings, task)
    vocabulary = read_vocabulary(settings.vocab_file)
    sources, absent = find_sources(task, settings.data_dir)
    if settings.dataset_type == "tfrecord":
        import_tensorflow()  # missing? say so before any work
    labels = label_map(task, sources["train"], settings.labels, BadRows(settings.skip_bad_rows))
    lower_case = is_lower_case(vocabulary) if settings.do_lower_case == "auto" else settings.do_lower_case
    max_seq_length = settings.max_seq_length or task.max_seq_length
    workers = settings.num_workers or os.cpu_count() or 1

    splits = {}
    with replacing_folder(folder) as temporary, TokenizerPool(vocabulary, lower_case, workers) as pool:
        for split, source in sources.items():
            rows = read_split(task, source, labels, bad_rows := BadRows(settings.skip_bad_rows), test=split.startswith("test"))
            encoded = pool.map(chunks(rows), max_seq_length)
            with tqdm(total=count_rows(source), desc=split, unit=" rows", leave=False, disable=None) as bar:
                splits[split] = write_split(temporary, split, encoded, settings.dataset_type, labels, bar)
            report(split, splits[split], bad_rows)
        DatasetInfo(task.name, labels.head, labels.names, vocabulary_hash(vocabulary), len(vocabulary), lower_case,
                    max_seq_length, {name: made["info"] for name, made in splits.items()}).save(temporary)
    for name in absent:
        print(f"no {name} file in {settings.data_dir}: that split was not made")
    classes = f"{len(labels.names)} classes ({', '.join(labels.names[:6])}{', ...' if len(labels.names) > 6 else ''})" \
        if labels.names else "regression"
    print(f"{task.name}: {classes}, at most {max_seq_length} tokens a row, {'lower-cased' if lower_case else 'case kept'}")
    print(f"wrote {', '.join(splits)} as {settings.dataset_type} to {folder}; next: python run_task_distill.py --task_name "
          f"{task.name} --train_data_dir {folder} --eval_data_dir {folder} --load_teacher_ckpt_path TEACHER")


def output_folder(settings, task):
    """Where the records go. The folder is replaced as a whole, so it must be new, empty, or an earlier result."""
    folder = os.path.join(settings.output_dir, task.folder)
    inside = os.path.realpath(folder) + os.sep
    for name in ("data_dir", "vocab_file"):
        path = getattr(settings, name)
        if (os.path.realpath(path) + os.sep).startswith(inside):
            raise UserError(f"output_dir: the records would replace {folder}, which holds {name} {path}; choose another one")
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UserError(f"output_dir: {folder} is a file")
    if os.path.isdir(folder) and os.listdir(folder) and not os.path.exists(os.path.join(folder, INFO_FILE)):
        raise UserError(f"output_dir: {folder} exists and is no earlier result of prepare_data.py; move it away or choose "
                        f"another output_dir")
    return folder


def find_sources(task, data_dir):
    """({our split name: Source}, names of the optional files that are absent); train and the first dev set must exist."""
    sources, absent = {"train": require_source(data_dir, "train")}, []
    for split, stem in task.eval_splits + task.test_splits:
        source = require_source(data_dir, stem) if split == "eval" else find_source(data_dir, stem)
        if source:
            sources[split] = source
        else:
            absent.append(stem)
    return sources, absent


def chunks(rows):
    """Rows in groups: (texts, pairs or None, labels or None) with the last one passed through the tokenizer as it is."""
    while chunk := list(islice(rows, CHUNK_ROWS)):
        texts, pairs, labels, _ = zip(*chunk)
        yield (list(texts), None if all(pair is None for pair in pairs) else list(pairs),
               None if labels[0] is None else np.array(labels))


def write_split(folder, split, encoded, dataset_type, labels, bar):
    """Write one split's record file from tokenized chunks; what the report and dataset.json say about it, as a dict."""
    writer = RecordWriter(folder, split, dataset_type, labels.head == REGRESSION)
    start, cut, rows, labelled, counts = time.monotonic(), 0, 0, False, np.zeros(1, np.int64)
    for (input_ids, segment_ids, lengths, cut_here), label in encoded:
        examples = Examples(input_ids, segment_ids, offsets_of(lengths), label)
        writer.write(examples)
        here = np.bincount(lengths, minlength=len(counts))
        here[:len(counts)] += counts
        counts, cut, rows, labelled = here, cut + cut_here, rows + len(examples), label is not None
        bar.update(len(examples))
    writer.close()
    return {"info": {"rows": rows, "labelled": labelled, "length_histogram": length_histogram(counts), "files": [writer.name]},
            "counts": counts, "cut": cut, "seconds": time.monotonic() - start}


def report(split, made, bad_rows):
    """Print one split's line of the summary."""
    counts, rows = made["counts"], made["info"]["rows"]
    share = np.cumsum(counts) / rows
    percentiles = " / ".join(str(int(np.searchsorted(share, point))) for point in (0.5, 0.9, 0.99))
    print(f"{split}: {rows:,} rows{'' if made['info']['labelled'] else ' without labels'}, {bad_rows.count:,} skipped, "
          f"{made['cut']:,} cut; length in tokens: median / 90 % / 99 % = {percentiles}, longest {len(counts) - 1}; "
          f"{rows / max(made['seconds'], 1e-9):,.0f} rows/s")
    if bad_rows.count:
        print(f"  first skipped row: {bad_rows.first}")


if __name__ == "__main__":
    main()
