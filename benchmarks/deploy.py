"""One table of what a user can deploy: bytes, latency, throughput and, where weights are trained, SST-2
accuracy.

    python benchmarks/deploy.py --teacher_dir TEACHER_DIR --student_dir STUDENT_DIR --data_dir DATA_DIR/sst-2

BERT-base in PyTorch (random weights); the teacher in our float32 ONNX and as
onnxruntime.transformers.optimizer makes it from PyTorch's export; a quantized student (a folder of train.py,
latent or packed; without one a 4-layer, 384-wide W2A8 network of random weights) in float32 ONNX, in int8
ONNX by export.py and by onnxruntime's quantize_dynamic (of that optimizer's file, and of our float32 file),
in ternary ONNX, and in MINDIR, a file of each measured shape, which are fixed there. All of them run in this
process, in turns, with the same number of threads.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import cpu_name  # noqa: E402

THEIRS, THEIRS_OF_OURS = (
    "student, quantize_dynamic of the optimizer's file",
    "student, quantize_dynamic of our float32",
)
INT8 = "student, ONNX int8"
SHAPES = {"latency": (1, 16), "throughput": (32, 64)}


def save_random_student(folder, activation_quantizer):
    """Save a 4-layer, 384-wide W2A8 network of random weights."""
    import mindspore as ms

    from src.description import Description
    from src.kinds import CLASSIFICATION
    from src.model import Model, new_network
    from src.settings.network import BertConfig, QuantConfig

    config = BertConfig(
        hidden_size=384,
        num_hidden_layers=4,
        intermediate_size=1536,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    quantization = QuantConfig(
        embedding_bits=2,
        weight_bits=2,
        activation_bits=8,
        rest_bits=8,
        activation_quantizer=activation_quantizer,
        activation_clip_value=0.0,
    )
    description = Description(
        config, CLASSIFICATION, 2, task_name="SST-2", quantization=quantization, source=folder
    )
    network = new_network(description)
    for name, parameter in network.parameters_and_names():
        if name.endswith(".threshold"):
            parameter.set_data(ms.Tensor([1.0 if "probs" in name else 4.0], ms.float32))
    Model(description, network).save(folder)


def torch_bert_base():
    """(function of NumPy columns, bytes) of BERT-base with random weights in PyTorch."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    model = BertForSequenceClassification(BertConfig()).eval()

    def run(ids, mask, segments):
        with torch.inference_mode():
            return model(
                input_ids=torch.from_numpy(ids).long(),
                attention_mask=torch.from_numpy(mask).long(),
                token_type_ids=torch.from_numpy(segments).long(),
            ).logits.numpy()

    return run, 4 * sum(item.numel() for item in model.parameters())


def optimized_by_onnxruntime(model, path):
    """The path of what onnxruntime.transformers.optimizer makes of a model as PyTorch and transformers export
    it, in float.
    """
    import torch
    from onnxruntime.transformers import optimizer
    from transformers import BertForSequenceClassification

    from src.checkpoint.folder import Checkpoint
    from src.checkpoint.huggingface import write
    from src.nn.layers import computed_weights

    os.makedirs(path)
    write(path, Checkpoint(computed_weights(model.network), model.description))
    model = BertForSequenceClassification.from_pretrained(path, attn_implementation="eager").eval()
    names, sample = ["input_ids", "attention_mask", "token_type_ids"], torch.ones((2, 8), dtype=torch.int32)
    torch.onnx.export(
        model,
        (sample,) * 3,
        path + ".onnx",
        input_names=names,
        output_names=["logits"],
        opset_version=17,
        dynamo=False,
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in names},
    )
    config = model.config
    optimizer.optimize_model(
        path + ".onnx",
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        opt_level=1,
    ).save_model_to_file(path + "-optimized.onnx")
    return path + "-optimized.onnx"


