"""Every setting of every entry script: frozen dataclasses filled from YAML and the command line.

A field's docstring is its help text: what it is, its unit, and why the default is what it is. A YAML file
lists only what differs from the defaults; the command line overrides any key, nested ones with dots
(`--phase1_cfg.batch_size 16`).
Precedence: command line, then the YAML of `--config_path`, then the defaults here. Unknown keys raise.
"""

import difflib
import json
import math
import os
import re
import sys
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Literal, Optional, Tuple, Union, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt, restricted_number_type

from src.errors import UserError, one_line
from src.files import replacing

set_parsing_settings(docstring_parse_attribute_docstrings=True)

# jsonargparse's own types of these names take infinity.
PositiveFloat = restricted_number_type("PositiveFinite", float, [(">", 0), ("<", math.inf)])
NonNegativeFloat = restricted_number_type("NonNegativeFinite", float, [(">=", 0), ("<", math.inf)])
MinusOneOrPositive = restricted_number_type("MinusOneOrPositive", int, [("==", -1), (">=", 1)], join="or")
Probability = restricted_number_type("Probability", float, [(">=", 0), ("<", 1)])
AboveOne = restricted_number_type("AboveOne", float, [(">", 1), ("<", math.inf)])

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # of the repository
HIDDEN_ACTS = ("gelu", "gelu_new", "relu")
HiddenAct = Literal["gelu", "gelu_new", "relu"]
ComputeType = Literal["auto", "float32", "float16"]
DeviceTarget = Literal["auto", "Ascend", "GPU", "CPU"]


# --- networks -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BertConfig:
    """One BERT: the architecture part of a checkpoint's `config.json`, under Hugging Face's field names.

    `hidden_act` has Hugging Face's meaning: `gelu` is the exact (erf) form, `gelu_new` the tanh form.
    `classifier_relu` puts a ReLU between the pooled output and the classifier, as TinyBERT's published
    checkpoints have it.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    use_relative_positions: bool = False
    max_relative_position: int = 16
    classifier_relu: bool = False

    def __post_init__(self):
        for name in (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
            "type_vocab_size",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}"
            )
        if self.hidden_act not in HIDDEN_ACTS:
            raise UserError(f"hidden_act must be one of {', '.join(HIDDEN_ACTS)}, not '{self.hidden_act}'")


@dataclass(frozen=True)
class QuantConfig:
    """What of a BERT is quantized while it computes; the weights themselves stay in float32 until they are
    packed.

    Weights are the encoder's linear layers and the pooler; activations are those layers' inputs and both
    operands of the two attention products. Position and token-type embeddings and the classifier are the
    rest; LayerNorm stays in float32.
    """

    embedding_bits: int = 32
    """Bits of the word embedding table: 2 to 8, or 32 for none."""
    embedding_quantizer: Literal["twn", "lat", "symmetric", "minmax"] = "twn"
    """twn (ternary weight network) and lat (loss-aware ternary) are 2 bits; symmetric and minmax are 2 to
    8.
    """
    embedding_granularity: Literal["tensor", "row"] = "row"
    """What shares one scale; by row only the looked-up rows need be quantized."""
    embedding_clip_value: NonNegativeFloat = 2.5
    """Values are clipped to plus and minus this first; beyond it there is no gradient. 0: no clip. 2.5 as in
    TernaryBERT.
    """
    weight_bits: int = 32
    """Bits of the linear layers' weights: 2 to 8, or 32 for none."""
    weight_quantizer: Literal["twn", "lat", "symmetric", "minmax"] = "twn"
    """As embedding_quantizer."""
    weight_granularity: Literal["tensor", "row"] = "tensor"
    """What shares one scale: a whole layer's weight, as in TernaryBERT, or each of its output rows."""
    weight_clip_value: NonNegativeFloat = 2.5
    """As embedding_clip_value."""
    activation_bits: int = 32
    """Bits of the activations: 2 to 8, or 32 for none."""
    activation_quantizer: Literal["symmetric", "minmax", "dynamic", "ema"] = "symmetric"
    """symmetric and minmax take each batch's range; dynamic is ONNX's DynamicQuantizeLinear (8 bits); ema is
    a moving average of the range, fixed after training (Q8BERT)."""
    activation_granularity: Literal["tensor", "row", "head"] = "tensor"
    """What shares one scale (symmetric and minmax): a whole tensor, each token's row, or, of attention's
    operands, each head of each text (then the other activations have one scale a tensor)."""
    activation_clip_value: NonNegativeFloat = 2.5
    """As embedding_clip_value; ema has no clip."""
    ema_decay: Probability = 0.9999
    """Decay of ema's moving average."""
    ema_start_step: NonNegativeInt = 0
    """Training batches before ema's quantization starts."""
    rest_bits: int = 32
    """Bits of position and token-type embeddings and the classifier's weight: 8 (symmetric, one scale a row),
    or 32 for none.
    """

    def __post_init__(self):
        if self.rest_bits not in (8, 32):
            raise UserError(f"rest_bits must be 8, or 32 for no quantization, not {self.rest_bits}")
        for part in ("embedding", "weight", "activation"):
            bits, kind = getattr(self, f"{part}_bits"), getattr(self, f"{part}_quantizer")
            if bits != 32 and not 2 <= bits <= 8:
                raise UserError(f"{part}_bits must be 2 to 8, or 32 for no quantization, not {bits}")
            fixed = {"twn": 2, "lat": 2, "dynamic": 8}.get(kind, bits)
            if bits not in (32, fixed):
                raise UserError(
                    f"{part}_bits is {bits}, but {part}_quantizer {kind} has {fixed}; use symmetric or "
                    "minmax for other bits"
                )
        if (
            self.activation_bits != 32
            and self.activation_quantizer in ("dynamic", "ema")
            and self.activation_granularity != "tensor"
        ):
            raise UserError(
                f"activation_granularity is {self.activation_granularity}, but activation_quantizer "
                f"{self.activation_quantizer} has one scale a tensor; use symmetric or minmax for other "
                "granularities"
            )


