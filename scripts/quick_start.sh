#!/usr/bin/env bash
# From nothing to a distilled network and a table of results; see scripts/quick_start.py for the steps.
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

need_python requirements.txt
export GLOG_v="${GLOG_v:-3}"
cd "$root"
exec "$python" -m scripts.quick_start "$@"
