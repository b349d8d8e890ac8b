# Sourced by every launcher where another shell started it (`sh scripts/run_train.sh`, where sh is dash): starts it again under bash.
# Plain POSIX shell, and before anything that is not.
if ! command -v bash >/dev/null 2>&1; then
    echo "error: $0 is written for bash, which is not on the PATH here; install bash" >&2
    exit 2
fi
exec bash "$0" "$@"
