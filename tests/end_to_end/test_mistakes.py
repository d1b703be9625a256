"""Mistakes at the command line of every tool: each is one line, and nothing has run.

Those within ``--cfg-options`` are in ``tests/derive/test_mistakes.py``.
"""

import re
import runpy
import shlex
import signal
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mixae.derive import derive
from mixae.registry import MODELS
from mixae.suite.plan import ROOT

DEMO = 'configs/suites/demo.py'
MIXEDAE = 'configs/mixedae/vitmini_digits_12e.py'
MAE = 'configs/mae/vitmini_digits_12e.py'
IMAE = 'configs/imae/vitmini_digits_6e.py'
KNN = 'configs/transfer/digit_scenes/vitmini_knn.py'
FINETUNE = 'configs/transfer/digit_scenes/vitmini_finetune.py'
SEGMENTATION = 'configs/transfer/digit_scenes/vitmini_segmentation.py'
RECORDS = 'docs/results/digit_scenes_dense/records'

TRAIN = 'tools/train.py'
TEST = f'tools/test.py {KNN}'
SUITE = 'tools/run_suite.py'
EVALUATE = 'tools/evaluate.py'
ANY = f'{EVALUATE} vit_tiny_patch16_224 --dry-run --work-dir TMP/e'
BOARD = 'tools/leaderboard.py'
DIGITS = 'tools/datasets/make_digit_scenes.py --data-root TMP/digits'
CIFAR = 'tools/datasets/prepare_cifar.py cifar10 --no-download --out'
TINY = 'tools/datasets/prepare_tiny_imagenet.py --data-root TMP/tiny --archive'
EXPORT = 'tools/checkpoints/export.py WEIGHTS/mixedae.pth --to'
LABELS = f'tools/datasets/make_pseudo_labels.py {KNN} WEIGHTS/mixedae.pth'
SMALL = (
    '--cfg-options data_root=TMP/digits '
    "\"train_features.dataset.dataset.options={'num_train': 40, 'num_test': 20}\""
)
PREPARED = f'{TRAIN} CONFIG --work-dir TMP/w --cfg-options data_root=TMP/digits'
PREPARED += " \"train_dataloader.dataset.dataset.options={'num_train': 40, 'num_test': 20}\""
FINETUNED = PREPARED.replace('CONFIG', f'{FINETUNE} --pretrained scratch')
PICTURE = f'tools/analysis/reconstructions.py {MIXEDAE} WEIGHTS/mixedae.pth'
FIGURE = f'tools/analysis/imae_pictures.py factors {IMAE} WEIGHTS/imae.pth --data {KNN}'
PREDICTIONS = f'tools/analysis/draw_predictions.py {SEGMENTATION} WEIGHTS/mae.pth'
CURVE = 'tools/analysis/topk_curve.py'
FEATURES = f'tools/analysis/features.py {KNN} WEIGHTS/mae.pth'
INFORMATION = f'tools/analysis/mutual_information.py {MAE} WEIGHTS/mae.pth --data {KNN}'
OBJECTS = 'tools/analysis/object_completeness.py configs/analysis/objects_digit_scenes.py'
SWEEP = f'tools/analysis/sweep_curve.py {RECORDS} --column miou'
SEPARABILITY = f'tools/analysis/separability.py {IMAE} WEIGHTS/imae.pth'
TABLE_4 = f'{SEPARABILITY} --teacher WEIGHTS/mae.pth --data {KNN}'
ALONE = 'WORLD_SIZE=1 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500'

FILES = {
    'model.pth': 'no text \0',
    'broken.py': 'pretrain = dict(',
    'fails.py': 'columns = [nothing]',
    'lines.py': "raise RuntimeError('a\\nb')",
    'ends.py': 'import sys\nsys.exit()',
    'empty.py': '',
    'no_base.py': "_base_ = ['nothing.py']",
    'itself.py': "_base_ = ['itself.py']",
    'twice.py': f"_base_ = ['{ROOT}/{MAE}', '{ROOT}/{MIXEDAE}']",
    'no_import.py': f"_base_ = ['{ROOT}/{MAE}']\ncustom_imports = dict(imports=['nothing_alike'])",
    'word.py': f"_base_ = ['{ROOT}/{MAE}']\nmodel = 'MAE'",
    'no_type.py': f"_base_ = ['{ROOT}/{MAE}']\nmodel = dict(_delete_=True, backbone=dict())",
    'config.json': '{"model": {"type": "MAE"}}',
    'list.json': '[1]',
    'typo.json': '{"base_Ir": 1}',
    'deep.json': '[' * 10000,
    'nan.json': '{"base_lr": NaN}',
    'no_key.json': '{"": 1}',
    'arch.json': '{"model.backbone.arch": {"embed_dims": "x", "num_layers": 2, "num_heads": 2, '
    '"feedforward_channels": 8}}',
    'deeper.json': '{"base_lr.x": 1}',
    'other.jsonl': '{"a": 1}',
    'typo.py': f"pretrain = dict(m=dict(config='{MAE}', options={{'base_lr.x': 1}}))\n"
    f"evaluate = dict(l=dict(tool='test', config='{MAE}'))\ncolumns = ['linear']",
    **{
        f'suite_{name}.py': f"_base_ = ['{ROOT}/{DEMO}']\n{text}"
        for name, text in {
            'key': "colums = ['knn']",
            'column': "columns = ['kn']",
            'seed': "seeds = ['a']",
            'seeds': 'seeds = 3',
            'option': "pretrain = dict(mae=dict(options={'model.backbone.maskratio': 0.5}))",
            'value': "pretrain = dict(mae=dict(options={'train_cfg.max_epochs': 'abc'}))",
        }.items()
    },
}
BYTES = {'latin.py': b'# caf\xe9', 'utf16.py': 'x = 1'.encode('utf-16'), 'empty.png': b''}


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Checkpoints of the demo's models as they begin."""
    folder = tmp_path_factory.mktemp('weights')
    for name, path in (('mixedae', MIXEDAE), ('mae', MAE), ('imae', IMAE)):
        cfg = Config.fromfile(ROOT / path)
        if name == 'imae':
            cfg.model.distill = None
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(derive(cfg)[0].model)
        torch.save(dict(state_dict=model.state_dict()), folder / f'{name}.pth')
    return folder