@dataclass(frozen=True)
class NetConfig:
    """A network in a YAML file. A key left out takes its value from the network's checkpoint or, for a new
    student, from the teacher's; a key that contradicts a checkpoint is an error, except the ones marked as
    the run's choice.
    """

    seq_length: Optional[PositiveInt] = None
    """Longest row this run accepts, in tokens (run's choice). Unset: as long as the network has positions.
    The network itself takes any length."""
    vocab_size: Optional[PositiveInt] = None
    """Rows of the word embedding table."""
    hidden_size: Optional[PositiveInt] = None
    """Width of the hidden states."""
    num_hidden_layers: Optional[PositiveInt] = None
    """Encoder layers."""
    num_attention_heads: Optional[PositiveInt] = None
    """Attention heads a layer; the student must have as many as the teacher for the attention loss."""
    intermediate_size: Optional[PositiveInt] = None
    """Width of the feed-forward layer."""
    hidden_act: Optional[HiddenAct] = None
    """Activation: gelu (exact, erf), gelu_new (tanh form, faster to compute) or relu. Run's choice for a
    teacher: gelu_new there trades a difference of about 1e-3 in its hidden states for speed, and the log says
        so.
    """
    hidden_dropout_prob: Optional[Probability] = None
    """Dropout on embeddings and layer outputs while training (run's choice)."""
    attention_probs_dropout_prob: Optional[Probability] = None
    """Dropout on attention probabilities while training (run's choice)."""
    max_position_embeddings: Optional[PositiveInt] = None
    """Rows of the position embedding table."""
    type_vocab_size: Optional[PositiveInt] = None
    """Rows of the token-type embedding table."""
    initializer_range: Optional[PositiveFloat] = None
    """Standard deviation of randomly initialized weights (run's choice)."""
    layer_norm_eps: Optional[PositiveFloat] = None
    """Epsilon inside LayerNorm."""
    use_relative_positions: Optional[bool] = None
    """Learnt relative positions inside attention in place of position embeddings."""
    max_relative_position: Optional[PositiveInt] = None
    """Relative distances are clipped to this many tokens."""
    classifier_relu: Optional[bool] = None
    """ReLU on the pooled output before the classifier, as in TinyBERT's published checkpoints."""
    dtype: Literal["float32"] = "float32"
    """Type of the weights; float32 is the only one."""
    compute_type: ComputeType = "auto"
    """Type the matrix products compute in (run's choice): auto is float16 on Ascend and GPU, float32 on
    CPU.
    """

    _RUN_CHOICES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")

    def given(self):
        """The architecture keys that were set, as a dict in `BertConfig`'s names."""
        names = {item.name for item in fields(BertConfig)}
        return {name: value for name, value in vars(self).items() if name in names and value is not None}

    def resolve(self, base):
        """`base` (a `BertConfig`) with the keys set here replaced."""
        return replace(base, **self.given())

    def filled(self, bert):
        """These settings with every architecture key taken from `bert` (a `BertConfig`): what the run really
        used.
        """
        return replace(self, **vars(bert))

    def check(self, bert, section, source, free=()):
        """`bert` (read from `source`) with the run's choices set here; any other difference is a `UserError`
        naming it.

        Args:
            bert (BertConfig): what the checkpoint says.
            section (str): this section's YAML key, for the message.
            source (str): the checkpoint's path, for the message.
            free (tuple of str): further keys that may differ.
        """
        choices = {}
        for name, value in self.given().items():
            if name in self._RUN_CHOICES or name in free:
                choices[name] = value
            elif value != getattr(bert, name):
                raise UserError(
                    f"{section}.{name} is {value} but the checkpoint {source} has {getattr(bert, name)}; "
                    f"remove the key or name the matching checkpoint"
                )
        return replace(bert, **choices)


# --- training -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AdamWeightDecayConfig:
    """AdamW as BERT uses it (no bias correction), with a warm-up and polynomial decay of the learning
    rate.
    """

    learning_rate: PositiveFloat = 5e-5
    """Peak learning rate, reached at the end of the warm-up."""
    end_learning_rate: NonNegativeFloat = 0.0
    """Learning rate at the last step, where the decay ends."""
    power: PositiveFloat = 1.0
    """Exponent of the polynomial decay; 1 is linear."""
    warmup_ratio: ClosedUnitInterval = 0.1
    """Share of all steps over which the learning rate rises linearly from 0."""
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled weight decay, applied as learning rate x weight decay x weight; 0.01 as in the BERT and
    TinyBERT papers.
    """
    decay_filter: Tuple[str, ...] = ("layernorm", "bias")
    """Parameters whose name holds one of these words are not decayed; case and underscores do not count."""
    beta1: Probability = 0.9
    """Decay of the first moment."""
    beta2: Probability = 0.999
    """Decay of the second moment."""
    eps: PositiveFloat = 1e-6
    """Added to the root of the second moment."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer, under the name the published YAML files give it."""

    AdamWeightDecay: AdamWeightDecayConfig = field(default_factory=AdamWeightDecayConfig)
    """AdamW and its learning-rate schedule."""


@dataclass(frozen=True)
class PhaseConfig:
    """One training stage."""

    batch_size: PositiveInt = 32
    """Rows of a batch on one device."""
    gradient_accumulation_steps: PositiveInt = 1
    """Batches whose gradients are averaged before one optimizer step."""
    max_grad_norm: NonNegativeFloat = 1.0
    """Gradients are scaled down to this global norm; 0 turns clipping off."""
    loss_scale: Literal["auto", "none", "static", "dynamic"] = "auto"
    """Loss scaling: auto is dynamic where the compute type is float16 and none where it is float32."""
    loss_scale_value: PositiveFloat = 65536.0
    """The static loss scale, or the first dynamic one."""
    scale_factor: AboveOne = 2.0
    """A dynamic loss scale is divided by this on overflow and multiplied by it after scale_window clean
    steps.
    """
    scale_window: PositiveInt = 1000
    """Clean steps before a dynamic loss scale grows."""
    optimizer_cfg: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimizer and learning-rate schedule."""


@dataclass(frozen=True)
class Phase1Config(PhaseConfig):
    """Phase 1, intermediate-layer distillation: which loss terms."""

    attention_loss: bool = True
    """Fit the teacher's attention scores (TinyBERT, equation 7)."""
    hidden_loss: bool = True
    """Fit the teacher's hidden states, embedding output included, through the learnt projection (equations 8
    and 9).
    """


