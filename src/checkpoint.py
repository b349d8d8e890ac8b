"""Checkpoints: `eval_model.ckpt` + `config.json` + `vocab.txt` in one folder, and conversion from and to
other formats.

Weights are NumPy float32 arrays under our parameter names; linear weights are (out, in). `config.json` has
Hugging Face's field names and in addition use_relative_positions, max_relative_position, classifier_relu,
do_lower_case, vocab_sha256, task_name.

The only name map of the project is `_MODULES`: one row a module, one column a format. It is read in both
directions.

Shapes: V vocabulary rows, P positions, T token types, H hidden size, I intermediate size, D head size, R
relative positions (2 * max_relative_position + 1), C classes (num_labels), G hidden size of the
general-distillation teacher.
"""

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass, field, replace

import numpy as np

from src.errors import UserError, one_line
from src.files import make_folder, read_json, replacing, write_json, write_safetensors
from src.vocabulary import is_lower_case, read_vocabulary, vocabulary_hash

WEIGHTS_FILE = "eval_model.ckpt"
PACKED_FILE = "quantized_model.safetensors"  # src/nn/packed.py reads and writes it
QUANTIZER_STATE = (".second_moment", ".threshold", ".steps")
"""How the names of a quantized network's parameters end that only its quantizers know."""
CONFIG_FILE = "config.json"
VOCABULARY_FILE = "vocab.txt"
FORMATS = {
    "ours": "MindSpore (this project's)",
    "huggingface": "Hugging Face",
    "tensorflow": "TensorFlow BERT (Google's)",
    "mindspore": "published MindSpore",
}
PROBLEM_TYPES = ("single_label_classification", "regression")
# fields that config.json must have: without one the weights would be used in another network than they were
# trained in
_NEEDED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
    "use_relative_positions",
    "max_relative_position",
    "classifier_relu",
)
_NEEDED_HEAD = ("num_labels", "problem_type")


@dataclass(frozen=True)
class Checkpoint:
    """One network's weights and everything needed to use them."""

    weights: dict
    """Our parameter names -> NumPy float32 arrays."""
    config: dict
    """The content of config.json."""
    vocabulary: tuple = None
    """The tokens in id order, or None where no vocab.txt lies beside the weights."""
    source: str = ""
    """The path it was read from, for messages."""

    @property
    def num_labels(self):
        """Outputs of the classifier; 0 for an encoder without one. Without weights (an exported model's
        description), as it says.
        """
        if not self.weights:
            return self.config.get("num_labels", 0)
        return len(self.weights["classifier.weight"]) if "classifier.weight" in self.weights else 0

    @property
    def labels(self):
        """Class names in index order; () where there are none or only Hugging Face's placeholders (LABEL_0,
        ...).
        """
        return _labels(self.config, self.source)


def _labels(config, source):
    names = config.get("id2label") or {}
    try:
        ordered = tuple(str(names[key]) for key in sorted(names, key=int))
        complete = sorted(int(key) for key in names) == list(range(len(names)))
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"id2label in {source} must map 0, 1, ... to label names") from error
    if not complete:
        raise UserError(f"id2label in {source} must number its labels 0 to {len(names) - 1} without a gap")
    return () if all(re.fullmatch(r"LABEL_\d+", name) for name in ordered) else ordered


def digest(arrays, *texts):
    """SHA-256 (hexadecimal) of some texts and of the names, types, shapes and bytes of all arrays, whatever
    their order.
    """
    total = hashlib.sha256("".join(f"{text}\n" for text in texts).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


# --- our own files ------------------------------------------------------------------------------------------


def load(path):
    """The checkpoint in a folder, or a .ckpt file with config.json beside it.

    In a folder, eval_model.ckpt counts; without it, the only .ckpt file there.

    Raises:
        UserError: a file is missing, damaged or of another format, or the vocabulary is not the one of the
            weights.
    """
    path = str(path)
    file = _weights_file(path)
    folder = os.path.dirname(os.path.abspath(file))
    weights = _read_ckpt(file)
    if "bert.embeddings.word_embeddings.weight" not in weights:
        raise UserError(f"{file} does not hold this project's parameter names; {_convert_first(file)}")
    return described(weights, folder, file, path)


def without_quantizer_state(weights):
    """A quantized network's latent weights, without what only its quantizers know."""
    return {name: value for name, value in weights.items() if not name.endswith(QUANTIZER_STATE)}


def described(weights, folder, file, source):
    """The `Checkpoint` of weights and the config.json and vocab.txt in their folder.

    Args:
        weights (dict): our parameter names -> arrays. folder (str): theirs. file (str): the weights' path,
            for messages.
        source (str): the path the user gave.

    Raises:
        UserError: config.json is missing, lacks a field or names another number of labels, or vocab.txt is
            not the weights'.
    """
    config_path = os.path.join(folder, CONFIG_FILE)
    if not os.path.isfile(config_path):
        raise UserError(
            f"{config_path} is missing: the weights in {file} cannot be used without it; "
            f"copy it from the folder the checkpoint was saved in"
        )
    config = read_json(config_path, "checkpoint configuration")
    absent = [
        name
        for name in _NEEDED + (_NEEDED_HEAD if "classifier.weight" in weights else ())
        if name not in config
    ]
    if absent:
        raise UserError(f"{config_path} lacks {', '.join(absent)}; it is not the one saved with {file}")
    vocabulary = None
    vocabulary_path = os.path.join(folder, VOCABULARY_FILE)
    if os.path.isfile(vocabulary_path):
        vocabulary = tuple(read_vocabulary(vocabulary_path))
        known = config.get("vocab_sha256")
        if known and known != vocabulary_hash(vocabulary):
            raise UserError(
                f"{vocabulary_path} is not the vocabulary these weights were trained with "
                f"(its hash differs from vocab_sha256 in {config_path}); put the original one there"
            )
        _check_vocabulary_size(
            vocabulary, len(weights["bert.embeddings.word_embeddings.weight"]), vocabulary_path
        )
    checkpoint = Checkpoint(weights, config, vocabulary, source)
    if checkpoint.labels and checkpoint.num_labels and len(checkpoint.labels) != checkpoint.num_labels:
        raise UserError(
            f"{config_path} names {len(checkpoint.labels)} labels but the classifier in {file} has "
            f"{checkpoint.num_labels} outputs"
        )
    return checkpoint


def save(folder, weights, config, vocabulary=None, name=WEIGHTS_FILE):
    """Write the weights (eval_model.ckpt), config.json and, with `vocabulary`, vocab.txt into `folder`; other
    files stay.

    Everything is written under temporary names first, so a failure leaves the old checkpoint as it was. Where
    config.json or vocab.txt changes, the old weights, step files included, are removed before the renames and
    the new ones come last: weights never lie beside another network's description. A vocab.txt left by
    another checkpoint is removed when `vocabulary` is None.

    Args:
        folder (str): created where needed.
        weights (dict): our parameter names -> arrays.
        config (dict): content of config.json; vocab_sha256 is set from `vocabulary` here.
        vocabulary (sequence of str): tokens in id order.
        name (str): of the weights file, ending in .ckpt.
    """
    if not name.endswith(".ckpt"):
        raise ValueError(f"the name of a weights file ends in .ckpt, unlike {name}")
    config = dict(config)
    paths = {item: os.path.join(folder, item) for item in (WEIGHTS_FILE, VOCABULARY_FILE, CONFIG_FILE)}
    make_folder(folder)
    if vocabulary is not None:
        config["vocab_sha256"] = vocabulary_hash(vocabulary)
    unchanged = _same_description(paths, config, vocabulary)
    with (
        contextlib.ExitStack() as stack
    ):  # left in reverse order: config.json is renamed first, the weights last
        _write_ckpt(stack.enter_context(replacing(os.path.join(folder, name))), weights)
        if unchanged:
            return
        if vocabulary is not None:
            write_vocabulary(stack.enter_context(replacing(paths[VOCABULARY_FILE])), vocabulary)
        write_json(stack.enter_context(replacing(paths[CONFIG_FILE])), config)
        for old in (WEIGHTS_FILE,) if vocabulary is not None else (WEIGHTS_FILE, VOCABULARY_FILE):
            if os.path.exists(paths[old]):
                os.remove(paths[old])
        for old in step_files(folder):  # of another network, which the new config.json does not describe
            os.remove(old)


def step_file(step):
    """Name of the weights file of optimizer step `step`."""
    return f"step_{step}.ckpt"


def step_files(folder):
    """Paths of the step files in `folder`, the oldest one first."""
    steps = [
        (int(found[1]), os.path.join(folder, found[0]))
        for found in map(re.compile(r"step_(\d+)\.ckpt").fullmatch, os.listdir(folder))
        if found
    ]
    return [path for _, path in sorted(steps, key=lambda item: (os.stat(item[1]).st_mtime_ns, item[0]))]


def _same_description(paths, config, vocabulary):
    """Whether config.json and vocab.txt on disk already say what is to be written."""
    try:
        old_config = read_json(paths[CONFIG_FILE], "checkpoint configuration")
        has_file = os.path.isfile(paths[VOCABULARY_FILE])
        old_vocabulary = read_vocabulary(paths[VOCABULARY_FILE]) if has_file else None
    except UserError:  # missing or damaged: it will be replaced
        return False
    new_config = json.loads(json.dumps(config))  # tuples and integer keys as JSON has them
    return old_config == new_config and old_vocabulary == (None if vocabulary is None else list(vocabulary))


def _ckpt_names(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".ckpt") and not name.startswith("."))


