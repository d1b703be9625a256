"""Writes a run record after every evaluation."""

import math
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from mixae.checkpoints.account import length_run
from mixae.datasets.about import read_about
from mixae.datasets.splits import classes_of, image_hashes, labels_of_images
from mixae.engine.hooks.provenance import (
    ProvenanceHook,
    describe_backbone,
    describe_length,
    peak_memory_bytes,
)
from mixae.errors import ConfigError, RecordError
from mixae.registry import HOOKS
from mixae.results.names import TASKS, is_undefined, unit_of
from mixae.results.record import (
    SUFFIX,
    RunRecord,
    cell_key,
    describe_config,
    metric,
    new_record,
    read_record,
    write_record,
)


@HOOKS.register_module()
class RunRecordHook(Hook):
    """One JSON record for a training run that has ended, and one for every test.

    The record of a training run is of the validation after its last epoch or iteration, also where
    an early stop made that the last one; it takes the place of an earlier one in the same folder.
    A run that is complete but for its validation (it was killed in between) makes it up when it is
    resumed.

    The config says what cannot be read off the run: ``task``, ``protocol`` (name and version; the
    number of epochs or iterations is appended, and for a probe what an override changes),
    ``data_about`` (name, description, split) and ``budget``. A description that is None is read
    from ``dataset.json`` in the data root, which our tools/datasets write. What was pre-trained,
    and at what cost, comes out of the checkpoint, by way of :class:`ProvenanceHook`.

    Args:
        folder (str): Where, below the work directory. Defaults to 'records'.
    """

    priority = 'VERY_LOW'

    def __init__(self, folder: str = 'records') -> None:
        self.folder = folder
        self._evaluated: tuple[int, dict] = (-1, {})  # iterations trained, metrics

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if isinstance(runner._train_loop, BaseLoop):
            self._evaluated = runner.iter, metrics or {}
        else:
            self._write(runner, metrics)

    def after_train(self, runner: Runner) -> None:
        loop, val_loop = runner.train_loop, runner.val_loop
        if val_loop is None:
            return
        if self._evaluated[0] != runner.iter:
            done = runner.epoch if hasattr(loop, 'run_epoch') else runner.iter
            if done < loop.val_begin:
                runner.logger.info('No run record: nothing was validated (train_cfg.val_begin).')
                return
            # Complete when it was resumed: no step was left that validation could follow.
            found = [self._has_record(runner) if is_main_process() else None]
            broadcast_object_list(found)
            if found[0]:
                runner.logger.info(f'The run is complete; its record is {found[0]}.')
                return
            val_loop.run()
        self._write(runner, self._evaluated[1])

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._write(runner, metrics)

    @master_only
    def _write(self, runner: Runner, metrics: dict | None) -> None:
        entries = self.values(metrics or _metrics_of_nothing_found(runner))
        undefined = [name for name, value in entries.items() if value is None]
        if len(undefined) == len(entries):
            runner.logger.warning(
                'No run record: the evaluation gave no metrics'
                + (f' but undefined ones ({", ".join(undefined)}).' if undefined else '.')
            )
            return
        record = self.draft(runner, entries)
        if record is None:
            return
        if undefined:
            runner.logger.info(f'Undefined, null in the record: {", ".join(undefined)}.')
        folder = Path(runner.work_dir) / self.folder
        if isinstance(runner._train_loop, BaseLoop):
            for path, earlier in _read_all(folder):
                if 'trained' in earlier.get('extra', {}) or cell_key(earlier) == cell_key(record):
                    path.rename(f'{path}.replaced')  # a table would read two of one run
                    runner.logger.info(f'An earlier record of this run is now {path}.replaced.')
        path = write_record(record, folder)
        runner.logger.info(f'Run record: {path}')

    def _has_record(self, runner: Runner) -> str | None:
        """The record of this very run, where it has one already."""
        record = self.draft(runner, {'': 0.0})
        return record and next(
            (
                str(path)
                for path, earlier in _read_all(Path(runner.work_dir) / self.folder)
                if cell_key(earlier) == cell_key(record)
            ),
            None,
        )

    @staticmethod
    def values(metrics: dict) -> dict[str, float | None]:
        """What of an evaluation's metrics is a number; None where it is undefined."""
        return {
            name: float(value) if math.isfinite(value) and not is_undefined(name, value) else None
            for name, value in metrics.items()
            if _is_number(value)
        }

    def draft(self, runner: Runner, values: dict[str, float | None]) -> RunRecord | None:
        """The record of this run with these metrics; None, and a line, where the config wants none.

        Raises:
            ConfigError: The config has a ``task``, but not all that a record says of it.
        """
        cfg = runner.cfg
        if cfg.get('task') is None:
            runner.logger.warning(
                'No run record: the config has no task. Set task (such as finetune) and '
                'protocol=dict(name=..., version=...).'
            )
            return None
        if missing := [key for key in ('protocol', 'data_about') if not cfg.get(key)]:
            raise ConfigError(
                f'A config with task={cfg.task!r} leaves a run record, which also wants '
                f'{" and ".join(missing)}: protocol=dict(name=..., version=...), '
                'data_about=dict(name=...).'
            )
        about = cfg.data_about
        trained = next(h for h in runner.hooks if isinstance(h, ProvenanceHook))
        origin, account = trained.origin, trained.account
        curves, extra = dict((origin or {}).get('curves') or {}), {}
        if account is None:  # this run trained, or probed
            account = dict(
                length=describe_length(cfg),
                seconds=trained.seconds or None,
                images_seen=trained.images_seen or None,
                flops=trained.flops,
            )
            if isinstance(runner._train_loop, BaseLoop):
                stopped = runner.iter < runner.max_iters
                progress = trained.progress(runner, runner.iter) | dict(stopped_early=stopped)
                account |= progress
                extra['trained'] = progress
        # What a protocol chose among, where its loop tells.
        for loop in (runner._val_loop, runner._test_loop):
            if isinstance(loop, BaseLoop):
                curves |= getattr(loop, 'curves', {})
                extra |= getattr(loop, 'extra', {})
        # A protocol made shorter by an override, or by a stop, is another protocol in every table.
        length = length_run(account)
        # So is one of other settings, here or where the checkpoint was trained.
        changed = {**(account.get('changed') or {}), **(cfg.protocol.get('changed') or {})}
        version = '; '.join([str(cfg.protocol.version), *(f'{k}={v}' for k, v in changed.items())])
        task = 'scratch' if cfg.task == 'finetune' and not origin else cfg.task
        fixed = task in ('linear', 'attentive', 'knn') or cfg.model.backbone.get('frozen', False)
        nothing = 'random' if fixed else 'scratch'
        further = dict(curves=curves, extra=extra)
        return new_record(
            roots=[runner.work_dir],
            task=task,
            protocol=dict(
                name='-'.join(filter(None, (cfg.protocol.name, length))),
                version=version,
            ),
            method=origin['method'] if origin else nothing,
            variant=origin['variant'] if origin else {},
            backbone=describe_backbone(cfg.model.backbone),
            dataset=dict(
                name=about.name,
                description=about.get('description') or _description(runner),
                split=_split(runner, about, account),
                n_train=_size(runner, 'train') or account.get('n_train'),
                n_test=_size(runner, 'test'),
                **_classes_tested(runner),
            ),
            metrics={name: metric(value, *unit_of(name)) for name, value in values.items()},
            seed=runner.seed,
            pretraining=origin['pretraining'] if origin else None,
            config=describe_config(cfg),
            cost=dict(
                **{k: account.get(k) for k in ('seconds', 'images_seen', 'flops')},
                peak_memory_bytes=peak_memory_bytes(),
            ),
            budget=cfg.get('budget'),
            **{name: told for name, told in further.items() if told},
        )


