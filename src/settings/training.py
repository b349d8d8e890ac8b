"""What the training commands take.

A field's docstring is its help text: what it is, its unit, and why the default is what it is.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Dict, Literal, Optional, Tuple

from src.errors import UserError
from src.kinds.base import TaskKind
from src.settings.groups import grouped, needed, rare, section
from src.settings.network import Known, NetConfig, QuantConfig, ShapeConfig, StudentPlan
from src.settings.published_flags import NLP_ARCHITECT, TERNARYBERT
from src.settings.shared import (
    BatchesConfig,
    ConfigFile,
    DataConfig,
    GroupConfig,
    ModelArtsConfig,
    RawDataConfig,
    VocabularyConfig,
)
from src.settings.stage import EvalConfig, Phase1Config, Phase2Config, PhaseConfig
from src.settings.types import (
    ComputeType,
    MinusOneOrPositive,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)


@dataclass(frozen=True)
class TrainingConfig(GroupConfig, ModelArtsConfig, ConfigFile):
    """Settings that every training command shares."""

    GROUP = "Run and log"

    enable_data_sink: bool = False
    """Let the device pull batches from a queue of its own (Ascend, GPU); on CPU a notice says it does not
    apply.
    """
    data_sink_steps: MinusOneOrPositive = rare(1)
    """Steps between two returns from the device's queue; -1: a whole epoch."""
    save_ckpt_step: NonNegativeInt = 0
    """Save a checkpoint every N steps; 0: only the best one (with do_eval) or the last one (without)."""
    max_ckpt_num: PositiveInt = 1
    """How many of the save_ckpt_step checkpoints are kept; older ones are deleted."""
    log_step: PositiveInt = 50
    """Write losses to the log and to metrics.jsonl every N steps."""
    tensorboard: bool = False
    """Write what goes to metrics.jsonl as event files too. They are in the run folder: tensorboard --logdir
    output. Needs the package tensorboardX.
    """
    profile_steps: NonNegativeInt = rare(0)
    """Write MindSpore's profile of N steps, after the first 20 of a stage, to profile/ in the run folder; 0:
    none.
    """
    output_dir: str = needed("", "output")
    """Run folder; unset: output/ with the command's and the task's name."""
    resume: bool = False
    """Go on where a stopped run with the same settings was. It saved its state every save_ckpt_step steps,
    after every epoch, and when it was told to end (SIGTERM). Without one, begin."""
    overwrite_output_dir: bool = False
    """Replace what an earlier run left in output_dir. Its own files are removed, no others. With false a
    folder with an earlier run's results is refused."""


@dataclass(frozen=True)
class RunConfig(TrainingConfig, DataConfig, RawDataConfig):
    """Settings of the commands that train on a task."""

    GROUP = "Run and log"

    do_train: bool = True
    """Train; false with do_eval true only evaluates."""
    do_eval: bool = True
    """Evaluate during and after training."""


@dataclass(frozen=True)
class DistillingConfig(RunConfig):
    """Settings of the commands that distil a task's teacher."""

    GROUP = "Teacher and student"

    teacher_cache_gb: NonNegativeFloat = 8.0
    """Gigabytes that what the teacher computes may take on disk. Its hidden states and attention scores are
    then computed in the first epoch only. With 0, or where they need more, the teacher runs in every step.
    They stay in teacher_cache/ of the run folder, for a next run there with the same batches and seed."""
    min_teacher_gain: NonNegativeFloat = 2.0
    """Points by which the teacher must beat a constant answer. That is always guessing the commonest class,
    or a correlation of 0; else it is refused.
    """


@dataclass(frozen=True)
class FoldersConfig:
    """Where a task's records lie, and how a network is evaluated on them."""

    GROUP = "Data"

    train_data_dir: str = needed("", "data")
    """Folder with training records, or the task's raw files. Records are train.mindrecord or
    train.tf_record, or files of the published shape; raw files are prepared first, in OUTPUT_DIR/records."""
    eval_data_dir: str = needed("", "data")
    """Folder with evaluation records, or the task's raw files. It may be train_data_dir: the split is taken
    by file name."""
    eval_cfg: EvalConfig = section(EvalConfig, "Evaluation")
    """Evaluation settings."""