def packed_folder(path):
    """The folder of the packed model that `path` means, its file or a folder without any .ckpt; "" where it
    means another one.
    """
    if os.path.isfile(path):
        return os.path.dirname(os.path.abspath(path)) if os.path.basename(path) == PACKED_FILE else ""
    return path if os.path.isfile(os.path.join(path, PACKED_FILE)) and not _ckpt_names(path) else ""


def _refuse_packed(path):
    if packed_folder(path):
        raise UserError(
            f"{path} holds a packed model, which can be evaluated but has no float32 weights to train or "
            "convert; give the folder of a .ckpt (train.py --save_fp_model true writes one)"
        )


def _weights_file(path):
    """The .ckpt file that `path` means."""
    if not os.path.exists(path):
        raise UserError(f"checkpoint {path} does not exist")
    _refuse_packed(path)
    if os.path.isfile(path):
        if not path.endswith(".ckpt"):
            raise UserError(f"{path} is not a .ckpt file; {_convert_first(path)}")
        return path
    names = _ckpt_names(path)
    if WEIGHTS_FILE in names:
        return os.path.join(path, WEIGHTS_FILE)
    if len(names) == 1:
        return os.path.join(path, names[0])
    if names:
        raise UserError(
            f"{path} holds {len(names)} .ckpt files and none is {WEIGHTS_FILE}; name one: {', '.join(names)}"
        )
    if _foreign_format(path):
        raise UserError(f"{path} is a {FORMATS[_foreign_format(path)]} checkpoint; {_convert_first(path)}")
    raise UserError(f"{path} holds no checkpoint: no .ckpt file is in it")


def _convert_first(path):
    return f"run: python convert_checkpoint.py --input {path} --output FOLDER"


def _read_ckpt(path):
    """{name: float32 array} of a MindSpore .ckpt file."""
    import mindspore  # two seconds, which the other formats need not wait for

    if os.path.getsize(path) == 0:
        raise UserError(f"{path} is empty; the program that wrote it was probably interrupted")
    try:
        values = mindspore.load_checkpoint(path)
    except Exception as error:  # the parser raises several kinds; all of them mean this file
        raise UserError(f"{path} is truncated or not a MindSpore checkpoint: {one_line(error)}") from error
    weights = {}
    for name, value in values.items():
        if isinstance(value, mindspore.Tensor):  # append_info also stores strings and numbers
            weights[name] = (
                value.float().asnumpy()
                if value.dtype == mindspore.bfloat16
                else value.asnumpy().astype(np.float32, copy=False)
            )
    return weights


def _write_ckpt(path, weights):
    import mindspore

    mindspore.save_checkpoint(
        [
            {"name": name, "data": mindspore.Tensor(np.array(value, dtype=np.float32, order="C"))}
            for name, value in weights.items()
        ],
        path,
    )


