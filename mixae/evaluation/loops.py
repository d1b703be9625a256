"""The test loop of protocols that read frozen features."""

import numpy as np
import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from mixae.datasets.splits import check_several_classes, check_splits
from mixae.errors import ConfigError, DataError, NotFiniteError
from mixae.evaluation.accuracy import cap_topk, top_k_accuracy
from mixae.evaluation.features import (
    check_pool,
    extract_features,
    extract_share,
    gather_shares,
)
from mixae.registry import LOOPS, TASK_UTILS


@LOOPS.register_module()
class FeatureProbeLoop(BaseLoop):
    """Extracts frozen features of both splits once and classifies them.

    ``test_cfg=dict(type='mixae.FeatureProbeLoop', probe=...)`` and a data loader
    ``train_features`` beside ``test_dataloader``, with ``tools/test.py CONFIG CHECKPOINT``.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader | dict): Of the test split.
        evaluator: Not used; mmengine passes it to every test loop.
        probe (dict): A :class:`WeightedKNN` or :class:`LinearProbe`.
        train_features (DataLoader | dict, optional): Of the training split, without
            augmentation. Defaults to None: the config's ``train_features``.
        pool (str): 'avg', 'std' or 'cls', see
            :func:`mixae.evaluation.features.pool_tokens`. The same for every method of a table.
            Defaults to 'avg'.

    Raises:
        ConfigError: An unknown ``pool``, or no ``train_features``.
            Training and test images of different classes.
        DataError: A split without classes; training images of one class alone; test images that
            are training images.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator=None,
        *,
        probe: dict,
        train_features: DataLoader | dict | None = None,
        pool: str = 'avg',
    ) -> None:
        check_pool(pool)
        super().__init__(runner, dataloader)
        loader = train_features or runner.cfg.get('train_features')
        if loader is None:
            raise ConfigError('train_features=None: expected the data loader of a training split.')
        if isinstance(loader, dict):
            loader = runner.build_dataloader(loader, seed=runner.seed)
        self.train_dataloader = loader
        self.probe = TASK_UTILS.build(probe)
        self.pool = pool
        for name, one in (('training', loader.dataset), ('test', self.dataloader.dataset)):
            if not one.metainfo.get('classes'):
                raise DataError(
                    f'The {name} split names no classes: set with_label=True of the data set, with '
                    'one folder per class.'
                )
        check_several_classes(loader.dataset, 'training')
        check_splits(loader.dataset, self.dataloader.dataset)
        self.num_classes = len(loader.dataset.metainfo['classes'])

    def run(self) -> dict[str, float]:
        """Extract, fit, classify; returns ``accuracy/top1`` and, from 5 classes, ``top5`` in %.

        Of a probe with several settings, such as values of k, also ``<setting>/top1`` of each.
        """
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        # Scores are the same on every process where they share the work.
        shared = getattr(self.probe, 'shared', False)
        extract = extract_share if shared else extract_features
        train, test = (
            extract(self.runner.model, loader, self.pool, f'{name} features')
            for name, loader in (('training', self.train_dataloader), ('test', self.dataloader))
        )
        if shared:
            test = tuple(map(gather_shares, test))
        metrics = [self._score(*train, *test) if shared or is_main_process() else None]
        broadcast_object_list(metrics)
        self.runner.call_hook('after_test_epoch', metrics=metrics[0])
        self.runner.call_hook('after_test')
        return metrics[0]

    def _score(self, train_ND, labels_N, test_MD, labels_M) -> dict[str, float]:
        for name, features in (('training', train_ND), ('test', test_MD)):
            if not np.isfinite(features).all():
                raise NotFiniteError(
                    f'The {name} features are not finite: the checkpoint is broken.'
                )
        topk, labels_M = cap_topk((1, 5), self.num_classes), torch.from_numpy(labels_M)
        args = (train_ND, labels_N, test_MD, self.num_classes)
        if hasattr(self.probe, 'settings'):
            found = {
                name: top_k_accuracy(scores_MC, labels_M, topk)
                for name, scores_MC in self.probe.settings(*args)
            }
        else:
            found = {'': top_k_accuracy(self.probe(*args), labels_M, topk)}
        # The first setting is the protocol's, however well the others do on the test split.
        named = {'accuracy': next(iter(found.values())), **(found if len(found) > 1 else {})}
        self.curves = getattr(self.probe, 'curves', {})
        self.extra = getattr(self.probe, 'extra', {})
        return {
            f'{prefix}/{name}': value
            for prefix, accuracy in named.items()
            for name, value in accuracy.items()
        }
