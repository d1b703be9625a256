#!/usr/bin/env bash
# Usage: tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
# Several nodes: NNODES, NODE_RANK, MASTER_ADDR, PORT. Without GPUs the processes use gloo.
set -euo pipefail
exec "$(dirname "$0")/dist_run.sh" train.py "$@"
