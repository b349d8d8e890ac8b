"""What to start for a distributed job: every process of it as a `Command`, with all arguments checked.

On Ascend the ranks find each other by the rank table. On GPU and CPU they do by one more process, a
scheduler; MindSpore's documentation calls that "dynamic cluster startup". The variables are those that its
msrun sets. (msrun itself leaves its processes behind when it is ended, so it is not used.)
"""

import os
import re
import shlex
import shutil
import socket
import sys
from dataclasses import dataclass
from typing import Dict, Sequence, Tuple

from . import LaunchError
from .rank_table import read_rank_table, this_server

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOG_FOLDER = "ms_log"
SCHEDULER = "scheduler"
MOST_DEVICES = 1024
"""Of one machine."""


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
        name (str): what messages call it, "rank N" or "scheduler". arguments (sequence): program and
            arguments. environment (dict): variables to add.
        log (str): file for its output. environment_log (str): file for its whole environment; empty: none.
    """

    name: str
    arguments: Sequence[str]
    environment: Dict[str, str]
    log: str
    environment_log: str = ""

    @property
    def is_rank(self):
        """Whether it trains; the job has succeeded when every rank has."""
        return self.name != SCHEDULER

    def __str__(self):
        """The line for a shell that does the same, once the log's folder is there."""
        variables = [f"{key}={shlex.quote(value)}" for key, value in self.environment.items()]
        return " ".join([*variables, shlex.join(self.arguments), f">{shlex.quote(self.log)}", "2>&1"])


# --- what both kinds of job need ----------------------------------------------------------------------------


def positive(name, text):
    """`text` as an integer of at least 1."""
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise LaunchError(f"{name} must be a positive whole number, not '{text[:200]}'")
    return int(text)


def devices(text):
    """DEVICE_NUM as an integer: processes that are started here."""
    number = positive("DEVICE_NUM", text)
    if number > MOST_DEVICES:
        raise LaunchError(
            f"DEVICE_NUM is {number:,}: each is a process on this machine, and {MOST_DEVICES:,} are the most"
        )
    return number


def entry_script():
    """(name, Entry) of the script that ENTRY asks for."""
    name = os.environ.get("ENTRY") or "run_general_distill.py"
    if name not in ENTRIES:
        raise LaunchError(
            f"ENTRY={name} cannot be started on several devices; it must be one of {', '.join(ENTRIES)}"
        )
    return name, ENTRIES[name]


def settings_file(name, entry, arguments):
    """(settings file, further flags) of what follows the required arguments. The file is "" where a flag
    names it.
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
        return "", flags
    if not config and not entry.config:
        raise LaunchError(
            f"ENTRY={name} needs a CONFIG as the last argument, for example td_config/td_config_sst2.yaml"
        )
    return config or os.path.join(ROOT, entry.config), flags


def start_of_command(python, name, config, device_num, target):
    """The words of a command up to what is the script's own."""
    settings = ["--config_path", config] if config else []
    group = ["--distribute", "true", "--device_num", str(device_num), "--device_target", target]
    return [python, "-u", os.path.join(ROOT, name), *settings, *group]


# --- Ascend: a rank table -----------------------------------------------------------------------------------


def ascend_commands(python, arguments):
    """(commands, {name: path that must exist}) of a job on Ascend devices."""
    device_num, epochs = positive("DEVICE_NUM", arguments[0]), positive("EPOCH_SIZE", arguments[1])
    path = arguments[2]
    name, entry = entry_script()
    config, flags = settings_file(name, entry, arguments[3:])
    total, local = devices_here(path, device_num)
    script = start_of_command(python, name, config, total, "Ascend")
    script += [entry.epochs, str(epochs), *flags]
    commands = []
    for device, prefix in zip(local, bind_prefixes(len(local))):
        environment = {
            "RANK_TABLE_FILE": os.path.abspath(path),
            "RANK_SIZE": str(total),
            "RANK_ID": str(device.rank),
            "DEVICE_ID": str(device.device_id),
        }
        folder = f"rank_{device.rank}"
        logs = os.path.join(folder, "log.txt"), os.path.join(folder, "env.log")
        commands.append(Command(f"rank {device.rank}", [*prefix, *script], environment, *logs))
    return commands, {"CONFIG": config}


def devices_here(path, device_num):
    """(number of devices of the whole job, this machine's list of Device) of the rank table."""
    servers = read_rank_table(path)
    server = this_server(path, servers)
    total, local = sum(map(len, servers.values())), servers[server]
    if device_num not in (total, len(local)):
        raise LaunchError(
            f"DEVICE_NUM is {device_num}, but rank table {path} has {total} device(s)"
            + (f", {len(local)} of them on {server}" if len(servers) > 1 else "")
        )
    return total, local


def bind_prefixes(count):
    """Prefixes for `count` commands that bind each to its share of the cores this launcher may use."""
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
    return [["taskset", "-c", ",".join(map(str, share))] for share in shares]


# --- GPU and CPU: a scheduler -------------------------------------------------------------------------------


def cluster_commands(python, target, arguments):
    """(commands, {name: path that must exist}) of a job on the GPUs or the CPU of this machine."""
    device_num, epochs = devices(arguments[0]), positive("EPOCH_SIZE", arguments[1])
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
    script = start_of_command(python, name, config, device_num, target)
    script += [entry.epochs, str(epochs)]
    for flag in entry.data:
        script += [flag, data]
    script += ["--schema_dir", schema] if schema else []
    for flag in entry.teacher:
        script += [flag, teacher]
    script += flags
    paths = {"DATA_DIR": data, "SCHEMA": schema, "TEACHER": teacher, "CONFIG": config}
    return with_scheduler(script, device_num), paths


def with_scheduler(script, size):
    """Commands of a scheduler and `size` ranks, which all run the same script."""
    group = {
        "MS_SCHED_HOST": "127.0.0.1",
        "MS_SCHED_PORT": str(scheduler_port()),
        "MS_WORKER_NUM": str(size),
        "RANK_SIZE": str(size),
    }
    environment = {**group, "MS_ROLE": "MS_SCHED", "RANK_ID": "0"}
    commands = [Command(SCHEDULER, script, environment, os.path.join(LOG_FOLDER, "scheduler.log"))]
    for rank in range(size):
        log = os.path.join(LOG_FOLDER, f"worker_{rank}.log")
        numbers = dict.fromkeys(("MS_NODE_ID", "RANK_ID", "DEVICE_ID"), str(rank))
        commands.append(Command(f"rank {rank}", script, {**group, "MS_ROLE": "MS_WORKER", **numbers}, log))
    return commands


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


def is_free(port):
    """Whether a server can be started on a TCP port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do after an earlier one
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
