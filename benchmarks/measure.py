"""What the benchmark scripts share: the processor's name, and where MindSpore's kernels spend their time."""

import csv
import glob
import platform
import tempfile


def cpu_name():
    """The processor's name as Linux gives it."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def kernel_times(run):
    """{operator type: milliseconds of kernel time} of one call of `run`, by MindSpore's profiler."""
    from mindspore import profiler

    with tempfile.TemporaryDirectory() as folder:
        with profiler.profile(
            activities=[profiler.ProfilerActivity.CPU],
            on_trace_ready=profiler.tensorboard_trace_handler(dir_name=folder),
        ) as profile:
            run()
            profile.step()
        (path,) = glob.glob(f"{folder}/*/FRAMEWORK/cpu_op_type_info_0.csv")
        with open(path, encoding="utf-8") as file:
            return {row["op_type"]: float(row["total_compute_time"]) for row in csv.DictReader(file)}


def matrix_time(times):
    """Milliseconds that `kernel_times` gives to matrix products."""
    return sum(value for name, value in times.items() if name in ("MatMul", "BatchMatMul"))


def matrix_share(run):
    """(share of the kernels' time that matrix products take, ["operator share %"] of the largest six) of one
    call of `run`.
    """
    times = kernel_times(run)
    total = sum(times.values())
    largest = sorted(times.items(), key=lambda item: -item[1])[:6]
    return matrix_time(times) / total, [f"{name} {100 * value / total:.0f} %" for name, value in largest]
