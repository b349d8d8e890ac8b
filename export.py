"""Turn a checkpoint into the file a user deploys: ONNX, MINDIR, AIR or Hugging Face safetensors.

    python export.py --ckpt_file MODEL_DIR --file_format ONNX --file_name output/export/sst-2/model

The file is loaded again at once and compared with the network it came from; where they differ beyond rounding
it is removed.
"""

import contextlib
import os
from dataclasses import replace

import mindspore as ms
import numpy as np

from src import checkpoint as checkpoints
from src.deploy.sessions import open_exported
from src.errors import UserError, command
from src.files import check_replaceable, checksum, make_folder, replacing, replacing_folder, write_json
from src.modelarts import with_settings
from src.nn.heads import BertForSequence, Logits
from src.nn.layers import computed_weights
from src.nn.loading import bert_config, load_model, parameter_count, task_network, without_dropout
from src.quant.quantizers import use_rounding_operator
from src.runtime import compute_type, say, set_up
from src.settings.parsing import required
from src.settings.tools import ExportConfig
from src.tasks import get_task
from src.vocabulary import read_vocabulary, vocabulary_hash

ENDINGS = {"ONNX": ".onnx", "MINDIR": ".mindir", "AIR": ".air", "SAFETENSORS": ""}
SAMPLE_ROWS = 64
LARGEST_MINDIR = 1 << 30
"""Bytes of weights beyond which MindSpore makes a folder of several files instead of one."""


