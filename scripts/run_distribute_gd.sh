#!/usr/bin/env bash
# The old name of run_distributed_gd_ascend.sh: DEVICE_NUM EPOCH_SIZE RANK_TABLE_FILE.
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/run_distributed_gd_ascend.sh" "$@"
