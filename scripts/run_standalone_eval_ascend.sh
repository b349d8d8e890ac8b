#!/usr/bin/env bash
# The TernaryBERT page's later name of run_eval.sh: TASK_NAME DEVICE_TARGET DEVICE_ID MODEL_DIR DATA_DIR.
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/run_eval.sh" "$@"
