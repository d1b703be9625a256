"""Semantics-enhanced sampling: shares, epochs, processes and bad input."""

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpretrain.datasets import CustomDataset
from torch.utils.data import DataLoader, default_collate

from mixae.datasets import pair_sampler
from mixae.datasets.pair_sampler import PairSampler, dataset_labels
from mixae.datasets.pseudo_labels import (
    dataset_fingerprint,
    read_pseudo_labels,
    save_pseudo_labels,
)
from mixae.datasets.seeded import SeededDataset
from mixae.errors import DataError
from mixae.evaluation.pseudo_labels import cluster
from mixae.registry import DATA_SAMPLERS


class Labelled:
    """The least that the sampler asks of a data set."""

    def __init__(self, labels):
        self.labels = list(labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return int(i)

    def get_gt_labels(self):
        return np.array(self.labels)

    def get_data_info(self, i):
        return dict(img_path=f'/data/{self.labels[i]}/{i}.png', gt_label=self.labels[i])


class Unlabelled:
    def __len__(self):
        return 10


def sample(sampler, epoch=0):
    sampler.set_epoch(epoch)
    flat = list(sampler)
    assert len(flat) == len(sampler)
    return np.array(flat[0::2]), np.array(flat[1::2])


labels_of_any_balance = st.lists(st.integers(0, 4), min_size=2, max_size=80)
shares = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))


@settings(max_examples=150, deadline=None)
@given(
    labels=labels_of_any_balance,
    share=shares,
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 3),
    world=st.integers(1, 3),
    batch=st.integers(1, 9),
)
def test_what_must_hold_of_every_epoch(labels, share, seed, epoch, world, batch):
    if share is not None and share < 1 and len(set(labels)) == 1:
        return
    labels = np.array(labels)
    counts = Counter(labels.tolist())
    N = len(labels)
    all_anchors, lengths = [], set()
    with pytest.MonkeyPatch.context() as patch:
        for rank in range(world):
            patch.setattr(pair_sampler, 'get_dist_info', lambda rank=rank: (rank, world))
            sampler = PairSampler(Labelled(labels), same_class_ratio=share, seed=seed)
            anchors, partners = sample(sampler, epoch)
            again = sample(sampler, epoch)
            assert np.array_equal(anchors, again[0]) and np.array_equal(partners, again[1])
            all_anchors += anchors.tolist()
            lengths.add(len(anchors))
            alone = np.array([counts[c] == 1 for c in labels[anchors].tolist()])
            same = labels[anchors] == labels[partners]
            if share is None:
                assert (anchors != partners).all()
                continue
            own = anchors == partners
            assert not (own & ~alone).any()
            assert (own[same] == alone[same]).all()
            for size in (batch, len(anchors)):  # any window, so any batch, and all of them
                for start in range(len(anchors) - size + 1):
                    assert abs(same[start : start + size].sum() - share * size) < 1 + 1e-6
    assert len(lengths) == 1  # all processes have the same number of pairs
    times = Counter(all_anchors)
    assert set(times) == set(range(N))  # each image is an anchor
    assert sum(times.values()) - N < world  # and once, but for the filling


def test_the_share_holds_over_a_long_epoch_and_over_processes(monkeypatch):
    labels = np.arange(5000) % 7
    for share in (0.1, 0.37, 0.5):
        same = []
        for rank in range(4):
            monkeypatch.setattr(pair_sampler, 'get_dist_info', lambda rank=rank: (rank, 4))
            sampler = PairSampler(Labelled(labels), same_class_ratio=share, seed=0)
            anchors, partners = sample(sampler)
            same.append(labels[anchors] == labels[partners])
            assert abs(same[-1].sum() - share * 1250) < 1 + 1e-6
        # Their steps are up at different times: four processes make no error four times as large.
        batches = np.stack(same).reshape(4, 25, 50).sum(axis=(0, 2))
        assert abs(batches - share * 200).max() <= 2


def test_partners_are_uniform_over_their_pool():
    from scipy.stats import chisquare

    labels = np.array([0] * 4 + [1] * 8 + [2] * 12)
    pools = {
        None: lambda a: np.flatnonzero(np.arange(24) != a),
        0.0: lambda a: np.flatnonzero(labels != labels[a]),
        1.0: lambda a: np.flatnonzero((labels == labels[a]) & (np.arange(24) != a)),
    }
    for share, pool in pools.items():
        sampler = PairSampler(Labelled(labels), same_class_ratio=share, seed=0)
        drawn = {a: Counter() for a in (1, 7, 20)}
        for epoch in range(800):
            anchors, partners = sample(sampler, epoch)
            for a in drawn:
                drawn[a][int(partners[anchors == a][0])] += 1
        for a, counter in drawn.items():
            observed = np.array([counter[p] for p in pool(a)])
            assert observed.sum() == 800  # nothing outside the pool
            assert chisquare(observed).pvalue > 1e-4


