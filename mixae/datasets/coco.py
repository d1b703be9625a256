"""COCO's annotation files, with their categories checked."""

from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmdet.datasets.api_wrappers import COCO

from mixae.errors import DataError
from mixae.registry import DATASETS


@DATASETS.register_module()
class CocoDataset(MMDetCocoDataset):
    """mmdet's ``CocoDataset`` that stops at an annotation file without the data set's classes.

    mmdet numbers the classes by the file's categories. Where some are missing it goes on, with
    labels that mean other classes, and ends after an epoch of training in an IndexError that names
    nothing; another order in another split goes unnoticed. Further categories are left out, as in
    mmdet.

    Args:
        **kwargs: Arguments of mmdet's ``CocoDataset``. ``metainfo=dict(classes=...)`` gives other
            classes than COCO's.

    Raises:
        DataError: The file is no COCO annotation file, lacks classes, or has them twice or in
            another order, or ``filter_cfg`` leaves no image.
    """

    def COCOAPI(self, path: str) -> COCO:  # noqa: N802  (mmdet reads the file by this name)
        """Read an annotation file, and check it."""
        try:
            coco = COCO(path)
        except (ValueError, AssertionError) as error:
            raise DataError(f'{self.ann_file} is no COCO annotation file: {error}.') from error
        absent = [key for key in ('images', 'categories') if key not in coco.dataset]
        if absent:
            raise DataError(
                f'{self.ann_file} is no COCO annotation file: it has no {" and no ".join(absent)}, '
                f'only {", ".join(coco.dataset) or "nothing"}. Set ann_file.'
            )
        names = [str(category.get('name')) for category in coco.dataset['categories']]
        classes = list(self.metainfo['classes'])
        advice = (
            'Correct its categories, or ann_file; for other classes set metainfo.classes of the '
            "train, val and test data sets, and num_classes of the model's heads."
        )
        missing = [name for name in classes if name not in names]
        if missing:
            raise DataError(
                f'{self.ann_file} lacks {len(missing)} of the {len(classes)} classes: '
                f'{_few(missing)}. Its categories: {_few(names) or "none"}. {advice}'
            )
        found = [name for name in names if name in classes]
        if found != classes:
            raise DataError(
                f'{self.ann_file} has the classes twice or in another order, which would give them '
                f'other labels: {_few(found)}; expected {_few(classes)}. {advice}'
            )
        return coco

    def filter_data(self) -> list[dict]:
        """As mmdet's; none left is an error."""
        kept = super().filter_data()
        if self.data_list and not kept:
            raise DataError(
                f'{self.ann_file}: none of its {len(self.data_list)} images is left after '
                f'filter_cfg={dict(self.filter_cfg)}, which takes out images without annotations '
                'of the classes, or with a side below min_size.'
            )
        return kept


def _few(names: list[str]) -> str:
    return ', '.join(names[:8]) + (f', ... ({len(names)})' if len(names) > 8 else '')
