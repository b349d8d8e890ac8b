"""Exported files as functions of arrays: ONNX in ONNX Runtime, MINDIR in MindSpore Lite or MindSpore. Their
inputs are the `TOKEN_COLUMNS`, in that order.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple, Tuple

import numpy as np
from msgspec import Struct

from src.data.records import TOKEN_COLUMNS
from src.description import Description
from src.errors import UserError
from src.examples import filled_up
from src.files import checksum, is_utf8, plain_path
from src.json_file import Count, Size, checked, parse, read_json
from src.kinds.base import TaskKind


class InputLayout(NamedTuple):
    """How an ONNX file names its inputs, and their type."""

    inputs: Tuple[str, ...]
    dtype: type[np.generic]


INPUT_LAYOUTS = {
    "mindspore": InputLayout(TOKEN_COLUMNS, np.int32),
    "huggingface": InputLayout(("input_ids", "attention_mask", "token_type_ids"), np.int64),
}
"""Of ONNX files: the setting `onnx_layout`."""
EXPORTED_ENDINGS = (".onnx", ".mindir")
LARGE_GRAPH, LARGE_WEIGHTS = "_graph.mindir", "_variables"
"""What MindSpore puts after the name of a large network: a file and, for its weights, a folder."""
LARGE_DATA = ".data"
"""What comes after the name of an ONNX file for the one with its weights."""
_OUTPUTS: dict[str, tuple[str, ...]] = {"BertForQuestionAnswering": ("start_logits", "end_logits")}
"""Hugging Face's class -> the outputs of its ONNX files, each (B, S), where they are not `logits` alone."""


def files_of(path: str) -> list[str]:
    """The files of an exported model: its own and, of a large one, those beside it that hold the weights."""
    if path.endswith(LARGE_GRAPH):
        folder = path.removesuffix(LARGE_GRAPH) + LARGE_WEIGHTS
        if os.path.isdir(folder):
            return [path, *(os.path.join(folder, name) for name in sorted(os.listdir(folder)))]
    elif path.endswith(".onnx") and os.path.isfile(path + LARGE_DATA):
        return [path, path + LARGE_DATA]
    return [path]


def output_names(kind: TaskKind) -> tuple[str, ...]:
    """The outputs of a `TaskKind`'s ONNX files."""
    return _OUTPUTS.get(kind.architecture, ("logits",))


def _description(metadata: dict[str, Any], file: str, path: str) -> Description:
    """The `Description` that travels with an exported model, which is one of a task."""
    try:
        description = Description.from_json(metadata, file, path)
    except UserError as error:
        raise UserError(f"{error}: export.py did not write it") from error
    if description.kind is None:
        raise UserError(f"{file} lacks num_labels, problem_type: export.py did not write it")
    return description


def described_by(notes: dict[str, str], path: str) -> Description:
    """The `Description` in the metadata of an ONNX file: {key: JSON text}."""
    metadata = {}
    for key, text in notes.items():
        with contextlib.suppress(ValueError):  # other tools' notes need not be JSON
            metadata[key] = parse(text)
    return _description(metadata, path, path)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


class OnnxSession:
    """An ONNX file of this project in ONNX Runtime.

    Args:
        path (str): the .onnx file.
        device (str): "CPU" or "GPU" (CUDA).
        threads (int): inside one operator; 0 is all cores.

    Attributes:
        description (Description): what the model says of itself.
        batch_size, length: None: it takes any number of rows and tokens.

    Raises:
        UserError: the file is missing, damaged or not this project's, or needs a newer ONNX Runtime or a
            device that is not there.
    """

    batch_size: int | None = None
    length: int | None = None

    def __init__(self, path: str, device: str = "CPU", threads: int = 0):
        if not os.path.isfile(path):
            raise UserError(f"{path} does not exist")
        self._session = _onnx_runtime(path, _provider(device), device, threads)
        self.description = described_by(self._session.get_modelmeta().custom_metadata_map, path)
        assert self.description.kind is not None  # as `_description` has it
        self._outputs = output_names(self.description.kind)
        inputs = tuple(item.name for item in self._session.get_inputs())
        outputs = tuple(item.name for item in self._session.get_outputs())
        known = {layout.inputs: layout for layout in INPUT_LAYOUTS.values()}
        if inputs not in known or outputs != self._outputs:
            others = INPUT_LAYOUTS["huggingface"].inputs
            raise UserError(
                f"{path} does not take {', '.join(TOKEN_COLUMNS)} (or {', '.join(others)}) and give "
                f"{', '.join(self._outputs)}: export.py did not write it"
            )
        self._layout = known[inputs]

    def __call__(self, *columns: np.ndarray) -> np.ndarray:
        """float32 (B, C) logits, or (B, S, C) of a head that answers for tokens, of int32 (B, S) input_ids,
        input_mask, segment_ids.
        """
        arrays = [np.asarray(column, self._layout.dtype) for column in columns]
        found = self._session.run(self._outputs, dict(zip(self._layout.inputs, arrays)))
        return found[0] if len(found) == 1 else np.stack(found, axis=-1)


