"""The types of settings: ranges that jsonargparse checks, and choices that several commands share."""

import math
from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt, restricted_number_type

from src.kinds import KINDS

__all__ = ["ClosedUnitInterval", "NonNegativeInt", "PositiveInt"]


# jsonargparse's own types of these names take infinity.
PositiveFloat = restricted_number_type("PositiveFinite", float, [(">", 0), ("<", math.inf)])
NonNegativeFloat = restricted_number_type("NonNegativeFinite", float, [(">=", 0), ("<", math.inf)])
FiniteNumber = restricted_number_type("FiniteNumber", float, [(">", -math.inf), ("<", math.inf)])
MinusOneOrPositive = restricted_number_type("MinusOneOrPositive", int, [("==", -1), (">=", 1)], join="or")
Probability = restricted_number_type("Probability", float, [(">=", 0), ("<", 1)])
AboveOne = restricted_number_type("AboveOne", float, [(">", 1), ("<", math.inf)])


HIDDEN_ACTS = ("gelu", "gelu_new", "relu")
HiddenAct = Literal["gelu", "gelu_new", "relu"]
ComputeType = Literal["auto", "float32", "float16"]
DeviceTarget = Literal["auto", "Ascend", "GPU", "CPU"]
TaskType = Literal[("auto", *(kind.name for kind in KINDS))]
AssessmentMethod = Literal[
    "auto",
    "accuracy",
    "f1",
    "bf1",
    "mf1",
    "matthews",
    "pearson",
    "spearman",
    "entity_f1",
    "entity_precision",
    "entity_recall",
    "span_f1",
    "exact_match",
    "acc",
    "pearsonr",
    "spearmanr",
    "mcc",
]
