# Sourced by the launchers of training commands; see scripts/environment.sh for the Python they use.
#
#   DRY_RUN=1      print the command and do nothing
#   BACKGROUND=1   return at once; the run goes on, even after logging out

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# background COMMAND ...: start a command that goes on after logging out, with its output in ./log.txt.
background() {
    local log="$PWD/log.txt"
    if ! { : >>"$log"; } 2>/dev/null; then
        echo "error: cannot write $log; start it in a folder you can write to" >&2
        exit 2
    fi
    nohup "$python" "$root/scripts/run_with_log.py" "$log" "$@" </dev/null >/dev/null 2>&1 &
    echo "started process $!; follow it with: tail -f $(printf '%q' "$log")"
}

# one_config CONFIG [ARGUMENT ...]: fail unless CONFIG names a settings file and no further argument does.
one_config() {
    [ -n "$1" ] || fail "CONFIG is empty; name a YAML file"
    [[ " ${*:2} " != *" --config_path"[\ =]* ]] || fail "the settings file is given twice, as CONFIG ($1) and with --config_path"
}

# take_device [ARGUMENT ...]: split what follows TASK_NAME into ${device[@]}, flags for the DEVICE_TARGET [DEVICE_ID] that the
# published launchers have there, and ${rest[@]}.
take_device() {
    device=()
    case "${1:-}" in
        Ascend | GPU | CPU | auto)
            device=(--device_target "$1")
            shift
            if [[ "${1:-}" =~ ^[0-9]+$ ]]; then
                device+=(--device_id "$1")
                shift
            fi
            ;;
    esac
    rest=("$@")
}

# filled NAME ...: fail unless each of these variables, which stand at the launcher's top, has a value.
filled() {
    local name
    for name in "$@"; do
        [ -n "${!name}" ] || fail "$name is empty: set it at the top of $0, or give arguments (--help)"
    done
}

# launch SCRIPT [ARGUMENT ...]: run an entry script of the repository, with its output on the terminal and in ./log.txt.
launch() {
    local script="$1"
    shift
    need_python requirements.txt
    export GLOG_v="${GLOG_v:-3}" # MindSpore's warnings would drown the progress
    local command=("$python" -u "$root/$script" "$@")
    if [ "${DRY_RUN:-}" = 1 ]; then
        printf '%q ' "${command[@]}"
        echo
    elif [ "${BACKGROUND:-}" = 1 ]; then
        background "${command[@]}"
    else
        exec "$python" "$root/scripts/run_with_log.py" "$PWD/log.txt" "${command[@]}"
    fi
}

# launch_distributed ascend|gpu|cpu ARGUMENT ...: run an entry script in several processes; see scripts/distributed.py.
launch_distributed() {
    need_python requirements.txt
    export GLOG_v="${GLOG_v:-3}"
    local starter="$python"
    command -v "$starter" >/dev/null || starter=python3 # a dry run installs nothing; the supervisor needs no packages
    local command=("$starter" "$root/scripts/distributed.py" "$python" "$@")
    if [ "${BACKGROUND:-}" = 1 ] && [ "${DRY_RUN:-}" != 1 ]; then
        CHECK_ONLY=1 "${command[@]}" # what is wrong with the arguments is told here, not in the log
        background "${command[@]}"
    else
        exec "${command[@]}"
    fi
}

# launch_cluster gpu|cpu ARGUMENT ...: `launch_distributed` on GPU or CPU, with the usage that both launchers share.
launch_cluster() {
    local target="$1"
    shift
    if [ $# -lt 5 ] || [[ "$1" == -* ]]; then
        cat <<USAGE
usage: bash scripts/run_distributed_gd_$target.sh DEVICE_NUM EPOCH_SIZE DATA_DIR SCHEMA TEACHER [CONFIG] [--key value ...]

  DEVICE_NUM   processes, one a device
  EPOCH_SIZE   epochs (of phase 2 with ENTRY=run_task_distill.py)
  DATA_DIR     the corpus's records
  SCHEMA       schema JSON of TFRecord files, the file or its folder; "" or none for MindRecord
  TEACHER      the teacher's checkpoint folder
  CONFIG       YAML file (default: gd_config.yaml); further flags override its keys
               (all of them: python run_general_distill.py --help_all)

  Before the command: ENTRY=run_task_distill.py (CONFIG needed) or ENTRY=train.py starts task distillation or quantization-aware
  distillation instead; MASTER_PORT=... is the port at which the processes meet (default: any free one); BACKGROUND=1 returns at
  once, with the output in ./log.txt; DRY_RUN=1 only prints what would run.

  The processes' logs are ./ms_log/worker_N.log, also to be found as ./LOGN/log.txt; that of rank 0 is shown too. The first process
  that fails ends the job.
USAGE
        [[ "${1:-}" == -h || "${1:-}" == --help ]] && exit 0
        exit 2
    fi
    launch_distributed "$target" "$@"
}
