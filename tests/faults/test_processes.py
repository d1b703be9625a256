"""Runs of two processes that lose their launcher, each other, or their patience."""

import os
import re
import signal
import socket
import time

import pytest
import torch

from mixae.checkpoints.read import read_checkpoint
from tests.processes import gone
from tests.tools import ROOT

MAE = 'configs/mae/vitt_cifar10_2000e.py'
pytestmark = pytest.mark.slow


@pytest.fixture
def two(start, options, tmp_path):
    """Two processes at work on a long run; takes further options."""

    def run(**more):
        started = start(
            'dist_train.sh', MAE, 2, '--work-dir', tmp_path / 'run', options=options | more
        )
        started.wait_for('Saving checkpoint at 2 epochs')  # the first is written
        ranks = started.children()
        assert len(ranks) == 2
        return started, ranks

    return run


def test_processes_end_with_their_launcher(two, start, options, tmp_path):
    run, ranks = two()
    os.kill(run.popen.pid, signal.SIGKILL)
    assert gone(ranks, 5)
    # Nobody holds the folder: the run goes on at once.
    again = start(
        'dist_train.sh', MAE, 2, '--work-dir', tmp_path / 'run', '--resume', options=options
    )
    again.wait_for('Resuming from')
    again.wait_for('Epoch(train)')


def test_two_runs_do_not_share_a_folder(two, start, options, tmp_path):
    run, _ = two()
    other = start('train.py', MAE, '--work-dir', tmp_path / 'run', options=options)
    assert other.end() == 1
    assert re.fullmatch(r'error: Another run is at work in .*: wait for it, .*', other.last_line())
    assert run.popen.poll() is None


def test_a_process_that_is_stopped_is_not_waited_for_for_ever(two):
    run, ranks = two(**{'env_cfg.dist_cfg.timeout': 8})
    os.kill(ranks[1], signal.SIGSTOP)
    began = time.monotonic()
    assert run.end() == 1
    assert time.monotonic() - began < 120  # 8 s, and 30 s in which torchrun asks the stopped one
    assert re.fullmatch(
        r'error: process 0 has waited 8 s for another, which is stopped or stuck '
        r'\(env_cfg.dist_cfg.timeout .*\). --resume continues from the last checkpoint.',
        run.last_line(),
    )
    assert 'Traceback' not in run.output
    assert gone(ranks, 5)


def test_a_process_that_is_killed_is_the_last_line(two):
    run, ranks = two()
    os.kill(ranks[1], signal.SIGKILL)
    assert run.end() == 128 + signal.SIGKILL
    assert re.fullmatch(
        rf'error: process {ranks[1]} of the run was ended by signal 9 \(SIGKILL\)..*',
        run.last_line(),
    )
    assert 'Traceback' not in run.output


def test_an_error_of_the_config_is_the_last_line(start, options, tmp_path):
    options['model.backbone.patch_size'] = 5
    run = start('dist_train.sh', MAE, 2, '--work-dir', tmp_path / 'run', options=options)
    assert run.end() == 1
    assert run.last_line() == (
        'error: model.backbone: img_size=32 is not a multiple of patch_size=5.'
    )
    assert run.output.count('error:') == 1 and 'Traceback' not in run.output


DEFECT = """
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Defect(Hook):
    def after_train_iter(self, runner, batch_idx, **kwargs):
        if batch_idx == 1:
            raise TypeError('a defect')
"""


def test_a_defect_keeps_its_traceback(start, options, tmp_path):
    (tmp_path / 'defect.py').write_text(DEFECT)
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = ['{ROOT / MAE}']\n"
        "custom_imports = dict(imports=['defect'])\n"
        "custom_hooks = [dict(type='Defect')]\n"
    )
    path = f'{ROOT}:{tmp_path}'
    to = ('--work-dir', tmp_path / 'run')
    run = start('dist_train.sh', config, 2, *to, options=options, PYTHONPATH=path)
    assert run.end() == 1
    assert re.match(r'(\[rank\d\]: )?TypeError: a defect', run.last_line())
    assert 'Traceback' in run.output


