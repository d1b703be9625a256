"""COCO's AP of the images that were evaluated."""

import logging

from mmdet.evaluation import FasterCocoMetric
from mmengine.fileio import dump, load
from mmengine.logging import print_log

from mixae.datasets.coco import check_masks, coco_api
from mixae.datasets.coco_file import read_coco
from mixae.errors import ConfigError, DataError
from mixae.registry import METRICS


@METRICS.register_module()
class CocoMetric(FasterCocoMetric):
    """mmdet's ``FasterCocoMetric``, over the images that it was given predictions of, by any ids.

    mmdet's counts every image of ``ann_file``: with ``dataset.indices`` those that nobody looked at
    are misses, and a perfect detector's AP is far below 1. An annotation whose id is 0 is taken for
    unmatched, and ids that are no integers end in an error of its C++ code; here annotations are
    numbered from 1, and other ids by their rank, which keeps the order of ties.

    Classes without an object are named in the log, and counted in the record as
    ``classes_absent``; AP is the mean of the others, as in pycocotools, and undefined (-1) where
    there is no object at all.

    Args:
        ann_file (str, optional): The annotation file. Defaults to None: the truth comes with the
            samples, which must not be resized.
        **kwargs: Of mmdet's ``FasterCocoMetric``.

    Raises:
        DataError: A file that :func:`mixae.datasets.coco_file.read_coco` refuses; no masks for
            ``metric='segm'``; an image that is not in the file.
        ConfigError: Resized samples without ``ann_file``.
    """

    def __init__(self, ann_file: str | None = None, **kwargs) -> None:
        super().__init__(ann_file=None, **kwargs)
        self.ann_file = ann_file
        self._content = read_coco(ann_file) if ann_file is not None else None
        if self._content is None:
            return
        self._images = _numbers([image['id'] for image in self._content['images']])
        self._categories = _numbers([one['id'] for one in self._content['categories']])
        for image in self._content['images']:
            image['id'] = self._images[image['id']]
        for category in self._content['categories']:
            category['id'] = self._categories[category['id']]
        for number, annotation in enumerate(self._content['annotations'], 1):
            annotation['id'] = number  # 0 means unmatched
            annotation['image_id'] = self._images[annotation['image_id']]
            annotation['category_id'] = self._categories[annotation['category_id']]
        self._coco_api = coco_api(self._content)

    @property
    def dataset_meta(self) -> dict | None:
        """What the data set says of itself; set before the first image is seen."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        self._dataset_meta = meta
        if self._content is not None and 'segm' in self.metrics and not self.format_only:
            check_masks(self.ann_file, self._content, list(meta['classes']))

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Keep predictions, and the truth of samples where no file has it."""
        for sample in data_samples if self._content is None else ():
            if any(factor != 1 for factor in sample.get('scale_factor') or ()):
                raise ConfigError(
                    'mixae.CocoMetric has ann_file=None and so takes the truth from the samples, '
                    f'which are resized (by {sample["scale_factor"]}) while predictions are not: '
                    'set ann_file of the evaluator.'
                )
        if self._content is None and not self.results:  # an evaluation brings its own truth
            self._coco_api = self.cat_ids = None
        super().process(data_batch, data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The metrics of (truth, prediction) pairs, one an image."""
        given = [truth['img_id'] for truth, _ in results]
        images = _numbers(given) if self._content is None else self._images
        unknown = [image for image in given if image not in images]
        if unknown:
            raise DataError(
                f'{self.ann_file} of the evaluator lacks {len(unknown)} of the {len(given)} images '
                f'that were evaluated, image {unknown[0]!r} is the first: name the ann_file of the '
                'data set.'
            )
        self.img_ids = [images[image] for image in given]
        numbered = [
            [dict(part, img_id=number) for part in pair]
            for number, pair in zip(self.img_ids, results, strict=True)
        ]
        absent = [] if self.format_only else self._absent(results)
        metrics = super().compute_metrics(numbered)
        if self._content is not None and self.outfile_prefix is not None:
            self._restore_ids()
        # mmdet returns none where nothing was found, and -1 where there is nothing to find.
        if metrics and 0 < len(absent) < len(self.dataset_meta['classes']):
            metrics['classes_absent'] = len(absent)
        return metrics

    def results2json(self, results: list[dict], outfile_prefix: str) -> dict[str, str]:
        """As mmdet's; remembers the files."""
        files = super().results2json(results, outfile_prefix)
        self._files = set(files.values())
        return files

    def _absent(self, results: list) -> list[str]:
        """Classes without an object in the images, which are named in the log."""
        classes = list(self.dataset_meta['classes'])
        if self._content is None:
            found = {classes[one['bbox_label']] for truth, _ in results for one in truth['anns']}
        else:
            names = {category['id']: category['name'] for category in self._content['categories']}
            evaluated = set(self.img_ids)
            found = {
                names[one['category_id']]
                for one in self._content['annotations']
                if one['image_id'] in evaluated and not one['iscrowd']
            }
        absent = [name for name in classes if name not in found]
        if absent:
            print_log(
                f'{len(absent)} of {len(classes)} classes have no object in the {len(results)} '
                f'evaluated images ({", ".join(absent[:8])}{", ..." if len(absent) > 8 else ""}): '
                f'AP is {"not defined" if absent == classes else "the mean of the others"}.',
                logger='current',
                level=logging.WARNING,
            )
        return absent

    def _restore_ids(self) -> None:
        """Write result files, which are to be handed in, with the ids of the annotation file."""
        images, categories = (
            {number: given for given, number in numbers.items()}
            for numbers in (self._images, self._categories)
        )
        for path in self._files:
            rows = load(path)
            for row in rows:
                row['image_id'] = images[row['image_id']]
                row['category_id'] = categories[row['category_id']]
            dump(rows, path)


def _numbers(ids: list) -> dict:
    """An integer for each id: itself where all are from 0 to 2^31, else its rank."""
    if all(type(one) is int and 0 <= one < 2**31 for one in ids):
        return {one: one for one in ids}
    ranked = sorted(set(ids), key=lambda one: (isinstance(one, str), one))
    return {one: number for number, one in enumerate(ranked, 1)}
