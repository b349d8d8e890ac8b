# Sourced by the launchers of training commands; see scripts/environment.sh for the Python they use.
#
#   DRY_RUN=1      print the command and do nothing
#   BACKGROUND=1   return at once; the run goes on, even after logging out

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# launch SCRIPT [ARGUMENT ...]: run an entry script of the repository, with its output on the terminal and in ./log.txt.
launch() {
    local script="$1"
    shift
    need_python requirements.txt
    export GLOG_v="${GLOG_v:-3}" # MindSpore's warnings would drown the progress
    local command=("$python" -u "$root/$script" "$@")
    local logged=("$python" "$root/scripts/run_with_log.py" "$PWD/log.txt" "${command[@]}")
    if [ "${DRY_RUN:-}" = 1 ]; then
        printf '%q ' "${command[@]}"
        echo
    elif [ "${BACKGROUND:-}" = 1 ]; then
        nohup "${logged[@]}" </dev/null >/dev/null 2>&1 &
        echo "started process $!; follow it with: tail -f $(printf '%q' "$PWD/log.txt")"
    else
        exec "${logged[@]}"
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
        DRY_RUN=1 "${command[@]}" >/dev/null # what is wrong with the arguments is told here, not in the log
        nohup "$python" "$root/scripts/run_with_log.py" "$PWD/log.txt" "${command[@]}" </dev/null >/dev/null 2>&1 &
        echo "started process $!; follow it with: tail -f $(printf '%q' "$PWD/log.txt")"
    else
        exec "${command[@]}"
    fi
}
