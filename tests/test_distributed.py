"""Data-parallel training with two real workers on CPU, started by MindSpore's msrun, against one worker with
their batch together.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from src.errors import UserError
from src.runtime import Group, join_group
from src.settings.training import GeneralDistillConfig
from tests import two_workers
from tests.helpers import ROOT, refuses
from tests.lost import LOSSES, launch, make_inputs, process, wait_for_state


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def load(folder, rank):
    with np.load(os.path.join(folder, f"rank_{rank}.npz")) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """(of one worker at batch 8, of worker 0 and of worker 1 at batch 4, the workers' folder).

    All of them are processes with fused kernels, and run at once.
    """
    alone, pair = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("pair")
    program = os.path.join(ROOT, "tests", "two_workers.py")
    msrun = [
        *("-m", "mindspore.parallel.cluster.run", "--worker_num=2", "--local_worker_num=2"),
        *(f"--master_port={free_port()}", f"--log_dir={pair / 'logs'}", "--join=True"),
    ]
    # Msrun starts the first python there.
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    how["env"] = {**os.environ, "GLOG_v": "3", "PATH": path}
    commands = {alone: [program, str(alone), "8"], pair: [*msrun, program, str(pair), "4"]}
    jobs = [
        subprocess.Popen([sys.executable, *command], cwd=folder, **how)
        for folder, command in commands.items()
    ]
    try:
        said = "".join(job.communicate(timeout=300)[0][-2000:] for job in jobs)
    finally:
        for job in jobs:
            job.kill()
    logs = "".join(path.read_text(errors="replace")[-2000:] for path in (pair / "logs").glob("worker_*.log"))
    assert [job.returncode for job in jobs] == [0, 0], said + logs
    return load(alone, 0), load(pair, 0), load(pair, 1), pair


def test_workers_end_with_equal_weights(results):
    _, first, second, _ = results
    names = [name for name in first if name.startswith("weight/")]
    assert len(names) > 20 and first["size"] == second["size"] == 2
    for name in names:
        np.testing.assert_array_equal(first[name], second[name], name)


def test_two_workers_in_micro_batches_are_one_worker_with_whole_batches(results):
    alone, first, second, _ = results
    assert alone["micro_batches"] == 1 and min(first["micro_batches"], second["micro_batches"]) > 1
    # MindSpore's CPU softmax computes the last, odd numbers of a tensor otherwise: 5e-5 in the label loss.
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=1e-4)
    np.testing.assert_allclose(first["losses"][:, :3], alone["losses"][:, :3], rtol=1e-5)
    np.testing.assert_array_equal(first["losses"], second["losses"])
    for name in (name for name in alone if name.startswith("weight/")):
        np.testing.assert_allclose(first[name], alone[name], rtol=0, atol=1e-6, err_msg=name)
    assert (
        alone["moved"] > 2e-3 and len(alone["losses"]) == 8 and alone["losses"][-1, 0] < alone["losses"][0, 0]
    )


def test_moving_average_ranges_are_of_all_workers_values(results):
    alone, first, second, _ = results
    assert first["threshold"] == second["threshold"] == 1.5  # alone they would have 1.75 and 1.25
    # Of a layer in training, whose workers see equally large values: what one worker with all of them has.
    places = sorted(name for name in alone if name.startswith("range/"))
    assert places == [f"range/quantize_{name}.quantizer.threshold" for name in ("inner", "input")]
    for place in places:
        np.testing.assert_array_equal(first[place], second[place])
        np.testing.assert_allclose(first[place], alone[place], rtol=1e-6)
    largest = [np.abs(two_workers.tokens_of(step)).max().astype(float) for step in range(3)]
    expected = largest[0]
    for value in largest[1:]:
        expected = two_workers.DECAY * expected + (1 - two_workers.DECAY) * value
    np.testing.assert_allclose(first[places[1]], [expected], rtol=1e-6)


def test_workers_draw_dropout_masks_of_their_own(results):
    alone, first, second, _ = results
    seeds = [result["dropout_seeds"].tolist() for result in (alone, first, second)]
    assert seeds[0] == seeds[1] != seeds[2] and [seed[2] for seed in seeds] == [0, 0, 1]


def test_shards_are_disjoint_and_complete(results):
    alone, first, second, _ = results
    shards = [json.loads(str(result["rows"])) for result in (first, second)]
    assert all(not set(one) & set(other) for one, other in zip(*shards))
    together = [sorted(one + other) for one, other in zip(*shards)]
    assert together == [sorted(rows) for rows in json.loads(str(alone["rows"]))]
    assert sorted(sum(sum(shards, []), [])) == list(range(two_workers.ROWS))


def test_only_the_first_worker_writes_the_student(results):
    pair = results[3]
    assert sorted(os.listdir(pair / "student")) == ["config.json", "eval_model.ckpt", "vocab.txt"]
    assert sorted(os.listdir(pair / "run")) == ["config.yaml", "metrics.jsonl"]


def test_a_killed_worker_ends_the_job_which_then_resumes(tmp_path):
    make_inputs(tmp_path)
    job = launch(tmp_path)
    wait_for_state(job, tmp_path / "out")
    killed = time.monotonic()
    os.kill(process(tmp_path, *LOSSES["worker"]), signal.SIGKILL)
    out, err = job.communicate(timeout=60)
    assert time.monotonic() - killed < 30 and job.returncode == 128 + 9, out + err
    assert "error: rank 1 was killed by SIGKILL" in err and "worker_1.log" in err and "done:" not in out
    job = launch(tmp_path, "--resume", "true")
    out, err = job.communicate(timeout=200)
    assert job.returncode == 0, out + err
    assert "resumed after step" in out and "of 100" in out and "step: 100, outputs are" in out
    assert "eval_model.ckpt" in os.listdir(tmp_path / "out" / "gd") and "state.safetensors" not in os.listdir(
        tmp_path / "out"
    )
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == sorted(set(steps)) and steps[0] == 1 and steps[-1] == 100


def test_a_process_that_no_launcher_started_is_refused(monkeypatch):
    for name in ("MS_ROLE", "RANK_TABLE_FILE", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError) as error:
        join_group(GeneralDistillConfig(distribute=True), "CPU")
    refuses(error, "no launcher started this process", "run_distributed_gd_cpu.sh")
    with pytest.raises(UserError) as error:
        join_group(GeneralDistillConfig(device_num=4), "CPU")
    refuses(error, "device_num is 4 but distribute is false")
    assert join_group(GeneralDistillConfig(), "CPU") == Group(0, 1)
