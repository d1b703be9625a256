"""A small suite, and what stands in for its runs."""

import os
import time

from mixae.results.record import metric, new_record, write_record
from mixae.suite.plan import Run, Suite
from mixae.suite.processes import Process, command
from mixae.suite.progress import Estimate

MAE_CONFIG = 'configs/mae/vitmini_digits_12e.py'
LINEAR_CONFIG = 'configs/transfer/digit_scenes/vitmini_linear.py'
TUNE_CONFIG = 'configs/transfer/digit_scenes/vitmini_finetune.py'
TABLE_4 = (MAE_CONFIG, '{pretrain}', '--other', '{c}', '--records', '{records}')


def small_suite(seed=0, **changed):
    """Two pre-trainings and what follows; ``changed`` are overrides of pre-training b."""
    options = {'randomness.seed': seed}
    plan = (
        Run('a', 'A', 'train', MAE_CONFIG, options=options),
        Run('b', 'B', 'train', MAE_CONFIG, options={'train_cfg.max_epochs': 3, **changed}),
        Run('c', 'C', 'train', MAE_CONFIG, teacher='a', options=options),
        Run('tune_a', 'TA', 'train', TUNE_CONFIG, 'a', options=options),
        Run('probe_a', 'PA', 'test', LINEAR_CONFIG, 'a', options=options),
        Run('probe_b', 'PB', 'test', LINEAR_CONFIG, 'b'),
        Run('probe_random', 'PR', 'test', LINEAR_CONFIG, 'scratch', options=options),
        Run('p/icture', 'P', 'picture', 'tools/x.py', 'b', arguments=('{pretrain}', '{out}')),
        Run('table_4', 'T4', 'analysis', 'tools/y.py', 'a', uses=('c',), arguments=TABLE_4),
    )
    return Suite('small', 'Small', plan, columns=('linear', 'finetune'))


ALL = [run.name for run in small_suite().plan]


def unmeasured(suite):
    """Estimates of runs of which nothing is known."""
    return lambda: {run.name: Estimate() for run in suite.plan}


class Ended:
    """A process that has ended."""

    pid = 2**30  # no process has it

    def __init__(self, code):
        self.code = code

    def poll(self):
        return self.code

    def wait(self, timeout):
        return self.code


class FakeRuns:
    """Leaves what runs leave, without running them; keeps the commands they would have run.

    ``killed`` is the run at which the suite is interrupted, after that run's first checkpoint.
    """

    def __init__(self, killed=None, failing=None):
        self.commands, self.killed, self.failing = {}, killed, failing

    def __call__(self, folder, run, machine, slot, launcher):
        folder.begin(run)
        self.commands[run.name] = command(folder, run, launcher)
        log = folder.log(run)
        log.write_text('starting\n')
        process = Process(run, Ended(int(run.name == self.failing)), time.monotonic(), slot)
        if run.name == self.killed:
            (folder[run] / 'epoch_1.pth').write_text('half')
            raise KeyboardInterrupt
        if run.name == self.failing:
            log.write_text('starting\nTraceback (most recent call last):\nValueError: broken\n')
            return process
        if run.is_pretraining:
            for old in folder[run].glob('epoch_*.pth'):
                old.unlink()
            (folder[run] / 'epoch_8.pth').write_bytes(os.urandom(8))
        elif run.tool == 'picture':
            (folder.path / f'{run.name}.png').write_text('picture')
        elif run.tool == 'analysis':
            for row in ('one', 'two'):
                write_record(a_record('separability', row), folder[run] / 'records')
        else:
            task = 'finetune' if run.tool == 'train' else 'linear'
            seed = run.options.get('randomness.seed', 0)
            write_record(
                a_record(task, run.name.partition('_seed')[0], seed), folder[run] / 'records'
            )
        return process


def a_record(task, dataset, seed=0):
    return new_record(
        task=task,
        protocol=dict(name='x', version='1'),
        method='mae',
        backbone=dict(arch='x', patch_size=8, img_size=64),
        dataset=dict(name=dataset, description=None, split='test', n_train=1, n_test=1),
        metrics={
            'accuracy/top1': metric(50.0),
            'fore/nrmse': metric(0.5, '', higher_is_better=False),
        },
        config=dict(path='c.py', sha256='0' * 64),
        versions={'python': '3'},
        device=dict(name='x', count=1, cpu_threads=1),
        commit=dict(hash=None, dirty=None),
        seed=seed,
    )
