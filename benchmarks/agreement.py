"""How exported ONNX graphs agree with the network they come from, on a task's dev records.

    python benchmarks/agreement.py --task_name MRPC --model_dir MODEL_DIR --data_dir DATA_DIR/mrpc \\
        --lengths 56,88

One line a kind of weights: the metric of the network and of the file on the same batches, and for how many
rows both give the same class or answer (for tags: how many of the entities that either finds both do; for a
regression: the correlation of their values). MODEL_DIR is a quantized
model's folder as train.py writes it.
"""

import argparse
import os
import sys
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import cpu_name  # noqa: E402


def agreement(found, expected):
    """How the predictions of a file and of the network agree, in words; they are a metric's evidence."""
    if isinstance(expected, set):
        return f"{100 * len(found & expected) / max(1, len(found | expected)):.2f} % of the answers in common"
    if np.issubdtype(np.asarray(expected).dtype, np.floating):
        return f"correlation with the network {np.corrcoef(found, expected)[0, 1]:.5f}"
    same = np.mean([one == other for one, other in zip(found, expected)])
    return f"same answer for {100 * same:.2f} % of the rows"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task_name", required=True, help="task of the records, as SST-2")
    parser.add_argument("--model_dir", required=True, help="the model's folder")
    parser.add_argument("--data_dir", required=True, help="the task's records")
    parser.add_argument("--batch_size", type=int, default=32, help="rows of a batch")
    parser.add_argument(
        "--lengths",
        type=lambda text: [int(item) for item in text.split(",")],
        default=[32, 64, 96, 128],
        help="lengths that rows are padded to, as 56,88",
    )
    options = parser.parse_args()

    from src import metrics
    from src.data.dataset import Batches
    from src.data.task_data import load_task_data
    from src.deploy.onnx_model import write_onnx
    from src.errors import UserError
    from src.evaluate import predict
    from src.model import Model
    from src.nn.layers import computed_weights
    from src.runtime import use_device
    from src.tasks import get_task

    use_device("CPU")
    model, task = Model.load(options.model_dir), get_task(options.task_name)
    data = load_task_data(task, "", options.data_dir, labels=model.description.labels)
    examples = data.evals["eval"]
    names = metrics.choose(task.metrics, "auto", data.kind, data.outputs)

    def answers(model):
        logits = predict(model, Batches(examples, options.batch_size, options.lengths)).logits
        model.release()  # graphs of long rows take gigabytes each
        given = logits, examples, data.labels
        evidence = data.kind.evidence(names[:1], *given)
        return evidence[names[0]][0], metrics.score(names, data.kind, *given)

    expected, scores = answers(model)
    print(
        f"{cpu_name()}; {options.model_dir}: {len(examples)} rows in batches of {options.batch_size}, "
        f"padded to {options.lengths}"
    )
    print("network: " + ", ".join(f"{name} {100 * scores[name]:.2f}" for name in names), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for form in ("ternary", "int8", "float"):
            path = os.path.join(folder, f"{form}.onnx")
            try:
                write_onnx(path, computed_weights(model.network), model.description, form)
            except UserError as error:
                print(f"{form}: {error}")
                continue
            found, results = answers(Model.load(path))
            shown = ", ".join(f"{name} {100 * results[name]:.2f}" for name in names)
            print(f"{form}: {shown}; {agreement(found, expected)}", flush=True)


if __name__ == "__main__":
    main()
