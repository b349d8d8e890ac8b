"""What the commands take that train nothing: preparation, conversion, evaluation, export, prediction."""

from dataclasses import dataclass
from typing import Literal, Tuple, Union

from src.errors import UserError
from src.settings.groups import grouped, needed
from src.settings.published_flags import ANSWERS
from src.settings.shared import (
    AnsweringConfig,
    CheckpointConfig,
    ConfigFile,
    DeviceConfig,
    ModelArtsConfig,
    PackingConfig,
    PaddingConfig,
    RecordsConfig,
    SquadVersionConfig,
    TextsConfig,
)
from src.settings.types import (
    AssessmentMethod,
    ClosedUnitInterval,
    ComputeType,
    NonNegativeInt,
    PositiveInt,
    Probability,
)


@dataclass(frozen=True)
class EvaluateConfig(
    AnsweringConfig, DeviceConfig, TextsConfig, RecordsConfig, PackingConfig, CheckpointConfig
):
    """Evaluate a checkpoint on a task's dev set; every row counts."""

    GROUP = "Evaluation"

    model_dir: str = needed("", "model")
    """The model's folder, another program's too. Or one that holds it under the task's lower-case name."""
    data_dir: str = needed("", "data")
    """The folder of the task's records or raw files. Or one that holds it under the task's lower-case
    name."""
    assessment_method: AssessmentMethod = "auto"
    """Metric of the last line; auto takes the task's own."""
    batch_size: PositiveInt = needed(32, "batch")
    """Rows of a batch; the last, smaller one is evaluated too."""
    compute_type: ComputeType = "auto"
    """Type the matrix products compute in. With auto float16 on Ascend and GPU, float32 on CPU."""
    output_file: str = needed("", "output")
    """Also write the results as JSON to this file."""
    predictions_dir: str = ""
    """Questions only: folder for the answers in SQuAD's layout. These are predictions.json and
    nbest_predictions.json, of SQuAD2 null_odds.json and best_thresholds.json too."""

    OLD_NAMES = {"eval_data_dir": "data_dir", "eval_cfg.batch_size": "batch_size"}


_FORMATS_OF = {
    "web_runtime": ("WEB",),
    "onnx_weights": ("ONNX", "WEB"),
    "onnx_layout": ("ONNX",),
    "mindir_weights": ("MINDIR",),
}
"""{setting of export.py: the only formats that have it}"""


@dataclass(frozen=True)
class ExportConfig(AnsweringConfig, DeviceConfig, ModelArtsConfig, CheckpointConfig, ConfigFile):
    """Turn a checkpoint into the file a user deploys."""

    GROUP = "Exported file"

    ckpt_file: str = needed("", "model")
    """The checkpoint: a .ckpt file or a model's folder. Packed ones and other programs' are read too."""
    task_name: str = needed("", "task")
    """Task the checkpoint was trained on, in any case; unset: the one it names itself."""
    file_name: str = needed("", "output")
    """File to write; its ending is added where it lacks. Unset: output/export/TASK/model."""
    file_format: Literal["ONNX", "MINDIR", "AIR", "SAFETENSORS", "WEB"] = needed("ONNX", "output")
    """Format. MINDIR is for Ascend 310 and MindSpore Lite, AIR on Ascend only, SAFETENSORS a Hugging Face
    folder (float models), WEB a folder with a page that runs the ONNX file in the browser.
    """
    web_runtime: str = ""
    """Of WEB: the npm package onnxruntime-web as a folder or .tgz. Unset: npm fetches it."""
    onnx_weights: Literal["auto", "float", "int8", "ternary"] = "auto"
    """How an ONNX file holds quantized weights. With int8 its matrix products are of integers, ternary is the
    same in 1.6 bits a weight, unpacked as a session opens; auto is ternary where the weights are, int8 where
    weights and activations are quantized otherwise, and float for any other model."""
    mindir_weights: Literal["auto", "float", "packed"] = "auto"
    """How a MINDIR holds quantized weights. With packed 1.6 bits for ternary ones and 8 for others, which its
    graph unpacks to float32, in MindSpore at every call; with float 32 bits. auto is packed where the model
    is quantized; float is up to 1.5 times as fast for single rows in MindSpore."""
    onnx_layout: Literal["mindspore", "huggingface"] = "mindspore"
    """Inputs of an ONNX file. For mindspore input_ids, input_mask, segment_ids (int32); for huggingface
    input_ids, attention_mask, token_type_ids (int64) in a folder with its configuration and tokenizer, for
    Optimum and the like."""
    batch_size: NonNegativeInt = 1
    """Rows a call of a MINDIR takes; 0: any number, for MindSpore on CPU (Ascend 310 wants a fixed one). ONNX
    files take any."""
    seq_length: NonNegativeInt = 0
    """Tokens a row has; ONNX files take any number. 0: the task's longest."""
    compute_type: ComputeType = "auto"
    """Type the matrix products compute in. With auto float16 on Ascend and GPU, float32 on CPU."""

    def __post_init__(self):
        for name, formats in _FORMATS_OF.items():
            usual, value = getattr(type(self), name), getattr(self, name)
            if value != usual and self.file_format not in formats:
                raise UserError(
                    f"{name}: a file of {self.file_format} has no {name} {value}; leave it out, or export "
                    f"with --file_format {' or '.join(formats)}"
                )