@dataclass(frozen=True)
class GeneralDistillConfig(TrainingConfig, BatchesConfig, VocabularyConfig):
    """Distil a pre-trained BERT into a small general one on a text corpus (TinyBERT, arXiv 1909.10351,
    section 3.2).
    """

    GROUP = "Teacher and student"

    epoch_size: PositiveInt = needed(3, "epochs")
    """Passes over the corpus."""
    train_steps: MinusOneOrPositive = needed(-1, "epochs")
    """Optimizer steps in all; -1: those of epoch_size passes. They take as many passes as they need."""
    data_dir: str = needed("", "data")
    """Folder of the corpus's records. It is OUTPUT_DIR/gd of prepare_data.py --task_name gd, or has files of
    the published shape.
    """
    load_teacher_ckpt_path: str = needed("", "model")
    """Pre-trained teacher, fine-tuned or not. A checkpoint of ours, Hugging Face's, TensorFlow BERT's or a
    published MindSpore .ckpt.
    """
    load_gd_ckpt_path: str = ""
    """Student of an earlier general distillation to go on from. Its projection goes on too. Unset:
    student_init decides.
    """
    student_init: Literal["random", "teacher_layers"] = "random"
    """How a student without a checkpoint starts. From random weights or the teacher's own layers (equal
    widths).
    """
    save_ckpt_path: str = grouped("", "Run and log")
    """Folder of the student's checkpoints; unset: gd/ in the run folder."""
    save_ckpt_step: NonNegativeInt = grouped(100, "Run and log")
    """Save a checkpoint, and the state to resume from, every N steps. With 0 the state after every epoch, and
    the student after the last step.
    """
    gd_cfg: Phase1Config = section(Phase1Config, "Training")
    """The training stage; batch_size is a device's own."""
    gd_teacher_net_cfg: NetConfig = section(NetConfig, "Teacher network", hidden=True)
    """The teacher's network; normally empty, for its checkpoint's config.json says it."""
    gd_student_net_cfg: NetConfig = section(NetConfig, "Student network")
    """The student's network; what is left out is as in its checkpoint or, without one, as in the teacher."""

    @property
    def teacher_known(self) -> Known:
        """What is known of the teacher's checkpoint."""
        return Known(self.gd_teacher_net_cfg, "gd_teacher_net_cfg", self.vocab_file)

    @property
    def student_plan(self) -> StudentPlan:
        """Where the student starts."""
        return StudentPlan(
            self.gd_student_net_cfg,
            "gd_student_net_cfg",
            "gd_cfg",
            self.load_gd_ckpt_path,
            "load_gd_ckpt_path",
            from_teacher=self.student_init == "teacher_layers",
            vocab_file=self.vocab_file,
        )

    def __post_init__(self):
        if self.load_gd_ckpt_path and self.student_init != "random":
            raise UserError(
                f"student_init: contradicts the checkpoint {self.load_gd_ckpt_path}; give only one of them"
            )


