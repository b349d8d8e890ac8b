#!/usr/bin/env bash
# Quantization-aware distillation (TernaryBERT, Q8BERT) on one device.
set -euo pipefail
# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

if [ $# -lt 4 ] || [[ "$1" == -* ]]; then
    cat <<'USAGE'
usage: bash scripts/run_train.sh TASK_NAME TEACHER_MODEL_DIR STUDENT_MODEL_DIR DATA_DIR [--key value ...]

  TASK_NAME           a GLUE task, in any case, for example sts-b
  TEACHER_MODEL_DIR   the fine-tuned float32 teacher's folder, or one that holds it under the task's lower-case name
  STUDENT_MODEL_DIR   what the student starts from, likewise; usually the same
  DATA_DIR            the task's records, likewise

  Settings come from ternary_config.yaml unless --config_path names another file; further flags override its keys, for example
  --quantization q8bert (all of them: python train.py --help).

  BACKGROUND=1 before the command returns at once; DRY_RUN=1 only prints what would run. The output is also in ./log.txt.
USAGE
    [[ "${1:-}" == -h || "${1:-}" == --help ]] && exit 0
    exit 2
fi
arguments=(--task_name "$1" --teacher_model_dir "$2" --student_model_dir "$3" --data_dir "$4")
shift 4
[[ " $* " == *" --config_path"[\ =]* ]] || arguments=(--config_path "$root/ternary_config.yaml" "${arguments[@]}")
launch train.py "${arguments[@]}" "$@"
