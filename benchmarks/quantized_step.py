"""Times the ternary train step (2-bit weights, 8-bit activations) against the same step without quantization,
in turns in one run.

    python benchmarks/quantized_step.py

Teacher and student have random weights of the same shape; the losses are those of ternary_config.yaml. Both
steps are compiled in one process and run in turns, so that a machine that drifts slows both. Needs no data.
"""

import argparse
import os
import sys
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import cpu_name, kernel_times, matrix_time  # noqa: E402


def build_step(config, quantization):
    """The `TrainStep` that train.py runs, on fresh random weights."""
    from src.distill.distiller import Distiller, LossTerms
    from src.kinds import CLASSIFICATION
    from src.nn.heads import BertForSequence
    from src.nn.layers import second_moments
    from src.settings.stage import AdamWeightDecayConfig
    from src.train.optim import AdamW
    from src.train.step import LossScale, TrainStep

    teacher, student = BertForSequence(config, 2), BertForSequence(config, 2, quantization=quantization)
    terms = LossTerms(attention_loss=1.0, hidden_loss=1.0, soft_loss=1.0)
    network = Distiller(student, terms, teacher, kind=CLASSIFICATION)
    optimizer = AdamW(network.trained_parameters(), AdamWeightDecayConfig(), 10**6, second_moments(student))
    step = TrainStep(network, optimizer, LossScale(), max_grad_norm=1.0)
    step.set_train(True)
    return step


def quantizations(quantizer):
    """{title: QuantConfig or None} of the two steps."""
    from src.settings.network import QuantConfig

    return {
        "float32": None,
        f"W2A8 {quantizer}": QuantConfig(
            embedding_bits=2,
            embedding_quantizer=quantizer,
            weight_bits=2,
            weight_quantizer=quantizer,
            activation_bits=8,
            rest_bits=8,
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=16, help="rows of a batch")
    parser.add_argument("--seq_length", type=int, default=128, help="tokens of a row")
    parser.add_argument("--layers", type=int, default=6, help="layers of teacher and student")
    parser.add_argument(
        "--width",
        type=int,
        default=768,
        help="hidden size of both; 64 a head, the inner layer 4 times as wide",
    )
    parser.add_argument(
        "--hidden_act", default="gelu", choices=("gelu", "gelu_new"), help="activation of both"
    )
    parser.add_argument(
        "--quantizer", default="twn", choices=("twn", "lat"), help="how weights are ternarized"
    )
    parser.add_argument("--warm_up", type=int, default=5, help="steps of each kind that do not count")
    parser.add_argument("--rounds", type=int, default=10, help="steps of each kind that count")
    options = parser.parse_args()

    import mindspore as ms

    from src.settings.network import BertConfig

    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    config = BertConfig(
        hidden_size=options.width,
        num_hidden_layers=options.layers,
        num_attention_heads=options.width // 64,
        intermediate_size=4 * options.width,
        hidden_act=options.hidden_act,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    generator, shape = np.random.default_rng(0), (options.batch_size, options.seq_length)
    batch = [
        ms.Tensor(values.astype(np.int32))
        for values in (
            generator.integers(1, config.vocab_size, shape),
            np.ones(shape),
            np.zeros(shape),
            np.zeros(options.batch_size),
        )
    ]
    steps = {
        title: build_step(config, quantization)
        for title, quantization in quantizations(options.quantizer).items()
    }

    def run(step):
        started = time.perf_counter()
        step(True, *batch)[1].asnumpy()  # waits for the step
        return time.perf_counter() - started

    print(
        f"{cpu_name()}, {os.cpu_count()} cores; teacher and student {options.layers} x {options.width}, "
        f"batch {options.batch_size} x {options.seq_length}, {options.hidden_act}, {options.rounds} steps "
        "of each in turns",
        flush=True,
    )
    for _ in range(options.warm_up):
        for step in steps.values():
            run(step)
    seconds = {title: [] for title in steps}
    for _ in range(options.rounds):
        for title, step in steps.items():
            seconds[title].append(run(step))
    medians = {title: float(np.median(values)) for title, values in seconds.items()}
    for title, step in steps.items():
        times = kernel_times(lambda step=step: run(step))
        print(
            f"{title}: {1000 * medians[title]:.0f} ms a step (of {1000 * min(seconds[title]):.0f} to "
            f"{1000 * max(seconds[title]):.0f}); matrix products {matrix_time(times):.0f} ms of "
            f"{sum(times.values()):.0f} ms of kernels in a profiled step"
        )
    plain, quantized = medians.values()
    ratios = np.array(seconds[list(steps)[1]]) / np.array(seconds["float32"])
    print(
        f"quantization makes the step {100 * (quantized / plain - 1):.0f} % slower (median of the pairs: "
        f"{100 * (np.median(ratios) - 1):.0f} %)"
    )


if __name__ == "__main__":
    main()
