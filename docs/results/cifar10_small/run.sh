#!/usr/bin/env bash
# The runs behind docs/results/cifar10_small: equal budgets for MAE and MixedAE, all protocols.
# Usage: docs/results/cifar10_small/run.sh SEED...   A run whose result exists is not repeated.
# METHODS='mae' (of mae mixedae scratch) takes a part, to share the work among processes.
set -euo pipefail
budget='20k views of 5,000 images, 156 steps; fine-tuning 8k views of 2,000, 248 steps; one CPU core'
out=work_dirs/cifar10_small
python=${PYTHON:-.venv/bin/python}

pretrain() { # METHOD SEED
    local dir=$out/$1_seed$2
    [ -e "$dir/epoch_4.pth" ] && return
    local flags=()
    [ -d "$dir" ] && compgen -G "$dir/epoch_*.pth" >/dev/null && flags=(--resume)
    $python tools/train.py "configs/$1/vitt_cifar10_2000e.py" --work-dir "$dir" "${flags[@]}" \
        --cfg-options randomness.seed="$2" train_cfg.max_epochs=4 warmup_epochs=1 base_lr=1e-3 \
        train_dataloader.batch_size=128 train_dataloader.num_workers=0 \
        train_dataloader.dataset.subset=5000
}

evaluate() { # NAME CHECKPOINT SEED: linear probe and kNN
    for task in linear knn; do
        local dir=$out/$1_$task
        compgen -G "$dir/records/*.json" >/dev/null && continue
        $python tools/test.py "configs/transfer/cifar/cifar10_vitt_$task.py" "$2" --work-dir "$dir" \
            --budget "$budget" --cfg-options randomness.seed="$3" \
            test_dataloader.num_workers=0 test_dataloader.dataset.subset=2000 \
            train_features.num_workers=0 train_features.dataset.subset=3000
    done
}

finetune() { # NAME CHECKPOINT SEED
    local dir=$out/$1_finetune
    compgen -G "$dir/records/*.json" >/dev/null && return
    rm -rf "$dir"
    $python tools/train.py configs/transfer/cifar/cifar10_vitt_finetune.py --work-dir "$dir" \
        --pretrained "$2" --budget "$budget" --cfg-options randomness.seed="$3" \
        train_cfg.max_epochs=4 warmup_epochs=1 train_dataloader.batch_size=32 \
        train_dataloader.num_workers=0 train_dataloader.dataset.subset=2000 \
        val_dataloader.num_workers=0 val_dataloader.dataset.subset=2000
}

for seed in "$@"; do
    for method in ${METHODS:-mae mixedae scratch}; do
        [ "$method" = scratch ] && continue
        pretrain "$method" "$seed"
        evaluate "${method}_seed$seed" "$out/${method}_seed$seed/epoch_4.pth" "$seed"
        finetune "${method}_seed$seed" "$out/${method}_seed$seed/epoch_4.pth" "$seed"
    done
    case ${METHODS:-scratch} in *scratch*)
        evaluate "random_seed$seed" scratch "$seed"
        finetune "scratch_seed$seed" scratch "$seed" ;;
    esac
done