@dataclass(frozen=True)
class EvaluateExportedConfig(AnsweringConfig, RecordsConfig, PaddingConfig):
    """Evaluate an exported model on a task's records; every row counts."""

    GROUP = "Evaluation"

    model_file: str = needed("", "model")
    """The .onnx or .mindir file."""
    assessment_method: AssessmentMethod = "auto"
    """Metric that counts; auto takes the task's own."""
    device_target: Literal["CPU", "GPU", "Ascend"] = "CPU"
    """Where it runs: ONNX on CPU or GPU (CUDA), MINDIR on CPU or Ascend."""
    device_id: NonNegativeInt = 0
    """Number of the device, on Ascend."""
    batch_size: PositiveInt = needed(32, "batch")
    """Rows of a batch; the last, smaller one is evaluated too."""
    threads: NonNegativeInt = 0
    """Threads ONNX Runtime uses inside one operator; 0 is all cores."""
    output_file: str = needed("", "output")
    """Also write the results as JSON to this file."""

    OLD_NAMES = {"onnx_path": "model_file", "eval_data_dir": "data_dir", "eval_cfg.batch_size": "batch_size"}


@dataclass(frozen=True)
class PreprocessConfig(RecordsConfig):
    """Turn a task's records into the .bin files that inference on Ascend 310 reads."""

    GROUP = "Data"

    seq_length: NonNegativeInt = 0
    """Tokens every row is filled up to: the exported model's. 0: the task's longest."""
    split: Literal["eval", "eval_mm"] = "eval"
    """Which rows: the dev set, or with eval_mm MNLI's mismatched one."""
    output_dir: str = needed("preprocess_Result", "output")
    """Folder to write; an older one is replaced."""
    layout: Literal["own", "published"] = "own"
    """Order of inputs, and rows a file. With published as the published TinyBERT programs and their MINDIRs
    want them: ids, token types and mask in this order and 32 rows a file; the last file is filled up with
    copies of a row."""

    OLD_NAMES = {"result_path": "output_dir", "eval_data_dir": "data_dir"}


@dataclass(frozen=True)
class InferConfig(ConfigFile):
    """Run a MINDIR over the .bin files of preprocess.py."""

    GROUP = "Device"

    model_file: str = needed("", "model")
    """The .mindir file."""
    input_dir: str = needed("preprocess_Result", "data")
    """What preprocess.py wrote."""
    output_dir: str = needed("result_Files", "output")
    """Folder for the logits, one file a row; an older one is replaced."""
    batch_size: PositiveInt = needed(32, "batch")
    """Rows of a call where the MINDIR takes any number."""
    device_target: Literal["CPU", "GPU", "Ascend"] = "CPU"
    """Where it runs."""
    device_id: NonNegativeInt = 0
    """Number of the device, on Ascend."""


@dataclass(frozen=True)
class PostprocessConfig(AnsweringConfig, ConfigFile):
    """Turn inference's result files into the task's metric; every row counts."""

    GROUP = "Evaluation"

    task_name: str = needed("", "task")
    """Task, in any case."""
    assessment_method: AssessmentMethod = "auto"
    """Metric that counts; auto takes the task's own."""
    input_dir: str = needed("preprocess_Result", "data")
    """What preprocess.py wrote."""
    result_dir: str = needed("result_Files", "data")
    """What inference wrote."""

    OLD_NAMES = {"result_path": "result_dir"}