def write_vocabulary(path, tokens):
    """Write the tokens in id order, one a line, as `read_vocabulary` reads them."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(token + "\n" for token in tokens)


def _check_vocabulary_size(tokens, rows, source):
    if len(tokens) > rows:
        raise UserError(
            f"{source} holds {len(tokens)} tokens but the word embedding has only {rows} rows; "
            f"it belongs to another checkpoint"
        )


# --- into a network -----------------------------------------------------------------------------------------


def assign(network, weights, source, allow_missing=(), allow_unexpected=(), allow_missing_endings=()):
    """Set every parameter of `network` from `weights`, or none of them.

    Args:
        network (mindspore.nn.Cell): its `parameters_and_names()` say what is needed.
        weights (dict): our parameter names -> arrays.
        source (str): where the weights come from, for the message.
        allow_missing (tuple of str): parameters whose names start with one of these may be missing; they keep
            their values.
        allow_unexpected (tuple of str): weights whose names start with one of these may be left over.
        allow_missing_endings (tuple of str): as allow_missing, for the end of a name.

    Returns:
        (missing, unexpected): the names that were allowed to be so, sorted.

    Raises:
        UserError: other missing or unexpected names, or other shapes; the message gives the first of each and
            how many.
    """
    import mindspore

    parameters = dict(
        network.parameters_and_names()
    )  # not by the parameters' own names: compiling a graph changes those
    missing = sorted(set(parameters) - set(weights))
    unexpected = sorted(set(weights) - set(parameters))
    misshapen = [
        f"{name} {_shape(weights[name])} where the network has {_shape(parameters[name])}"
        for name in parameters
        if name in weights and _shape(weights[name]) != _shape(parameters[name])
    ]
    _refuse(
        f"the weights of {source} do not fit the network",
        {
            "missing": [
                name
                for name in missing
                if not (name.startswith(tuple(allow_missing)) or name.endswith(tuple(allow_missing_endings)))
            ],
            "unexpected": [name for name in unexpected if not name.startswith(tuple(allow_unexpected))],
            "of another shape": misshapen,
        },
    )
    for name, parameter in parameters.items():
        if name in weights:
            parameter.set_data(mindspore.Tensor(np.array(weights[name], order="C"), parameter.dtype))
    return missing, unexpected


def _shape(array):
    return tuple(int(size) for size in array.shape)


def _refuse(what, problems):
    """A `UserError` that lists each non-empty problem's first three items and their number."""
    parts = [f"{len(items)} {kind} ({_first(items)})" for kind, items in problems.items() if items]
    if parts:
        raise UserError(f"{what}: {'; '.join(parts)}")


def _first(items, count=3):
    return ", ".join(items[:count]) + (", ..." if len(items) > count else "")


# --- names --------------------------------------------------------------------------------------------------

# kind of module, shape, and its name in each format; {n} is the layer's number, None: the format has no such
# module.
_L, _HL, _TL, _ML = (
    "bert.encoder.layers.{n}",
    "bert.encoder.layer.{n}",
    "bert/encoder/layer_{n}",
    "bert_encoder.layers.{n}",
)
_COLUMNS = ("ours", "huggingface", "tensorflow", "mindspore")
_MODULES = (
    (
        "table",
        "VH",
        "bert.embeddings.word_embeddings",
        "bert.embeddings.word_embeddings",
        "bert/embeddings/word_embeddings",
        "bert_embedding_lookup",
    ),
    (
        "table",
        "PH",
        "bert.embeddings.position_embeddings",
        "bert.embeddings.position_embeddings",
        "bert/embeddings/position_embeddings",
        "bert_embedding_postprocessor.full_position_embedding",
    ),
    (
        "table",
        "TH",
        "bert.embeddings.token_type_embeddings",
        "bert.embeddings.token_type_embeddings",
        "bert/embeddings/token_type_embeddings",
        "bert_embedding_postprocessor.token_type_embedding",
    ),
    (
        "norm",
        "H",
        "bert.embeddings.layer_norm",
        "bert.embeddings.LayerNorm",
        "bert/embeddings/LayerNorm",
        "bert_embedding_postprocessor.layernorm",
    ),
    (
        "dense",
        "HH",
        _L + ".attention.query",
        _HL + ".attention.self.query",
        _TL + "/attention/self/query",
        _ML + ".attention.attention.query_layer",
    ),
    (
        "dense",
        "HH",
        _L + ".attention.key",
        _HL + ".attention.self.key",
        _TL + "/attention/self/key",
        _ML + ".attention.attention.key_layer",
    ),
    (
        "dense",
        "HH",
        _L + ".attention.value",
        _HL + ".attention.self.value",
        _TL + "/attention/self/value",
        _ML + ".attention.attention.value_layer",
    ),
    (
        "relative",
        "RD",
        _L + ".attention.relative_positions",
        None,
        None,
        _ML + ".attention.attention._generate_relative_positions_embeddings",
    ),
    (
        "dense",
        "HH",
        _L + ".attention.output",
        _HL + ".attention.output.dense",
        _TL + "/attention/output/dense",
        _ML + ".attention.output.dense",
    ),
    (
        "norm",
        "H",
        _L + ".attention.layer_norm",
        _HL + ".attention.output.LayerNorm",
        _TL + "/attention/output/LayerNorm",
        _ML + ".attention.output.layernorm",
    ),
    (
        "dense",
        "IH",
        _L + ".feed_forward.intermediate",
        _HL + ".intermediate.dense",
        _TL + "/intermediate/dense",
        _ML + ".intermediate",
    ),
    (
        "dense",
        "HI",
        _L + ".feed_forward.output",
        _HL + ".output.dense",
        _TL + "/output/dense",
        _ML + ".output.dense",
    ),
    (
        "norm",
        "H",
        _L + ".feed_forward.layer_norm",
        _HL + ".output.LayerNorm",
        _TL + "/output/LayerNorm",
        _ML + ".output.layernorm",
    ),
    ("dense", "HH", "bert.pooler.dense", "bert.pooler.dense", "bert/pooler/dense", "dense"),
    ("head", "CH", "classifier", "classifier", "output", "dense_1"),
    ("fit", "GH", "fit_dense", "fit_dense", None, "fit_dense"),
)

# what follows a module's name, by kind of module; a kind not listed has (weight, bias) = (".weight", ".bias")
_ONLY_WEIGHT, _PLAIN = (".weight",), (".weight", ".bias")
_LEAVES = {
    "ours": {"table": _ONLY_WEIGHT, "relative": _ONLY_WEIGHT},
    "huggingface": {"table": _ONLY_WEIGHT},
    "tensorflow": {
        "table": ("",),
        "norm": ("/gamma", "/beta"),
        "dense": ("/kernel", "/bias"),
        "head": ("_weights", "_bias"),
    },
    "mindspore": {
        "table": (".embedding_table",),
        "norm": (".gamma", ".beta"),
        "relative": (".embeddings_table",),
    },
}

