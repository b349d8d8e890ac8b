#!/usr/bin/env bash
# General distillation (GD) on several Ascend devices, by a rank table.
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail
# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

if [ $# -lt 3 ] || [[ "$1" == -* ]]; then
    cat <<'USAGE'
usage: bash scripts/run_distributed_gd_ascend.sh DEVICE_NUM EPOCH_SIZE HCCL_JSON [CONFIG] [--key value ...]

  DEVICE_NUM   how many devices the rank table has, in all or on this server
  EPOCH_SIZE   epochs (of phase 2 with ENTRY=run_task_distill.py)
  HCCL_JSON    the rank table, a JSON file that hccl_tools.py writes; with several servers start this on each of them
  CONFIG        YAML file (default: gd_config.yaml); data and teacher come from it or from further flags, which override its keys
                (all of them: python run_general_distill.py --help_all)

  Before the command: ENTRY=run_task_distill.py (CONFIG needed) or ENTRY=train.py starts task distillation or quantization-aware
  distillation instead; SERVER_ID=... says which server of the rank table this is, if its addresses do not; BACKGROUND=1 returns at
  once, with the output in ./log.txt; DRY_RUN=1 only prints what would run.

  Each process has its own share of the cores and its log in ./rank_N/log.txt, also to be found as ./LOGN/log.txt; that of rank 0
  is shown too. The first process that fails ends the job.
USAGE
    [[ "${1:-}" == -h || "${1:-}" == --help ]] && exit 0
    exit 2
fi
launch_distributed ascend "$@"
