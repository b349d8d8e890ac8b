"""How exported ONNX graphs agree with the network they come from, on a task's dev records.

    python benchmarks/agreement.py --task_name MRPC --model_dir MODEL_DIR --data_dir DATA_DIR/mrpc --lengths
    56,88

One line a kind of weights: the metric of the network and of the file on the same batches, and for how many
rows both give the same class (for a regression: the correlation of their values). MODEL_DIR is a quantized
model's folder as train.py writes it.
"""

import argparse
import os
import sys
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.deploy import load_network  # noqa: E402
from benchmarks.measure import cpu_name  # noqa: E402


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

    import mindspore as ms
    import onnx

    from src import metrics
    from src.data.dataset import Batches
    from src.data.records import find_split, read_records
    from src.deploy.onnx_graph import build_model
    from src.deploy.sessions import OnnxModel
    from src.errors import UserError
    from src.evaluate import predict
    from src.nn.heads import Logits
    from src.nn.layers import computed_weights
    from src.tasks import get_task

    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    network, description = load_network(options.model_dir)
    network.set_train(False)
    regression = description["problem_type"] == "regression"
    examples = read_records(*find_split(options.data_dir, "eval"))
    names = metrics.choose(get_task(options.task_name).metrics, "auto", network.num_labels, regression)

    def answers(model):
        logits = predict(model, Batches(examples, options.batch_size, options.lengths)).logits
        return logits, metrics.compute(names, logits, examples.labels)

    expected, scores = answers(Logits(network))
    print(
        f"{cpu_name()}; {options.model_dir}: {len(expected)} rows in batches of {options.batch_size}, "
        f"padded to {options.lengths}"
    )
    print("network: " + ", ".join(f"{name} {100 * scores[name]:.2f}" for name in names), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("int8", "2bit", "float"):
            path = os.path.join(folder, f"{kind}.onnx")
            try:
                onnx.save(
                    build_model(
                        computed_weights(network),
                        network.config,
                        network.num_labels,
                        network.quantization,
                        kind,
                        description,
                    ),
                    path,
                )
            except UserError as error:
                print(f"{kind}: {error}")
                continue
            logits, results = answers(OnnxModel(path))
            same = (
                f"correlation with the network {np.corrcoef(logits[:, 0], expected[:, 0])[0, 1]:.5f}"
                if regression
                else f"same class for {100 * (logits.argmax(1) == expected.argmax(1)).mean():.2f} % of the "
                "rows"
            )
            print(
                f"{kind}: " + ", ".join(f"{name} {100 * results[name]:.2f}" for name in names) + f"; {same}",
                flush=True,
            )


if __name__ == "__main__":
    main()
