#!/usr/bin/env bash
# General distillation (GD) in several processes on the GPUs of this machine.
set -euo pipefail
# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

launch_cluster gpu "$@"