@dataclass(frozen=True)
class Phase2Config(PhaseConfig):
    """Phase 2, prediction-layer distillation."""

    temperature: PositiveFloat = 1.0
    """Softmax temperature of the soft cross-entropy (TinyBERT, equation 10; the paper found 1 to work
    well).
    """
    label_loss_weight: NonNegativeFloat = 0.0
    """Weight of the ground-truth label loss added to the soft loss; 0 as in the paper."""
    cache_teacher: bool = True
    """Compute the teacher's logits once and reuse them every epoch (same loss, less time) instead of running
    it each step.
    """
    optimizer_cfg: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(AdamWeightDecayConfig(learning_rate=2e-5))
    )
    """Optimizer and learning-rate schedule."""


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation."""

    batch_size: PositiveInt = 32
    """Rows of a batch; the last, smaller one is evaluated too."""
    eval_step: NonNegativeInt = 0
    """Evaluate every N steps; 0: at the end of every epoch."""


# --- what the entry scripts take ----------------------------------------------------------------------------


@dataclass(frozen=True)
class DeviceConfig:
    """Where to run."""

    device_target: DeviceTarget = "auto"
    """Ascend, GPU or CPU; auto takes the first of these that this MindSpore can use."""
    device_id: NonNegativeInt = 0
    """Which of the machine's devices, counted from 0; CPU has only 0."""
    enable_graph_kernel: bool = False
    """Fuse small operators where the device's compiler can (Ascend, GPU)."""


@dataclass(frozen=True)
class GroupConfig(DeviceConfig):
    """One device, or a group of them that train together."""

    distribute: bool = False
    """Data-parallel training with the other processes of a job that scripts/run_distributed_gd_*.sh
    started.
    """
    device_num: PositiveInt = 1
    """Processes of that job; 1: as many as it has. Each takes its own batch_size rows of every step."""


@dataclass(frozen=True)
class ModelArtsConfig:
    """A job on ModelArts; src/modelarts.py says how its paths are read."""

    enable_modelarts: bool = False
    """Copy data_url and checkpoint_url to this machine first, and the results to train_url at the end; false
    ignores all these keys.
    """
    data_url: str = ""
    """Folder of the data in the cloud, obs://BUCKET/...; the data settings are then relative to its copy."""
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

    bucket_boundaries: Tuple[PositiveInt, ...] = (16, 32, 64, 128)
    """Padded lengths in tokens: each batch is padded to the smallest one that holds it. Longer rows use the
    longest row.
    """
    enable_buckets: bool = True
    """Group rows of similar length; false pads every row to the longest row of the data."""


@dataclass(frozen=True)
class BatchesConfig(PaddingConfig):
    """How rows are read and put into batches."""

    dataset_type: Literal["auto", "mindrecord", "tfrecord"] = "auto"
    """Format of the record files; auto looks at the folder's file endings."""
    schema_dir: str = ""
    """Schema JSON of TFRecord files, the file or its folder. Unset: schema.json beside the data if there is
    one.
    """
    do_shuffle: bool = True
    """Shuffle the training rows anew every epoch."""
    seed: NonNegativeInt = 42
    """Seed of weights, dropout and shuffling."""


@dataclass(frozen=True)
class DataConfig(BatchesConfig):
    """Which task and how its rows are read."""

    task_name: str = ""
    """Task, in any case: CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE, WNLI, or custom for your own
    data.
    """
    task_type: Literal["auto", "classification", "regression"] = "auto"
    """Kind of the task's head; auto takes it from the task. Naming another kind than the task's is an
    error.
    """
    assessment_method: Literal["auto", "accuracy", "f1", "bf1", "mf1", "matthews", "pearson", "spearman"] = (
        "auto"
    )
    """Metric that decides which checkpoint is best; auto takes the task's own. bf1 is f1 of class 1, mf1 is
    macro F1.
    """


@dataclass(frozen=True)
class TrainingConfig(GroupConfig, ModelArtsConfig):
    """Settings that every training command shares."""

    config_path: str = ""
    """YAML file with settings that differ from these defaults."""
    enable_data_sink: bool = False
    """Let the device pull batches from a queue of its own (Ascend, GPU); on CPU a notice says it does not
    apply.
    """
    data_sink_steps: MinusOneOrPositive = 1
    """Steps between two returns from the device's queue; -1: a whole epoch."""
    save_ckpt_step: NonNegativeInt = 0
    """Save a checkpoint every N steps; 0: only the best one (with do_eval) or the last one (without)."""
    max_ckpt_num: PositiveInt = 1
    """How many of the save_ckpt_step checkpoints are kept; older ones are deleted."""
    log_step: PositiveInt = 50
    """Write losses to metrics.jsonl every N steps."""
    profile_steps: NonNegativeInt = 0
    """Write MindSpore's profile of N steps, after the first 20 of a stage, to profile/ in the run folder; 0:
    none.
    """
    output_dir: str = ""
    """Run folder; unset: output/ with the command's and the task's name."""


@dataclass(frozen=True)
class RunConfig(TrainingConfig, DataConfig):
    """Settings of the commands that train on a task."""

    do_train: bool = True
    """Train; false with do_eval true only evaluates."""
    do_eval: bool = True
    """Evaluate during and after training."""
    train_data_dir: str = ""
    """Folder with training records (train.mindrecord or train.tf_record, or files of the published shape)."""
    eval_data_dir: str = ""
    """Folder with evaluation records; may be train_data_dir: the split is taken by file name."""
    eval_cfg: EvalConfig = field(default_factory=EvalConfig)
    """Evaluation settings."""


@dataclass(frozen=True)
class GeneralDistillConfig(TrainingConfig, BatchesConfig):
    """Distil a pre-trained BERT into a small general one on a text corpus (TinyBERT, arXiv 1909.10351,
    section 3.2).
    """

    epoch_size: PositiveInt = 3
    """Passes over the corpus."""
    train_steps: MinusOneOrPositive = -1
    """Optimizer steps in all, in as many passes as that takes; -1: as many as epoch_size passes have."""
    data_dir: str = ""
    """Folder of the corpus's records: OUTPUT_DIR/gd of prepare_data.py --task_name gd, or files of the
    published shape.
    """
    load_teacher_ckpt_path: str = ""
    """Pre-trained teacher, fine-tuned or not: a folder from convert_checkpoint.py, or its .ckpt file."""
    load_gd_ckpt_path: str = ""
    """Student of an earlier general distillation to go on from, its projection included. Unset: student_init
    decides.
    """
    student_init: Literal["random", "teacher_layers"] = "random"
    """How a student without a checkpoint starts: random weights or the teacher's own layers (equal
    widths).
    """
    save_ckpt_path: str = ""
    """Folder of the student's checkpoints; unset: gd/ in the run folder."""
    resume: bool = False
    """Go on where a stopped run with the same settings last saved its state (every save_ckpt_step steps);
    without one, begin. Dropout, if the student has any, draws other numbers than it would have."""
    save_ckpt_step: NonNegativeInt = 100
    """Save a checkpoint and the state to resume from every N steps; 0: only the student, after the last
    step.
    """
    gd_cfg: Phase1Config = field(default_factory=Phase1Config)
    """The training stage; batch_size is a device's own."""
    gd_teacher_net_cfg: NetConfig = field(default_factory=NetConfig)
    """The teacher's network; normally empty, for its checkpoint's config.json says it."""
    gd_student_net_cfg: NetConfig = field(default_factory=NetConfig)
    """The student's network; what is left out is as in its checkpoint or, without one, as in the teacher."""