# older or prefixed spellings, brought to the ones above by these (pattern, replacement) pairs in this order
_SPELLINGS = {
    "huggingface": (
        (r"^module\.", ""),
        (r"^(embeddings|encoder|pooler)\.", r"bert.\1."),
        (r"LayerNorm\.gamma$", "LayerNorm.weight"),
        (r"LayerNorm\.beta$", "LayerNorm.bias"),
    ),
    "tensorflow": (),
    "mindspore": (
        (r"^((network|teacher|student|bert)\.)+", ""),
        (r"^tinybert_", "bert_"),
        (r"^(bert_embedding_postprocessor)\.embedding_table$", r"\1.token_type_embedding.embedding_table"),
        (r"full_position_embeddings$", "full_position_embedding.embedding_table"),
        (r"embeddings_for_position$", "embeddings_table"),
    ),
}

# what this project has no use for: pretraining and span heads, buffers, optimizer and loss-scale state
_DROPPED = {
    "huggingface": r"cls\..*|.*\.position_ids|qa_outputs\..*|fit_denses\.\d+\..*",
    "tensorflow": r"cls/.*|.*/(adam|lamb)_[mv]|.*/Adam(_1)?|beta[12]_power|global_step|loss_scale.*|"
    r"good_steps|_CHECKPOINTABLE_OBJECT_GRAPH",
    "mindspore": r"cls[12]\..*|dense1\..*|(adam_[mv]|lamb_[mv]|moments?[12]?|accum|exp_avg)\..*|"
    r"beta[12]_power|global_step|learning_rate|scale_sense|loss_scale|current_iterator_step|last_overflow_iterator_step|"
    r"epoch_num|step_num|momentum|weight_decay|"
    # the published TernaryBERT's activation ranges, which also cover outputs that nothing here quantizes
    r"(.*\.)?fake_quant_(input|output|x|y)\.(quant_min|quant_max|minq|maxq)",
}


def _name_pairs(from_format, to_format):
    """[(pattern of a name in `from_format`, template in `to_format` or None, whether to transpose)]"""
    pairs = []
    for kind, _, *names in _MODULES:
        source, target = (names[_COLUMNS.index(name)] for name in (from_format, to_format))
        if source is None:
            continue
        transposed = kind == "dense" and "tensorflow" in (from_format, to_format)
        leaves = zip(_LEAVES[from_format].get(kind, _PLAIN), _LEAVES[to_format].get(kind, _PLAIN))
        for place, (source_leaf, target_leaf) in enumerate(leaves):
            pattern = re.escape(source + source_leaf).replace(r"\{n\}", r"(\d+)")
            template = None if target is None else (target + target_leaf).replace("{n}", r"\1")
            pairs.append((re.compile(pattern), template, transposed and place == 0))
    return pairs


def _translate(weights, from_format, to_format):
    """`weights` under the names of `to_format`, and the names for which it has no place.

    Raises:
        UserError: a name that is not in the table at all, or two names that mean the same weight.
    """
    pairs = _name_pairs(from_format, to_format)
    translated, without_place, unknown = {}, [], []
    for name, value in weights.items():
        hits = [
            (match.expand(template) if template else None, transposed)
            for pattern, template, transposed in pairs
            if (match := pattern.fullmatch(name))
        ]
        if not hits:
            unknown.append(name)
        elif hits[0][0] is None:
            without_place.append(name)
        elif hits[0][0] in translated:
            raise UserError(f"the checkpoint holds {hits[0][0]} twice, once of them as {name}")
        else:
            translated[hits[0][0]] = np.ascontiguousarray(value.T) if hits[0][1] else value
    _refuse(
        f"not a BERT encoder with a classifier, as {FORMATS[from_format]} checkpoints name it",
        {"unknown weights": sorted(unknown)},
    )
    return translated, without_place


def _respell(weights, file_format):
    """(weights under the current spelling, names dropped as they stood in the file)."""
    kept, dropped = {}, []
    whole_training = file_format == "mindspore" and any(
        re.match(r"(bert\.)?(tiny)?bert_|bert\.", name) for name in weights
    )
    for name, value in weights.items():
        spelling = name
        for pattern, replacement in _SPELLINGS[file_format]:
            spelling = re.sub(pattern, replacement, spelling)
        # a distillation network saved whole holds teacher and student; the student is what was trained
        if re.fullmatch(_DROPPED[file_format], spelling) or whole_training and name.startswith("teacher."):
            dropped.append(name)
        elif spelling in kept:
            raise UserError(f"the checkpoint holds {spelling} twice, once of them as {name}")
        else:
            kept[spelling] = value
    return kept, dropped


# --- configuration of an imported network -------------------------------------------------------------------

# what the format's own BertConfig takes where its file leaves a field out
_DEFAULTS = {
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
}
_LAYER_NORM_EPS = {
    "huggingface": 1e-12,
    "tensorflow": 1e-12,
    "mindspore": 1e-7,
}  # 1e-7: mindspore.nn.LayerNorm's default
_SAME_ACTIVATION = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_fast": "gelu_new",
    "relu": "relu",
}
_ABSENT_OR = {
    "model_type": ("bert", "tinybert"),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}


def _check_supported(given, path):
    for name, allowed in _ABSENT_OR.items():
        if given.get(name) is not None and given[name] not in allowed:
            raise UserError(
                f"{path}: {name} is '{given[name]}'; only BERT encoders can be converted "
                f"({name} {' or '.join(str(item) for item in allowed)})"
            )


def _sizes(weights):
    """The architecture fields that the weights' shapes tell.

    Raises:
        UserError: a weight they are read from is missing.
    """
    layer = "bert.encoder.layers.0."
    needed = {
        "V": "bert.embeddings.word_embeddings.weight",
        "T": "bert.embeddings.token_type_embeddings.weight",
        "I": layer + "feed_forward.intermediate.weight",
    }
    _refuse(
        "not a complete BERT encoder", {"missing": [name for name in needed.values() if name not in weights]}
    )
    words = weights[needed["V"]]
    layers = {
        int(match.group(1))
        for name in weights
        if (match := re.match(r"bert\.encoder\.layers\.(\d+)\.", name))
    }
    relative = weights.get(layer + "attention.relative_positions.weight")
    positions = weights.get("bert.embeddings.position_embeddings.weight")
    sizes = {
        "vocab_size": len(words),
        "hidden_size": int(words.shape[-1]),
        "num_hidden_layers": max(layers) + 1,
        "intermediate_size": len(weights[needed["I"]]),
        "type_vocab_size": len(weights[needed["T"]]),
        "use_relative_positions": relative is not None,
    }
    if positions is not None:
        sizes["max_position_embeddings"] = len(positions)
    if relative is not None:  # (2 * max_relative_position + 1, head size)
        sizes["max_relative_position"] = len(relative) // 2
        sizes["num_attention_heads"] = sizes["hidden_size"] // int(relative.shape[-1])
    return sizes


