#!/usr/bin/env bash
# All tests: bash scripts/run_tests.sh [pytest's arguments].
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

need_python requirements-dev.txt
export GLOG_v="${GLOG_v:-3}"
cd "$root"
# Images often set it. Without bytecode each worker prepares all tests anew, and each process that they start src.
unset PYTHONDONTWRITEBYTECODE
# Several files at once. --maxprocesses: each takes up to 3 GB. No more than there are cores: with one more, a file
# once waited 300 s for MindSpore's kernel compiler.
# In the files' own order: xdist's begins with those of many tests, and ends waiting for one of few long ones.
exec "$python" -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