@dataclass(frozen=True)
class PredictConfig(AnsweringConfig, DeviceConfig, PackingConfig, CheckpointConfig, ConfigFile):
    """Label texts, or the test sets of a task, with any model of this project."""

    GROUP = "Answers"

    model: str = needed("", "model")
    """An .onnx, .mindir or .ckpt file, or a model's folder. Packed ones and other programs' are read too."""
    # Of an Optional the parser would take the word null for nothing.
    text: Union[str, Literal[False]] = needed(False, "data")
    """The text. Without it, and without file, lines of standard input are labelled."""
    text_pair: Union[str, Literal[False]] = False
    """Its second text, for tasks on pairs."""
    question: Union[str, Literal[False]] = False
    """A question about a text, for models of SQuAD, SQuAD2 and the like."""
    context: Union[str, Literal[False]] = False
    """The text that it is about; long ones are read in windows."""
    file: str = needed("", "data")
    """A file with one text a line. A tab separates the two texts of a pair, or a question and its text; blank
    lines are left out. Or rows as JSON lines (.jsonl, .json) or parquet, of which the texts are read: text,
    text_pair, sentence1, sentence2, question, context and the like, as in own data. Or SQuAD's .json, or a
    word and its tag a line (.conll), whose tags are not read."""
    max_seq_length: NonNegativeInt = 0
    """Longest row in tokens; longer texts are cut with a notice. 0: as many as the model takes, at most
    512; of a task's raw files the task's own, 64 or 128.
    """
    batch_size: PositiveInt = needed(32, "batch")
    """Rows of a batch."""
    data_dir: str = needed("", "data")
    """Folder with a task's raw files or records to answer. Or one that holds it under the task's lower-case
    name; all rows are answered, in their order. Needs output_dir."""
    task_name: str = needed("", "task")
    """The task of data_dir, in any case; unset: the one the model names itself."""
    split: Literal["test", "eval", "dev"] = "test"
    """Which rows of data_dir: the test sets, or with eval or dev the dev sets."""
    output_dir: str = needed("", "output")
    """Folder for the predictions of data_dir. Their files are what the task's benchmark asks for, as GLUE's
    MNLI-m.tsv and MNLI-mm.tsv."""
    dataset_type: Literal["auto", "mindrecord", "tfrecord"] = "auto"
    """Format of the record files in data_dir; auto looks at the folder's file endings."""
    num_workers: NonNegativeInt = 0
    """Processes that tokenize raw files; 0: one for every core that may be used."""
    layout: Literal["benchmark", "lines"] = "benchmark"
    """How data_dir's predictions are written. With benchmark as the task's asks for them, with lines in
    output.txt, a class or number a line, in the rows' order."""

    PUBLISHED = ANSWERS

    @property
    def texts(self) -> Tuple[Union[str, Literal[False]], Union[str, Literal[False]]]:
        """(text, its second text), False for none; of a question these are question and context."""
        if self.question is False and self.context is False:
            return self.text, self.text_pair
        if self.question is False or self.context is False:
            raise UserError("question, context: a question needs the text it is about; give both")
        if self.text is not False or self.text_pair is not False:
            raise UserError("text, question: give only one of them")
        return self.question, self.context


@dataclass(frozen=True)
class AugmentConfig(DeviceConfig):
    """More training rows by a masked-language model; the device is where that runs."""

    GROUP = "Augmentation"

    augment: str = ""
    """Add training rows with other words in them, as TinyBERT does. This is the folder or file of a
    masked-language model, Hugging Face's or Google's TensorFlow one, with the vocabulary of vocab_file.
    Unset: none are added.
    """
    augment_vectors: str = ""
    """Word vectors as GloVe's text files have them, for words of several WordPieces. Unset: such words are
    kept.
    """
    augment_copies: PositiveInt = 20
    """New texts of each text; those that are equal are added once."""
    augment_probability: ClosedUnitInterval = 0.4
    """Probability of a word to be replaced."""
    augment_candidates: PositiveInt = 15
    """A word is replaced by one of so many. These are the most probable ones, or the nearest vectors."""


