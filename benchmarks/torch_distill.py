"""A whole distillation of a GLUE task in PyTorch and transformers, from TSV files to the student's score:
what benchmarks/task_distill.py and benchmarks/quantized_memory.py compare with.

    python benchmarks/torch_distill.py --task SST-2 --teacher_dir HF_TEACHER --glue_dir GLUE --layers 1 3 5 \\
        --phase1_epochs 3 --phase2_epochs 1 --batching 64

Phase 1 fits attention scores and hidden states, phase 2 the predictions; with --quantized there is one phase
with all of them. The teacher runs in every step. The last line is the result as JSON.
"""

import argparse
import json
import os
import sys
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import torch  # noqa: E402
from transformers import get_linear_schedule_with_warmup  # noqa: E402

from benchmarks.measure import peak_mib  # noqa: E402
from benchmarks.rows import Rows, plan_batches  # noqa: E402
from benchmarks.torch_side import Distillation, Network, adamw, load, tensors, train_step, use_all_cores  # noqa: E402


def score(student, rows, batch_size=32):
    """Accuracy, or for a regression Pearson's correlation, in percent. `student` is a `Network`."""
    network = Network(student.model.eval(), student.q)
    answers = []
    with torch.no_grad():
        for start in range(0, len(rows), batch_size):
            batch = tensors(rows.padded(range(start, min(start + batch_size, len(rows)))))
            answers.append(network(*batch[:3])[0].numpy())
    student.model.train()
    answers = np.concatenate(answers)
    if answers.shape[1] == 1:
        return 100 * float(np.corrcoef(answers[:, 0], rows.labels)[0, 1])
    return 100 * float((answers.argmax(1) == rows.labels).mean())


def fit(distillation, rows, dev, epochs, learning_rate, options):
    """Train for some epochs, scoring after each where the predictions are fitted; the best score or None."""
    named = distillation.parameters()
    parameters = [item for _, item in named]
    total = len(rows) // options.batch_size * epochs
    optimizer = adamw(named, learning_rate)
    schedule = get_linear_schedule_with_warmup(optimizer, round(0.1 * total), total)
    best = None
    for epoch in range(epochs):
        plan = plan_batches(rows.lengths, options.batch_size, options.batching, options.seed + epoch)
        for numbers, length in plan:
            if len(numbers) == options.batch_size:
                train_step(distillation.loss(*tensors(rows.padded(numbers, length))), parameters, optimizer)
                schedule.step()
        if "logits" in distillation.terms:
            best = max(best or 0.0, score(distillation.student, dev))
    return best


def phases(options):
    """[(terms, epochs, learning rate)]."""
    if options.quantized:
        return [(("layers", "logits"), options.phase2_epochs, options.phase1_rate)]
    first = (("layers",), options.phase1_epochs, options.phase1_rate)
    return [first, (("logits",), options.phase2_epochs, options.phase2_rate)]


def run(options):
    """Everything; {"dev", "seconds", "peak_mib"}."""
    started = time.perf_counter()
    use_all_cores()
    torch.manual_seed(options.seed)
    vocabulary = os.path.join(options.teacher_dir, "vocab.txt")
    rows = Rows.of_task(options.glue_dir, options.task, "train", vocabulary, options.rows)
    dev = Rows.of_task(options.glue_dir, options.task, "dev", vocabulary)
    teacher = load(options.teacher_dir)
    student = load(options.teacher_dir, options.layers or None, dropout=options.dropout)
    best, regression = None, rows.labels.dtype == np.float32
    for terms, epochs, learning_rate in phases(options):
        distillation = Distillation(
            teacher, student, terms, options.quantized, not options.quantized, regression
        )
        best = fit(distillation, rows, dev, epochs, learning_rate, options)
    if options.output_dir:
        student.save_pretrained(options.output_dir)
    return {
        "dev": round(best, 2),
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mib": round(peak_mib()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", required=True, choices=("SST-2", "MRPC", "STS-B"), help="the GLUE task")
    parser.add_argument("--teacher_dir", required=True, help="the teacher, a Hugging Face folder")
    parser.add_argument("--glue_dir", required=True, help="folder with TASK/train.tsv and dev.tsv")
    parser.add_argument("--rows", type=int, default=0, help="training rows; 0: all")
    parser.add_argument(
        "--layers", type=int, nargs="*", default=[], help="teacher layers that are the student; unset: all"
    )
    parser.add_argument("--quantized", action="store_true", help="the student is W2A8")
    parser.add_argument("--dropout", type=float, default=None, help="the student's; unset: the teacher's")
    parser.add_argument("--batching", default="shuffled", help="shuffled, grouped, or every row's length")
    parser.add_argument("--batch_size", type=int, default=32, help="rows of a batch")
    parser.add_argument("--phase1_epochs", type=int, default=3, help="epochs of phase 1")
    parser.add_argument("--phase2_epochs", type=int, default=1, help="epochs of phase 2, or with --quantized")
    parser.add_argument("--phase1_rate", type=float, default=5e-5, help="learning rate; also --quantized's")
    parser.add_argument("--phase2_rate", type=float, default=2e-5, help="learning rate of phase 2")
    parser.add_argument("--seed", type=int, default=42, help="of shuffling and dropout")
    parser.add_argument("--output_dir", default="", help="where the student is saved; unset: nowhere")
    print(json.dumps(run(parser.parse_args())))


if __name__ == "__main__":
    main()
