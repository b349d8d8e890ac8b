"""Starts the processes of a distributed training job and ends them all when one of them fails; standard
library only.

    python distributed.py PYTHON ascend DEVICE_NUM EPOCH_SIZE HCCL_JSON [CONFIG] [--key value ...]
    python distributed.py PYTHON gpu|cpu DEVICE_NUM EPOCH_SIZE DATA_DIR SCHEMA TEACHER [CONFIG] [--key value
    ...]

The run_distributed_gd_*.sh beside it are how to call it; PYTHON is what the workers run with. First the whole
job becomes a list of `Command`s, checked; then they are printed (DRY_RUN=1) or run by a `Job`. On Ascend
every rank is a command of its own; on GPU and CPU the one command is MindSpore's msrun, which starts the
ranks and a scheduler, through which the ranks find each other.

Environment: ENTRY, the script to start (see `ENTRIES`); SERVER_ID, this machine's server_id in a rank table
of several; MASTER_PORT, the scheduler's port (default: any free one); CHECK_ONLY=1, check and start nothing.
"""

import ctypes
import glob
import ipaddress
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Dict, Sequence, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOG_FOLDER = "ms_log"
TARGETS = {"ascend": "Ascend", "gpu": "GPU", "cpu": "CPU"}
_PATH = os.environ.get("PATH", os.defpath)
POLL_SECONDS = 0.1
TERM_SECONDS = (
    30  # between asking a process to end, which on ModelArts copies its results first, and killing it
)
SCHEDULER_SECONDS = 5  # the ranks' own failure, which says more, may come after the scheduler's


class LaunchError(Exception):
    """Something the user gave us is wrong; told in one line, exit status 2."""


@dataclass(frozen=True)
class Entry:
    """How the launchers' arguments reach an entry script.

    Args:
        epochs (str): its flag for EPOCH_SIZE. data, teacher (tuple): its flags for DATA_DIR and TEACHER.
        config (str): settings file in the repository when the user names none; empty: one must be named.
    """

    epochs: str
    data: Tuple[str, ...]
    teacher: Tuple[str, ...]
    config: str = ""


ENTRIES = {
    "run_general_distill.py": Entry(
        "--epoch_size", ("--data_dir",), ("--load_teacher_ckpt_path",), "gd_config.yaml"
    ),
    "run_task_distill.py": Entry(
        "--td_phase2_epoch_size", ("--train_data_dir", "--eval_data_dir"), ("--load_teacher_ckpt_path",)
    ),
    "train.py": Entry(
        "--epoch_size", ("--data_dir",), ("--teacher_model_dir", "--student_model_dir"), "ternary_config.yaml"
    ),
}


@dataclass(frozen=True)
class Command:
    """A process to start.

    Args:
        name (str): what messages call it. arguments (sequence): program and arguments. environment (dict):
            variables to add.
        log (str): file for its output. environment_log (str): file for its whole environment; empty: none.
    """

    name: str
    arguments: Sequence[str]
    environment: Dict[str, str]
    log: str
    environment_log: str = ""

    def __str__(self):
        """The line for a shell that does the same, once the log's folder is there."""
        variables = []
        for key, value in self.environment.items():
            added = value.removesuffix(_PATH) if key == "PATH" else value
            variables.append(f"{key}={shlex.quote(added)}" + ("" if added == value else '"$PATH"'))
        return " ".join([*variables, shlex.join(self.arguments), f">{shlex.quote(self.log)}", "2>&1"])


# ---------------------------------------------------------------------------------------------------------- w


