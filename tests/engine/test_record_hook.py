"""Which evaluation becomes a run record: one a run, of its end, if it measured something."""

import json
import shutil

import pytest
from mmengine.config import Config

from mixae.checkpoints.account import length_run
from mixae.checkpoints.read import read_checkpoint
from mixae.engine import launch
from mixae.engine.options import merge_options
from mixae.errors import ConfigError, DataError
from mixae.results.compare import build_table
from mixae.results.record import read_record, read_records
from mixae.results.render.common import row_labels

FINETUNE = 'transfer/cifar/cifar10_vitt_finetune.py'


def records(folder):
    return [read_record(path) for path in sorted((folder / 'records').glob('*.record.json'))]


def log(folder):
    return ''.join(path.read_text() for path in sorted(folder.glob('*/*.log')))


def value(record, name):
    """A metric's value; None where it is undefined."""
    return record['metrics'].get(name, {}).get('value')


def test_validating_every_epoch_leaves_the_record_of_the_last(small_config, tmp_path):
    cfg = small_config(FINETUNE, epochs=3)
    cfg.train_cfg.val_interval = 1
    runner = launch.train(cfg, pretrained='scratch')
    (record,) = records(tmp_path / 'run')
    assert record['protocol']['name'].endswith('-3e')
    trained = dict(epochs=3, iterations=18, max_iters=18, stopped_early=False)
    assert record['extra']['trained'] == trained
    last = runner.message_hub.get_scalar('val/accuracy/top1').current()
    assert value(record, 'accuracy/top1') == last


def test_an_early_stop_leaves_a_record_that_says_so(small_config, tmp_path):
    cfg = small_config(FINETUNE, epochs=5)
    cfg.train_cfg.val_interval = 1
    cfg.optim_wrapper.optimizer.lr = 1e-12  # the accuracy stays as it is
    cfg.custom_hooks = [dict(type='EarlyStoppingHook', monitor='accuracy/top1', patience=1)]
    runner = launch.train(cfg, pretrained='scratch')
    assert runner.epoch == 2
    (record,) = records(tmp_path / 'run')
    assert record['protocol']['name'].endswith('-2e-of-5e-stopped-early')
    assert record['extra']['trained']['stopped_early'] is True
    assert record['cost']['images_seen'] == 2 * 48


def test_a_complete_run_makes_up_its_evaluation_once(small_config, tmp_path):
    """Killed between the last checkpoint and the record."""
    run = tmp_path / 'run'
    launch.train(small_config(FINETUNE), pretrained='scratch')
    (whole,) = records(run)
    shutil.rmtree(run / 'records')
    launch.train(small_config(FINETUNE), pretrained='scratch', resume=True)
    (made_up,) = records(run)
    for key in ('metrics', 'protocol', 'dataset', 'seed', 'extra', 'task', 'method'):
        assert made_up[key] == whole[key], key
    assert made_up['cost']['images_seen'] == whole['cost']['images_seen'] == 96
    launch.train(small_config(FINETUNE), pretrained='scratch', resume=True)
    assert records(run) == [made_up]
    assert 'The run is complete; its record is ' in log(run)


def test_a_run_that_is_repeated_keeps_one_record(small_config, tmp_path):
    run = tmp_path / 'run'
    launch.train(small_config(FINETUNE), pretrained='scratch')
    (first,) = records(run)
    launch.train(small_config(FINETUNE), pretrained='scratch', resume=str(run / 'epoch_1.pth'))
    (second,) = records(run)
    assert second['id'] != first['id'] and second['metrics'] == first['metrics']
    assert len(list((run / 'records').glob('*.replaced'))) == 1


def test_a_checkpoint_from_the_middle_of_a_run_is_tested_as_that(small_config, tmp_path):
    launch.train(small_config(FINETUNE), pretrained='scratch')
    for epoch, length in ((1, '-1e-of-2e'), (2, '-2e')):
        folder = tmp_path / f'test_{epoch}'
        launch.test(small_config(FINETUNE, folder), str(tmp_path / 'run' / f'epoch_{epoch}.pth'))
        (record,) = records(folder)
        assert record['protocol']['name'].endswith(length)


