"""An ONNX file: the graph of a network with its inputs, its output and what it says of itself."""

import json
import os
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper

from src.deploy.onnx_graph import BertGraph
from src.deploy.onnx_nodes import MICROSOFT
from src.deploy.onnx_weights import OLDEST_RUNTIME, obstacle
from src.deploy.sessions import INPUT_LAYOUTS, LARGE_DATA, output_names
from src.description import Description
from src.errors import UserError

OPSET, IR_VERSION, OLDEST_ONNX = 20, 9, "1.15"
LARGEST = (1 << 31) - (1 << 20)
"""Bytes of weights in one file: a protocol buffer holds less than 2 GiB. More go into a file beside it."""


def choose_form(asked: str, weights: dict[str, np.ndarray], description: Description) -> tuple[str, str]:
    """The form of weights to write and a notice, or "": "auto" is ternary, or else int8, where the network
    can have it, else float.

    Args:
        asked (str): the setting `onnx_weights`.
        weights (dict), description (Description): of the network, as in `build_model`.
    """
    if asked != "auto":
        return asked, ""
    for form in ("ternary", "int8"):
        reason = obstacle(weights, description.bert, description.quantization, form)
        if not reason:
            return form, ""
    told = f"onnx_weights: auto is float here, weights of 32 bits. {reason.removeprefix('onnx_weights: ')}"
    return "float", told if description.is_quantized else ""


def write_onnx(
    path: str, weights: dict[str, np.ndarray], description: Description, form: str, layout: str = "mindspore"
) -> None:
    """Write the ONNX file, and beside it one with the weights of a large network; arguments and errors as in
    `build_model`.
    """
    model = build_model(weights, description, form, layout)
    if _is_large(model.graph.initializer):
        beside = os.path.basename(path) + LARGE_DATA
        onnx.save(model, path, save_as_external_data=True, all_tensors_to_one_file=True, location=beside)
        onnx.checker.check_model(path)
    else:
        onnx.save(model, path)


def _is_large(constants: Iterable[TensorProto]) -> bool:
    return sum(item.ByteSize() for item in constants) > LARGEST


def build_model(
    weights: dict[str, np.ndarray], description: Description, form: str, layout: str = "mindspore"
) -> onnx.ModelProto:
    """The `onnx.ModelProto` of a network for a task, checked unless it is too large for that.

    Args:
        weights (dict): our parameter names -> float32 arrays as the network computes with them.
        description (Description): of the network; it travels with the file.
        form (str): of the weights, as in `BertGraph`.
        layout (str): one of the `INPUT_LAYOUTS`, whose inputs it takes, all of (batch, sequence).

    Raises:
        UserError: as `BertGraph`, or the package onnx is too old.

    Outputs of the model, float32: logits (batch, outputs), of a head that answers for tokens (batch,
    sequence, outputs); of one for questions start_logits and end_logits (batch, sequence).
    """
    if onnx.defs.onnx_opset_version() < OPSET:
        raise UserError(
            f"file_format: onnx {onnx.__version__} knows operators up to opset "
            f"{onnx.defs.onnx_opset_version()}, and these graphs are of opset {OPSET}; pip install "
            f"'onnx>={OLDEST_ONNX}'"
        )
    kind = description.kind
    assert kind is not None  # what is exported has a head
    taken, dtype = INPUT_LAYOUTS[layout]
    number_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    by_token, names = kind.logits_per == "token", output_names(kind)
    graph = BertGraph(weights, description.bert, description.quantization, form, by_token, taken).build(names)
    batch = ["batch", "sequence"]
    inputs = [helper.make_tensor_value_info(name, number_type, batch) for name in taken]
    sizes: list[str | int | None] = [*(batch if by_token else batch[:1])]
    sizes += [description.outputs] if len(names) == 1 else []
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name in names]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "bert", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
        producer_name="bert-distillation",
        ir_version=IR_VERSION,
    )
    notes = {"onnx_weights": form, "oldest_onnxruntime": OLDEST_RUNTIME}
    metadata = {**description.to_json(), **notes}
    metadata = {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()}
    helper.set_model_props(model, metadata)
    if not _is_large(graph.constants):
        onnx.checker.check_model(model)
    return model
