"""The commands of README and docs: each is parsed by its tool, and its configs are loaded.

The slow tests run them, made small.
"""

import argparse
import inspect
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mixae.cli import find_tool
from mixae.files import find_config
from mixae.models import MaskedViT
from mixae.suite.plan import load_suite

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
PAGES += sorted((ROOT / 'configs').rglob('*.md')) + [ROOT / 'benchmarks' / 'README.md']
# Programs that are not ours.
OTHERS = {
    '.',
    'export',
    'cd',
    'tar',
    'pip',
    'git',
    'unzip',
    'mkdir',
    'ln',
    'wget',
    'pytest',
    'docker',
}


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text()
    found = re.findall(rf'^( *)```{language}\n(.*?)^ *```', text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf'^{indent}', '', block, flags=re.MULTILINE) for indent, block in found]


def commands(page: Path) -> list[list[str]]:
    """The command lines of a page's bash blocks, as words; assignments before them are dropped."""
    lines = [
        line for block in blocks(page, 'bash') for line in block.replace('\\\n', ' ').splitlines()
    ]
    found = [shlex.split(line, comments=True) for line in lines]
    for words in found:
        while words and re.match(r'^[A-Z_]+=', words[0]):
            words.pop(0)
        while '&&' in words:
            del words[: words.index('&&') + 1]
    return [words for words in found if words]


ALL = [
    pytest.param(words, id=f'{page.relative_to(ROOT)}: {" ".join(words)}'[:100])
    for page in PAGES
    for words in commands(page)
]


class Parsed(Exception):
    """The tool has understood its arguments; there it is stopped."""