@dataclass(frozen=True)
class TaskDistillConfig(FoldersConfig, DistillingConfig, VocabularyConfig):
    """Distil a task's teacher into a student in two phases and evaluate it (TinyBERT, arXiv 1909.10351)."""

    GROUP = "Teacher and student"

    td_phase1_epoch_size: NonNegativeInt = needed(10, "epochs")
    """Epochs of phase 1; 0 skips it."""
    td_phase2_epoch_size: NonNegativeInt = needed(3, "epochs")
    """Epochs of phase 2; 0 skips it."""
    load_teacher_ckpt_path: str = needed("", "model")
    """Teacher fine-tuned on the task. A checkpoint of run_finetune.py, Hugging Face's, TensorFlow BERT's or a
    published MindSpore .ckpt.
    """
    load_gd_ckpt_path: str = needed("", "model")
    """Student after general distillation, to start phase 1 from."""
    load_td1_ckpt_path: str = ""
    """Student after phase 1, to start phase 2 from; with do_train false, the model to evaluate."""
    student_init: Literal["auto", "random", "teacher_layers"] = "auto"
    """How a student without a checkpoint starts. From random weights or the teacher's own layers (equal
    widths). With auto: load_gd_ckpt_path or load_td1_ckpt_path if given, else random."""
    student_layers: Tuple[NonNegativeInt, ...] = ()
    """Teacher layers, counted from 0, that it starts from. With student_init teacher_layers they are
    copied, one a student layer. Unset: the last of each group of teacher layers that the uniform layer map
    pairs with a student layer."""
    phase1_cfg: Phase1Config = section(Phase1Config, "Phase 1")
    """Phase 1: attention scores and hidden states."""
    phase2_cfg: Phase2Config = section(Phase2Config, "Phase 2")
    """Phase 2: predictions."""
    td_teacher_net_cfg: NetConfig = section(NetConfig, "Teacher network", hidden=True)
    """The teacher's network; normally empty, for its checkpoint's config.json says it."""
    td_student_net_cfg: NetConfig = section(NetConfig, "Student network")
    """The student's network."""

    def teacher_known(self, kind: Optional[TaskKind]) -> Known:
        """What is known of the teacher's checkpoint, whose head is of a kind."""
        return Known(self.td_teacher_net_cfg, "td_teacher_net_cfg", self.vocab_file, kind)

    @property
    def student_plan(self) -> StudentPlan:
        """Where the student starts."""
        key = "load_td1_ckpt_path" if self.load_td1_ckpt_path else "load_gd_ckpt_path"
        return StudentPlan(
            self.td_student_net_cfg,
            "td_student_net_cfg",
            "phase1_cfg",
            getattr(self, key),
            key,
            from_teacher=self.student_init == "teacher_layers" or bool(self.student_layers),
            layers=self.student_layers,
            keeps_head=not self.load_gd_ckpt_path,
            vocab_file=self.vocab_file,
        )

    @property
    def runs_phase1(self) -> bool:
        """Whether phase 1 is part of this run."""
        return self.td_phase1_epoch_size > 0 and not self.load_td1_ckpt_path

    def __post_init__(self):
        if not (self.do_train or self.do_eval):
            raise UserError("do_train and do_eval are both false: there is nothing to do")
        if not self.do_train:
            return
        if not (self.td_phase2_epoch_size or self.runs_phase1):
            raise UserError(
                "td_phase2_epoch_size is 0 and phase 1 is skipped (td_phase1_epoch_size 0 or "
                "load_td1_ckpt_path): there is nothing to train"
            )
        path = self.load_td1_ckpt_path or self.load_gd_ckpt_path
        if self.load_td1_ckpt_path and self.load_gd_ckpt_path:
            raise UserError(
                f"load_gd_ckpt_path: {self.load_gd_ckpt_path} and load_td1_ckpt_path {path} both say "
                "where the student starts; give only one of them"
            )
        if path and (self.student_init != "auto" or self.student_layers):
            raise UserError(
                f"student_init, student_layers: they contradict the checkpoint {path}; give only one of them"
            )
        if self.student_layers and self.student_init == "random":
            raise UserError("student_layers: contradicts student_init random; leave one of them out")


@dataclass(frozen=True)
class FinetuneConfig(FoldersConfig, RunConfig):
    """Fine-tune a BERT checkpoint on a task: makes teachers, and is the baseline without distillation."""

    GROUP = "Teacher and student"

    epoch_size: PositiveInt = needed(3, "epochs")
    """Epochs."""
    load_ckpt_path: str = needed("", "model")
    """Encoder (or task) checkpoint to start from. It is ours, Hugging Face's, TensorFlow BERT's or a
    published MindSpore .ckpt. Unset: random weights.
    """
    init_layers: Tuple[NonNegativeInt, ...] = ()
    """Use only these encoder layers of the checkpoint, counted from 0. Unset: all of them."""
    vocab_file: str = ""
    """Vocabulary where the checkpoint has none beside it. Or where the network starts from random weights."""
    finetune_cfg: PhaseConfig = section(PhaseConfig, "Training")
    """The training stage."""
    net_cfg: NetConfig = section(NetConfig, "Network of the checkpoint")
    """The network; needed only for random weights, to change the run's choices, or for a checkpoint that does
    not say it, as a published MindSpore .ckpt without config.json.
    """


