#!/usr/bin/env bash
# Task distillation (TD) on one device.
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail
# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

if [ $# -eq 0 ] || [[ "$1" == -* ]]; then
    cat <<'USAGE'
usage: bash scripts/run_standalone_td.sh CONFIG [--key value ...]

  CONFIG   YAML file, for example td_config/td_config_sst2.yaml; further flags override its keys
           (all of them: python run_task_distill.py --help_all)

  example: bash scripts/run_standalone_td.sh td_config/td_config_sst2.yaml --load_teacher_ckpt_path TEACHER_DIR \
               --train_data_dir DATA_DIR/sst-2 --eval_data_dir DATA_DIR/sst-2

  BACKGROUND=1 before the command returns at once; DRY_RUN=1 only prints what would run. The output is also in ./log.txt.
USAGE
    [[ "${1:-}" == -h || "${1:-}" == --help ]] && exit 0
    exit 2
fi
one_config "$@"
launch run_task_distill.py --config_path "$@"
