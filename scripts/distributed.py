"""Starts the processes of a distributed training job and ends them all when one of them fails; standard
library only.

    python distributed.py PYTHON ascend DEVICE_NUM EPOCH_SIZE HCCL_JSON [CONFIG] [--key value ...]
    python distributed.py PYTHON gpu DEVICE_NUM EPOCH_SIZE DATA_DIR SCHEMA TEACHER [CONFIG] [--key value ...]
    python distributed.py PYTHON cpu (the same)

The run_distributed_gd_*.sh beside it are how to call it; PYTHON is what the processes run with.

Environment: ENTRY, the script to start (see `ENTRIES`); SERVER_ID, this machine's server_id in a rank table
of several; MASTER_PORT, the scheduler's port (default: any free one); DRY_RUN=1, print the commands and start
nothing; CHECK_ONLY=1, check and start nothing.
"""

import os
import sys

from launch import LaunchError
from launch.commands import ascend_commands, cluster_commands
from launch.supervise import Job, prepare


def main(python, launcher, *arguments):
    """Print or run the job; returns the exit status."""
    if launcher == "ascend":
        commands, paths = ascend_commands(python, arguments)
    else:
        commands, paths = cluster_commands(python, launcher.upper(), arguments)
    if os.environ.get("DRY_RUN") == "1":
        print(*commands, sep="\n")
        return 0
    for name, path in paths.items():  # told here once, instead of by every process
        if path and not os.path.exists(path):
            raise LaunchError(f"{name}: {path} does not exist")
    if os.environ.get("CHECK_ONLY") == "1":
        return 0
    prepare(commands)
    logs = [os.path.abspath(command.log) for command in commands if command.is_rank]
    print(f"starting {len(logs)} process(es); what follows is {logs[0]}", flush=True)
    return Job(commands).run()


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # paths may hold what its encoding lacks
    try:
        sys.exit(main(*sys.argv[1:]))
    except LaunchError as error:
        message = " ".join(str(error).split())
    except OSError as error:
        message = f"{error.filename or 'cannot start the job'}: {error.strerror}"
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