def test_ctrl_c_ends_in_one_line(two):
    run, ranks = two()
    os.kill(run.popen.pid, signal.SIGINT)
    assert run.end() == 130
    assert run.last_line() == 'interrupted; --resume continues from the last checkpoint'
    assert 'Traceback' not in run.output and gone(ranks, 5)


def listening(pids: list[int]) -> set[str]:
    """Addresses, in the kernel's hexadecimal, that processes accept connections at."""
    inodes = set()
    for pid in pids:
        for descriptor in os.listdir(f'/proc/{pid}/fd'):
            try:
                link = os.readlink(f'/proc/{pid}/fd/{descriptor}')
            except FileNotFoundError:
                continue
            if link.startswith('socket:['):
                inodes.add(link[8:-1])
    found = set()
    for table in ('tcp', 'tcp6'):
        with open(f'/proc/net/{table}') as file:
            for fields in map(str.split, file.readlines()[1:]):
                if fields[3] == '0A' and fields[9] in inodes:
                    found.add(fields[1].split(':')[0])
    return found


def test_one_node_listens_to_itself_only(two):
    run, ranks = two()
    loopback = {'0100007F', '00000000000000000000000001000000', '0000000000000000FFFF00000100007F'}
    found = listening([run.popen.pid, *ranks])
    assert found and found <= loopback


def test_a_port_that_is_taken_is_named(start, options, tmp_path):
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        port = other.getsockname()[1]
        run = start(
            'dist_train.sh', MAE, 2, '--work-dir', tmp_path / 'run', options=options, PORT=str(port)
        )
        assert run.end() == 1
    assert run.last_line() == (
        f'error: the processes cannot be started: port {port} is taken; PORT=... names another.'
    )


def test_sigterm_to_the_launcher_saves_and_can_be_resumed(two, start, options, tmp_path):
    run, ranks = two()
    os.kill(run.popen.pid, signal.SIGTERM)
    assert run.end() == 75
    assert gone(ranks, 5) and 'Traceback' not in run.output
    (saved,) = re.findall(r'SIGTERM: the run ends after iteration (\d+); preempted.pth', run.output)
    told = read_checkpoint(tmp_path / 'run/preempted.pth')['mixae']
    assert told['iterations'] == int(saved) and told['images_seen'] == 16 * int(saved)
    again = start(
        'dist_train.sh', MAE, 2, '--work-dir', tmp_path / 'run', '--resume', options=options
    )
    again.wait_for('preempted.pth')
    again.wait_for(f'iter: {saved}')
    again.wait_for('Epoch(train)')
    os.kill(again.popen.pid, signal.SIGKILL)


def test_sigterm_to_one_process_ends_all(two):
    run, ranks = two()
    os.kill(ranks[1], signal.SIGTERM)
    assert run.end() == 75
    assert 'SIGTERM: the run ends after iteration' in run.output
    assert gone(ranks, 5) and 'Traceback' not in run.output


def test_sigterm_to_a_single_process(start, options, tmp_path):
    run = start('train.py', MAE, '--work-dir', tmp_path / 'run', options=options)
    run.wait_for('Epoch(train)')
    run.popen.terminate()
    assert run.end() == 75
    assert re.fullmatch(
        r'SIGTERM: the run ends after iteration \d+; preempted.pth is saved in .*', run.last_line()
    )


def test_two_processes_killed_and_resumed_end_in_the_same_bits(two, start, options, tmp_path):
    options['train_cfg.max_epochs'] = 4
    straight = start('dist_train.sh', MAE, 2, '--work-dir', tmp_path / 'straight', options=options)
    assert straight.end() == 0, straight.output[-3000:]
    run, _ = two()
    os.kill(run.popen.pid, signal.SIGKILL)
    resumed = start(
        'dist_train.sh', MAE, 2, '--work-dir', tmp_path / 'run', '--resume', options=options
    )
    assert resumed.end() == 0, resumed.output[-3000:]
    states = [
        read_checkpoint(tmp_path / name / 'epoch_4.pth')['state_dict']
        for name in ('straight', 'run')
    ]
    assert all(torch.equal(states[0][key], value) for key, value in states[1].items())
