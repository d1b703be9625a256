"""A config's images in pairs, for what is measured on mixtures."""

import copy

from mmengine.runner import Runner
from torch.utils.data import DataLoader


def build_pair_loader(
    dataloader: dict, pairs: int, same_class_ratio: float | None = None, seed: int = 0
) -> DataLoader:
    """A dataloader of a config over pairs of images in place of single ones.

    Args:
        dataloader (dict): Of a config, e.g. its ``test_dataloader``.
        pairs (int): Pairs a batch.
        same_class_ratio (float, optional): See :class:`PairSampler`. Defaults to None.
        seed (int): Which pairs. Defaults to 0.
    """
    sampler = dict(type='mixae.PairSampler', same_class_ratio=same_class_ratio)
    changed = dict(batch_size=2 * pairs, drop_last=False, sampler=sampler)
    dataloader = {**copy.deepcopy(dataloader), **changed}
    dataloader.pop('batch_sampler', None)
    return Runner.build_dataloader(dataloader, seed=seed)
