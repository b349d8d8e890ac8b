"""One deployed model in a process of its own: the calls of worker.py, for deploy.py.

Each runtime is a function that imports it and returns another one, which opens a model: work (dict) ->
function of int32 (B, S) input_ids, input_mask, segment_ids that gives float32 logits (B, C). What the import
takes is so left out of the time that opening takes. Of `work`: "path", "threads" (0: the runtime's own
default), "spinning" (False: threads that wait leave their core) and "vocab_size".
"""

import json
import time
import warnings
from collections import Counter

import numpy as np

from benchmarks.measure import peak_mib

FIRST = (1, 16)
"""Rows and tokens of the first answer."""


def _order(names):
    """For each input of a model, its place among input_ids, input_mask, segment_ids."""
    return [1 if "mask" in name else 2 if "type" in name or "segment" in name else 0 for name in names]


def _session(work, profile=""):
    """An ONNX Runtime session; with `profile` one that writes what its operators take to a file so named."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    if work["threads"]:
        options.intra_op_num_threads = work["threads"]
    if not work["spinning"]:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return ort.InferenceSession(work["path"], options, providers=["CPUExecutionProvider"])


def _caller(session):
    """A session as a function of columns."""
    inputs = session.get_inputs()
    names, places = [item.name for item in inputs], _order(item.name for item in inputs)
    types = [np.int64 if "int64" in item.type else np.int32 for item in inputs]

    def run(*columns):
        given = (columns[place].astype(dtype, copy=False) for place, dtype in zip(places, types))
        return session.run(None, dict(zip(names, given)))[0]

    return run


def onnx():
    """ONNX Runtime."""
    import onnxruntime  # noqa: F401  what it takes is not the file's

    return lambda work: _caller(_session(work))


def torch_float():
    """PyTorch with transformers' BERT."""
    import torch
    from transformers import BertForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()

    def open_folder(work, change=lambda model: model):
        if work["threads"]:
            torch.set_num_threads(work["threads"])
        model = change(
            BertForSequenceClassification.from_pretrained(work["path"], dtype=torch.float32).eval()
        )

        def run(*columns):
            with torch.inference_mode():
                ids, mask, segments = (torch.from_numpy(column).long() for column in columns)
                return model(input_ids=ids, attention_mask=mask, token_type_ids=segments).logits.numpy()

        return run

    return open_folder


def torch_int8():
    """The same with its linear layers in int8 as the model is opened, which is how PyTorch's pages do it."""
    import torch
    from torch.ao.quantization import quantize_dynamic

    open_folder = torch_float()
    warnings.simplefilter("ignore")  # torch.ao is on its way to another package

    def quantized(model):
        return quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)

    return lambda work: open_folder(work, quantized)


def openvino():
    """OpenVINO; work["precision"] is its inference precision, "" for the one that it chooses."""
    from openvino import Core

    def open_file(work):
        hints = {"PERFORMANCE_HINT": "LATENCY"}
        if work["threads"]:
            hints["INFERENCE_NUM_THREADS"] = work["threads"]
        if work["precision"]:
            hints["INFERENCE_PRECISION_HINT"] = work["precision"]
        model = Core().compile_model(work["path"], "CPU", hints)
        request, places = model.create_infer_request(), _order(item.any_name for item in model.inputs)
        return lambda *columns: request.infer([columns[place] for place in places])[0]

    return open_file


RUNTIMES = {"onnx": onnx, "torch": torch_float, "torch int8": torch_int8, "openvino": openvino}
"""{name in models.json: its function}."""


class Side:
    """One model, opened as it is made."""

    def __init__(self, work, rows):
        self.work, self.rows = work, rows
        open_model = RUNTIMES[work["runtime"]]()
        started = time.perf_counter()
        self.run = open_model(work)
        self.run(*self.columns(*FIRST))
        self.open_seconds = time.perf_counter() - started

    def opened(self):
        """Seconds from the imported runtime to the first answer; the file is in memory already."""
        return self.open_seconds

    def columns(self, batch, length):
        """A batch without padding."""
        ids = np.random.default_rng(0).integers(1, self.work["vocab_size"], (batch, length))
        return ids.astype(np.int32), np.ones((batch, length), np.int32), np.zeros((batch, length), np.int32)

    def turn(self, batch, length, seconds):
        """{"ms": of each call in these seconds, of one at least; "peak_mib": of the process so far}."""
        columns, times = self.columns(batch, length), []
        self.run(*columns)  # the first call after others finds cold caches
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            started = time.perf_counter()
            self.run(*columns)
            times.append(1000 * (time.perf_counter() - started))
        return {"ms": times, "peak_mib": peak_mib()}

    def accuracy(self, batch_size=32):
        """Share of the rows whose largest logit is their label's."""
        right = 0
        for start in range(0, len(self.rows), batch_size):
            *columns, labels = self.rows.padded(range(start, min(start + batch_size, len(self.rows))))
            columns = (column.astype(np.int32) for column in columns)
            right += int((self.run(*columns).argmax(axis=1) == labels).sum())
        return right / len(self.rows)

    def profile(self, batch, length, calls=30):
        """(milliseconds of a call's operators, their number, [(operator, milliseconds), ...]) of an ONNX
        file, by ONNX Runtime's profiler.
        """
        session = _session(self.work, self.work["path"] + "-profile")
        run, columns = _caller(session), self.columns(batch, length)
        for _ in range(calls):
            run(*columns)
        with open(session.end_profiling(), encoding="utf-8") as file:
            events = [event for event in json.load(file) if event.get("cat") == "Node"]
        events = [event for event in events if event["name"].endswith("_kernel_time")]
        times = Counter()
        for event in events[len(events) // 2 :]:  # the later half: the earlier calls warm up
            times[event["args"]["op_name"]] += event["dur"] / 1000 / (calls - calls // 2)
        return sum(times.values()), len(events) // calls, times.most_common(8)