def _expected_shapes(config, weights):
    """{our name: shape} of every weight that a network with these sizes has; its heads as far as `weights`
    has them.
    """
    size = {
        "V": config["vocab_size"],
        "P": config["max_position_embeddings"],
        "T": config["type_vocab_size"],
        "H": config["hidden_size"],
        "I": config["intermediate_size"],
        "R": 2 * config["max_relative_position"] + 1,
        "D": config["hidden_size"] // config["num_attention_heads"],
    }
    size.update(
        {
            letter: len(weights[name])
            for letter, name in (("C", "classifier.weight"), ("G", "fit_dense.weight"))
            if name in weights
        }
    )
    relative = config["use_relative_positions"]
    left_out = {
        "relative_positions": not relative,
        "position_embeddings": relative,
        "classifier": "C" not in size,
        "fit_dense": "G" not in size,
        # without a classifier nothing needs the pooler, and many encoder-only files lack it
        "pooler": "C" not in size and "bert.pooler.dense.weight" not in weights,
    }
    shapes = {}
    for kind, letters, name, *_ in _MODULES:
        if any(omit and word in name.split(".") for word, omit in left_out.items()):
            continue
        shape = tuple(size[letter] for letter in letters)
        for leaf in _LEAVES["ours"].get(kind, _PLAIN):
            for layer in range(config["num_hidden_layers"] if "{n}" in name else 1):
                shapes[name.replace("{n}", str(layer)) + leaf] = shape if leaf == ".weight" else shape[:1]
    return shapes


def _check_complete(weights, config, source):
    expected = _expected_shapes(config, weights)
    _refuse(
        f"{source} is not a complete BERT",
        {
            "missing": sorted(set(expected) - set(weights)),
            "unexpected": sorted(set(weights) - set(expected)),
            "of another shape": [
                f"{name} {_shape(weights[name])}, not {shape}"
                for name, shape in expected.items()
                if name in weights and _shape(weights[name]) != shape
            ],
        },
    )


def _architecture(given, weights, file_format, source, notices):
    """The architecture part of config.json: sizes from the weights, the rest as `given` (the checkpoint's own
    file) says.
    """
    sizes = _sizes(weights)
    for name, value in sizes.items():
        if given.get(name) is not None and given[name] != value and name != "max_relative_position":
            raise UserError(
                f"{name} is {given[name]} in the configuration of {source} but {value} in its weights"
            )
    heads = sizes.get("num_attention_heads", given.get("num_attention_heads"))
    if not isinstance(heads, int) or heads < 1 or sizes["hidden_size"] % heads:
        fault = (
            "cannot be read from the weights"
            if heads is None
            else f"{heads} does not divide {sizes['hidden_size']}"
        )
        raise UserError(
            f"{source}: num_attention_heads {fault}; give --bert_config with a JSON file that says it, "
            f'such as {{"num_attention_heads": 12}}'
        )
    rest = {name: given.get(name, default) for name, default in _DEFAULTS.items()}
    if rest["hidden_act"] not in _SAME_ACTIVATION:
        raise UserError(
            f"hidden_act '{rest['hidden_act']}' of {source} is not supported; "
            f"known are {', '.join(_SAME_ACTIVATION)}"
        )
    rest["hidden_act"] = _SAME_ACTIVATION[rest["hidden_act"]]
    if file_format in ("tensorflow", "mindspore") and rest["hidden_act"] == "gelu":
        rest["hidden_act"] = "gelu_new"
        notices.append(f"hidden_act is gelu_new: 'gelu' in {FORMATS[file_format]} code is the tanh form")
    return {
        "model_type": "bert",
        "max_position_embeddings": given.get("max_position_embeddings", 512),
        "max_relative_position": 16,
        **sizes,
        "num_attention_heads": heads,
        **rest,
        "layer_norm_eps": given.get("layer_norm_eps", _LAYER_NORM_EPS[file_format]),
    }


def _head(given, weights, source, notices):
    """The classifier's part of config.json: num_labels, problem_type, id2label, label2id; {} for an
    encoder.
    """
    if "classifier.weight" not in weights:
        return {}
    count = len(weights["classifier.weight"])
    names = _labels(given, source)
    problem = given.get("problem_type") or PROBLEM_TYPES[count == 1]
    if problem not in PROBLEM_TYPES or (problem == "regression") != (count == 1):
        raise UserError(
            f"{source}: problem_type '{problem}' with {count} outputs is not supported; a classifier has "
            "two or more and one label a row, a regression one"
        )
    if names and len(names) != count:
        raise UserError(
            f"id2label in the configuration of {source} names {len(names)} labels but the classifier has "
            f"{count} outputs"
        )
    if (
        given.get("num_labels", count) != count
    ):  # many files carry a stale one; Hugging Face does not write it itself
        notices.append(
            f"num_labels is {given['num_labels']} in its configuration but the classifier has {count} "
            "outputs; the classifier counts"
        )
    return {
        "num_labels": count,
        "problem_type": problem,
        **_label_fields(names or [f"LABEL_{index}" for index in range(count)]),
    }


