"""Devices, types and what a device cannot do: the choices, without the devices."""

import mindspore as ms
import pytest

from src import runtime
from src.errors import UserError
from src.settings.shared import DeviceConfig
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
    assert runtime.set_up(DeviceConfig(device_id=3, enable_graph_kernel=True), 1) == "Ascend"  # auto: not
    assert chosen == [
        ("set_device", ("Ascend", 3), {}),
        ("set_context", (), {"mode": ms.GRAPH_MODE}),
        ("set_context", (), {"enable_graph_kernel": True}),
    ]
    chosen.clear()
    runtime.set_up(DeviceConfig(device_id=3), 1, distribute=True)  # the launcher's number wins in a group
    assert chosen[0] == ("set_device", ("Ascend", 5), {})


def test_what_cpu_cannot_do_is_a_notice(chosen, capsys):
    config = DeviceConfig("CPU", device_id=1, enable_graph_kernel=False, compile_cache="off")
    assert runtime.set_up(config, 1) == "CPU"
    assert [name for name, *_ in chosen] == ["set_device", "set_context"] and chosen[0][1] == ("CPU", 0)
    assert "device_id: CPU has only 0, 1 is ignored" in capsys.readouterr().out


@pytest.mark.parametrize(
    "numbers, same", [((7, 7, 7), True), ((0, 1, 2), False), ((1, 0, 2), False), ((3, 3, 0), False)]
)
def test_a_number_is_the_same_everywhere_or_it_is_not(monkeypatch, numbers, same):
    """Three processes that train together, their sum by NumPy. 0, 1, 2 have the sum of three times 1."""

    def answer(rank, given):
        """What a process hears: AllReduce adds what all of them give."""
        monkeypatch.setattr(
            ms.ops, "AllReduce", lambda: lambda mine: given.append(mine.asnumpy()) or ms.Tensor(sum(given))
        )
        return runtime.same_everywhere(numbers[rank], runtime.Group(rank, len(numbers)))

    for listener in range(len(numbers)):
        given = []
        for rank in range(len(numbers)):
            if rank != listener:
                answer(rank, given)
        assert answer(listener, given) is same


def test_a_process_alone_asks_nobody(monkeypatch):
    monkeypatch.setattr(ms.ops, "AllReduce", lambda: pytest.fail("there is no group"))
    assert runtime.same_everywhere(5, runtime.ALONE)
