"""What a network is: its architecture, its quantization, and how a YAML file speaks of it."""

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Optional, Tuple

from src.errors import UserError, shown
from src.kinds.base import TaskKind
from src.settings.groups import rare
from src.settings.types import (
    HIDDEN_ACTS,
    ComputeType,
    HiddenAct,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)

_MOST = {
    "vocab_size": 1 << 24,
    "hidden_size": 1 << 16,
    "num_hidden_layers": 1000,
    "num_attention_heads": 1 << 12,
    "intermediate_size": 1 << 18,
    "max_position_embeddings": 1 << 20,
    "type_vocab_size": 1 << 16,
    "max_relative_position": 1 << 16,
}
"""What no network exceeds: a larger number is a slip or damage, and would ask for all memory there is."""


@dataclass(frozen=True)
class BertConfig:
    """One BERT: the architecture part of a checkpoint's `config.json`, under Hugging Face's field names.

    `hidden_act` has Hugging Face's meaning: `gelu` is the exact (erf) form, `gelu_new` the tanh form.
    `classifier_relu` puts a ReLU before the classifier, as TinyBERT's published checkpoints have it, also
    those for tags.
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
    classifier_dropout: Optional[float] = None  # of the head's input; None: hidden_dropout_prob

    def __post_init__(self):
        for name, most in _MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise UserError(f"{name} must be 1 to {most:,}, not {shown(getattr(self, name))}")
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}"
            )
        if self.hidden_act not in HIDDEN_ACTS:
            known = ", ".join(HIDDEN_ACTS)
            raise UserError(f"hidden_act must be one of {known}, not {shown(self.hidden_act)}")
        for name in ("initializer_range", "layer_norm_eps"):
            value = getattr(self, name)
            if not 0 <= value < 1e30:  # 1e30 is finite in float32
                raise UserError(f"{name} must be a number from 0, not {value}")
            object.__setattr__(self, name, abs(value))  # a spread of -0.0 is negative to NumPy
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise UserError(f"{name} must be at least 0 and below 1, not {value}")

    @property
    def head_dropout(self) -> float:
        """Dropout of what the head reads."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout


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
    """How the table is rounded. 2 bits with twn (ternary weight network) and lat (loss-aware ternary), 2 to 8
    with symmetric and minmax.
    """
    embedding_granularity: Literal["tensor", "row"] = "row"
    """What shares one scale; by row only the looked-up rows need be quantized."""
    embedding_clip_value: NonNegativeFloat = rare(2.5)
    """Values are clipped to plus and minus this first; beyond it there is no gradient. 0: no clip. 2.5 as in
    TernaryBERT.
    """
    weight_bits: int = 32
    """Bits of the linear layers' weights: 2 to 8, or 32 for none."""
    weight_quantizer: Literal["twn", "lat", "symmetric", "minmax"] = "twn"
    """As embedding_quantizer."""
    weight_granularity: Literal["tensor", "row"] = "tensor"
    """What shares one scale. A whole layer's weight, as in TernaryBERT, or each of its output rows."""
    weight_clip_value: NonNegativeFloat = rare(2.5)
    """As embedding_clip_value."""
    activation_bits: int = 32
    """Bits of the activations: 2 to 8, or 32 for none."""
    activation_quantizer: Literal["symmetric", "minmax", "dynamic", "ema"] = "symmetric"
    """Where their range comes from. From each batch with symmetric and minmax; dynamic is ONNX's
    DynamicQuantizeLinear (8 bits); ema is a moving average of the range, fixed after training (Q8BERT)."""
    activation_granularity: Literal["tensor", "row", "head"] = "tensor"
    """What shares one scale. With symmetric and minmax: a whole tensor, each token's row, or, of attention's
    operands, each head of each text (then the other activations have one scale a tensor)."""
    activation_clip_value: NonNegativeFloat = rare(2.5)
    """As embedding_clip_value; ema has no clip."""
    ema_decay: Probability = rare(0.9999)
    """Decay of ema's moving average."""
    ema_start_step: NonNegativeInt = rare(0)
    """Training batches before ema's quantization starts."""
    rest_bits: int = rare(32)
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

    def activations_only(self) -> "QuantConfig":
        """These settings for weights that are quantized already."""
        return replace(self, embedding_bits=32, weight_bits=32, rest_bits=32)

    @property
    def is_active(self) -> bool:
        """Whether any of the network's numbers is rounded to few bits."""
        return min(self.embedding_bits, self.weight_bits, self.activation_bits, self.rest_bits) < 32

    @property
    def rounds_activations(self) -> bool:
        """Whether the activations are."""
        return self.activation_bits < 32


