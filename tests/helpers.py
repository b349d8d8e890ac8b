"""What several test files share: tiny networks, batches, the golden files, a tiny task on disk."""

import json
import os
import struct
import sys
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from mindspore.ops import composite as C

from src.checkpoint.folder import save as save_checkpoint
from src.checkpoint.formats import read_any
from src.checkpoint.names import translate
from src.data import whole
from src.data.info import DatasetInfo
from src.data.record_writer import RecordWriter
from src.data.task_data import TaskData
from src.description import Description
from src.distill.distiller import Distiller
from src.errors import UserError
from src.examples import Examples, offsets_of
from src.files import write_json
from src.kinds import CLASSIFICATION, REGRESSION
from src.model import Model
from src.nn.heads import BertForSequence
from src.nn.layers import eager
from src.settings.network import BertConfig
from src.tasks import get_task
from src.vocabulary import vocabulary_hash

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GOLDEN = os.path.join(os.path.dirname(ROOT), "shared", "golden")
needs_golden = pytest.mark.skipif(
    not os.path.exists(os.path.join(GOLDEN, "tinybert.npz")), reason="no ../shared/golden"
)
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") + tuple(f"word{index}" for index in range(35))


def tiny_config(**changes):
    """A `BertConfig` that compiles in a moment; its weights are large enough for differences to show."""
    return BertConfig(
        **{
            "vocab_size": len(VOCABULARY),
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "max_position_embeddings": 32,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "initializer_range": 0.2,
            **changes,
        }
    )


def fill(network, seed, spread=0.3):
    """Every weight, biases and LayerNorm included, from a seeded NumPy generator; returns the network."""
    random = np.random.default_rng(seed)
    for name, parameter in network.parameters_dict().items():
        # A quantizer's state, not a weight.
        if name.rsplit(".", 1)[-1] in ("second_moment", "threshold", "steps"):
            continue
        value = random.normal(size=parameter.shape) * spread
        parameter.set_data(ms.Tensor(value + (1.0 if name.endswith("norm.weight") else 0.0), ms.float32))
    return network


def tiny_network(seed=0, labels=3, compute_type=ms.float32, **changes):
    return fill(BertForSequence(tiny_config(**changes), labels, compute_type), seed)


def weights_of(cell):
    """{name in the cell: array}, copied. (Compiling a graph with two networks renames the second one's
    parameters.)
    """
    return {name: parameter.asnumpy().copy() for name, parameter in cell.parameters_and_names()}


