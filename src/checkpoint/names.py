"""The one name map: what every format calls the weights of a BERT. It is read in both directions.

Linear weights are (out, in). Shapes: V vocabulary rows, P positions, T token types, H hidden size, I
intermediate size, D head size, R relative positions (2 * max_relative_position + 1), C classes, G hidden size
of the general-distillation teacher.
"""

import re
from collections.abc import Iterable, Iterator

import numpy as np

from src.checkpoint.mismatch import refuse
from src.errors import UserError

FORMATS = {
    "ours": "MindSpore (this project's)",
    "huggingface": "Hugging Face",
    "tensorflow": "TensorFlow BERT (Google's)",
    "mindspore": "published MindSpore",
}
"""A format's key -> what messages call it; the keys are the columns of the map."""
WORD_EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
QUESTIONS = "BertForQuestionAnswering"
"""Hugging Face's class whose head has a name of its own, in every format but ours."""

# One row a module: kind of module, shape, and its name in each format; None: the format has no such module.
# fmt: off
_OUTSIDE_LAYERS = (
    ("table", "VH", "bert.embeddings.word_embeddings", "bert.embeddings.word_embeddings",
     "bert/embeddings/word_embeddings", "bert_embedding_lookup"),
    ("table", "PH", "bert.embeddings.position_embeddings", "bert.embeddings.position_embeddings",
     "bert/embeddings/position_embeddings", "bert_embedding_postprocessor.full_position_embedding"),
    ("table", "TH", "bert.embeddings.token_type_embeddings", "bert.embeddings.token_type_embeddings",
     "bert/embeddings/token_type_embeddings", "bert_embedding_postprocessor.token_type_embedding"),
    ("norm", "H", "bert.embeddings.layer_norm", "bert.embeddings.LayerNorm",
     "bert/embeddings/LayerNorm", "bert_embedding_postprocessor.layernorm"),
    ("dense", "HH", "bert.pooler.dense", "bert.pooler.dense", "bert/pooler/dense", "dense"),
    ("head", "CH", "classifier", "classifier", "output", "dense_1"),
    ("head", "CH", "classifier", "qa_outputs", "cls/squad/output", "dense1"),  # of questions: start and end
    ("fit", "GH", "fit_dense", "fit_dense", None, "fit_dense"),
    ("dense", "HH", "predictions.dense", "cls.predictions.transform.dense",
     "cls/predictions/transform/dense", None),
    ("norm", "H", "predictions.layer_norm", "cls.predictions.transform.LayerNorm",
     "cls/predictions/transform/LayerNorm", None),
    ("bias", "V", "predictions", "cls.predictions", "cls/predictions", None),
)
# Of each layer {n}; the names follow the format's own prefix.
_LAYER = ("bert.encoder.layers.{n}.", "bert.encoder.layer.{n}.",
          "bert/encoder/layer_{n}/", "bert_encoder.layers.{n}.")
_IN_LAYER = (
    ("dense", "HH", "attention.query", "attention.self.query",
     "attention/self/query", "attention.attention.query_layer"),
    ("dense", "HH", "attention.key", "attention.self.key",
     "attention/self/key", "attention.attention.key_layer"),
    ("dense", "HH", "attention.value", "attention.self.value",
     "attention/self/value", "attention.attention.value_layer"),
    ("relative", "RD", "attention.relative_positions", None,
     None, "attention.attention._generate_relative_positions_embeddings"),
    ("dense", "HH", "attention.output", "attention.output.dense",
     "attention/output/dense", "attention.output.dense"),
    ("norm", "H", "attention.layer_norm", "attention.output.LayerNorm",
     "attention/output/LayerNorm", "attention.output.layernorm"),
    ("dense", "IH", "feed_forward.intermediate", "intermediate.dense",
     "intermediate/dense", "intermediate"),
    ("dense", "HI", "feed_forward.output", "output.dense",
     "output/dense", "output.dense"),
    ("norm", "H", "feed_forward.layer_norm", "output.LayerNorm",
     "output/LayerNorm", "output.layernorm"),
)
# fmt: on


def _full_names(names):
    return tuple(name and prefix + name for prefix, name in zip(_LAYER, names))


_MODULES = _OUTSIDE_LAYERS + tuple((kind, shape, *_full_names(names)) for kind, shape, *names in _IN_LAYER)