def _label_fields(names):
    return {
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def with_labels(checkpoint, task_name, labels, regression):
    """`checkpoint` as one of task `task_name` with `labels` as class names.

    A checkpoint that names the same labels in another order gets its classifier's rows into the task's order;
    its predictions stay what they were.

    Returns:
        (checkpoint, notices)

    Raises:
        UserError: it has no classifier, another number of outputs, or labels of other names.
    """
    count = 1 if regression else len(labels) or checkpoint.num_labels
    if checkpoint.num_labels != count or (regression != (checkpoint.config["problem_type"] == "regression")):
        has = (
            f"a classifier with {checkpoint.num_labels} outputs" if checkpoint.num_labels else "no classifier"
        )
        raise UserError(
            f"task_name: {task_name} needs {'one output (regression)' if regression else f'{count} outputs'} "
            f"but {checkpoint.source} has {has}"
        )
    config = {**checkpoint.config, "task_name": task_name}
    if not labels:
        return replace(checkpoint, config=config), []
    weights, notices = checkpoint.weights, []
    old, new = (
        [re.sub(r"[\W_]+", "_", name.casefold()) for name in names] for names in (checkpoint.labels, labels)
    )
    if old and sorted(old) != sorted(new):
        raise UserError(
            f"task_name: the labels of {task_name} are {', '.join(labels)} but {checkpoint.source} was "
            f"trained on {', '.join(checkpoint.labels)}"
        )
    if old and old != new:
        order = [old.index(name) for name in new]
        weights = {
            **weights,
            **{name: weights[name][order] for name in ("classifier.weight", "classifier.bias")},
        }
        notices.append(
            f"classifier rows reordered from {', '.join(checkpoint.labels)} to {', '.join(labels)}"
        )
    return replace(checkpoint, weights=weights, config={**config, **_label_fields(labels)}), notices


# --- import -------------------------------------------------------------------------------------------------


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


def read_any(path, bert_config="", vocab_file="", classifier_relu="auto"):
    """Read a checkpoint of any known format.

    Args:
        path (str): a Hugging Face folder or weights file, a TensorFlow folder or prefix, a published
            MindSpore .ckpt (or its folder), or a checkpoint of ours.
        bert_config (str): config.json of the network where none lies beside the weights. For a published
            MindSpore checkpoint it need say no more than num_attention_heads.
        vocab_file (str): vocabulary where none lies beside the weights.
        classifier_relu (bool or "auto"): whether the classifier reads relu(pooled).

    Returns:
        Imported. An encoder without a pooler stays one: `assign` reports it as missing unless the caller
        allows that.

    Raises:
        UserError: nothing known lies there, or it is damaged, incomplete or not a BERT.
    """
    if classifier_relu not in ("auto", True, False):
        raise UserError(f"classifier_relu: must be auto, true or false, not '{classifier_relu}'")
    path = str(path)
    file_format, location = detect(path)
    if file_format == "ours":
        return _read_ours(location, bert_config, vocab_file, classifier_relu)
    weights, folder = _READERS[file_format](location)
    notices = []
    given = _given_config(folder, bert_config, file_format)
    from_tinybert = file_format == "mindspore" and any(
        re.search(r"(^|\.)(tinybert_|fit_dense\.|fake_quant_)", name) for name in weights
    )
    weights, dropped = _respell(weights, file_format)
    dropped += _drop_other_heads(weights, given, notices)
    weights, _ = _translate(weights, file_format, "ours")
    positions = "bert.embeddings.position_embeddings.weight"
    if "bert.encoder.layers.0.attention.relative_positions.weight" in weights and positions in weights:
        del weights[positions]  # the published network makes this table even where it never reads it
        dropped.append("position embeddings (unused with relative positions)")
    vocabulary, lower_case = _vocabulary(folder, vocab_file, given, notices)
    config = {
        **_architecture(given, weights, file_format, path, notices),
        **_head(given, weights, path, notices),
    }
    config["classifier_relu"] = _classifier_relu(classifier_relu, given, config, file_format, from_tinybert)
    if lower_case is not None:
        config["do_lower_case"] = lower_case
    if vocabulary is not None:
        _check_vocabulary_size(vocabulary, config["vocab_size"], vocab_file or folder)
        config["vocab_sha256"] = vocabulary_hash(vocabulary)
    _check_complete(weights, config, path)
    if "bert.pooler.dense.weight" not in weights:
        notices.append(
            "it has no pooler; a network that reads the pooled output starts that layer from random weights"
        )
    return Imported(Checkpoint(weights, config, vocabulary, path), file_format, tuple(dropped), notices)


def detect(path):
    """(format, location): a key of `FORMATS` and the weights file, TensorFlow prefix or Hugging Face folder.

    Raises:
        UserError: nothing known lies there.
    """
    path = str(path)
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    if os.path.isfile(prefix + ".index"):
        return "tensorflow", prefix
    if not os.path.exists(path):
        raise UserError(f"input: {path} does not exist")
    _refuse_packed(path)
    if os.path.isfile(path):
        if path.endswith((".safetensors", ".bin")):
            return "huggingface", path
        if not path.endswith(".ckpt"):
            raise UserError(
                f"input: {path} is no known kind of checkpoint (.ckpt, .safetensors, .bin or a TensorFlow "
                ".index)"
            )
    else:
        if not _ckpt_names(path):
            found = _foreign_format(path)
            if found is None:
                raise UserError(
                    f"input: no checkpoint was found in {path}: none of {', '.join(_HUGGING_FACE_FILES)}, "
                    f"a TensorFlow .index or a MindSpore .ckpt"
                )
            return found, path if found == "huggingface" else _tensorflow_prefix(path)
    file = _weights_file(path)
    names = _read_ckpt(file)
    return ("ours" if "bert.embeddings.word_embeddings.weight" in names else "mindspore"), file


_HUGGING_FACE_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def _foreign_format(folder):
    """ "huggingface", "tensorflow" or None by the names of the files in `folder`."""
    names = os.listdir(folder)
    if any(name in names for name in _HUGGING_FACE_FILES):
        return "huggingface"
    return "tensorflow" if any(name.endswith(".index") for name in names) else None


def _read_ours(file, bert_config, vocab_file, classifier_relu):
    checkpoint = load(file)
    for name, value in (
        ("bert_config", bert_config),
        ("vocab_file", vocab_file if checkpoint.vocabulary else ""),
    ):
        if value:
            raise UserError(
                f"{name}: {file} is a checkpoint of ours and has its own beside it; leave --{name} out"
            )
    if vocab_file:
        tokens = tuple(read_vocabulary(vocab_file))
        known = checkpoint.config.get("vocab_sha256")
        if known and known != vocabulary_hash(tokens):
            raise UserError(
                f"vocab_file: {vocab_file} is not the vocabulary {file} was trained with (vocab_sha256 "
                "differs)"
            )
        _check_vocabulary_size(
            tokens, len(checkpoint.weights["bert.embeddings.word_embeddings.weight"]), vocab_file
        )
        checkpoint = replace(
            checkpoint,
            vocabulary=tokens,
            config={"do_lower_case": is_lower_case(tokens), **checkpoint.config},
        )
    if classifier_relu != "auto":
        checkpoint = replace(checkpoint, config={**checkpoint.config, "classifier_relu": classifier_relu})
    return Imported(checkpoint, "ours")


def _given_config(folder, bert_config, file_format):
    """The network's own configuration file; {} for a published MindSpore checkpoint without one."""
    candidates = (
        [bert_config]
        if bert_config
        else [os.path.join(folder, name) for name in (CONFIG_FILE, "bert_config.json")]
    )
    path = next((name for name in candidates if os.path.isfile(name)), None)
    if path is None and bert_config:
        raise UserError(f"bert_config: {bert_config} does not exist")
    if path is None:
        if file_format == "mindspore":
            return {}
        raise UserError(f"{folder} holds neither config.json nor bert_config.json; give --bert_config")
    given = read_json(path, "network configuration")
    _check_supported(given, path)
    return given


def _drop_other_heads(weights, given, notices):
    """Remove a `classifier` that does not read the pooled output: a token's, a choice's or a span's; returns
    its names.
    """
    architecture = (given.get("architectures") or ["ForSequenceClassification"])[0]
    heads = [name for name in weights if name.startswith("classifier.")]
    if not heads or architecture.endswith("ForSequenceClassification"):
        return []
    notices.append(
        f"the head of {architecture} was left out; only sentence classifiers and regressions have a place "
        "here"
    )
    for name in heads:
        del weights[name]
    return heads


def _classifier_relu(choice, given, config, file_format, from_tinybert):
    """Whether the classifier reads relu(pooled)."""
    if choice != "auto":
        return choice
    if given.get("classifier_relu") is not None:
        return bool(given["classifier_relu"])
    if file_format != "mindspore" or "num_labels" not in config or from_tinybert:
        return from_tinybert and "num_labels" in config
    raise UserError(
        "classifier_relu: the published MindSpore TinyBERT and TernaryBERT networks have a ReLU before "
        "the classifier, the published BERT ones do not, and their weights have the same names; give "
        "--classifier_relu true or false"
    )


def _vocabulary(folder, vocab_file, given, notices):
    """(tokens or None, whether text is lower-cased, or None where nothing tells)."""
    tokenizer = os.path.join(folder, "tokenizer.json")
    own = vocab_file or os.path.join(folder, VOCABULARY_FILE)
    tokens = None
    if vocab_file or os.path.isfile(own):
        tokens = tuple(read_vocabulary(own))
    elif os.path.isfile(tokenizer):
        tokens = _tokenizer_json_vocabulary(tokenizer)
    else:
        notices.append(
            "no vocab.txt was found; give --vocab_file, or put the vocabulary there before using text"
        )
    settings = os.path.join(folder, "tokenizer_config.json")
    said = (
        read_json(settings, "tokenizer configuration").get("do_lower_case")
        if os.path.isfile(settings)
        else None
    )
    said = given.get("do_lower_case") if said is None else said
    return tokens, is_lower_case(tokens) if said is None and tokens is not None else said


def _tokenizer_json_vocabulary(path):
    """The WordPiece vocabulary inside a Hugging Face tokenizer.json."""
    model = read_json(path, "tokenizer").get("model")
    ids = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(ids, dict) or model.get("type", "WordPiece") != "WordPiece":
        raise UserError(f"{path} holds no WordPiece vocabulary; give --vocab_file")
    tokens = tuple(sorted(ids, key=ids.get))
    if sorted(ids.values()) != list(range(len(ids))) or any(re.search(r"[\r\n]", token) for token in tokens):
        raise UserError(
            f"{path}: the vocabulary's ids must run from 0 to {len(ids) - 1}, with no line break in a token"
        )
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if token not in ids]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; it is not BERT's vocabulary")
    return tokens


