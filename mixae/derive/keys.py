"""The top-level keys of a config that are ours, and what each means (docs/configs.md)."""

import inspect

from mmengine.runner import Runner

KEYS = {
    'method': "Name of the pre-training method in records and tables: 'mae', 'mixedae', 'imae'.",
    'variant': 'Settings that distinguish runs of one method: a name, and the place in the config.',
    'task': "What an evaluation measures: 'finetune', 'linear', 'knn', 'detection', 'semseg'.",
    'protocol': 'Name and version of the evaluation protocol; the length of the run is appended, '
    'and for probes what an override changes.',
    'data_about': 'Name, description and split of the data, for records.',
    'budget': 'The compute budget in words, for records.',
    'pretrained': "Where a transfer run starts: a checkpoint, or 'scratch' for random weights.",
    'encoder_card': 'Of an encoder of another project: method, dataset, epochs, labels, source.',
    'data_root': "Folder of the data; every data set whose data_root is 'auto' takes it.",
    'num_classes': 'Number of classes; heads and batch augmentations take it.',
    'train_features': 'Data loader of the training split for probes that read frozen features.',
    'base_lr': 'Learning rate for an effective batch of `base_lr_batch` images.',
    'base_lr_batch': 'Number of images that `base_lr` is given for. Defaults to 256.',
    'warmup_epochs': 'Length of the warm-up in epochs; None for none.',
    'warmup_iters': 'Length of the warm-up in iterations, in place of `warmup_epochs`.',
    'lr_steps': 'Fractions of the run at which a MultiStepLR lowers the learning rate.',
    'find_unused_parameters': 'Distributed training: whether a step may leave parameters unused.',
    'overwrite': 'Move the checkpoints of an earlier run in the work directory aside.',
}
# Those of mmengine: what its Runner is built from, and what its configs bring besides.
MMENGINE_KEYS = {
    *inspect.signature(Runner).parameters,
    *('compile', 'custom_imports', 'runner_type'),
} - {'cfg'}