class Deployments:
    """The models of the table: {title: (function of NumPy columns, bytes, whether its weights are
    trained)}.
    """

    def __init__(self, options, folder):
        self.threads, self.folder, self.models, self.paths = options.threads, folder, {}, {}
        import torch

        from src.model import Model

        torch.set_num_threads(options.threads)
        self.models["BERT-base, PyTorch"] = (*torch_bert_base(), False)
        if options.teacher_dir:
            teacher = Model.load(options.teacher_dir)
            self.add_onnx("teacher, ONNX float32", teacher, "float", True)
            optimized = optimized_by_onnxruntime(teacher, os.path.join(folder, "teacher"))
            self.open_onnx("teacher, onnxruntime's optimizer", optimized, True)
        trained = bool(options.student_dir)
        student_dir = options.student_dir or os.path.join(folder, "random")
        if not trained:
            save_random_student(student_dir, options.activation_quantizer)
        student = Model.load(student_dir)
        plain = self.add_onnx("student, ONNX float32", student, "float", trained, activations=False)
        optimized = optimized_by_onnxruntime(student, os.path.join(folder, "student"))
        self.add_quantize_dynamic(THEIRS, optimized, trained)
        self.add_quantize_dynamic(THEIRS_OF_OURS, plain, trained)
        self.add_onnx(INT8, student, "int8", trained)
        self.add_onnx("student, ONNX ternary", student, "ternary", trained)
        self.add_mindir("student, MINDIR", student_dir, trained)

    def open_onnx(self, title, path, trained):
        """Add an ONNX file."""
        import onnxruntime as ort

        self.paths[title] = path
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        # Models that wait must not take a core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [item.name for item in session.get_inputs()]
        self.models[title] = (
            lambda *columns: session.run(None, dict(zip(names, columns)))[0],
            os.path.getsize(path),
            trained,
        )

    def add_quantize_dynamic(self, title, path, trained):
        """Add what onnxruntime's quantize_dynamic makes of a float32 file."""
        from onnx import TensorProto
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantized = os.path.join(self.folder, f"{len(self.models)}-dynamic.onnx")
        quantize_dynamic(
            path,
            quantized,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )
        self.open_onnx(title, quantized, trained)

    def add_onnx(self, title, model, form, trained, activations=True):
        """Export and add; without `activations` as a plain float network."""
        from src.deploy.onnx_model import write_onnx
        from src.nn.layers import computed_weights

        path = os.path.join(self.folder, f"{len(self.models)}.onnx")
        description = model.description if activations else replace(model.description, quantization=None)
        write_onnx(path, computed_weights(model.network), description, form)
        self.open_onnx(title, path, trained)
        return path

    def add_mindir(self, title, model_dir, trained):
        """Add what export.py makes of a model's folder: a MINDIR of each measured shape as one model."""
        from src.deploy.sessions import MindirSession

        graphs = {}
        for batch, length in SHAPES.values():
            path = os.path.join(self.folder, f"{batch}x{length}.mindir")
            subprocess.run(
                [
                    sys.executable,
                    os.path.join(ROOT, "export.py"),
                    "--ckpt_file",
                    model_dir,
                    "--file_name",
                    path,
                    "--file_format",
                    "MINDIR",
                    "--batch_size",
                    str(batch),
                    "--seq_length",
                    str(length),
                ],
                check=True,
            )
            graphs[batch, length] = MindirSession(path)
        self.models[title] = (
            lambda *columns: graphs.get(columns[0].shape, graphs[SHAPES["throughput"]])(*columns),
            os.path.getsize(path),
            trained,
        )


def accuracy(run, data_dir, batch_size=32):
    """Accuracy on SST-2's dev records."""
    from src.data.dataset import Batches
    from src.data.task_data import load_task_data
    from src.tasks import get_task

    (examples,) = load_task_data(get_task("SST-2"), "", data_dir).evals.values()
    right = 0
    for *columns, labels in Batches(examples, batch_size):
        right += int((run(*columns).argmax(axis=1) == labels).sum())
    return right / len(examples)


def measure(models, options):
    """{title: {shape's name: median seconds}}; the models take turns, so that a machine that drifts slows all
    of them.
    """
    generator, seconds = np.random.default_rng(0), {title: {name: [] for name in SHAPES} for title in models}
    for name, shape in SHAPES.items():
        columns = (
            generator.integers(1000, 20000, shape).astype(np.int32),
            np.ones(shape, np.int32),
            np.zeros(shape, np.int32),
        )
        calls = options.calls if shape[0] == 1 else 1
        for run, _, _ in models.values():
            for _ in range(5):
                run(*columns)
        for _ in range(options.rounds):
            for title, (run, _, _) in models.items():
                run(*columns)  # the first call after others finds cold caches
                for _ in range(calls):
                    started = time.perf_counter()
                    run(*columns)
                    seconds[title][name].append(time.perf_counter() - started)
    return {
        title: {name: float(np.median(values)) for name, values in both.items()}
        for title, both in seconds.items()
    }


