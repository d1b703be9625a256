"""Validation of a sweep: the choice on the held-out part, then the test set once."""

import numpy as np
import torch
from mmengine.dist import all_reduce, get_dist_info
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from mixae.datasets.splits import check_splits
from mixae.errors import ConfigError
from mixae.evaluation.accuracy import cap_topk, top_k_accuracy
from mixae.registry import LOOPS


@LOOPS.register_module()
class SweepLoop(BaseLoop):
    """Chooses a candidate of :class:`mixae.models.heads.SweepHead`, and tests it.

    ``val_cfg=dict(type='mixae.SweepLoop')``, and the same as ``test_cfg``. ``val_dataloader`` is of
    the part held out of the training set, ``test_dataloader`` of the test set, which is read once,
    when the training is over, with the candidate that was best on the held-out part.

    Args:
        runner (Runner): The runner.
        dataloader, evaluator: Not used; mmengine passes them to every such loop.

    Raises:
        ConfigError: A model whose head is no sweep, or a loader is missing.
        DataError: Training, held-out and test images that are not three different parts.
    """

    def __init__(self, runner: Runner, dataloader=None, evaluator=None) -> None:
        loaders = [runner.cfg.get(f'{split}_dataloader') for split in ('test', 'val')]
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not all(loaders) or not hasattr(model.head, 'scores'):
            raise ConfigError(
                'mixae.SweepLoop needs val_dataloader (held out), test_dataloader and '
                "model.head=dict(type='mixae.SweepHead')."
            )
        super().__init__(runner, loaders[0])
        self.held_out = runner.build_dataloader(loaders[1], seed=runner.seed)
        held_out = self.held_out.dataset
        check_splits(held_out, self.dataloader.dataset, ('held-out', 'test'))
        if isinstance(runner._train_loop, BaseLoop):
            fitted = runner._train_loop.dataloader.dataset
            check_splits(fitted, held_out, ('training', 'held-out'))
        self.model = model
        self.curves: dict[str, dict] = {}  # for the record
        self.extra: dict[str, dict] = {}

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        """``held_out/top1`` of the best and, when training is over, its ``accuracy/top1``, top5."""
        trains = isinstance(self.runner._train_loop, BaseLoop)
        kind = 'val' if trains else 'test'
        self.runner.call_hook(f'before_{kind}')
        self.runner.call_hook(f'before_{kind}_epoch')
        self.model.eval()
        head = self.model.head
        right_K = sum(
            (head.scores(feats).argmax(dim=2) == labels_B[:, None]).sum(dim=0).double()
            for feats, labels_B in self._own(self.held_out)
        )
        all_reduce(right_K)
        accuracy_K = (100 * right_K / len(self.held_out.dataset)).tolist()
        head.chosen = int(np.argmax(accuracy_K))  # the first of equals: the lowest rate
        self._tell(accuracy_K)
        metrics = {'held_out/top1': accuracy_K[head.chosen]}
        if not trains or self.runner.iter >= self.runner.max_iters:
            metrics |= self._test()
        self.runner.call_hook(f'after_{kind}_epoch', metrics=metrics)
        self.runner.call_hook(f'after_{kind}')
        return metrics

    def _test(self) -> dict[str, float]:
        head = self.model.head
        topk, shares = cap_topk((1, 5), head.num_classes), []
        for feats, labels_B in self._own(self.dataloader):
            found = top_k_accuracy(head(feats), labels_B, topk)
            shares.append([value * len(labels_B) for value in found.values()])
        sums = (
            torch.tensor(shares, dtype=torch.double).sum(dim=0).to(next(head.parameters()).device)
        )
        all_reduce(sums)
        values = (sums / len(self.dataloader.dataset)).tolist()
        return {f'accuracy/top{k}': value for k, value in zip(topk, values, strict=True)}

    def _own(self, loader: DataLoader):
        """Features and labels (B,) of this process's batches, no image in two processes."""
        rank, world_size = get_dist_info()
        left = len(range(rank, len(loader.dataset), world_size))
        for batch in loader:
            batch = self.model.data_preprocessor(batch, False)
            feats = self.model.extract_feat(batch['inputs'])
            labels_B = torch.cat([sample.gt_label for sample in batch['data_samples']])[:left]
            if len(labels_B):
                yield [x[: len(labels_B)] for x in feats], labels_B
            left -= len(labels_B)

    def _tell(self, accuracy_K: list[float]) -> None:
        """All candidates, for the record."""
        names = self.model.head.names
        rates = list(dict.fromkeys(rate for _, rate in names))
        lines = {}
        for (feature, _), value in zip(names, accuracy_K, strict=True):
            lines.setdefault(feature, []).append(value)
        self.curves = dict(
            sweep=dict(
                x_label='learning rate per 256 images',
                y_label='top-1 on the held-out part (%)',
                x=rates,
                lines=lines,
            )
        )
        feature, rate = names[self.model.head.chosen]
        at_edge = len(rates) > 1 and rate in (min(rates), max(rates))
        self.extra = dict(
            chosen=dict(
                feature=feature, rate=rate, at_edge=at_edge, n_held_out=len(self.held_out.dataset)
            )
        )
        self.runner.logger.info(f'Best of {len(names)} on the held-out part: {feature}, {rate:g}.')
        if at_edge:
            which = 'largest' if rate == max(rates) else 'smallest'
            self.runner.logger.warning(
                f'The best rate, {rate:g}, is the {which} of the sweep: one beyond may be better. '
                'Widen model.head.rates, or train for longer.'
            )
