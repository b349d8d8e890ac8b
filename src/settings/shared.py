"""Settings that several commands have: device, group, ModelArts job, records and their batches."""

from dataclasses import dataclass
from typing import Literal, Optional, Tuple, Union

from src.kinds.base import TaskKind
from src.settings.groups import grouped, needed, rare, section
from src.settings.network import Known, NetConfig
from src.settings.types import (
    AssessmentMethod,
    DeviceTarget,
    FiniteNumber,
    NonNegativeInt,
    PositiveInt,
    TaskType,
)


@dataclass(frozen=True)
class ConfigFile:
    """Where else a command's settings stand; every command has it."""

    config_path: str = needed("", "config")
    """YAML file with settings that differ from these defaults."""


@dataclass(frozen=True)
class DeviceConfig:
    """Where to run."""

    GROUP = "Device"

    device_target: DeviceTarget = "auto"
    """Ascend, GPU or CPU; auto takes the first of these that this MindSpore can use."""
    device_id: NonNegativeInt = 0
    """Which of the machine's devices, counted from 0; CPU has only 0."""
    enable_graph_kernel: Union[bool, Literal["auto"]] = "auto"
    """Fuse small operators. auto: on CPU, where g++ is on the PATH; not on Ascend and GPU."""
    compile_cache: str = "auto"
    """Folder that keeps compiled graphs for the next run, on CPU; off: none. auto: below XDG_CACHE_HOME or
    ~/.cache.
    """


@dataclass(frozen=True)
class GroupConfig(DeviceConfig):
    """One device, or a group of them that train together."""

    distribute: bool = False
    """Train together with the other processes of a job. It is data-parallel; scripts/run_distributed_gd_*.sh
    start such a job.
    """
    device_num: PositiveInt = 1
    """Processes of that job; 1: as many as it has. Each takes its own batch_size rows of every step."""


@dataclass(frozen=True)
class VocabularyConfig:
    """What a checkpoint without it reads text with."""

    GROUP = "Data"

    vocab_file: str = ""
    """Vocabulary of a checkpoint that has none beside it, vocab.txt or tokenizer.json."""


@dataclass(frozen=True)
class CheckpointConfig(VocabularyConfig):
    """What a checkpoint's own files may leave open."""

    GROUP = "Data"

    net_cfg: NetConfig = section(NetConfig, "Network of the checkpoint", hidden=True)
    """Network of a checkpoint that does not say it, as a published MindSpore .ckpt without config.json: its
    num_attention_heads, and what else its weights do not tell. What contradicts its files is an error."""

    td_student_net_cfg: NetConfig = section(NetConfig, "Network of the checkpoint", hidden=True)
    """The same in a recipe of run_task_distill.py, for the checkpoint of its student. It counts only where
    neither the checkpoint nor net_cfg say anything, for the recipe may be given with another one."""

    def known(self, kind: Optional[TaskKind] = None) -> Known:
        """What is known of a checkpoint whose head is of a kind."""
        return Known(self.net_cfg, "net_cfg", self.vocab_file, kind, self.td_student_net_cfg)


@dataclass(frozen=True)
class AnsweringConfig:
    """How a command prints its result, and answers questions that may have no answer."""

    json: bool = needed(False, "output")
    """Results as JSON on standard output, an object a line. All else that is said goes to standard error;
    docs/settings.md says what each command prints.
    """
    null_score_diff_threshold: Optional[FiniteNumber] = grouped(None, "Answers")
    """SQuAD2 only: when a question has no answer. It has none where that scores better than the best answer
    by more than this; best_thresholds.json of eval.py says which value is best. Unset: what export.py gave
    the model, else 0.
    """


@dataclass(frozen=True)
class ModelArtsConfig:
    """A job on ModelArts; src/modelarts.py says how its paths are read."""

    GROUP = "ModelArts"

    enable_modelarts: bool = False
    """Copy data and checkpoints here first, results back at the end. They come from data_url and
    checkpoint_url and go to train_url; false ignores all these keys.
    """
    data_url: str = ""
    """Folder of the data in the cloud, as obs://BUCKET/data. The data settings are then relative to its
    copy."""
    train_url: str = ""
    """Folder in the cloud that takes the results, after a failure too; the output settings are relative to
    what is copied there.
    """
    checkpoint_url: str = ""
    """Folder of checkpoints in the cloud; the checkpoint settings are relative to its copy, or to that of
    data_url, or to the program.
    """
    data_path: str = "/cache/data"
    """Folder on the machine for the copy of data_url; /cache is where ModelArts has room."""
    output_path: str = "/cache/train"
    """Folder on the machine whose files are copied to train_url."""
    load_path: str = "/cache/checkpoint_path"
    """Folder on the machine for the copy of checkpoint_url."""
    need_modelarts_dataset_unzip: bool = True
    """Unpack the .zip files that lie in data_url itself."""
    modelarts_dataset_unzip_name: str = ""
    """Name of the only one to unpack, with or without .zip. Unset: all of them."""