@dataclass(frozen=True)
class PrepareConfig(TextsConfig, AugmentConfig, SquadVersionConfig, ConfigFile):
    """Turn a task's raw files, or a text corpus for general distillation, into record files with the tokens
    BERT reads.
    """

    GROUP = "Text corpus (task_name gd)"

    task_name: str = needed("", "task")
    """Task, in any case, custom, or gd for a text corpus. Known are CoLA, SST-2, MRPC, STS-B, QQP, MNLI,
    QNLI, RTE, WNLI, TNEWS, CLUENER, SQuAD and SQuAD2; custom is for your own data, gd for general
    distillation."""
    data_dir: str = needed("", "data")
    """Folder with the raw files. These are train.tsv, dev.tsv (and test.tsv) as GLUE ships them, train.json,
    dev.json (and test.json) as CLUE does, Hugging Face's parquet files, or train.jsonl, dev.jsonl (and
    test.jsonl); of own tags also train.conll or train.txt (a word and its tag a line); questions:
    train-v1.1.json and dev-v1.1.json of SQuAD (-v2.0 of SQuAD2), or train.json and dev.json in its layout."""
    vocab_file: str = needed("", "model")
    """WordPiece vocabulary, one token a line."""
    output_dir: str = needed("", "output")
    """The records go to a folder in here that has the task's lower-case name."""
    dataset_type: Literal["mindrecord", "tfrecord"] = grouped("mindrecord", "Data")
    """Format to write; tfrecord needs requirements-convert.txt."""
    labels: Tuple[str, ...] = grouped((), "Data")
    """Classes (or types of entities) of a custom task, in index order. As `--labels bad,good`; unset: those
    in its training file, sorted.
    """
    skip_bad_rows: bool = grouped(False, "Data")
    """Skip malformed rows and count them, instead of stopping at the first one."""
    input: Tuple[str, ...] = needed((), "data")
    """General distillation only: the corpus, files and folders. As `--input a,b`: plain text with blank lines
    between documents, or WikiExtractor's output (also as JSON lines); gz, bz2, xz or uncompressed."""
    short_seq_prob: ClosedUnitInterval = 0.1
    """Share of the documents that make shorter rows. Of a random length; 0.1 as in BERT. General distillation
    only.
    """
    next_sentence: bool = True
    """Rows are pairs of texts, as in BERT. In half of them the second one is from a random document (label 1,
    else 0); with false one text a row, every token of the corpus exactly once. General distillation only."""
    dupe_factor: PositiveInt = 1
    """Times the corpus is packed. Each time with other random choices; BERT took 10 for its masks to differ.
    General distillation only.
    """
    masked_lm_prob: Probability = 0.0
    """Share of the tokens that are masked. Of these 80 % are [MASK], 10 % a random token, 10 % kept; BERT had
    0.15, but distillation needs none. General distillation only."""
    seed: NonNegativeInt = 42
    """General distillation and augment only: seed of every random choice; same seed, same files."""
    shard_mb: PositiveInt = 32
    """MiB of text that a record file is made from. Duplicates (dupe_factor) count; a run that was stopped
    continues with the files it lacks. General distillation only."""


@dataclass(frozen=True)
class ConvertConfig(ConfigFile):
    """Convert a checkpoint from or to other frameworks' formats."""

    GROUP = "Checkpoint"

    input: str = needed("", "model")
    """The checkpoint to convert. A Hugging Face folder, a TensorFlow BERT checkpoint (folder or prefix), a
    published MindSpore .ckpt, or one of ours.
    """
    output: str = needed("", "output")
    """Folder to write."""
    to: Literal["mindspore", "huggingface", "tensorflow"] = needed("mindspore", "output")
    """Format to write. That of mindspore is eval_model.ckpt + config.json + vocab.txt."""
    bert_config: str = ""
    """config.json of the network where none lies beside the weights. It may be called bert_config.json."""
    vocab_file: str = ""
    """Vocabulary where none lies beside the weights."""
    task_name: str = ""
    """Give the checkpoint this task's label names, and its classifier their order; its head must have as many
    outputs.
    """
    label_order: Tuple[str, ...] = ()
    """The class each output stands for where it has no names. By the task's names, as `--label_order
    contradiction,entailment,neutral`."""
    classifier_relu: Union[bool, Literal["auto"]] = "auto"
    """Whether the network has TinyBERT's ReLU before the classifier; auto: as config.json says, else only for
    published MindSpore TinyBERT checkpoints."""


@dataclass(frozen=True)
class ReportConfig(ConfigFile):
    """Draw the page of a run anew, or compare several: python report.py RUN RUN ..."""

    runs: Tuple[str, ...] = needed((), "data")
    """Run folders, what training commands call output_dir. Without the key too, as RUN RUN."""
    output_file: str = needed("", "output")
    """The page. Unset: report.html in the run's folder, or comparison.html here for several runs."""

    POSITIONAL = "runs"
