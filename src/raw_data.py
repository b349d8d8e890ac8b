"""Raw files where a command expects records: they are prepared on the way, as the model reads texts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Optional, Tuple, TypeVar

from src.checkpoint.formats import read_any
from src.data.info import DatasetInfo
from src.data.pool import available_cores
from src.data.prepare import Options
from src.data.prepare_task import holds_raw, output_folder, prepare_task
from src.data.records import has_records
from src.errors import UserError
from src.kinds import CLASSIFICATION
from src.kinds.base import Windows
from src.run_folder import RECORDS, RunFolder
from src.settings.network import Known
from src.settings.parsing import part, required
from src.settings.shared import RawDataConfig, TextsConfig
from src.settings.tools import EvaluateConfig
from src.settings.training import RunConfig
from src.tasks import Task, get_task, task_folder
from src.tokenizer_files import form_beside
from src.vocabulary import is_lower_case, read_vocabulary

if TYPE_CHECKING:
    from src.description import Description
    from src.model import Model

R = TypeVar("R", bound=RunConfig)
_NEW_HEAD = ("load_ckpt_path", "vocab_file")
"""Settings that name what gets a new head, so that the labels of its old one do not count."""


@dataclass(frozen=True)
class Reading:
    """How a model reads texts."""

    vocabulary: Tuple[str, ...]
    lower_case: bool
    strip_accents: Optional[bool]
    """None: where the text is lower-cased."""
    positions: int
    """Tokens of the longest row it takes; 0: any number."""
    labels: Tuple[str, ...] = ()
    """Of the user's own data: the classes it knows, in its order; () for those that the data name."""

    @classmethod
    def of(cls, description: Description, vocabulary: Sequence[str] | None, task: Task, key: str) -> Reading:
        """Of a model with this `Description` and these tokens, which the setting `key` names."""
        if vocabulary is None:
            raise UserError(
                f"{key}: {description.source} has no vocab.txt, which raw texts need; put its own one there"
            )
        bert, said = description.bert, description.do_lower_case
        own = task.is_own and description.kind is CLASSIFICATION and key not in _NEW_HEAD
        return cls(
            tuple(vocabulary),
            is_lower_case(vocabulary) if said is None else said,
            description.strip_accents,
            0 if bert.use_relative_positions else bert.max_position_embeddings,
            description.labels if own else (),
        )

    @classmethod
    def named(cls, path: str, task: Task, key: str, known: Known) -> Reading:
        """Of the model, or the vocabulary, at `path`; further arguments as in `of` and `read_any`."""
        if key == "vocab_file":
            vocabulary = read_vocabulary(path)
            form = form_beside(path, vocabulary)
            for notice in form.notices:
                print(f"note: {notice}")
            assert form.lower_case is not None  # the vocabulary tells, if nothing else
            return cls(tuple(vocabulary), form.lower_case, form.strip_accents, 0)
        checkpoint = read_any(path, known).checkpoint
        return cls.of(checkpoint.description, checkpoint.vocabulary, task, key)

    def write(
        self,
        task: Task,
        folder: str,
        records: str,
        config: RunConfig | EvaluateConfig,
        train: str,
        dev: bool = True,
    ) -> None:
        """Write the raw files in `folder` as the folder `records`.

        Args:
            train (str), dev (bool): as for `prepare_task`.
        """
        lower_case, own = config.do_lower_case, task.max_seq_length
        options = Options(
            self.vocabulary,
            self.lower_case if lower_case == "auto" else lower_case,
            "mindrecord" if config.dataset_type == "auto" else config.dataset_type,
            False,
            int(config.num_workers) or available_cores(),
            Windows(int(config.doc_stride), int(config.max_query_length)),
            self.strip_accents,
        )
        longest = int(config.max_seq_length) or min(own, self.positions or own)
        prepare_task(task, folder, self.labels, longest, records, options, train=train, dev=dev)


