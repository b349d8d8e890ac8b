# Sourced by every launcher: finds the Python to run with, or makes one, and leaves it in $python.
#
#   need_python requirements.txt
#
# 1. $PYTHON (default: python, then python3) is used as it is if it has MindSpore; nothing is ever installed into it.
# 2. Otherwise .venv in the repository's root, made and filled from the requirement file, which is installed again only
#    when its text has changed. Launchers started at the same time wait for each other there.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"
mark="$venv/.installing"
lock="$root/.venv.lock" # beside it: making .venv anew empties the folder

fail() {
    echo "error: $*" >&2
    exit 2
}

# The versions that requirements.txt's first line names, one a line: the only place that lists them.
supported_versions() {
    head -n 1 "$root/requirements.txt" | grep -o '\b3\.[0-9]\+' | sort -t . -k 2 -n
}

# Whether the Python $1 runs and its version is supported. (A pyenv shim can be on PATH and still not run.)
is_supported() {
    local version
    version="$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" || return 1
    supported_versions | grep -qx "$version"
}

# Whether the Python $1 has the module $2; looked up without importing it, which takes seconds, and not in the working directory.
has_module() {
    "$1" -c 'import sys; sys.path = [p for p in sys.path if p]
import importlib.util; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)' "$2" 2>/dev/null
}

# The Python to build .venv with: $PYTHON if the user set it, else the first supported one on PATH.
find_base_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python python3 python3.11 python3.10 python3.12; do
        if is_supported "$candidate"; then
            base_python="$candidate"
            return
        fi
        [ -z "${PYTHON:-}" ] || break
    done
    local found
    found="$("${PYTHON:-python3}" --version 2>&1 | head -n 1)" || true
    fail "MindSpore needs Python $(supported_versions | paste -sd / -), found only ${found:-none};" \
        "install one of these or set PYTHON to its path"
}

# The requirement file $1 and, after it, those it includes with -r.
with_included() {
    local included
    echo "$1"
    for included in $(sed -n 's/^-r  *//p' "$root/$1"); do
        with_included "$included"
    done
}

# A hash over the text of the requirement file $1 and what it includes.
requirement_hash() {
    local name
    for name in $(with_included "$1"); do
        cat "$root/$name"
    done | cksum
}

stamp_of() {
    echo "$venv/.installed-$1"
}

has_venv() {
    [ -x "$venv/bin/python" ] && is_supported "$venv/bin/python" && "$venv/bin/python" -c 'import pip' 2>/dev/null
}

make_venv() {
    if has_venv; then
        return
    fi
    find_base_python
    echo "making $venv with $("$base_python" --version 2>&1)"
    if ! "$base_python" -m venv --clear "$venv" >/dev/null 2>&1; then
        # Debian keeps ensurepip in a package of its own (python3-venv); pip itself can fill an environment from outside.
        "$base_python" -m venv --clear --without-pip "$venv"
        "$base_python" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check pip
    fi
}

# Whether .venv holds what the requirement file $1 lists now, and no installation is under way or was broken off.
is_filled() {
    [ ! -e "$mark" ] && [ "$(cat "$(stamp_of "$1")" 2>/dev/null)" = "$(requirement_hash "$1")" ]
}

# Wait until no other launcher works on .venv; the lock is on file descriptor 9 and goes with it.
take_lock() {
    command -v flock >/dev/null || return 0
    flock -n 9 2>/dev/null && return
    echo "waiting for another launcher that is setting up $venv"
    flock 9 || true # a file system without locks: as where there is no flock
}

# Bring .venv up to the requirement file $1. Its stamp is written after pip has succeeded; while pip runs there is a mark, and
# where a mark is found (the machine went down, Ctrl-C) what pip had half written is taken out first, for pip believes it is there.
fill_venv() {
    local name
    if has_venv && is_filled "$1"; then
        return
    fi
    : 2>/dev/null >>"$lock" || fail "cannot write $lock; make $root writable or set PYTHON to a Python that has MindSpore"
    ( # a shell of its own: what the launcher starts afterwards must not inherit the lock
        take_lock
        make_venv
        if is_filled "$1"; then # the launcher that had the lock did it
            exit 0
        fi
        if [ -e "$mark" ]; then
            echo "the last installation did not finish; repairing $venv"
            "$venv/bin/python" "$root/scripts/packages.py" remove_damaged
        fi
        echo "installing $1 into $venv (the first time this takes some minutes)"
        : >"$mark"
        rm -f "$(stamp_of "$1")"
        "$venv/bin/python" -m pip install --disable-pip-version-check -r "$root/$1" || exit
        for name in $(with_included "$1"); do
            requirement_hash "$name" >"$(stamp_of "$name")"
        done
        rm -f "$mark"
    ) 9>>"$lock"
}

# Set $python to one that has what the requirement file $1 lists.
need_python() {
    local requirements="$1" missing candidates=(python python3)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for python in "${candidates[@]}"; do
        if has_module "$python" mindspore; then
            if missing="$("$python" "$root/scripts/packages.py" missing "$root/$requirements")"; then
                return
            elif [ -z "${CI:-}" ]; then # in CI nobody is there to install it, so a .venv is made
                fail "$(command -v "$python") lacks $missing: pip install -r $requirements"
            fi
        fi
    done
    python="$venv/bin/python"
    if [ "${DRY_RUN:-}" != 1 ]; then
        fill_venv "$requirements"
    fi
}
