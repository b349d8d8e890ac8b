#!/usr/bin/env bash
# Evaluate an exported model, ONNX or MINDIR, on a task's records.
set -euo pipefail
# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

if [ $# -lt 3 ] || [[ "$1" == -* ]]; then
    cat <<'USAGE'
usage: bash scripts/run_eval_onnx.sh TASK_NAME MODEL_FILE DATA_DIR [--key value ...]

  TASK_NAME    a GLUE task, in any case, for example sst-2
  MODEL_FILE   the .onnx or .mindir file that export.py wrote
  DATA_DIR     the task's records, or a folder that holds them under the task's lower-case name

  Further flags: python run_eval_onnx.py --help. The output is also in ./log.txt.
USAGE
    [[ "${1:-}" == -h || "${1:-}" == --help ]] && exit 0
    exit 2
fi
arguments=(--task_name "$1" --model_file "$2" --data_dir "$3")
shift 3
launch run_eval_onnx.py "${arguments[@]}" "$@"