def _read_huggingface(path):
    """(weights, folder) of a Hugging Face folder or one of its weights files."""
    if os.path.isfile(path):
        return _read_tensor_file(path), os.path.dirname(os.path.abspath(path))
    name = next(name for name in _HUGGING_FACE_FILES if os.path.isfile(os.path.join(path, name)))
    if not name.endswith(".index.json"):
        return _read_tensor_file(os.path.join(path, name)), path
    index = read_json(os.path.join(path, name), "index of weights").get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(shard, str) for shard in index.values()):
        raise UserError(f"{os.path.join(path, name)} lacks weight_map, which says where each weight lies")
    weights = {}
    for shard in sorted(set(index.values())):
        if shard != os.path.basename(shard) or "\\" in shard or shard in ("", ".", ".."):
            raise UserError(
                f"{os.path.join(path, name)} names the file '{shard}'; only files in the same folder are read"
            )
        weights.update(_read_tensor_file(os.path.join(path, shard)))
    absent = sorted(set(index) - set(weights))
    _refuse(f"{os.path.join(path, name)} promises more than its files hold", {"missing": absent})
    return weights, path


def _read_tensor_file(path):
    if not os.path.isfile(path):
        raise UserError(f"{path} is missing")
    return _read_safetensors(path) if path.endswith(".safetensors") else _read_torch(path)


def _read_safetensors(path):
    """{name: float32 array}; integers (position_ids) are converted too, for the name map drops them."""
    import safetensors

    with open(path, "rb") as file:
        content = file.read()
    try:
        tensors = safetensors.deserialize(content)
    except Exception as error:  # safetensors raises its own kind and ValueError
        raise UserError(f"{path} is truncated or not a safetensors file: {one_line(error)}") from error
    types = {
        "F64": np.float64,
        "F32": np.float32,
        "F16": np.float16,
        "I64": np.int64,
        "I32": np.int32,
        "BF16": np.uint16,
    }
    weights = {}
    for name, tensor in tensors:
        if tensor["dtype"] not in types:
            raise UserError(
                f"{path}: {name} has the type {tensor['dtype']}; float32, float16 and bfloat16 weights "
                "are read"
            )
        values = np.frombuffer(tensor["data"], dtype=types[tensor["dtype"]])
        if tensor["dtype"] == "BF16":  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        weights[name] = values.astype(np.float32).reshape(tensor["shape"])
    return weights