def test_epochs_and_seeds_differ_and_a_resumed_epoch_repeats():
    data = Labelled(np.arange(60) % 3)
    sampler = PairSampler(data, same_class_ratio=0.5, seed=1)
    first, second = sample(sampler, 0), sample(sampler, 1)
    assert not np.array_equal(first[0], second[0]) and not np.array_equal(first[1], second[1])
    resumed = PairSampler(data, same_class_ratio=0.5, seed=1)
    assert np.array_equal(sample(resumed, 1)[1], second[1])
    other = PairSampler(data, same_class_ratio=0.5, seed=2)
    assert not np.array_equal(sample(other, 0)[1], first[1])


@pytest.mark.parametrize('share', [None, 0.0, 1.0])
def test_partners_do_not_depend_on_the_number_of_processes(share, monkeypatch):
    data = Labelled(np.arange(60) % 3)
    pairs = {}
    for world in (1, 2):
        found = set()
        for rank in range(world):
            monkeypatch.setattr(pair_sampler, 'get_dist_info', lambda r=rank, w=world: (r, w))
            anchors, partners = sample(PairSampler(data, share, seed=3))
            found |= set(zip(anchors.tolist(), partners.tolist(), strict=True))
        pairs[world] = found
    assert pairs[1] == pairs[2]


def test_indices_tell_every_draw_of_an_image_apart():
    sampler = PairSampler(Labelled([0, 1, 1, 2]), same_class_ratio=1.0, seed=0)
    sampler.set_epoch(5)
    indices = list(sampler)
    assert {i.epoch for i in indices} == {5}
    keys = [(int(i), i.draw) for i in indices]
    assert len(set(keys)) == len(keys)
    assert (0, 0) in keys and (0, 1) in keys  # image 0 is its own partner, augmented anew
    assert [(int(i), i.epoch, i.draw) for i in pickle.loads(pickle.dumps(indices))] == [
        (int(i), i.epoch, i.draw) for i in indices
    ]


def test_a_plain_dataloader_gives_whole_pairs():
    labels = np.arange(50) % 5
    sampler = PairSampler(Labelled(labels), same_class_ratio=0.5, seed=0)
    loader = DataLoader(
        Labelled(labels), batch_size=16, sampler=sampler, drop_last=True, collate_fn=default_collate
    )
    batches = [b.numpy() for b in loader]
    assert len(batches) == 100 // 16
    for batch in batches:
        assert (labels[batch[0::2]] == labels[batch[1::2]]).sum() == 4


def test_classes_of_one_image_are_logged(monkeypatch):
    lines = []
    monkeypatch.setattr(pair_sampler, 'print_log', lambda message, **_: lines.append(message))
    PairSampler(Labelled([0, 0, 1, 2]), same_class_ratio=0.5, seed=0)
    PairSampler(Labelled([0, 0, 1, 1]), same_class_ratio=0.5, seed=0)
    assert len(lines) == 1 and lines[0].startswith('2 of 3 classes have one image')


@pytest.mark.parametrize(
    ('data', 'options', 'message'),
    [
        (Labelled([0, 1]), dict(same_class_ratio=1.5), r'1.5 is outside \[0, 1\]'),
        (Labelled([0, 1]), dict(same_class_ratio=-0.1), r'-0.1 is outside \[0, 1\]'),
        (Labelled([0, 1]), dict(same_class_ratio='half'), r"'half' is outside \[0, 1\]"),
        (Labelled([0]), dict(), '1 image'),
        (Labelled([0]), dict(same_class_ratio=1.0), '1 image'),
        (Unlabelled(), dict(same_class_ratio=0.5), 'Unlabelled has none'),
        (Labelled([3, 3, 3]), dict(same_class_ratio=0.5), 'all images have the same'),
        (Labelled([0, 1]), dict(pseudo_labels='x.npz'), 'same_class_ratio=None'),
        (Labelled([0, 1]), dict(pseudo_labels='x.npz', same_class_ratio=0.5), 'x.npz'),
    ],
)
def test_bad_input(data, options, message):
    with pytest.raises(DataError, match=message):
        PairSampler(data, seed=0, **options)


