#!/usr/bin/env bash
# Usage: [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...]
#        tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]
# In a batch job (#SBATCH --requeue --signal=TERM@120, see docs/resuming.md) a run
# that SIGTERM ends saves a checkpoint, goes back into the queue and is resumed from there.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [ARGUMENTS]" >&2; exit 2; }
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
here=$(dirname "$0")
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
resume=
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && compgen -G "$4/*.pth" > /dev/null; then
    resume=--resume
fi
status=0
# SRUN_ARGS is several words on purpose, resume none or one.
# shellcheck disable=SC2086
srun -p "$1" --job-name="$2" --gres="gpu:$GPUS_PER_NODE" --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$here/train.py" "$3" --work-dir="$4" --launcher=slurm $resume \
    "${@:5}" || status=$?
if [ "$status" -eq 75 ] && [ -n "${SLURM_JOB_ID:-}" ]; then # 75: told to end, can be resumed
    scontrol requeue "$SLURM_JOB_ID" || true
fi
exit "$status"
