"""Makes the models that deploy.py measures, in a folder of theirs; its process imports MindSpore and PyTorch.

deploy.py starts it: deploy_models.py FOLDER OPTIONS, OPTIONS as JSON. It leaves rows.npz for the accuracies
and models.json: of each model "runtime" (deploy_sides.py), "path", "bytes", "precision" (OpenVINO's) and
"trained".
"""

import importlib.util
import json
import os
import sys
from dataclasses import replace
from functools import cached_property

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.rows import Rows  # noqa: E402

BERT_BASE, TORCH, TORCH_INT8 = "BERT-base, PyTorch", "PyTorch", "PyTorch, dynamic int8"
OPENVINO, OPENVINO_FLOAT = "OpenVINO, its own precision", "OpenVINO, float32"
OPTIMIZER, STATIC = "onnxruntime's optimizer, float32", "quantize_static (QDQ) of PyTorch's export"
DYNAMIC, DYNAMIC_THEIRS = "quantize_dynamic of our float32 file", "quantize_dynamic of the optimizer's file"
FLOAT, INT8, TERNARY = "ours, ONNX float32", "ours, ONNX int8", "ours, ONNX ternary"
GIVEN = "ours, the given file"
CALIBRATION_ROWS = 256


def random_description(activation_quantizer):
    """Of a 4-layer, 384-wide W2A8 network."""
    from src.description import Description
    from src.kinds import CLASSIFICATION
    from src.settings.network import BertConfig, QuantConfig

    config = BertConfig(hidden_size=384, num_hidden_layers=4, intermediate_size=1536)
    quantization = QuantConfig(
        embedding_bits=2,
        weight_bits=2,
        activation_bits=8,
        rest_bits=8,
        activation_quantizer=activation_quantizer,
        activation_clip_value=0.0,
    )
    return Description(config, CLASSIFICATION, 2, task_name="SST-2", quantization=quantization)


def save_random(folder, description):
    """Save a network of random weights whose static ranges, if it has any, are set."""
    import mindspore as ms

    from src.model import Model, new_network

    network = new_network(description.frozen())
    for name, parameter in network.parameters_and_names():
        if name.endswith(".threshold"):
            parameter.set_data(ms.Tensor([1.0 if "probs" in name else 4.0], ms.float32))
    Model(description.frozen(), network).save(folder)


def given_file(student_dir):
    """The ONNX file of a folder as `export.py --onnx_layout huggingface` writes it, or ""; such a folder has
    no weights that other files could be made of.
    """
    from src.checkpoint.huggingface import FILES

    path = os.path.join(student_dir, "model.onnx")
    others = [os.path.join(student_dir, name) for name in FILES]
    return path if student_dir and os.path.isfile(path) and not any(map(os.path.isfile, others)) else ""


class Student:
    """The student and the files that others are made of.

    Args:
        folder (str): where they are written. options (dict): deploy.py's.
    """

    def __init__(self, folder, options):
        from src.deploy.sessions import OnnxSession
        from src.model import Model

        self.folder, self.options, self.given = folder, options, given_file(options["student_dir"])
        self.model_dir = options["student_dir"]
        if self.given or not self.model_dir:
            self.model_dir = self.path("random")
            description = (
                OnnxSession(self.given).description
                if self.given
                else random_description(options["activation_quantizer"])
            )
            save_random(self.model_dir, description)
        self.model = Model.load(self.model_dir)
        self.description = self.model.description
        if self.description.kind.architecture != "BertForSequenceClassification":
            raise SystemExit(f"{self.model_dir} answers for tokens; give a model that answers for texts")
        self.trained = bool(options["student_dir"]) and not self.given

    def path(self, name):
        return os.path.join(self.folder, name)

    @cached_property
    def weights(self):
        """As the network computes with them."""
        from src.nn.layers import computed_weights

        return computed_weights(self.model.network)

    def onnx(self, form, description=None):
        """Our ONNX file with a form of weights."""
        from src.deploy.onnx_model import write_onnx

        path = self.path(f"{form}.onnx")
        write_onnx(path, self.weights, description or self.description, form)
        return path

    @cached_property
    def float_onnx(self):
        """Our float32 file, whose activations are not rounded."""
        return self.onnx("float", replace(self.description, quantization=None))

    @cached_property
    def torch_folder(self):
        """The same network as transformers reads it."""
        from src.checkpoint.folder import Checkpoint
        from src.checkpoint.huggingface import write

        path = self.path("torch")
        os.makedirs(path, exist_ok=True)
        write(path, Checkpoint(self.weights, replace(self.description, quantization=None)))
        return path

    @cached_property
    def torch_onnx(self):
        """As PyTorch exports it."""
        import torch
        from transformers import BertForSequenceClassification

        network = BertForSequenceClassification.from_pretrained(
            self.torch_folder, attn_implementation="eager"
        )
        names, path = ["input_ids", "attention_mask", "token_type_ids"], self.path("torch.onnx")
        torch.onnx.export(
            network.eval(),
            (torch.ones((2, 8), dtype=torch.int32),) * 3,
            path,
            input_names=names,
            output_names=["logits"],
            opset_version=17,
            dynamo=False,
            dynamic_axes={name: {0: "batch", 1: "sequence"} for name in names},
        )
        return path

    @cached_property
    def optimized_onnx(self):
        """What onnxruntime.transformers.optimizer, and Optimum with it, makes of PyTorch's export."""
        from onnxruntime.transformers.optimizer import optimize_model

        bert, path = self.description.bert, self.path("optimized.onnx")
        sizes = {"num_heads": bert.num_attention_heads, "hidden_size": bert.hidden_size}
        optimize_model(self.torch_onnx, model_type="bert", opt_level=1, **sizes).save_model_to_file(path)
        return path

    def rows(self, split, limit):
        """Rows of the data, or random ones where there are none to read."""
        if not self.options["glue_dir"]:
            return Rows.random(limit, 32, self.description.bert.vocab_size)
        vocabulary = os.path.join(self.options["student_dir"], "vocab.txt")
        return Rows.of_task(self.options["glue_dir"], "SST-2", split, vocabulary, limit)

    def calibration(self):
        """input_ids, attention_mask, token_type_ids of batches of training rows."""
        rows = self.rows("train", CALIBRATION_ROWS)
        for start in range(0, CALIBRATION_ROWS, 16):
            yield [column.astype(np.int32) for column in rows.padded(range(start, start + 16))[:3]]

    def evaluation(self):
        """The rows that accuracies are of."""
        return self.rows("dev", 1000)