def profile(path, shape, threads, calls=30):
    """(milliseconds of one call's operators, number of operators, {operator: milliseconds}) of an ONNX file,
    by ONNX Runtime's profiler.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling = threads, True
    options.profile_file_prefix = path + "-profile"
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    columns = (
        np.random.default_rng(0).integers(1000, 20000, shape).astype(np.int32),
        np.ones(shape, np.int32),
        np.zeros(shape, np.int32),
    )
    for _ in range(calls):
        session.run(None, dict(zip([item.name for item in session.get_inputs()], columns)))
    with open(session.end_profiling(), encoding="utf-8") as file:
        kernels = [
            event
            for event in json.load(file)
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        ]
    times = Counter()
    for event in kernels[len(kernels) // 2 :]:  # the later half: the earlier calls warm up
        times[event["args"]["op_name"]] += event["dur"] / 1000 / (calls - calls // 2)
    return sum(times.values()), len(kernels) // calls, times


def print_profiles(paths, threads):
    """What the student's integer graphs spend their time on."""
    for title in (THEIRS_OF_OURS, INT8):
        for batch, length in SHAPES.values():
            total, operators, times = profile(paths[title], (batch, length), threads)
            print(
                f"{title} at {batch} x {length}: {operators} operators, {total:.2f} ms: "
                + ", ".join(
                    f"{name} {value:.2f} ms ({100 * value / total:.0f} %)"
                    for name, value in times.most_common(8)
                )
            )


def print_table(models, medians, scores):
    """The table: models as `Deployments` has them, medians as `measure` gives them, {title: accuracy}."""
    from tabulate import tabulate

    base, size = medians["BERT-base, PyTorch"], models["BERT-base, PyTorch"][1]
    (batch_1, length_1), (batch, length) = SHAPES.values()
    rows = [
        [
            title,
            f"{models[title][1]:,}",
            f"{size / models[title][1]:.1f}",
            f"{1000 * both['latency']:.2f}",
            f"{base['latency'] / both['latency']:.1f}",
            f"{batch / both['throughput']:.0f}",
            f"{base['throughput'] / both['throughput']:.1f}",
            f"{100 * scores[title]:.2f}" if title in scores else "-",
        ]
        for title, both in medians.items()
    ]
    print(
        tabulate(
            rows,
            [
                "model",
                "bytes",
                "times smaller",
                f"p50 ms at {batch_1} x {length_1}",
                "times faster",
                f"sentences/s at {batch} x {length}",
                "times faster",
                "accuracy",
            ],
            tablefmt="github",
            stralign="right",
        )
    )


def print_ratios(medians):
    """How our graphs compare with others of the same weights."""
    (batch_1, length_1), (batch, length) = SHAPES.values()
    if "teacher, ONNX float32" in medians:
        ours, theirs = medians["teacher, ONNX float32"], medians["teacher, onnxruntime's optimizer"]
        print(
            f"float32 against onnxruntime's optimizer: {theirs['latency'] / ours['latency']:.2f} times as "
            f"fast at {batch_1} x {length_1}, {theirs['throughput'] / ours['throughput']:.2f} times at "
            f"{batch} x {length}"
        )
    ours = medians[INT8]
    for title in (THEIRS, THEIRS_OF_OURS):
        theirs = medians[title]
        print(
            f"int8 against {title.removeprefix('student, ')}: {theirs['latency'] / ours['latency']:.2f} "
            f"times as fast at {batch_1} x {length_1}, {theirs['throughput'] / ours['throughput']:.2f} "
            f"times at {batch} x {length}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--teacher_dir", default="", help="the teacher's folder; without it the table has no teacher"
    )
    parser.add_argument(
        "--student_dir",
        default="",
        help="a quantized student's folder, as train.py writes it; without it, random weights",
    )
    parser.add_argument(
        "--data_dir", default="", help="SST-2's records, for the accuracies of trained weights"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of every model")
    parser.add_argument("--rounds", type=int, default=10, help="turns of every model")
    parser.add_argument("--calls", type=int, default=20, help="calls a turn at batch 1")
    parser.add_argument(
        "--activation_quantizer",
        choices=("ema", "dynamic", "symmetric"),
        default="ema",
        help="how the student of random weights rounds its activations",
    )
    parser.add_argument(
        "--profile", action="store_true", help="print what the integer graphs' operators take, too"
    )
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)

    from src.runtime import use_device

    use_device("CPU")
    with tempfile.TemporaryDirectory() as folder:
        deployments = Deployments(options, folder)
        models = deployments.models
        medians = measure(models, options)
        scores = {
            title: accuracy(run, options.data_dir)
            for title, (run, _, trained) in models.items()
            if trained and options.data_dir
        }
        if options.profile:
            print_profiles(deployments.paths, options.threads)
    print(f"{cpu_name()}, {options.threads} threads, medians of {options.rounds} turns")
    print_table(models, medians, scores)
    print_ratios(medians)


if __name__ == "__main__":
    main()
