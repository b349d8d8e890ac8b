"""Raw task files (GLUE TSV, CLUE's and other JSON lines, Hugging Face parquet, words with tags), or a text
corpus for general distillation, to record files; a task's training rows with more of them where words are
replaced, on request.
"""

from dataclasses import fields

from src.data.augment.augmenter import Augmentation
from src.data.corpus.packing import Recipe
from src.data.next_step import what_next
from src.data.pool import available_cores
from src.data.prepare import Options
from src.data.prepare_corpus import is_corpus_task, prepare_corpus
from src.data.prepare_task import has_dev_only, output_folder, prepare_task
from src.data.record_writer import import_tensorflow
from src.errors import UserError, command
from src.kinds.base import Windows
from src.settings.parsing import parse, part, required
from src.settings.tools import AugmentConfig, PrepareConfig
from src.tasks import get_task
from src.tokenizer_files import form_beside
from src.vocabulary import model_beside, read_vocabulary

AUGMENT_KEYS = tuple(item.name for item in fields(AugmentConfig))
TASK_KEYS = ("data_dir", "labels", "doc_stride", "max_query_length", *AUGMENT_KEYS)
CORPUS_KEYS = ("input", "short_seq_prob", "next_sentence", "dupe_factor", "masked_lm_prob", "shard_mb")


@command
def main(arguments: list[str] | None = None) -> None:
    """Parse, and prepare a corpus or a task."""
    settings, notices = parse(PrepareConfig, arguments, "prepare_data.py")
    print(*notices, sep="\n", end="\n" if notices else "")
    required(settings, "task_name")
    (make_corpus if is_corpus_task(settings.task_name) else make_task)(settings)


def make_task(settings: PrepareConfig) -> None:
    """A task's raw files to records."""
    task = get_task(settings.task_name)
    keys = CORPUS_KEYS if settings.augment else (*CORPUS_KEYS, "seed")
    refuse_unused(settings, keys, "it is for a text corpus (--task_name gd)")
    required(settings, "data_dir", "vocab_file", "output_dir")
    inputs = {"data_dir": settings.data_dir, "vocab_file": settings.vocab_file}
    folder = output_folder(settings.output_dir, task, inputs)
    max_seq_length = settings.max_seq_length or task.max_seq_length
    options = options_of(settings)
    more = augmentation(settings, options, max_seq_length)
    given = task, settings.data_dir, settings.labels, max_seq_length, folder, options, more
    splits = prepare_task(*given, train="train" if more or not has_dev_only(settings.data_dir, task) else "")
    next_step = what_next(task, folder, model_beside(settings.vocab_file))
    print(f"wrote {', '.join(splits)} as {settings.dataset_type} to {folder}; next: {next_step}")


def augmentation(settings: PrepareConfig, options: Options, max_seq_length: int) -> Augmentation | None:
    """The `Augmentation` of the training rows; None where none is wanted."""
    if not settings.augment:
        refuse_unused(settings, AUGMENT_KEYS, "it is for --augment")
        return None
    from src.masked_lm import load_augmentation  # and MindSpore, which the processes that tokenize do without

    return load_augmentation(part(settings, AugmentConfig), settings.seed, options, max_seq_length)


def make_corpus(settings: PrepareConfig) -> None:
    """A text corpus to records."""
    refuse_unused(settings, TASK_KEYS, "a text corpus is given by --input and has no labels")
    required(settings, "input", "vocab_file", "output_dir")
    options = options_of(settings)
    if settings.masked_lm_prob and "[MASK]" not in options.vocabulary:
        raise UserError(f"masked_lm_prob: the vocabulary {settings.vocab_file} has no [MASK]")
    # jsonargparse's range-checked numbers are classes of their own.
    recipe = Recipe(
        int(settings.max_seq_length or 128),
        float(settings.short_seq_prob),
        settings.next_sentence,
        int(settings.dupe_factor),
        float(settings.masked_lm_prob),
        int(settings.seed),
    )
    shards = prepare_corpus(settings.input, recipe, int(settings.shard_mb), settings.output_dir, options)
    if shards is None:
        return
    print(
        f"wrote {len(shards.files)} {settings.dataset_type} files to {shards.folder}; next: python "
        f"run_general_distill.py --data_dir {shards.folder} "
        f"--load_teacher_ckpt_path {model_beside(settings.vocab_file)}"
    )


def options_of(settings: PrepareConfig) -> Options:
    """The `Options` that both kinds of data have."""
    vocabulary = read_vocabulary(settings.vocab_file)
    form = form_beside(settings.vocab_file, vocabulary)
    assert form.lower_case is not None  # the vocabulary tells, if nothing else
    print(*(f"note: {notice}" for notice in form.notices), sep="\n", end="\n" if form.notices else "")
    if settings.dataset_type == "tfrecord":
        import_tensorflow()  # missing? say so before any work
    return Options(
        tuple(vocabulary),
        form.lower_case if settings.do_lower_case == "auto" else settings.do_lower_case,
        settings.dataset_type,
        settings.skip_bad_rows,
        settings.num_workers or available_cores(),
        Windows(int(settings.doc_stride), int(settings.max_query_length)),
        form.strip_accents,
    )


def refuse_unused(settings: PrepareConfig, names: tuple[str, ...], hint: str) -> None:
    """A `UserError` naming the first of `names` that was given: it belongs to the other kind of data."""
    for name in names:
        if getattr(settings, name) != getattr(PrepareConfig(), name):
            raise UserError(f"{name} does not apply to task_name {settings.task_name}: {hint}")


if __name__ == "__main__":
    main()