# --- one function a model: (runtime, path, bytes) -----------------------------------------------------------


def _file(runtime, path):
    return runtime, path, os.path.getsize(path)


def _folder(runtime, path):
    return runtime, path, os.path.getsize(os.path.join(path, "model.safetensors"))


def bert_base(student):
    """BERT-base of random weights."""
    from benchmarks.torch_side import make

    make("12x768", student.path("bert-base"), 0)
    return _folder("torch", student.path("bert-base"))


def torch_float(student):
    return _folder("torch", student.torch_folder)


def torch_int8(student):
    """Its bytes are those of the quantized state dict, which is made as the model is opened."""
    import torch
    from torch.ao.quantization import quantize_dynamic
    from transformers import BertForSequenceClassification

    network = BertForSequenceClassification.from_pretrained(student.torch_folder, dtype=torch.float32).eval()
    path = student.path("int8.pt")
    torch.save(quantize_dynamic(network, {torch.nn.Linear}, dtype=torch.qint8).state_dict(), path)
    return "torch int8", student.torch_folder, os.path.getsize(path)


def openvino(student):
    """PyTorch's export: OpenVINO reads it as it is."""
    return _file("openvino", student.torch_onnx)


def optimizer(student):
    return _file("onnx", student.optimized_onnx)


def dynamic(student, source, name):
    """What quantize_dynamic makes of a float32 file."""
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path, extra = student.path(name), {"DefaultTensorType": TensorProto.FLOAT}
    quantize_dynamic(source, path, weight_type=QuantType.QInt8, extra_options=extra)
    return _file("onnx", path)


def static(student):
    """QDQ of PyTorch's export, prepared and calibrated as ONNX Runtime says for processors with VNNI; the
    fastest of the forms tried: products' outputs stay in float.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = student.calibration()

        def get_next(self):
            names = ("input_ids", "attention_mask", "token_type_ids")
            return next((dict(zip(names, columns)) for columns in self.batches), None)

    prepared, path = student.path("prepared.onnx"), student.path("static.onnx")
    quant_pre_process(student.torch_onnx, prepared, skip_symbolic_shape=True)  # it fails on this export
    quantize_static(
        prepared,
        path,
        Reader(),
        op_types_to_quantize=["MatMul", "Gemm", "Gather"],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
    )
    return _file("onnx", path)


def given(student):
    return _file("onnx", student.given)


MAKERS = {
    BERT_BASE: bert_base,
    TORCH: torch_float,
    TORCH_INT8: torch_int8,
    OPENVINO_FLOAT: openvino,
    OPENVINO: openvino,
    OPTIMIZER: optimizer,
    DYNAMIC_THEIRS: lambda student: dynamic(student, student.optimized_onnx, "dynamic-theirs.onnx"),
    DYNAMIC: lambda student: dynamic(student, student.float_onnx, "dynamic.onnx"),
    STATIC: static,
    FLOAT: lambda student: _file("onnx", student.float_onnx),
    INT8: lambda student: _file("onnx", student.onnx("int8")),
    TERNARY: lambda student: _file("onnx", student.onnx("ternary")),
    GIVEN: given,
}
"""{title: function of a `Student`}, in the table's order."""


def absent(title, student):
    """Why a model cannot be made here; "" where it can."""
    from src.deploy.onnx_weights import obstacle

    if title in (OPENVINO, OPENVINO_FLOAT) and importlib.util.find_spec("openvino") is None:
        return "no package openvino here"
    if title in (INT8, TERNARY):
        form, own = title.rsplit(" ", 1)[1], student.description
        return obstacle(student.weights, own.bert, own.quantization, form) or ""
    return ""


def main():
    folder, options = sys.argv[1], json.loads(sys.argv[2])
    from src.runtime import use_device

    use_device("CPU")
    student, models, skipped = Student(folder, options), {}, {}
    for title, make in MAKERS.items():
        if title == GIVEN and not student.given or not any(word in title for word in options["sides"]):
            continue
        skipped[title] = absent(title, student)
        if skipped[title]:
            continue
        runtime, path, size = make(student)
        models[title] = {"runtime": runtime, "path": path, "bytes": size}
        models[title]["precision"] = "f32" if title == OPENVINO_FLOAT else ""
        models[title]["trained"] = student.trained and title != BERT_BASE
    student.evaluation().save(os.path.join(folder, "rows.npz"))
    bert, weights = student.description.bert, "trained" if student.trained else "random"
    made = {
        "student": f"{bert.num_hidden_layers} layers, {bert.hidden_size} wide, {weights} weights",
        "commit": options["commit"],
        "models": models,
        "skipped": {title: reason for title, reason in skipped.items() if reason},
        "vocab_size": student.description.bert.vocab_size,
    }
    with open(os.path.join(folder, "models.json"), "w", encoding="utf-8") as file:
        json.dump(made, file, indent=2)


if __name__ == "__main__":
    main()
