"""Turn a checkpoint into what a user deploys: ONNX, MINDIR, AIR, Hugging Face safetensors or a web page.

    python export.py --ckpt_file MODEL_DIR --file_format ONNX --file_name output/export/sst-2/model

The file is loaded again at once; where it differs from its network beyond rounding it is removed.
"""

import os
import re
from dataclasses import replace

from src.checkpoint.folder import Checkpoint, with_hash
from src.checkpoint.huggingface import FILES, FOLDER_FILES, check_folder_replaceable, write
from src.deploy.check import check_same, tolerance
from src.deploy.exports import closing, export_mindir, export_onnx, export_onnx_folder, target_path
from src.deploy.vocab_file import check_beside, write_beside
from src.deploy.web import export_web
from src.description import DataFacts, Description
from src.errors import UserError, command
from src.files import make_folder, replacing_folder
from src.model import Model, read
from src.modelarts import with_settings
from src.runtime import compute_type, set_up
from src.settings.parsing import part, required
from src.settings.shared import DeviceConfig
from src.settings.tools import ExportConfig
from src.tasks import Task, get_task
from src.terminal import result, say


def row_length(wanted: int, task: Task, model: Model) -> int:
    """Tokens of a row: what the user wants (0: the task's longest), where the model has positions for it."""
    positions = model.config.max_position_embeddings
    length = wanted or min(task.max_seq_length, positions)
    if not model.config.use_relative_positions and length > positions:
        why = f"is more than the {positions} positions (max_position_embeddings) of {model.source}"
        raise UserError(f"seq_length: {length} {why}")
    return length


def export_folder(path: str, model: Model, checkpoint: Checkpoint, length: int) -> None:
    """Write a Hugging Face folder."""
    if model.description.is_quantized:
        why = "is quantized, and Hugging Face's BERT cannot quantize its activations; export ONNX or MINDIR"
        raise UserError(f"file_format: {model.source} {why}")
    check_folder_replaceable(path, "file_name", f"{re.escape(FILES[0])}|{FOLDER_FILES}")
    with replacing_folder(path) as folder:
        for notice in write(folder, checkpoint):
            say(notice)
        again = Model.load(folder, model.network.compute_type)
        check_same(again, model, tolerance("SAFETENSORS", model.description), length)


def export_file(
    path: str, model: Model, description: Description, settings: ExportConfig, device: str, length: int
) -> str:
    """Write an ONNX, MINDIR or AIR file with its vocabulary beside it; returns its path."""
    vocabulary, form = model.vocabulary, settings.onnx_weights
    if settings.file_format == "WEB":
        return export_web(path, model, description, form, length, settings.web_runtime)
    if vocabulary is None:
        say(f"{model.source} has no vocab.txt: python predict.py will need --vocab_file")
    if settings.onnx_layout == "huggingface":
        return export_onnx_folder(path, model, description, vocabulary, form, length)
    check_beside(path, description)
    make_folder(os.path.dirname(os.path.abspath(path)))
    if settings.file_format == "ONNX":
        export_onnx(path, model, description, form, length)
    else:
        how = settings.mindir_weights, settings.file_format, device, settings.device_id
        path = export_mindir(path, model, description, (settings.batch_size, length), *how)
    if vocabulary is not None:
        write_beside(path, vocabulary)
    return path


@command
@with_settings(ExportConfig)
def main(settings: ExportConfig) -> None:
    """Settings, checkpoint, file, check."""
    required(settings, "ckpt_file")
    device, file_format = set_up(part(settings, DeviceConfig), seed=0), settings.file_format
    if file_format == "AIR" and device != "Ascend":
        why = f"MindSpore writes AIR on Ascend only, not on {device}; use MINDIR or ONNX"
        raise UserError(f"file_format: {why}")
    kind = get_task(settings.task_name).kind if settings.task_name else None
    checkpoint = read(settings.ckpt_file, settings.known(kind))
    answering = checkpoint.description.at_threshold(settings.null_score_diff_threshold)
    checkpoint = replace(checkpoint, description=answering)
    own = checkpoint.description.task_name
    task = get_task(settings.task_name or own or "custom")
    if own and get_task(own) != task:
        raise UserError(f"task_name: {checkpoint.source} was trained on {own}, not {task.name}")
    # An ONNX graph computes in float32 and is compared with a network that does.
    number_type = compute_type("float32" if file_format in ("ONNX", "WEB") else settings.compute_type, device)
    model = Model.from_checkpoint(checkpoint, number_type)
    if task.kind:
        outputs = task.kind.outputs(task.labels)
        facts = DataFacts(task_name=task.name, kind=task.kind, labels=task.labels, outputs=outputs)
        model.description.check_fits(facts, "task_name")
    length = row_length(settings.seq_length, task, model)
    path = target_path(settings.file_name, file_format, settings.onnx_layout, task.folder)
    if file_format == "SAFETENSORS":
        export_folder(path, model, checkpoint, length)
    else:
        described = replace(checkpoint.description, task_name=task.name)
        described = with_hash(described, checkpoint.vocabulary)
        path = export_file(path, model, described, settings, device, length)
    result(*closing(path, file_format, model, task.name))


if __name__ == "__main__":
    main()
