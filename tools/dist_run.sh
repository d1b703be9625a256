#!/usr/bin/env bash
# torchrun around a tool: dist_run.sh TOOL CONFIG PROCESSES [ARGUMENTS]
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: dist_train.sh CONFIG PROCESSES [ARGUMENTS]" >&2; exit 2; }
here=$(dirname "$0")
if [ -z "${PYTHON:-}" ] && [ -z "${VIRTUAL_ENV:-}" ] && [ -x "$here/../.venv/bin/python" ]; then
    PYTHON=$here/../.venv/bin/python # what `make setup` built
fi
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m mixae.torchrun \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$3" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$here/$1" "$2" --launcher pytorch "${@:4}"