@pytest.mark.parametrize(
    'account, length',
    [
        (dict(length='8e', epochs=8), '8e'),  # of checkpoints without iterations
        (dict(length='8e', epochs=3), '3e-of-8e'),
        (dict(length='40i', epochs=1), '40i'),
        (dict(length='8e', epochs=8, iterations=80, max_iters=80), '8e'),
        (dict(length='8e', epochs=3, iterations=30, max_iters=80), '3e-of-8e'),
        (dict(length='8e', epochs=3, iterations=35, max_iters=80), '35i-of-8e'),
        (dict(length='40i', epochs=None, iterations=30, max_iters=40), '30i-of-40i'),
        (dict(length=None), None),
        ({}, None),
    ],
)
def test_the_length_that_was_run(account, length):
    assert length_run(account) == length


def folder_of(image_folder, root, *classes, renamed=None):
    """The test images of some classes, the other folders empty; one may have another name."""
    for name in ('flower', 'one', 'temple', 'zero'):
        target = root / 'test' / (renamed or {}).get(name, name)
        target.mkdir(parents=True)
        if name in classes:
            shutil.copytree(image_folder / 'test' / name, target, dirs_exist_ok=True)
    return str(root)


def test_classes_without_a_test_image_are_in_the_record(small_config, image_folder, tmp_path):
    cfg = small_config('transfer/cifar/cifar10_vitt_knn.py')
    launch.test(cfg, 'scratch')
    (whole,) = records(tmp_path / 'run')
    assert 'n_classes_tested' not in whole['dataset']
    cfg = small_config('transfer/cifar/cifar10_vitt_knn.py', tmp_path / 'fewer')
    root = folder_of(image_folder, tmp_path / 'data', 'one', 'temple', 'zero')
    cfg.test_dataloader.dataset.dataset.data_root = root
    launch.test(cfg, 'scratch')
    (record,) = records(tmp_path / 'fewer')
    assert record['dataset']['n_classes_tested'] == 3
    notes = [column.note for column in build_table([whole, record]).columns]
    assert len(notes) == 2 and sum('3 classes tested, not all' in note for note in notes) == 1


@pytest.mark.parametrize('split', ['train', 'test'])
def test_a_probe_of_one_class_is_refused(small_config, image_folder, tmp_path, split):
    cfg = small_config('transfer/cifar/cifar10_vitt_knn.py')
    loader = cfg.train_features if split == 'train' else cfg.test_dataloader
    loader.dataset.dataset.update(
        data_root=folder_of(image_folder, tmp_path / 'data', 'temple'), data_prefix='test'
    )
    with pytest.raises(DataError, match=r'6 (training|test) images are of one class \(temple\)'):
        launch.test(cfg, 'scratch')


@pytest.mark.parametrize(
    'probe, options, changed',
    [
        ('knn', ['test_cfg.probe.temperature=0.1'], 'test_cfg.probe.temperature=0.1'),
        ('knn', ['test_cfg.probe={"whiten": True}'], 'test_cfg.probe.whiten=True'),
        ('knn', ['test_cfg.pool=std'], 'test_cfg.pool=std'),
        ('lbfgs', ['test_cfg.probe.max_iter=1'], 'test_cfg.probe.max_iter=1'),
        ('lbfgs', ['test_cfg.probe.strengths=[0.1, 1]'], 'test_cfg.probe.strengths=[0.1, 1]'),
        ('linear', ['test_cfg.probe.base_lr=1'], 'test_cfg.probe.base_lr=1'),
        ('linear', ['train_features.dataset.shots=5'], 'train_features.dataset.shots=5'),
        ('sweep', ['model.head.rates=[0.01]'], 'model.head.rates=[0.01]'),
        ('sweep', ['base_lr=2', 'model.head.layers=[1]'], 'base_lr=2; model.head.layers=[1]'),
        ('attentive', ['model.head.num_queries=8'], 'model.head.num_queries=8'),
        ('attentive', ['train_dataloader.batch_size=64'], 'train_dataloader.batch_size=64'),
        # In the name, or no part of the protocol, or as it was; or named by hand.
        ('knn', ['test_cfg.probe.k=[10, 20]', 'test_cfg.probe.temperature=[0.07, 0.1]'], ''),
        ('attentive', ['train_cfg.max_epochs=5', 'train_cfg.val_interval=1', 'base_lr=0.1'], ''),
        ('sweep', ['data_root=/x', 'test_dataloader.batch_size=8', 'model.backbone.arch=s'], ''),
        ('knn', ['test_cfg.pool=std', 'protocol.name=knn-std'], ''),
        ('finetune', ['base_lr=1'], 'base_lr=1'),
        ('finetune', ['train_dataloader.batch_size=8', 'optim_wrapper.accumulative_counts=2'], ''),
    ],
)
def test_an_override_of_a_protocols_settings_is_noted(probe, options, changed):
    cfg = Config.fromfile(f'configs/transfer/cifar/cifar10_vitt_{probe}.py')
    merge_options(cfg, options)
    noted = (cfg.get('protocol') or {}).get('changed', {})
    assert '; '.join(f'{key}={value}' for key, value in noted.items()) == changed


