#!/usr/bin/env bash
# Evaluate any model of this project, packed ones included.
set -euo pipefail
# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

if [ $# -lt 3 ] || [[ "$1" == -* ]]; then
    cat <<'USAGE'
usage: bash scripts/run_eval.sh TASK_NAME MODEL_DIR DATA_DIR [--key value ...]

  TASK_NAME   a GLUE task, in any case, for example sts-b
  MODEL_DIR   the model's folder, or one that holds it under the task's lower-case name
  DATA_DIR    the task's records, likewise

  Further flags: python eval.py --help. The output is also in ./log.txt.
USAGE
    [[ "${1:-}" == -h || "${1:-}" == --help ]] && exit 0
    exit 2
fi
arguments=(--task_name "$1" --model_dir "$2" --data_dir "$3")
shift 3
launch eval.py "${arguments[@]}" "$@"
