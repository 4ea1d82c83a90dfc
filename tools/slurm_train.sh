#!/usr/bin/env bash
# Train on a slurm cluster.
# usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [flags of tools/train.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS are read from the environment.
set -euo pipefail
usage='usage: slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [flags of train.py]'
partition=${1:?$usage} job=${2:?$usage} config=${3:?$usage} work_dir=${4:?$usage}

# shellcheck disable=SC2086  (SRUN_ARGS holds several words)
srun -p "$partition" \
    --job-name="$job" \
    --gres=gpu:"${GPUS_PER_NODE:-8}" \
    --ntasks="${GPUS:-8}" \
    --ntasks-per-node="${GPUS_PER_NODE:-8}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    python -u "$(dirname "$0")/train.py" "$config" --work-dir="$work_dir" --launcher=slurm "${@:5}"