def _read_torch(path):
    """{name: float32 array} of a PyTorch state dict, through the loader that unpickles nothing but
    tensors.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"reading {path} needs PyTorch (pip install torch); a model.safetensors in its place does not"
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged archives and refused pickles raise many kinds
        raise UserError(
            f"{path} is damaged or holds more than weights, which is not read: {one_line(error)[:200]}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path} is not a PyTorch state dict: a mapping from names to tensors")
    return {name: value.float().numpy() for name, value in state.items()}


def _read_mindspore(path):
    return _read_ckpt(path), os.path.dirname(os.path.abspath(path))


def _tensorflow():
    try:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no banner of hardware notes on standard error
        import tensorflow
    except ImportError as error:
        raise UserError(
            "TensorFlow checkpoints need TensorFlow: pip install -r requirements-convert.txt"
        ) from error
    return tensorflow


def _tensorflow_prefix(folder):
    prefixes = sorted(name[: -len(".index")] for name in os.listdir(folder) if name.endswith(".index"))
    if len(prefixes) > 1:
        raise UserError(
            f"input: {folder} holds {len(prefixes)} TensorFlow checkpoints; name one: "
            f"{', '.join(os.path.join(folder, name) for name in prefixes)}"
        )
    return os.path.join(folder, prefixes[0])


def _read_tensorflow(prefix):
    tensorflow = _tensorflow()
    weights = {}
    try:
        reader = tensorflow.train.load_checkpoint(prefix)
        for name in sorted(reader.get_variable_to_shape_map()):
            if not re.fullmatch(
                _DROPPED["tensorflow"], name
            ):  # optimizer moments are two thirds of a training checkpoint
                weights[name] = reader.get_tensor(name).astype(np.float32)
            else:
                weights[name] = None
    except Exception as error:  # TensorFlow's kinds differ between missing, truncated and foreign files
        raise UserError(
            f"{prefix} cannot be read as a TensorFlow checkpoint: {one_line(error)[:200]}"
        ) from error
    return weights, os.path.dirname(os.path.abspath(prefix))


_READERS = {"huggingface": _read_huggingface, "tensorflow": _read_tensorflow, "mindspore": _read_mindspore}


# --- export -------------------------------------------------------------------------------------------------

_EXPORTED = _NEEDED[: _NEEDED.index("layer_norm_eps")]
_KEPT_ELSEWHERE = (
    _NEEDED + _NEEDED_HEAD + ("model_type", "do_lower_case", "vocab_sha256", "id2label", "label2id")
)
_ALSO_KEPT = {"huggingface": ("task_name",)}


def _exported_weights(checkpoint, to_format):
    """(weights under the format's names, notices)

    Raises:
        UserError: the format has no such network, so its users would compute something else from these
            weights.
    """
    for name, what in (
        ("classifier_relu", "a ReLU before the classifier"),
        ("use_relative_positions", "relative positions learnt inside attention"),
    ):
        if checkpoint.config.get(name):
            raise UserError(
                f"{checkpoint.source} would compute something else as {FORMATS[to_format]} BERT, which "
                f"has no {what} ({name} is true)"
            )
    plain = without_quantizer_state(checkpoint.weights)
    kept = {name: value for name, value in plain.items() if not name.startswith("fit_dense.")}
    notices = (
        ["fit_dense, the projection used in distillation, was left out"] if len(kept) < len(plain) else []
    )
    if len(plain) < len(checkpoint.weights):
        notices.append(
            "what its quantizers had learnt (ranges, second moments) was left out: the weights are "
            "float32 ones"
        )
    weights, _ = _translate(kept, "ours", to_format)
    others = sorted(
        set(checkpoint.config) - set(_EXPORTED) - set(_KEPT_ELSEWHERE) - set(_ALSO_KEPT.get(to_format, ()))
    )
    if others:
        notices.append(f"the format has no place for {', '.join(others)} of config.json")
    return weights, notices


def write_huggingface(folder, checkpoint):
    """Write model.safetensors, config.json, vocab.txt and tokenizer_config.json into an existing folder;
    returns notices.
    """
    weights, notices = _exported_weights(checkpoint, "huggingface")
    config = {name: checkpoint.config[name] for name in _EXPORTED}
    config.update(
        model_type="bert",
        layer_norm_eps=checkpoint.config["layer_norm_eps"],
        architectures=["BertForSequenceClassification" if checkpoint.num_labels else "BertModel"],
    )
    if checkpoint.num_labels:
        names = checkpoint.labels or [f"LABEL_{index}" for index in range(checkpoint.num_labels)]
        config.update(problem_type=checkpoint.config["problem_type"], **_label_fields(names))
    else:  # BertModel's own files have no prefix
        weights = {name.removeprefix("bert."): value for name, value in weights.items()}
    if checkpoint.vocabulary is not None:
        config["vocab_sha256"] = vocabulary_hash(checkpoint.vocabulary)
    config.update(
        {name: checkpoint.config[name] for name in _ALSO_KEPT["huggingface"] if checkpoint.config.get(name)}
    )
    write_safetensors(os.path.join(folder, "model.safetensors"), weights, {"format": "pt"})
    write_json(os.path.join(folder, CONFIG_FILE), config)
    if checkpoint.vocabulary is not None:
        write_vocabulary(os.path.join(folder, VOCABULARY_FILE), checkpoint.vocabulary)
        lower_case = checkpoint.config.get("do_lower_case", is_lower_case(checkpoint.vocabulary))
        write_json(
            os.path.join(folder, "tokenizer_config.json"),
            {
                "tokenizer_class": "BertTokenizer",
                "do_lower_case": lower_case,
                "model_max_length": checkpoint.config["max_position_embeddings"],
            },
        )
    return notices


def write_tensorflow(folder, checkpoint):
    """Write bert_model.ckpt.{index,data-...}, bert_config.json and vocab.txt into an existing folder; returns
    notices.
    """
    weights, notices = _exported_weights(checkpoint, "tensorflow")
    config = {name: checkpoint.config[name] for name in _EXPORTED}
    if config["hidden_act"] == "gelu":
        notices.append(
            "Google's code computes 'gelu' in its tanh form; this network has the exact one, about 1e-3 apart"
        )
    elif config["hidden_act"] == "gelu_new":
        config["hidden_act"] = "gelu"
    if checkpoint.config["layer_norm_eps"] != 1e-12:
        notices.append(
            f"Google's code has a LayerNorm epsilon of 1e-12, this network "
            f"{checkpoint.config['layer_norm_eps']}"
        )
    tensorflow = _tensorflow()
    names = sorted(weights)
    with tensorflow.device("/CPU:0"):
        tensorflow.raw_ops.SaveV2(
            prefix=os.path.join(os.path.abspath(folder), "bert_model.ckpt"),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tensorflow.constant(weights[name]) for name in names],
        )
    write_json(os.path.join(folder, "bert_config.json"), config)
    if checkpoint.vocabulary is not None:
        write_vocabulary(os.path.join(folder, VOCABULARY_FILE), checkpoint.vocabulary)
    return notices