@dataclass(frozen=True)
class TaskDistillConfig(RunConfig):
    """Distil a task's teacher into a student in two phases and evaluate it (TinyBERT, arXiv 1909.10351)."""

    td_phase1_epoch_size: NonNegativeInt = 10
    """Epochs of phase 1; 0 skips it."""
    td_phase2_epoch_size: NonNegativeInt = 3
    """Epochs of phase 2; 0 skips it."""
    load_teacher_ckpt_path: str = ""
    """Teacher fine-tuned on the task: a folder from convert_checkpoint.py or run_finetune.py, or its .ckpt
    file.
    """
    load_gd_ckpt_path: str = ""
    """Student after general distillation, to start phase 1 from."""
    load_td1_ckpt_path: str = ""
    """Student after phase 1, to start phase 2 from; with do_train false, the model to evaluate."""
    student_init: Literal["auto", "random", "teacher_layers"] = "auto"
    """How a student without a checkpoint starts: random weights or the teacher's own layers (equal widths).
    auto: load_gd_ckpt_path or load_td1_ckpt_path if given, else random."""
    student_layers: Tuple[NonNegativeInt, ...] = ()
    """Teacher layers, counted from 0, copied by student_init teacher_layers, one a student layer. Unset: the
    last of each group of teacher layers that the uniform layer map pairs with a student layer."""
    min_teacher_gain: NonNegativeFloat = 2.0
    """Points by which the teacher must beat always guessing the commonest class (or a correlation of 0); else
    it is refused.
    """
    phase1_cfg: Phase1Config = field(default_factory=Phase1Config)
    """Phase 1: attention scores and hidden states."""
    phase2_cfg: Phase2Config = field(default_factory=Phase2Config)
    """Phase 2: predictions."""
    td_teacher_net_cfg: NetConfig = field(default_factory=NetConfig)
    """The teacher's network; normally empty, for its checkpoint's config.json says it."""
    td_student_net_cfg: NetConfig = field(default_factory=NetConfig)
    """The student's network."""


@dataclass(frozen=True)
class FinetuneConfig(RunConfig):
    """Fine-tune a BERT checkpoint on a task: makes teachers, and is the baseline without distillation."""

    epoch_size: PositiveInt = 3
    """Epochs."""
    load_ckpt_path: str = ""
    """Encoder (or task) checkpoint to start from: a folder from convert_checkpoint.py or its .ckpt file.
    Unset: random weights.
    """
    init_layers: Tuple[NonNegativeInt, ...] = ()
    """Use only these encoder layers of the checkpoint, counted from 0. Unset: all of them."""
    vocab_file: str = ""
    """Vocabulary to save beside a network that starts from random weights; its checkpoint's own otherwise."""
    finetune_cfg: PhaseConfig = field(default_factory=PhaseConfig)
    """The training stage."""
    net_cfg: NetConfig = field(default_factory=NetConfig)
    """The network; needed only for random weights or to change the run's choices."""


@dataclass(frozen=True)
class TernaryConfig(RunConfig):
    """Train a quantized BERT with distillation from its full-precision teacher (TernaryBERT, arXiv
    2009.12812; Q8BERT, 1910.06188).
    """

    do_train: bool = True
    """Train; false quantizes the student as it is."""
    epoch_size: PositiveInt = 3
    """Epochs."""
    teacher_model_dir: str = ""
    """The fine-tuned float32 teacher's folder, or one that holds it under the task's lower-case name."""
    student_model_dir: str = ""
    """Checkpoint the student starts from, likewise; usually the teacher's own."""
    data_dir: str = ""
    """The folder of the task's records, or a folder that holds it under the task's lower-case name."""
    train_batch_size: PositiveInt = 32
    """Rows of a training batch, in place of train_cfg.batch_size."""
    eval_batch_size: PositiveInt = 32
    """Rows of an evaluation batch, in place of eval_cfg.batch_size."""
    eval_ckpt_step: NonNegativeInt = 0
    """Evaluate every N steps, in place of eval_cfg.eval_step; 0: at the end of every epoch."""
    pred_distill: bool = True
    """Fit the teacher's predictions (soft cross-entropy)."""
    intermediate_distill: bool = True
    """Fit the teacher's attention scores and hidden states, layer by layer."""
    is_lgt_fit: bool = False
    """Fit the ground-truth labels too."""
    temperature: PositiveFloat = 1.0
    """Softmax temperature of the soft cross-entropy."""
    quantization: Literal["ternary", "q8bert", "none"] = "ternary"
    """What quant_cfg starts from: ternary is 2-bit weights and embeddings with 8-bit activations, q8bert 8
    bits everywhere with moving-average activation ranges, none is float32."""
    do_quant: bool = True
    """false trains in float32, whatever quant_cfg says."""
    quant_cfg: QuantConfig = field(default_factory=QuantConfig)
    """Bits, quantizers, granularities, clips; keys given here count more than quantization's."""
    train_cfg: PhaseConfig = field(default_factory=PhaseConfig)
    """The training stage; its batch_size is train_batch_size."""
    hidden_dropout_prob: Probability = 0.0
    """The student's dropout while training; quantization regularizes enough."""
    attention_probs_dropout_prob: Probability = 0.0
    """The same for attention probabilities."""
    compute_type: ComputeType = "auto"
    """Type the matrix products compute in: auto is float16 on Ascend and GPU, float32 on CPU."""
    min_teacher_gain: NonNegativeFloat = 2.0
    """Points by which the teacher must beat always guessing the commonest class (or a correlation of 0); else
    it is refused.
    """
    save_quantized_model: bool = True
    """Write the best model packed to OUTPUT_DIR/TASK/."""
    save_fp_model: bool = False
    """Keep the best model's float32 weights for further training, in OUTPUT_DIR/latent/TASK/, where
    save_ckpt_step's files are too; these keep it as well."""
    packed_bits: Literal["1.6", "2"] = "1.6"
    """Bits a ternary weight takes in the packed file: 1.6 (5 to a byte) or 2 (4 to a byte)."""

    @property
    def keeps_latent(self):
        """Whether float32 weights stay beside the packed model."""
        return self.save_fp_model or self.save_ckpt_step > 0

    PRESETS = {
        "quantization": {
            "none": {},
            "ternary": {
                "quant_cfg": {"embedding_bits": 2, "weight_bits": 2, "activation_bits": 8, "rest_bits": 8}
            },
            "q8bert": {
                "quant_cfg": {
                    "embedding_bits": 8,
                    "embedding_quantizer": "symmetric",
                    "embedding_granularity": "tensor",
                    "embedding_clip_value": 0.0,
                    "weight_bits": 8,
                    "weight_quantizer": "symmetric",
                    "weight_clip_value": 0.0,
                    "activation_bits": 8,
                    "activation_quantizer": "ema",
                    "rest_bits": 8,
                }
            },
        }
    }


