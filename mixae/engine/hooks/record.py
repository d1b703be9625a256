"""Writes a run record after every evaluation."""

from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mixae.datasets.about import read_about
from mixae.engine.hooks.provenance import (
    ProvenanceHook,
    describe_backbone,
    describe_length,
    peak_memory_bytes,
)
from mixae.registry import HOOKS
from mixae.results.record import describe_config, metric, new_record, write_record


@HOOKS.register_module()
class RunRecordHook(Hook):
    """One JSON record for the validation after the last epoch, and for every test.

    The config says what cannot be read off the run: ``task``, ``protocol`` (name and version; the
    number of epochs or iterations is appended),
    ``data_about`` (name, description, split) and ``budget``. A description that is None is read
    from ``dataset.json`` in the data root, which our tools/datasets write. What was pre-trained,
    and at what cost, comes out of the checkpoint, by way of :class:`ProvenanceHook`.

    Args:
        folder (str): Where, below the work directory. Defaults to 'records'.
    """

    priority = 'VERY_LOW'

    def __init__(self, folder: str = 'records') -> None:
        self.folder = folder

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        # The last one only: no number is chosen by looking at the test set.
        if runner._train_loop is None or runner.iter >= runner.max_iters:
            self._write(runner, metrics)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._write(runner, metrics)

    @master_only
    def _write(self, runner: Runner, metrics: dict | None) -> None:
        metrics = metrics or _metrics_of_nothing_found(runner)
        if not metrics or 'task' not in runner.cfg:
            return
        about = runner.cfg.data_about
        trained = next(h for h in runner.hooks if isinstance(h, ProvenanceHook))
        origin, account = trained.origin, trained.account
        if account is None:  # this run trained, or probed
            account = dict(
                length=describe_length(runner.cfg),
                seconds=trained.seconds or None,
                images_seen=trained.images_seen or None,
                flops=trained.flops,
            )
        # A protocol made shorter by an override is another protocol, in every table.
        length = account.get('length')
        task = 'scratch' if runner.cfg.task == 'finetune' and not origin else runner.cfg.task
        fixed = task in ('linear', 'knn') or runner.cfg.model.backbone.get('frozen', False)
        nothing = 'random' if fixed else 'scratch'
        record = new_record(
            roots=[runner.work_dir],
            task=task,
            protocol=dict(
                name='-'.join(filter(None, (runner.cfg.protocol.name, length))),
                version=runner.cfg.protocol.version,
            ),
            method=origin['method'] if origin else nothing,
            variant=origin['variant'] if origin else {},
            backbone=describe_backbone(runner.cfg.model.backbone),
            dataset=dict(
                name=about.name,
                description=about.get('description') or _description(runner),
                split=about.get('split', 'test'),
                n_train=_size(runner, 'train') or account.get('n_train'),
                n_test=_size(runner, 'test'),
            ),
            metrics={k: metric(v, *_unit(k)) for k, v in metrics.items() if _is_number(v)},
            seed=runner.seed,
            pretraining=origin['pretraining'] if origin else None,
            config=describe_config(runner.cfg),
            cost=dict(
                **{k: account.get(k) for k in ('seconds', 'images_seen', 'flops')},
                peak_memory_bytes=peak_memory_bytes(),
            ),
            budget=runner.cfg.get('budget'),
            **({'curves': origin['curves']} if origin and origin['curves'] else {}),
        )
        path = write_record(record, Path(runner.work_dir) / self.folder)
        runner.logger.info(f'Run record: {path}')


def _metrics_of_nothing_found(runner: Runner) -> dict:
    """Average precision of a detector that found nothing: 0, where mmdet returns no metrics."""
    from mmdet.evaluation import CocoMetric  # seldom needed, and slow to import

    evaluators = (
        getattr(loop, 'evaluator', None) for loop in (runner._val_loop, runner._test_loop)
    )
    return {
        f'{one.prefix}/{kind}_{name}': 0.0
        for evaluator in evaluators
        for one in getattr(evaluator, 'metrics', ())
        if isinstance(one, CocoMetric)
        for kind in one.metrics
        if kind in ('bbox', 'segm')
        for name in ('mAP', 'mAP_50', 'mAP_75')
    }


def _is_number(value) -> bool:
    return isinstance(value, int | float) or getattr(value, 'ndim', None) == 0


def _unit(name: str) -> tuple[str, bool]:
    """Unit of a metric and whether more is better, by its name."""
    leaf = name.split('/')[-1].lower()
    if 'map' in leaf.split('_'):  # bbox_mAP, segm_mAP_50
        return 'fraction', True
    if leaf in ('top1', 'top5', 'miou', 'macc', 'aacc'):
        return '%', True
    return '', not any(word in leaf for word in ('loss', 'nrmse', 'error', 'seconds'))


def _size(runner: Runner, split: str) -> int | None:
    """Images of the training or test split, or None where the run has not loaded it."""
    dataset = _dataset(runner, split)
    return None if dataset is None else len(dataset)


def _description(runner: Runner) -> str | None:
    """What the tool that prepared the data wrote about it."""
    dataset = _dataset(runner, 'test')
    root = getattr(getattr(dataset, 'dataset', dataset), 'data_root', None)
    return read_about(root).get('description') if root else None


def _dataset(runner: Runner, split: str):
    if split == 'train':
        loader = getattr(runner._train_loop, 'dataloader', None) or getattr(
            runner._test_loop, 'train_dataloader', None
        )
    else:
        loader = getattr(runner._test_loop, 'dataloader', None) or getattr(
            runner._val_loop, 'dataloader', None
        )
    return getattr(loader, 'dataset', None)
