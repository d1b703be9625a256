"""Data that is not as it should be, through the shipped configs of COCO and ADE20K."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from PIL import Image
from sklearn.datasets import load_sample_images

from mixae.engine import launch
from mixae.errors import CheckpointError, ConfigError, DataError

ROOT = Path(__file__).parents[2] / 'configs/transfer'
pytestmark = pytest.mark.dense
SIZES = [(75, 53), (66, 90), (81, 47)]  # (width, height), no multiple of the patch's 16


def photographs():
    for index, (width, height) in enumerate(SIZES):
        photo = load_sample_images().images[index % 2]
        yield index, photo[40 * index : 40 * index + height, 90 * index : 90 * index + width]


@pytest.fixture
def coco(tmp_path):
    """COCO's layout: three photographs, the last without annotations; a function writes it."""

    def write(change=lambda content: None):
        root = tmp_path / 'coco'
        (root / 'annotations').mkdir(parents=True)
        for split in ('train2017', 'val2017'):
            (root / split).mkdir()
            content = dict(
                images=[],
                annotations=[],
                categories=[
                    dict(id=number, name=name, supercategory='')
                    for number, name in enumerate(CocoDataset.METAINFO['classes'], 1)
                ],
            )
            for index, photo in photographs():
                Image.fromarray(photo).save(root / split / f'{index}.jpg')
                height, width = photo.shape[:2]
                content['images'].append(
                    dict(id=index, file_name=f'{index}.jpg', width=width, height=height)
                )
                if index < 2:
                    content['annotations'].append(
                        dict(
                            id=index + 1,
                            image_id=index,
                            category_id=1,
                            iscrowd=0,
                            bbox=[5, 6, 30, 30],
                            area=900,
                            segmentation=[[5, 6, 35, 6, 35, 36, 5, 36]],
                        )
                    )
            change(content)
            path = root / f'annotations/instances_{split}.json'
            path.write_text(json.dumps(content))
        return root

    return write


