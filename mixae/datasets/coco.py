"""COCO's annotation files and image folders, checked before training."""

import contextlib
import io
import os
from collections import Counter

from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.fileio import get_file_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.logging import print_log

from mixae.datasets.checks import check_class_names
from mixae.datasets.coco_file import read_coco
from mixae.datasets.folders import SUFFIXES
from mixae.errors import DataError
from mixae.registry import DATASETS


@DATASETS.register_module()
class CocoDataset(MMDetCocoDataset):
    """mmdet's ``CocoDataset`` that stops at what is wrong before the first step, and names it.

    mmdet numbers the classes by the file's categories. Where some are missing it goes on, with
    labels that mean other classes, and ends after an epoch of training in an IndexError that names
    nothing; another order in another split goes unnoticed. Further categories are left out, as in
    mmdet. What is left out is said in the log.

    Args:
        **kwargs: Arguments of mmdet's ``CocoDataset``. ``metainfo=dict(classes=...)`` gives other
            classes than COCO's.

    Raises:
        DataError: The file is no COCO annotation file or has a wrong entry
            (:func:`mixae.datasets.coco_file.read_coco`), lacks classes, or has them twice or in
            another order; masks are loaded and there are annotations without; an image is not in
            its folder; or ``filter_cfg`` leaves no image.
    """

    def COCOAPI(self, path: str) -> COCO:  # noqa: N802  (mmdet reads the file by this name)
        """Read an annotation file, check it, and say what mmdet is going to leave out."""
        check_class_names(self)
        content, classes = read_coco(path), list(self.metainfo['classes'])
        _check_categories(self.ann_file, content, classes)
        if any(getattr(step, 'with_mask', False) for step in self.pipeline.transforms):
            check_masks(self.ann_file, content, classes)
        for line in _left_out(content, classes):
            print_log(f'{self.ann_file}: {line}.', logger='current')
        return coco_api(content)

    def load_data_list(self) -> list[dict]:
        """As mmdet's; an image that is not in its folder is an error."""
        data_list = super().load_data_list()
        self._check_images(data_list)
        return data_list

    def _check_images(self, data_list: list[dict]) -> None:
        """Every image is in its folder, and the log counts those without an entry."""
        if not isinstance(get_file_backend(self.data_prefix['img']), LocalBackend):
            return
        paths = [os.path.split(info['img_path']) for info in data_list]
        folders = {folder for folder, _ in paths if os.path.isdir(folder or os.curdir)}
        there = {(folder, name) for folder in folders for name in os.listdir(folder or None)}
        unused = sum(name.lower().endswith(SUFFIXES) for _, name in there.difference(paths))
        if unused:
            print_log(
                f'{self.ann_file}: {unused} further images in its folder have no entry in it.',
                logger='current',
            )
        missing = [os.path.join(*path) for path in paths if path not in there]
        if missing:
            raise DataError(
                f'{len(missing)} of the {len(data_list)} images of {self.ann_file} are not in '
                f'their folder: {_few(missing, 3)}. Set data_root or data_prefix.'
            )

    def filter_data(self) -> list[dict]:
        """As mmdet's, with a line about how many go; none left is an error."""
        kept, total = super().filter_data(), len(self.data_list)
        if len(kept) == total:
            return kept
        rule = (
            f'filter_cfg={dict(self.filter_cfg)}, which takes out images without annotations of '
            'the classes, or with a side below min_size'
        )
        if not kept:
            raise DataError(f'{self.ann_file}: none of its {total} images is left after {rule}.')
        print_log(
            f'{self.ann_file}: {total - len(kept)} of {total} images are left out by {rule}.',
            logger='current',
        )
        return kept


def coco_api(content: dict) -> COCO:
    """pycocotools' index of an annotation file's content."""
    coco = COCO()
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    coco.img_ann_map, coco.cat_img_map = coco.imgToAnns, coco.catToImgs
    return coco


def check_masks(ann_file: str, content: dict, classes: list[str]) -> None:
    """Make sure that every annotation of the classes has a mask.

    Raises:
        DataError: One has none.
    """
    ids = {x['id'] for x in content['categories'] if x['name'] in classes}
    rows = [a for a in content['annotations'] if a['category_id'] in ids]
    without = [a['id'] for a in rows if 'segmentation' not in a]
    if without:
        raise DataError(
            f'{ann_file}: {len(without)} of {len(rows)} annotations have no mask (segmentation), '
            f'the first is annotation {without[0]!r}; masks are trained or evaluated. Add them, or '
            "train boxes alone: with_mask=False, metric='bbox', and a detector without mask_head."
        )


def _check_categories(ann_file: str, content: dict, classes: list[str]) -> None:
    names = [category['name'] for category in content['categories']]
    advice = (
        'Correct its categories, or ann_file; for other classes set metainfo.classes of the '
        "train, val and test data sets, and num_classes of the model's heads."
    )
    missing = [name for name in classes if name not in names]
    if missing:
        raise DataError(
            f'{ann_file} lacks {len(missing)} of the {len(classes)} classes: {_few(missing)}. Its '
            f'categories: {_few(names) or "none"}. {advice}'
        )
    found = [name for name in names if name in classes]
    if found != classes:
        raise DataError(
            f'{ann_file} has the classes twice or in another order, which would give them other '
            f'labels: {_few(found)}; expected {_few(classes)}. {advice}'
        )


def _left_out(content: dict, classes: list[str]) -> list[str]:
    """What mmdet leaves out (``parse_data_info``), and classes without an object, in words."""
    label = {x['id']: x['name'] for x in content['categories'] if x['name'] in classes}
    sides = {image['id']: (image['width'], image['height']) for image in content['images']}
    reasons, objects = Counter(), Counter()
    for annotation in content['annotations']:
        x, y, w, h = annotation['bbox']
        width, height = sides[annotation['image_id']]
        if annotation.get('ignore'):
            reasons['marked ignore'] += 1
        elif x >= width or y >= height or x + w <= 0 or y + h <= 0:
            reasons['outside their image'] += 1
        elif annotation['area'] <= 0 or w < 1 or h < 1:
            reasons['smaller than a pixel'] += 1
        elif annotation['category_id'] not in label:
            reasons['of other categories'] += 1
        else:
            objects[label[annotation['category_id']]] += 1
    lines = []
    if reasons:
        counts = ', '.join(f'{count} {reason}' for reason, count in reasons.items())
        lines.append(f'annotations left out of {len(content["annotations"])}: {counts}')
    absent = [name for name in classes if not objects[name]]
    if absent:
        lines.append(f'no object of {len(absent)} of the {len(classes)} classes: {_few(absent)}')
    return lines


def _few(names: list[str], most: int = 8) -> str:
    return ', '.join(names[:most]) + (f', ... ({len(names)})' if len(names) > most else '')
