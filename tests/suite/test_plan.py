"""Plans: what ships is sound, and what is wrong with one is said."""

from dataclasses import replace
from pathlib import Path

import pytest

from mixae.datasets.digit_scenes.options import DEFAULTS
from mixae.derive import derive
from mixae.errors import MixaeError, SuiteError
from mixae.suite.checks import CHECKS
from mixae.suite.plan import ROOT, load_suite
from mixae.suite.run import open_suite
from mixae.suite.state import Folder

SUITES = sorted(p for p in (ROOT / 'configs' / 'suites').rglob('*.py') if p.parent.name != '_base_')


@pytest.mark.parametrize('path', SUITES, ids=lambda path: path.stem)
def test_the_suites_that_ship_are_sound(path):
    suite = load_suite(path)
    names = [run.name for run in suite.plan]
    assert len(set(names)) == len(names)
    for i, run in enumerate(suite.plan):
        assert set(run.needs) <= set(names[:i])
    assert set(suite.checks) <= set(CHECKS)
    assert set(suite.prepare) <= set(DEFAULTS)
    assert suite.evaluations


def test_every_override_of_a_suite_names_a_setting_that_is_there():
    """A misspelt override would silently run something else."""
    # What every data set and sampler takes; what a constant share of i-MAE is given by.
    elsewhere = ('subset', 'seed', 'num_workers', 'indices', 'subordinate', 'encoder_card')
    for path in SUITES:
        for run in load_suite(path, seeds=[0]).plan:
            if run.is_analysis:
                continue
            cfg = replace(run, options={}).config()
            for name in run.options:
                node = cfg
                for part in name.split('.'):
                    assert part in node or part in elsewhere, (path, name)
                    node = node.get(part, {})


def test_a_row_may_have_fewer_seeds():
    suite = load_suite(ROOT / 'configs/suites/digit_scenes_study.py')
    seeds = {}
    for run in suite.plan:
        if run.is_pretraining:
            row, seed = run.name.removesuffix('/pretrain').rsplit('_seed', 1)
            seeds.setdefault(row, []).append(int(seed))
    assert seeds.pop('mae') == seeds.pop('mixedae') == [0, 1, 2, 3, 4]
    assert len(seeds) == 8 and all(found == [0, 1, 2] for found in seeds.values())
    starts = {run.start for run in suite.evaluations}
    assert 'naive_seed2/pretrain' in starts and 'naive_seed3/pretrain' not in starts


def test_evaluations_along_a_pretraining_start_from_the_checkpoints_of_their_epochs(tmp_path):
    keep = {
        f'default_hooks.checkpoint.{k}': v for k, v in dict(interval=3, max_keep_ckpts=-1).items()
    }
    (tmp_path / 's.py').write_text(
        f"{SUITE}\npretrain['m']['options'] = {keep}\nevaluate['l']['also_at'] = [0.25, 0.75]"
    )
    suite = load_suite(tmp_path / 's.py')
    names = ['l', 'l_at_3', 'l_at_9']
    assert [run.name for run in suite.evaluations] == [
        *(f'm_seed0/{name}' for name in names),
        'scratch_seed0/l',
    ]
    runs = [suite[f'm_seed0/{name}'] for name in names]
    assert [run.epoch for run in runs] == [0, 3, 9]
    folder = Folder(tmp_path / 'work', suite)
    assert {folder.start(run) for run in runs} == {'<m_seed0/pretrain>'}
    for epoch in (3, 6, 9, 12):
        path = folder[suite['m_seed0/pretrain']] / f'epoch_{epoch}.pth'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(epoch))
    folder.finish(suite['m_seed0/pretrain'], 1.0)
    assert [Path(folder.start(run)).name for run in runs] == [
        f'epoch_{epoch}.pth' for epoch in (12, 3, 9)
    ]
    assert len({folder.key(run) for run in runs}) == 3


@pytest.mark.parametrize('path', SUITES, ids=lambda path: path.stem)
def test_tables_tell_the_rows_of_every_suite_apart(path):
    load_suite(path).check_rows()


def test_rows_that_no_table_tells_apart_are_refused_until_the_setting_is_named(tmp_path):
    path, rows = tmp_path / 's.py', "pretrain['n'] = dict(pretrain['m'], options={})"
    path.write_text(f"{SUITE}\n{rows}\npretrain['n']['options'] = {{'base_lr': 1e-3}}")
    with pytest.raises(SuiteError, match=r'm_seed0/pretrain and n_seed.* differ in base_lr,'):
        open_suite(path, tmp_path / 'w')
    named = "pretrain['{}'].setdefault('options', {{}})['variant.rate'] = 'base_lr'"
    path.write_text('\n'.join([path.read_text(), named.format('m'), named.format('n')]))
    open_suite(path, tmp_path / 'w')


