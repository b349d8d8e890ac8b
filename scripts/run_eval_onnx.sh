#!/usr/bin/env bash
# Evaluate an exported model, ONNX or MINDIR, on a task's records.
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail
# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

if [[ "${1:-}" == *.yaml || "${1:-}" == *.yml ]]; then
    one_config "$@"
    launch run_eval_onnx.py --config_path "$@"
    exit
fi
if [ $# -lt 3 ] || [[ "$1" == -* ]]; then
    cat <<'USAGE'
usage: bash scripts/run_eval_onnx.sh TASK_NAME MODEL_FILE DATA_DIR [--key value ...]
       bash scripts/run_eval_onnx.sh CONFIG [--key value ...]

  TASK_NAME    a task, in any case, custom for your own, for example sst-2
  MODEL_FILE   the .onnx or .mindir file that export.py wrote
  DATA_DIR     the task's records, or a folder that holds them under the task's lower-case name
  CONFIG       YAML file (its name ends in .yaml) with these three, as td_config/td_config_sst2.yaml; flags override its keys and add
               what it lacks, for example --model_file output/export/sst-2/model.onnx --data_dir DATA_DIR

  Further flags: python run_eval_onnx.py --help_all. The output is also in ./log.txt.
USAGE
    [[ "${1:-}" == -h || "${1:-}" == --help ]] && exit 0
    exit 2
fi
arguments=(--task_name "$1" --model_file "$2" --data_dir "$3")
shift 3
launch run_eval_onnx.py "${arguments[@]}" "$@"
