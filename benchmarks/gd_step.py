"""Times the general-distillation train step against the same step in PyTorch and transformers, side by side
in one run.

    python benchmarks/gd_step.py [--batch_size 32 --seq_length 128 --teacher 12x768 --student 4x384]

Teacher and student have random weights; rows are random tokens, all of the full length. How the two sides
take turns is told in train_step.py: this is its first phase with other networks. Needs no data.
"""

import argparse
import os
import sys
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks import train_step  # noqa: E402


def save_network(folder, shape, hidden_act):
    """A checkpoint of random weights; `shape` is LAYERSxWIDTH, with 12 heads and an inner layer 4 times as
    wide.
    """
    from src.description import Description
    from src.kinds import CLASSIFICATION
    from src.model import Model, new_network
    from src.settings.network import BertConfig

    layers, width = (int(number) for number in shape.split("x"))
    bert = BertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=12,
        intermediate_size=4 * width,
        hidden_act=hidden_act,
    )
    description = Description(bert, CLASSIFICATION, 2, do_lower_case=True, source=folder)
    Model(description, new_network(description)).save(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=32, help="rows of a batch")
    parser.add_argument("--seq_length", type=int, default=128, help="tokens of a row")
    parser.add_argument("--teacher", default="12x768", help="layers x width of the teacher")
    parser.add_argument("--student", default="4x384", help="layers x width of the student")
    parser.add_argument(
        "--hidden_act",
        default="gelu",
        choices=("gelu", "gelu_new"),
        help="activation of both networks on both sides",
    )
    parser.add_argument("--steps", type=int, default=2, help="batches of a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side that count")
    parser.add_argument("--warm_up", type=int, default=5, help="rounds of each side before them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.teacher_dir, options.student_dir = (
            os.path.join(folder, "teacher"),
            os.path.join(folder, "student"),
        )
        options.data_dir, options.student_layers, options.batches = "", 0, os.path.join(folder, "batches.npz")
        save_network(options.teacher_dir, options.teacher, options.hidden_act)
        save_network(options.student_dir, options.student, options.hidden_act)
        generator, shape = np.random.default_rng(0), (options.batch_size, options.seq_length)
        np.savez(
            options.batches,
            **{
                f"{index}_{column}": value.astype(np.int32)
                for index in range(options.steps)
                for column, value in enumerate(
                    (generator.integers(1, 30522, shape), np.ones(shape), np.zeros(shape), np.zeros(shape[0]))
                )
            },
        )
        print(f"teacher {options.teacher}, student {options.student}")
        train_step.compare(options, [options.seq_length] * options.steps, phases=("phase1",))


if __name__ == "__main__":
    main()
