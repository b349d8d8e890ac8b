#!/usr/bin/env bash
# Inference with a MINDIR, as on Ascend 310: records to .bin files, logits of every row, the task's metric.
# shellcheck source=scripts/with_bash.sh
[ -n "${BASH_VERSION:-}" ] || . "$(dirname "$0")/with_bash.sh"
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# The TernaryBERT page leaves SCHEMA_DIR out.
if [[ "${3:-}" =~ ^(tfrecord|mindrecord|auto)$ && "${6:-}" =~ ^[yn]$ ]]; then
    set -- "$1" "$2" "" "${@:3}"
fi
if [ $# -lt 7 ] || [[ "$1" == -* ]]; then
    cat <<'USAGE'
usage: bash scripts/run_infer_310.sh MINDIR_PATH DATASET_PATH SCHEMA_DIR DATASET_TYPE TASK_NAME ASSESSMENT_METHOD NEED_PREPROCESS [DEVICE_ID]

  MINDIR_PATH         the .mindir file that export.py wrote, with its .mindir.json beside it
  DATASET_PATH        the task's records, or a folder that holds them under the task's lower-case name
  SCHEMA_DIR          schema JSON of TFRecord files, the file or its folder; "" or none for MindRecord; may be left out
  DATASET_TYPE        tfrecord, mindrecord or auto
  TASK_NAME           a task of the table (README), in any case
  ASSESSMENT_METHOD   accuracy, f1, bf1, mf1, matthews, pearson, spearman, entity_f1 or auto
  NEED_PREPROCESS     y writes ./preprocess_Result anew, n takes the one that is there (and needs no MindSpore beside MindSpore Lite)
  DEVICE_ID           number of the Ascend device (default 0); DEVICE_TARGET=CPU before the command runs on the CPU instead

  DRY_RUN=1 before the command only prints what would run. Results are in ./preprocess_Result, ./result_Files and ./acc.log.
USAGE
    [[ "${1:-}" == -h || "${1:-}" == --help ]] && exit 0
    exit 2
fi
mindir="$1" data="$2" schema="$3" dataset_type="$4" task="$5" method="$6" need_preprocess="$7" device_id="${8:-0}"
[ "$schema" = none ] && schema=""
case "$need_preprocess" in
    y | n) ;;
    *)
        echo "error: NEED_PREPROCESS must be y or n, not '$need_preprocess'" >&2
        exit 2
        ;;
esac
python="${PYTHON:-python3}"
if [ "$need_preprocess" = n ] && has_module "$python" mindspore_lite && ! has_module "$python" mindspore; then
    for module in numpy scipy sklearn yaml jsonargparse docstring_parser msgspec tqdm; do # all that is needed besides MindSpore Lite
        has_module "$python" "$module" || fail "$python has MindSpore Lite but no $module; install it, or set PYTHON to a Python that has it"
    done
else # the records are read with MindSpore
    need_python requirements.txt
fi
export GLOG_v="${GLOG_v:-3}"
length="$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["seq_length"])' "$mindir.json" 2>/dev/null)" || {
    echo "error: $mindir.json does not exist or names no seq_length; export.py writes it beside the .mindir file" >&2
    exit 2
}

step() {
    if [ "${DRY_RUN:-}" = 1 ]; then
        printf '%q ' "$python" -u "$root/$1" "${@:2}"
        echo
    else
        "$python" -u "$root/$1" "${@:2}"
    fi
}
if [ "$need_preprocess" = y ]; then
    step preprocess.py --task_name "$task" --data_dir "$data" --schema_dir "$schema" --dataset_type "$dataset_type" --seq_length "$length"
fi
step infer_mindir.py --model_file "$mindir" --device_target "${DEVICE_TARGET:-Ascend}" --device_id "$device_id"
if [ "${DRY_RUN:-}" = 1 ]; then
    step postprocess.py --task_name "$task" --assessment_method "$method"
else
    step postprocess.py --task_name "$task" --assessment_method "$method" | tee acc.log
fi
