#!/usr/bin/env bash
# General distillation (GD) in several processes on the GPUs of this machine, started by MindSpore's msrun.
set -euo pipefail
# shellcheck source=scripts/launch.sh
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

if [ $# -lt 5 ] || [[ "$1" == -* ]]; then
    cat <<'USAGE'
usage: bash scripts/run_distributed_gd_gpu.sh DEVICE_NUM EPOCH_SIZE DATA_DIR SCHEMA TEACHER [CONFIG] [--key value ...]

  DEVICE_NUM   processes, one a GPU
  EPOCH_SIZE   epochs (of phase 2 with ENTRY=run_task_distill.py)
  DATA_DIR     the corpus's records
  SCHEMA       schema JSON of TFRecord files, the file or its folder; "" or none for MindRecord
  TEACHER      the teacher's checkpoint folder
  CONFIG       YAML file (default: gd_config.yaml); further flags override its keys
               (all of them: python run_general_distill.py --help)

  Before the command: ENTRY=run_task_distill.py (CONFIG needed) or ENTRY=train.py starts task distillation or quantization-aware
  distillation instead; MASTER_PORT=... is the port at which the processes meet (default: any free one); BACKGROUND=1 returns at
  once, with the output in ./log.txt; DRY_RUN=1 only prints what would run.

  The processes' logs are ./ms_log/worker_N.log; that of rank 0 is shown too. The first process that fails ends the job.
USAGE
    [[ "${1:-}" == -h || "${1:-}" == --help ]] && exit 0
    exit 2
fi
launch_distributed gpu "$@"