@dataclass(frozen=True)
class RecordsConfig:
    """Which of a task's records a program reads."""

    config_path: str = ""
    """YAML file with settings that differ from these defaults."""
    task_name: str = ""
    """Task, in any case."""
    data_dir: str = ""
    """The folder of the task's records, or a folder that holds it under the task's lower-case name."""
    dataset_type: Literal["auto", "mindrecord", "tfrecord"] = "auto"
    """Format of the record files; auto looks at the folder's file endings."""
    schema_dir: str = ""
    """Schema JSON of TFRecord files, the file or its folder. Unset: schema.json beside the data if there is
    one.
    """


@dataclass(frozen=True)
class EvaluateConfig(DeviceConfig, RecordsConfig, PaddingConfig):
    """Evaluate a checkpoint on a task's dev set; every row counts."""

    model_dir: str = ""
    """The model's folder, or a folder that holds it under the task's lower-case name."""
    assessment_method: Literal["auto", "accuracy", "f1", "bf1", "mf1", "matthews", "pearson", "spearman"] = (
        "auto"
    )
    """Metric of the last line; auto takes the task's own."""
    batch_size: PositiveInt = 32
    """Rows of a batch; the last, smaller one is evaluated too."""
    compute_type: ComputeType = "auto"
    """Type the matrix products compute in: auto is float16 on Ascend and GPU, float32 on CPU."""
    output_file: str = ""
    """Also write the results as JSON to this file."""


@dataclass(frozen=True)
class ExportConfig(DeviceConfig, ModelArtsConfig):
    """Turn a checkpoint into the file a user deploys."""

    config_path: str = ""
    """YAML file with settings that differ from these defaults."""
    ckpt_file: str = ""
    """The checkpoint: a .ckpt file with config.json beside it, or a model's folder, packed ones included."""
    task_name: str = ""
    """Task the checkpoint was trained on, in any case; unset: the one it names itself."""
    file_name: str = ""
    """File to write; its ending is added where it lacks. Unset: output/export/TASK/model."""
    file_format: Literal["ONNX", "MINDIR", "AIR", "SAFETENSORS"] = "ONNX"
    """Format: MINDIR for Ascend 310 and MindSpore Lite, AIR on Ascend only, SAFETENSORS a Hugging Face folder
    (float models).
    """
    onnx_weights: Literal["auto", "float", "int8", "2bit"] = "auto"
    """How an ONNX file holds the weights of a quantized model: int8 with integer matrix products, 2bit
    packed; auto is int8 where weights and activations are quantized, and float for any other model."""
    batch_size: PositiveInt = 1
    """Rows a call takes; ONNX files take any number."""
    seq_length: NonNegativeInt = 0
    """Tokens a row has; ONNX files take any number. 0: the task's longest."""
    compute_type: ComputeType = "auto"
    """Type the matrix products compute in: auto is float16 on Ascend and GPU, float32 on CPU."""


@dataclass(frozen=True)
class EvaluateExportedConfig(RecordsConfig, PaddingConfig):
    """Evaluate an exported model on a task's records; every row counts."""

    model_file: str = ""
    """The .onnx or .mindir file."""
    assessment_method: Literal["auto", "accuracy", "f1", "bf1", "mf1", "matthews", "pearson", "spearman"] = (
        "auto"
    )
    """Metric that counts; auto takes the task's own."""
    device_target: Literal["CPU", "GPU", "Ascend"] = "CPU"
    """Where it runs: ONNX on CPU or GPU (CUDA), MINDIR on CPU or Ascend."""
    device_id: NonNegativeInt = 0
    """Number of the device, on Ascend."""
    batch_size: PositiveInt = 32
    """Rows of a batch; the last, smaller one is evaluated too."""
    threads: NonNegativeInt = 0
    """Threads ONNX Runtime uses inside one operator; 0 is all cores."""
    output_file: str = ""
    """Also write the results as JSON to this file."""


@dataclass(frozen=True)
class PreprocessConfig(RecordsConfig):
    """Turn a task's records into the .bin files that inference on Ascend 310 reads."""

    seq_length: NonNegativeInt = 0
    """Tokens every row is filled up to: the exported model's. 0: the task's longest."""
    output_dir: str = "preprocess_Result"
    """Folder to write; an older one is replaced."""


@dataclass(frozen=True)
class InferConfig:
    """Run a MINDIR over the .bin files of preprocess.py."""

    config_path: str = ""
    """YAML file with settings that differ from these defaults."""
    model_file: str = ""
    """The .mindir file."""
    input_dir: str = "preprocess_Result"
    """What preprocess.py wrote."""
    output_dir: str = "result_Files"
    """Folder for the logits, one file a row; an older one is replaced."""
    device_target: Literal["CPU", "GPU", "Ascend"] = "CPU"
    """Where it runs."""
    device_id: NonNegativeInt = 0
    """Number of the device, on Ascend."""