@pytest.fixture
def ade(tmp_path):
    """ADE20K's layout: masks of the labels 0 (none) to 150."""
    root = tmp_path / 'ade'
    for split in ('training', 'validation'):
        for kind in ('images', 'annotations'):
            (root / kind / split).mkdir(parents=True)
        for index, photo in photographs():
            Image.fromarray(photo).save(root / f'images/{split}/{index}.jpg')
            labels = (photo[..., 0] // 64).astype(np.uint8)  # 0..3
            Image.fromarray(labels).save(root / f'annotations/{split}/{index}.png')
    return root


def config(path, root, work_dir):
    """The shipped config with a narrow encoder, few regions and small images, for two epochs."""
    cfg = Config.fromfile(ROOT / path)
    cfg.data_root, cfg.work_dir = str(root), str(work_dir)
    cfg.experiment_name = work_dir.name
    cfg.model.backbone.arch = dict(
        embed_dims=32, num_layers=12, num_heads=2, feedforward_channels=64
    )
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.num_workers = 0
    if 'roi_head' in cfg.model:
        # No resizing: the sizes reach the model as they are.
        cfg.model.data_preprocessor.pad_size_divisor = 1
        cfg.train_dataloader.dataset.filter_cfg.min_size = 8
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            steps = loader.dataset.pipeline
            loader.dataset.pipeline = [
                step if step.type != 'Resize' else dict(type='Resize', scale_factor=1.0)
                for step in steps
                if step.type != 'RandomChoice'
            ]
        cfg.test_dataloader = cfg.val_dataloader
        cfg.train_cfg.max_epochs = 1
        cfg.model.test_cfg.rcnn.update(max_per_img=5, score_thr=0.0)  # it has learnt nothing
        cfg.model.test_cfg.rpn.max_per_img = 50
    else:
        cfg.model.backbone.img_size = 64
        cfg.train_cfg.max_iters = 2
    return cfg


def took_a_step(work_dir):
    return bool(list(work_dir.glob('**/scalars.json')))


def test_odd_sizes_and_an_image_without_annotations(coco, tmp_path):
    cfg = config('coco/maskrcnn_vitb_1x.py', coco(), tmp_path)
    runner = launch.train(cfg, pretrained='scratch')
    # As mmdet's users expect: nothing to learn from it, but false positives on it count.
    assert len(runner.train_dataloader.dataset) == 2
    assert len(runner.val_dataloader.dataset) == 3
    (path,) = tmp_path.glob('records/*.json')
    assert 0 <= json.loads(path.read_text())['metrics']['coco/bbox_mAP']['value'] <= 1


def test_a_missing_image_is_named(coco, tmp_path):
    root = coco()
    (root / 'train2017/0.jpg').unlink()
    cfg = config('coco/maskrcnn_vitb_1x.py', root, tmp_path)
    with pytest.raises(DataError, match=r'1 of the 3 images of .*train2017/0\.jpg'):
        launch.train(cfg, pretrained='scratch')
    assert not took_a_step(tmp_path)


def test_categories_beyond_the_classes_are_left_out(coco, tmp_path):
    def rename(content):
        content['categories'].append(dict(id=99, name='unicorn', supercategory=''))
        content['annotations'][1]['category_id'] = 99

    cfg = config('coco/maskrcnn_vitb_1x.py', coco(rename), tmp_path)
    runner = launch.train(cfg, pretrained='scratch')
    assert len(runner.train_dataloader.dataset) == 1  # the other image has nothing else on it


@pytest.mark.parametrize('split', ['train2017', 'val2017'])
def test_categories_that_are_not_the_classes_stop_before_training(split, coco, tmp_path):
    root = coco()
    path = root / f'annotations/instances_{split}.json'
    content = json.loads(path.read_text())
    content['categories'].pop(2)
    path.write_text(json.dumps(content))
    cfg = config('coco/maskrcnn_vitb_1x.py', root, tmp_path)
    with pytest.raises(DataError, match=rf'instances_{split}\.json lacks 1 of the 80 classes: car'):
        launch.train(cfg, pretrained='scratch')
    assert not took_a_step(tmp_path)


def test_other_classes_need_heads_of_as_many(coco, tmp_path):
    def rename(content):
        content['categories'] = [dict(id=1, name='digit'), dict(id=2, name='letter')]

    root = coco(rename)
    cfg = config('coco/maskrcnn_vitb_1x.py', root, tmp_path)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.metainfo = dict(classes=('digit', 'letter'))
    with pytest.raises(ConfigError, match=r'bbox_head.*num_classes=80.* 2 classes.*digit, letter'):
        launch.train(copy.deepcopy(cfg), pretrained='scratch')
    cfg.model.roi_head.bbox_head.num_classes = 2
    cfg.model.roi_head.mask_head.num_classes = 2
    cfg.work_dir = str(tmp_path / 'right')
    launch.train(cfg, pretrained='scratch')
    assert list(tmp_path.glob('right/records/*.json'))


def test_segmentors_for_another_number_of_classes_stop_before_training(ade, tmp_path):
    cfg = config('ade20k/upernet_vitb_160k.py', ade, tmp_path)
    cfg.num_classes = 160
    with pytest.raises(
        ConfigError, match=r'decode_head has num_classes=160.* has 150 classes: wal'
    ):
        launch.train(copy.deepcopy(cfg), pretrained='scratch')
    cfg.num_classes = 150
    cfg.model.auxiliary_head.num_classes = 151
    with pytest.raises(ConfigError, match='auxiliary_head has num_classes=151'):
        launch.train(cfg, pretrained='scratch')


def test_a_data_set_without_annotated_images_is_named(coco, tmp_path):
    root = coco(lambda content: content.update(annotations=[]))
    cfg = config('coco/maskrcnn_vitb_1x.py', root, tmp_path)
    with pytest.raises(DataError, match=r'train2017\.json: none of its 3 images .*filter_empty_gt'):
        launch.train(cfg, pretrained='scratch')


def test_labels_beyond_the_classes_are_named_with_their_file(ade, tmp_path):
    for path in (ade / 'annotations/training').glob('*.png'):
        labels = np.array(Image.open(path))
        labels[5:9] = 180
        Image.fromarray(labels).save(path)
    cfg = config('ade20k/upernet_vitb_160k.py', ade, tmp_path)
    with pytest.raises(ValueError, match=r'annotations/training/\d\.png holds the labels \[179\]'):
        launch.train(cfg, pretrained='scratch')


def test_a_missing_mask_is_named(ade, tmp_path):
    for name in ('0.png', '2.png'):
        (ade / 'annotations/training' / name).unlink()
    cfg = config('ade20k/upernet_vitb_160k.py', ade, tmp_path)
    with pytest.raises(
        DataError, match=r'2 of 3 images have no mask .*annotations/training/0\.png'
    ):
        launch.train(cfg, pretrained='scratch')
    assert not took_a_step(tmp_path)


@pytest.mark.parametrize('path', ['coco/maskrcnn_vitb_1x.py', 'ade20k/upernet_vitb_160k.py'])
def test_a_checkpoint_without_an_encoder(path, coco, ade, tmp_path):
    checkpoint = tmp_path / 'decoder.pth'
    torch.save(dict(state_dict={'decoder.weight': torch.zeros(2)}), checkpoint)
    cfg = config(path, coco() if path.startswith('coco') else ade, tmp_path / 'run')
    with pytest.raises(CheckpointError, match='has no encoder.*decoder.weight'):
        launch.train(cfg, pretrained=str(checkpoint))
    assert not list((tmp_path / 'run').glob('**/*.pth'))


@pytest.mark.parametrize('how', ['no mask', 'no mask and no area', 'wrong box'])
def test_annotations_that_are_wrong_stop_before_training(how, coco, tmp_path):
    def change(content):
        first = content['annotations'][0]
        if how == 'wrong box':
            first['bbox'][2] = -30
        else:
            del first['segmentation']
        if how == 'no mask and no area':
            del first['area']

    message = dict([('wrong box', 'annotation 1: bbox is')]).get(how, 'annotations have no mask')
    cfg = config('coco/maskrcnn_vitb_1x.py', coco(change), tmp_path)
    with pytest.raises(DataError, match=message):
        launch.train(cfg, pretrained='scratch')
    assert not took_a_step(tmp_path)


def test_ids_of_any_kind_train_and_are_evaluated(coco, tmp_path):
    def change(content):
        for row in content['images']:
            row['id'] = f'picture {row["id"]}'
        for row in content['categories']:
            row['id'] = row['id'] + 0.5
        for row in content['annotations']:
            row.update(
                id=f'a{row["id"]}',
                image_id=f'picture {row["image_id"]}',
                category_id=row['category_id'] + 0.5,
            )

    cfg = config('coco/maskrcnn_vitb_1x.py', coco(change), tmp_path)
    launch.train(cfg, pretrained='scratch')
    (path,) = tmp_path.glob('records/*.json')
    metrics = json.loads(path.read_text())['metrics']
    assert 0 <= metrics['coco/bbox_mAP']['value'] <= 1
    assert metrics['coco/classes_absent']['value'] == 79


def test_an_annotation_file_of_other_sizes_is_named(coco, tmp_path):
    root = coco(lambda content: [image.update(width=40, height=40) for image in content['images']])
    cfg = config('coco/maskrcnn_vitb_1x.py', root, tmp_path)
    with pytest.raises(DataError, match=r'\d\.jpg has \d+x\d+ pixels, but .* says 40x40'):
        launch.train(cfg, pretrained='scratch')


def on_its_side(path):
    """Store an image as phones do: its pixels on their side, with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).convert('RGB').transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


def test_masks_of_images_as_they_are_stored_are_named(ade, tmp_path):
    for path in (ade / 'images/training').glob('*.jpg'):
        on_its_side(path)
    launch.train(
        config('ade20k/upernet_vitb_160k.py', ade, tmp_path / 'as shown'), pretrained='scratch'
    )
    for path in (ade / 'annotations/training').glob('*.png'):
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    cfg = config('ade20k/upernet_vitb_160k.py', ade, tmp_path / 'as stored')
    with pytest.raises(
        DataError, match=r'\d\.jpg has .* turned by its EXIF orientation 6, but its m'
    ):
        launch.train(cfg, pretrained='scratch')


def test_an_empty_image_is_replaced_in_training_and_stops_evaluation(ade, tmp_path, caplog):
    for split in ('training', 'validation'):
        (ade / f'images/{split}/1.jpg').write_bytes(b'')
    cfg = config('ade20k/upernet_vitb_160k.py', ade, tmp_path)
    cfg.train_cfg.max_iters = 3
    with pytest.raises(
        DataError, match=r'validation/1\.jpg cannot be read as an image: it is empty'
    ):
        launch.train(cfg, pretrained='scratch')
    assert took_a_step(tmp_path)
    (log,) = tmp_path.glob('*/*.log')
    assert 'training/1.jpg cannot be read as an image: it is empty; ' in log.read_text()


@pytest.mark.parametrize('split', ['training', 'validation'])
def test_masks_of_one_class_stop_before_training(split, ade, tmp_path):
    for path in (ade / f'annotations/{split}').glob('*.png'):
        labels = np.array(Image.open(path))
        Image.fromarray(np.where(labels > 1, 255, 1).astype(np.uint8)).save(path)
    cfg = config('ade20k/upernet_vitb_160k.py', ade, tmp_path)
    with pytest.raises(
        DataError, match=rf'{split} hold the labels \[0, 255\].*less than two of the'
    ):
        launch.train(cfg, pretrained='scratch')
    assert not took_a_step(tmp_path)


def test_classes_that_do_not_occur_are_in_log_and_record(ade, tmp_path):
    cfg = config('ade20k/upernet_vitb_160k.py', ade, tmp_path)
    launch.train(cfg, pretrained='scratch')
    (path,) = tmp_path.glob('records/*.json')
    assert json.loads(path.read_text())['metrics']['classes_absent']['value'] == 147
    (log,) = tmp_path.glob('*/*.log')
    assert '147 of 150 classes have no pixel in the 3 evaluated images' in log.read_text()


@pytest.mark.parametrize('kind', ['mixae.ADE20KDataset', 'ADE20KDataset'])
def test_images_of_another_suffix_are_read_or_named(kind, ade, tmp_path):
    for split in ('training', 'validation'):
        for path in (ade / f'images/{split}').glob('*.jpg'):
            path.rename(path.with_suffix('.JPEG'))
    cfg = config('ade20k/upernet_vitb_160k.py', ade, tmp_path)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.type = kind
    if kind.startswith('mixae'):
        launch.train(cfg, pretrained='scratch')
        return
    with pytest.raises(
        DataError, match=r'no sample .*images/training: 3 of 3 .* not \.jpg: 3 \.JPEG'
    ):
        launch.train(cfg, pretrained='scratch')
