"""Turn a checkpoint into the file a user deploys: ONNX, MINDIR, AIR or Hugging Face safetensors.

    python export.py --ckpt_file MODEL_DIR --file_format ONNX --file_name output/export/sst-2/model

The file is loaded again at once and compared with the network it came from; where they differ beyond rounding it is removed.
"""
import contextlib
import os

import mindspore as ms
import numpy as np

from src import checkpoint as checkpoints
from src.config import ExportConfig, read_settings, required
from src.deploy.sessions import open_exported
from src.errors import UserError, command
from src.files import make_folder, replacing, replacing_folder, write_json
from src.model.heads import Logits
from src.model.layers import quantized_weights
from src.model.loading import bert_config, load_model, quant_config, task_network, without_dropout
from src.runtime import compute_type, say, set_up
from src.tasks import get_task

ENDINGS = {"ONNX": ".onnx", "MINDIR": ".mindir", "AIR": ".air", "SAFETENSORS": ""}
SAMPLE_ROWS = 64


def computed_weights(network):
    """{our parameter name: float32 array} as the network computes with them: quantized weights fake-quantized."""
    weights = {name: parameter.asnumpy() for name, parameter in network.parameters_and_names()}
    weights.update({name: item.values() for name, item in quantized_weights(network).items()})
    return weights


