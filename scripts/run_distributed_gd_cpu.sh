#!/usr/bin/env bash
# General distillation (GD) in several processes on the CPU of this machine.
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail
# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

launch_cluster cpu "$@"