@dataclass(frozen=True)
class QuantizedStudentConfig(VocabularyConfig):
    """What a quantized student is, and what it learns from."""

    GROUP = "Teacher and student"

    do_train: bool = grouped(True, "Run and log")
    """Train; false quantizes the student as it is."""
    pred_distill: bool = grouped(True, "Training")
    """Fit the teacher's predictions (soft cross-entropy)."""
    intermediate_distill: bool = grouped(True, "Training")
    """Fit the teacher's attention scores and hidden states, layer by layer; train_cfg.attention_loss and
    train_cfg.hidden_loss leave one of them out."""
    is_lgt_fit: bool = grouped(False, "Training")
    """Fit the ground-truth labels too."""
    do_quant: bool = grouped(True, "Quantization")
    """Quantize the activations, as on the published pages. With false they stay in float32, and only weights
    and embeddings are quantized. To train all of it in float32: --quantization none."""
    quant_cfg: QuantConfig = section(QuantConfig, "Quantization")
    """Bits, quantizers, granularities, clips; keys given here count more than quantization's."""
    hidden_dropout_prob: Probability = 0.0
    """The student's dropout while training; quantization regularizes enough."""
    attention_probs_dropout_prob: Probability = 0.0
    """The same for attention probabilities."""
    classifier_dropout: Optional[Probability] = None
    """The same for what the classifier reads; published as cls_dropout_prob. Unset: as hidden_dropout_prob.
    """
    student_net_cfg: ShapeConfig = section(ShapeConfig, "Student network", hidden=True)
    """The student's network; normally empty, for its checkpoint's config.json says it. What is quantized and
    the dropout, which published settings have here, are settings of their own."""

    def known(self, kind: Optional[TaskKind]) -> Known:
        """What is known of the student's checkpoint, whose head is of a kind."""
        return Known(self.student_net_cfg, "student_net_cfg", self.vocab_file, kind)

    @property
    def quantization_cfg(self) -> QuantConfig:
        """What is quantized."""
        return self.quant_cfg if self.do_quant else replace(self.quant_cfg, activation_bits=32)

    @property
    def dropout(self) -> dict[str, Any]:
        """The student's rates, by `BertConfig`'s names."""
        names = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
        rates = {name: getattr(self, name) for name in names}
        return {name: None if rate is None else float(rate) for name, rate in rates.items()}