def sample_rows(config, rows, length):
    """input_ids, input_mask, segment_ids, int32 (rows, length): random tokens of various lengths, the same at every call."""
    generator = np.random.default_rng(0)
    sizes = generator.integers(min(8, length), length + 1, rows)
    mask = np.arange(length) < sizes[:, None]
    ids = np.where(mask, generator.integers(1, config.vocab_size, (rows, length)), 0)
    segments = np.where(mask, np.arange(length) >= sizes[:, None] // 2, 0) if config.type_vocab_size > 1 else np.zeros_like(ids)
    return tuple(column.astype(np.int32) for column in (ids, mask, segments))


def check_same(path, network, config, length, tolerance, device):
    """Compare the exported file with `network` on sample rows.

    Args:
        tolerance (float): largest root mean square difference of the logits, as a share of their standard deviation.

    Raises:
        UserError: they differ by more.
    """
    model = open_exported(path, device)
    columns = sample_rows(config, SAMPLE_ROWS, min(length, 64))
    expected = Logits(network)(*(ms.Tensor(column) for column in columns)).asnumpy()
    found = model(*columns)
    difference = float(np.sqrt(np.mean((found - expected) ** 2)) / max(float(expected.std()), 1e-6))
    if not difference <= tolerance:  # a NaN fails too
        raise UserError(f"the exported file differs from the network: by {difference:.3g} of the logits' spread on {SAMPLE_ROWS} sample "
                        f"rows, where {tolerance} is the most; it was removed")
    return difference


def write_onnx(path, network, config, description, kind):
    """Write the ONNX file."""
    import onnx

    from src.deploy.onnx_graph import build_model
    onnx.save(build_model(computed_weights(network), config, network.num_labels, network.quantization, kind, description), path)


def write_mindir(path, network, description, batch_size, length, file_format):
    """Write the MINDIR (or AIR) file and its description."""
    column = ms.Tensor(np.zeros((batch_size, length), np.int32))
    stem = os.path.splitext(path)[0]
    ms.export(Logits(network), column, column, column, file_name=stem, file_format=file_format)
    write_json(path + ".json", {**description, "batch_size": batch_size, "seq_length": length})


def tolerance_of(kind, quantized):
    """What `check_same` allows. Rounding to 8 bits carries the last float bit of one layer through all later ones, and the 2-bit
    kernel quantizes its input by blocks."""
    return 0.5 if kind == "2bit" else 0.25 if quantized else 1e-3


def choose_weights(settings, checkpoint, quantization):
    """The kind of ONNX weights to write."""
    quantized = bool(checkpoint.config.get("quantization"))
    if settings.onnx_weights == "auto":
        return "int8" if quantized and quantization.activation_bits < 32 else "float"
    if settings.onnx_weights != "float" and not quantized:
        raise UserError(f"onnx_weights: {checkpoint.source} is not quantized: train it with python train.py, or use --onnx_weights float")
    return settings.onnx_weights


def target_path(settings, folder):
    """The file to write."""
    path, ending = settings.file_name or os.path.join("output", "export", folder, "model"), ENDINGS[settings.file_format]
    return path if path.endswith(ending) else path + ending


def write_vocabulary(path, checkpoint):
    """Put vocab.txt beside the exported file, where predict.py looks for it."""
    if checkpoint.vocabulary is None:
        say(f"{checkpoint.source} has no vocab.txt: python predict.py will need --vocab_file")
        return
    with replacing(os.path.join(os.path.dirname(os.path.abspath(path)), checkpoints.VOCABULARY_FILE)) as temporary, \
            open(temporary, "w", encoding="utf-8") as file:
        file.writelines(token + "\n" for token in checkpoint.vocabulary)


def export_huggingface(settings, checkpoint, task, path):
    """Write a Hugging Face folder."""
    if checkpoint.config.get("quantization"):
        raise UserError(f"file_format: {checkpoint.source} is quantized, and Hugging Face's BERT cannot quantize its activations; export "
                        f"ONNX or MINDIR")
    with replacing_folder(path) as temporary:
        for notice in checkpoints.write_huggingface(temporary, checkpoint):
            say(notice)
    print(f"done: {path} is a Hugging Face folder of a {task.name} model; load it with transformers' from_pretrained", flush=True)


@command
def main():
    """Settings, checkpoint, file, check."""
    settings = read_settings(ExportConfig)
    required(settings, "ckpt_file")
    device = set_up(settings, seed=0)
    if settings.file_format == "AIR" and device != "Ascend":
        raise UserError(f"file_format: MindSpore writes AIR on Ascend only, and this runs on {device}; use MINDIR or ONNX")
    checkpoint = load_model(settings.ckpt_file)
    own = checkpoint.config.get("task_name") or settings.task_name
    task = get_task(settings.task_name or own or "custom")
    if own and get_task(own) != task:
        raise UserError(f"task_name: {checkpoint.source} was trained on {own}, not {task.name}")
    path = target_path(settings, task.folder)
    if settings.file_format == "SAFETENSORS":
        export_huggingface(settings, checkpoint, task, path)
        return
    config = without_dropout(bert_config(checkpoint))
    network = task_network(checkpoint, config, compute_type(settings.compute_type, device))
    network.set_train(False)
    quantization = quant_config(checkpoint)
    length = settings.seq_length or min(task.max_seq_length, config.max_position_embeddings)
    kind = choose_weights(settings, checkpoint, quantization) if settings.file_format == "ONNX" else "float"
    description = {**checkpoint.config, "num_labels": network.num_labels}
    make_folder(os.path.dirname(os.path.abspath(path)))
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(replacing(path))
        if settings.file_format == "ONNX":
            write_onnx(temporary, network, config, description, kind)
        else:
            stack.callback(lambda: os.path.exists(temporary + ".json") and os.remove(temporary + ".json"))
            write_mindir(temporary, network, description, settings.batch_size, length, settings.file_format)
        if settings.file_format != "AIR":
            difference = check_same(temporary, network, config, length, tolerance_of(kind, bool(quantization)), device)
            say(f"checked: the file's logits differ from the network's by {difference:.2g} of their spread")
        if settings.file_format != "ONNX":
            os.replace(temporary + ".json", path + ".json")
    write_vocabulary(path, checkpoint)
    full = 4 * sum(parameter.size for _, parameter in network.parameters_and_names())
    size = os.path.getsize(path)
    print(f"done: {path}, {size:,} bytes ({full / size:.1f} times smaller than float32 weights); evaluate it with: python "
          f"run_eval_onnx.py --model_file {path} --task_name {task.name} --data_dir DATA_DIR", flush=True)


if __name__ == "__main__":
    main()
