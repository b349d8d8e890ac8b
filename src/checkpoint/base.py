"""What tells one program's checkpoints from another's, and what every writer of them begins with."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from src.checkpoint.folder import Checkpoint, without_quantizer_state
from src.checkpoint.names import FORMATS, QUESTIONS, translate
from src.errors import UserError


@dataclass(frozen=True)
class Format:
    """One format that `formats.py` can read; its file ends with one of these."""

    name: str
    """A key of `names.FORMATS`: its column of the name map."""
    find: Callable[[str], str | None]
    """find(path): the file, prefix or folder that `read` takes; None where `path` is of another format."""
    read: Callable[[str], dict[str, np.ndarray]]
    """read(location): {name in the file: float32 array}."""
    layer_norm_eps: float = 1e-12
    """Where its configuration does not say it."""
    gelu: str = "gelu"
    """What its code computes for the hidden_act `gelu`, in Hugging Face's words."""
    needs_config: bool = True
    """Whether a checkpoint without its own configuration file is incomplete."""
    has_relu: Callable[[Iterable[str]], bool | None] = lambda names: False
    """has_relu(names in the file): whether a ReLU stands before the classifier where no configuration
    says it; None where nothing tells."""

    @property
    def title(self) -> str:
        """What messages call it."""
        return FORMATS[self.name]


def outgoing(checkpoint: Checkpoint, to_format: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """(weights under the names of `to_format`, notices).

    Raises:
        UserError: the format has no such network, so its users would compute something else from these
            weights.
    """
    bert, kind = checkpoint.description.bert, checkpoint.description.kind
    for name, what in (
        ("classifier_relu", "a ReLU before the classifier"),
        ("use_relative_positions", "relative positions learnt inside attention"),
    ):
        if getattr(bert, name):
            raise UserError(
                f"{checkpoint.source} would compute something else as {FORMATS[to_format]} BERT, which "
                f"has no {what} ({name} is true)"
            )
    plain = without_quantizer_state(checkpoint.weights)
    kept = {name: value for name, value in plain.items() if not name.startswith("fit_dense.")}
    notices = []
    if len(kept) < len(plain):
        notices.append("fit_dense, the projection used in distillation, was left out")
    if len(plain) < len(checkpoint.weights):
        notices.append(
            "what its quantizers had learnt (ranges, second moments) was left out: the weights are "
            "float32 ones"
        )
    asks = kind is not None and kind.architecture == QUESTIONS
    return translate(kept, "ours", to_format, asks), notices


def no_place_for(fields: list[str]) -> list[str]:
    """The notice that the format has no place for these fields of config.json, as a list; [] for none."""
    return [f"the format has no place for {', '.join(fields)} of config.json"] if fields else []
