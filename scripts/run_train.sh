#!/usr/bin/env bash
# Quantization-aware distillation (TernaryBERT, Q8BERT) on one device.
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail

# What a call without arguments takes; see the usage below.
task_name="sts-b"
device_target="auto"
teacher_model_dir=""
student_model_dir=""
data_dir=""

# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

if [ $# -eq 0 ]; then
    filled task_name device_target teacher_model_dir student_model_dir data_dir
    set -- "$task_name" "$device_target" "$teacher_model_dir" "$student_model_dir" "$data_dir"
elif [ $# -lt 4 ] || [[ "$1" == -* ]]; then
    cat <<'USAGE'
usage: bash scripts/run_train.sh TASK_NAME [DEVICE_TARGET [DEVICE_ID]] TEACHER_MODEL_DIR STUDENT_MODEL_DIR DATA_DIR [--key value ...]
       bash scripts/run_train.sh    (the values at the top of this file)

  TASK_NAME           a task, in any case, custom for your own, for example sts-b
  DEVICE_TARGET       Ascend, GPU, CPU or auto (default: auto); DEVICE_ID is its number, and may also follow DATA_DIR
  TEACHER_MODEL_DIR   the fine-tuned float32 teacher's folder, or one that holds it under the task's lower-case name
  STUDENT_MODEL_DIR   what the student starts from, likewise; usually the same
  DATA_DIR            the task's records, likewise

  Settings come from ternary_config.yaml unless --config_path names another file; further flags override its keys, for example
  --quantization q8bert (all of them: python train.py --help_all).

  BACKGROUND=1 before the command returns at once; DRY_RUN=1 only prints what would run. The output is also in ./log.txt.
USAGE
    [[ "${1:-}" == -h || "${1:-}" == --help ]] && exit 0
    exit 2
fi
task="$1"
take_device "${@:2}"
[ ${#rest[@]} -ge 3 ] || fail "TEACHER_MODEL_DIR STUDENT_MODEL_DIR DATA_DIR are needed after TASK_NAME; --help explains them"
arguments=(--task_name "$task" --teacher_model_dir "${rest[0]}" --student_model_dir "${rest[1]}" --data_dir "${rest[2]}")
further=("${rest[@]:3}")
if [ ${#device[@]} -eq 2 ] && [[ "${further[0]:-}" =~ ^[0-9]+$ ]]; then
    device+=(--device_id "${further[0]}")
    further=("${further[@]:1}")
fi
[[ " ${further[*]} " == *" --config_path"[\ =]* ]] || arguments=(--config_path "$root/ternary_config.yaml" "${arguments[@]}")
launch train.py "${arguments[@]}" "${device[@]}" "${further[@]}"
