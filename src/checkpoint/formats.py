"""Checkpoints of any format: which one it is, and one way to read it. A new format is a file beside this one,
a column of the name map and a row of the table.
"""

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from src.checkpoint import architecture, huggingface, mindspore, tensorflow
from src.checkpoint.base import Format
from src.checkpoint.folder import PACKED_FILE, WEIGHTS_FILE, Checkpoint, described, refuse_packed, with_hash
from src.checkpoint.foreign import other_programs
from src.checkpoint.names import FORMATS, WORD_EMBEDDINGS, respell, translate
from src.checkpoint.tokens import find_vocabulary
from src.description import Description
from src.errors import UserError, listed
from src.kinds.base import TaskKind
from src.settings.network import NOTHING, Known
from src.vocabulary import is_lower_case, read_vocabulary, vocabulary_hash

__all__ = ["FORMATS", "Imported", "read_any"]

_TABLE = (huggingface.FORMAT, mindspore.FORMAT, tensorflow.FORMAT)
"""Where a folder is of several formats, our own file counts, else the first one: hubs keep conversions beside
Hugging Face's file.
"""


@dataclass(frozen=True)
class Imported:
    """What `read_any` found."""

    checkpoint: Checkpoint
    file_format: str
    """A key of `FORMATS`."""
    dropped: tuple[str, ...] = ()
    """Names, as in the file, of weights that were left out."""
    notices: list[str] = field(default_factory=list)
    """Lines the user should see."""
    gelu: str = ""
    """What its code computes for a hidden_act `gelu`, where it has that; "": it says another one."""

    @property
    def summary(self) -> str:
        """One line about another program's checkpoint that was read where it lies."""
        description = self.checkpoint.description
        head = description.kind.describe(description.outputs) if description.kind else "no head"
        parts = [f"{description.bert.num_hidden_layers} layers", head]
        parts += [f"{len(self.dropped)} weights left aside"] if self.dropped else []
        told = f"{description.source} is a {FORMATS[self.file_format]} checkpoint, read in place: "
        return "; ".join([told + ", ".join(parts), *self.notices])


def read_any(
    path: str | os.PathLike[str],
    known: Known = NOTHING,
    bert_config: str = "",
    classifier_relu: bool | Literal["auto"] = "auto",
    masked_lm: bool = False,
) -> Imported:
    """Read a checkpoint of any known format.

    Args:
        path (str): a Hugging Face folder or weights file, a TensorFlow folder or prefix, a published
            MindSpore .ckpt (or its folder), or a checkpoint of ours.
        known (Known): what the user says of it.
        bert_config (str): config.json of the network where none lies beside the weights. For a published
            MindSpore checkpoint it need say no more than num_attention_heads.
        classifier_relu (bool or "auto"): whether a ReLU stands before the classifier.
        masked_lm (bool): read the head of a masked-language model too, `predictions.*`, where there is one.

    Returns:
        Imported. An encoder without a pooler stays one: `assign` reports it as missing unless the caller
        allows that.

    Raises:
        UserError: nothing known lies there, or it is damaged, incomplete or not a BERT.
    """
    if classifier_relu not in ("auto", True, False):
        raise UserError(f"classifier_relu: must be auto, true or false, not '{classifier_relu}'")
    path = str(path)
    file_format, location = _find(path)
    weights = file_format.read(location)
    if file_format is mindspore.FORMAT and WORD_EMBEDDINGS in weights:
        return Imported(_ours(weights, location, path, known, bert_config, classifier_relu), "ours")
    if masked_lm:
        architecture.check_tied(weights, path)
    folder = location if os.path.isdir(location) else os.path.dirname(os.path.abspath(location))
    given = architecture.read_config(folder, bert_config, file_format.needs_config, known)
    if classifier_relu != "auto":
        given["classifier_relu"] = classifier_relu
    return _imported(weights, file_format, folder, given, known, path, masked_lm)


