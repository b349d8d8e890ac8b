#!/usr/bin/env bash
# General distillation (GD) on one device.
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail
# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
    cat <<'USAGE'
usage: bash scripts/run_standalone_gd.sh [CONFIG] [--key value ...]

  CONFIG   YAML file (default: gd_config.yaml); further flags override its keys
           (all of them: python run_general_distill.py --help_all)

  example: bash scripts/run_standalone_gd.sh --load_teacher_ckpt_path TEACHER_DIR --data_dir CORPUS_DIR

  ENTRY=run_task_distill.py (CONFIG needed) or ENTRY=train.py before the command starts task distillation or quantization-aware
  distillation instead; BACKGROUND=1 returns at once; DRY_RUN=1 only prints what would run. The output is also in ./log.txt.
USAGE
    exit 0
fi
entry="${ENTRY:-run_general_distill.py}"
case "$entry" in
    run_general_distill.py) config=(--config_path "$root/gd_config.yaml") ;;
    train.py) config=(--config_path "$root/ternary_config.yaml") ;;
    run_task_distill.py) config=() ;;
    *) fail "ENTRY=$entry is not known; it must be one of run_general_distill.py, run_task_distill.py, train.py" ;;
esac
if [ $# -gt 0 ] && [[ "$1" != -* ]]; then
    one_config "$@"
    config=(--config_path "$1")
    shift
elif [[ " $* " == *" --config_path"[\ =]* ]]; then
    config=()
elif [ ${#config[@]} -eq 0 ]; then
    fail "ENTRY=$entry needs a CONFIG as the first argument, for example td_config/td_config_sst2.yaml"
fi
launch "$entry" "${config[@]}" "$@"
