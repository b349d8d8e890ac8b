"""Devices, types and what a device cannot do: the choices, without the devices."""

from dataclasses import replace

import mindspore as ms
import pytest

from src import runtime
from src.errors import UserError
from src.settings.shared import DeviceConfig
from src.settings.training import GeneralDistillConfig
from src.train.session import TrainingRun
from tests.helpers import refuses


@pytest.fixture
def chosen(monkeypatch):
    """What MindSpore is told, as a list of (name, arguments); nothing is really set."""
    calls = []
    for name in ("set_device", "set_context"):
        monkeypatch.setattr(ms, name, lambda *given, name=name, **named: calls.append((name, given, named)))
    return calls


def machine_with(monkeypatch, *targets):
    monkeypatch.setattr(ms.hal, "is_available", lambda target: target in targets)


@pytest.mark.parametrize("targets, auto", [(("Ascend", "GPU"), "Ascend"), (("GPU",), "GPU"), ((), "CPU")])
def test_auto_is_the_first_device_that_can_be_used(monkeypatch, targets, auto):
    machine_with(monkeypatch, *targets)
    assert runtime.choose_device("auto") == auto
    for name in ("Ascend", "GPU", "CPU"):
        if name in (*targets, "CPU"):
            assert runtime.choose_device(name) == name
        else:
            with pytest.raises(UserError) as error:
                runtime.choose_device(name)
            refuses(error, f"device_target: this machine has no {name}", f"use --device_target {auto}")


@pytest.mark.parametrize(
    "device, expected", [("Ascend", ms.float16), ("GPU", ms.float16), ("CPU", ms.float32)]
)
def test_auto_computes_in_float16_on_accelerators_only(device, expected):
    assert runtime.compute_type("auto", device) == expected
    assert (
        runtime.compute_type("float32", device) == ms.float32
        and runtime.compute_type("float16", device) == ms.float16
    )


def test_the_device_and_its_number_reach_mindspore(monkeypatch, chosen):
    machine_with(monkeypatch, "Ascend")
    monkeypatch.setenv("DEVICE_ID", "5")
    assert runtime.set_up(DeviceConfig(device_id=3, enable_graph_kernel=True), 1) == "Ascend"
    assert chosen == [
        ("set_device", ("Ascend", 3), {}),
        ("set_context", (), {"mode": ms.GRAPH_MODE}),
        ("set_context", (), {"enable_graph_kernel": True}),
    ]
    chosen.clear()
    runtime.set_up(
        GeneralDistillConfig(distribute=True, device_id=3), 1
    )  # the launcher's number wins in a group
    assert chosen[0] == ("set_device", ("Ascend", 5), {})


def test_what_cpu_cannot_do_is_a_notice(chosen, capsys):
    assert (
        runtime.set_up(DeviceConfig(device_target="CPU", device_id=1, enable_graph_kernel=True), 1) == "CPU"
    )
    assert [name for name, *_ in chosen] == ["set_device", "set_context"] and chosen[0][1] == ("CPU", 0)
    out = capsys.readouterr().out
    assert (
        "device_id: CPU has only 0, 1 is ignored" in out
        and "enable_graph_kernel: not available on CPU, ignored" in out
    )


@pytest.mark.parametrize("steps, expected", [(100, 60), (25, 25), (-1, 60)])
def test_the_data_sink_takes_batches_of_one_shape(monkeypatch, tmp_path, capsys, steps, expected):
    settings = GeneralDistillConfig(
        enable_data_sink=True, data_sink_steps=steps, save_ckpt_step=1000, output_dir=str(tmp_path / "run")
    )
    batches = type("Batches", (), {"__len__": lambda self: 60})()
    monkeypatch.setattr(runtime, "set_up", lambda *_: "Ascend")
    run = TrainingRun.begin(settings, "gd")
    assert run.settings == replace(settings, enable_buckets=False) and run.sink_steps(batches) == expected
    out = capsys.readouterr().out
    assert (
        "enable_buckets: the data sink needs batches of one shape" in out and "enable_buckets: false" in out
    )
    monkeypatch.setattr(runtime, "set_up", lambda *_: "CPU")
    run = TrainingRun.begin(settings, "gd")
    assert run.settings == settings and run.sink_steps(batches) == 0
    assert "enable_data_sink: not available on CPU, ignored" in capsys.readouterr().out
