"""Checkpoints of any format: which one it is, and one way to read it. A new format is a file beside this one,
a column of the name map and a row of the table.
"""

import os
from dataclasses import dataclass, field, replace

from src.checkpoint import architecture, huggingface, mindspore, tensorflow
from src.checkpoint.folder import Checkpoint, described, refuse_packed, with_hash
from src.checkpoint.names import FORMATS, WORD_EMBEDDINGS, respell, translate
from src.checkpoint.tokens import find_vocabulary
from src.description import Description
from src.errors import UserError
from src.vocabulary import is_lower_case, read_vocabulary, vocabulary_hash

__all__ = ["FORMATS", "Imported", "read_any"]

_TABLE = (mindspore.FORMAT, huggingface.FORMAT, tensorflow.FORMAT)
"""Where a folder is of several formats, the first one counts."""


@dataclass(frozen=True)
class Imported:
    """What `read_any` found."""

    checkpoint: Checkpoint
    file_format: str
    """A key of `FORMATS`."""
    dropped: tuple = ()
    """Names, as in the file, of weights that were left out."""
    notices: list = field(default_factory=list)
    """Lines the user should see."""


def read_any(path, bert_config="", vocab_file="", classifier_relu="auto", kind=None, masked_lm=False):
    """Read a checkpoint of any known format.

    Args:
        path (str): a Hugging Face folder or weights file, a TensorFlow folder or prefix, a published
            MindSpore .ckpt (or its folder), or a checkpoint of ours.
        bert_config (str): config.json of the network where none lies beside the weights. For a published
            MindSpore checkpoint it need say no more than num_attention_heads.
        vocab_file (str): vocabulary where none lies beside the weights.
        classifier_relu (bool or "auto"): whether the classifier reads relu(pooled).
        kind (TaskKind): what its head is where the file leaves it open, as TensorFlow's do for sentences and
            tags; None for a sentence's.
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
        return Imported(_ours(weights, location, bert_config, vocab_file, classifier_relu), "ours")
    notices = []
    folder = location if os.path.isdir(location) else os.path.dirname(os.path.abspath(location))
    given = architecture.read_config(folder, bert_config, file_format.needs_config)
    names_in_file = tuple(weights)
    if masked_lm:
        architecture.check_tied(weights, path)
    weights, dropped = respell(weights, file_format.name, masked_lm)
    kinds, name = architecture.kinds_of_head(weights, given, kind)
    dropped += architecture.drop_other_heads(weights, kinds, name, notices)
    weights = translate(weights, file_format.name, "ours")
    dropped += architecture.drop_unread_positions(weights)
    vocabulary, form = find_vocabulary(folder, vocab_file, given, notices)
    parts = architecture.head(given, weights, kinds, kind, path, notices)
    kind = parts.get("kind")
    dropped += architecture.drop_unread_pooler(weights, kind)
    asked = given.get("classifier_relu") if classifier_relu == "auto" else classifier_relu
    relu = _has_relu(asked, kind, file_format, names_in_file, path)
    bert = architecture.bert_config(given, weights, file_format, relu, path, notices)
    architecture.check_complete(weights, bert, kind, path, notices)
    description = Description(bert, **parts, **form, source=path)
    checkpoint = Checkpoint(weights, with_hash(description, vocabulary), vocabulary)
    return Imported(checkpoint, file_format.name, tuple(dropped), notices)


def _has_relu(asked, kind, file_format, names, path):
    """Whether a head of a kind reads relu(pooled); `asked` is what somebody says of it, or None.

    Raises:
        UserError: nothing tells, or the head reads something else.
    """
    if kind is not None and kind.logits_per == "token":
        if asked:
            raise UserError(
                f"classifier_relu: the head of {path} answers for tokens and reads no pooled output"
            )
        return False
    return bool(kind is not None and file_format.has_relu(names) if asked is None else asked)


def _find(path):
    """(Format, what its `read` takes).

    Raises:
        UserError: nothing known lies there.
    """
    refuse_packed(path)
    for file_format in _TABLE:
        location = file_format.find(path)
        if location is not None:
            return file_format, location
    if not os.path.exists(path):
        raise UserError(f"input: {path} does not exist")
    if os.path.isfile(path):
        raise UserError(
            f"input: {path} is no known kind of checkpoint (.ckpt, .safetensors, .bin or a TensorFlow .index)"
        )
    raise UserError(
        f"input: no checkpoint was found in {path}: none of {', '.join(huggingface.FILES)}, "
        f"a TensorFlow .index or a MindSpore .ckpt"
    )


def _ours(weights, file, bert_config, vocab_file, classifier_relu):
    """The `Checkpoint` of our own file; a vocabulary may be added where it has none, and the ReLU decided."""
    checkpoint = described(weights, file, file)
    has_own = {"bert_config": bert_config, "vocab_file": vocab_file if checkpoint.vocabulary else ""}
    for name, value in has_own.items():
        if value:
            raise UserError(
                f"{name}: {file} is a checkpoint of ours and has its own beside it; leave --{name} out"
            )
    description, vocabulary = checkpoint.description, checkpoint.vocabulary
    if vocab_file:
        vocabulary = tuple(read_vocabulary(vocab_file))
        if description.vocab_sha256 not in ("", vocabulary_hash(vocabulary)):
            raise UserError(
                f"vocab_file: {vocab_file} is not the vocabulary {file} was trained with (vocab_sha256 "
                "differs)"
            )
        if description.do_lower_case is None:
            description = replace(description, do_lower_case=is_lower_case(vocabulary))
    if classifier_relu != "auto":
        description = replace(description, bert=replace(description.bert, classifier_relu=classifier_relu))
    return Checkpoint(weights, description, vocabulary)
