#!/bin/sh
# Picks a Python and lets tools/setup_env.py build .venv with it. POSIX shell, so that a machine whose
# only Python is too old, or that has none, still gets a sentence instead of a traceback.
#
#   tools/setup.sh [--check]            PYTHON=/path/to/python3.12 names the interpreter
set -eu

tools=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$tools")

version_of() { # prints e.g. 3.11, or nothing where the program does not run
    "$1" -E -s -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

supported() {
    case $1 in 3.11 | 3.12) return 0 ;; *) return 1 ;; esac
}

advice="Install Python 3.11 or 3.12 (Debian, Ubuntu: apt-get install python3.11 python3.11-venv \
python3.11-dev) or name one: make setup PYTHON=/path/to/python3.11"

if [ -n "${PYTHON:-}" ]; then
    version=$(version_of "$PYTHON")
    if [ -z "$version" ]; then
        echo "set-up: PYTHON=$PYTHON does not run. $advice" >&2
        exit 2
    fi
    if ! supported "$version"; then
        echo "set-up: PYTHON=$PYTHON is Python $version; mixae needs 3.11 or 3.12. $advice" >&2
        exit 2
    fi
    exec "$PYTHON" -E -s "$tools/setup_env.py" --python-was-named "$@"
fi

found=
for python in "$root/.venv/bin/python" python3.11 python3.12 python3 python; do
    version=$(version_of "$python")
    [ -n "$version" ] || continue
    if supported "$version"; then
        exec "$python" -E -s "$tools/setup_env.py" "$@"
    fi
    found="${found:+$found, }$python is $version"
done
echo "set-up: mixae needs Python 3.11 or 3.12; ${found:-no Python found}. $advice" >&2
exit 2
