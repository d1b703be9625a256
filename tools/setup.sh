#!/bin/sh
# Picks a Python and lets tools/setup_env.py build .venv with it. POSIX shell, so that a machine whose
# only Python is too old, or that has none, still gets a sentence instead of a traceback.
#
#   tools/setup.sh            PYTHON=/path/to/python3.12 names the interpreter
set -eu

tools=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)

if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- "${tools%/*}/.venv/bin/python" python3.11 python3.12 python3 python
fi
found=
for python in "$@"; do
    version=$("$python" -E -s -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
        continue # not there, or a version manager's stand-in that does not run
    case $version in 3.11 | 3.12) exec "$python" -E -s "$tools/setup_env.py" ;; esac
    found="${found:+$found, }$python is Python $version"
done

echo "set-up: mixae needs Python 3.11 or 3.12; ${found:-none of these runs: $*}. Install one (Debian, \
Ubuntu: apt-get install python3.11 python3.11-venv python3.11-dev) or name one: \
make setup PYTHON=/path/to/python3.11" >&2
exit 2