def test_a_config_is_named_as_for_a_single_run(tmp_path, monkeypatch):
    """By mixae's own name, from the checkout, or as somebody's own file in the current folder."""
    (tmp_path / 'own.py').write_text(f"_base_ = ['{ROOT}/configs/mae/vitmini_digits_12e.py']")
    monkeypatch.chdir(tmp_path)
    targets = []
    for config in (
        'mixae::mae/vitmini_digits_12e.py',
        'configs/mae/vitmini_digits_12e.py',
        'own.py',
    ):
        (tmp_path / 's.py').write_text(f"{SUITE}\npretrain['m']['config'] = '{config}'")
        targets.append(load_suite('s.py')['m_seed0/pretrain'].target)
    assert targets == ['configs/mae/vitmini_digits_12e.py'] * 2 + [str(tmp_path / 'own.py')]


def test_other_processes_are_another_training(tmp_path):
    """The effective batch and the learning rate follow from them."""
    keys, settings = [], []
    for gpus in (None, 1, 8):
        suite = load_suite(ROOT / 'configs/suites/demo.py', gpus=gpus)
        folder = Folder(tmp_path, suite)
        keys.append(folder.key(suite['mae_seed0/pretrain']))
        settings.append(folder.settings(suite['mae_seed0/pretrain']))
    assert keys[0] == keys[1] != keys[2]
    assert settings[2] == {**settings[0], 'processes': '8'}


def test_a_teacher_has_the_seeds_of_its_student(tmp_path):
    base = f"_base_ = ['{ROOT}/configs/suites/demo.py']"
    (tmp_path / 's.py').write_text(f'{base}\npretrain = dict(mae=dict(seeds=[1]))\n')
    with pytest.raises(SuiteError, match="its teacher 'mae' must be a row before it, of seed 0"):
        load_suite(tmp_path / 's.py')


def test_pretraining_is_shared_and_seeds_are_repeats():
    suite = load_suite(ROOT / 'configs/suites/demo.py', seeds=[0, 1])
    for seed in (0, 1):
        for row in ('mae', 'mixedae', 'imae', 'scratch'):
            for kind in ('finetune', 'linear') if row != 'imae' else ('linear',):
                run = suite[f'{row}_seed{seed}/{kind}']
                assert run.options['randomness.seed'] == seed
                assert run.start == (
                    'scratch' if row == 'scratch' else f'{row}_seed{seed}/pretrain'
                )
        assert suite[f'imae_seed{seed}/pretrain'].teacher == f'mae_seed{seed}/pretrain'
    assert len([run for run in suite.plan if run.is_pretraining]) == 6
    selected = suite.select(['imae_seed1/linear'])
    assert [run.name for run in selected] == [
        'mae_seed1/pretrain',
        'imae_seed1/pretrain',
        'imae_seed1/linear',
    ]
    with pytest.raises(SuiteError, match="no run 'imae/knn'"):
        suite.select(['imae/knn'])


def test_mae_and_mixedae_of_the_demo_see_as_many_images():
    cfgs = {
        run.name.split('_')[0]: run.config()
        for run in load_suite(ROOT / 'configs/suites/demo.py').plan
        if run.is_pretraining
    }
    epochs = {name: cfg.train_cfg.max_epochs for name, cfg in cfgs.items()}
    # An epoch of i-MAE sees each image twice; half as many, and those that its teacher has seen.
    assert epochs['mae'] == epochs['mixedae'] == 4 * epochs['imae']
    cfgs.pop('imae')  # cannot be resolved without its teacher
    batches = {derive(cfg, cuda=False)[0].train_dataloader.batch_size for cfg in cfgs.values()}
    assert len(batches) == 1


def test_an_analysis_names_the_checkpoints_of_its_seed(tmp_path):
    (tmp_path / 'suite.py').write_text(
        SUITE
        + "budget, seeds = 'an hour', [0, 7]\npretrain['n'] = pretrain['m']\n"
        + "_all = dict(tool='tools/analysis/separability.py', of='m')\n"
        + "_all['arguments'] = ['{pretrain}', '{n}', '{seed}', '{budget}', '{records}']\n"
        + 'analyses, pictures = dict(t=_all), dict(p=_all)\n'
    )
    suite = load_suite(tmp_path / 'suite.py')
    for seed in (0, 7):
        run = suite[f'm_seed{seed}/t']
        assert run.needs == (f'm_seed{seed}/pretrain', f'n_seed{seed}/pretrain')
        other = f'{{n_seed{seed}/pretrain}}'
        assert run.arguments == ('{pretrain}', other, str(seed), 'an hour', '{records}')
    assert suite['pictures/p'].tool == 'picture' and len(suite['pictures/p'].needs) == 2
    assert suite['m_seed7/t'].tool == 'analysis' and suite['m_seed7/t'] in suite.evaluations


