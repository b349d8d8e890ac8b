"""The rank table's faults, each one line, and which server of it is this machine."""

import copy
import json

import pytest

from scripts.launch import LaunchError
from scripts.launch.commands import devices_here
from tests.launchers import (
    ASCEND,
    ROOT,
    device,
    dry_run,
    rank_table,
    refused,
    run,
    server,
    two_devices,
    write_table,
)


def altered(*path_and_value):
    """A table of two devices with one value replaced (or, where it is `...`, taken out)."""
    table = copy.deepcopy(two_devices())
    *path, last, value = path_and_value
    place = table
    for key in path:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return table


FIRST = ("server_list", 0, "device", 0)
IP_FAULT = "server 10.1.2.3, device 4: device_ip must be an IPv4 or IPv6 address, not"


@pytest.mark.parametrize(
    "table, said",
    [
        ("{", "is not JSON: Expecting property name"),
        ("[" * 100000, "is not JSON: "),
        ("[]", "must hold a JSON object"),
        (altered("status", "initializing"), 'status is "initializing", not "completed"'),
        (altered("version", "0.1"), 'version "0.1" is not known'),
        (altered("server_list", ...), "has no server_list"),
        (altered("server_list", []), "has no server_list"),
        (altered("server_list", ["a"]), "has no server_list"),
        (altered("server_count", "2"), "server_count is 2, but server_list has 1"),
        (altered("server_list", 0, "server_id", ...), "server 0 of server_list has no server_id"),
        (altered("server_list", 0, "server_id", ""), "server 0 of server_list has no server_id"),
        (rank_table(server("a", device(0, 0)), server("a", device(1, 1))), "server_id a is there twice"),
        (altered("server_list", 0, "device", []), "server 10.1.2.3 has no list of devices"),
        (altered("server_list", 0, "device", ...), "server 10.1.2.3 has no list of devices"),
        (altered(*FIRST, "device_id", ...), "device_id must be a number from 0, not null"),
        (altered(*FIRST, "device_id", "-1"), 'device_id must be a number from 0, not "-1"'),
        (altered(*FIRST, "device_id", -1), "device_id must be a number from 0, not -1"),
        (altered(*FIRST, "device_id", "5"), "device 5: this device_id is there twice"),
        (altered(*FIRST, "rank_id", ...), "rank_id must be a number from 0, not null"),
        (altered(*FIRST, "rank_id", True), "rank_id must be a number from 0, not true"),
        (altered(*FIRST, "rank_id", 0.0), "rank_id must be a number from 0, not 0.0"),
        (altered(*FIRST, "rank_id", "1"), "device 5: rank_id 1 is also that of server 10.1.2.3, device 4"),
        (altered(*FIRST, "rank_id", "2"), "2 devices need the ranks 0 to 1, but 0 is missing"),
        (altered(*FIRST, "device_ip", ...), f"{IP_FAULT} null"),
        (altered(*FIRST, "device_ip", ""), f'{IP_FAULT} ""'),
        (altered(*FIRST, "device_ip", 7), f"{IP_FAULT} 7"),
        (altered(*FIRST, "device_ip", "192.168.100.256"), f'{IP_FAULT} "192.168.100.256"'),
        (
            altered(*FIRST, "device_ip", "192.168.100.101"),
            "device 5: device_ip 192.168.100.101 is also that of server 10.1.2.3, device 4",
        ),
        (rank_table(server("a", device(0, 0))), "DEVICE_NUM is 2, but rank table"),
        (rank_table(server("a", *(device(n, n) for n in range(8)))), "has 8 device(s)"),
    ],
)
def test_a_fault_in_the_rank_table_is_named(tmp_path, monkeypatch, table, said):
    monkeypatch.delenv("SERVER_ID", raising=False)
    path = write_table(tmp_path, table)
    with pytest.raises(LaunchError) as error:
        devices_here(str(path), 2)
    assert said in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_fault_is_one_line_before_anything_starts(folder, python):
    path = write_table(folder, altered("status", "initializing"))
    for environment in ({"DRY_RUN": "1"}, {}):
        error = refused(run(ROOT / "scripts" / ASCEND, [2, 1, path], folder, PYTHON=python, **environment))
        assert (
            error
            == f'error: rank table {path}: status is "initializing", not "completed"; it is not finished\n'
        )
    assert list(folder.iterdir()) == [path]