@dataclass(frozen=True)
class PaddingConfig:
    """How long batches are. The scores of a network whose activations' ranges are a batch's own depend a
    little on it.
    """

    GROUP = "Batches"

    bucket_boundaries: Tuple[PositiveInt, ...] = (16, 32, 64, 128, 192, 256, 384)
    """Padded lengths in tokens. Each batch is padded to the smallest one that holds it; longer rows use the
    longest row.
    """
    enable_buckets: bool = True
    """Group rows of similar length; false pads every row to the longest row of the data."""


@dataclass(frozen=True)
class PackingConfig(PaddingConfig):
    """How many rows a network is given at once, and how much of that is padding."""

    padding: Literal["auto", "none", "buckets"] = "auto"
    """How rows fill a batch. With none short rows share the rows of a batch, so that hardly any token is
    padding and one graph is compiled; with buckets each has a row of the batch, padded as bucket_boundaries
    says. With auto: none on CPU, buckets on Ascend and GPU."""
    max_tokens: PositiveInt = 2048
    """Without padding: tokens computed at once. A step with more runs several micro-batches and adds up their
    gradients, which gives the same update in less memory; on CPU more are hardly faster a token."""

    def packs(self, device: str) -> bool:
        """Whether rows share the rows of a batch on this device."""
        return self.padding == "none" or (self.padding == "auto" and device == "CPU")


@dataclass(frozen=True)
class RecordFilesConfig:
    """How record files are read."""

    GROUP = "Data"

    dataset_type: Literal["auto", "mindrecord", "tfrecord"] = "auto"
    """Format of the record files; auto looks at the folder's file endings."""
    schema_dir: str = rare("")
    """Schema JSON of TFRecord files, the file or its folder. Unset: schema.json beside the data if there is
    one.
    """


@dataclass(frozen=True)
class LabelOrderConfig:
    """What the label ids of records mean that do not say it."""

    GROUP = "Data"

    label_order: Tuple[str, ...] = ()
    """The class each label id of records without dataset.json is. By the task's names, as `--label_order
    contradiction,entailment,neutral`."""


@dataclass(frozen=True)
class SquadVersionConfig:
    """SQuAD2 in the official scripts' words."""

    GROUP = "Data"

    version_2_with_negative: bool = rare(False)
    """SQuAD v2.0, whose questions may have no answer: with task_name squad the same as task_name squad2."""


@dataclass(frozen=True)
class BatchesConfig(PackingConfig, RecordFilesConfig):
    """How rows are read and put into batches."""

    do_shuffle: bool = True
    """Shuffle the training rows anew every epoch."""
    seed: NonNegativeInt = 42
    """Seed of weights, dropout and shuffling."""


@dataclass(frozen=True)
class DataConfig(SquadVersionConfig, LabelOrderConfig, BatchesConfig):
    """Which task and how its rows are read."""

    GROUP = "Data"

    task_name: str = needed("", "task")
    """Task, in any case, or custom for your own data. Known are CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI,
    RTE, WNLI, TNEWS, CLUENER, SQuAD and SQuAD2.
    """
    task_type: TaskType = rare("auto")
    """Kind of the task's head; auto takes it from the task. Naming another kind than the task's is an
    error.
    """
    assessment_method: AssessmentMethod = "auto"
    """Metric that decides which checkpoint is best; auto takes the task's own. bf1 is F1 of class 1
    of two, mf1 the mean F1 over classes; of entities f1 is entity_f1 and mf1 its mean over types.
    """


@dataclass(frozen=True)
class RecordsConfig(SquadVersionConfig, RecordFilesConfig, LabelOrderConfig, ConfigFile):
    """Which of a task's records a program reads."""

    GROUP = "Data"

    task_name: str = needed("", "task")
    """Task, in any case."""
    data_dir: str = needed("", "data")
    """The folder of the task's records. Or one that holds it under the task's lower-case name."""


@dataclass(frozen=True)
class TextsConfig:
    """How a task's raw files become the tokens BERT reads."""

    GROUP = "Raw texts"

    max_seq_length: NonNegativeInt = 0
    """Of raw files: tokens of the longest row, [CLS] and [SEP] included; longer texts are cut. 0: the task's
    own, 64 or 128, of SQuAD 384; gd: 128.
    """
    doc_stride: PositiveInt = 128
    """Questions only: tokens between the starts of two windows. Of a text that is too long for a row."""
    max_query_length: PositiveInt = 64
    """Questions only: tokens of the longest question; longer ones are cut."""
    do_lower_case: Union[bool, Literal["auto"]] = "auto"
    """Of raw files: lower-case the text and strip accents; auto: as the model does, else yes unless the
    vocabulary has cased words."""
    num_workers: NonNegativeInt = 0
    """Processes that tokenize raw files; 0: one for every core that may be used. For a corpus each holds up
    to 100 MB.
    """


@dataclass(frozen=True)
class RawDataConfig(TextsConfig):
    """What a data folder with raw files is made into before a command trains on it."""

    aug_train: bool = False
    """Of raw files: train on train_aug.tsv in place of train.tsv. It is train.tsv with more rows. (For
    quant_task_glue.py itself this switch means the contrary.)"""
