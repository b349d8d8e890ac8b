"""Exported models as functions of NumPy arrays: ONNX in ONNX Runtime, MINDIR in MindSpore Lite or
MindSpore.
"""

import contextlib
import json
import os

import numpy as np

from src.errors import UserError
from src.files import checksum, read_json

INPUTS = ("input_ids", "input_mask", "segment_ids")
"""Every exported model's inputs, in order."""


_DESCRIBED = (
    "vocab_size",
    "num_labels",
    "problem_type",
    "use_relative_positions",
    "max_position_embeddings",
    "type_vocab_size",
)


def _check_described(metadata, path):
    absent = [name for name in _DESCRIBED if name not in metadata]
    if absent:
        raise UserError(f"{path} does not say its {', '.join(absent)}: export.py did not write it")


def _version(text):
    return tuple(int(part) for part in text.split(".")[:2])


class OnnxModel:
    """An ONNX file of this project in ONNX Runtime.

    Args:
        path (str): the .onnx file. device (str): "CPU" or "GPU" (CUDA). threads (int): inside one operator; 0
            is all cores.

    Attributes:
        metadata (dict): what travels with the model: task_name, labels, vocab_sha256 and so on.

    Raises:
        UserError: the file is missing, damaged or not this project's, or needs a newer ONNX Runtime or a
            device that is not there.
    """

    def __init__(self, path, device="CPU", threads=0):
        import onnxruntime as ort

        if not os.path.isfile(path):
            raise UserError(f"{path} does not exist")
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
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # a failure to load is reported below
        try:
            self._session = ort.InferenceSession(path, options, providers=[provider])
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            why = _advice(path, str(error), ort.__version__)
            raise UserError(f"{path}: ONNX Runtime {ort.__version__} cannot load it: {why}") from error
        if self._session.get_providers()[0] != provider:
            raise UserError(
                f"device_target: ONNX Runtime {ort.__version__} fell back from {device} to the CPU (its "
                "CUDA libraries are missing or of another version); mend that, or use --device_target CPU"
            )
        if [item.name for item in self._session.get_inputs()] != list(INPUTS) or self._session.get_outputs()[
            0
        ].name != "logits":
            raise UserError(
                f"{path} does not take {', '.join(INPUTS)} and give logits: export.py did not write it"
            )
        properties = self._session.get_modelmeta().custom_metadata_map
        self.metadata = {}
        for key, value in properties.items():
            with contextlib.suppress(ValueError):  # other tools' notes need not be JSON
                self.metadata[key] = json.loads(value)
        _check_described(self.metadata, path)
        self.batch_size = self.length = None  # any

    def __call__(self, *columns):
        """float32 (B, C) logits of int32 (B, S) input_ids, input_mask, segment_ids."""
        return self._session.run(["logits"], dict(zip(INPUTS, columns)))[0]


def _advice(path, error, version):
    """`error` as one line, and where the model says that it needs a newer runtime, which."""
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
        oldest = json.loads({item.key: item.value for item in model.metadata_props}["oldest_onnxruntime"])
    except Exception:  # whatever is wrong with the file, ONNX Runtime's own words say it
        return error.strip().splitlines()[0]
    if _version(version) < _version(oldest):
        return f"it needs ONNX Runtime {oldest} or later (pip install 'onnxruntime>={oldest}')"
    return error.strip().splitlines()[0]


class MindirModel:
    """A MINDIR file, in MindSpore Lite where that is installed, else in MindSpore. Its batch size and length
    are fixed: rows are filled up to them, and longer batches cut into several.

    Args:
        path (str): the .mindir file; `path`.json beside it, as export.py writes it, tells its shape and
            metadata.

    Raises:
        UserError: the file or its description is missing or damaged, or one is of another export than the
            other.
    """

    def __init__(self, path, device="CPU", device_id=0):
        description = path + ".json"
        if not os.path.isfile(path):
            raise UserError(f"{path} does not exist; export.py writes it")
        self.metadata = read_json(description, "the description export.py writes beside a MINDIR")
        try:
            self.batch_size, self.length = int(self.metadata["batch_size"]), int(self.metadata["seq_length"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{description} is not the description export.py wrote: {error}") from error
        if min(self.batch_size, self.length) < 1:
            raise UserError(
                f"{description} is not the description export.py wrote: batches of {self.batch_size} x "
                f"{self.length}"
            )
        _check_described(self.metadata, description)
        if self.metadata.get("sha256") != checksum(path):  # told here, before MindSpore logs its own findings
            raise UserError(
                f"{path} is damaged, or {description} is of another file: the checksum differs; export it "
                "again"
            )
        self._run = _lite_runner(path, device, device_id) or _mindspore_runner(path, device, device_id)

    def __call__(self, *columns):
        """float32 (B, C) logits of int32 (B, S) input_ids, input_mask, segment_ids with S up to the model's
        own length.
        """
        rows, length = columns[0].shape
        if length > self.length:
            raise UserError(
                f"a row of {length} tokens is longer than the {self.length} this MINDIR was exported for; "
                f"export it with --seq_length {length}"
            )
        whole = -(-rows // self.batch_size) * self.batch_size
        filled = [np.pad(column, ((0, 0), (0, self.length - length))) for column in columns]
        filled = [np.concatenate([column, np.repeat(column[:1], whole - rows, axis=0)]) for column in filled]
        parts = [
            self._run(*(column[start : start + self.batch_size] for column in filled))
            for start in range(0, whole, self.batch_size)
        ]
        return np.concatenate(parts)[:rows]


def _mindspore_runner(path, device, device_id):
    """The graph in MindSpore."""
    import mindspore as ms

    from src.runtime import use_device

    use_device(device, device_id)
    try:
        network = ms.nn.GraphCell(ms.load(path))
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or no MINDIR file: {str(error).strip().splitlines()[0]}"
        ) from error

    def run(*columns):
        output = network(*(ms.Tensor(column) for column in columns))
        return (output[0] if isinstance(output, (tuple, list)) else output).asnumpy()

    return run


def _lite_runner(path, device, device_id):
    """The graph in MindSpore Lite, or None where that is not installed."""
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
        model.build_from_file(path, lite.ModelType.MINDIR, context)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{path}: MindSpore Lite cannot load it on {device}: {str(error).strip().splitlines()[0]}"
        ) from error

    def run(*columns):
        inputs = model.get_inputs()
        for tensor, column in zip(inputs, columns):
            tensor.set_data_from_numpy(np.ascontiguousarray(column))
        return model.predict(inputs)[0].get_data_to_numpy()

    return run


def open_exported(path, device="CPU", device_id=0, threads=0):
    """The model in an .onnx or .mindir file; a `UserError` for any other ending."""
    if path.endswith(".onnx"):
        return OnnxModel(path, device, threads)
    if path.endswith(".mindir"):
        return MindirModel(path, device, device_id)
    raise UserError(f"{path}: not an exported model; its name must end in .onnx or .mindir")
