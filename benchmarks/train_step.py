"""Times the two task-distillation train steps against the same steps in PyTorch and transformers, side by
side in one run.

    python benchmarks/train_step.py --teacher_dir TEACHER_DIR --data_dir DATA_DIR/sst-2

Both sides get the same padded batches of one shuffled epoch, the same teacher and student (started from the
teacher's layers), the same losses, clipping and AdamW, and as many threads as the machine has cores. They run
in turns in two processes; the one that waits is stopped, so that its threads take no time. Dropout is 0 on
both sides, so the losses must agree, which the script checks. TEACHER_DIR is a folder from
convert_checkpoint.py, DATA_DIR/sst-2 one from prepare_data.py.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import cpu_name, matrix_share  # noqa: E402

LEARNING_RATE, CLIP = 5e-5, 1.0


def first_projection(student_width, teacher_width):
    """The projection's weight (teacher_width, student_width) that both sides start from: the identity for
    equal widths.
    """
    if student_width == teacher_width:
        return np.eye(student_width, dtype=np.float32)
    return np.random.default_rng(0).normal(0, 0.02, (teacher_width, student_width)).astype(np.float32)


# --- this project's side ------------------------------------------------------------------------------------


def our_networks(options):
    """(teacher's `Model`, student's network)."""
    from dataclasses import replace

    from src.checkpoint import folder as checkpoints
    from src.checkpoint.assign import assign
    from src.model import Model, layer_weights, new_network

    def load(folder):
        checkpoint = checkpoints.load(folder)
        bert = replace(checkpoint.description.bert, hidden_act=options.hidden_act)
        description = replace(checkpoint.description, bert=bert)
        return Model.from_checkpoint(checkpoint, description=description)

    teacher = load(options.teacher_dir)
    if options.student_dir:
        return teacher, load(options.student_dir).network
    depth = teacher.config.num_hidden_layers
    stride = depth // options.student_layers
    bert = replace(teacher.config, num_hidden_layers=options.student_layers)
    student = new_network(replace(teacher.description, bert=bert))
    layers = range(stride - 1, depth, stride)
    assign(student, layer_weights(teacher.weights(), layers), "teacher layers")
    return teacher, student


class OurSide:
    """The steps as `run_task_distill.py` builds them."""

    def __init__(self, options):
        import mindspore as ms

        from src.distill.distiller import Distiller, LossTerms, Projection
        from src.settings.stage import AdamWeightDecayConfig
        from src.train.optim import AdamW
        from src.train.step import LossScale, TrainStep

        ms.set_device("CPU")
        ms.set_context(mode=ms.GRAPH_MODE)
        self.ms = ms
        model, student = our_networks(options)
        teacher, kind = model.network, model.description.kind
        widths = student.config.hidden_size, teacher.config.hidden_size
        projection = Projection(*widths, 0.02)
        projection.fit_dense.weight.set_data(ms.Tensor(first_projection(*widths)))
        states, soft = LossTerms(attention_loss=1.0, hidden_loss=1.0), LossTerms(soft_loss=1.0)
        networks = {
            "phase1": Distiller(student, states, teacher, projection),
            "phase2": Distiller(student, soft, teacher, kind=kind),
            "phase2 cached": Distiller(student, soft, kind=kind, cached_logits=True),
        }
        schedule = AdamWeightDecayConfig(
            learning_rate=LEARNING_RATE, end_learning_rate=LEARNING_RATE, warmup_ratio=0.0
        )
        self.start = {parameter.name: parameter.asnumpy().copy() for parameter in student.get_parameters()}
        self.student = student
        self.steps = {
            name: TrainStep(network, AdamW(network.trained_parameters(), schedule, 10**9), LossScale(), CLIP)
            for name, network in networks.items()
        }
        for step in self.steps.values():
            step.set_train(True)
        self.logits = np.zeros((10000, model.description.outputs), np.float32)

    def run(self, phase, batches):
        """Seconds of one pass over the batches, and the first loss."""
        step, first, started = self.steps[phase], None, time.perf_counter()
        for batch in batches:
            tensors = [self.ms.Tensor(column) for column in batch]
            if phase == "phase2 cached":
                tensors.append(self.ms.Tensor(self.logits[: len(batch[0])]))
            terms, norm, _, _ = step(True, *tensors)
            norm.asnumpy()  # wait for the step
            first = float(terms[0].asnumpy()) if first is None else first
        return time.perf_counter() - started, first

    def matrix_share(self, phase, batches):
        """Share of the kernels' time that MatMul and BatchMatMul take, by MindSpore's profiler."""
        return matrix_share(lambda: self.run(phase, batches))


# --- PyTorch's side -----------------------------------------------------------------------------------------


class TorchSide:
    """The same steps as an experienced user of PyTorch and transformers writes them."""

    def __init__(self, options):
        import torch
        from transformers import BertConfig, BertForSequenceClassification
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        from src.checkpoint import folder as checkpoints
        from src.checkpoint.huggingface import write

        def scores_attention(module, query, key, value, mask, scaling=None, dropout=0.0, **_):
            """Attention that returns its scores before softmax, as TinyBERT distils them, in place of
            probabilities.
            """
            scores = torch.matmul(query, key.transpose(-1, -2)) * query.shape[-1] ** -0.5 + mask
            context = torch.matmul(torch.softmax(scores, -1), value)
            return context.transpose(1, 2).contiguous(), scores

        ALL_ATTENTION_FUNCTIONS.register("scores", scores_attention)
        torch.set_num_threads(os.cpu_count())
        self.torch = torch
        checkpoint = checkpoints.load(options.teacher_dir)

        def load(checkpoint):
            with tempfile.TemporaryDirectory() as folder:
                write(folder, checkpoint)
                config = BertConfig.from_pretrained(
                    folder,
                    hidden_act=options.hidden_act,
                    hidden_dropout_prob=0.0,
                    attention_probs_dropout_prob=0.0,
                    attn_implementation="scores",
                )
                return BertForSequenceClassification.from_pretrained(folder, config=config)

        self.teacher = load(checkpoint).eval()
        self.student = load(
            checkpoints.load(options.student_dir) if options.student_dir else checkpoint
        ).train()
        if not options.student_dir:
            stride = len(self.student.bert.encoder.layer) // options.student_layers
            self.student.bert.encoder.layer = self.student.bert.encoder.layer[stride - 1 :: stride]
        self.stride = len(self.teacher.bert.encoder.layer) // len(self.student.bert.encoder.layer)
        widths = self.student.config.hidden_size, self.teacher.config.hidden_size
        self.projection = torch.nn.Linear(*widths)
        self.projection.weight.data = torch.from_numpy(first_projection(*widths))
        torch.nn.init.zeros_(self.projection.bias)
        self.parameters = {
            "phase1": [*self.student.parameters(), *self.projection.parameters()],
            "phase2": list(self.student.parameters()),
        }
        self.optimizers = {
            phase: torch.optim.AdamW(values, lr=LEARNING_RATE, eps=1e-6, weight_decay=0.01)
            for phase, values in self.parameters.items()
        }

    def _mask(self, input_mask):
        return (1.0 - input_mask[:, None, None, :].float()) * -10000.0

    def _forward(self, model, batch):
        """logits, hidden states and attention scores of one model."""
        ids, mask, segments, _ = batch
        added = self._mask(mask)
        state = model.bert.embeddings(input_ids=ids, token_type_ids=segments)
        states, scores = [state], []
        for layer in model.bert.encoder.layer:
            attended, score = layer.attention.self(state, added)[:2]
            state = layer.attention.output(attended, state)
            state = layer.output(layer.intermediate(state), state)
            states.append(state)
            scores.append(score)
        return model.classifier(model.bert.pooler(state)), states, scores

    def _loss(self, phase, batch):
        torch = self.torch
        with torch.no_grad():
            logits_t, states_t, scores_t = self._forward(self.teacher, batch)
        logits, states, scores = self._forward(self.student, batch)
        if phase == "phase2":
            return -(torch.softmax(logits_t, -1) * torch.log_softmax(logits, -1)).mean()
        keys = batch[1][:, None, None, :].float()
        mse, loss = torch.nn.functional.mse_loss, 0.0
        for student, teacher in zip(scores, scores_t[self.stride - 1 :: self.stride]):
            loss = loss + mse(student * keys, teacher * keys)
        for student, teacher in zip(states, states_t[:: self.stride]):
            loss = loss + mse(self.projection(student), teacher)
        return loss

    def run(self, phase, batches):
        """Seconds of one pass over the batches, and the first loss."""
        first, started = None, time.perf_counter()
        for batch in batches:
            loss = self._loss(phase, [self.torch.from_numpy(column).long() for column in batch])
            self.optimizers[phase].zero_grad(set_to_none=True)
            loss.backward()
            self.torch.nn.utils.clip_grad_norm_(self.parameters[phase], CLIP)
            self.optimizers[phase].step()
            first = loss.item() if first is None else first
        return time.perf_counter() - started, first


# --- the two in turns ---------------------------------------------------------------------------------------


def work(side, options):
    """A worker: reads one request a line, answers one JSON line."""
    worker = {"ours": OurSide, "torch": TorchSide}[side](options)
    with np.load(options.batches) as file:
        count = len(file.files) // 4
        batches = [[file[f"{index}_{column}"] for column in range(4)] for index in range(count)]
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(worker, request["call"])(request["phase"], batches)
        print("answer " + json.dumps(answer), flush=True)


class Worker:
    """One side in a process of its own, stopped while it waits."""

    def __init__(self, side, options):
        arguments = [
            sys.executable,
            os.path.abspath(__file__),
            "--worker",
            side,
            "--batches",
            options.batches,
        ]
        for name in ("teacher_dir", "student_dir", "data_dir", "hidden_act", "student_layers"):
            arguments += [f"--{name}", str(getattr(options, name))]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, call, phase):
        """The worker's answer to one request."""
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.stdin.write(json.dumps({"call": call, "phase": phase}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("answer "):
                os.kill(self.process.pid, signal.SIGSTOP)
                return json.loads(line[7:])
        raise RuntimeError("a worker ended before it answered; its error is above")

    def close(self):
        """End the process."""
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait()


def save_batches(options):
    """Write the first batches of one shuffled epoch to options.batches; returns their padded lengths."""
    from src.data.dataset import Batches
    from src.data.records import find_split, read_records
    from src.kinds import CLASSIFICATION

    examples = read_records(*find_split(options.data_dir, "train"), CLASSIFICATION.columns)
    chosen = []
    for batch in Batches(
        examples, options.batch_size, (16, 32, 64, 128), shuffle=True, drop_remainder=True, seed=1
    ):
        chosen.append(batch)
        if len(chosen) == options.steps:
            break
    np.savez(
        options.batches,
        **{
            f"{index}_{column}": value
            for index, batch in enumerate(chosen)
            for column, value in enumerate(batch)
        },
    )
    return [batch[0].shape[1] for batch in chosen]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--teacher_dir", required=True, help="the teacher, a folder from convert_checkpoint.py"
    )
    parser.add_argument(
        "--student_dir", default="", help="the student, likewise; unset: some of the teacher's layers"
    )
    parser.add_argument("--data_dir", required=True, help="the task's records, a folder from prepare_data.py")
    parser.add_argument("--batch_size", type=int, default=32, help="rows of a batch")
    parser.add_argument("--steps", type=int, default=20, help="batches of a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side that count")
    parser.add_argument(
        "--warm_up",
        type=int,
        default=3,
        help="rounds of each side before them: graphs compile, and kernels try out "
        "how many threads they want",
    )
    parser.add_argument(
        "--student_layers", type=int, default=3, help="layers of the student; must divide the teacher's"
    )
    parser.add_argument(
        "--hidden_act",
        default="gelu",
        choices=("gelu", "gelu_new"),
        help="activation of both networks on both sides",
    )
    parser.add_argument("--worker", choices=("ours", "torch"), help=argparse.SUPPRESS)
    parser.add_argument("--batches", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        options.batches = os.path.join(folder, "batches.npz")
        compare(options, save_batches(options))


def compare(options, lengths, phases=("phase1", "phase2")):
    """Run both sides in turns and print the table."""
    tokens = ", ".join(f"{lengths.count(length)} x {length}" for length in sorted(set(lengths)))
    print(
        f"{cpu_name()}, {os.cpu_count()} cores; batch {options.batch_size}, {options.steps} batches "
        f"(count x padded length: {tokens}), {options.hidden_act}, {options.rounds} rounds in turns"
    )
    workers = {side: Worker(side, options) for side in ("ours", "torch")}
    try:
        for phase in phases:
            losses = {side: worker.ask("run", phase)[1] for side, worker in workers.items()}
            if phase == "phase1" and abs(losses["ours"] / losses["torch"] - 1) > 1e-3:
                raise SystemExit(f"the two sides do not compute the same loss: {losses}")
            for _ in range(options.warm_up - 1):
                for worker in workers.values():
                    worker.ask("run", phase)
            times = {side: [] for side in workers}
            for _ in range(options.rounds):
                for side, worker in workers.items():
                    times[side].append(worker.ask("run", phase)[0] / options.steps)
            ours, other = (float(np.median(times[side])) for side in ("ours", "torch"))
            share, largest = workers["ours"].ask("matrix_share", phase)
            print(
                f"{phase}: ours {1000 * ours:.0f} ms a step, PyTorch {1000 * other:.0f} ms, "
                f"{other / ours:.2f} times faster; matrix products are {100 * share:.0f} % of our "
                f"kernels' time ({', '.join(largest)})",
                flush=True,
            )
            if phase == "phase2":
                for _ in range(options.warm_up):
                    workers["ours"].ask("run", "phase2 cached")
                cached = [
                    workers["ours"].ask("run", "phase2 cached")[0] / options.steps
                    for _ in range(options.rounds)
                ]
                cached = float(np.median(cached))
                print(
                    f"phase2 with the teacher's logits cached (the default): ours {1000 * cached:.0f} ms "
                    f"a step, {other / cached:.2f} times faster than PyTorch with its teacher in the step",
                    flush=True,
                )
    finally:
        for worker in workers.values():
            worker.close()


if __name__ == "__main__":
    main()
