"""How the encoder's features do while it is pre-trained.

Shape legend: N images, D width.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mixae.datasets.splits import check_splits
from mixae.derive import derive
from mixae.engine.hooks.sanity_check import undisturbed
from mixae.engine.hooks.topk_accuracy import read_curve
from mixae.errors import ConfigError
from mixae.evaluation.accuracy import top_k_accuracy
from mixae.evaluation.features import check_pool, extract_features
from mixae.evaluation.knn import WeightedKNN
from mixae.evaluation.probes import LinearProbe
from mixae.files import find_config, replace_whole
from mixae.registry import DATASETS, HOOKS

CURVE_FILE = 'watched.jsonl'
PICTURE = 'watched.png'
NAMES = dict(knn='kNN, top-1 (%)', linear='linear probe, top-1 (%)', rankme='RankMe')


@HOOKS.register_module()
class WatchHook(Hook):
    """Every n epochs: kNN, a quick linear probe and RankMe of the encoder on a part of a data set.

    The numbers go into the log and into ``watched.jsonl`` of the work directory, and are drawn
    beside the loss as ``watched.png``. They are for watching only: of a part of the images, with
    the probe's shortest schedule. The training does not notice: generators and training modes are
    put back, and its weights are those of a run without the hook.

    Args:
        config (str): The config of a kNN or linear probe whose data are read, a file or such as
            'mixae::transfer/cifar/cifar10_vitt_knn.py'; its model is not used.
        interval (int): Epochs between readings; the last epoch is read too. Defaults to 10.
        subset (int): At most that many training images, and as many test images. Defaults to 2000.
        pool (str): See :func:`mixae.evaluation.pool_tokens`. Defaults to 'avg'.
        data_root (str, optional): Where the data are. Defaults to None: as the config says.

    Raises:
        ConfigError: A config that is missing or of no such probe, a number that cannot be.
        DataError: The data are missing, or a test image is a training image (when training starts).
    """

    priority = 'LOW'

    def __init__(
        self,
        config: str,
        interval: int = 10,
        subset: int = 2000,
        pool: str = 'avg',
        data_root: str | None = None,
    ) -> None:
        if interval < 1 or subset < 2:
            raise ConfigError(
                f'WatchHook: interval={interval}, subset={subset}: expected from 1 epoch and from '
                '2 images.'
            )
        check_pool(pool)
        self.config = find_config(config)
        if not self.config.is_file():
            raise ConfigError(f'WatchHook: there is no config {config}.')
        self.interval = interval
        self.subset = subset
        self.pool = pool
        self.data_root = data_root

    def before_train(self, runner: Runner) -> None:
        cfg = Config.fromfile(self.config)
        if not cfg.get('train_features') or not cfg.get('test_dataloader'):
            raise ConfigError(
                f'WatchHook: {self.config} has no train_features: give the config of a kNN or '
                'linear probe on frozen features.'
            )
        if self.data_root is not None:
            cfg.data_root = self.data_root
        cfg.pretrained = 'scratch'
        own = runner.cfg.model.backbone
        for key in ('img_size', 'patch_size', 'in_chans'):
            if key in own:
                cfg.model.backbone[key] = own[key]
        cfg.model.data_preprocessor = dict(type='ClsDataPreprocessor')  # the run's own is used
        cfg, _ = derive(cfg, cuda=False)
        with undisturbed(runner.model):
            self.loaders = [
                self._loader(runner, cfg[name]) for name in ('train_features', 'test_dataloader')
            ]
        check_splits(*(loader.dataset for loader in self.loaders))
        self.num_classes = len(self.loaders[0].dataset.metainfo['classes'])
        path = Path(runner.work_dir) / CURVE_FILE
        if is_main_process():  # a resumed run continues where its checkpoint was
            kept = [row for row in read_curve(path) if row['epoch'] <= runner.epoch]
            path.write_text(''.join(json.dumps(row) + '\n' for row in kept))

    def _loader(self, runner: Runner, loader: dict):
        dataset = DATASETS.build(loader['dataset'])
        if len(dataset) > self.subset:
            dataset.subset = self.subset
            dataset.full_init()
        options = dict(num_workers=0, persistent_workers=False, prefetch_factor=None)
        return runner.build_dataloader({**loader, 'dataset': dataset, **options}, seed=runner.seed)

    def after_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch + 1
        if epoch % self.interval and epoch < runner.max_epochs:
            return
        with undisturbed(runner.model):
            parts = [
                extract_features(runner.model, loader, self.pool, f'watching, {name} features')
                for loader, name in zip(self.loaders, ('training', 'test'), strict=True)
            ]
            test = [parts[1]]
            broadcast_object_list(test)
            if is_main_process():
                train = parts[0]
            else:  # kNN is shared among processes, and the main one holds all training features
                train = np.zeros((0, test[0][0].shape[1]), np.float32), np.zeros(0, np.int64)
            row = dict(epoch=epoch, **self.read(*train, *test[0]))
        if not is_main_process():
            return
        loss = runner.message_hub.log_scalars.get('train/loss')
        row['loss'] = loss and float(loss.mean(len(runner.train_dataloader)))
        shown = ', '.join(f'{NAMES[name]} {row[name]:.2f}' for name in NAMES)
        runner.logger.info(f'Watched after epoch {epoch}: {shown}')
        path = Path(runner.work_dir) / CURVE_FILE
        with open(path, 'a') as file:
            file.write(json.dumps(row) + '\n')
        draw_watched(read_curve(path), path.with_name(PICTURE))

    def read(self, train_ND, labels_N, test_MD, labels_M) -> dict[str, float]:
        """kNN and linear probe (top-1, %) and RankMe of features; kNN alone on other processes."""
        found = {}
        probes = dict(knn=WeightedKNN(), linear=LinearProbe(epochs=20, warmup_epochs=2))
        for name, probe in probes.items():
            scores_MC = probe(train_ND, labels_N, test_MD, self.num_classes)
            found[name] = top_k_accuracy(scores_MC, torch.from_numpy(labels_M), (1,))['top1']
            if not is_main_process():
                return found
        return found | dict(rankme=rank_me(train_ND))


def rank_me(features_ND: np.ndarray) -> float:
    """RankMe (Garrido et al. 2023, Eq. 1 and 2): the effective rank of features, 1 to min(N, D).

    The exponential of the entropy of the singular values as shares of their sum.
    """
    values = np.linalg.svd(features_ND.astype(np.float64), compute_uv=False)
    shares = values / max(values.sum(), 1e-300) + 1e-7
    return float(np.exp(-(shares * np.log(shares)).sum()))


def draw_watched(rows: Sequence[dict], path: str | Path) -> Path:
    """Draw readings over epochs, one panel each, beside the loss.

    Args:
        rows (Sequence[dict]): 'epoch', 'loss' (may be None), 'knn', 'linear' and 'rankme' each.
        path (str | Path): The PNG to write.
    """
    names = dict(loss='loss of the epoch', **NAMES)
    figure = Figure(figsize=(3.1 * len(names), 2.8), dpi=110, layout='constrained')
    for ax, (name, label) in zip(figure.subplots(1, len(names)), names.items(), strict=True):
        told = [(row['epoch'], row[name]) for row in rows if row.get(name) is not None]
        if told:
            ax.plot(*zip(*told, strict=True), marker='o', ms=3, lw=1.4)
        ax.set(xlabel='epoch', title=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.25)
        ax.spines[['top', 'right']].set_visible(False)
    with replace_whole(path) as draft:
        figure.savefig(draft, facecolor='white')
    return Path(path)