@dataclass(frozen=True)
class PostprocessConfig:
    """Turn inference's result files into the task's metric; every row counts."""

    config_path: str = ""
    """YAML file with settings that differ from these defaults."""
    task_name: str = ""
    """Task, in any case."""
    assessment_method: Literal["auto", "accuracy", "f1", "bf1", "mf1", "matthews", "pearson", "spearman"] = (
        "auto"
    )
    """Metric that counts; auto takes the task's own."""
    input_dir: str = "preprocess_Result"
    """What preprocess.py wrote."""
    result_dir: str = "result_Files"
    """What inference wrote."""


@dataclass(frozen=True)
class PredictConfig:
    """Label texts with any model of this project."""

    config_path: str = ""
    """YAML file with settings that differ from these defaults."""
    model: str = ""
    """An .onnx or .mindir file, a .ckpt file, or a model's folder, packed and Hugging Face's included."""
    text: Union[str, Literal[False]] = False  # of an Optional the parser would take the word null for nothing
    """The text. Without it, and without file, lines of standard input are labelled."""
    text_pair: Union[str, Literal[False]] = False
    """Its second text, for tasks on pairs."""
    file: str = ""
    """A file with one text a line; a tab separates the two texts of a pair."""
    vocab_file: str = ""
    """The vocabulary, where no vocab.txt lies beside the model."""
    max_seq_length: NonNegativeInt = 0
    """Longest row in tokens; longer texts are cut with a notice. 0: as many as the model takes, at most
    512.
    """
    batch_size: PositiveInt = 32
    """Rows of a batch."""


@dataclass(frozen=True)
class PrepareConfig:
    """Turn a task's raw files, or a text corpus for general distillation, into record files with the tokens
    BERT reads.
    """

    config_path: str = ""
    """YAML file with settings that differ from these defaults."""
    task_name: str = ""
    """Task, in any case: CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE, WNLI, or custom for your own JSON
    lines; gd for a text corpus (general distillation)."""
    data_dir: str = ""
    """Folder with the raw files: train.tsv, dev.tsv (and test.tsv) as GLUE ships them, Hugging Face's parquet
    files, or train.jsonl, dev.jsonl (and test.jsonl)."""
    vocab_file: str = ""
    """WordPiece vocabulary, one token a line."""
    output_dir: str = ""
    """The records go to a folder in here that has the task's lower-case name."""
    dataset_type: Literal["mindrecord", "tfrecord"] = "mindrecord"
    """Format to write; tfrecord needs requirements-convert.txt."""
    max_seq_length: NonNegativeInt = 0
    """Longest row in tokens, [CLS] and [SEP] included; longer texts are cut. 0: the task's own, 64 or 128;
    gd: 128.
    """
    do_lower_case: Union[bool, Literal["auto"]] = "auto"
    """Lower-case the text and strip accents; auto: yes unless the vocabulary has cased words."""
    labels: Tuple[str, ...] = ()
    """Class names of a custom task in index order, as `--labels bad,good`. Unset: the names in its training
    file, sorted.
    """
    skip_bad_rows: bool = False
    """Skip malformed rows and count them, instead of stopping at the first one."""
    num_workers: NonNegativeInt = 0
    """Processes that tokenize; 0: one for every core that may be used. For a corpus each holds up to 100
    MB.
    """
    input: Tuple[str, ...] = ()
    """General distillation only: the corpus, files and folders as `--input a,b`: plain text with blank lines
    between documents, or WikiExtractor's output (also as JSON lines); gz, bz2, xz or uncompressed."""
    short_seq_prob: ClosedUnitInterval = 0.1
    """General distillation only: share of the documents that are packed into rows of a random shorter length;
    0.1 as in BERT.
    """
    next_sentence: bool = True
    """General distillation only: rows are pairs of texts, in half of them the second one from a random
    document (label 1, else 0), as in BERT; false: one text a row, every token of the corpus exactly once."""
    dupe_factor: PositiveInt = 1
    """General distillation only: times the corpus is packed, each time with other random choices; BERT took
    10 for its masks to differ.
    """
    masked_lm_prob: Probability = 0.0
    """General distillation only: share of the tokens masked in the rows (80 % [MASK], 10 % a random token, 10
    % kept); BERT had 0.15, but distillation needs none."""
    seed: NonNegativeInt = 42
    """General distillation only: seed of every random choice; same seed, same files."""
    shard_mb: PositiveInt = 32
    """General distillation only: MiB of text a record file is made from, duplicates (dupe_factor) counted; a
    run that was stopped continues with the files it lacks."""


@dataclass(frozen=True)
class ConvertConfig:
    """Convert a checkpoint from or to other frameworks' formats."""

    config_path: str = ""
    """YAML file with settings that differ from these defaults."""
    input: str = ""
    """A Hugging Face folder, a TensorFlow BERT checkpoint (folder or prefix), a published MindSpore .ckpt, or
    one of ours.
    """
    output: str = ""
    """Folder to write."""
    to: Literal["mindspore", "huggingface", "tensorflow"] = "mindspore"
    """Format to write: mindspore is eval_model.ckpt + config.json + vocab.txt."""
    bert_config: str = ""
    """config.json (or bert_config.json) of the network where none lies beside the weights."""
    vocab_file: str = ""
    """Vocabulary where none lies beside the weights."""
    task_name: str = ""
    """Give the checkpoint this task's label names; its head must have as many outputs."""
    classifier_relu: Union[bool, Literal["auto"]] = "auto"
    """Whether the network has TinyBERT's ReLU before the classifier; auto: as config.json says, else only for
    published MindSpore TinyBERT checkpoints."""


# --- parsing ------------------------------------------------------------------------------------------------

_OLD_NAMES = {
    "save_checkpoint_step": "save_ckpt_step",
    "save_checkpoint_steps": "save_ckpt_step",
    "save_ckpt_steps": "save_ckpt_step",
    "load_student_ckpt_path": "load_gd_ckpt_path",
    "max_checkpoint_num": "max_ckpt_num",
    "td_phase1_epoch": "td_phase1_epoch_size",
    "td_phase2_epoch": "td_phase2_epoch_size",
    "common_cfg": "gd_cfg",
    "bert_teacher_net_cfg": "gd_teacher_net_cfg",
    "bert_student_net_cfg": "gd_student_net_cfg",
    "input_bits": "quant_cfg.activation_bits",
    "activation_init": "quant_cfg.activation_clip_value",
}
_BOOLEANS = {"true": "true", "false": "false"}