# What follows a module's name, by kind of module; a kind that is not listed has (weight, bias).
_ONLY_WEIGHT, _ONLY_BIAS, _PLAIN = (".weight",), (".bias",), (".weight", ".bias")
_LEAVES: dict[str, dict[str, tuple[str, ...]]] = {
    "ours": {"table": _ONLY_WEIGHT, "relative": _ONLY_WEIGHT, "bias": _ONLY_BIAS},
    "huggingface": {"table": _ONLY_WEIGHT, "bias": _ONLY_BIAS},
    "tensorflow": {
        "table": ("",),
        "norm": ("/gamma", "/beta"),
        "dense": ("/kernel", "/bias"),
        "head": ("_weights", "_bias"),
        "bias": ("/output_bias",),
    },
    "mindspore": {
        "table": (".embedding_table",),
        "norm": (".gamma", ".beta"),
        "relative": (".embeddings_table",),
    },
}

# Older or prefixed spellings, brought to the ones above by these (pattern, replacement) pairs in this order.
_SPELLINGS = {
    "huggingface": ((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias")),
    "tensorflow": (),
    "mindspore": (
        (r"^((network|net|model|module|_?backbone|teacher|student|bert)\.)+", ""),
        (r"^tinybert_", "bert_"),
        (r"^(bert_embedding_postprocessor)\.embedding_table$", r"\1.token_type_embedding.embedding_table"),
        (r"full_position_embeddings$", "full_position_embedding.embedding_table"),
        (r"embeddings_for_position$", "embeddings_table"),
    ),
}

# What PyTorch's compiler and sharding write between the parts of a name.
_BETWEEN = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_WORDS = re.compile(r"(.*?)embeddings\.word_embeddings\.weight")
_RELATIVES = re.compile(r"(roberta|camembert|electra|ernie|xlm|mpnet|data2vec)")
"""Networks with BERT's names inside that compute otherwise."""

# The head of a masked-language model, which only its readers keep.
_MASKED_LM = {
    "huggingface": r"cls\.predictions\.(transform\.\w+\.\w+|bias)",
    "tensorflow": r"cls/predictions/(transform/\w+/\w+|output_bias)",
}
# What this project has no use for: other pretraining heads, buffers, optimizer and loss-scale state.
_DROPPED = {
    "huggingface": r"cls\..*|.*\.(position_ids|token_type_ids)|fit_denses\.\d+\..*",
    "tensorflow": r"cls/(?!squad/).*|.*/(adam|lamb)_[mv]|.*/Adam(_1)?|beta[12]_power|global_step|"
    r"loss_scale.*|good_steps|_CHECKPOINTABLE_OBJECT_GRAPH",
    "mindspore": r"cls[12]\..*|(adam_[mv]|lamb_[mv]|moments?[12]?|accum|exp_avg)\..*|"
    r"beta[12]_power|global_step|learning_rate|scale_sense|loss_scale|current_iterator_step|"
    r"last_overflow_iterator_step|epoch_num|step_num|momentum|weight_decay|(total|start|end)_num|"
    # the published TernaryBERT's activation ranges, which also cover outputs that nothing here quantizes
    r"(.*\.)?fake_quant_(input|output|x|y)\.(quant_min|quant_max|minq|maxq)",
}


def is_dropped(name: str, file_format: str, masked_lm: bool = False) -> bool:
    """Whether this project has no use for the weight that `file_format` calls so in its current spelling;
    `masked_lm`: for a reader of a masked-language model's head.
    """
    if masked_lm and file_format in _MASKED_LM and re.fullmatch(_MASKED_LM[file_format], name):
        return False
    return re.fullmatch(_DROPPED[file_format], name) is not None


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """{name: the one without what other code has put around a BERT}, as `module.`, `model.`, `bert.bert.`.

    Raises:
        UserError: they are of several BERTs, or of another network.
    """
    plain = {name: _BETWEEN.sub("", name) for name in names}
    found = sorted({match[1] for name in plain.values() if (match := _WORDS.fullmatch(name))})
    refuse("a checkpoint of one BERT is needed", {"of them": found} if len(found) > 1 else {})
    own = found[0] if found else ""  # of the encoder's own names, as "module.bert."
    if _RELATIVES.search(own):
        raise UserError(f"not a BERT: its names begin with {own}")
    around = re.sub(r"(?<![^.])bert\.$", "", own)
    # A head may stand further out than the encoder.
    starts = [around[: match.end()] for match in re.finditer(r"\.", around)][::-1]
    return {name: _without(inner, own, starts) for name, inner in plain.items()}


def _without(name, own, starts):
    """`name` without the longest of `starts`; the encoder's, which begin with `own`, then begin with bert."""
    rest = name.removeprefix(own)
    if name.startswith(own) and re.match(r"(embeddings|encoder|pooler)\.", rest):
        return "bert." + rest
    return name.removeprefix(next((start for start in starts if name.startswith(start)), ""))


def respell(
    weights: dict[str, np.ndarray], file_format: str, masked_lm: bool = False
) -> tuple[dict[str, np.ndarray], list[str]]:
    """(weights under the current spelling, names dropped as they stood in the file); `masked_lm` as in
    `is_dropped`.

    Raises:
        UserError: two names are spellings of one.
    """
    kept, dropped = {}, []
    whole_training = file_format == "mindspore" and any(
        re.match(r"(bert\.)?(tiny)?bert_|bert\.", name) for name in weights
    )
    bare = unwrapped(weights) if file_format == "huggingface" else {}
    for name, value in weights.items():
        spelling = bare.get(name, name)
        for pattern, replacement in _SPELLINGS[file_format]:
            spelling = re.sub(pattern, replacement, spelling)
        # a distillation network saved whole holds teacher and student; the student is what was trained
        if is_dropped(spelling, file_format, masked_lm) or whole_training and name.startswith("teacher."):
            dropped.append(name)
        elif spelling in kept:
            raise UserError(f"the checkpoint holds {spelling} twice, once of them as {name}")
        else:
            kept[spelling] = value
    return kept, dropped


def translate(
    weights: dict[str, np.ndarray], from_format: str, to_format: str, asks: bool = False
) -> dict[str, np.ndarray]:
    """`weights` under the names of `to_format`, without those for which it has no place.

    Args:
        asks (bool): the head is one of questions, where the names of `to_format` tell it from others.

    Raises:
        UserError: a name that is not in the map at all, or two names that mean the same weight.
    """
    pairs = _name_pairs(from_format, to_format)
    translated, unknown = {}, []
    for name, value in weights.items():
        hits = [(found, *rest) for pattern, *rest in pairs if (found := pattern.fullmatch(name))]
        if not hits:
            unknown.append(name)
            continue
        found, template, transposed = hits[-1 if asks else 0]
        if template is None:
            continue
        target = found.expand(template)
        if target in translated:
            raise UserError(f"the checkpoint holds {target} twice, once of them as {name}")
        translated[target] = np.ascontiguousarray(value.T) if transposed else value
    refuse(
        f"not a BERT encoder with a classifier, as {FORMATS[from_format]} checkpoints name it",
        {"unknown weights": sorted(unknown)},
    )
    return translated


def _name_pairs(from_format, to_format):
    """[(pattern of a name in `from_format`, template in `to_format` or None, whether to transpose)]"""
    columns, pairs = list(FORMATS), []
    for kind, _, *names in _MODULES:
        source, target = names[columns.index(from_format)], names[columns.index(to_format)]
        if source is None:
            continue
        transposed = kind == "dense" and "tensorflow" in (from_format, to_format)
        leaves = zip(_LEAVES[from_format].get(kind, _PLAIN), _LEAVES[to_format].get(kind, _PLAIN))
        for place, (source_leaf, target_leaf) in enumerate(leaves):
            pattern = re.escape(source + source_leaf).replace(r"\{n\}", r"(\d+)")
            template = None if target is None else (target + target_leaf).replace("{n}", r"\1")
            pairs.append((re.compile(pattern), template, transposed and place == 0))
    return pairs


def our_parameters(layers: int) -> Iterator[tuple[str, str]]:
    """(our name, letters of its shape) of every weight of a network with so many layers, all heads
    included.
    """
    for kind, letters, name, *_ in _MODULES:
        for leaf in _LEAVES["ours"].get(kind, _PLAIN):
            for layer in range(layers if "{n}" in name else 1):
                yield name.replace("{n}", str(layer)) + leaf, letters if leaf == ".weight" else letters[:1]
