"""Our own files: `eval_model.ckpt` + `config.json` + `vocab.txt` in one folder.

Weights are NumPy float32 arrays under our parameter names.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Dict, List

import numpy as np

from src.checkpoint.foreign import is_pickle
from src.checkpoint.names import WORD_EMBEDDINGS
from src.checksums import digest_of
from src.description import Description
from src.errors import UserError, one_line
from src.files import checksum, make_folder, replacing, write_json
from src.json_file import Digest, checked, parse, read_json
from src.vocabulary import read_vocabulary, vocabulary_hash

WEIGHTS_FILE = "eval_model.ckpt"
PACKED_FILE = "quantized_model.safetensors"  # src/checkpoint/packed.py reads and writes it
CONFIG_FILE = "config.json"
VOCABULARY_FILE = "vocab.txt"
SUMS_KEY = "weights_sha256"
"""In config.json: {name of a .ckpt file beside it: [SHA-256]}; two for the moment in which it is replaced."""
OWN_SUM_KEY = "config_sha256"
"""In config.json: SHA-256 of its other settings, as `config_digest` gives it."""
QUANTIZER_STATE = (".second_moment", ".threshold", ".steps")
"""How the names of a quantized network's parameters end that only its quantizers know."""


_SIZES = {
    WORD_EMBEDDINGS: ("vocab_size", "hidden_size"),
    "bert.embeddings.position_embeddings.weight": ("max_position_embeddings",),
    "bert.embeddings.token_type_embeddings.weight": ("type_vocab_size",),
    "bert.encoder.layers.0.feed_forward.intermediate.weight": ("intermediate_size",),
}
"""Weight -> the fields of `BertConfig` that are its shape."""
_OF_LAYER = re.compile(r"bert\.encoder\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Checkpoint:
    """One network's weights and everything needed to use them.

    Raises:
        UserError: the description is of another head or other sizes, the vocabulary longer than its
            embedding, or a weight no finite number.
    """

    weights: dict[str, np.ndarray]
    """Our parameter names -> NumPy float32 arrays."""
    description: Description
    vocabulary: tuple[str, ...] | None = None
    """The tokens in id order, or None where no vocab.txt lies beside the weights."""

    def __post_init__(self):
        outputs = len(self.weights.get("classifier.weight", ()))
        if outputs != self.description.outputs:
            raise UserError(
                f"{self.source}: {CONFIG_FILE} says {self.description.outputs} outputs (num_labels) but the "
                f"classifier has {outputs}"
            )
        self._check_sizes()
        rows = self.description.bert.vocab_size
        if self.vocabulary is not None and len(self.vocabulary) > rows:
            raise UserError(
                f"{self.source}: the vocabulary ({VOCABULARY_FILE}, or vocab_file) holds "
                f"{len(self.vocabulary)} tokens but the word embedding has only {rows} rows; it belongs "
                "to another checkpoint"
            )
        check_finite(self.weights, self.source)

    def _check_sizes(self):
        """Before a network is made as large as the description says."""
        bert, matches = self.description.bert, map(_OF_LAYER.match, self.weights)
        layers = {match[1] for match in matches if match}
        found = {"num_hidden_layers": len(layers)} if layers else {}
        for name, sizes in _SIZES.items():
            if name in self.weights:
                found.update(zip(sizes, np.shape(self.weights[name])))
        for name, size in found.items():
            if size != getattr(bert, name):
                raise UserError(
                    f"{self.source}: {CONFIG_FILE} says {name} {getattr(bert, name)} but its weights have "
                    f"{size}"
                )

    @property
    def source(self) -> str:
        """The path it was read from, for messages."""
        return self.description.source


def without_quantizer_state(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A quantized network's latent weights, without what only its quantizers know."""
    return {name: value for name, value in weights.items() if not name.endswith(QUANTIZER_STATE)}


def check_finite(weights: dict[str, np.ndarray], source: str) -> None:
    """Raise a `UserError` where a weight is no finite number: its network answers with nothing else. A sum
    tells, in 0.02 s for a BERT-base, without an array of flags as long as the weights.
    """
    for name, array in weights.items():
        with np.errstate(all="ignore"):
            if np.isfinite(array.sum()):
                continue
        wrong = np.argwhere(~np.isfinite(array))
        if len(wrong):  # else the sum of large numbers overflows
            place = tuple(wrong[0].tolist())
            raise UserError(
                f"{source}: {len(wrong)} of the {array.size} values of the weight {name} are no finite "
                f"numbers, {array[place]} at {list(place)} the first of them; the file is damaged or its "
                "training went wrong: use another checkpoint"
            )


def digest(arrays: dict[str, np.ndarray], *texts: str) -> str:
    """SHA-256 (hexadecimal) of some texts and of the names, types, shapes and bytes of all arrays, whatever
    their order.
    """
    total = hashlib.sha256("".join(f"{text}\n" for text in texts).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.data)
    return total.hexdigest()


# --- reading ------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint of this program in a folder, or a .ckpt file with config.json beside it; what a user
    names is read by `formats.read_any`.

    In a folder, eval_model.ckpt counts; without it, the only .ckpt file there.

    Raises:
        UserError: a file is missing, damaged or of another format, or the vocabulary is not the one of the
            weights.
    """
    path = str(path)
    if not os.path.exists(path):
        raise UserError(f"checkpoint {path} does not exist")
    refuse_packed(path)
    file = ckpt_file(path)
    if file is None:
        raise UserError(f"{path} holds no checkpoint of this program: it is or has no .ckpt file")
    weights = read_ckpt(file)
    if WORD_EMBEDDINGS not in weights:
        raise UserError(f"{file} does not hold this project's parameter names")
    return described(weights, file, path)


def described(weights: dict[str, np.ndarray], file: str, source: str) -> Checkpoint:
    """The `Checkpoint` of weights and the config.json and vocab.txt in their folder.

    Args:
        weights (dict): our parameter names -> arrays. file (str): theirs. source (str): the path the user
            gave.

    Raises:
        UserError: config.json is missing, lacks a field or is of another head, or vocab.txt is not the
            weights'.
    """
    folder = os.path.dirname(os.path.abspath(file))
    config_path = os.path.join(folder, CONFIG_FILE)
    if not os.path.isfile(config_path):
        raise UserError(
            f"{config_path} is missing: the weights in {file} cannot be used without it; "
            f"copy it from the folder the checkpoint was saved in"
        )
    values = read_json(config_path, "checkpoint configuration")
    try:
        description = Description.from_json(values, config_path, source)
    except UserError as error:
        raise UserError(f"{error}; {CONFIG_FILE} must be the one saved with {file}") from error
    if "classifier.weight" not in weights:
        description = description.without_head()
    vocabulary_path = os.path.join(folder, VOCABULARY_FILE)
    vocabulary = tuple(read_vocabulary(vocabulary_path)) if os.path.isfile(vocabulary_path) else None
    if vocabulary is not None and description.vocab_sha256 not in ("", vocabulary_hash(vocabulary)):
        raise UserError(
            f"{vocabulary_path} is not the vocabulary these weights were trained with "
            f"(its hash differs from vocab_sha256 in {config_path}); put the original one there"
        )
    checkpoint = Checkpoint(weights, description, vocabulary)
    own = config_digest(values)
    if values.get(OWN_SUM_KEY, own) != own:  # asked last: what else is wrong says more
        raise UserError(
            f"{config_path} is damaged: its settings are not those that {OWN_SUM_KEY} is of"
            f"; copy it anew (where it was changed on purpose, remove {OWN_SUM_KEY} from it)"
        )
    return checkpoint


def config_digest(values: dict[str, Any]) -> str:
    """The checksum of a config.json, but for its checksums: it decides what is computed with the weights."""
    own = {name: value for name, value in values.items() if name not in (SUMS_KEY, OWN_SUM_KEY)}
    return digest({}, json.dumps(own, sort_keys=True))


def _ckpt_names(folder: str) -> list[str]:
    """The .ckpt files of a folder; other programs', which mean nothing here, are left aside."""
    names = (name for name in os.listdir(folder) if name.endswith(".ckpt") and not name.startswith("."))
    paths = {name: os.path.join(folder, name) for name in sorted(names)}
    return [name for name, path in paths.items() if os.path.isfile(path) and not is_pickle(path)]


def ckpt_file(path: str) -> str | None:
    """The .ckpt file that `path` means, itself or in the folder; None where there is none.

    Raises:
        UserError: a folder holds several and none is eval_model.ckpt.
    """
    if os.path.isfile(path):
        return path if path.endswith(".ckpt") and not is_pickle(path) else None
    names = _ckpt_names(path) if os.path.isdir(path) else []
    if len(names) > 1 and WEIGHTS_FILE not in names:
        raise UserError(
            f"{path} holds {len(names)} .ckpt files and none is {WEIGHTS_FILE}; name one: {', '.join(names)}"
        )
    return os.path.join(path, WEIGHTS_FILE if WEIGHTS_FILE in names else names[0]) if names else None


def packed_folder(path: str) -> str:
    """The folder of the packed model that `path` means, its file or a folder without any .ckpt; "" where it
    means another one.
    """
    if os.path.isfile(path):
        return os.path.dirname(os.path.abspath(path)) if os.path.basename(path) == PACKED_FILE else ""
    return path if os.path.isfile(os.path.join(path, PACKED_FILE)) and not _ckpt_names(path) else ""


def refuse_packed(path: str) -> None:
    """Raise a `UserError` where `path` means a packed model, whose weights are no float32 ones."""
    if packed_folder(path):
        raise UserError(
            f"{path} holds a packed model, which can be evaluated but has no float32 weights to train or "
            "convert; give the folder of a .ckpt (train.py --save_fp_model true writes one)"
        )


def read_ckpt(path: str) -> dict[str, np.ndarray]:
    """{name: float32 array} of a MindSpore .ckpt file, whoever wrote it."""
    if os.path.getsize(path) == 0:
        raise UserError(f"{path} is empty; the program that wrote it was probably interrupted")
    _check_sum(path)
    import mindspore  # two seconds, which the other formats and damaged files need not wait for

    try:
        values = mindspore.load_checkpoint(path)
    except Exception as error:  # the parser raises several kinds; all of them mean this file
        raise UserError(f"{path} is truncated or not a MindSpore checkpoint: {one_line(error)}") from error
    weights = {}
    for name, value in values.items():
        if isinstance(value, mindspore.Tensor):  # append_info also stores strings and numbers
            value = value.float() if value.dtype == mindspore.bfloat16 else value
            weights[name] = value.asnumpy().astype(np.float32, copy=False)
    return weights


def _check_sum(path):
    """Raise a `UserError` where the config.json beside a .ckpt file knows it with other bytes."""
    folder, name = os.path.split(os.path.abspath(path))
    sums = _sums(folder).get(name)
    if sums and digest_of(path) not in sums:
        raise UserError(
            f"{path} is damaged: its SHA-256 is not the one in {CONFIG_FILE} beside it; copy it anew (where "
            f"it was changed on purpose, remove {SUMS_KEY} from {CONFIG_FILE})"
        )


def _sums(folder: str) -> dict[str, list[str]]:
    """What the config.json of a folder knows of the .ckpt files that are there; {} where it notes none."""
    path = os.path.join(folder, CONFIG_FILE)
    if not os.path.isfile(path):
        return {}
    sums = read_json(path, "checkpoint configuration").get(SUMS_KEY) or {}
    sums = checked(sums, Dict[str, List[Digest]], f"{path}: {SUMS_KEY}")
    return {name: list(values) for name, values in sums.items() if os.path.isfile(os.path.join(folder, name))}


# --- writing ------------------------------------------------------------------------------------------------


def save(
    folder: str,
    weights: dict[str, np.ndarray],
    description: Description,
    vocabulary: Sequence[str] | None = None,
    name: str = WEIGHTS_FILE,
) -> None:
    """Write the weights (eval_model.ckpt), config.json and, with `vocabulary`, vocab.txt into `folder`; other
    files stay.

    Everything is written under temporary names first, so a failure leaves the old checkpoint as it was. Where
    config.json or vocab.txt changes, the old weights, step files included, are removed before the renames and
    the new ones come last: weights never lie beside another network's description. A vocab.txt left by
    another checkpoint is removed when `vocabulary` is None.

    Args:
        folder (str): created where needed.
        weights (dict): our parameter names -> arrays.
        description (Description): vocab_sha256 is set from `vocabulary` here.
        vocabulary (sequence of str): tokens in id order.
        name (str): of the weights file, ending in .ckpt.
    """
    if not name.endswith(".ckpt"):
        raise ValueError(f"the name of a weights file ends in .ckpt, unlike {name}")
    paths = {item: os.path.join(folder, item) for item in (WEIGHTS_FILE, VOCABULARY_FILE, CONFIG_FILE)}
    make_folder(folder)
    values = with_hash(description, vocabulary).to_json()
    values = {**values, OWN_SUM_KEY: config_digest(values)}
    unchanged = _same_description(paths, values, vocabulary)
    sums = _sums(folder) if unchanged else {}
    with contextlib.ExitStack() as stack:  # left in reverse order: config.json comes first, the weights last
        new = stack.enter_context(replacing(os.path.join(folder, name)))
        _write_ckpt(new, weights)
        own = checksum(new)
        sums[name] = [*sums.get(name, ()), own]
        if not unchanged and vocabulary is not None:
            write_vocabulary(stack.enter_context(replacing(paths[VOCABULARY_FILE])), vocabulary)
        write_json(stack.enter_context(replacing(paths[CONFIG_FILE])), {**values, SUMS_KEY: sums})
        if not unchanged:
            _remove_other_networks(folder, keeps_vocabulary=vocabulary is not None)
    if len(sums[name]) > 1:
        write_json(paths[CONFIG_FILE], {**values, SUMS_KEY: {**sums, name: [own]}})


def _remove_other_networks(folder: str, keeps_vocabulary: bool) -> None:
    """Remove what the new config.json does not describe: the old weights, step files included."""
    for old in (WEIGHTS_FILE,) if keeps_vocabulary else (WEIGHTS_FILE, VOCABULARY_FILE):
        if os.path.exists(os.path.join(folder, old)):
            os.remove(os.path.join(folder, old))
    for old in step_files(folder):
        os.remove(old)


def with_hash(description: Description, vocabulary: Sequence[str] | None) -> Description:
    """`description` with the hash of the vocabulary that it is saved beside, if any."""
    if vocabulary is None:
        return description
    return replace(description, vocab_sha256=vocabulary_hash(vocabulary))


def step_file(step: int) -> str:
    """Name of the weights file of optimizer step `step`."""
    return f"step_{step}.ckpt"


def step_files(folder: str) -> list[str]:
    """Paths of the step files in `folder`, the oldest one first."""
    steps = [
        (int(found[1]), os.path.join(folder, found[0]))
        for found in map(re.compile(r"step_(\d+)\.ckpt").fullmatch, os.listdir(folder))
        if found
    ]
    return [path for _, path in sorted(steps, key=lambda item: (os.stat(item[1]).st_mtime_ns, item[0]))]


def keep_steps(folder: str, most: int) -> None:
    """Remove the oldest step files of `folder` and what config.json knows of them: the last `most` stay."""
    old, config = step_files(folder)[:-most], os.path.join(folder, CONFIG_FILE)
    for path in old:  # an earlier or a stopped run's, too
        os.remove(path)
    if old and _sums(folder):
        write_json(config, {**read_json(config, "checkpoint configuration"), SUMS_KEY: _sums(folder)})


def _same_description(
    paths: dict[str, str], values: dict[str, Any], vocabulary: Sequence[str] | None
) -> bool:
    """Whether config.json and vocab.txt on disk already say what is to be written."""
    try:
        old_values = read_json(paths[CONFIG_FILE], "checkpoint configuration")
        has_file = os.path.isfile(paths[VOCABULARY_FILE])
        old_vocabulary = read_vocabulary(paths[VOCABULARY_FILE]) if has_file else None
    except UserError:  # missing or damaged: it will be replaced
        return False
    new_values = parse(json.dumps(values))  # tuples and integer keys as JSON has them
    blank = {SUMS_KEY: None, OWN_SUM_KEY: None}
    same = {**old_values, **blank} == {**new_values, **blank}
    return same and old_vocabulary == (None if vocabulary is None else list(vocabulary))


def _write_ckpt(path, weights):
    import mindspore

    mindspore.save_checkpoint(
        [
            {"name": name, "data": mindspore.Tensor(np.array(value, dtype=np.float32, order="C"))}
            for name, value in weights.items()
        ],
        path,
    )


def write_vocabulary(path: str, tokens: Iterable[str]) -> None:
    """Write the tokens in id order, one a line, as `read_vocabulary` reads them."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(token + "\n" for token in tokens)
