"""Indices that know their epoch."""

import pickle

import pytest
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader

from mixae.datasets import EpochSampler, SampleIndex


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('epoch', [0, 3])
def test_same_order_as_mmengines_sampler_with_the_epoch_on_it(shuffle, epoch):
    samplers = [kind(range(20), shuffle=shuffle, seed=7) for kind in (DefaultSampler, EpochSampler)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    expected, indices = (list(sampler) for sampler in samplers)
    assert indices == expected
    assert {index.epoch for index in indices} == {epoch}


def test_index_is_an_index():
    index = SampleIndex(3, epoch=2, draw=1)
    assert list('abcdef')[index] == 'd'
    assert (index, index.epoch, index.draw) == (3, 2, 1)


def test_pickling_keeps_epoch_and_draw():
    index = pickle.loads(pickle.dumps(SampleIndex(3, epoch=2, draw=1)))
    assert (int(index), index.epoch, index.draw) == (3, 2, 1)


class Epochs:
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return index.epoch


@pytest.mark.parametrize('workers', [0, 2])
def test_the_epoch_reaches_the_data_set_also_through_workers(workers):
    sampler = EpochSampler(Epochs(), shuffle=True, seed=0)
    loader = DataLoader(
        Epochs(),
        batch_size=2,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    for epoch in (0, 5):
        sampler.set_epoch(epoch)
        assert [value for batch in loader for value in batch.tolist()] == [epoch] * 6