@pytest.fixture
def tool(tmp_path, weights, monkeypatch, capsys):
    """Runs a command line in this process; returns its exit status and what it says."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    for name, content in BYTES.items():
        (tmp_path / name).write_bytes(content)
    one = min((ROOT / RECORDS).glob('*.record.json'))
    (tmp_path / 'one.record.json').write_bytes(one.read_bytes())
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv('PATH', str(tmp_path))  # without SLURM
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT', 'SLURM_PROCID'):
        monkeypatch.setenv(name, '')  # put back what a tool sets
        monkeypatch.delenv(name)
    handlers = {number: signal.getsignal(number) for number in (1, 2, 15)}

    def tool(command):
        words = [w.replace('TMP', str(tmp_path)) for w in shlex.split(command)]
        words = [w.replace('WEIGHTS', str(weights)) for w in words]
        while not words[0].startswith('tools/'):
            monkeypatch.setenv(*words.pop(0).split('='))
        monkeypatch.setattr(sys, 'argv', words)
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / words[0]), run_name='__main__')
        code, text = end.value.code, capsys.readouterr().err
        # The interpreter prints a text, and has the status 1.
        return (1, text + code) if isinstance(code, str) else (code, text)

    yield tool
    for number, handler in handlers.items():
        signal.signal(number, handler)


SUITES = [
    # What is no suite.
    (f'{SUITE}', 'the following arguments are required: suite'),
    (f'{SUITE} nothing.py', 'There is no suite nothing.py.'),
    (f'{SUITE} configs/suites/dmeo.py', f'no suite .*; did you mean {DEMO}'),
    (f'{SUITE} configs/suites', 'There is no suite configs/suites'),
    (f'{SUITE} {MAE}', f'{MAE} is the config of one run, for tools/train.py'),
    (f'{SUITE} README.md', 'README.md is no config'),
    (f'{SUITE} TMP/model.pth', 'model.pth is no config'),
    (f'{SUITE} TMP/broken.py', 'broken.py is no config: SyntaxError'),
    (f'{SUITE} TMP/fails.py', "fails.py is no config: NameError: name 'nothing'"),
    (f'{SUITE} TMP/typo.py', 'm_seed0/pretrain: options do not fit .*base_lr'),
    # Numbers out of range, or none.
    *(
        (f'{SUITE} {DEMO} {more} {option}={value}', f'{option[2:]}={value}: expected a whole')
        for option in ('--jobs', '--gpus')
        for value in ('0', '-1')
        for more in ('', '--dry-run')
    ),
    (f'{SUITE} {DEMO} --jobs two', "argument --jobs: invalid int value: 'two'"),
    (f'{SUITE} {DEMO} --seeds -1', 'seeds=-1: expected a whole number, 0 or more'),
    (f'{SUITE} {DEMO} --seeds 1 1', r'seeds=\[1, 1\] must be different'),
    (f'{SUITE} {DEMO} --seeds 0.5', "argument --seeds: invalid int value: '0.5'"),
    # Words that are not known.
    (f'{SUITE} {DEMO} --only mae_seed0/liner', 'no run .*did you mean mae_seed0/linear'),
    (f'{SUITE} {DEMO} --only mae_seed7/knn', "Suite demo has no run 'mae_seed7/knn'; did"),
    (f'{SUITE} {DEMO} --on-change maybe', "--on-change: invalid choice: 'maybe'"),
    (f'{SUITE} {DEMO} --launcher pbs', "--launcher: invalid choice: 'pbs'"),
    (f'{SUITE} {DEMO} --job', 'argument --jobs: expected one argument'),
    (f'{SUITE} {DEMO} --quick', 'unrecognized arguments: --quick'),
    # Where there is no SLURM.
    (f'{SUITE} {DEMO} --slurm gpu', 'There is no sbatch on this machine'),
    (f'{SUITE} {DEMO} --launcher slurm --work-dir TMP/w', 'There is no srun on this machine'),
    (f'{SUITE} {DEMO} --slurm gpu --launcher slurm', 'give one of them'),
    (f'{SUITE} {DEMO} --sbatch-args=--time=1', '--sbatch-args are for --slurm'),
    (f'{SUITE} {DEMO} --gpus 1000000000', 'gpus=1000000000: expected a whole number, 4096 or less'),
    (f'{SUITE} {DEMO} --jobs 99999999999999', 'jobs=9*: expected a whole number, 4096 or less'),
    (f'{SUITE} {DEMO} {DEMO}', 'unrecognized arguments'),
    (f'{SUITE} {DEMO} --only nothing --only mae_seed0/linear', "has no run 'nothing'"),
    (f'{SUITE} {DEMO} --seeds 1 --seeds 1', r'seeds=\[1, 1\] must be different'),
    (f'{SUITE} {DEMO} --slurm gpu --sbatch-args "\'"', 'argument --sbatch-args: invalid'),
    # Where nothing can be written.
    (f'{SUITE} {DEMO} --work-dir README.md', 'README.md is a file'),
    (f'{SUITE} {DEMO} --work-dir README.md --dry-run', 'README.md is a file'),
    (f'{SUITE} {DEMO} --work-dir README.md/w', 'README.md/w cannot be written'),
    (f'{SUITE} {DEMO} --work-dir /proc/1/w', '/proc/1/w cannot be written'),
    # Suites that cannot be run, before the first run.
    (f'{SUITE} TMP/latin.py', 'latin.py is no config: UnicodeDecodeError'),
    (f'{SUITE} TMP/empty.py', r"suite empty: \['columns'\] must be given"),
    (f'{SUITE} TMP/suite_key.py', r"unknown \['colums'\]; known are"),
    (f'{SUITE} TMP/suite_column.py', "unknown column 'kn'"),
    (f'{SUITE} TMP/suite_seed.py', "seeds='a': expected a whole number"),
    (f'{SUITE} TMP/suite_seeds.py', 'seeds=3: expected a list'),
    (f'{SUITE} TMP/suite_option.py', 'mae_seed0/pretrain: model.backbone.maskratio: .*mask_ratio'),
    (f'{SUITE} TMP/suite_value.py', "mae_seed0/pretrain: train_cfg.max_epochs='abc': expected"),
    (f'{SUITE} {DEMO} --seeds 99999999999', 'randomness.seed=99999999999: expected a whole'),
]
CONFIGS = [
    # A suite is no config.
    (f'tools/train.py {DEMO}', f'{DEMO} is a suite'),
    (f'tools/test.py {DEMO} scratch', f'{DEMO} is a suite'),
    (f'tools/analysis/reconstructions.py {DEMO} x.pth --out x.png', f'{DEMO} is a suite'),
    (f'tools/analysis/draw_predictions.py {DEMO} x.pth --out x.png', f'{DEMO} is a suite'),
    # Overrides from a file.
    (f'tools/train.py {MAE} --options-file TMP/no.json', 'no.json cannot be read'),
    (f'tools/train.py {MAE} --options-file TMP/broken.py', 'broken.py cannot be read'),
    (f'tools/train.py {MAE} --options-file TMP/model.pth', 'model.pth cannot be read'),
    (f'tools/train.py {MAE} --options-file TMP/list.json', 'holds no JSON object'),
    (f'{TRAIN} {MAE} --options-file TMP/latin.py', 'latin.py cannot be read'),
    (f'{TRAIN} {MAE} --options-file TMP', 'Is a directory'),
    (f'{TRAIN} {MAE} --options-file TMP/deep.json', 'deep.json cannot be read'),
    (f'{TRAIN} {MAE} --options-file TMP/nan.json --work-dir TMP/w', 'base_lr=nan: expected a num'),
    (f'{TRAIN} {MAE} --options-file TMP/no_key.json', "No run reads the setting ''"),
    (
        f'{TRAIN} {MAE} --options-file TMP/arch.json --work-dir TMP/w',
        r"arch\.embed_dims='x': expected a whole",
    ),
    (f'{TRAIN} {MAE} --options-file TMP/typo.json', "'base_Ir'; did you mean base_lr"),
    (f'{TRAIN} {MAE} --options-file TMP/deeper.json', 'base_lr.x: base_lr is 0.012'),
    # What is no config.
    (f'{TRAIN}', 'the following arguments are required: config'),
    (f'{TRAIN} configs', 'There is no config file configs'),
    (f'{TRAIN} TMP/model.pth', 'model.pth is no config: expected a Python file'),
    (f'{TRAIN} TMP/config.json', 'config.json is no config: expected a Python file'),
    (f'{TRAIN} TMP/broken.py', 'broken.py cannot be read: SyntaxError'),
    (f'{TRAIN} TMP/fails.py', "fails.py cannot be read: NameError: name 'nothing'"),
    (f'{TRAIN} TMP/lines.py', 'lines.py cannot be read: RuntimeError: a b'),
    (f'{TRAIN} TMP/ends.py', 'ends.py cannot be read: SystemExit'),
    (f'{TRAIN} TMP/empty.py', 'empty.py is no config of a run: it has no model'),
    (f'{TRAIN} TMP/latin.py', 'latin.py cannot be read: UnicodeDecodeError'),
    (f'{TRAIN} TMP/utf16.py', 'utf16.py cannot be read: UnicodeDecodeError'),
    (f'{TRAIN} TMP/no_base.py', 'no_base.py cannot be read: FileNotFoundError: .*nothing.py'),
    (f'{TRAIN} TMP/itself.py', 'itself.py cannot be read: RecursionError'),
    (f'{TRAIN} TMP/twice.py', 'twice.py cannot be read: KeyError: .*Duplicate key'),
    (f'{TRAIN} TMP/no_import.py', 'no_import.py cannot be read: ImportError: .*nothing_alike'),
    (f'{TRAIN} TMP/word.py --work-dir TMP/w', "model='MAE': expected dict"),
    (f'{TRAIN} TMP/no_type.py --work-dir TMP/w', 'model has no type'),
    # Words that are not known, and those that contradict each other.
    (f'{TRAIN} {MAE} --work-dirr x', 'unrecognized arguments: --work-dirr x'),
    (f'{TRAIN} {MAE} --cfg-options', 'argument --cfg-options: expected at least one argument'),
    (f'{TRAIN} {MAE} --cfg-options base_lr = 3', "'base_lr': expected KEY=VALUE"),
    (f'{TRAIN} {MAE} --cfg-options runner_type=Runner', 'expected mixae.MixaeRunner'),
    (f'{TRAIN} {MAE} --cfg-options runner_type=Runer', "runner_type='Runer'"),
    (f'{TRAIN} {MAE} --local_rank x', "invalid int value: 'x'"),
    (f'{TRAIN} {MAE} --resume --overwrite', 'give one of them'),
    (f'{TRAIN} {MAE} --resume --cfg-options overwrite=True', 'give one of them'),
    (f'{TEST} scratch --resume', 'unrecognized arguments: --resume'),
    # Launchers.
    (f'{TRAIN} {MAE} --launcher foo', "argument --launcher: invalid choice: 'foo'"),
    (f'{TRAIN} {MAE} --cfg-options launcher=foo', "launcher='foo': expected none, pytorch"),
    (f'{TRAIN} {MAE} --launcher pytorch', 'RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT is not set'),
    (f'{TRAIN} {MAE} --launcher slurm', 'SLURM_PROCID, SLURM_NTASKS is not set'),
    (f'{TRAIN} {MAE} --launcher mpi', 'OMPI_COMM_WORLD_RANK, .* is not set'),
    (f'{TEST} scratch --launcher pytorch', 'RANK, .* is not set'),
    (f'RANK=0 {TRAIN} {MAE} --launcher pytorch', 'pytorch: WORLD_SIZE, .* is not set'),
    (f'RANK=abc {ALONE} {TRAIN} {MAE} --launcher pytorch', 'RANK=abc, WORLD_SIZE=1'),
    (f'RANK=5 {ALONE} {TRAIN} {MAE} --launcher pytorch', 'RANK=5, WORLD_SIZE=1, .*less than'),
    (
        f'RANK=0 {ALONE.replace("127.0.0.1", "a..b")} {TRAIN} {MAE} --launcher pytorch',
        "MASTER_ADDR='a..b': expected the name of the host",
    ),
    (f'RANK=0 LOCAL_RANK=abc {ALONE} {TRAIN} {MAE} --launcher pytorch', 'LOCAL_RANK=abc: expected'),
    (f'RANK=0 {ALONE}x {TRAIN} {MAE} --launcher pytorch', 'port 29500x: expected'),
    (f'SLURM_PROCID=0 SLURM_NTASKS=x {TRAIN} {MAE} --launcher slurm', 'SLURM_NTASKS=x'),
    # Folders.
    (f'{TRAIN} {MAE} --work-dir README.md', 'README.md cannot be used as work directory'),
    (
        f'{TRAIN} {MAE} --amp --amp --no-validate --no-validate --work-dir README.md',
        'README.md can',
    ),
    (f'{TRAIN} {MAE} --work-dir README.md/x', 'README.md/x cannot be used as work directory'),
    (f'{TEST} scratch --work-dir README.md', 'README.md cannot be used as work directory'),
    (f'{TEST} scratch --work-dir /proc/x', '/proc/x cannot be used as work directory'),
    (
        f'{TRAIN} {MAE} --work-dir TMP/{"x" * 300}',
        'cannot be written .File name too',
    ),
    # What only the data, or the model that is built, can tell.
    (f'{FINETUNED} num_classes=7', 'num_classes=7, but SeededDataset has 10 classes'),
    (f'{FINETUNED} model.train_cfg.augment=3', "unexpected keyword argument 'augment'"),
    (
        f'{PREPARED.replace("CONFIG", MIXEDAE)} train_dataloader.dataset.dataset.split=val',
        "split='val': digit scenes have the splits train, test",
    ),
    (
        f'{TRAIN} {MIXEDAE} --work-dir TMP/w --cfg-options '
        'train_dataloader.dataset.dataset.options.foo=3',
        "Unknown option 'foo' of digit scenes",
    ),
    (
        f'{PREPARED.replace("CONFIG", IMAE)} model.distill=None model.teacher=None '
        'train_dataloader.sampler.same_class_ratio=2',
        'same_class_ratio=2',
    ),
    # Checkpoints.
    (
        f'{TRAIN} {FINETUNE} --work-dir TMP/w',
        'add --pretrained CHECKPOINT, or --pretrained scratch',
    ),
    (f'{TRAIN} {MAE} --work-dir TMP/w --pretrained scratch', 'is no transfer config'),
    (f'{TRAIN} {FINETUNE} --work-dir TMP/w --pretrained TMP', 'is a folder, not a checkpoint'),
    (f'{TRAIN} {FINETUNE} --work-dir TMP/w --pretrained Scratch', 'no checkpoint at Scratch'),
    (f'{TRAIN} {FINETUNE} WEIGHTS/mae.pth --work-dir TMP/w', 'unrecognized arguments'),
    (f'{TRAIN} {KNN} --work-dir TMP/w --pretrained WEIGHTS/mae.pth', 'trains nothing'),
    (f'{TRAIN} {MAE} --work-dir TMP/w --resume {MAE}', 'cannot be read as a checkpoint'),
    (f'{TRAIN} {MAE} --work-dir TMP/w --resume', 'there is no checkpoint to resume in .*/w'),
    (
        f'{TRAIN} {MAE} --work-dir TMP/w --cfg-options resume=True',
        'there is no checkpoint to resume',
    ),
    (f'{TRAIN} {MAE} --work-dir TMP/w --resume no.pth', 'There is no checkpoint at no.pth'),
    (f'{TRAIN} {MAE} --work-dir TMP/w --resume TMP', 'is a folder, not a checkpoint'),
    (f'{TRAIN} {MAE} --work-dir TMP/w --resume WEIGHTS/mae.pth', 'optimizer missing or damaged'),
    ('tools/test.py ' + KNN, 'the following arguments are required: checkpoint'),
    (f'{TEST} no.pth --work-dir TMP/w', 'There is no checkpoint at no.pth'),
    (f'{TEST} TMP --work-dir TMP/w', 'is a folder, not a checkpoint'),
    (f'{TEST} README.md --work-dir TMP/w', 'README.md cannot be read as a checkpoint'),
    (f'tools/test.py {MAE} WEIGHTS/mae.pth', 'evaluates nothing'),
    (f'tools/test.py WEIGHTS/mae.pth {KNN}', 'mae.pth is no config'),
]
EMPTY = [
    *(
        (f'{command} ""', rf'The word after {word} is empty')
        for command, word in (
            (f'{SUITE} {DEMO} --work-dir', '--work-dir'),
            (f'{SUITE} {DEMO} --only', '--only'),
            (TRAIN, r'\S*train\.py'),
            (f'{TRAIN} {MAE} --work-dir', '--work-dir'),
            (f'{TRAIN} {MAE} --cfg-options base_lr=1', 'base_lr=1'),
            (f'{TRAIN} {FINETUNE} --pretrained', '--pretrained'),
            (f'{TRAIN} {MAE} --resume', '--resume'),
            (TEST, KNN),
            (EVALUATE, r'\S*evaluate\.py'),
            (f'{ANY} --name', '--name'),
            (f'{BOARD} {RECORDS} --out', '--out'),
            (BOARD, r'\S*leaderboard\.py'),
            (f'{CIFAR} TMP --describe', '--describe'),
            (f'{EXPORT} timm --out', '--out'),
            (f'{LABELS} TMP/x.npz -k 4 --device', '--device'),
            (f'{FEATURES} --records', '--records'),
            (f'{SWEEP} --out TMP/x.png --setting', '--setting'),
            ('tools/analysis/claims.py', r'\S*claims\.py'),
        )
    )
]
ENCODERS = [
    (EVALUATE, 'the following arguments are required: encoder'),
    (f'{EVALUATE} nothing.pth', 'nothing.pth is no checkpoint and no model of timm'),
    (f'{EVALUATE} vit_tiny_patch16_223', 'no model of timm; did you mean vit_tiny_patch16_224'),
    (f'{EVALUATE} TMP', 'is no checkpoint and no model of timm'),
    (f'{EVALUATE} README.md', 'README.md cannot be read as a checkpoint'),
    (f'{EVALUATE} {MAE}', 'vitmini_digits_12e.py cannot be read as a checkpoint'),
    (f'{EVALUATE} WEIGHTS/mae.pth WEIGHTS/mae.pth', 'unrecognized arguments'),
    (f'{ANY} --data digits', '--data digits: expected one of cifar10, digit_scenes'),
    (f'{ANY} --tasks liner', '--tasks liner; did you mean linear'),
    (f'{ANY} --tasks knn --tasks knn', '--tasks knn knn: expected different ones'),
    (f'{ANY} --card methd=mae', '--card methd=mae: expected KEY=VALUE'),
    (f'{ANY} --card method', '--card method: expected KEY=VALUE'),
    (f'{ANY} --card epochs=', '--card epochs=: expected KEY=VALUE'),
    (f'{ANY} --card method=a --card method=b', '--card method=b: expected KEY=VALUE .* each once'),
    *(
        (f'{ANY} --card {key}={value}', rf'encoder_card\.{key}=.*: expected method')
        for key, value in (
            *(('epochs', value) for value in ('abc', '-1', 'nan', 'inf', 'true', '[1]')),
            ('labels', 'maybe'),
            ('labels', '3'),
        )
    ),
    (f'{ANY} --name a/b', '--name a/b: a folder is called so'),
    (f'{ANY} --name ..', r'--name \.\.: a folder is called so'),
    (f'{ANY} --name scratch', '--name scratch: a folder is called so'),
    (f'{ANY} --name {"x" * 300}', '--name x*: a folder is called so. Use up to 100 letters'),
    (f'{ANY} --model vit_base_patch16_224', 'vit_tiny_patch16_224 is a model of timm, no check'),
    (f'{ANY} --part teacher', '--part teacher: vit_tiny_patch16_224 is a model of timm'),
    (f'{ANY} --seeds -1', 'seeds=-1: expected a whole number'),
    (f'{ANY} --seeds 1 --seeds 1', r'seeds=\[1, 1\] must be different'),
    (f'{ANY} --jobs 0', 'jobs=0: expected a whole number'),
    (f'{EVALUATE} vit_tiny_patch16_224 --work-dir README.md', 'README.md cannot be written'),
    (f'{EVALUATE} vit_tiny_patch16_224 --work-dir /proc/x', '/proc/x cannot be written'),
    (f'{EVALUATE} timm:nothing --dry-run --work-dir TMP/e', "'nothing' is no model of timm"),
]
TABLES = [
    (f'{BOARD}', 'no records given'),
    (f'{BOARD} nothing', 'nothing: no such file or folder'),
    (f'{BOARD} configs', 'no run record .* in this folder'),
    (f'{BOARD} README.md', 'README.md: not a whole JSON document'),
    (f'{BOARD} TMP/latin.py', 'not UTF-8 text'),
    (f'{BOARD} {RECORDS} --columns foo', "unknown column 'foo'"),
    (f'{BOARD} {RECORDS} --columns knn:foo', "unknown column 'knn:foo'"),
    (f'{BOARD} {RECORDS} --columns knn knn', "column 'knn' is asked for 2 times"),
    (f'{BOARD} {RECORDS} --columns', 'argument --columns: expected at least one'),
    (f'{BOARD} {RECORDS} --columns miou --columns miou', "column 'miou' is asked for 2 times"),
    (f'{BOARD} {RECORDS} --columns {"x" * 5000}', r"unknown column 'xxx.* \[\.\.\.\] .*"),
    (f'{BOARD} {RECORDS} --title x', "title='x': the page alone has one, not format 'text'"),
    (f'{BOARD} TMP/one.record.json --out TMP/one.record.json', 'is one of the records'),
    (f'{BOARD} TMP --out TMP/one.record.json', 'one.record.json is one of the records'),
    (f'{BOARD} {RECORDS} --out TMP/{"x" * 300}', 'cannot be written .File name too long'),
    (f'{BOARD} TMP/config.json', 'config.json is not a valid run record'),
    (f'{BOARD} WEIGHTS/mae.pth', 'mae.pth: not UTF-8 text'),
    (f'{BOARD} {RECORDS} --format foo', "argument --format: invalid choice: 'foo'"),
    (f'{BOARD} {RECORDS} --format metafile', 'a method is named'),
    (f'{BOARD} {RECORDS} --format metafile --method foo', "method='foo': expected one of"),
    (f'{BOARD} {RECORDS} --published foo', "argument --published: invalid choice: 'foo'"),
    (f'{BOARD} {RECORDS} --out configs', "'configs' is a folder: name the file"),
    (f'{BOARD} {RECORDS} --out README.md/x', 'README.md cannot be written'),
    (f'{BOARD} {RECORDS} --out /proc/x', 'x cannot be written'),
    (f'{BOARD} {RECORDS} --images x.png', 'images are shown on the page only'),
    (f'{BOARD} {RECORDS} --format html --images no.png', 'no.png: no such picture'),
    (f'{BOARD} {RECORDS} --format html --images README.md', 'expected a picture'),
    (f'{BOARD} {RECORDS} --format html --images TMP/empty.png', 'empty.png: is empty'),
]
DATA = [
    (f'{DIGITS} --size 5', r'size=5: expected an integer in 32\.\.256'),
    (f'{DIGITS} --size 64.5', "argument --size: invalid int value: '64.5'"),
    (f'{DIGITS} --seed -1', 'seed=-1: expected an integer in 0'),
    (f'{DIGITS} --num-train 0', 'num_train=0: expected an integer in 1'),
    (f'{DIGITS} --part scenes --digits 3 1', r'digits=\(3, 1\): expected \(least, largest\)'),
    (f'{DIGITS} --num-train 1000000000000', 'num_train=10*: expected an integer in'),
    (f'{DIGITS} --num-train -1', 'num_train=-1: expected an integer in'),
    (f'{DIGITS} --size 1000000', 'size=1000000: expected an integer in'),
    (f'{DIGITS} --seed {10**24}', 'seed=10*: expected an integer in'),
    (f'{DIGITS} --part scenes --digits 0 0', r'digits=\(0, 0\): expected'),
    (f'{DIGITS} --part scenes --digits 1', 'argument --digits: expected 2 arguments'),
    (f'{DIGITS} --split test', '--split is of --picture, which is not given'),
    (f'{DIGITS} --digits 2 3', 'a classification picture has one digit'),
    (f'{DIGITS} --data-root README.md', 'README.md cannot be read or written'),
    (f'{DIGITS} --picture TMP/x.foo', 'x.foo: expected a name that ends in .png'),
    (f'{DIGITS} --picture TMP', 'is a folder: name the file'),
    (f'{DIGITS} --picture /proc/x.png', '/proc cannot be written|/proc/x.png cannot be written'),
    (f'{DIGITS} --picture TMP/x.png --seed 3', '--picture shows both parts with their default'),
    ('tools/datasets/prepare_cifar.py cifar11', "invalid choice: 'cifar11'"),
    (f'{CIFAR} TMP/cifar', 'Put cifar-10-python.tar.gz'),
    (f'{CIFAR} README.md', 'README.md cannot be written'),
    (f'{CIFAR} TMP --describe x', 'train holds 0 images in 0 classes; cifar10 has 50000 in 10'),
    (f'{TINY} no.zip', 'There is no file no.zip'),
    (f'{TINY} README.md', 'README.md is damaged or another file: its MD5'),
]
CHECKPOINTS = [
    (f'{EXPORT} timm --out TMP/x.pt', 'the layout timm is written as .safetensors'),
    (f'{EXPORT} timm --out /proc/x.safetensors', 'cannot be written'),
    (f'{EXPORT} timm --out TMP/x.safetensors --num-heads 3', 'the layout timm states none'),
    (f'{EXPORT} tim --out TMP/x.safetensors', "argument --to: invalid choice: 'tim'"),
    (f'{EXPORT} huggingface --out TMP/x', 'An encoder 96 wide: give its number'),
    (f'{EXPORT} huggingface --out TMP/x --num-heads 7', '7 heads do not divide a width of 96'),
    (f'{EXPORT} huggingface --out TMP/x --num-heads -2', '-2 heads do not divide'),
    (f'{EXPORT} huggingface --out TMP/x --num-heads 0', '0 heads do not divide'),
    (f'{EXPORT} huggingface --out TMP/x --num-heads 1.5', "invalid int value: '1.5'"),
    (f'{EXPORT} huggingface --out TMP/x --num-heads {10**24}', '10* heads do not divide'),
    (f'{EXPORT} timm --out TMP/{"x" * 300}.safetensors', 'File name too long'),
    ('tools/checkpoints/export.py TMP --to timm --out TMP/x.safetensors', 'is a folder, not a ch'),
    (f'tools/checkpoints/export.py {MAE} --to timm --out TMP/x.safetensors', 'cannot be read as'),
    (f'{EXPORT} huggingface --out README.md --num-heads 3', 'huggingface is written as a folder'),
    (f'{EXPORT} mmpretrain --out WEIGHTS/mixedae.pth', 'is the checkpoint itself'),
    ('tools/checkpoints/export.py no.pth --to timm --out x.safetensors', 'There is no checkpoint'),
    (f'{LABELS} TMP/x.npz -k 1000000 {SMALL}', 'k=1000000 pseudo-classes of 40 images: choose k'),
    (f'{LABELS} TMP/x.npz -k 1 {SMALL}', 'k=1 pseudo-classes of 40 images'),
    (f'{LABELS} TMP/x.npz -k 4 --mini-batch -1', 'mini_batch=-1: expected 1 row or more'),
    (f'{LABELS} TMP/x.npz -k 4 --seed 99999999999', 'seed=9*: expected a whole number from'),
    (f'tools/datasets/make_pseudo_labels.py WEIGHTS/mae.pth {KNN} TMP/x.npz -k 4', 'is no config'),
    (
        f'tools/datasets/make_pseudo_labels.py {KNN} TMP/x.npz WEIGHTS/mae.pth -k 4',
        'mae.pth: expected a name that ends in .npz',
    ),
    (f'{LABELS} TMP/x.npz -k ten', "argument -k: invalid int value: 'ten'"),
    (f'{LABELS} TMP/x.npz -k 4 {SMALL} test_cfg.pool=foo', "pool='foo' is unknown"),
    (f'{LABELS} TMP/x.npz -k 4 --seed -1', 'seed=-1: expected a whole number from'),
    (f'{LABELS} TMP/x.npz -k 4 --mini-batch 0', 'mini_batch=0: expected 1 row or more'),
    (f'{LABELS} TMP/x.npz -k 4 --device tpu', 'device=tpu: RuntimeError'),
    (f'{LABELS} TMP/x.txt -k 4', 'x.txt: expected a name that ends in .npz'),
    (f'{LABELS} TMP -k 4', 'is a folder: name the file'),
    (f'{LABELS} /proc/x.npz -k 4', 'cannot be written'),
    (
        f'tools/datasets/make_pseudo_labels.py {MAE} WEIGHTS/mae.pth TMP/x.npz -k 4',
        'has no train_features: give the config of a kNN',
    ),
]
ANALYSES = [
    (f'{PICTURE} --num-images 0 --out TMP/x.png', 'num_images=0: expected from 1 to'),
    (f'{PICTURE} --num-images -1 --out TMP/x.png', 'num_images=-1: expected from 1 to'),
    (f'{PICTURE} --num-images 99999999 --out TMP/x.png', 'num_images=99999999: expected from 1 to'),
    (
        f'{PICTURE} --seed -1 --out TMP/x.png',
        r'seed=-1: expected a whole number from 0 to 4294967295',
    ),
    (f'{PICTURE} --seed {10**24} --out TMP/x.png', 'seed=10*: expected a whole number from'),
    (f'{PICTURE} TMP --out TMP/x.png', 'There is no image at '),
    (f'{PICTURE} no.png --out TMP/x.png', 'There is no image at no.png'),
    (f'{PICTURE} README.md --out TMP/x.png', 'README.md cannot be read as an image'),
    (
        f'{PICTURE} TMP/empty.png --out TMP/x.png',
        'empty.png cannot be read as an image: it is empty',
    ),
    (
        f'{PICTURE} --split val --out TMP/x.png',
        "split='val': digit scenes have the splits train, test",
    ),
    (f'{PICTURE} --out TMP/x.foo', 'x.foo: expected a name that ends in .png'),
    (f'{PICTURE} --out TMP/x', 'x: expected a name that ends in .png'),
    (f'{PICTURE} --out TMP', 'is a folder: name the file'),
    (f'{PICTURE} --out README.md/x.png', 'README.md cannot be written'),
    (f'tools/analysis/reconstructions.py {MIXEDAE} WEIGHTS/mae.pth', 'does not fit MixedAE'),
    (f'tools/analysis/reconstructions.py {MIXEDAE} no.pth', 'There is no checkpoint at no.pth'),
    (f'tools/analysis/reconstructions.py {IMAE} WEIGHTS/imae.pth', 'are drawn for MAE and'),
    (f'{CURVE} TMP/nothing', 'There is no .*nothing'),
    (f'{CURVE} WEIGHTS', 'There is no .*topk_accuracy.jsonl: MixedAE runs'),
    (f'{CURVE} README.md', 'no reading of TopK sampling accuracy'),
    (f'{CURVE} TMP/list.json', 'no reading of TopK sampling accuracy'),
    (f'{CURVE} TMP/other.jsonl', 'no reading of TopK sampling accuracy'),
    (f'{CURVE} WEIGHTS/mae.pth', 'no reading of TopK sampling accuracy'),
    (f'{CURVE} TMP/other.jsonl --out TMP/x.foo', 'expected a name that ends in .png'),
    (f'{CURVE} TMP/other.jsonl --out TMP', 'is a folder: name the file'),
    (f'{FIGURE} --out TMP/x.png --pairs 0', 'pairs=0: expected 1 to 32'),
    (f'{FIGURE} --out TMP/x.png --pairs 99999', 'pairs=99999'),
    (f'{FIGURE} --out TMP/x.png --seed -1', 'seed=-1'),
    (f'{FIGURE} --out TMP/x.png --mask-ratio nan', r'mask_ratio=nan is outside \[0, 1\)'),
    (f'{FIGURE} --out TMP/x.png --teacher WEIGHTS/mae.pth', '--teacher has no use for factors'),
    (f'{FIGURE} --out TMP/x.png --factor 0.7', 'factors shows several: --factor has no use'),
    (f'{FIGURE} --out TMP/x.foo', 'expected a name that ends in .png'),
    (f'{FIGURE} --out TMP/x.png --data nothing.py', 'There is no config file nothing.py'),
    (f'{FIGURE} --out TMP/x.png --data {IMAE}', 'has no test_dataloader'),
    (f'{FIGURE} --out TMP/x.png'.replace(IMAE, MAE), "expected an i-MAE's config"),
    (f'{FIGURE} --out TMP/x.png'.replace('factors', 'weights'), 'name its checkpoint with --te'),
    (f'{FIGURE} --out TMP/x.png'.replace('factors', 'facotrs'), "invalid choice: 'facotrs'"),
    (f'{PREDICTIONS} --out TMP/x --count 0', 'count=0, threshold=0.3: expected 1 or more'),
    (f'{PREDICTIONS} --out TMP/x --threshold 2', 'threshold=2.0: expected'),
    (f'{PREDICTIONS} --out README.md', 'README.md cannot be written'),
    (f'{PREDICTIONS} --out TMP/w', 'does not fit EncoderDecoder'),
    (f'{PREDICTIONS} --out TMP/w'.replace(SEGMENTATION, MAE), 'neither detection heads nor'),
    (f'{TABLE_4} --fit-part 2', r'fit_part=2.0 is outside \(0, 1\]'),
    (f'{TABLE_4} --fit-part 0', r'fit_part=0.0 is outside \(0, 1\]'),
    (f'{TABLE_4} --alpha nan', 'alpha=nan: expected a number from 0'),
    (f'{TABLE_4} --alpha inf', 'alpha=inf: expected a number from 0'),
    (f'{TABLE_4} --alpha -1', r'alpha=-1\.0: expected a number from 0'),
    (f'{TABLE_4} --same-class-ratio 2', r'same_class_ratio=2\.0: expected a number in \[0, 1\]'),
    (f'{TABLE_4} --same-class-ratio nan', 'same_class_ratio=nan: expected a number in'),
    (f'{TABLE_4} --beta inf', "'beta': inf}: give exactly one"),
    (f'{TABLE_4} --subordinate 0.7', "'subordinate': 0.7}: give exactly one"),
    (f'{TABLE_4} --beta 0', "'beta': 0.0}: give exactly one"),
    (f'{TABLE_4} --mask-ratio 1', r'mask_ratio=1.0 is outside \[0, 1\)'),
    (f'{TABLE_4} --seed -1', 'seed=-1: expected a whole number from'),
    (f'{TABLE_4} --records README.md', 'README.md cannot be written'),
    (f'{TABLE_4}'.replace('WEIGHTS/imae.pth', 'WEIGHTS/mae.pth'), 'mae.pth does not fit IMAE'),
    (f'{TABLE_4}'.replace(IMAE, MAE), "expected an i-MAE's config"),
    (f'{SEPARABILITY} --teacher no.pth --data {KNN}', 'There is no checkpoint at no.pth'),
    (f'{SEPARABILITY} --teacher WEIGHTS/mae.pth --data {IMAE}', 'has no train_features'),
    (f'{FEATURES} WEIGHTS/mixedae.pth --names a', '--names a: expected 2 different ones'),
    (f'{FEATURES} WEIGHTS/mae.pth', 'mae.pth is given 2 times: expected different checkpoints'),
    (f'{FEATURES} --points 0', 'points=0: expected a whole number from 1'),
    (f'{FEATURES} --seed -1', 'seed=-1: expected a whole number from'),
    (f'{FEATURES} --seed 99999999999999999999', 'seed=9*: expected a whole number from'),
    (f'{FEATURES} --out README.md', 'README.md cannot be written'),
    (f'{FEATURES} --records README.md', 'README.md cannot be written'),
    (f'{FEATURES}'.replace(KNN, FINETUNE), "out_type='avg_featmap': expected 'raw'"),
    (f'{FEATURES}'.replace(KNN, SEGMENTATION), "out_type='featmap': expected 'raw'"),
    (f'{FEATURES}'.replace(KNN, MAE), 'has no test_dataloader'),
    (f'tools/analysis/features.py WEIGHTS/mae.pth {KNN}', 'mae.pth is no config'),
    (f'{INFORMATION} --steps 0', 'steps=0: expected a whole number from'),
    (f'{INFORMATION} --batch-size -1', 'batch_size=-1: expected a whole number from'),
    (f'{INFORMATION} --components 0', 'components=0: expected a whole number from'),
    (f'{INFORMATION} --seed -1', 'seed=-1: expected a whole number from'),
    (f'{INFORMATION} --records README.md', 'README.md cannot be written'),
    (f'{INFORMATION}'.replace(MAE, IMAE), 'mutual information is measured of MAE'),
    (f'{INFORMATION}'.replace('mae.pth', 'no.pth'), 'There is no checkpoint at .*no.pth'),
    (f'{OBJECTS} scratch scratch', 'scratch is given 2 times: expected different checkpoints'),
    (f'{OBJECTS} scratch --seed -1', 'seed=-1: expected a whole number from'),
    (f'{OBJECTS} scratch --out TMP/x.foo', 'expected a name that ends in .png'),
    (f'{OBJECTS} scratch --records README.md', 'README.md cannot be written'),
    (f'tools/analysis/object_completeness.py {SEGMENTATION} scratch', "expected 'raw'"),
    (f'{SWEEP} --out TMP', 'is a folder: name the file'),
    (f'{SWEEP} --out TMP/x.foo', 'expected a name that ends in .png'),
    (f'{SWEEP} --out TMP/x.png --setting foo', "setting 'foo' is the same in all rows"),
    (f'{SWEEP} --out TMP/x.png --against foo', "unknown column 'foo'"),
    (f'{SWEEP} --out TMP/x.png --against miou', "column 'miou' is asked for 2 times"),
    (f'{SWEEP} --out TMP/x.png --against knn --setting x', 'not allowed with argument'),
    (f'tools/analysis/budget_curve.py {RECORDS} --column foo', "unknown column 'foo'"),
    (f'tools/analysis/budget_curve.py {RECORDS} --column miou --out TMP', 'is a folder'),
    ('tools/analysis/budget_curve.py nothing', 'nothing: no such file or folder'),
    (f'tools/analysis/claims.py {RECORDS} --out TMP', 'is a folder: name the file'),
    ('tools/analysis/claims.py README.md', 'README.md: not a whole JSON document'),
]


@pytest.mark.parametrize(
    'command, said',
    [*SUITES, *CONFIGS, *EMPTY, *ENCODERS, *TABLES, *DATA, *CHECKPOINTS, *ANALYSES],
)
def test_a_mistake_ends_in_one_line(tool, tmp_path, command, said):
    code, text = tool(command)
    assert code in (1, 2), text
    (line,) = [line for line in text.splitlines() if 'error: ' in line]
    assert text.strip().endswith(line.strip())
    assert re.search(said, line)
    assert 'Traceback' not in text
    assert not [*tmp_path.glob('w/*.pth'), *tmp_path.glob('x*')]


@pytest.mark.parametrize(
    'until, code, said',
    [
        (r'\| +numpy$', -signal.SIGINT, ''),  # while modules are imported
        ('runs to do', 130, 'interrupted; the same command continues it'),
    ],
)
def test_ctrl_c_is_no_traceback(tmp_path, until, code, said):
    process = subprocess.Popen(
        [sys.executable, '-u', '-X', 'importtime', SUITE, DEMO, '--work-dir', str(tmp_path / 'w')],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # In the background of a shell, where SIGINT is ignored, the test would wait in vain.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for line in process.stdout:
        if re.search(until, line):
            break
    else:
        raise AssertionError(f'it ended before {until!r}')
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(60) == code
    assert said in rest and 'Traceback' not in rest
