"""The names of methods, data sets, tasks, metrics and columns, with their units: all in one place.

Records hold the keys; tables, the page and model index files show the names.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

Setting = str | float | bool | None


@dataclass(frozen=True)
class Method:
    """`name` is for people, `defaults` are the settings that a row of a table need not show.

    The rest says what OpenMMLab's model index wants to know of a paper.
    """

    name: str
    title: str = ''
    url: str = ''
    techniques: tuple[str, ...] = ()
    defaults: Mapping[str, Setting] = field(default_factory=dict)


METHODS = {
    'random': Method('random encoder'),
    'scratch': Method('from scratch'),
    'mae': Method(
        'MAE',
        'Masked Autoencoders Are Scalable Vision Learners',
        'https://arxiv.org/abs/2111.06377',
        ('AdamW',),
        dict(mask_ratio=0.75),
    ),
    'mixedae': Method(
        'MixedAE',
        'Mixed Autoencoder for Self-supervised Visual Representation Learning',
        'https://arxiv.org/abs/2303.17152',
        ('AdamW', 'Image mixing', 'Homologous recognition'),
        dict(
            mode='topk',
            mix_ratio=0.25,
            topk='auto',
            contrast=0.1,
            temperature=0.25,
            contrast_layer='off',
            contrast_subtract_segment='off',
            segment_embed=True,
            topk_subtract_segment='off',
        ),
    ),
    'imae': Method(
        'i-MAE',
        'i-MAE: Are Latent Representations in Masked Autoencoders Linearly Separable?',
        'https://arxiv.org/abs/2210.11470',
        ('AdamW', 'Image mixing', 'Distillation'),
        dict(
            distill=1.0,
            disentangle=True,
            branches='both',
            mix='beta=1.0',
            mask_ratio=0.75,
            loss_on='masked',
            same_class_ratio='off',
        ),
    ),
}

# How configs of other versions wrote what is now written otherwise.
_SPELLINGS = {
    ('topk', 'off'): 'auto',
    ('distill', True): 1.0,
    ('disentangle', 'mixae.Disentanglement'): True,
}

# As configs name data sets: as the papers do. Published numbers are found by these.
DATASETS = {
    'cifar10': 'CIFAR-10',
    'cifar100': 'CIFAR-100',
    'tiny_imagenet': 'Tiny-ImageNet',
    'imagenet': 'ImageNet-1K',
    'ade20k': 'ADE20K',
    'coco': 'COCO',
    'digit_scenes': 'digit scenes',
    'cub': 'CUB-200',
    'dtd': 'DTD',
    'flowers102': 'Flowers-102',
    'food101': 'Food-101',
    'pets': 'Oxford-IIIT Pets',
    'cars': 'Stanford Cars',
    'aircraft': 'FGVC Aircraft',
    'sun397': 'SUN397',
    'caltech101': 'Caltech-101',
    'eurosat': 'EuroSAT',
    'stl10': 'STL-10',
    'imagenet_a': 'ImageNet-A',
    'imagenet_r': 'ImageNet-R',
    'imagenet_sketch': 'ImageNet-Sketch',
    'imagenet_v2': 'ImageNet-V2',
    'imagenet_c': 'ImageNet-C',
}

# A table has the mean over those that it has.
SMALL_SETS = frozenset(
    DATASETS[key]
    for key in (
        *('cub', 'dtd', 'flowers102', 'food101', 'pets', 'cars', 'aircraft', 'sun397'),
        *('caltech101', 'eurosat', 'stl10'),
    )
)


@dataclass(frozen=True)
class Task:
    """`name` is what the page's filter calls it, `index` what OpenMMLab's model index does."""

    name: str
    index: str = ''


TASKS = {
    'pretrain': Task('Pre-training'),
    'finetune': Task('Fine-tuning', 'Image Classification'),
    'scratch': Task('Fine-tuning'),
    'linear': Task('Linear probe', 'Image Classification'),
    'attentive': Task('Attentive probe', 'Image Classification'),
    'knn': Task('kNN', 'Image Classification'),
    'robustness': Task('Robustness of fine-tuning', 'Image Classification'),
    'detection': Task('Detection, instance segmentation', 'Object Detection'),
    'instance': Task('Detection, instance segmentation', 'Instance Segmentation'),
    'semseg': Task('Semantic segmentation', 'Semantic Segmentation'),
    'separability': Task('Separability'),
    'mutual_information': Task('Mutual information'),
    'object_completeness': Task('Object completeness'),
    'features': Task('Features'),
}

# Metrics in OpenMMLab's model index.
INDEX_METRICS = {
    'accuracy/top1': 'Top 1 Accuracy',
    'accuracy/top5': 'Top 5 Accuracy',
    'coco/bbox_mAP': 'box AP',
    'coco/segm_mAP': 'mask AP',
    'mIoU': 'mIoU',
}


@dataclass(frozen=True)
class ColumnKind:
    """What a column shows: a metric of some tasks, or a cost of the pre-training.

    `metrics` are names for the same quantity, the first found is taken. `unit` is the one that a
    column of `COLUMNS` demands of its metric, or that a cost is counted in.
    """

    key: str
    header: str
    tasks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    unit: str = '%'
    is_cost: bool = False

    @property
    def is_result(self) -> bool:
        """Whether more or less of it is better: no cost, no analysis of what an encoder holds."""
        return not self.is_cost and self.tasks not in (('pretrain',), ('mutual_information',))


_TOP1 = ('accuracy/top1', 'top1', 'accuracy')
_BOXES = ('detection', 'instance')
COLUMNS = {
    kind.key: kind
    for kind in (
        ColumnKind('finetune', 'Fine-tune', ('finetune', 'scratch'), _TOP1),
        ColumnKind('linear', 'Linear', ('linear',), _TOP1),
        ColumnKind('attentive', 'Attentive', ('attentive',), _TOP1),
        ColumnKind('knn', 'kNN', ('knn',), _TOP1),
        ColumnKind('robustness', 'Robustness', ('robustness',), _TOP1),
        ColumnKind('mce', 'mCE', ('robustness',), ('mean_corruption_error',), ''),
        ColumnKind('miou', 'mIoU', ('semseg',), ('mIoU',)),
        ColumnKind('box_ap', 'Box AP', _BOXES, ('coco/bbox_mAP', 'bbox_mAP')),
        ColumnKind('mask_ap', 'Mask AP', _BOXES, ('coco/segm_mAP', 'segm_mAP')),
        ColumnKind('box_ap50', 'Box AP50', _BOXES, ('coco/bbox_mAP_50', 'bbox_mAP_50')),
        ColumnKind('mask_ap50', 'Mask AP50', _BOXES, ('coco/segm_mAP_50', 'segm_mAP_50')),
        *(
            ColumnKind(f'{key}_{word}', f'{name} {word}', ('separability',), (f'{when}/{key}',), '')
            for key, name in (('nrmse', 'NRMSE'), ('r2', 'R²'), ('cosine', 'Cosine'))
            for when, word in (('fore', 'before'), ('aft', 'after'))
        ),
        *(
            ColumnKind(f'mi_{key}', name, ('mutual_information',), (metric,), 'nats')
            for key, name, metric in (
                ('ba', 'MI, Barber-Agakov', 'barber_agakov'),
                ('nce', 'MI, InfoNCE', 'infonce'),
                ('ceiling', 'InfoNCE ceiling', 'ceiling'),
            )
        ),
        *(
            ColumnKind(key, name, ('object_completeness',), (key,))
            for key, name in (
                ('attention_iou', 'Attention IoU'),
                ('attention_iou_best', 'Attention IoU, best head'),
                ('patch_retrieval', 'Patch retrieval'),
                ('corloc', 'CorLoc'),
            )
        ),
        ColumnKind('effective_rank', 'Effective rank', ('features',), ('effective_rank',), ''),
        ColumnKind('topk_accuracy', 'TopK accuracy', ('pretrain',), ('topk_accuracy',)),
        ColumnKind(
            'contrastive_loss', 'Contrastive loss', ('pretrain',), ('contrastive_loss',), ''
        ),
        ColumnKind(
            'contrastive_floor', 'Contrastive floor', ('pretrain',), ('contrastive_loss/floor',), ''
        ),
        ColumnKind('time', 'Pre-training time', unit='s', is_cost=True),
        ColumnKind('device_hours', 'Device hours', unit='h', is_cost=True),
        ColumnKind('images_seen', 'Images seen', unit='', is_cost=True),
        ColumnKind('flops', 'FLOPs', unit='', is_cost=True),
    )
}


def method_name(key: str) -> str:
    """A method's name for people; a method of a user's own is its own name."""
    return METHODS[key].name if key in METHODS else key


def settings_apart(method: str, variant: Mapping[str, Setting]) -> dict[str, Setting]:
    """What of a record's variant differs from the method's default, each setting spelt one way.

    A method of a user's own has no defaults here: its variant stays as it is.
    """
    if method not in METHODS:
        return dict(variant)
    defaults, apart = METHODS[method].defaults, {}
    for name, value in variant.items():
        value = 'off' if value is None or value is False else value
        value = _SPELLINGS.get((name, value), value)
        value = int(value) if isinstance(value, float) and value.is_integer() else value
        if name not in defaults or value != defaults[name]:
            apart[name] = value
    return apart


def dataset_name(key: str) -> str:
    """A data set's name for people, whether a config or a paper gives it."""
    return DATASETS.get(key, key)


