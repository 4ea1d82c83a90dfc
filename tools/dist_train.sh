#!/usr/bin/env bash
# Train on several GPUs of one or more machines.
# usage: tools/dist_train.sh CONFIG GPUS [flags of tools/train.py]
# NNODES, NODE_RANK, MASTER_ADDR and PORT are read from the environment.
set -euo pipefail
config=${1:?usage: dist_train.sh CONFIG GPUS [flags of train.py]}
gpus=${2:?usage: dist_train.sh CONFIG GPUS [flags of train.py]}

python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$gpus" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