def sample_rows(config, rows, length):
    """input_ids, input_mask, segment_ids, int32 (rows, length): random tokens of various lengths, the same at
    every call.
    """
    generator = np.random.default_rng(0)
    sizes = generator.integers(min(8, length), length + 1, rows)
    mask = np.arange(length) < sizes[:, None]
    ids = np.where(mask, generator.integers(1, config.vocab_size, (rows, length)), 0)
    segments = (
        np.where(mask, np.arange(length) >= sizes[:, None] // 2, 0)
        if config.type_vocab_size > 1
        else np.zeros_like(ids)
    )
    return tuple(column.astype(np.int32) for column in (ids, mask, segments))


def check_same(model, network, config, tolerance, batch_size, length):
    """Compare an exported file, loaded again, with `network` on sample rows, in the batches the file takes:
    ranges of activations are a batch's own.

    Args:
        model (callable): int32 columns -> logits. tolerance (float): largest root mean square difference of
            the logits, as a share of
            their standard deviation. batch_size (int), length (int): of the sample.

    Raises:
        UserError: they differ by more.
    """
    rows = batch_size * -(-SAMPLE_ROWS // (4 * batch_size))
    columns = sample_rows(config, rows, length)
    logits = Logits(network)
    batches = [
        [column[start : start + batch_size] for column in columns] for start in range(0, rows, batch_size)
    ]
    expected = np.concatenate([logits(*map(ms.Tensor, batch)).asnumpy() for batch in batches])
    found = np.concatenate([model(*batch) for batch in batches])
    difference = float(np.sqrt(np.mean((found - expected) ** 2)) / max(float(expected.std()), 1e-6))
    if not difference <= tolerance:  # a NaN fails too
        raise UserError(
            f"the exported file differs from the network: by {difference:.3g} of the logits' spread on "
            f"{rows} sample rows, where {tolerance} is the most; it was removed"
        )
    return difference


def write_onnx(path, network, weights, description, kind):
    """Write the ONNX file."""
    import onnx

    from src.deploy.onnx_graph import build_model

    onnx.save(
        build_model(weights, network.config, network.num_labels, network.quantization, kind, description),
        path,
    )


def write_mindir(path, network, weights, description, batch_size, length, file_format):
    """Write the MINDIR (or AIR) file, weights as the network computes with them, so that no call quantizes
    them anew; and its description.

    Raises:
        UserError: the network is too large for one file.
    """
    size = 4 * parameter_count(network)
    if size > LARGEST_MINDIR:
        raise UserError(
            f"file_format: MindSpore cannot keep {size:,} bytes of weights in one {file_format} file (at "
            f"most {LARGEST_MINDIR:,}); export ONNX"
        )
    settings = network.quantization and replace(
        network.quantization, embedding_bits=32, weight_bits=32, rest_bits=32
    )
    fixed = BertForSequence(network.config, network.num_labels, network.compute_type, settings)
    known = dict(fixed.parameters_and_names())
    checkpoints.assign(fixed, {name: value for name, value in weights.items() if name in known}, path)
    use_rounding_operator(fixed)
    fixed.set_train(False)
    column = ms.Tensor(np.zeros((batch_size, length), np.int32))
    ms.export(
        Logits(fixed), column, column, column, file_name=os.path.splitext(path)[0], file_format=file_format
    )
    write_json(
        path + ".json",
        {**description, "batch_size": batch_size, "seq_length": length, "sha256": checksum(path)},
    )


def tolerance_of(file_format, kind="", quantized=False):
    """What `check_same` allows. Rounding to 8 bits carries the last float bit of one layer through all later
    ones, and the 2-bit kernel rounds its input by blocks."""
    if file_format != "ONNX":
        return 1e-2 if quantized else 1e-3
    return 0.2 if kind == "2bit" else 0.1 if quantized else 1e-3


def choose_weights(settings, weights, network):
    """The kind of ONNX weights to write; a UserError where the network cannot have the kind asked for."""
    from src.deploy.onnx_graph import obstacle

    if settings.onnx_weights != "auto":
        return settings.onnx_weights
    reason = obstacle(weights, network.config, network.quantization, "int8")
    if reason and is_quantized(network):
        say(f"onnx_weights: auto is float here, weights of 32 bits. {reason.removeprefix('onnx_weights: ')}")
    return "float" if reason else "int8"


def is_quantized(network):
    """Whether anything in the network is."""
    settings = network.quantization
    return (
        settings is not None
        and min(settings.embedding_bits, settings.weight_bits, settings.activation_bits, settings.rest_bits)
        < 32
    )


def target_path(settings, folder):
    """The file to write."""
    path, ending = (
        settings.file_name or os.path.join("output", "export", folder, "model"),
        ENDINGS[settings.file_format],
    )
    whole = path if path.endswith(ending) else path + ending
    if ending and (path.endswith(os.sep) or os.path.isdir(whole)):
        raise UserError(f"file_name: {path} is a folder; name a file in it, as {os.path.join(path, 'model')}")
    return whole


def check_vocabulary(path, checkpoint):
    """Refuse a folder whose vocab.txt belongs to another model, or may: predict.py looks for the vocabulary
    beside the file.
    """
    beside = os.path.join(os.path.dirname(os.path.abspath(path)), checkpoints.VOCABULARY_FILE)
    own = (
        checkpoint.config.get("vocab_sha256")
        if checkpoint.vocabulary is None
        else vocabulary_hash(checkpoint.vocabulary)
    )
    if os.path.exists(beside) and vocabulary_hash(read_vocabulary(beside)) != own:
        raise UserError(
            f"file_name: {beside} is not the vocabulary of {checkpoint.source}; name a file in another folder"
        )


def write_vocabulary(path, checkpoint):
    """Put vocab.txt beside the exported file."""
    if checkpoint.vocabulary is None:
        say(f"{checkpoint.source} has no vocab.txt: python predict.py will need --vocab_file")
        return
    with replacing(
        os.path.join(os.path.dirname(os.path.abspath(path)), checkpoints.VOCABULARY_FILE)
    ) as temporary:
        checkpoints.write_vocabulary(temporary, checkpoint.vocabulary)


def export_huggingface(network, checkpoint, task, path, length):
    """Write a Hugging Face folder, read it again and compare."""
    if is_quantized(network):
        raise UserError(
            f"file_format: {checkpoint.source} is quantized, and Hugging Face's BERT cannot quantize its "
            "activations; export ONNX or MINDIR"
        )
    check_replaceable(path, "file_name", r"model\.safetensors|config\.json|vocab\.txt|tokenizer_config\.json")
    with replacing_folder(path) as temporary:
        for notice in checkpoints.write_huggingface(temporary, checkpoint):
            say(notice)
        again = checkpoints.read_any(temporary).checkpoint
        read = Logits(task_network(again, without_dropout(bert_config(again)), network.compute_type))
        check_same(
            lambda *columns: read(*map(ms.Tensor, columns)).asnumpy(),
            network,
            network.config,
            tolerance_of("SAFETENSORS"),
            SAMPLE_ROWS,
            length,
        )
    print(
        f"done: {path} is a Hugging Face folder of a {task.name} model; load it with transformers' "
        "from_pretrained",
        flush=True,
    )


def check_task(task, checkpoint):
    """Refuse a checkpoint whose outputs are not the task's."""
    regression = checkpoint.config.get("problem_type") == "regression"
    if (
        regression != (task.head == "regression")
        and task.name != "custom"
        or task.labels
        and checkpoint.num_labels != len(task.labels)
    ):
        raise UserError(
            f"task_name: {checkpoint.source} has {checkpoint.num_labels} output(s) "
            f"({checkpoint.config.get('problem_type')}), which are not those of {task.name}"
        )


@command
@with_settings(ExportConfig)
def main(settings):
    """Settings, checkpoint, file, check."""
    required(settings, "ckpt_file")
    device = set_up(settings, seed=0)
    if settings.file_format == "AIR" and device != "Ascend":
        raise UserError(
            f"file_format: MindSpore writes AIR on Ascend only, and this runs on {device}; use MINDIR or ONNX"
        )
    checkpoint = load_model(settings.ckpt_file)
    own = checkpoint.config.get("task_name") or settings.task_name
    task = get_task(settings.task_name or own or "custom")
    if own and get_task(own) != task:
        raise UserError(f"task_name: {checkpoint.source} was trained on {own}, not {task.name}")
    path = target_path(settings, task.folder)
    config = without_dropout(bert_config(checkpoint))
    # An ONNX graph computes in float32 and is compared with a network that does.
    number_type = (
        ms.float32 if settings.file_format == "ONNX" else compute_type(settings.compute_type, device)
    )
    network = task_network(checkpoint, config, number_type)
    network.set_train(False)
    check_task(task, checkpoint)
    length = settings.seq_length or min(task.max_seq_length, config.max_position_embeddings)
    if not config.use_relative_positions and length > config.max_position_embeddings:
        raise UserError(
            f"seq_length: {length} is more than the {config.max_position_embeddings} positions "
            f"(max_position_embeddings) of {checkpoint.source}"
        )
    if settings.file_format == "SAFETENSORS":
        export_huggingface(network, checkpoint, task, path, min(length, 64))
        return
    weights = computed_weights(network)
    kind = choose_weights(settings, weights, network) if settings.file_format == "ONNX" else ""
    description = {**checkpoint.config, "task_name": task.name, "num_labels": network.num_labels}
    check_vocabulary(path, checkpoint)
    make_folder(os.path.dirname(os.path.abspath(path)))
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(replacing(path))
        if settings.file_format == "ONNX":
            write_onnx(temporary, network, weights, description, kind)
        else:
            stack.callback(lambda: os.path.exists(temporary + ".json") and os.remove(temporary + ".json"))
            write_mindir(
                temporary, network, weights, description, settings.batch_size, length, settings.file_format
            )
        if settings.file_format != "AIR":
            place = ("CPU",) if settings.file_format == "ONNX" else (device, settings.device_id)
            model = open_exported(temporary, *place)
            difference = check_same(
                model,
                network,
                config,
                tolerance_of(settings.file_format, kind, is_quantized(network)),
                model.batch_size or SAMPLE_ROWS,
                model.length or min(length, 64),
            )
            say(f"checked: the file's logits differ from the network's by {difference:.2g} of their spread")
        if settings.file_format != "ONNX":
            os.replace(temporary + ".json", path + ".json")
    write_vocabulary(path, checkpoint)
    full, size = 4 * parameter_count(network), os.path.getsize(path)
    following = (
        ""
        if settings.file_format == "AIR"
        else (
            f"; evaluate it with: python run_eval_onnx.py --model_file {path} --task_name "
            f"{task.name} --data_dir DATA_DIR"
        )
    )
    print(
        f"done: {path}, {size:,} bytes ({full / size:.1f} times smaller than float32 weights){following}",
        flush=True,
    )


if __name__ == "__main__":
    main()
