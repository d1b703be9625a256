"""A wrapper that makes any data set's augmentation repeatable, and survives unreadable images."""

import logging
import random
from copy import deepcopy

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mixae.datasets.checks import loading
from mixae.datasets.few_labels import draw_shots, find_listed, labels_of
from mixae.datasets.guard import MAX_REPLACEMENTS, UnreadableError, guard
from mixae.datasets.held_out import hold_out
from mixae.errors import DataError
from mixae.registry import DATASETS


@DATASETS.register_module()
class SeededDataset:
    """Seeds Python's, NumPy's and torch's generators for each sample, from (seed, epoch, image).

    mmengine seeds a worker once: what a sample looks like then depends on the number of workers
    and on everything the worker drew before, so a resumed run differs from one that never
    stopped. Here it depends on the sample alone.

    An image (or mask) that cannot be read is named in a warning and replaced by the next sample
    that can, so that a long run does not die of one broken file. With ``on_unreadable='raise'``
    (evaluation, where a replacement would change the result) it stops the run.

    Args:
        dataset (dict | BaseDataset): The data set.
        subset (int, optional): Use this many samples, evenly spaced over the data set (which
            folders order by class, so each class keeps its share). Defaults to None: all.
        shots (int, optional): Use this many images of each class, drawn by ``shots_seed``; the
            first k of more shots are those of k shots. Defaults to None: all.
        shots_seed (int): Which images. Defaults to 0.
        files (str, optional): Use the images that this text file names, one a line: by file
            name, or by a path that theirs ends in. SimCLR published ImageNet's 1 % and 10 % so.
            Defaults to None: all.
        seed (int): Mixed into every sample's seed. Defaults to 0.
        on_unreadable (str): 'replace' or 'raise'. Defaults to 'replace'.
        hold_out (float, optional): The share of every class of the samples that is held out
            (:func:`mixae.datasets.held_out.hold_out`). Defaults to None: none.
        part (str): With ``hold_out``: 'fit', the samples that are not held out, or 'held_out'.
            Defaults to 'fit'.
        lazy_init (bool): Leave loading the annotations to the first use. Defaults to False.

    Raises:
        ValueError: An unknown ``on_unreadable``; more than one of subset, shots and files.
        DataError: A data set that is missing, has no sample or not the classes it should have, or
            is smaller than ``subset``; a class of fewer images than ``shots``, or no labels; a
            list that cannot be read, or that names images that there are not; an unreadable image
            under 'raise', or more than 10 in a row.
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        subset: int | None = None,
        shots: int | None = None,
        shots_seed: int = 0,
        files: str | None = None,
        seed: int = 0,
        on_unreadable: str = 'replace',
        hold_out: float | None = None,
        part: str = 'fit',
        lazy_init: bool = False,
    ) -> None:
        if on_unreadable not in ('replace', 'raise'):
            raise ValueError(f"on_unreadable={on_unreadable!r}: choose 'replace' or 'raise'.")
        if part not in ('fit', 'held_out'):
            raise ValueError(f"part={part!r}: choose 'fit' or 'held_out'.")
        given = {
            name: value
            for name, value in dict(subset=subset, shots=shots, files=files).items()
            if value is not None
        }
        if len(given) > 1:
            raise ValueError(f'{", ".join(given)}: give one of them.')
        if isinstance(dataset, dict):
            with loading(dataset):
                dataset = DATASETS.build(dataset)
        self.dataset = dataset
        guard(dataset, replace=False)  # the replacement is drawn here, the same in every run
        self.subset = subset
        self.shots = shots
        self.shots_seed = shots_seed
        self.files = files
        self.seed = seed
        self.on_unreadable = on_unreadable
        self.hold_out = hold_out
        self.part = part
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
        if self.shots is not None:
            self.indices = draw_shots(labels_of(self.dataset), self.shots, self.shots_seed)
        elif self.files is not None:
            self.indices = find_listed(self.dataset, self.files)
        else:
            self.indices = np.linspace(0, total - 1, self.subset or total).round().astype(int)
        if self.hold_out is not None:
            # The same part in every run: seeds of runs do not move what is held out.
            held = hold_out(labels_of(self.dataset)[self.indices], self.hold_out)
            self.indices = self.indices[held if self.part == 'held_out' else ~held]

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
            except UnreadableError as error:
                if self.on_unreadable == 'raise':
                    raise
                message = str(error).rstrip('.')
                if message not in self._warned:
                    self._warned.add(message)
                    print_log(
                        f'{message}; the next readable image of the data set takes its place.',
                        logger='current',
                        level=logging.WARNING,
                    )
        raise DataError(
            f'{MAX_REPLACEMENTS + 1} images in a row, from index {index}, cannot be read; the last '
            f'one: {message}. Check the data set: {self._where()}.'
        )

    def _seed(self, *key: int) -> None:
        a, b, c = np.random.SeedSequence([self.seed, *key]).generate_state(3).tolist()
        random.seed(a)
        np.random.seed(b)
        # Not torch.manual_seed: that formats a stack trace for CUDA's generators, which no loading
        # uses, and costs as much as loading a small picture.
        torch.default_generator.manual_seed(c)

    def _where(self) -> str:
        parts = {
            name: getattr(self.dataset, name, None)
            for name in ('data_root', 'data_prefix', 'split')
        }
        return ', '.join(f'{name}={value!r}' for name, value in parts.items() if value)