def parse(tool: Path, arguments: list[str], monkeypatch) -> argparse.Namespace:
    """What a tool's own parser makes of the arguments."""
    real = argparse.ArgumentParser.parse_args

    def stop(self, args=None, namespace=None):
        raise Parsed(real(self, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)
    monkeypatch.setattr(sys, 'argv', [str(tool), *arguments])
    monkeypatch.syspath_prepend(str(tool.parent))
    try:
        runpy.run_path(str(tool), run_name='__main__')
    except Parsed as parsed:
        return parsed.args[0]
    raise AssertionError(f'{tool} did not parse its arguments')


def without_shell(words: list[str]) -> tuple[Path, list[str]] | None:
    """The Python tool that a command ends in, and its arguments; None for others' programs."""
    if words[:2] == ['python', '-c']:
        compile(words[2], 'a line of code', 'exec')
        return None
    if words[0] in ('python', 'python3', '.venv/bin/python') and words[1] != '-m':
        words = words[1:]
    name = words[0].removeprefix('./')
    # A line of options alone shows what to add to the command before it.
    if name in OTHERS or words[0] == 'python' or name.startswith('--'):
        return None
    arguments = words[1:]
    if name == 'mixae':
        if arguments == ['--help']:
            return None
        tool, _, arguments = find_tool(arguments)
        name = str(tool.relative_to(ROOT))
    if name == 'tools/dist_train.sh':
        config, processes, *rest = arguments
        assert processes.isdigit() or processes == 'PROCESSES'
        name, arguments = 'tools/train.py', [config, *rest]
    elif name == 'tools/dist_test.sh':
        config, checkpoint, _, *rest = arguments
        name, arguments = 'tools/test.py', [config, checkpoint, *rest]
    elif name == 'tools/slurm_train.sh':
        _, _, config, work_dir, *rest = arguments
        name, arguments = 'tools/train.py', [config, '--work-dir', work_dir, *rest]
    assert (ROOT / name).is_file(), f'{name} does not exist'
    if name.endswith('.sh'):
        return None
    return ROOT / name, arguments


# That a page tells the reader to write.
OWN = {f'configs/{name}.py' for name in ('noisy_mae', 'flowers_linear', 'my_images')}


@pytest.mark.parametrize('words', ALL)
def test_every_command_is_one_that_its_tool_understands(words, monkeypatch):
    if words[0] == 'make':
        targets = re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
        assert {w for w in words[1:] if '=' not in w} <= set(targets)
        return
    found = without_shell(words)
    if found is None:
        return
    monkeypatch.chdir(ROOT)
    args = vars(parse(*found, monkeypatch))
    if args.get('suite'):
        load_suite(args['suite'], args['seeds'])
    config = args.get('config')
    if config and config not in OWN and not re.search(r'\b[A-Z]+\b', config):
        cfg = Config.fromfile(find_config(config))
        for name in (pair.partition('=')[0] for pair in args.get('cfg_options') or ()):
            node = cfg
            for part in name.split('.')[:-1]:
                assert part in node, f'{config} has no {name}'
                node = node[part]


def test_the_commands_are_found():
    assert len(ALL) > 30
    assert {tuple(p.values[0][:2]) for p in ALL} >= {
        ('make', 'demo'),
        ('tools/dist_train.sh', 'configs/mixedae/vitb_800e.py'),
        ('tools/run_suite.py', 'configs/suites/demo.py'),
    }


@pytest.mark.parametrize(
    'command, error',
    [
        ('tools/train.py configs/mae/vitb_300e.py --wrok-dir x', SystemExit),
        ('tools/nothing.py', AssertionError),
        ('tools/run_suite.py', SystemExit),
    ],
)
def test_a_wrong_command_would_be_noticed(command, error, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(error):
        parse(*without_shell(command.split()), monkeypatch)


# ---- run, made small --------------------------------------------------------------------------

SMALL = {
    'train_cfg.max_epochs': 1,
    'train_dataloader.dataset.subset': 48,
    'train_dataloader.batch_size': 16,
    'val_dataloader.dataset.subset': 24,
    'train_features.dataset.subset': 48,
    'test_dataloader.dataset.subset': 24,
}


def run_small(words: list[str], folder: Path) -> str:
    """Run a command in a folder that looks like the checkout, with small data and one epoch."""
    tool, arguments = without_shell(words)
    if tool.name in ('train.py', 'test.py'):
        cfg = Config.fromfile(folder / arguments[0], import_custom_modules=False)
        top = {k: v for k, v in SMALL.items() if cfg.get(k.split('.')[0])}
        options = [f'{k}={v}' for k, v in top.items()]
        if '--cfg-options' not in arguments:
            options.insert(0, '--cfg-options')
        arguments = [*arguments, *options]
    done = subprocess.run(
        [sys.executable, str(tool), *arguments],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': f'{ROOT}:{folder}', 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f'{" ".join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}'
    return done.stdout


@pytest.fixture
def checkout(tmp_path, image_folder):
    """A folder with the checkout's configs and small data, where outputs do not matter."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    (tmp_path / 'docs').symlink_to(ROOT / 'docs')
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'flowers').symlink_to(image_folder)
    for split in ('train', 'test'):  # of ten classes
        (tmp_path / 'data' / 'cifar10' / split).mkdir(parents=True)
        kinds = sorted((image_folder / split).iterdir())
        for label in range(10):
            (tmp_path / 'data' / 'cifar10' / split / str(label)).symlink_to(kinds[label % 4])
    return tmp_path


def last_epoch_is_first(folder: Path) -> None:
    """Checkpoints of a run made small, under the name that the full run's would have."""
    for path in folder.rglob('work_dirs/**/epoch_1.pth'):
        for epochs in (6, 12, 2000):
            target = path.with_name(f'epoch_{epochs}.pth')
            if not target.exists():
                target.symlink_to(path.name)


@pytest.mark.slow
def test_getting_started_can_be_followed(checkout, image_folder):
    page = ROOT / 'docs' / 'getting_started.md'
    (config,) = blocks(page, 'python')
    config = config.replace('/path/to/images', str(image_folder))
    (checkout / 'configs' / 'my_images.py').write_text(config)
    for words in commands(page):
        if words[0] in ('make', *OTHERS):
            continue
        out = run_small(words, checkout)
        last_epoch_is_first(checkout)
        if words[0] == 'tools/leaderboard.py':
            assert 'MixedAE' in out
    assert (checkout / 'mixedae.png').stat().st_size > 10_000
    assert (checkout / 'topk.png').stat().st_size > 5_000


@pytest.mark.slow
def test_the_transfer_commands_of_the_readme_run(checkout):
    ran = []
    for words in commands(ROOT / 'README.md'):
        if words[0] in ('tools/train.py', 'tools/test.py'):
            run_small(words, checkout)
            last_epoch_is_first(checkout)
            ran.append(words[0])
    assert len(ran) == 6
    out = run_small(['tools/leaderboard.py', 'work_dirs', '--format', 'md'], checkout)
    assert 'MixedAE' in out and 'random encoder' in out


@pytest.mark.slow
def test_the_example_of_a_transfer_task_runs(checkout):
    page = ROOT / 'docs' / 'adding_a_transfer_task.md'
    (checkout / 'configs' / 'flowers_linear.py').write_text(blocks(page, 'python')[0])
    run_small(['tools/train.py', 'configs/mae/vitt_cifar10_2000e.py'], checkout)
    last_epoch_is_first(checkout)
    for words in commands(page):
        out = run_small(words, checkout)
    assert 'flowers' in out and 'linear-flowers' in out


def test_the_encoder_takes_what_the_page_of_a_method_names():
    page = (ROOT / 'docs' / 'adding_a_method.md').read_text()
    (name,) = re.findall(r'`self\.backbone\(inputs, (\w+)=', page)
    assert name in inspect.signature(MaskedViT.forward).parameters


@pytest.mark.slow
def test_the_example_of_a_method_becomes_a_row(checkout):
    page = ROOT / 'docs' / 'adding_a_method.md'
    module, config = blocks(page, 'python')
    assert len(module.splitlines()) + len(config.splitlines()) <= 40
    (checkout / 'noisy_mae.py').write_text(module)
    (checkout / 'configs' / 'noisy_mae.py').write_text(config)
    for words in commands(page):
        if words[0] != 'export':
            out = run_small(words, checkout)
            last_epoch_is_first(checkout)
    assert 'noisy_mae' in out and 'noise=0.5' in out
    auto = "_base_ = ['noisy_mae.py']\nmodel = dict(noise='auto')\n"
    (checkout / 'configs' / 'auto_noise.py').write_text(auto)
    out = run_small(['tools/train.py', 'configs/auto_noise.py'], checkout)
    assert 'noise=0.25' in out  # of patches of 8 pixels, in the config that the log prints


def test_the_example_of_a_suite_is_one(tmp_path):
    suite, rates, analysis = blocks(ROOT / 'docs' / 'suites.md', 'python')
    (tmp_path / 'mine.py').write_text(suite)
    assert len(load_suite(tmp_path / 'mine.py').plan) == 3 * (2 + 3)
    (tmp_path / 'rates.py').write_text(suite + rates)
    load_suite(tmp_path / 'rates.py').check_rows()
    (tmp_path / 'more.py').write_text(suite + analysis)
    assert len(load_suite(tmp_path / 'more.py').plan) == 3 * (3 + 4 + 1)