def as_records(
    settings: R, keys: Sequence[str], model_key: str, known: Known, name: str, networks: Sequence[str] = ()
) -> R:
    """`settings` of a command that trains on a task, with records in the place of raw data.

    Args:
        settings: their output_dir, the run folder, takes the records. keys: those that name data folders.
        model_key: the one that names what reads the texts, a model or a vocabulary. known: what the user
            says of it. name, networks: as for `Session.open`.

    Raises:
        UserError: a set is missing or malformed, raw data lie in two folders, or records are not as wanted.
    """
    required(settings, "task_name")
    task, read = get_task(settings.task_name), set(keys)
    if not settings.do_train:
        read -= set(keys) if not settings.do_eval else {"train_data_dir"}
    folders = {
        key: task_folder(path, task) for key in keys if (path := getattr(settings, key)) and key in read
    }
    raw = {key: folder for key, folder in folders.items() if _is_raw(key, folder, task)}
    for key in folders.keys() - raw.keys():
        _check_as_wanted(key, folders[key], part(settings, RawDataConfig))
    if not raw:
        return settings
    if len({os.path.realpath(folder) for folder in raw.values()}) > 1:
        raise UserError(
            f"{', '.join(raw)}: raw files are prepared together, so give one folder that holds the training "
            f"and the dev set, not {' and '.join(raw.values())}"
        )
    key, folder = next(iter(raw.items()))
    if settings.distribute:
        raise UserError(
            f"{key}: {folder} holds raw files, and several processes train; prepare them once, by "
            f"prepare_data.py --task_name {task.name} --data_dir {folder} --vocab_file VOCAB_FILE "
            "--output_dir DATA_DIR"
        )
    path = task_folder(getattr(settings, model_key), task)
    run = settings.output_dir or os.path.join("output", f"{name}-{task.folder}")
    said = settings.resume, settings.overwrite_output_dir
    RunFolder(run, True, *said, {model_key: path}, networks=networks).claim()  # what is refused now
    records = output_folder(os.path.join(run, RECORDS), task, {**raw, model_key: path})
    train = "" if not settings.do_train else "train_aug" if settings.aug_train else "train"
    dev = settings.do_eval or "eval_data_dir" in raw
    Reading.named(path, task, model_key, known).write(task, folder, records, settings, train, dev)
    print(
        f"{key}: {folder} holds raw files; their records, as {path} reads texts, are in {records}", flush=True
    )
    prepared: dict[str, Any] = dict.fromkeys(raw, records)
    return replace(settings, **prepared)


@contextmanager
def dev_records(settings: EvaluateConfig, folder: str, task: Task, model: Model) -> Iterator[str]:
    """Yield the folder of a task's dev records: `folder` or, of raw files, one that lasts as long as this.

    Args:
        folder (str): records or raw files.
        task (Task): of the table. model (Model): what reads the texts.
    """
    if not _is_raw("data_dir", folder, task):
        _check_as_wanted("data_dir", folder, part(settings, TextsConfig))
        yield folder
        return
    reading = Reading.of(model.description, model.vocabulary, task, "model_dir")
    with tempfile.TemporaryDirectory() as temporary:
        records = os.path.join(temporary, task.folder)
        reading.write(task, folder, records, settings, train="")
        print(
            f"data_dir: {folder} holds raw files; its dev set is read as {model.source} reads texts",
            flush=True,
        )
        yield records


def _is_raw(key, folder, task):
    """Whether a folder holds raw files, which are to be prepared.

    Raises:
        UserError: it holds neither these nor records.
    """
    if not os.path.isdir(folder) or has_records(folder):
        return False
    if not holds_raw(folder, task):
        names = sorted(os.listdir(folder))
        endings = ", ".join(f"train.{ending}" for ending in task.source.formats if ending[0] != "-")
        raise UserError(
            f"{key}: {folder} holds neither records of {task.name} nor its raw files ({endings}); it holds "
            f"{', '.join(names[:20]) or 'nothing'}{', ...' if len(names) > 20 else ''}"
        )
    return True


def _check_as_wanted(key, folder, config):
    """Refuse settings for raw files (a `TextsConfig`) that records were not prepared with."""
    if not os.path.isdir(folder):  # which is told where they are read
        return
    info, plain = DatasetInfo.load(folder), type(config)()
    for name, value in vars(config).items():
        if value not in (getattr(plain, name), getattr(info, name, None)) and name != "num_workers":
            raise UserError(
                f"{name}: {key} {folder} holds records, which stay as they were prepared; leave --{name} "
                "out, or give a folder of raw files"
            )
