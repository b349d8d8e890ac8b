"""PyTorch's side of the step benchmarks; the calls of worker.py, as in our_side.py."""

import time

import torch

from benchmarks.rows import plan_batches
from benchmarks.torch_side import Distillation, adamw, load, tensors, train_step, use_all_cores


class Side:
    """One step and its batches."""

    def __init__(self, work, rows):
        use_all_cores()
        teacher = load(work["teacher"], dropout=0.0)
        student = load(work["student"], work["layers"] or None, dropout=0.0)
        self.distillation = Distillation(
            teacher, student, work["terms"], work["quantized"], work["projection"]
        )
        named = self.distillation.parameters()
        self.parameters = [item for _, item in named]
        self.optimizer = adamw(named, work["learning_rate"])
        self.loss = self.distillation.loss
        if work.get("compile"):
            self.loss = torch.compile(self.loss, dynamic=True)
        self.rows = rows
        plan = plan_batches(rows.lengths, work["batch_size"], work["batching"], seed=1)
        self.batches = [rows.padded(*part) for part in plan if len(part[0]) == work["batch_size"]]

    def step_count(self):
        """Steps of a round."""
        return len(self.batches)

    def shapes(self):
        """[(rows, padded length)] of a round's batches."""
        return [list(batch[0].shape) for batch in self.batches]

    def loss_of(self, numbers):
        """The loss of the rows of these numbers."""
        with torch.no_grad():
            return float(self.loss(*tensors(self.rows.padded(numbers))))

    def round(self):
        """Seconds of one pass over the batches."""
        started = time.perf_counter()
        for batch in self.batches:
            train_step(self.loss(*tensors(batch)), self.parameters, self.optimizer)
        return time.perf_counter() - started

    def matrix_share(self):
        """Share of the operators' own time that matrix products take, by PyTorch's profiler."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            self.round()
        times = {item.key: item.self_cpu_time_total for item in profile.key_averages()}
        names = ("mm", "addmm", "bmm", "baddbmm", "_scaled_dot_product_flash_attention_for_cpu")
        backward = "aten::_scaled_dot_product_flash_attention_for_cpu_backward"
        products = sum(times.get(f"aten::{name}", 0) for name in names) + times.get(backward, 0)
        return products / sum(times.values())

    def matrix_peak(self):
        """FLOP a second of a large matrix product."""
        size, times = 2048, []
        x = torch.ones(size, size)
        for _ in range(10):
            started = time.perf_counter()
            torch.mm(x, x)
            times.append(time.perf_counter() - started)
        return 2 * size**3 / min(times)
