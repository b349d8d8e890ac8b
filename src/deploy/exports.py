"""A model into an exported file that is loaded again at once; where it answers otherwise, no file is left."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from src.checkpoint.huggingface import FOLDER_FILES, check_folder_replaceable, write_description
from src.deploy.check import check_equal, check_same, tolerance
from src.deploy.sessions import Exported, MindirSession, OnnxSession, files_of
from src.description import Description
from src.errors import UserError
from src.files import replacing_folder, replacing_together
from src.nn.layers import computed_weights, eager
from src.terminal import say

if TYPE_CHECKING:
    from src.model import Model
ONNX_FILE = "model.onnx"
"""What Hugging Face's programs look for in a folder."""
_ENDINGS = {"ONNX": ".onnx", "MINDIR": ".mindir", "AIR": ".air", "SAFETENSORS": "", "WEB": ""}


def target_path(file_name: str, file_format: str, layout: str, task_folder: str) -> str:
    """The file or folder to write; arguments are settings' values and the task's folder name.

    Raises:
        UserError: file_name is a folder where a file is asked for, or the other way round.
    """
    folder = layout == "huggingface"
    path, ending = file_name or os.path.join("output", "export", task_folder, "model"), _ENDINGS[file_format]
    if folder and path.endswith(ending):
        raise UserError(
            f"file_name: {path} is a file; onnx_layout huggingface writes a folder with {ONNX_FILE} in it"
        )
    if folder or not ending:
        return path
    whole = path if path.endswith(ending) else path + ending
    if path.endswith(os.sep) or os.path.isdir(whole):
        raise UserError(f"file_name: {path} is a folder; name a file in it, as {os.path.join(path, 'model')}")
    return whole


def closing(path: str, file_format: str, model: Model, task_name: str) -> tuple[dict[str, Any], str]:
    """The facts as JSON has them, and the last line, about a file or folder that was written.

    Args:
        model (Model): what was exported. task_name (str): its task.
    """
    files = [entry.path for entry in os.scandir(path)] if os.path.isdir(path) else files_of(path)
    size = sum(map(os.path.getsize, files))
    bits = 8 * size / model.parameters
    facts = {"task": task_name, "file": path, "format": file_format, "bytes": size}
    facts |= {"parameters": model.parameters, "bits_per_weight": bits, "times_smaller": 32 / bits}
    much = f"{size:,} bytes ({bits:.2f} bits a weight, {32 / bits:.1f} times smaller)"
    return facts, f"done: {path}, {much}{next_step(path, file_format, model, task_name)}"


def next_step(path: str, file_format: str, model: Model, task_name: str) -> str:
    """What a user may do with the file `path`, as the end of a line; "" where this machine can do nothing.
    Arguments as for `closing`.
    """
    place = shlex.quote(path)
    if file_format == "AIR":
        return ""
    if file_format == "WEB":
        folder = shlex.quote(os.path.dirname(path))
        return (
            f"; look at it: python -m http.server --directory {folder} 8000, then open http://localhost:8000"
        )
    asked = "--question ... --context ..." if model.description.head_kind.needs_texts else "--text ..."
    asks = f"; next: python predict.py --model {place} {asked}" if model.vocabulary is not None else ""
    if file_format == "SAFETENSORS":
        return f", a Hugging Face folder for from_pretrained{asks}"
    ascend = " (on Ascend 310: bash scripts/run_infer_310.sh, docs/deployment.md)"
    return (
        f"{asks}; evaluate it on the records in DATA_DIR: python run_eval_onnx.py --model_file {place} "
        f"--task_name {task_name} --data_dir DATA_DIR{ascend if file_format == 'MINDIR' else ''}"
    )


