"""The settings of one training stage: optimizer, batches, loss scale, loss terms, evaluation."""

from dataclasses import dataclass, field
from typing import Literal, Tuple

from src.settings.groups import needed, rare
from src.settings.types import (
    AboveOne,
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)


@dataclass(frozen=True)
class AdamWeightDecayConfig:
    """AdamW as BERT uses it (no bias correction), with a warm-up and polynomial decay of the learning
    rate.
    """

    learning_rate: PositiveFloat = needed(5e-5, "rate")
    """Peak learning rate; the warm-up ends there."""
    end_learning_rate: NonNegativeFloat = rare(0.0)
    """Learning rate at the last step, where the decay ends."""
    power: PositiveFloat = rare(1.0)
    """Exponent of the polynomial decay; 1 is linear."""
    warmup_ratio: ClosedUnitInterval = 0.1
    """Share of all steps that warm up. The learning rate rises linearly from 0."""
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled weight decay. It is applied as learning rate x weight decay x weight; 0.01 as in the BERT and
    TinyBERT papers.
    """
    decay_filter: Tuple[str, ...] = rare(("layernorm", "bias"))
    """Parameters whose name holds one of these words are not decayed; case and underscores do not count."""
    beta1: Probability = rare(0.9)
    """Decay of the first moment."""
    beta2: Probability = rare(0.999)
    """Decay of the second moment."""
    eps: PositiveFloat = rare(1e-6)
    """Added to the root of the second moment."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer, under the name the published YAML files give it."""

    AdamWeightDecay: AdamWeightDecayConfig = field(default_factory=AdamWeightDecayConfig)
    """AdamW and its learning-rate schedule."""


@dataclass(frozen=True)
class PhaseConfig:
    """One training stage."""

    batch_size: PositiveInt = needed(32, "batch")
    """Rows of a batch on one device."""
    gradient_accumulation_steps: PositiveInt = 1
    """Batches that one optimizer step is made of. These are so many times batch_size rows, whose mean loss it
    follows."""
    max_grad_norm: NonNegativeFloat = 1.0
    """Gradients are scaled down to this global norm; 0 turns clipping off."""
    loss_scale: Literal["auto", "none", "static", "dynamic"] = "auto"
    """Loss scaling. With auto dynamic where the compute type is float16 and none where it is float32."""
    loss_scale_value: PositiveFloat = rare(65536.0)
    """The static loss scale, or the first dynamic one."""
    scale_factor: AboveOne = rare(2.0)
    """A dynamic loss scale is divided by this on overflow and multiplied by it after scale_window clean
    steps.
    """
    scale_window: PositiveInt = rare(1000)
    """Clean steps before a dynamic loss scale grows."""
    optimizer_cfg: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimizer and learning-rate schedule."""


@dataclass(frozen=True)
class Phase1Config(PhaseConfig):
    """Intermediate-layer distillation, as in phase 1: which loss terms."""

    attention_loss: bool = True
    """Fit the teacher's attention scores (TinyBERT, equation 7)."""
    hidden_loss: bool = True
    """Fit the teacher's hidden states (equations 8 and 9). The embedding output is among them; a learnt
    projection widens the student's.
    """


@dataclass(frozen=True)
class Phase2Config(PhaseConfig):
    """Phase 2, prediction-layer distillation."""

    temperature: PositiveFloat = 1.0
    """Softmax temperature of the soft cross-entropy. It is of TinyBERT's equation 10; the paper found 1 to
    work well.
    """
    label_loss_weight: NonNegativeFloat = 0.0
    """Weight of the ground-truth label loss added to the soft loss; 0 as in the paper."""
    cache_teacher: bool = True
    """Compute the teacher's logits once, not in every epoch. The loss is the same, the time less.
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