def _new_name(key, notices, given, where):
    """`key` with an old spelling of its first or only part replaced, which is added to `notices`.

    Args:
        given (dict): {present name: the key it was given as} of the keys before this one; this one is added.
        where (str): the file or "command line", for the error.

    Raises:
        UserError: the setting was given before under another spelling; which one is meant cannot be known.
    """
    head, dot, rest = key.partition(".")
    name = _OLD_NAMES.get(head, head) + dot + rest
    if given.setdefault(name, key) != key:
        raise UserError(
            f"{where}: {given[name]} and {key} are two spellings of one setting; give only {name}"
        )
    if head in _OLD_NAMES:
        notices.append(f"{head} is an old spelling of {_OLD_NAMES[head]}")
    return name


def _tidy_value(value, kind):
    """A setting's value as its type reads it: booleans in any case, `mstype.float16` as `float16`; texts stay
    as they are.
    """
    if isinstance(value, str) and (kind is bool or bool in get_args(kind)):
        return _BOOLEANS.get(value.lower(), value)
    if isinstance(value, str) and get_origin(kind) is Literal:
        return re.sub(r"^mstype\.", "", value)
    return value


def _tidy_arguments(arguments, notices, config_class):
    """The command line in the form the parser takes: `--flag` alone means true, `--names a,b` and `--numbers
    1,2` are lists.
    """
    types, given, tidy, key = _types(config_class), {}, [], ""
    for position, argument in enumerate(arguments):
        if argument.startswith("--"):
            key, equals, value = argument[2:].partition("=")
            key = _new_name(key, notices, given, "command line")
            kind = types.get(key)
            alone = not equals and (
                position + 1 == len(arguments) or arguments[position + 1].startswith("--")
            )
            if alone and (kind is bool or bool in get_args(kind)):
                equals, value = "=", "true"
            tidy.append(
                "--" + key + equals + (_tidy_argument(value, key, kind, config_class) if equals else "")
            )
        else:
            tidy.append(_tidy_argument(argument, key, types.get(key), config_class))
            key = ""  # it has its value; what follows without a key is for the parser to refuse as it is
    return tidy


def _tidy_argument(value, key, kind, config_class):
    if is_dataclass(kind):  # a whole section, as JSON
        try:
            _checked({key: yaml.load(value, _UniqueKeys)}, config_class, "command line")
        except yaml.YAMLError as error:
            raise UserError(f"command line: {key} is not valid JSON: {one_line(error)}") from error
        return value
    if get_origin(kind) is tuple and not value.lstrip().startswith("["):
        return json.dumps(
            [item.strip() for item in value.split(",")]
        )  # quoted: a bare no would be YAML's false
    return _tidy_value(value, kind)


def _types(config_class, prefix=""):
    """{dotted key: type} of every key of `config_class`, sections included."""
    hints, types = get_type_hints(config_class), {}
    for item in fields(config_class):
        types[prefix + item.name] = hints[item.name]
        if is_dataclass(hints[item.name]):
            types.update(_types(hints[item.name], prefix + item.name + "."))
    return types


def _unknown_key(key, config_class, where):
    known = list(_types(config_class))
    last_parts = {name.rpartition(".")[2]: name for name in reversed(known)}
    close = (
        difflib.get_close_matches(key, known, n=1)
        or [name for name in known if name.endswith("." + key)][:1]
        or [last_parts[part] for part in difflib.get_close_matches(key.rpartition(".")[2], last_parts, n=1)]
    )
    hint = f"; did you mean {close[0]}?" if close else "; --help lists the known ones"
    return UserError(f"{where}: unknown setting '{key}'{hint}")


def _nested(settings, types, where, prefix):
    """`settings` with its dotted keys inside their sections; the parser would drop either where a file has
    both.
    """
    nested = dict(settings)
    for name in settings:
        section, dot, rest = str(name).partition(".")
        inside = {} if nested.get(section) is None else nested[section]
        if not dot or not is_dataclass(types.get(f"{prefix}{section}")) or not isinstance(inside, dict):
            continue  # what is wrong with these is told later
        if rest in inside:
            raise UserError(
                f"{where}: {prefix}{name} stands there twice, inside the section {prefix}{section} too"
            )
        nested[section] = {**inside, rest: nested.pop(name)}
    return nested


def _checked(settings, config_class, where, prefix=""):
    """A YAML file's `settings`, their values tidy, without its empty sections, whose defaults count.

    The parser lets a section that is no section and an empty value pass, so both are refused here.
    """
    types, checked = _types(config_class), {}
    for name, value in _nested(settings, types, where, prefix).items():
        key = f"{prefix}{name}"
        if key not in types:
            raise _unknown_key(key, config_class, where)
        if is_dataclass(types[key]):
            if value is None:
                continue
            if not isinstance(value, dict):
                raise UserError(f"{where}: {key} is a section: it must hold keys and values, not {value!r}")
            value = _checked(value, config_class, where, key + ".")
        elif isinstance(value, dict):
            raise UserError(
                f"{where}: {key} is one setting, not a section: it must hold a value, not keys and values"
            )
        elif value is None and type(None) not in get_args(types[key]):
            raise UserError(f"{where}: {key} has no value; give it one, or remove the key to use its default")
        checked[name] = _tidy_value(value, types[key])
    return checked


