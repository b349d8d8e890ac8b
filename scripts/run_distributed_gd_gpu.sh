#!/usr/bin/env bash
# General distillation (GD) in several processes on the GPUs of this machine, started by MindSpore's msrun.
set -euo pipefail
# shellcheck source=scripts/launch.sh
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

launch_by_msrun gpu "$@"
