"""A wrapper that makes any data set's augmentation repeatable, and survives unreadable images."""

import logging
import random
from copy import deepcopy

import mmcv
import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mixae.errors import DataError
from mixae.registry import DATASETS

MAX_REPLACEMENTS = 10


@DATASETS.register_module()
class SeededDataset:
    """Seeds Python's, NumPy's and torch's generators for each sample, from (seed, epoch, image).

    mmengine seeds a worker once: what a sample looks like then depends on the number of workers
    and on everything the worker drew before, so a resumed run differs from one that never
    stopped. Here it depends on the sample alone.

    An image that cannot be read is named in a warning and replaced by the next readable one, so
    that a long run does not die of one broken file. With ``on_unreadable='raise'`` (evaluation,
    where a replacement would change the result) it stops the run.

    Args:
        dataset (dict | BaseDataset): The data set.
        subset (int, optional): Use this many samples, evenly spaced over the data set (which
            folders order by class, so each class keeps its share). Defaults to None: all.
        seed (int): Mixed into every sample's seed. Defaults to 0.
        on_unreadable (str): 'replace' or 'raise'. Defaults to 'replace'.
        lazy_init (bool): Leave loading the annotations to the first use. Defaults to False.

    Raises:
        ValueError: An unknown ``on_unreadable``.
        DataError: A data set that is missing, has no sample or not the classes it should have, or
            is smaller than ``subset``; an unreadable image under 'raise', or more than 10 in a row.
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        subset: int | None = None,
        seed: int = 0,
        on_unreadable: str = 'replace',
        lazy_init: bool = False,
    ) -> None:
        if on_unreadable not in ('replace', 'raise'):
            raise ValueError(f"on_unreadable={on_unreadable!r}: choose 'replace' or 'raise'.")
        self.dataset = _build(dataset) if isinstance(dataset, dict) else dataset
        self.subset = subset
        self.seed = seed
        self.on_unreadable = on_unreadable
        self._warned: set[str] = set()
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        return deepcopy(self.dataset.metainfo)

    @property
    def pipeline(self):
        """Of the data set inside; hooks that switch pipelines set it."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline) -> None:
        self.dataset.pipeline = pipeline

    def full_init(self) -> None:
        self.dataset.full_init()
        total = len(self.dataset)
        if total == 0:
            raise DataError(f'{type(self.dataset).__name__} found no sample: {self._where()}.')
        if self.subset is not None and not 1 <= self.subset <= total:
            raise DataError(f'subset={self.subset} of a data set of {total} samples.')
        self.indices = np.linspace(0, total - 1, self.subset or total).round().astype(int)

    def get_data_info(self, idx: int) -> dict:
        return self.dataset.get_data_info(int(self.indices[idx]))

    def get_cat_ids(self, idx: int) -> list[int]:
        return self.dataset.get_cat_ids(int(self.indices[idx]))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, idx: int) -> dict:
        index = int(idx)
        self._seed(index, getattr(idx, 'epoch', 0), getattr(idx, 'draw', 0))
        for attempt in range(MAX_REPLACEMENTS + 1):
            candidate = (index + attempt) % len(self)
            try:
                return self.dataset[int(self.indices[candidate])]
            except Exception as error:
                path = self._unreadable(candidate)
                if path is None:
                    raise  # the pipeline failed, not the file
                if self.on_unreadable == 'raise':
                    raise DataError(f'{path} cannot be read as an image: {error}') from error
                if path not in self._warned:
                    self._warned.add(path)
                    print_log(
                        f'{path} cannot be read as an image ({error}); the next readable image '
                        'of the data set takes its place.',
                        logger='current',
                        level=logging.WARNING,
                    )
        raise DataError(
            f'{MAX_REPLACEMENTS + 1} images in a row, from index {index}, cannot be read; the last '
            f'is {path}. Check the data set: {self._where()}.'
        )

    def _seed(self, *key: int) -> None:
        a, b, c = np.random.SeedSequence([self.seed, *key]).generate_state(3).tolist()
        random.seed(a)
        np.random.seed(b)
        torch.manual_seed(c)

    def _unreadable(self, index: int) -> str | None:
        """The path of the sample's image if that file is what cannot be read."""
        path = self.get_data_info(index).get('img_path')
        if path is None:
            return None
        try:
            readable = mmcv.imread(path) is not None
        except Exception:
            readable = False
        return None if readable else path

    def _where(self) -> str:
        parts = {
            name: getattr(self.dataset, name, None)
            for name in ('data_root', 'data_prefix', 'split')
        }
        return ', '.join(f'{name}={value!r}' for name, value in parts.items() if value)


def _build(dataset: dict) -> BaseDataset:
    try:
        return DATASETS.build(dataset)
    except (OSError, RuntimeError, AssertionError) as error:
        # mmpretrain's way of saying: no such folder, no image in it, other classes than expected.
        given = ', '.join(
            f'{k}={dataset[k]!r}'
            for k in ('data_root', 'data_prefix', 'split', 'ann_file')
            if dataset.get(k)
        )
        raise DataError(
            f'The data set {dataset.get("type")} ({given}) cannot be loaded: '
            f'{str(error).rstrip(".")}. Name the folder of your data in data_root.'
        ) from error