def _found_config(path, notices):
    """The file that `config_path` names: `path` itself or, where that does not exist, the one below this
    repository's root.

    A job on ModelArts starts in another folder, and the published job pages count from src/model_utils
    (`../../gd_config.yaml`), so leading `..` are dropped: whatever folder of the repository a path counted
    from, that leads to its root.
    """
    below = re.sub(r"^(\.\./)+", "", os.path.normpath(path))
    found = os.path.join(ROOT, below)  # of an absolute path: the path itself
    if os.path.exists(path) or not os.path.isfile(found):
        return path
    notices.append(f"config_path: {path} is read from {found}")
    return found


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML in which a key stands once; PyYAML itself lets the last one win."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path, config_class, notices):
    """The settings in a YAML file, keys checked against `config_class`.

    The published files hold three documents (settings, help, choices): the first one counts, and `notices`
        says so.
    """
    try:
        with open(path, encoding="utf-8") as file:
            documents = list(yaml.load_all(file, _UniqueKeys))
    except OSError as error:
        raise UserError(f"config_path: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"config_path: {path} is not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise UserError(f"config_path: {path} is not valid YAML: {one_line(error)}") from error
    if len(documents) > 1:
        notices.append(f"{path} holds {len(documents)} YAML documents; only the first one counts")
    settings = documents[0] if documents and documents[0] is not None else {}
    if not isinstance(settings, dict):
        raise UserError(f"config_path: {path} must hold keys and values, not {type(settings).__name__}")
    given = {}
    settings = {_new_name(str(key), notices, given, path): value for key, value in settings.items()}
    return _checked(settings, config_class, path)


def _parser(config_class, script):
    parser = ArgumentParser(
        prog=script, exit_on_error=False, allow_abbrev=False, description=config_class.__doc__.strip()
    )
    parser.add_class_arguments(config_class, nested_key=None, instantiate=False)
    return parser


# What jsonargparse says, in plain words; in order. The first is its message for an Optional type.
_PLAIN_WORDS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (
            r"Does not validate against any of the Union subtypes .*? Errors: - (.*?)(?:: '[^']*')? - "
            r"Expected a <class 'NoneType'>.* Given value: (.*)",
            r"\1, not \2",
        ),
        (r"Not of type \w+: (\S+) does not conform to restriction ([^;:]*)", r"must be \2, not \1"),
        (r"Not of type \w+: does not conform to restriction ", "must be "),
        (
            r"Not of type \w+: (?:invalid literal for int\(\) with base 10|not an integer)(?:: |, not )",
            "must be a whole number, not ",
        ),
        (r"Not of type \w+: could not convert string to float(?:: |, not )", "must be a number, not "),
        (r"\bv([<>]=?)", r"\1 "),
        (r"\bv==", ""),
        (r"Expected a <class 'tuple'>\. Got value: ", "must be a list, as [a, b], not "),
    )
)


def _readable(error, config_class):
    """jsonargparse's message as one line that starts with the key."""
    text = one_line(error)
    for pattern, plain in _PLAIN_WORDS:
        text = pattern.sub(plain, text)
    unknown = re.search(r"(?:Unrecognized arguments:|unrecognized arguments:)\s*--([\w.]+)", text)
    if unknown:
        return _unknown_key(unknown.group(1), config_class, "command line")
    key = re.search(r"""[Pp]arser key ["']([\w.]+)["']:?\s*(.*)""", text)
    if key:
        return UserError(f"{key.group(1)}: {key.group(2)}")
    return UserError(text)


def _parse_file(parser, settings, path, config_class):
    try:
        return parser.parse_object(settings)
    except Exception as error:
        raise UserError(f"{path}: {_readable(error, config_class)}") from error


def from_json(config_class, values, where, complete=False):
    """A `config_class` from the keys and values of a JSON file.

    Args:
        values (dict): checked as a YAML file's. where (str): the file, for messages. complete (bool): whether
            every key must be there.

    Raises:
        UserError: no dict, an unknown or missing key, a value of the wrong type or outside its range.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where} must hold keys and values, not {values!r}")
    absent = [item.name for item in fields(config_class) if item.name not in values]
    if complete and absent:
        raise UserError(f"{where} lacks {', '.join(absent)}")
    parser = _parser(config_class, "")
    try:
        return config_class(
            **vars(
                parser.instantiate(
                    _parse_file(parser, _checked(values, config_class, where), where, config_class)
                )
            )
        )
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(where) else f"{where}: {error}") from error


def _merged(below, above):
    """Two nested dicts as one; `above` wins."""
    both = {**below, **above}
    return {
        key: _merged(below[key], value)
        if isinstance(value, dict) and isinstance(below.get(key), dict)
        else value
        for key, value in both.items()
    }


def parse(config_class, arguments=None, script=None):
    """The settings of one run.

    Args:
        config_class: one of the dataclasses above.
        arguments (list of str): the command line without the program's name. Default: `sys.argv[1:]`.
        script (str): the program's name for `--help`.

    Returns:
        (settings, notices): a frozen instance of `config_class`, and lines that the program should print.

    Raises:
        UserError: an unknown key, a value of the wrong type or outside its range, or an unreadable YAML file.
    """
    notices = []
    arguments = _tidy_arguments(sys.argv[1:] if arguments is None else arguments, notices, config_class)
    parser = _parser(config_class, script or os.path.basename(sys.argv[0]))
    try:
        chosen = parser.parse_args(arguments)  # also serves --help
        file, path = {}, chosen.config_path
        if path:
            path = _found_config(path, notices)
            file = read_yaml(path, config_class, notices)
            chosen = parser.parse_args(arguments, namespace=_parse_file(parser, file, path, config_class))
        for key, presets in getattr(
            config_class, "PRESETS", {}
        ).items():  # a preset's values count less than the file's own
            if chosen[key] != file.get(key, chosen[key]):  # what the file adds was meant for its own preset
                left_out = [name for name in presets[file[key]] if file.pop(name, None)]
                notices.extend(
                    f"{name} of {path} is left out: it is for {key} {file[key]}, not {chosen[key]}"
                    for name in left_out
                )
                chosen = parser.parse_args(arguments, namespace=_parse_file(parser, file, path, config_class))
            file = _merged(presets[chosen[key]], file)
            chosen = parser.parse_args(arguments, namespace=_parse_file(parser, file, path, config_class))
        settings = parser.instantiate(chosen)
    except UserError:
        raise
    except Exception as error:  # jsonargparse raises several kinds, all about the user's input
        raise _readable(error, config_class) from error
    return config_class(**vars(settings) if isinstance(settings, Namespace) else settings), list(
        dict.fromkeys(notices)
    )


def read_settings(config_class):
    """The settings of a program's run, from its command line; prints what there is to note about them. Raises
    as `parse` does.
    """
    settings, notices = parse(config_class)
    for notice in notices:
        print(notice, flush=True)
    return settings


def required(settings, *names):
    """A `UserError` naming the first of `names` that is empty."""
    for name in names:
        if not getattr(settings, name):
            raise UserError(f"{name} is needed: give --{name} or set it in the YAML file; --help explains it")


def to_yaml(settings):
    """The settings as YAML that `parse` reads back."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        for kind in (
            bool,
            int,
            float,
        ):  # jsonargparse's range-checked numbers are subclasses that YAML does not know
            if isinstance(value, kind):
                return kind(value)
        return value

    return yaml.safe_dump(plain(asdict(settings)), sort_keys=False, allow_unicode=True)


def save(settings, path):
    """Write `to_yaml(settings)` to `path`."""
    with replacing(path) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(to_yaml(settings))