def positive(name, text):
    """`text` as an integer of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise LaunchError(f"{name} must be a positive whole number, not '{text}'")
    return int(text)


def entry_script():
    """(name, Entry) of the script that ENTRY asks for."""
    name = os.environ.get("ENTRY") or "run_general_distill.py"
    if name not in ENTRIES:
        raise LaunchError(
            f"ENTRY={name} cannot be started on several devices; it must be one of {', '.join(ENTRIES)}"
        )
    return name, ENTRIES[name]


def settings_file(name, entry, arguments):
    """(settings file or "" where a further flag names it, further flags) of what follows the required
    arguments.
    """
    config, flags = "", list(arguments)
    if flags and not flags[0].startswith("--"):
        config = flags.pop(0)
        if not config:
            raise LaunchError("CONFIG is empty; name a YAML file or leave it out")
    if flags and not flags[0].startswith("--"):
        raise LaunchError(
            f"'{flags[0]}' follows the last argument, CONFIG; what else is passed on must be --key value"
        )
    if any(flag.split("=")[0] == "--config_path" for flag in flags):
        if config:
            raise LaunchError(
                f"the settings file is given twice, as CONFIG ({config}) and with --config_path"
            )
    elif not config:
        if not entry.config:
            raise LaunchError(
                f"ENTRY={name} needs a CONFIG as the last argument, for example td_config/td_config_sst2.yaml"
            )
        config = os.path.join(ROOT, entry.config)
    return config, flags


def must_exist(paths):
    """Fail with the first of the {name: path} that does not exist; here once, instead of by every process of
    the job.
    """
    for name, path in paths.items():
        if path and not os.path.exists(path):
            raise LaunchError(f"{name}: {path} does not exist")


# ---------------------------------------------------------------------------------------------------------- A


@dataclass(frozen=True)
class Device:
    """One device of the rank table: its number in its server and the rank of its process."""

    device_id: int
    rank: int


def number_of(device, key, where):
    """The non-negative integer under `key`; rank tables write it as text."""
    value = device.get(key)
    if isinstance(value, bool) or not (
        isinstance(value, int) or isinstance(value, str) and value.isascii() and value.isdigit()
    ):
        raise LaunchError(f"{where}: {key} must be a number from 0, not {json.dumps(value)}")
    if int(value) < 0:
        raise LaunchError(f"{where}: {key} must be a number from 0, not {value}")
    return int(value)


def read_rank_table(path):
    """{server_id: its device entries} of a rank table; what is in the entries is not checked yet."""
    try:
        with open(path, encoding="utf-8") as file:
            table = json.load(file)
    except OSError as error:
        raise LaunchError(f"rank table {path}: {error.strerror}")
    except (ValueError, RecursionError) as error:
        raise LaunchError(f"rank table {path} is not JSON: {error}")
    where = f"rank table {path}"
    if not isinstance(table, dict):
        raise LaunchError(f"{where} must hold a JSON object, as hccl_tools.py writes it")
    if table.get("status", "completed") != "completed":
        raise LaunchError(
            f'{where}: status is {json.dumps(table["status"])}, not "completed"; it is not finished'
        )
    if table.get("version", "1.0") not in ("1.0", "1.2"):
        raise LaunchError(
            f"{where}: version {json.dumps(table['version'])} is not known, only 1.0 and 1.2 are"
        )
    servers = table.get("server_list")
    if (
        not isinstance(servers, list)
        or not servers
        or not all(isinstance(server, dict) for server in servers)
    ):
        raise LaunchError(
            f"{where} has no server_list; make it anew with hccl_tools.py (the older format is not read)"
        )
    if "server_count" in table and str(table["server_count"]) != str(len(servers)):
        raise LaunchError(
            f"{where}: server_count is {table['server_count']}, but server_list has {len(servers)}"
        )
    found = {}
    for index, server in enumerate(servers):
        name, devices = server.get("server_id"), server.get("device")
        if not isinstance(name, str) or not name:
            raise LaunchError(f"{where}: server {index} of server_list has no server_id")
        if name in found:
            raise LaunchError(f"{where}: server_id {name} is there twice")
        if (
            not isinstance(devices, list)
            or not devices
            or not all(isinstance(device, dict) for device in devices)
        ):
            raise LaunchError(f"{where}: server {name} has no list of devices under device")
        found[name] = devices
    return found


def check_devices(path, servers):
    """{server_id: list of Device in the order of their ranks}, after a look at every address, number and
    rank.
    """
    addresses, ranks, checked = {}, {}, {}
    for server, entries in servers.items():
        numbers = set()
        for entry in entries:
            where = f"rank table {path}: server {server}"
            device = Device(number_of(entry, "device_id", where), number_of(entry, "rank_id", where))
            where = f"{where}, device {device.device_id}"
            if device.device_id in numbers:
                raise LaunchError(f"{where}: this device_id is there twice")
            numbers.add(device.device_id)
            try:
                address = ipaddress.ip_address(
                    entry.get("device_ip") if isinstance(entry.get("device_ip"), str) else ""
                )
            except ValueError:
                raise LaunchError(
                    f"{where}: device_ip must be an IPv4 or IPv6 address, not "
                    f"{json.dumps(entry.get('device_ip'))}"
                )
            if address in addresses:
                raise LaunchError(f"{where}: device_ip {address} is also that of {addresses[address]}")
            addresses[address] = f"server {server}, device {device.device_id}"
            if device.rank in ranks:
                raise LaunchError(f"{where}: rank_id {device.rank} is also that of {ranks[device.rank]}")
            ranks[device.rank] = addresses[address]
            checked.setdefault(server, []).append(device)
    missing = sorted(set(range(len(ranks))) - set(ranks))
    if missing:
        raise LaunchError(
            f"rank table {path}: {len(ranks)} devices need the ranks 0 to {len(ranks) - 1}, but "
            f"{missing[0]} is missing"
        )
    return {server: sorted(devices, key=lambda device: device.rank) for server, devices in checked.items()}


def is_address_of_this_machine(name):
    """Whether a socket can be bound to the address `name`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(name, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except (OSError, UnicodeError):
        return False
    return True


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
            f"set SERVER_ID to this machine's server_id"
        )
    return ours[0]


