#!/usr/bin/env bash
# Evaluate any model of this project, packed ones included.
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail

# What a call without arguments takes; see the usage below.
task_name="sts-b"
device_target="auto"
model_dir=""
data_dir=""

# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

if [ $# -eq 0 ]; then
    filled task_name device_target model_dir data_dir
    set -- "$task_name" "$device_target" "$model_dir" "$data_dir"
elif [ $# -lt 3 ] || [[ "$1" == -* ]]; then
    cat <<'USAGE'
usage: bash scripts/run_eval.sh TASK_NAME [DEVICE_TARGET [DEVICE_ID]] MODEL_DIR DATA_DIR [--key value ...]
       bash scripts/run_eval.sh    (the values at the top of this file)

  TASK_NAME       a task, in any case, custom for your own, for example sts-b
  DEVICE_TARGET   Ascend, GPU, CPU or auto (default: auto); DEVICE_ID is its number
  MODEL_DIR       the model's folder, or one that holds it under the task's lower-case name
  DATA_DIR        the task's records, likewise

  Further flags: python eval.py --help_all. The output is also in ./log.txt.
USAGE
    [[ "${1:-}" == -h || "${1:-}" == --help ]] && exit 0
    exit 2
fi
task="$1"
take_device "${@:2}"
[ ${#rest[@]} -ge 2 ] || fail "MODEL_DIR DATA_DIR are needed after TASK_NAME; --help explains them"
launch eval.py --task_name "$task" --model_dir "${rest[0]}" --data_dir "${rest[1]}" "${device[@]}" "${rest[@]:2}"