def _provider(device: str) -> str:
    """ONNX Runtime's name of a device."""
    import onnxruntime as ort

    provider = {"CPU": "CPUExecutionProvider", "GPU": "CUDAExecutionProvider"}.get(device)
    if provider is None:
        raise UserError(
            f"device_target: an ONNX file runs on CPU or GPU, not on {device}; export MINDIR for it"
        )
    if provider not in ort.get_available_providers():
        raise UserError(
            f"device_target: this ONNX Runtime {ort.__version__} cannot use a {device}; install "
            "onnxruntime-gpu or use --device_target CPU"
        )
    return provider


def _onnx_runtime(path, provider, device, threads):
    """The `InferenceSession` of a file."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Without VNNI sums of uint8 times int8 saturate: int8 weights become uint8 there. Else it is nothing.
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 3  # a failure to load is reported below
    try:
        session = ort.InferenceSession(plain_path(path), options, providers=[provider])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        why = _advice(path, str(error), ort.__version__)
        raise UserError(f"{path}: ONNX Runtime {ort.__version__} cannot load it: {why}") from error
    if session.get_providers()[0] != provider:
        raise UserError(
            f"device_target: ONNX Runtime {ort.__version__} fell back from {device} to the CPU (its "
            "CUDA libraries are missing or of another version); mend that, or use --device_target CPU"
        )
    return session


def _advice(path: str, error: str, version: str) -> str:
    """`error` as one line, and where the model says that it needs a newer runtime, which."""
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
        notes = {item.key: item.value for item in model.metadata_props}
        oldest = checked(parse(notes["oldest_onnxruntime"]), str, path)
    except Exception:  # whatever is wrong with the file, ONNX Runtime's own words say it
        return error.strip().splitlines()[0]
    if _version(version) < _version(oldest):
        return f"it needs ONNX Runtime {oldest} or later (pip install 'onnxruntime>={oldest}')"
    return error.strip().splitlines()[0]


class _Shape(Struct):
    """What `path`.json says of a MINDIR besides its `Description`."""

    batch_size: Count
    """0: any number of rows."""
    seq_length: Size
    sha256: str = ""


class MindirSession:
    """A MINDIR file, in MindSpore Lite where that is installed, else in MindSpore.

    Its length is fixed, and its batch size unless it takes any: rows are filled up to them, and longer
    batches cut into several.

    Args:
        path (str): the .mindir file; `path`.json beside it, as export.py writes it, tells its shape and what
            it says of itself.
        device (str), device_id (int): where it runs.

    Attributes:
        description (Description): what the model says of itself.
        batch_size, length: rows of a call, None for any, and tokens of the longest row.

    Raises:
        UserError: the file or its description is missing or damaged, or one is of another export than the
            other.
    """

    def __init__(self, path: str, device: str = "CPU", device_id: int = 0):
        file = path + ".json"
        if not os.path.isfile(path):
            raise UserError(f"{path} does not exist; export.py writes it")
        values = read_json(file, "the description export.py writes beside a MINDIR")
        shape = checked(values, _Shape, f"{file} is not the description export.py wrote")
        self.batch_size: int | None = shape.batch_size or None
        self.length: int = shape.seq_length
        if not shape.batch_size and device == "Ascend":
            raise UserError(
                f"device_target: {path} takes any number of rows, and Ascend runs graphs of fixed shapes; "
                "export it with --batch_size 1 or more"
            )
        self.description = _description(values, file, path)
        assert self.description.kind is not None
        self._by_token = self.description.kind.logits_per == "token"
        found = checksum(*files_of(path))
        if shape.sha256 != found:  # told here, before MindSpore logs its own findings
            raise UserError(
                f"{path} is damaged, or {file} is of another file: the checksum differs; export it again"
            )
        lite = _lite_runner(path, device, device_id, any_rows=self.batch_size is None)
        self._run = lite or _mindspore_runner(path, device, device_id)

    def __call__(self, *columns: np.ndarray) -> np.ndarray:
        """float32 (B, C) logits, or (B, S, C) of a head that answers for tokens, of int32 (B, S) input_ids,
        input_mask, segment_ids with S up to the model's own length.
        """
        rows, length = columns[0].shape
        if length > self.length:
            raise UserError(
                f"a row of {length} tokens is longer than the {self.length} this MINDIR was exported for; "
                f"export it with --seq_length {length}"
            )
        size = self.batch_size or rows
        whole = -(-rows // size) * size
        filled = [np.pad(column, ((0, 0), (0, self.length - length))) for column in columns]
        filled = [filled_up(column, whole) for column in filled]
        parts = [
            self._run(*(column[start : start + size] for column in filled)) for start in range(0, whole, size)
        ]
        logits = np.concatenate(parts)[:rows]
        return logits[:, :length] if self._by_token else logits


def _mindspore_runner(path: str, device: str, device_id: int) -> Callable[..., np.ndarray]:
    """The graph in MindSpore."""
    import mindspore as ms

    from src.runtime import use_device

    if not is_utf8(os.path.realpath(path)):
        raise UserError(f"{path}: MindSpore loads a MINDIR only where its whole path is UTF-8; move it")
    use_device(device, device_id)
    try:
        network = ms.nn.GraphCell(ms.load(path))
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or no MINDIR file: {str(error).strip().splitlines()[0]}"
        ) from error

    def run(*columns):
        fuses = ms.get_context("enable_graph_kernel")
        ms.set_context(enable_graph_kernel=False)  # fused kernels know no operator that rounds
        try:
            output = network(*(ms.Tensor(column) for column in columns))
        finally:
            ms.set_context(enable_graph_kernel=fuses)
        return (output[0] if isinstance(output, (tuple, list)) else output).asnumpy()

    return run


def _lite_runner(path: str, device: str, device_id: int, any_rows: bool) -> Callable[..., np.ndarray] | None:
    """The graph in MindSpore Lite, or None where that is not installed; `any_rows`: it takes any number."""
    try:
        import mindspore_lite as lite
    except ImportError:
        return None
    context = lite.Context()
    context.target = [device.lower()]
    if device == "Ascend":
        context.ascend.device_id = device_id
        context.ascend.precision_mode = "enforce_origin"  # float16 would lose the rounding to 8 bits
    model = lite.Model()
    try:
        model.build_from_file(plain_path(path), lite.ModelType.MINDIR, context)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{path}: MindSpore Lite cannot load it on {device}: {str(error).strip().splitlines()[0]}"
        ) from error

    def run(*columns):
        inputs, shapes = model.get_inputs(), [list(column.shape) for column in columns]
        if any_rows:
            model.resize(inputs, shapes)
        for tensor, column in zip(inputs, columns):
            tensor.set_data_from_numpy(np.ascontiguousarray(column))
        return model.predict(inputs)[0].get_data_to_numpy()

    return run


Exported = OnnxSession | MindirSession
"""An exported model: a function of arrays with its `description`, `batch_size` and `length`."""


def open_exported(path: str, device: str = "CPU", device_id: int = 0, threads: int = 0) -> Exported:
    """The session of a file whose name has one of the `EXPORTED_ENDINGS`; errors as the sessions'."""
    if path.endswith(".onnx"):
        return OnnxSession(path, device, threads)
    return MindirSession(path, device, device_id)
