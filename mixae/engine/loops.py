"""Training data and loops that a resumed run repeats."""

import copy

from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

from mixae.registry import LOOPS

# Samplers of mmengine, and the same whose indices carry the epoch that they are drawn in.
_SAMPLERS = {
    'DefaultSampler': 'mixae.EpochSampler',
    'InfiniteSampler': 'mixae.InfiniteEpochSampler',
}
_SEEDED = {'SeededDataset', 'DeviceDataset'}
_CARRIES_EPOCH = {'EpochSampler', 'InfiniteEpochSampler', 'PairSampler'}


@LOOPS.register_module()
class EpochLoop(EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop`` that goes on within an epoch.

    mmengine's begins the epoch of a checkpoint from its middle anew, and takes more steps than
    the run has.
    """

    def run_epoch(self) -> None:
        """The rest of an epoch; all of it but after a resume."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        batches = self.dataloader if done == 0 else rest_of_epoch(self.dataloader, done)
        for idx, data_batch in enumerate(batches, start=done):
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


def rest_of_epoch(loader: DataLoader, done: int) -> DataLoader:
    """The batches of an epoch after the first ``done``, without loading those."""
    return DataLoader(
        loader.dataset,
        batch_sampler=list(loader.batch_sampler)[done:],
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
    )


def repeatable(dataloader: dict, seed: int) -> dict | None:
    """A training data loader's config, with each sample seeded by (seed, epoch, image).

    Augmentation of mmdet's and mmseg's data sets follows the generators of the workers, of which
    no checkpoint knows; here it follows the sample (:class:`mixae.datasets.SeededDataset`).

    Args:
        dataloader (dict): The config as mmengine builds it.
        seed (int): The run's.

    Returns:
        dict, optional: A changed copy; None where the sampler is one whose indices do not say
        the epoch, with which every epoch would repeat the first.
    """
    name = type_name(dataloader['sampler'])
    if name not in _SAMPLERS and name not in _CARRIES_EPOCH:
        return None
    dataloader = copy.deepcopy(dataloader)
    dataloader['sampler']['type'] = _SAMPLERS.get(name, dataloader['sampler']['type'])
    if type_name(dataloader['dataset']) not in _SEEDED:
        dataset = dataloader['dataset']
        dataloader['dataset'] = dict(type='mixae.SeededDataset', dataset=dataset, seed=seed)
    return dataloader


def type_name(config: dict) -> str:
    """The class that a config names, without its scope: by a string, or itself."""
    kind = config.get('type')
    return kind.__name__ if isinstance(kind, type) else str(kind).split('.')[-1]
