"""The HCCL rank table: which devices of which servers take part in a job on Ascend, and with which ranks.

It is the JSON file that hccl_tools.py writes. MindSpore reads it in every process; a fault found here, once,
is one line instead of a stack trace a rank.
"""

import ipaddress
import json
import os
import re
import socket
from dataclasses import dataclass

from . import LaunchError


@dataclass(frozen=True)
class Device:
    """One device of the rank table: its number in its server and the rank of its process."""

    device_id: int
    rank: int


MOST_BYTES, QUOTED = 64 << 20, 200


def quoted(value):
    """What a table says, for a message: cut where it is long."""
    try:
        text = json.dumps(value)
    except RecursionError:
        return "lists in lists"
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


def read_rank_table(path):
    """{server_id: list of Device in the order of their ranks}, every entry checked."""
    where = f"rank table {path}"
    table = load(path, where)
    check_header(table, where)
    return checked_devices(device_entries(table, where), where)


def load(path, where):
    """The JSON object in the file."""
    try:
        with open(path, encoding="utf-8") as file:
            table = json.loads(file.read(MOST_BYTES))
    except OSError as error:
        raise LaunchError(f"{where}: {error.strerror}")
    except (ValueError, RecursionError) as error:
        raise LaunchError(f"{where} is not JSON: {error}")
    if not isinstance(table, dict):
        raise LaunchError(f"{where} must hold a JSON object, as hccl_tools.py writes it")
    return table


def check_header(table, where):
    """Fail if the table is unfinished, of an unknown version, or not whole."""
    status, version = table.get("status", "completed"), table.get("version", "1.0")
    if status != "completed":
        raise LaunchError(f'{where}: status is {quoted(status)}, not "completed"; it is not finished')
    if version not in ("1.0", "1.2"):
        raise LaunchError(f"{where}: version {quoted(version)} is not known, only 1.0 and 1.2 are")
    servers = table.get("server_list")
    if not is_list_of_objects(servers):
        raise LaunchError(
            f"{where} has no server_list; make it anew with hccl_tools.py (the older format is not read)"
        )
    count = table.get("server_count", len(servers))
    if count not in (len(servers), str(len(servers))):
        said = quoted(count).strip('"')
        raise LaunchError(f"{where}: server_count is {said}, but server_list has {len(servers)}")


def is_list_of_objects(value):
    """Whether a JSON value is a list of objects, at least one."""
    return isinstance(value, list) and value != [] and all(isinstance(item, dict) for item in value)


def device_entries(table, where):
    """{server_id: its entries under device}; what is in the entries is not checked yet."""
    found = {}
    for index, server in enumerate(table["server_list"]):
        name, entries = server.get("server_id"), server.get("device")
        if not isinstance(name, str) or not name:
            raise LaunchError(f"{where}: server {index} of server_list has no server_id")
        if name in found:
            raise LaunchError(f"{where}: server_id {name} is there twice")
        if not is_list_of_objects(entries):
            raise LaunchError(f"{where}: server {name} has no list of devices under device")
        found[name] = entries
    return found


def checked_devices(servers, where):
    """{server_id: list of Device in the order of their ranks}; no number, address or rank is there twice."""
    checked, addresses, ranks = {}, {}, {}
    for server, entries in servers.items():
        numbers, devices = set(), []
        for entry in entries:
            place = f"{where}: server {server}"
            device = Device(number_of(entry, "device_id", place), number_of(entry, "rank_id", place))
            owner = f"server {server}, device {device.device_id}"
            if device.device_id in numbers:
                raise LaunchError(f"{where}: {owner}: this device_id is there twice")
            numbers.add(device.device_id)
            address = address_of(entry, f"{where}: {owner}")
            claim(addresses, "device_ip", address, owner, where)
            claim(ranks, "rank_id", device.rank, owner, where)
            devices.append(device)
        checked[server] = sorted(devices, key=lambda device: device.rank)
    missing = sorted(set(range(len(ranks))) - set(ranks))
    if missing:
        raise LaunchError(
            f"{where}: {len(ranks)} devices need the ranks 0 to {len(ranks) - 1}, but {missing[0]} is missing"
        )
    return checked


def number_of(entry, key, where):
    """The number from 0 under `key`; rank tables write it as text, some as a JSON number."""
    value = entry.get(key)
    text = value if isinstance(value, str) else quoted(value)
    if not re.fullmatch("[0-9]{1,9}", text):
        raise LaunchError(f"{where}: {key} must be a number from 0, not {quoted(value)}")
    return int(text)


def address_of(entry, where):
    """The address under device_ip. (`ip_address` would also take an int.)"""
    text = entry.get("device_ip")
    try:
        return ipaddress.ip_address(text if isinstance(text, str) else "")
    except ValueError:
        raise LaunchError(f"{where}: device_ip must be an IPv4 or IPv6 address, not {quoted(text)}") from None


def claim(owners, key, value, owner, where):
    """Note in {value: owner} whose a value is; a second owner is an error."""
    if value in owners:
        raise LaunchError(f"{where}: {owner}: {key} {value} is also that of {owners[value]}")
    owners[value] = owner


def this_server(path, servers):
    """The server_id of this machine: SERVER_ID, the only one, or the one that is an address of it."""
    named = os.environ.get("SERVER_ID")
    if named:
        if named not in servers:
            raise LaunchError(
                f"SERVER_ID={named} is no server of rank table {path}, which has {', '.join(servers)}"
            )
        return named
    if len(servers) == 1:
        return next(iter(servers))
    ours = [server for server in servers if is_address_of_this_machine(server)]
    if len(ours) != 1:
        found = "several are addresses" if ours else "none is an address"
        raise LaunchError(
            f"rank table {path}: of its servers ({', '.join(servers)}) {found} of this machine; "
            "set SERVER_ID to this machine's server_id"
        )
    return ours[0]


def is_address_of_this_machine(name):
    """Whether a socket can be bound to the address `name`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(name, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except (OSError, UnicodeError):
        return False
    return True