def export_onnx(
    path: str, model: Model, description: Description, asked: str, length: int, layout: str = "mindspore"
) -> None:
    """Write an ONNX file.

    Args:
        model (Model): computes in float32, as an ONNX graph does.
        description (Description): what the file says of itself.
        asked (str): the form of weights, or "auto". length (int): tokens of the longest row to compare.
        layout (str): of its inputs, as in `build_model`.
    """
    from src.deploy.onnx_model import choose_form, write_onnx
    from src.deploy.onnx_weights import unpacked

    weights = computed_weights(model.network)
    form, notice = choose_form(asked, weights, description)
    if notice:
        say(notice)
    plain = unpacked(form, description.bert, description.quantization)
    with replacing_together(path) as temporary:
        write_onnx(temporary, weights, description, form, layout)
        exported = OnnxSession(temporary)
        if form != plain:
            with tempfile.TemporaryDirectory() as folder:
                reference = os.path.join(folder, "unpacked.onnx")
                write_onnx(reference, weights, description, plain)
                check_equal(exported, OnnxSession(reference), description.bert, length)
            say(f"checked: the file's logits are those of its {plain} graph, bit for bit")
        with eager():  # the sample rows need no graph, which would take longer than all else here
            _compare(exported, model, tolerance("ONNX", description), length)


def export_onnx_folder(
    path: str,
    model: Model,
    description: Description,
    vocabulary: Sequence[str] | None,
    asked: str,
    length: int,
) -> str:
    """Write a folder as Hugging Face's programs read it: model.onnx, config.json and the tokenizer's files.

    Args:
        vocabulary (sequence of str): or None, for a folder without a tokenizer.
        model, description, asked, length: as in `export_onnx`.

    Returns:
        The path of the ONNX file.
    """
    check_folder_replaceable(path, "file_name", rf"{ONNX_FILE}|{FOLDER_FILES}")
    with replacing_folder(path) as folder:
        write_description(folder, description, vocabulary)
        export_onnx(os.path.join(folder, ONNX_FILE), model, description, asked, length, "huggingface")
    return os.path.join(path, ONNX_FILE)


def export_mindir(
    path: str,
    model: Model,
    description: Description,
    shape: tuple[int, int],
    asked: str,
    file_format: str,
    device: str,
    device_id: int,
) -> str:
    """Write a MINDIR or AIR file.

    Args:
        description (Description): what the file says of itself.
        shape (tuple): rows and tokens of a call.
        asked (str), file_format (str): as for `choose_mindir_form`.
        device (str), device_id (int): where the check runs.

    Returns:
        The file's path; a large network's has another name than `path`, as `write_mindir` says.
    """
    from src.deploy.mindir import choose_mindir_form, write_mindir

    form = choose_mindir_form(asked, description, file_format)
    weights = computed_weights(model.network)
    with replacing_together(path) as temporary:
        number_type = model.network.compute_type
        written, packed = write_mindir(temporary, weights, description, number_type, shape, form, file_format)
        if file_format == "MINDIR":  # MindSpore cannot load an AIR file
            exported = MindirSession(written, device, device_id)
            _compare(exported, model, tolerance(file_format, description), exported.length)
            if asked == "packed" and not packed:
                raise UserError(
                    f"mindir_weights: no weight of {description.source} has codes that give it back bit for "
                    "bit; export with --mindir_weights float"
                )
            quantization = description.quantization
            if quantization is not None and description.is_quantized:
                say(_in_words(packed, model.parameters, quantization.activation_bits))
    return os.path.join(os.path.dirname(path), os.path.basename(written))


def _in_words(packed: int, weights: int, activation_bits: int) -> str:
    """What a MINDIR of a quantized network holds and computes with."""
    held = f"{packed:,} of {weights:,} weights are codes that the graph unpacks" if packed else "no codes"
    rounded = f", activations rounded to {activation_bits} bits" if activation_bits < 32 else ""
    faster = "; --mindir_weights float answers single rows faster" if packed else ""
    return f"the file holds {held}; it computes in floats{rounded}{faster}"


def _compare(exported: Exported, model: Model, allowed: float, length: int) -> None:
    difference = check_same(exported, model, allowed, length)
    say(f"checked: the file's logits differ from the network's by {difference:.2g} of their spread")