@dataclass(frozen=True)
class ShapeConfig:
    """What a network is, in a YAML file. A key left out takes its value from the network's checkpoint or, for
    a new student, from the teacher's; a key that contradicts a checkpoint is an error, except the ones marked
    as the run's choice.
    """

    seq_length: Optional[PositiveInt] = None
    """Longest row this run accepts, in tokens (run's choice). Unset: as long as the network has positions.
    The network itself takes any length."""
    vocab_size: Optional[PositiveInt] = rare(None)
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
    """Activation of the feed-forward layers. It is gelu (exact, erf), gelu_new (tanh form, faster to compute)
    or relu. Run's choice for a teacher: gelu_new there trades a difference of about 1e-3 in its hidden states
    for speed, and the log says so.
    """
    max_position_embeddings: Optional[PositiveInt] = rare(None)
    """Rows of the position embedding table."""
    type_vocab_size: Optional[PositiveInt] = rare(None)
    """Rows of the token-type embedding table."""
    initializer_range: Optional[PositiveFloat] = rare(None)
    """Standard deviation of randomly initialized weights (run's choice)."""
    layer_norm_eps: Optional[PositiveFloat] = rare(None)
    """Epsilon inside LayerNorm."""
    use_relative_positions: Optional[bool] = rare(None)
    """Learnt relative positions inside attention in place of position embeddings."""
    max_relative_position: Optional[PositiveInt] = rare(None)
    """Relative distances are clipped to this many tokens."""
    classifier_relu: Optional[bool] = rare(None)
    """ReLU before the classifier, as in TinyBERT's published checkpoints."""

    _RUN_CHOICES = (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "classifier_dropout",
        "initializer_range",
    )

    def given(self) -> dict[str, Any]:
        """The architecture keys that were set, as a dict in `BertConfig`'s names."""
        names = {item.name for item in fields(BertConfig)}
        return {name: value for name, value in vars(self).items() if name in names and value is not None}

    def check(self, bert: BertConfig, section: str, source: str, free: Collection[str] = ()) -> BertConfig:
        """`bert` (read from `source`) with the run's choices set here; any other difference is a `UserError`
        naming it.

        Args:
            bert: what the checkpoint says.
            section: this section's YAML key, for the message.
            source: the checkpoint's path, for the message.
            free: further keys that may differ.
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


@dataclass(frozen=True)
class NetConfig(ShapeConfig):
    """A network in a YAML file with its dropout and number type; keys count as in `ShapeConfig`."""

    hidden_dropout_prob: Optional[Probability] = None
    """Dropout on embeddings and layer outputs. While training; run's choice."""
    attention_probs_dropout_prob: Optional[Probability] = None
    """Dropout on attention probabilities. While training; run's choice."""
    classifier_dropout: Optional[Probability] = rare(None)
    """Dropout on what the classifier reads (run's choice); published as cls_dropout_prob. Unset: as
    hidden_dropout_prob."""
    compute_type: ComputeType = "auto"
    """Type the matrix products compute in. Run's choice: auto is float16 on Ascend and GPU, float32 on
    CPU.
    """

    def resolve(self, base: BertConfig) -> BertConfig:
        """`base` with the keys set here replaced."""
        return replace(base, **self.given())

    def filled(self, bert: BertConfig) -> "NetConfig":
        """These settings with every architecture key taken from `bert`: what the run really used."""
        return replace(self, **vars(bert))


@dataclass(frozen=True)
class Known:
    """What a command's settings say of a checkpoint, for what the files beside it leave open."""

    net: ShapeConfig = field(default_factory=ShapeConfig)
    """Its network: number of heads, activation, LayerNorm's epsilon and whatever else no weight tells."""
    section: str = ""
    """The key of `net`, for messages; "": the command has none, but convert_checkpoint.py's own settings."""
    vocab_file: str = ""
    """Its vocabulary where none lies beside it; "" for none."""
    kind: Optional[TaskKind] = None
    """What its head is where the file leaves it open, as TensorFlow's do for sentences and tags; None for a
    sentence's."""

    recipe: ShapeConfig = field(default_factory=ShapeConfig)
    """What a training recipe says of it; it counts where neither its files nor `net` say anything."""

    def fill(self, given: dict[str, Any]) -> dict[str, Any]:
        """`given`, a configuration file's content, with what it lacks as `net` or the recipe say it."""
        said = {name: value for name, value in given.items() if value is not None}
        return {**self.recipe.given(), **self.net.given(), **said}

    def how(self, name: str, flag: str, value: str) -> str:
        """What to give for a field that nothing says, as `--bert_config FILE` or `--net_cfg.NAME VALUE`."""
        return f"--{self.section}.{name} {value}" if self.section else flag


NOTHING = Known()
"""Its files say it all."""


@dataclass(frozen=True)
class StudentPlan:
    """What a run's settings say about its student."""

    net: NetConfig
    """Keys left out come from the student's checkpoint if there is one, else from the teacher."""
    section: str
    """The key of `net`, for messages."""
    terms_section: str
    """The key of what switches on the terms that fit its layers, for messages."""
    path: str = ""
    """Checkpoint it starts from; "" for none."""
    key: str = ""
    """The setting that names `path`."""
    from_teacher: bool = False
    """It starts from layers of the teacher; else, without a checkpoint, from random weights."""
    layers: Tuple[int, ...] = ()
    """Which, counted from 0; () for the last of each group of the uniform layer map."""
    keeps_head: bool = False
    """The head of `path` is the task's own."""
    vocab_file: str = ""
    """The vocabulary of a checkpoint that has none beside it."""

    def known(self, kind: Optional[TaskKind] = None) -> Known:
        """What is known of the checkpoint, whose head is of a kind."""
        return Known(self.net, self.section, self.vocab_file, kind)
