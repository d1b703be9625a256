"""What the two papers claim, as far as run records can bear on it.

A claim is about the difference of two rows of a column, or about the level of one.
:mod:`mixae.results.verdicts` says what records say of it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mixae.results.table import Row


@dataclass(frozen=True)
class RowOf:
    """A row of a table: a method, and what of its settings is not the default."""

    method: str
    settings: Mapping = field(default_factory=dict)

    def fits(self, row: Row) -> bool:
        """Whether a row is this one, on whatever backbone and data."""
        return (row.method, dict(row.variant)) == (self.method, dict(self.settings))


@dataclass(frozen=True)
class Claim:
    """A statement of a paper that records can bear on.

    Attributes:
        paper (str): Which, and where in it.
        text (str): What it says, as a sentence.
        columns (tuple[str]): Of the leaderboard; each is a line of the page.
        row (RowOf): Whose.
        base (RowOf, optional): The other one: the claim is about row minus base.
        low (float): The difference, or the level, is above this in the column's unit. Defaults
            to 0.
        high (float): And below this. Defaults to no limit.
        command (str): What tests it.
        data (str): Name of the pre-training data that it is about. Defaults to '', any.
        equal_images (bool): Both rows have seen equally many images. Defaults to True.
        note (str): What our test of it leaves open.
    """

    paper: str
    text: str
    columns: tuple[str, ...]
    row: RowOf
    command: str
    base: RowOf | None = None
    low: float = 0.0
    high: float = math.inf
    data: str = ''
    equal_images: bool = True
    note: str = ''


_MAE, _MIXEDAE, _IMAE = RowOf('mae'), RowOf('mixedae'), RowOf('imae')
_NAIVE = RowOf('mixedae', dict(mode='global', contrast='off'))
_ATTENTION = RowOf('mixedae', dict(contrast='off'))
_CONTRAST = RowOf('mixedae', dict(mode='global'))
_ORACLE = RowOf('mixedae', dict(mode='masked', contrast='off'))
_ALONE = RowOf('imae', dict(distill='off'))
_SUBORDINATE = RowOf('imae', dict(branches='subordinate'))


def _suite(name: str) -> str:
    return f'tools/run_suite.py configs/suites/{name}.py'


_PARTS = _suite('ablations/digit_components')
_STUDY = _suite('digit_scenes_study')
_MANY = _suite('ablations/many_objects')
_IMAE_PARTS = _suite('ablations/imae_components')
_IMAE_SWEEPS = _suite('ablations/digit_imae_sweeps')
_CIFAR = _suite('cifar10')
_TRANSFER = ('linear', 'finetune')
_DENSE = ('box_ap', 'mask_ap', 'miou')
_FIRST, _SECOND, _THIRD = (f'MixedAE, mechanism {n}' for n in (1, 2, 3))


_TEACHER = "i-MAE's images seen do not include those of its teacher, the MAE it is compared with"
_LASSO = (
    "the lasso's penalty is absolute, so features of a smaller scale pay more of it: a difference "
    'of a few thousandths may be one of scale'
)
_AT_03 = 'the share of pre-training; separability is measured at a share of 0.3 for both'


def _share(value: float) -> RowOf:
    return RowOf('imae', dict(mix=f'subordinate={value}'))


def _same(value: float) -> RowOf:
    return RowOf('imae', dict(same_class_ratio=value))


CLAIMS = (
    Claim(
        _FIRST,
        'Naive mixing raises the mutual information of input and target above that of MAE.',
        ('mi_ba', 'mi_nce'),
        _NAIVE,
        _PARTS,
        _MAE,
        note='of encoded tokens and masked patches, with the segment embedding; see '
        'mutual_information.md for what theory expects',
    ),
    Claim(
        _FIRST,
        'Naive mixing degrades MAE.',
        (*_TRANSFER, *_DENSE),
        _MAE,
        _STUDY,
        _NAIVE,
    ),
    *(
        Claim(
            _SECOND,
            f'Mutual information is lower under {what} than under naive mixing.',
            ('mi_ba', 'mi_nce'),
            _NAIVE,
            _PARTS,
            row,
            note='that a rise is prevented would need the rise claimed above',
        )
        for what, row in (
            ('MixedAE', _MIXEDAE),
            ('homologous attention alone', _ATTENTION),
            ('oracle attention', _ORACLE),
        )
    ),
    Claim(
        _SECOND,
        'Homologous recognition makes mixing better than naive mixing.',
        (*_TRANSFER, *_DENSE),
        _MIXEDAE,
        _STUDY,
        _NAIVE,
    ),
    Claim(
        _SECOND,
        'Attention and contrastive loss together are better than attention alone.',
        _TRANSFER,
        _MIXEDAE,
        _PARTS,
        _ATTENTION,
    ),
    Claim(
        _SECOND,
        'Attention and contrastive loss together are better than the loss alone.',
        _TRANSFER,
        _MIXEDAE,
        _PARTS,
        _CONTRAST,
    ),
    Claim(
        'MixedAE, failure signature 1',
        'TopK sampling accuracy is 70 to 80 % across layers with both parts.',
        ('topk_accuracy',),
        _MIXEDAE,
        _PARTS,
        low=70,
        high=80,
    ),
    Claim(
        'MixedAE, failure signature 1',
        'Without the contrastive loss homologous attention isolates nothing: accuracy is below '
        '60 %.',
        ('topk_accuracy',),
        _ATTENTION,
        _PARTS,
        high=60,
    ),
    Claim(
        'MixedAE, results',
        'MixedAE is better than MAE at the same number of images seen.',
        (*_TRANSFER, 'attentive', 'box_ap50', 'mask_ap50', *_DENSE),
        _MIXEDAE,
        _STUDY,
        _MAE,
    ),
    Claim(
        _THIRD,
        'MixedAE is more aware of whole objects than MAE.',
        ('attention_iou', 'attention_iou_best', 'patch_retrieval', 'corloc'),
        _MIXEDAE,
        _suite('digit_probes'),
        _MAE,
    ),
    Claim(
        'MixedAE, open question 2',
        'MixedAE keeps its gain over MAE where images hold many objects.',
        ('box_ap50', 'mask_ap50', 'miou'),
        _MIXEDAE,
        _MANY,
        _MAE,
        data='digit_scenes_many',
    ),
    Claim(
        'i-MAE, Table 1',
        'i-MAE is better than MAE in fine-tuning.',
        ('finetune',),
        _IMAE,
        _CIFAR,
        _MAE,
        note=_TEACHER,
    ),
    Claim(
        'i-MAE, Table 2',
        'i-MAE is better than MAE by linear probe.',
        ('linear',),
        _IMAE,
        _CIFAR,
        _MAE,
        note=_TEACHER,
    ),
    Claim(
        'i-MAE, Table 3',
        'Same-class pairs raise the linear probe: ratio 1.0 is better than 0.0.',
        ('linear',),
        _same(1.0),
        _CIFAR,
        _same(0.0),
    ),
    Claim(
        'i-MAE, Table 3',
        'A same-class ratio of 0.5 is better in fine-tuning than 0.0.',
        ('finetune',),
        _same(0.5),
        _CIFAR,
        _same(0.0),
    ),
    Claim(
        'i-MAE, Table 4',
        "i-MAE's features are linearly separable: the regressor explains more than without "
        'distillation.',
        ('r2_after', 'cosine_after'),
        _IMAE,
        _CIFAR,
        _ALONE,
        note=_LASSO,
    ),
    Claim(
        'i-MAE, Table 4',
        'They are nearer to the clean features than the mixed encoding of MAE.',
        ('r2_before', 'cosine_before', 'r2_after', 'cosine_after'),
        _IMAE,
        _CIFAR,
        _MAE,
        note=_LASSO,
    ),
    Claim(
        'i-MAE, Table 5',
        'Reconstructing both images is better than the subordinate image alone.',
        _TRANSFER,
        _IMAE,
        _IMAE_PARTS,
        _SUBORDINATE,
    ),
    Claim(
        'i-MAE, Sec. 4.4, mix ratio',
        'Separation is best with a share of the subordinate image near 0.3, and worse at 0.1.',
        ('cosine_after', 'r2_after'),
        _share(0.3),
        _IMAE_SWEEPS,
        _share(0.1),
        note=_AT_03,
    ),
    Claim(
        'i-MAE, Sec. 4.4, mix ratio',
        'Separation is best with a share of the subordinate image near 0.3, and worse at 0.45.',
        ('cosine_after', 'r2_after'),
        _share(0.3),
        _IMAE_SWEEPS,
        _share(0.45),
        note=_AT_03,
    ),
    Claim(
        'i-MAE, Sec. 4.4, mask ratio',
        'A lower mask ratio, 0.5, separates better than 0.75.',
        ('cosine_after', 'r2_after'),
        RowOf('imae', dict(mask_ratio=0.5)),
        _IMAE_SWEEPS,
        _IMAE,
        note='separability is measured at a mask ratio of 0.75 for both',
    ),
    Claim(
        'i-MAE, Sec. 4.4, backbone',
        'Larger backbones are not necessary on small data sets.',
        (),
        _IMAE,
        'tools/train.py configs/imae/vitt_cifar10_2000e.py --cfg-options model.backbone.arch=small',
        note='no column compares backbones: the leaderboard never does',
    ),
    Claim(
        'i-MAE, Fig. 5',
        "i-MAE's weights are sparser than MAE's: more of them are below 0.01.",
        ('features:small_weights',),
        _IMAE,
        _suite('digit_probes'),
        _MAE,
        equal_images=False,
        note=_TEACHER,
    ),
    Claim(
        'i-MAE, Fig. 5',
        "i-MAE's attention is wider than MAE's: its class token spreads over more patches.",
        ('features:attention_entropy',),
        _IMAE,
        _suite('digit_probes'),
        _MAE,
        equal_images=False,
        note=_TEACHER,
    ),
)