def core_list(cores):
    """Core numbers as taskset reads them: 0-3,8."""
    parts = []
    for core in sorted(cores):
        if parts and core == parts[-1][1] + 1:
            parts[-1][1] = core
        else:
            parts.append([core, core])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def bind_prefixes(count):
    """Command prefixes that bind each of `count` processes to its share of the cores this launcher may
    use.
    """
    if not shutil.which("taskset"):
        print(
            "warning: there is no taskset (util-linux) here, so the processes are not bound to cores",
            file=sys.stderr,
        )
        return [[]] * count
    cores = sorted(os.sched_getaffinity(0))
    shares = [
        cores[index * len(cores) // count : (index + 1) * len(cores) // count] or [cores[index % len(cores)]]
        for index in range(count)
    ]
    return [["taskset", "-c", core_list(share)] for share in shares]


def ascend_commands(python, arguments):
    """(commands, paths that must exist) of a job on Ascend devices."""
    device_num, epochs, path = (
        positive("DEVICE_NUM", arguments[0]),
        positive("EPOCH_SIZE", arguments[1]),
        arguments[2],
    )
    name, entry = entry_script()
    config, flags = settings_file(name, entry, arguments[3:])
    servers = check_devices(path, read_rank_table(path))
    server = this_server(path, servers)
    total, local = sum(map(len, servers.values())), servers[server]
    if device_num not in (total, len(local)):
        raise LaunchError(
            f"DEVICE_NUM is {device_num}, but rank table {path} has {total} device(s)"
            + (f", {len(local)} of them on {server}" if len(servers) > 1 else "")
        )
    script = [
        python,
        "-u",
        os.path.join(ROOT, name),
        *(["--config_path", config] if config else []),
        "--distribute",
        "true",
        "--device_num",
        str(total),
        "--device_target",
        "Ascend",
        entry.epochs,
        str(epochs),
        *flags,
    ]
    commands = []
    for device, prefix in zip(local, bind_prefixes(len(local))):
        environment = {
            "RANK_TABLE_FILE": os.path.abspath(path),
            "RANK_SIZE": str(total),
            "RANK_ID": str(device.rank),
            "DEVICE_ID": str(device.device_id),
        }
        folder = f"rank_{device.rank}"
        commands.append(
            Command(
                f"rank {device.rank}",
                [*prefix, *script],
                environment,
                os.path.join(folder, "log.txt"),
                os.path.join(folder, "env.log"),
            )
        )
    return commands, {"CONFIG": config}


# ---------------------------------------------------------------------------------------------------------- G


def worker_python(python):
    """(folder, name) of the Python: msrun starts workers with the command `python` or `python3`, found on
    PATH, whatever it runs with.
    """
    found = shutil.which(python) or python
    folder = os.path.dirname(os.path.abspath(found))
    for name in (os.path.basename(found), "python", "python3"):
        candidate = os.path.join(folder, name)
        if name in ("python", "python3") and (
            candidate == found or os.path.exists(candidate) and os.path.samefile(candidate, found)
        ):
            return folder, name
    raise LaunchError(
        f"msrun starts its workers as python or python3, but {folder} has neither name for {found}; set "
        "PYTHON to such a one"
    )


def is_free(port):
    """Whether a server can be started on a TCP port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def scheduler_port():
    """MASTER_PORT, or a free one."""
    text = os.environ.get("MASTER_PORT")
    if not text:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]
    port = positive("MASTER_PORT", text)
    if not 1024 <= port <= 65535:
        raise LaunchError(f"MASTER_PORT must be from 1024 to 65535, not {port}")
    if os.environ.get("DRY_RUN") != "1" and not is_free(port):
        raise LaunchError(f"MASTER_PORT {port} is in use; choose another, or leave it unset for a free one")
    return port


def msrun_commands(python, target, arguments):
    """(commands, paths that must exist) of a job on the GPUs or the CPU of this machine."""
    device_num, epochs = positive("DEVICE_NUM", arguments[0]), positive("EPOCH_SIZE", arguments[1])
    data, schema, teacher = arguments[2:5]
    for key, value in (("DATA_DIR", data), ("TEACHER", teacher)):
        if not value or value.startswith("--"):
            raise LaunchError(
                f"{key} must be a path, not '{value}'; the order is DEVICE_NUM EPOCH_SIZE DATA_DIR SCHEMA "
                "TEACHER [CONFIG]"
            )
    schema = "" if schema == "none" else schema
    name, entry = entry_script()
    config, flags = settings_file(name, entry, arguments[5:])
    script = [
        os.path.join(ROOT, name),
        *(["--config_path", config] if config else []),
        "--distribute",
        "true",
        "--device_num",
        str(device_num),
        "--device_target",
        target,
        entry.epochs,
        str(epochs),
    ]
    for flag in entry.data:
        script += [flag, data]
    script += ["--schema_dir", schema] if schema else []
    for flag in entry.teacher:
        script += [flag, teacher]
    folder, worker = worker_python(python)
    msrun = os.path.join(folder, "msrun")
    # Without --join msrun ends when it has started the processes, which are then ours to wait for: joining,
    # it would wait half a minute for its scheduler after a worker's death and, if it is ended itself, leave
    # all of them behind.
    command = [
        *([msrun] if os.path.exists(msrun) else [python, "-m", "mindspore.parallel.cluster.run"]),
        f"--worker_num={device_num}",
        f"--local_worker_num={device_num}",
        "--master_addr=127.0.0.1",
        f"--master_port={scheduler_port()}",
        f"--log_dir={os.path.abspath(LOG_FOLDER)}",
        "--join=False",
        worker,
        "-u",
        *script,
        *flags,
    ]
    environment = {"PATH": folder + os.pathsep + _PATH}
    return (
        [Command("msrun", command, environment, os.path.join(LOG_FOLDER, "msrun.log"))],
        {"DATA_DIR": data, "SCHEMA": schema, "TEACHER": teacher, "CONFIG": config},
    )


# ---------------------------------------------------------------------------------------------------------- r


class Follower:
    """Shows on standard output what a log file gets."""

    def __init__(self, path):
        self._path, self._file, self._shown = path, None, True

    def show(self):
        """Print what has come since the last call. A reader of our output that has gone (`| head`) does not
        end the job.
        """
        try:
            if self._file is None and self._shown and os.path.exists(self._path):
                self._file = open(self._path, "rb")
            while self._shown and self._file and (data := self._file.read(65536)):
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
        except OSError:
            self._shown = False
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # or Python fails as it flushes at its end


def stat_fields(pid):
    """(state, parent's id) of a process; None if it has gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1])


def descendants():
    """{id: parent's id} of every living process that this one started, directly or not."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_fields(name)
            if fields and fields[0] not in "ZX":
                parents[int(name)] = fields[1]
    ours, size = {os.getpid()}, 0
    while len(ours) > size:
        size = len(ours)
        ours.update(pid for pid, parent in parents.items() if parent in ours)
    return {pid: parents[pid] for pid in ours if pid != os.getpid()}


def msrun_role(pid):
    """What a process that msrun started is: "scheduler", "rank N", or None if neither or not yet known."""
    try:
        with open(f"/proc/{pid}/environ", encoding="utf-8", errors="replace") as file:
            environment = dict(item.partition("=")[::2] for item in file.read().split("\0"))
    except OSError:
        return None
    role = environment.get("MS_ROLE")
    return (
        "scheduler"
        if role == "MS_SCHED"
        else f"rank {environment.get('MS_NODE_ID')}"
        if role == "MS_WORKER"
        else None
    )


def adopt_orphans():
    """Make Linux hand us the processes whose parent has ended: the workers when msrun has, and what a killed
    worker leaves behind.
    """
    child_subreaper = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
    if ctypes.CDLL(None, use_errno=True).prctl(child_subreaper, 1, 0, 0, 0):
        raise LaunchError(f"cannot supervise processes here: prctl: {os.strerror(ctypes.get_errno())}")


def how_it_ended(status):
    """Words for a status as `os.waitstatus_to_exitcode` gives it."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name} (signal {-status})"
    except ValueError:
        return f"was killed by signal {-status}"


@dataclass
class Job:
    """The processes of one job.

    Args:
        commands (list): what to start. logs (dict): the log file of every rank, and with msrun of the
            scheduler, by its name.
    """

    commands: list
    logs: dict
    names: dict = field(default_factory=dict)  # id -> name
    ended: dict = field(default_factory=dict)  # name -> status
    stopped_by: int = 0  # a signal
    scheduler_ended: float = 0.0  # when it failed
    searching: bool = True  # msrun may still start processes

    def start(self):
        """Start every command."""
        for command in self.commands:
            with open(command.log, "wb") as log:
                process = subprocess.Popen(
                    command.arguments,
                    env={**os.environ, **command.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            process.returncode = 0  # waited for here, not by subprocess
            self.names[process.pid] = command.name

    @property
    def ranks(self):
        """Names of the ranks."""
        return [name for name in self.logs if name.startswith("rank ")]

    def find_workers(self):
        """Learn which process is which of those that msrun starts."""
        if not self.searching or self.commands[0].name != "msrun":
            return
        self.searching = "msrun" not in self.ended  # when it has ended, whoever is alive is found below
        starters = {os.getpid(), *(pid for pid, name in self.names.items() if name == "msrun")}
        for pid, parent in descendants().items():
            if pid not in self.names and parent in starters:
                role = msrun_role(pid)
                if role in self.logs and role not in self.names.values():
                    self.names[pid] = role

    def reap(self):
        """Note who has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self.names:
                self.ended[self.names[pid]] = os.waitstatus_to_exitcode(status)

    def failure(self):
        """(what to say, exit status) once something has failed, else None."""
        # A process that was killed tells more than those that then failed to reach it.
        for rank in sorted(self.ranks, key=lambda rank: (self.ended.get(rank, 0) >= 0, int(rank.split()[1]))):
            if self.ended.get(rank):
                return self.describe(rank, how_it_ended(self.ended[rank])), self.ended[rank]
        if self.ended.get("msrun"):
            return (
                f"msrun {how_it_ended(self.ended['msrun'])}; its output is in {self.commands[0].log}",
                self.ended["msrun"],
            )
        if "msrun" in self.ended and not self.searching:
            for rank in self.ranks:
                if rank not in self.names.values():
                    return self.describe(rank, "ended as soon as it was started"), 1
        if self.ended.get("scheduler"):
            self.scheduler_ended = self.scheduler_ended or time.monotonic()
            if time.monotonic() > self.scheduler_ended + SCHEDULER_SECONDS:
                return self.describe("scheduler", how_it_ended(self.ended["scheduler"])), self.ended[
                    "scheduler"
                ]
        return None

    def describe(self, name, how):
        """The line about a failed process: which, how, its log, and its own error line if one is near the
        log's end.
        """
        path = os.path.abspath(self.logs[name])
        try:
            with open(path, "rb") as file:
                file.seek(max(0, os.path.getsize(path) - 4096))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        errors = [
            line for line in lines if line.startswith("error:")
        ]  # MindSpore may have the last word with lines of its own
        said = f", which says '{errors[-1]}'" if errors else ""
        return f"{name} {how}, so the job has been ended; its log is {path}{said}"

    def run(self):
        """Start the job and wait for it; returns the exit status."""
        follower = Follower(self.logs.get("rank 0") or next(iter(self.logs.values())))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self.stop)
        adopt_orphans()
        try:
            self.start()
            failure = None
            while not (self.stopped_by or failure or all(self.ended.get(rank) == 0 for rank in self.ranks)):
                time.sleep(POLL_SECONDS)
                self.find_workers()
                self.reap()
                follower.show()
                failure = self.failure()
        finally:
            self.end_all(follower)
        if self.stopped_by:
            print(
                f"error: stopped by {signal.Signals(self.stopped_by).name}; all processes of the job have "
                "been ended",
                file=sys.stderr,
            )
            return 128 + self.stopped_by
        if failure:
            print(f"error: {failure[0]}", file=sys.stderr)
            return failure[1] if failure[1] > 0 else 128 - failure[1]
        return 0

    def stop(self, number, _):
        """Signal handler."""
        self.stopped_by = number

    def end_all(self, follower):
        """End whatever the job has left running: a request first, force after TERM_SECONDS. The scheduler is
        among it.
        """
        started, asked = time.monotonic(), set()
        while left := set(descendants()):
            force = time.monotonic() > started + TERM_SECONDS
            for pid in left if force else left - asked:
                try:
                    os.kill(pid, signal.SIGKILL if force else signal.SIGTERM)
                except ProcessLookupError:
                    pass
            asked |= left
            if time.monotonic() > started + 2 * TERM_SECONDS:
                print(
                    f"warning: process(es) {sorted(left)} cannot be killed and are left behind",
                    file=sys.stderr,
                )
                break
            time.sleep(POLL_SECONDS)
            self.reap()
        self.reap()
        follower.show()


def prepare(commands, device_num):
    """Make the log folders, without an earlier job's logs; returns the {name: log file} of the processes that
    are to run.
    """
    for command in commands:
        os.makedirs(os.path.dirname(command.log), exist_ok=True)
        if command.environment_log:
            # It may hold passwords of the user's shell.
            with open(
                os.open(command.environment_log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                "w",
                encoding="utf-8",
                errors="surrogateescape",
            ) as file:
                file.writelines(
                    f"{key}={value}\n" for key, value in {**os.environ, **command.environment}.items()
                )
    if commands[0].name != "msrun":
        return {command.name: command.log for command in commands}
    for path in [
        *glob.glob(os.path.join(LOG_FOLDER, "worker_*.log")),
        *glob.glob(os.path.join(LOG_FOLDER, "scheduler.log")),
    ]:
        os.remove(path)
    return {
        **{f"rank {rank}": os.path.join(LOG_FOLDER, f"worker_{rank}.log") for rank in range(device_num)},
        "scheduler": os.path.join(LOG_FOLDER, "scheduler.log"),
    }


def main(python, launcher, *arguments):
    """Print or run the job; returns the exit status."""
    target = TARGETS[launcher]
    commands, paths = (
        ascend_commands(python, arguments)
        if target == "Ascend"
        else msrun_commands(python, target, arguments)
    )
    if os.environ.get("DRY_RUN") == "1":
        print(*commands, sep="\n")
        return 0
    must_exist(paths)
    if os.environ.get("CHECK_ONLY") == "1":
        return 0
    logs = prepare(commands, int(arguments[0]))
    shown = os.path.abspath(next(iter(logs.values())))
    print(
        f"starting {len([name for name in logs if name.startswith('rank ')])} process(es); what follows "
        f"is {shown}",
        flush=True,
    )
    return Job(commands, logs).run()


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except LaunchError as error:
        message = " ".join(str(error).split())
    except OSError as error:
        message = f"{error.filename or 'cannot start the job'}: {error.strerror}"
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
