"""Each small data set in its authors' layout, probed by its config; and the mean over them."""

import json
from pathlib import Path

import mat4py
import numpy as np
import pytest
from mmengine.config import Config
from mmpretrain.datasets.categories import (
    FGVCAIRCRAFT_CATEGORIES,
    FOOD101_CATEGORIES,
    SUN397_CATEGORIES,
)
from PIL import Image

from mixae.engine import launch

CONFIGS = Path(__file__).parents[2] / 'configs/transfer/small_sets'
COUNTS = dict(train=6, test=4)  # images of a split: half of the first class, half of the second


def cub(root, names):
    number = 0
    with (
        open(root / 'images.txt', 'w') as images,
        open(root / 'image_class_labels.txt', 'w') as labels,
        open(root / 'train_test_split.txt', 'w') as splits,
    ):
        for split, label, name in names:
            number += 1
            images.write(f'{number} {name}.jpg\n')
            labels.write(f'{number} {label + 1}\n')
            splits.write(f'{number} {int(split == "train")}\n')
    return lambda split, label, name: f'images/{name}.jpg'


def dtd(root, names):
    (root / 'imdb').mkdir()
    parts = dict(train=1, test=3)
    images = dict(
        name=[f'{name}.jpg' for _, _, name in names],
        **{'class': [label + 1 for _, label, _ in names]},
        set=[parts[split] for split, _, _ in names],
    )
    mat4py.savemat(str(root / 'imdb/imdb.mat'), dict(images=images))
    return lambda split, label, name: f'images/{name}.jpg'


def flowers102(root, names):
    places = {name: number for number, (_, _, name) in enumerate(names, 1)}
    mat4py.savemat(str(root / 'imagelabels.mat'), dict(labels=[label + 1 for _, label, _ in names]))
    ids = {s: [places[name] for split, _, name in names if split == s] for s in COUNTS}
    halves = dict(trnid=ids['train'][:3], valid=ids['train'][3:], tstid=ids['test'])
    mat4py.savemat(str(root / 'setid.mat'), halves)
    return lambda split, label, name: f'jpg/image_{places[name]:05d}.jpg'


def listed(folder, pattern, line, names_of=None):
    """A set whose splits are text files of one line per image."""

    def write(root, names):
        for split in COUNTS:
            path = root / folder.format((names_of or {}).get(split, split))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(''.join(line(i, n) + '\n' for s, i, n in names if s == split))
        return lambda split, label, name: pattern(label, name)

    return write


def cars(root, names):
    annotations = dict(
        relative_im_path=[f'car_ims/{name}.jpg' for _, _, name in names],
        **{'class': [label + 1 for _, label, _ in names]},
        test=[int(split == 'test') for split, _, _ in names],
    )
    mat4py.savemat(str(root / 'cars_annos.mat'), dict(annotations=annotations))
    return lambda split, label, name: f'car_ims/{name}.jpg'


def folders(root, names):
    return lambda split, label, name: f'{split}/{"ab"[label]}/{name}.jpg'


TRAINVAL = dict(train='trainval', test='test')
LAYOUTS = dict(
    cub=cub,
    dtd=dtd,
    flowers102=flowers102,
    food101=listed(
        'meta/{}.txt',
        lambda label, name: f'images/{FOOD101_CATEGORIES[label]}/{name}.jpg',
        lambda label, name: f'{FOOD101_CATEGORIES[label]}/{name}',
    ),
    pets=listed(
        'annotations/{}.txt',
        lambda label, name: f'images/{name}.jpg',
        lambda label, name: f'{name} {label + 1} 1 1',
        TRAINVAL,
    ),
    cars=cars,
    aircraft=listed(
        'data/images_variant_{}.txt',
        lambda label, name: f'data/images/{name}.jpg',
        lambda label, name: f'{name} {FGVCAIRCRAFT_CATEGORIES[label]}',
        TRAINVAL,
    ),
    sun397=listed(
        'Partitions/{}_01.txt',
        lambda label, name: f'SUN397/{"a"}/{SUN397_CATEGORIES[label]}/{name}.jpg',
        lambda label, name: f'/a/{SUN397_CATEGORIES[label]}/{name}.jpg',
        dict(train='Training', test='Testing'),
    ),
    caltech101=listed(
        'meta/{}.txt',
        lambda label, name: f'101_ObjectCategories/{"ab"[label]}/{name}.jpg',
        lambda label, name: f'{"ab"[label]}/{name}.jpg {label}',
    ),
    eurosat=folders,
    stl10=folders,
)


def make(root, name):
    names = [
        (split, 2 * i // count, f'{split}{i}')
        for split, count in COUNTS.items()
        for i in range(count)
    ]
    place = LAYOUTS[name](root, names)
    rng = np.random.default_rng(0)
    for split, label, image in names:
        path = root / place(split, label, image)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 60, (40, 48, 3)) + 190 * label
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


def probe(name, root, work_dir, what='knn', **options):
    cfg = Config.fromfile(CONFIGS / f'{name}_vitb_{what}.py')
    cfg.work_dir, cfg.data_root = str(work_dir), str(root)
    cfg.experiment_name = f'{work_dir}'.replace('/', '_')
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    cfg.model.backbone.update(arch=arch, img_size=32, patch_size=16)
    for loader in (cfg.train_features, cfg.test_dataloader):
        loader.update(batch_size=4, num_workers=0)
    cfg.train_features.dataset.update(options)
    cfg.test_cfg.probe.update(dict(k=1) if what == 'knn' else dict(epochs=50))
    return launch.test(cfg, 'scratch')


@pytest.mark.parametrize('name', LAYOUTS)
def test_each_set_is_read_in_its_layout_and_probed(name, tmp_path):
    (tmp_path / 'data').mkdir()
    root = make(tmp_path / 'data', name)
    # Dark and bright images: any features tell them, if labels and splits are read as they are.
    assert probe(name, root, tmp_path / 'run')['accuracy/top1'] == 100
    (path,) = (tmp_path / 'run').rglob('*.record.json')
    about = json.loads(path.read_text())['dataset']
    assert (about['name'], about['n_train'], about['n_test']) == (name, 6, 4)


def test_one_shot_of_a_small_set(tmp_path):
    (tmp_path / 'data').mkdir()
    root = make(tmp_path / 'data', 'stl10')
    assert probe('stl10', root, tmp_path / 'run', 'linear', shots=1)['accuracy/top1'] == 100
    (path,) = (tmp_path / 'run').rglob('*.record.json')
    assert json.loads(path.read_text())['dataset']['n_train'] == 2


def test_all_sets_have_configs():
    found = {path.stem for path in CONFIGS.glob('*.py')}
    assert found == {f'{name}_vitb_{what}' for name in LAYOUTS for what in ('knn', 'linear')}