def test_a_probe_of_other_settings_is_another_protocol(small_config, tmp_path):
    found = []
    for name, options in (('a', []), ('b', ['test_cfg.probe.max_iter=1'])):
        cfg = small_config('transfer/cifar/cifar10_vitt_lbfgs.py', tmp_path / name)
        merge_options(cfg, options)
        launch.test(cfg, 'scratch')
        found += records(tmp_path / name)
    assert [record['protocol']['version'] for record in found] == [
        '1',
        '1; test_cfg.probe.max_iter=1',
    ]
    assert len(read_records([tmp_path])) == 2
    assert len(build_table(found).columns) == 2
    # The config that the run left says it too.
    (left,) = (tmp_path / 'b').glob('*.py')
    launch.test(load_left(left, tmp_path / 'c'), 'scratch')
    assert records(tmp_path / 'c')[0]['protocol'] == found[1]['protocol']


def load_left(path, work_dir):
    cfg = Config.fromfile(path)
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'{path.stem}_again'
    return cfg


def test_a_test_knows_what_settings_a_probe_was_trained_with(small_config, tmp_path):
    path = 'transfer/cifar/cifar10_vitt_attentive.py'
    cfg = small_config(path, epochs=1)
    merge_options(cfg, ['base_lr=0.3', 'model.head.num_queries=8'])
    launch.train(cfg, pretrained='scratch')
    (trained,) = records(tmp_path / 'run')
    version = '1; base_lr=0.3; model.head.num_queries=8'
    assert trained['protocol'] == dict(name='efficient-probing-1e', version=version)
    cfg = small_config(path, tmp_path / 'test', epochs=1)
    cfg.model.head.num_queries = 8
    launch.test(cfg, str(tmp_path / 'run' / 'epoch_1.pth'))
    (tested,) = records(tmp_path / 'test')
    assert tested['protocol'] == trained['protocol']


@pytest.mark.parametrize('probe', ['knn', 'linear', 'lbfgs'])
def test_a_probe_is_not_tested_on_what_it_was_fitted_on(small_config, probe):
    cfg = small_config(f'transfer/cifar/cifar10_vitt_{probe}.py')
    cfg.test_dataloader.dataset.dataset.data_prefix = 'train'
    with pytest.raises(DataError, match='48 of the 48 test images are training images'):
        launch.test(cfg, 'scratch')


@pytest.mark.parametrize(
    'config, change, message',
    [
        ('attentive', {'val_dataloader.dataset.dataset.data_prefix': 'train'}, '48 of the 48 test'),
        ('sweep', {'test_dataloader.dataset.dataset.data_prefix': 'train'}, '4 of the 48 test'),
        (
            'sweep',
            {'val_dataloader.dataset.hold_out': 0.25},
            '8 of the 12 held-out images are trai',
        ),
        ('finetune', {'val_dataloader.dataset.dataset.data_prefix': 'train'}, '48 of the 48 test'),
    ],
)
def test_what_trains_is_not_validated_on_its_images(small_config, config, change, message):
    cfg = small_config(f'transfer/cifar/cifar10_vitt_{config}.py')
    cfg.model.backbone.arch.num_layers = 4
    cfg.merge_from_dict(change)
    with pytest.raises(DataError, match=message):
        launch.train(cfg, pretrained='scratch')