SUITE = """
pretrain = dict(m=dict(config='configs/mae/vitmini_digits_12e.py'))
evaluate = dict(l=dict(tool='test', config='configs/transfer/digit_scenes/vitmini_linear.py'))
columns = ['linear']
"""


@pytest.mark.parametrize(
    'more, message',
    [
        ('metods = 1', r"unknown \['metods'\]; known are"),
        ('del columns', r"\['columns'\] must be given"),
        ('evaluate = {}', 'nothing in `evaluate`'),
        ('seeds = [1, 1]', 'must be different numbers'),
        ('seeds = []', 'at least 1'),
        ("on_change = 'ask'", "neither 'stop' nor 'redo'"),
        ("pretrain['m']['config'] = 'configs/x.py'", 'there is no configs/x.py'),
        ("pretrain['m']['teacher'] = 'z'", "its teacher 'z' must be a row before it"),
        ("pretrain['m']['epochs'] = 3", r"pretrain.m: unknown \['epochs'\]"),
        ("evaluate['l']['tool'] = 'probe'", "'train' or 'test'"),
        ("pictures = dict(p=dict(tool='t', of='z', arguments=[]))", "of='z' is no row"),
        ("analyses = dict(p=dict(tool='t', of='m', args=[]))", r"analyses.p: unknown \['args'\]"),
        ("analyses = dict(p=dict(tool='t', of='m', arguments=[]))", 'there is no t'),
        (
            "_all = dict(tool='tools/train.py', of='m', arguments=['configs/x.py'])\n"
            'analyses = dict(p=_all)',
            'there is no configs/x.py',
        ),
        ('pretrain = 3', 'pretrain=3: expected dict'),
        ("pretrain['m'] = 'config'", "pretrain.m: expected dict.*, not 'config'"),
        ("pretrain['m']['options'] = 3", 'pretrain.m: options=3: expected dict'),
        ("pretrain['m']['options'] = {'a': print}", 'options must be what JSON can hold'),
        ("pretrain['a/b'] = pretrain['m']", 'pretrain.a/b: a folder is called so'),
        ("pretrain['..'] = pretrain['m']", 'a folder is called so'),
        ("pretrain['scratch'] = pretrain['m']", "not 'scratch' or 'pretrain'"),
        ("evaluate['pretrain'] = evaluate['l']", "not 'scratch' or 'pretrain'"),
        ("evaluate['l']['only'] = ['z']", r"only=\['z'\] are no rows"),
        ("evaluate['l']['gpus'] = 0", 'evaluate.l.gpus=0: expected a whole number'),
        ('gpus = -1', 'gpus=-1: expected a whole number'),
        ('seeds = [-1]', 'seeds=-1: expected a whole number'),
        ("seeds = ['a']", "seeds='a': expected a whole number"),
        ("evaluate['l']['also_at'] = [1.0]", 'also_at: 1.0: expected shares'),
        ("evaluate['l']['also_at'] = [0.3]", '0.3 of the 12 epochs of m_seed0/pretrain must be'),
        ("evaluate['l']['also_at'] = [0.5]", 'max_keep_ckpts=-1 in its options'),
        (
            'checks = dict(pretraining_pays=dict(linear=dict(gain=5, maee=dict(gain=1))))',
            r"pretraining_pays.linear: unknown \['maee'\]",
        ),
        (
            'checks = dict(pretraining_pays=dict(linear=dict(gain=5, mae=dict(least=1))))',
            r"pretraining_pays.linear.mae: \['gain'\] must be given",
        ),
        ("columns = ['liner']", "unknown column 'liner'"),
        ('columns = []', 'no column asked for'),
        ("published = 'some'", "published='some' is neither 'none' nor"),
        ("prepare = ['boxes']", r"prepare: unknown \['boxes'\]; known are"),
    ],
)
def test_what_is_wrong_with_a_suite_is_said_before_it_runs(tmp_path, more, message):
    (tmp_path / 'suite.py').write_text(SUITE)
    load_suite(tmp_path / 'suite.py')
    (tmp_path / 'wrong.py').write_text(SUITE + more)
    with pytest.raises(MixaeError, match=message):
        load_suite(tmp_path / 'wrong.py')


def test_a_suite_that_is_not_there_is_named():
    with pytest.raises(MixaeError, match='no suite nothing.py'):
        load_suite('nothing.py')