def task_name(key: str) -> str:
    """A task's name for people."""
    return TASKS[key].name if key in TASKS else key.replace('_', ' ').capitalize()


def unit_of(metric: str) -> tuple[str, bool]:
    """Unit of a metric as evaluators report it, and whether more is better, by its name."""
    leaf = metric.split('/')[-1].lower()
    if 'map' in leaf.split('_'):  # bbox_mAP, segm_mAP_50
        return 'fraction', True
    if leaf == 'topk_accuracy':
        return 'fraction', True
    if leaf in ('top1', 'top5', 'miou', 'macc', 'aacc'):
        return '%', True
    return '', not any(word in leaf for word in ('loss', 'nrmse', 'error', 'seconds', 'absent'))


# What values a metric can take, where its unit does not say so.
_RANGES = {'nrmse': (0, math.inf), 'r2': (-math.inf, 1), 'cosine': (-1, 1)}


def value_range(metric: str, unit: str) -> tuple[float, float]:
    """The lowest and the highest value of a metric; shares lie between nothing and all."""
    leaf = metric.split('/')[-1].lower()
    return {'%': (0, 100), 'fraction': (0, 1)}.get(unit, _RANGES.get(leaf, (-math.inf, math.inf)))


def check_value(metric: str, value: float | None, unit: str) -> str | None:
    """What is wrong with a metric's value, in words; None where nothing is, or it is undefined."""
    low, high = value_range(metric, unit)
    # Sums in single precision end a little above 1.
    if value is None or low - 1e-6 <= value <= high * (1 + 1e-6):
        return None
    return f'{metric} is {value:g}{unit and f" ({unit})"}, expected {low:g} to {high:g}'


def is_undefined(metric: str, value: float | None) -> bool:
    """Whether a record holds no value for a metric.

    Old records hold COCO's mark for it: an average precision or recall of -1.
    """
    if value != -1:
        return value is None
    return bool({'map', 'ar'} & set(re.split('[_@]', metric.split('/')[-1].lower())))


def in_percent(value: float, unit: str) -> tuple[float, str]:
    """Value and unit as tables show them: shares in per cent."""
    return (100 * value, '%') if unit == 'fraction' else (value, unit)