def test_no_labels_are_needed_without_a_share():
    sampler = DATA_SAMPLERS.build(
        dict(type='mixae.PairSampler'), default_args=dict(dataset=Unlabelled(), seed=0)
    )
    assert len(sample(sampler)[0]) == 10 and not sampler.labels_in_pretraining


@pytest.fixture
def folder(tmp_path):
    import cv2

    for label, count in (('ant', 3), ('bee', 2)):
        (tmp_path / label).mkdir()
        for i in range(count):
            cv2.imwrite(str(tmp_path / label / f'{i}.png'), np.zeros((8, 8, 3), np.uint8))
    return str(tmp_path)


def test_labels_of_mmpretrain_data_sets_through_wrappers(folder):
    data = CustomDataset(data_prefix=folder)
    for wrapped in (data, SeededDataset(data)):
        assert dataset_labels(wrapped).tolist() == [0, 0, 0, 1, 1]
        assert PairSampler(wrapped, same_class_ratio=1.0, seed=0).labels_in_pretraining
    without = SeededDataset(CustomDataset(data_prefix=folder, with_label=False))
    with pytest.raises(ValueError, match='with_label=True'):
        PairSampler(without, same_class_ratio=0.5, seed=0)


def test_pseudo_labels_take_the_place_of_labels(folder, tmp_path):
    data = SeededDataset(CustomDataset(data_prefix=folder, with_label=False))
    features = np.array([[0.0], [0.1], [9.0], [9.1], [9.2]])
    labels = cluster(features, k=2, seed=0)
    assert labels[0] == labels[1] and labels[2] == labels[3] == labels[4] != labels[0]
    path = str(tmp_path / 'pseudo.npz')
    made = dict(dataset_sha256=dataset_fingerprint(data), k=2, seed=0, checkpoint_sha256='ab')
    save_pseudo_labels(path, labels, made)
    assert read_pseudo_labels(path)[1] == made
    sampler = PairSampler(data, same_class_ratio=1.0, pseudo_labels=path, seed=0)
    assert not sampler.labels_in_pretraining and sampler.pseudo_provenance == made
    anchors, partners = sample(sampler)
    assert np.array_equal(labels[anchors], labels[partners]) and (anchors != partners).all()

    # Clusters of the features of a model that saw labels are no label-free alternative.
    save_pseudo_labels(path, labels, made | dict(labels_in_pretraining=True))
    sampler = PairSampler(data, same_class_ratio=1.0, pseudo_labels=path, seed=0)
    assert sampler.labels_in_pretraining

    reversed_data = copy.copy(Labelled([0, 0, 0, 1, 1]))
    with pytest.raises(ValueError, match='other images'):
        PairSampler(reversed_data, same_class_ratio=1.0, pseudo_labels=path, seed=0)
    with pytest.raises(ValueError, match='5 images, the data set has 2'):
        PairSampler(Labelled([0, 1]), same_class_ratio=1.0, pseudo_labels=path, seed=0)


def test_pseudo_label_files_are_never_unpickled(tmp_path):
    path = tmp_path / 'bad.npz'
    np.savez(path, labels=np.array([object()], dtype=object), provenance='{}')
    with pytest.raises(ValueError, match='no file of pseudo-labels'):
        read_pseudo_labels(path)
    with pytest.raises(ValueError, match='k=1'):
        cluster(np.zeros((4, 2)), k=1)
    with pytest.raises(DataError, match='features are not finite'):
        cluster(np.full((4, 2), np.nan), k=2)
    with pytest.raises(ValueError, match='dataset_sha256'):
        save_pseudo_labels(path, np.zeros(2), {})


DAMAGED = {
    'no provenance': dict(labels=np.zeros(3, int)),
    'no labels': dict(provenance='{"dataset_sha256": "0"}'),
    'provenance a list': dict(labels=np.zeros(3, int), provenance='[]'),
    'provenance cut': dict(labels=np.zeros(3, int), provenance='{"dataset'),
    'no fingerprint': dict(labels=np.zeros(3, int), provenance='{}'),
    'floats': dict(labels=np.zeros(3), provenance='{"dataset_sha256": "0"}'),
    'negative': dict(labels=-np.ones(3, int), provenance='{"dataset_sha256": "0"}'),
    'a matrix': dict(labels=np.zeros((3, 2), int), provenance='{"dataset_sha256": "0"}'),
}


@pytest.mark.parametrize('case', DAMAGED)
def test_damaged_files_of_pseudo_labels_are_named(tmp_path, case):
    np.savez(tmp_path / 'labels.npz', **DAMAGED[case])
    with pytest.raises(DataError, match=r'labels\.npz is no file of pseudo-labels'):
        read_pseudo_labels(tmp_path / 'labels.npz')