def test_a_rank_table_that_cannot_be_read_is_one_line(folder, python):
    for name, said in (("none.json", "No such file or directory"), (".", "Is a directory")):
        done = run(ROOT / "scripts" / ASCEND, [2, 1, name], folder, PYTHON=python, DRY_RUN="1")
        assert f"rank table {name}: {said}" in refused(done)


def test_numbers_ipv6_and_any_order_of_ranks_are_read(folder, python):
    first = {"device_id": 0, "device_ip": "fe80::1", "rank_id": 1}
    table = rank_table(server("10.1.2.3", first, device(1, 0)))
    del table["status"], table["version"], table["server_count"]
    lines = dry_run(ASCEND, [2, 1, write_table(folder, table)], folder, PYTHON=python)
    found = [(environment["RANK_ID"], environment["DEVICE_ID"]) for environment, _, _ in lines]
    assert found == [("0", "1"), ("1", "0")]


def two_servers(first="240.0.0.1", second="240.0.0.2"):  # addresses that no machine has (class E)
    return rank_table(server(first, device(0, 0), device(1, 1)), server(second, device(0, 2), device(1, 3)))


@pytest.mark.parametrize("device_num", [2, 4])
@pytest.mark.parametrize(
    "table, environment",
    [(two_servers(), {"SERVER_ID": "240.0.0.2"}), (two_servers(second="127.0.0.1"), {})],
    ids=["named", "found"],
)
def test_of_several_servers_only_this_ones_ranks_are_started(folder, python, table, environment, device_num):
    path = write_table(folder, table)
    lines = dry_run(ASCEND, [device_num, 1, path], folder, PYTHON=python, **environment)
    names = ("RANK_ID", "DEVICE_ID", "RANK_SIZE")
    assert [(*(variables[name] for name in names), log) for variables, _, log in lines] == [
        ("2", "0", "4", "rank_2/log.txt"),
        ("3", "1", "4", "rank_3/log.txt"),
    ]
    assert all(command[command.index("--device_num") + 1] == "4" for _, command, _ in lines)


@pytest.mark.parametrize(
    "table, environment, said",
    [
        (two_servers(), {}, "(240.0.0.1, 240.0.0.2) none is an address of this machine; set SERVER_ID"),
        (two_servers("127.0.0.1", "127.0.0.2"), {}, "several are addresses of this machine; set SERVER_ID"),
        (two_servers(), {"SERVER_ID": "x"}, "SERVER_ID=x is no server of rank table"),
        (two_servers(), {"SERVER_ID": "240.0.0.1"}, "has 4 device(s), 2 of them on 240.0.0.1"),
    ],
)
def test_a_server_that_is_not_known_is_one_line(folder, python, table, environment, said):
    path = write_table(folder, json.dumps(table))
    done = run(ROOT / "scripts" / ASCEND, [3, 1, path], folder, PYTHON=python, **environment)
    assert said in refused(done)


@pytest.mark.parametrize(
    "value", ["1" * 5000, "x" * 5000, 10**4000, ["a"] * 3000, None, 1.5], ids=lambda value: repr(value)[:9]
)
@pytest.mark.parametrize(
    "place", [(*FIRST, "device_id"), (*FIRST, "rank_id"), ("server_count",), ("version",)]
)
def test_what_a_table_says_is_quoted_in_part(tmp_path, place, value):
    path = write_table(tmp_path, altered(*place, value))
    with pytest.raises(LaunchError) as error:
        devices_here(str(path), 2)
    assert len(str(error.value)) < 500
