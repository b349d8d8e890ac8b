#!/usr/bin/env bash
# Fine-tune a BERT on one device: bash scripts/run_finetune.sh --key value ... (all keys: --help_all).
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail
# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

launch run_finetune.py "$@"
