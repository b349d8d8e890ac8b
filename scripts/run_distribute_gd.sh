#!/usr/bin/env bash
# The old name of run_distributed_gd_ascend.sh: DEVICE_NUM EPOCH_SIZE RANK_TABLE_FILE.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/run_distributed_gd_ascend.sh" "$@"