def test_a_test_on_the_training_images_says_so(small_config, tmp_path):
    launch.train(small_config(FINETUNE, epochs=1), pretrained='scratch')
    for split, told in (('train', 'training images'), ('test', 'test')):
        cfg = small_config(FINETUNE, tmp_path / split, epochs=1)
        cfg.test_dataloader.dataset.dataset.data_prefix = split
        launch.test(cfg, str(tmp_path / 'run' / 'epoch_1.pth'))
        (record,) = records(tmp_path / split)
        assert record['dataset']['split'] == told


def test_a_checkpoint_is_tested_on_the_classes_that_it_was_trained_on(
    small_config, image_folder, tmp_path
):
    launch.train(small_config(FINETUNE, epochs=1), pretrained='scratch')
    cfg = small_config(FINETUNE, tmp_path / 'test', epochs=1)
    names = ('flower', 'one', 'temple', 'zero')
    cfg.test_dataloader.dataset.dataset.data_root = folder_of(
        image_folder, tmp_path / 'data', *names, renamed=dict(flower='yacht')
    )
    with pytest.raises(ConfigError, match=r'4 \(flower, .*the test images 4 \(one, '):
        launch.test(cfg, str(tmp_path / 'run' / 'epoch_1.pth'))


def test_best_checkpoints_say_the_epoch_they_are_of(small_config, tmp_path):
    cfg = small_config(FINETUNE)
    cfg.train_cfg.val_interval = 1
    cfg.default_hooks.checkpoint.save_best = 'accuracy/top1'
    launch.train(cfg, pretrained='scratch')
    (best,) = (tmp_path / 'run').glob('best_*_epoch_*.pth')
    told = read_checkpoint(best)['mixae']
    epoch = int(best.stem.split('_')[-1])
    assert (told['epochs'], told['iterations']) == (epoch, 6 * epoch)


def test_a_config_without_a_task_says_that_it_leaves_no_record(small_config, tmp_path):
    cfg = small_config(FINETUNE, epochs=1)
    cfg.pop('task')
    launch.train(cfg, pretrained='scratch')
    assert not (tmp_path / 'run' / 'records').exists()
    assert 'No run record: the config has no task' in log(tmp_path / 'run')


def test_validation_that_never_comes_leaves_no_record(small_config, tmp_path):
    cfg = small_config(FINETUNE, epochs=1)
    cfg.train_cfg.val_begin = 5
    launch.train(cfg, pretrained='scratch')
    assert not (tmp_path / 'run' / 'records').exists()
    assert 'No run record: nothing was validated' in log(tmp_path / 'run')


# Detection: what COCO's metric leaves undefined.


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    return tmp_path_factory.mktemp('digit_scenes')


def detector(scenes, work_dir, **options):
    """The config of digit scenes, small; with ``truth`` the validation reads COCO's files."""
    cfg = Config.fromfile('configs/transfer/digit_scenes/vitmini_detection.py')
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.num_workers, loader.batch_size = 0, 4
        loader.dataset.update(
            data_root=str(scenes), options=dict(num_train=10, num_test=10), indices=4
        )
    cfg.merge_from_dict(options)
    return cfg


@pytest.fixture(scope='module')
def trained(scenes, tmp_path_factory):
    """A detector after one step, and its record."""
    folder = tmp_path_factory.mktemp('detector')
    launch.train(detector(scenes, folder), pretrained='scratch')
    (record,) = records(folder)
    return folder / 'epoch_1.pth', record


@pytest.mark.dense
def test_the_ap_of_sizes_that_do_not_occur_is_undefined(trained):
    _, record = trained
    assert value(record, 'coco/bbox_mAP') is not None
    assert value(record, 'coco/bbox_mAP_l') is None  # no digit has 96 pixels


@pytest.mark.dense
@pytest.mark.parametrize('split, told', [('train', 'training images'), ('test', 'test')])
def test_a_detector_that_is_tried_on_its_own_images_says_so(scenes, tmp_path, split, told):
    options = {f'{name}_dataloader.dataset.split': split for name in ('val', 'test')}
    launch.train(detector(scenes, tmp_path, **options), pretrained='scratch')
    (record,) = records(tmp_path)
    assert record['dataset']['split'] == told