def _imported(
    weights: dict[str, np.ndarray],
    file_format: Format,
    folder: str,
    given: dict[str, Any],
    known: Known,
    path: str,
    masked_lm: bool,
) -> Imported:
    """The `Imported` of another program's weights, under its names; `given`: what is said of the network."""
    notices: list[str] = []
    names_in_file = tuple(weights)
    weights, dropped = respell(weights, file_format.name, masked_lm)
    kinds, name = architecture.kinds_of_head(weights, given, known.kind)
    dropped += architecture.drop_other_heads(weights, kinds, name, notices)
    weights = translate(weights, file_format.name, "ours")
    dropped += architecture.drop_unread_positions(weights)
    vocabulary, form = find_vocabulary(folder, known.vocab_file, given, notices)
    parts = architecture.head(given, weights, kinds, known.kind, path, notices)
    kind = parts.get("kind")
    dropped += architecture.drop_unread_pooler(weights, kind)
    relu = _has_relu(given.get("classifier_relu"), kind, file_format, names_in_file, path, known)
    bert = architecture.bert_config(given, weights, file_format, relu, path, notices, known)
    architecture.check_complete(weights, bert, kind, path, notices)
    description = Description(
        bert, **parts, do_lower_case=form.lower_case, strip_accents=form.strip_accents, source=path
    )
    checkpoint = Checkpoint(weights, with_hash(description, vocabulary), vocabulary)
    gelu = file_format.gelu if given.get("hidden_act") == "gelu" else ""
    return Imported(checkpoint, file_format.name, tuple(dropped), notices, gelu)


def _has_relu(
    asked: bool | None,
    kind: TaskKind | None,
    file_format: Format,
    names: Iterable[str],
    path: str,
    known: Known,
) -> bool:
    """Whether a head of a kind has a ReLU before it; `asked` is what somebody says of it, or None.

    Raises:
        UserError: nothing tells.
    """
    relu = (kind is not None and file_format.has_relu(names)) if asked is None else asked
    if relu is None:
        how = known.how("classifier_relu", "--classifier_relu true or false", "true or false")
        raise UserError(
            f"classifier_relu: nothing tells whether the network of {path} has a ReLU before the classifier; "
            f"the published MindSpore TinyBERT and TernaryBERT ones do, the published BERT ones do not: give "
            f"{how}"
        )
    return bool(relu)


def _find(path: str) -> tuple[Format, str]:
    """(Format, what its `read` takes).

    Raises:
        UserError: nothing known lies there.
    """
    refuse_packed(path)
    own = os.path.join(path, WEIGHTS_FILE)
    if os.path.isfile(own):
        return mindspore.FORMAT, own
    for file_format in _TABLE:
        location = file_format.find(path)
        if location is not None:
            return file_format, location
    if not os.path.exists(path):
        raise UserError(f"checkpoint {path} does not exist")
    if os.path.isfile(path):
        fault = "is no known kind of checkpoint (.ckpt, .safetensors, .bin or a TensorFlow .index)"
    else:
        fault = (
            f"holds no checkpoint: none of {', '.join(huggingface.FILES)}, a TensorFlow .index or a "
            "MindSpore .ckpt"
        )
    raise UserError(f"{path} {fault}{_inside(path) or other_programs(path)}")


def _inside(path: str) -> str:
    """The end of a message about the folder of a run: where its models lie, the newest first; "" for none."""
    found: dict[str, float] = {}
    for name in (WEIGHTS_FILE, PACKED_FILE):
        for depth in ("*", os.path.join("*", "*")):
            for file in glob.glob(os.path.join(glob.escape(path), depth, name)):
                found[os.path.dirname(file)] = os.path.getmtime(file)
    folders = (os.path.relpath(folder, path) for folder in sorted(found, key=found.__getitem__, reverse=True))
    return f"; give one of the models in it: {listed(folders)}" if found else ""


def _ours(
    weights: dict[str, np.ndarray],
    file: str,
    source: str,
    known: Known,
    bert_config: str,
    classifier_relu: bool | Literal["auto"],
) -> Checkpoint:
    """The `Checkpoint` of our own file; a vocabulary may be added where it has none, and the ReLU decided."""
    checkpoint = described(weights, file, source)
    if bert_config:
        raise UserError(
            f"bert_config: {file} is a checkpoint of ours and has its own beside it; leave --bert_config out"
        )
    description, vocabulary = checkpoint.description, checkpoint.vocabulary
    if known.vocab_file:
        given = tuple(read_vocabulary(known.vocab_file))
        own = vocabulary_hash(vocabulary) if vocabulary else description.vocab_sha256
        if own not in ("", vocabulary_hash(given)):
            raise UserError(
                f"vocab_file: {known.vocab_file} is not the vocabulary {file} was trained with "
                "(vocab_sha256 differs)"
            )
        vocabulary = given
        if description.do_lower_case is None:
            description = replace(description, do_lower_case=is_lower_case(vocabulary))
    if classifier_relu != "auto":
        description = replace(description, bert=replace(description.bert, classifier_relu=classifier_relu))
    return Checkpoint(weights, description, vocabulary)