def random_batch(seed=0, rows=4, length=10, labels=3):
    """(input_ids, input_mask, segment_ids, labels) as int32 arrays; rows of different lengths, the first one
    full.
    """
    random = np.random.default_rng(seed)
    sizes = np.concatenate([[length], random.integers(3, length, rows - 1)])
    mask = (np.arange(length) < sizes[:, None]).astype(np.int32)
    ids = random.integers(5, len(VOCABULARY), (rows, length)) * mask
    segments = (np.arange(length) >= sizes[:, None] // 2) * mask
    return (
        ids.astype(np.int32),
        mask,
        segments.astype(np.int32),
        random.integers(0, labels, rows).astype(np.int32),
    )


def tensors(*arrays):
    return [ms.Tensor(array) for array in arrays]


def relative_error(found, expected):
    """|found - expected| / |expected|, as L2 norms."""
    return np.linalg.norm(np.asarray(found, np.float64) - expected) / max(np.linalg.norm(expected), 1e-12)


def hugging_face_name(name):
    """transformers' name of one of our parameters."""
    for ours, theirs in (
        (".layers.", ".layer."),
        ("embeddings.layer_norm", "embeddings.LayerNorm"),
        ("attention.query", "attention.self.query"),
        ("attention.key", "attention.self.key"),
        ("attention.value", "attention.self.value"),
        ("attention.output", "attention.output.dense"),
        ("attention.layer_norm", "attention.output.LayerNorm"),
        ("feed_forward.intermediate", "intermediate.dense"),
        ("feed_forward.output", "output.dense"),
        ("feed_forward.layer_norm", "output.LayerNorm"),
    ):
        name = name.replace(ours, theirs)
    return name


def torch_twin(network):
    """transformers' network with the same weights, in float64 and evaluation mode."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = network.config
    twin = (
        transformers.BertForSequenceClassification(
            transformers.BertConfig(
                num_labels=network.num_labels,
                attn_implementation="eager",
                **{
                    name: getattr(config, name)
                    for name in (
                        "vocab_size",
                        "hidden_size",
                        "num_hidden_layers",
                        "num_attention_heads",
                        "intermediate_size",
                        "hidden_act",
                        "max_position_embeddings",
                        "type_vocab_size",
                        "layer_norm_eps",
                    )
                },
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            )
        )
        .double()
        .eval()
    )
    state = {
        hugging_face_name(name): torch.tensor(value, dtype=torch.float64)
        for name, value in weights_of(network).items()
    }
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected and all("position_ids" in name for name in missing)
    return twin


def golden(name):
    """The arrays of a golden file as a dict."""
    with np.load(os.path.join(GOLDEN, name + ".npz")) as file:
        return {key: file[key] for key in file.files}


def golden_checkpoint(name, classifier_relu=True):
    return read_any(os.path.join(GOLDEN, name), classifier_relu=classifier_relu).checkpoint


def make_examples(rows=50, longest=30, seed=0, kind=CLASSIFICATION, shortest=4):
    """Random `Examples`; row i's first token after [CLS] tells its number (i % 35)."""
    random = np.random.default_rng(seed)
    lengths = random.integers(shortest, longest + 1, rows)
    lengths[0] = longest
    offsets = offsets_of(lengths)
    ids = random.integers(5, len(VOCABULARY), offsets[-1]).astype(np.int32)
    ids[offsets[:-1]] = 2
    segments = np.concatenate([np.arange(size) >= size // 2 for size in lengths]).astype(np.int32)
    labels = random.uniform(0, 5, rows) if kind is REGRESSION else random.integers(0, 2, rows)
    return Examples(ids, segments, offsets, labelled(kind, labels))


def labelled(kind, labels):
    """The columns of `Examples` with these labels; {} for None."""
    (column,) = kind.columns
    return {} if labels is None else {column: np.asarray(labels, column.dtype)}


def teachable(rows, seed, kind=CLASSIFICATION):
    """`Examples` whose label can be read off one token: word 10 and above against below, or the token's
    number. Rows of equal lengths make steps of one micro-batch, which is one graph instead of three.
    """
    examples = make_examples(rows, 12, seed, shortest=12)
    keys = np.random.default_rng(seed + 1).integers(5, 40, rows)
    examples.input_ids[examples.offsets[:-1] + 1] = keys
    labels = keys / 8.0 if kind is REGRESSION else keys >= 22
    return replace(examples, columns=labelled(kind, labels))


def write_split(folder, split, examples, dataset_type="mindrecord", kind=CLASSIFICATION):
    os.makedirs(folder, exist_ok=True)
    writer = RecordWriter(str(folder), split, dataset_type, kind.columns)
    writer.write(examples)
    writer.close()
    if dataset_type == "mindrecord":  # else a process of its own would look at it first, which takes seconds
        whole.remember(os.path.join(str(folder), writer.name))


def write_info(
    folder,
    task="SST-2",
    kind=CLASSIFICATION,
    labels=("negative", "positive"),
    vocabulary=VOCABULARY,
    splits=None,
):
    """A `dataset.json` as prepare_data.py writes it."""
    DatasetInfo(
        task, kind, tuple(labels), vocabulary_hash(vocabulary), len(vocabulary), True, 32, splits or {}
    ).save(str(folder))


def describe(network, task="SST-2", labels=("negative", "positive"), kind=CLASSIFICATION, **changes):
    """The `Description` of a task network."""
    values = {
        "task_name": task,
        "labels": tuple(labels),
        "do_lower_case": True,
        "source": "a test",
        **changes,
    }
    return Description(network.config, kind, network.num_labels, quantization=network.quantization, **values)


def as_model(network, vocabulary=VOCABULARY, **description):
    """A `Model` of a task network; further arguments as in `describe`."""
    if network.num_labels != 2:
        description = {"labels": (), **description}
    return Model(describe(network, **description), network, vocabulary)


def regression_model(network, task="STS-B"):
    """A `Model` of a network with one output."""
    return as_model(network, task=task, labels=(), kind=REGRESSION)


def save_network(
    folder,
    network,
    task="SST-2",
    labels=("negative", "positive"),
    kind=CLASSIFICATION,
    vocabulary=VOCABULARY,
    extra_weights=None,
    **config,
):
    """A checkpoint folder of `network`; `config` are keys of its config.json that differ (None: left out)."""
    described = describe(network, task, labels, kind)
    save_checkpoint(str(folder), {**weights_of(network), **(extra_weights or {})}, described, vocabulary)
    path = os.path.join(str(folder), "config.json")
    if not config:
        return str(folder)
    with open(path, encoding="utf-8") as file:
        values = {**json.load(file), "config_sha256": None, **config}  # changed on purpose
    with open(path, "w", encoding="utf-8") as file:
        json.dump({key: value for key, value in values.items() if value is not None}, file)
    return str(folder)


class Gradients(nn.Cell):
    """A distiller's outputs and the gradients of the first of them, the weighted sum."""

    def __init__(self, distiller):
        super().__init__(auto_prefix=False)
        self.distiller = distiller
        self.weights = ms.ParameterTuple(distiller.trainable_params())
        self.gradient = C.GradOperation(get_by_list=True, sens_param=True)

    def construct(self, *batch):
        outputs = self.distiller(*batch)
        sens = (ms.Tensor(1.0, ms.float32),)
        for _ in outputs[1:]:
            sens += (ms.Tensor(0.0, ms.float32),)
        return outputs, self.gradient(self.distiller, self.weights)(*batch, sens)


def micro_batch(ids, mask, segments, *columns):
    """Padded rows as a `MicroBatch`'s arrays, a row to a bin; labels are the rows'."""
    rows, length = ids.shape
    positions = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
    first = np.arange(rows, dtype=np.int32) * length
    sizes = mask.sum(axis=1)
    totals = np.float32([rows, sizes.sum(), (sizes**2).sum(), 1])
    return ids, mask, segments, positions, first, totals, *columns


class PublishedDistiller(Distiller):
    """With the published losses' means, in which padding counts, but for the scores of padding keys."""

    def _tokens(self, input_mask):
        return ms.ops.ones_like(input_mask).astype(ms.float32).expand_dims(2)

    def _pairs(self, input_mask):
        return input_mask.astype(ms.float32).expand_dims(1).expand_dims(1)


def published_micro_batch(ids, *further):
    """`micro_batch` whose totals count padding too."""
    batch = list(micro_batch(ids, *further))
    rows, length = ids.shape
    batch[5] = np.float32([rows, rows * length, rows * length**2, 1])
    return batch


def answers_of(teacher, distiller, batch):
    """What a teacher says to a micro-batch's tensors. Without a graph: test_teacher_cache.py has one."""
    with eager():
        return distiller.ask(teacher)(*batch[:5])


def terms_and_gradients(distiller, arrays, teacher=None):
    """({term: value}, {parameter: gradient of the sum}) for a micro-batch's arrays."""
    cell, batch = Gradients(distiller), tensors(*arrays)
    if teacher:
        batch += answers_of(teacher, distiller, batch)
    outputs, gradients = cell(*batch)
    assert len(outputs) == 1 + len(distiller.names)
    return (
        {name: float(value) for name, value in zip(("loss", *distiller.names), outputs)},
        {weight.name: gradient.asnumpy() for weight, gradient in zip(cell.weights, gradients)},
    )


def task_data(task="SST-2", labels=None, train=None, info=None, **evals):
    """A `TaskData` of a task in the table, by default without rows; `evals` are its evaluation splits."""
    task = get_task(task)
    kind, labels = task.kind or CLASSIFICATION, task.labels if labels is None else tuple(labels)
    return TaskData(task, kind, labels, train, evals, info)


def run_script(script, capsys, *arguments):
    """The standard output of an entry script, run in this process; `script` is its module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
        script.main()
    return capsys.readouterr().out


def refuses(error, *words):
    """Assert that a caught `UserError` is one line that holds every one of `words`."""
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"


# --- checkpoints: a network as small as its names allow, whose weights no network need compute --------------

LAYERS, HIDDEN, INNER, WORDS, POSITIONS, TYPES, HEADS = 2, 8, 12, 20, 10, 2, 2
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"word{index}" for index in range(WORDS - 5)]
LAYER = "bert.encoder.layers.{}."


def our_shapes(layers=LAYERS, labels=3):
    """Our parameter names and shapes, written out by hand from the network's description."""
    shapes = {
        "bert.embeddings.word_embeddings.weight": (WORDS, HIDDEN),
        "bert.embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "bert.embeddings.token_type_embeddings.weight": (TYPES, HIDDEN),
        "bert.pooler.dense.weight": (HIDDEN, HIDDEN),
        "bert.pooler.dense.bias": (HIDDEN,),
    }
    norms = ["bert.embeddings.layer_norm"]
    for index in range(layers):
        layer = LAYER.format(index)
        norms += [layer + "attention.layer_norm", layer + "feed_forward.layer_norm"]
        for name, shape in (
            ("attention.query", (HIDDEN, HIDDEN)),
            ("attention.key", (HIDDEN, HIDDEN)),
            ("attention.value", (HIDDEN, HIDDEN)),
            ("attention.output", (HIDDEN, HIDDEN)),
            ("feed_forward.intermediate", (INNER, HIDDEN)),
            ("feed_forward.output", (HIDDEN, INNER)),
        ):
            shapes[f"{layer}{name}.weight"], shapes[f"{layer}{name}.bias"] = shape, shape[:1]
    for norm in norms:
        shapes[norm + ".weight"] = shapes[norm + ".bias"] = (HIDDEN,)
    if labels:
        shapes["classifier.weight"], shapes["classifier.bias"] = (labels, HIDDEN), (labels,)
    return shapes


def our_weights(seed=0, **sizes):
    """Random weights of `our_shapes`."""
    random = np.random.default_rng(seed)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in our_shapes(**sizes).items()}


def our_description(labels=("no", "maybe", "yes"), outputs=3, **bert):
    """The `Description` of `our_weights`; further arguments are fields of its `BertConfig`."""
    sizes = {
        "vocab_size": WORDS,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": TYPES,
    }
    return Description(BertConfig(**{**sizes, **bert}), CLASSIFICATION, outputs, labels, source="x")


def assert_same(found, expected):
    """Assert that two {name: array} are equal."""
    assert sorted(found) == sorted(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def write_ckpt(path, weights):
    """A bare MindSpore checkpoint with names of its own."""
    ms.save_checkpoint(
        [{"name": name, "data": ms.Tensor(np.asarray(value, np.float32))} for name, value in weights.items()],
        str(path),
    )


def write_huggingface_by_hand(folder, weights, dtype="F32", config=None):
    """A Hugging Face folder without its libraries. The safetensors layout is a length, a JSON header and the
    arrays.
    """
    arrays, header, place = [], {}, 0
    for name, value in weights.items():
        bits = {
            "F32": value.astype("<f4"),
            "F16": value.astype("<f2"),
            "BF16": (value.astype("<f4").view("<u4") >> 16).astype("<u2"),
        }[dtype]
        header[name] = {"dtype": dtype, "shape": value.shape, "data_offsets": [place, place + bits.nbytes]}
        arrays.append(bits.tobytes())
        place += bits.nbytes
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(arrays))
    write_json(
        os.path.join(folder, "config.json"), config or {"model_type": "bert", "num_attention_heads": HEADS}
    )


def hugging_face_weights(**sizes):
    """`our_weights` under Hugging Face's names."""
    return translate(our_weights(**sizes), "ours", "huggingface")


def refusal(call, *args, **kwargs):
    """The one line of the `UserError` that `call` raises."""
    with pytest.raises(UserError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value).strip()
    return str(caught.value)