@pytest.mark.dense
def test_predictions_that_are_only_written_leave_no_record(trained, scenes, tmp_path):
    checkpoint, _ = trained
    options = {
        'test_evaluator.format_only': True,
        'test_evaluator.outfile_prefix': str(tmp_path / 'results'),
    }
    launch.test(detector(scenes, tmp_path, **options), str(checkpoint))
    assert (tmp_path / 'results.bbox.json').exists()
    assert not (tmp_path / 'records').exists()
    assert 'No run record: the evaluation gave no metrics.' in log(tmp_path)


def with_truth(scenes, work_dir, keep, **options):
    """Validation on COCO's files, with the annotations that ``keep`` keeps."""
    cfg = detector(scenes, work_dir, **options)
    source = next(scenes.rglob('coco/instances_validation.json'))
    content = json.loads(source.read_text())
    content['annotations'] = [a for a in content['annotations'] if keep(a)]
    path = work_dir / 'truth.json'
    path.write_text(json.dumps(content))
    cfg.test_dataloader.dataset = dict(
        type='mixae.CocoDataset',
        metainfo=dict(classes=[c['name'] for c in content['categories']]),
        ann_file=str(path),
        data_prefix=dict(img=str(source.parents[1] / 'images/validation')),
        test_mode=True,
        pipeline=cfg.test_dataloader.dataset.pipeline,
    )
    cfg.test_evaluator.ann_file = str(path)
    return cfg


@pytest.mark.dense
@pytest.mark.parametrize('threshold', [0.0, 1.0], ids=['predictions', 'no prediction'])
def test_validation_without_ground_truth_leaves_no_record(trained, scenes, tmp_path, threshold):
    checkpoint, _ = trained
    options = {'model.test_cfg.rcnn.score_thr': threshold}
    launch.test(with_truth(scenes, tmp_path, lambda a: False, **options), str(checkpoint))
    assert not (tmp_path / 'records').exists()
    assert 'No run record: the evaluation gave no metrics' in log(tmp_path)


@pytest.mark.dense
def test_a_detector_that_finds_nothing_has_an_ap_of_zero(trained, scenes, tmp_path):
    checkpoint, _ = trained
    options = {'model.test_cfg.rcnn.score_thr': 1.0}
    launch.test(with_truth(scenes, tmp_path, lambda a: True, **options), str(checkpoint))
    (record,) = records(tmp_path)
    assert value(record, 'coco/bbox_mAP') == 0.0


@pytest.mark.dense
def test_a_class_that_validation_lacks_is_undefined(trained, scenes, tmp_path):
    checkpoint, _ = trained
    options = {'test_evaluator.classwise': True, 'model.test_cfg.rcnn.score_thr': 0.0}
    launch.test(
        with_truth(scenes, tmp_path, lambda a: a['category_id'] != 3, **options), str(checkpoint)
    )
    (record,) = records(tmp_path)
    names = [c['name'] for c in json.loads((tmp_path / 'truth.json').read_text())['categories']]
    assert value(record, f'coco/{names[2]}_precision') is None
    assert sum(value(record, f'coco/{name}_precision') is not None for name in names) >= 5


def test_a_checkpoint_that_was_trained_on_labels_is_marked_as_one(small_config, tmp_path):
    """A probe of a fine-tuned encoder must not stand among encoders that saw no label."""
    launch.train(small_config(FINETUNE, epochs=1), pretrained='scratch')
    tuned = str(tmp_path / 'run' / 'epoch_1.pth')
    launch.test(small_config('transfer/cifar/cifar10_vitt_knn.py', tmp_path / 'knn'), tuned)
    (record,) = records(tmp_path / 'knn')
    assert record['pretraining']['labels_in_pretraining'] is True
    assert (record['method'], list(record['variant'])) == ('scratch', ['then'])
    (row,) = build_table([record]).rows
    assert row_labels(row)[0] == 'from scratch †' and row.variant_text.startswith('then=')
