"""Indices that know their epoch, so that augmentation depends on the sample and nothing else."""

from collections.abc import Iterator

from mmengine.dataset import DefaultSampler, InfiniteSampler

from mixae.registry import DATA_SAMPLERS


class SampleIndex(int):
    """A dataset index that carries what its augmentation is seeded with.

    Args:
        index (int): Index into the data set.
        epoch (int): The epoch it is drawn in.
        draw (int): Tells apart the draws of one image within an epoch. 0 where each image is
            drawn once.
    """

    epoch: int
    draw: int

    def __new__(cls, index: int, epoch: int = 0, draw: int = 0) -> 'SampleIndex':
        self = super().__new__(cls, index)
        self.epoch, self.draw = epoch, draw
        return self

    def __reduce__(self) -> tuple:
        return SampleIndex, (int(self), self.epoch, self.draw)


@DATA_SAMPLERS.register_module()
class EpochSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` whose indices carry the epoch (:class:`SampleIndex`).

    With :class:`SeededDataset`, what a sample looks like then depends on the seed, the epoch and
    the image alone: not on the number of workers or processes, nor on what ran before a resume.
    """

    def __iter__(self) -> Iterator[SampleIndex]:
        return (SampleIndex(i, epoch=self.epoch) for i in super().__iter__())


@DATA_SAMPLERS.register_module()
class InfiniteEpochSampler(InfiniteSampler):
    """mmengine's ``InfiniteSampler`` whose indices carry the pass over the data as their epoch."""

    def _infinite_indices(self) -> Iterator[SampleIndex]:
        for position, index in enumerate(super()._infinite_indices()):
            yield SampleIndex(index, epoch=position // self.size)
