#!/usr/bin/env bash
# Fine-tune a BERT on one device: bash scripts/run_finetune.sh --key value ... (all keys: --help).
set -euo pipefail
# shellcheck source=scripts/launcher.sh
source "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

launch run_finetune.py "$@"