def _read_all(folder: Path) -> list[tuple[Path, RunRecord]]:
    """The records of a folder that can be read."""
    found = []
    for path in sorted(folder.glob(f'*{SUFFIX}')):
        try:
            found.append((path, read_record(path)))
        except RecordError:
            continue
    return found


def _metrics_of_nothing_found(runner: Runner) -> dict:
    """Average precision of a detector that found nothing: 0, where mmdet returns no metrics.

    Where predictions were only written to a file, or there was nothing to find, there is none.
    """
    from mmdet.evaluation import CocoMetric  # seldom needed, and slow to import

    evaluators = (
        getattr(loop, 'evaluator', None) for loop in (runner._val_loop, runner._test_loop)
    )
    return {
        f'{one.prefix}/{kind}_{name}': 0.0
        for evaluator in evaluators
        for one in getattr(evaluator, 'metrics', ())
        if isinstance(one, CocoMetric) and not one.format_only
        if one._coco_api.getAnnIds(imgIds=one.img_ids, catIds=one.cat_ids, iscrowd=False)
        for kind in one.metrics
        if kind in ('bbox', 'segm')
        for name in ('mAP', 'mAP_50', 'mAP_75')
    }


def _is_number(value) -> bool:
    return isinstance(value, int | float) or getattr(value, 'ndim', None) == 0


def _size(runner: Runner, split: str) -> int | None:
    """Images of the training or test split, or None where the run has not loaded it."""
    dataset = _dataset(runner, split)
    return None if dataset is None else len(dataset)


def _split(runner: Runner, about: dict, account: dict) -> str:
    """The split of the test images; where the model was trained on some, it says that."""
    trained = account.get('images') or ()
    if isinstance(runner._train_loop, BaseLoop):
        trained = image_hashes(_dataset(runner, 'train'))
    if trained and not set(trained).isdisjoint(image_hashes(_dataset(runner, 'test'))):
        runner.logger.warning(
            'The model was trained on some of the test images: its record says so.'
        )
        return 'training images'
    return about.get('split', 'test')


def _classes_tested(runner: Runner) -> dict:
    """How many classes have a test image, as an entry of a classifier's record: if not all have."""
    task = TASKS.get(runner.cfg.task)
    if task is None or task.index != 'Image Classification':
        return {}
    dataset = _dataset(runner, 'test')
    tested = len(set(labels_of_images(dataset)))
    return dict(n_classes_tested=tested) if 0 < tested < len(classes_of(dataset.metainfo)) else {}


def _description(runner: Runner) -> str | None:
    """What the tool that prepared the data wrote about it; None, with a warning, if malformed."""
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
