"""How the end of a distributed run is told."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed
from mmengine.config import Config
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from torch.distributed.elastic.rendezvous import static_tcp_rendezvous

from mixae import torchrun
from mixae.derive.values import check_values
from mixae.engine import launch
from mixae.engine.distributed import (
    TIMEOUT,
    init_processes,
    launched_as,
    lost_connection,
    tell_launcher,
)
from mixae.errors import LAUNCHER, ConfigError

GLOO = '[/pytorch/third_party/gloo/gloo/transport/tcp/{}'


@pytest.fixture
def failure(tmp_path, monkeypatch):
    """A process that has failed, with what it told its launcher."""

    def make(rank: int, exitcode: int, message: str | None = None, lost: str | None = None):
        path = tmp_path / f'{rank}.json'
        if message is not None:
            monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(path))
            tell_launcher(message, lost)
        return ProcessFailure(rank, 1000 + rank, exitcode, str(path))

    return make


def test_what_a_process_says_of_itself_comes_first(failure):
    failures = [failure(0, -15, 'lost', 'closed'), failure(1, 1, 'the config is wrong')]
    assert torchrun.explain(failures) == ('the config is wrong', 1)


def test_a_run_that_was_told_to_end_ends_so(failure):
    """torchrun ends the processes that are slower to end."""
    assert torchrun.explain([failure(0, -15), failure(1, 75)]) == (None, 75)


def test_a_traceback_is_left_to_be_the_last(failure):
    assert torchrun.explain([failure(0, 1, 'lost', 'closed'), failure(1, 3)]) == (None, 3)


def test_a_process_that_was_killed_is_told_of(failure):
    line, status = torchrun.explain([failure(0, -15, 'lost', 'closed'), failure(1, -9)])
    assert line.startswith('process 1001 of the run was ended by signal 9 (SIGKILL).')
    assert status == 137


def test_one_that_waited_in_vain_tells_more_than_that_its_like_was_killed(failure):
    """torchrun ends the one that was waited for by SIGKILL."""
    assert torchrun.explain([failure(0, 1, 'waited 8 s', 'waited'), failure(1, -9)]) == (
        'waited 8 s',
        1,
    )


def test_of_lost_connections_alone_one_is_told(failure):
    failures = [failure(rank, 1, f'process {rank} lost', 'closed') for rank in (0, 1)]
    assert torchrun.explain(failures) == ('process 0 lost', 1)


@pytest.mark.parametrize(
    'error, kind, text',
    [
        (
            RuntimeError(GLOO.format('pair.cc:534] Connection closed by peer')),
            'closed',
            'has ended',
        ),
        (
            RuntimeError(GLOO.format('x.cc:81] Timed out waiting 8500ms for recv operation')),
            'waited',
            'process 3 has waited 8.5 s for another',
        ),
        (torch.distributed.DistBackendError('NCCL error'), 'closed', 'process 3 lost'),
    ],
)
def test_errors_of_the_connection_are_known(monkeypatch, error, kind, text):
    monkeypatch.setenv('RANK', '3')
    found, message = lost_connection(error)
    assert found == kind and text in message and '\n' not in message


def test_other_errors_are_defects():
    assert lost_connection(RuntimeError('mat1 and mat2 shapes cannot be multiplied')) is None


def test_only_our_launcher_prints(tmp_path, monkeypatch):
    monkeypatch.delenv(LAUNCHER, raising=False)
    monkeypatch.delenv('TORCHELASTIC_ERROR_FILE', raising=False)
    assert tell_launcher('x') is False
    path = tmp_path / 'error.json'
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(path))
    assert tell_launcher('x') is False  # torchrun itself shows it within its report
    assert json.loads(path.read_text())['message']['message'] == 'x'
    monkeypatch.setenv(LAUNCHER, '12')
    assert tell_launcher('x') is True


# The processes meet.


@pytest.mark.parametrize('timeout', [0, -1, 'ten', True, float('nan')])
def test_a_timeout_that_is_none_is_refused(timeout):
    cfg = Config(dict(model=dict(type='x'), env_cfg=dict(dist_cfg=dict(timeout=timeout))))
    with pytest.raises(ConfigError, match=r'dist_cfg\.timeout=.*: expected a number in .0, 1e9.'):
        check_values(cfg)


def test_the_timeout_is_the_process_groups(monkeypatch):
    began = []
    monkeypatch.setattr(
        torch.distributed, 'init_process_group', lambda *args, **kwargs: began.append(kwargs)
    )
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for dist_cfg, seconds in ((dict(timeout=30), 30), ({}, TIMEOUT)):
        init_processes(Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dist_cfg))))
        assert began.pop()['timeout'].total_seconds() == seconds
    shipped = Config.fromfile('configs/_base_/runtime.py')
    assert shipped.env_cfg.dist_cfg.timeout == TIMEOUT


def test_a_process_knows_its_number_from_its_launcher(monkeypatch):
    monkeypatch.setenv('RANK', '3')
    monkeypatch.setenv('WORLD_SIZE', '4')
    monkeypatch.setenv('SLURM_PROCID', '5')
    monkeypatch.setenv('SLURM_NTASKS', '8')
    found = {
        name: launched_as(Config(dict(launcher=name))) for name in ('none', 'pytorch', 'slurm')
    }
    assert found == dict(none=(0, 1), pytorch=(3, 4), slurm=(5, 8))


ORPHAN = (
    'import os, sys, time; pid = os.getpid()\n'
    'from mixae.engine.distributed import end_with_parent\n'
    'end_with_parent(); print("at work", flush=True); time.sleep(60)'
)


@pytest.mark.parametrize(
    'launcher, parent, ends',
    [('pytorch', '1', True), ('none', '1', False), ('pytorch', None, False)],
)
def test_a_process_whose_launcher_has_ended_ends(launcher, parent, ends):
    """While it was importing: its parent is then another process."""
    environ = {k: v for k, v in os.environ.items() if k != LAUNCHER}
    environ |= {LAUNCHER: parent} if parent else {}
    with subprocess.Popen(
        [sys.executable, '-c', ORPHAN, '--launcher', launcher],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        # Read to its end, where it ends: the mm* packages print, too.
        assert any(line == 'at work\n' for line in process.stdout) is not ends
        process.kill()


def test_the_store_listens_to_this_machine(monkeypatch):
    monkeypatch.setattr(static_tcp_rendezvous, 'TCPStore', static_tcp_rendezvous.TCPStore)
    monkeypatch.delenv('GLOO_SOCKET_IFNAME', raising=False)
    args = argparse.Namespace(master_addr='127.0.0.1', master_port=0)
    torchrun.stay_on_this_machine(args)
    monkeypatch.setenv('GLOO_SOCKET_IFNAME', '')  # put back what was set
    store = static_tcp_rendezvous.TCPStore('127.0.0.1', args.master_port, 1, True)
    store.set('a', 'b')
    assert store.get('a') == b'b'
    port = f':{args.master_port:04X}'
    rows = [
        line.split()
        for name in ('tcp', 'tcp6')
        for line in Path(f'/proc/net/{name}').read_text().splitlines()[1:]
    ]
    assert [row[1] for row in rows if row[3] == '0A' and row[1].endswith(port)] == [
        f'0100007F{port}'
    ]
    taken = argparse.Namespace(master_addr='127.0.0.1', master_port=args.master_port)
    with pytest.raises(OSError, match=f'port {args.master_port} is taken'):
        torchrun.stay_on_this_machine(taken)


# What the runner refuses.


def test_the_rate_is_not_scaled_twice(small_config):
    cfg = small_config('mae/vitt_cifar10_2000e.py')
    cfg.auto_scale_lr = dict(enable=True, base_batch_size=256)
    with pytest.raises(ConfigError, match='auto_scale_lr would scale the learning rate twice'):
        launch.train(cfg)
    cfg.auto_scale_lr.enable = False
    launch.build_runner(cfg)
