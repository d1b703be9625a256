"""How a tool ends: its last line and its exit status."""

import pytest
import torch
from mmengine.config import Config

from mixae.derive import derive
from mixae.engine import launch
from mixae.engine.tool import run_tool
from mixae.errors import LAUNCHER, ConfigError, DataError, Preempted
from mixae.files import ROOT


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ('RANK', LAUNCHER, 'TORCHELASTIC_ERROR_FILE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('sys.argv', ['train.py'])


def ended(main, capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as error:
        run_tool(main)
    return error.value.code, capsys.readouterr().err.strip()


def failing(error):
    def main():
        raise error

    return main


def test_a_message_is_one_line(capsys):
    assert ended(failing(ConfigError('wrong')), capsys) == (1, 'error: wrong')


def test_of_a_workers_error_the_message_is_shown(capsys):
    text = 'Caught DataError in a worker process.\nOriginal Traceback:\n  ...\nx.DataError: a.jpg'
    assert ended(failing(DataError(text)), capsys) == (1, 'error: a.jpg')


def test_a_preempted_run_says_to_try_again(capsys):
    assert ended(failing(Preempted('saved')), capsys) == (75, 'saved')


def format_config():
    try:
        raise KeyboardInterrupt
    except:  # noqa: E722 (as mmengine's)
        raise SyntaxError('Failed to format the config file')  # noqa: B904


@pytest.mark.parametrize('main', [failing(KeyboardInterrupt()), format_config])
def test_ctrl_c(main, capsys):
    assert ended(main, capsys) == (
        130,
        'interrupted; --resume continues from the last checkpoint',
    )


def test_a_defect_keeps_its_traceback():
    with pytest.raises(TypeError, match='defect'):
        run_tool(failing(TypeError('defect')))


def test_operators_without_cuda(capsys):
    """mmcv's words are taken from an operator that has no CPU form."""
    from mmcv.ops import ball_query

    points = torch.rand(1, 4, 3)
    with pytest.raises(RuntimeError, match='for device cpu not found') as error:
        ball_query(0.0, 1.0, 2, points, points)
    message = str(error.value).replace('device cpu', 'device cuda:0')
    status, line = ended(failing(RuntimeError(message)), capsys)
    assert status == 1 and 'were compiled without CUDA' in line and line.count('\n') == 0


@pytest.mark.parametrize('tool', ['train', 'test', 'test what was trained'])
def test_the_config_of_an_earlier_run_starts_from_what_is_named_now(tool, monkeypatch):
    name = 'cifar10_vitt_finetune' if tool != 'test' else 'cifar10_vitt_knn'
    cfg = Config.fromfile(ROOT / f'configs/transfer/cifar/{name}.py')
    cfg.pretrained = cfg.model.backbone.pretrained = 'old.pth'  # as saved in its work directory
    monkeypatch.setattr(launch, 'build_runner', lambda cfg: failing(ConfigError('enough'))())
    with pytest.raises(ConfigError, match='enough'):
        launch.train(cfg, pretrained='new.pth') if tool == 'train' else launch.test(cfg, 'new.pth')
    start = derive(cfg)[0].model.backbone.pretrained
    assert start == (None if tool == 'test what was trained' else 'new.pth')


def test_only_the_first_process_says_what_all_meet(monkeypatch, capsys):
    monkeypatch.setenv('RANK', '1')
    assert ended(failing(ConfigError('wrong')), capsys) == (1, '')
    assert ended(failing(DataError('a.jpg')), capsys) == (1, 'error: a.jpg')