@dataclass(frozen=True)
class TernaryConfig(QuantizedStudentConfig, DistillingConfig):
    """Train a quantized BERT with distillation from its full-precision teacher (TernaryBERT, arXiv
    2009.12812; Q8BERT, 1910.06188). The flags of quant_task_glue.py, quant_task_squad.py and nlp_architect's
    transformer_glue are read too.
    """

    GROUP = "Teacher and student"

    epoch_size: PositiveInt = needed(3, "epochs")
    """Epochs."""
    teacher_model_dir: str = needed("", "model")
    """The fine-tuned float32 teacher's folder. Or one that holds it under the task's lower-case name."""
    student_model_dir: str = needed("", "model")
    """Checkpoint the student starts from, likewise; usually the teacher's own."""
    data_dir: str = needed("", "data")
    """The folder of the task's records or raw files. Or one that holds it under the task's lower-case name.
    Raw files are prepared first, in OUTPUT_DIR/records."""
    model_path: str = grouped("", "Answers")
    """Do not train: answer the task's test set with this model. A line a row, in OUTPUT_DIR/output.txt."""
    split: Literal["test", "eval", "dev"] = grouped("test", "Answers")
    """With model_path: the test set, or with eval or dev the dev set."""
    eval_batch_size: PositiveInt = grouped(32, "Evaluation")
    """Rows of an evaluation batch."""
    eval_ckpt_step: NonNegativeInt = grouped(0, "Evaluation")
    """Evaluate every N steps; 0: at the end of every epoch."""
    temperature: PositiveFloat = grouped(1.0, "Training")
    """Softmax temperature of the soft cross-entropy."""
    quantization: Literal["ternary", "q8bert", "none"] = needed("ternary", "model")
    """What quant_cfg starts from. That is, ternary: 2-bit weights and embeddings with 8-bit activations,
    q8bert: 8 bits everywhere with moving-average activation ranges, none: float32."""
    train_cfg: Phase1Config = section(Phase1Config, "Training")
    """The training stage; its batch_size may also be given as train_batch_size. Its attention_loss and
    hidden_loss say what intermediate_distill fits."""
    teacher_net_cfg: ShapeConfig = section(ShapeConfig, "Teacher network", hidden=True)
    """The teacher's network; normally empty, for its checkpoint's config.json says it."""
    compute_type: ComputeType = grouped("auto", "Training")
    """Type the matrix products compute in. With auto float16 on Ascend and GPU, float32 on CPU."""
    save_quantized_model: bool = grouped(True, "Run and log")
    """Write the best model packed to OUTPUT_DIR/TASK/."""
    save_fp_model: bool = grouped(False, "Run and log")
    """Keep the best model's float32 weights for further training. They are in OUTPUT_DIR/latent/TASK/, where
    save_ckpt_step's files are too; these keep it as well."""
    packed_bits: Literal["1.6", "2"] = grouped("1.6", "Run and log")
    """Bits a ternary weight takes in the packed file. With 1.6 they are 5 to a byte, with 2 they are 4."""

    def __post_init__(self):
        for name in ("teacher_model_dir", "student_model_dir"):
            if self.model_path and getattr(self, name):
                raise UserError(
                    f"model_path, {name}: the first answers a test set with a trained model, the second is "
                    "for training one; give only one of them"
                )
        if not (self.save_fp_model or self.save_quantized_model):
            raise UserError("save_fp_model and save_quantized_model are both false: the result would be lost")
        if self.do_train and not (self.pred_distill or self.fits_layers or self.is_lgt_fit):
            raise UserError(
                "pred_distill, is_lgt_fit and intermediate_distill (or both train_cfg.attention_loss and "
                "train_cfg.hidden_loss) are false: there is nothing to learn from"
            )

    @property
    def run_name(self) -> str:
        """Of the run folder, where output_dir is unset: what was only quantized does not replace what was
        trained."""
        return "ternary" if self.do_train else "ternary-untrained"

    @property
    def folders(self) -> FoldersConfig:
        """Where its records lie and how it is evaluated, as the other commands say it."""
        evaluation = EvalConfig(self.eval_batch_size, self.eval_ckpt_step)
        return FoldersConfig(self.data_dir, self.data_dir if self.do_eval else "", evaluation)

    def teacher_known(self, kind: Optional[TaskKind]) -> Known:
        """What is known of the teacher's checkpoint, whose head is of a kind."""
        return Known(self.teacher_net_cfg, "teacher_net_cfg", self.vocab_file, kind)

    @property
    def fits_layers(self) -> bool:
        """Whether the student's layers are fitted to the teacher's."""
        return self.intermediate_distill and (self.train_cfg.attention_loss or self.train_cfg.hidden_loss)

    @property
    def keeps_latent(self) -> bool:
        """Whether float32 weights stay beside the packed model."""
        return self.save_fp_model or self.save_ckpt_step > 0

    PUBLISHED = {**TERNARYBERT, **NLP_ARCHITECT}
    OLD_NAMES = {
        "input_bits": "quant_cfg.activation_bits",
        "activation_init": "quant_cfg.activation_clip_value",
        "embedding_bits": "quant_cfg.embedding_bits",
        "weight_bits": "quant_cfg.weight_bits",
        "weight_clip_value": "quant_cfg.weight_clip_value",
        "cls_dropout_prob": "classifier_dropout",
        "train_batch_size": "train_cfg.batch_size",
        "eval_cfg.batch_size": "eval_batch_size",
        "gradient_cfg.clip_value": "train_cfg.max_grad_norm",
        "is_att_fit": "train_cfg.attention_loss",
        "is_rep_fit": "train_cfg.hidden_loss",
        "modelarts_data_dir": "data_path",
        "modelarts_result_dir": "output_path",
        "teacher_net_cfg.compute_type": "compute_type",
        **{
            f"student_net_cfg.{name}": name
            for name in (
                "do_quant",
                "embedding_bits",
                "weight_bits",
                "weight_clip_value",
                "activation_init",
                "is_att_fit",
                "is_rep_fit",
                "is_lgt_fit",
                "hidden_dropout_prob",
                "attention_probs_dropout_prob",
                "classifier_dropout",
                "cls_dropout_prob",
                "compute_type",
            )
        },
    }
    PRESETS: ClassVar[Dict[str, Dict[str, Dict[str, Any]]]] = {
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
