"""The types of settings: ranges that jsonargparse checks, and choices that several commands share."""

import math
from dataclasses import Field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt, restricted_number_type

from src.kinds import KINDS

__all__ = ["ClosedUnitInterval", "NonNegativeInt", "PositiveInt"]


class Settings(Protocol):
    """Any dataclass of settings: a command's, or a part of one."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


AnySettings = TypeVar("AnySettings", bound=Settings)
"""The one that a function is given the class of, or an instance, and gives back."""


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
_TASK_TYPES = ("auto", *(kind.name for kind in KINDS))
if TYPE_CHECKING:
    TaskType = str  # mypy reads no choices that are computed
else:
    TaskType = Literal[_TASK_TYPES]
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
