"""From a suite's config to its table: what ``tools/run_suite.py`` does, callable from Python."""

import argparse
import os
import shlex
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from rich.console import Console

from mixae.datasets.digit_scenes import prepare
from mixae.errors import BusyError, SuiteError
from mixae.files import ROOT, lock_folder, write_whole
from mixae.results.compare import build_table
from mixae.results.record import read_records
from mixae.results.render.html import load_images, to_html
from mixae.results.render.markdown import to_markdown
from mixae.results.render.text import to_text
from mixae.results.write import published_beside
from mixae.suite.checks import CHECKS
from mixae.suite.plan import Run, load_suite
from mixae.suite.processes import (
    Machine,
    command,
    forking,
    run_plan,
    start_process,
    this_machine,
)
from mixae.suite.progress import Display, duration, estimates, time_left
from mixae.suite.slurm import need_slurm, submit
from mixae.suite.state import Folder
from mixae.visualization.budget import plot_budget


def open_suite(
    path: str | Path,
    work_dir: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    gpus: int | None = None,
    only: Sequence[str] = (),
) -> tuple[Folder, list[Run]]:
    """The work directory of a suite, and the runs that are asked for.

    Args:
        path, seeds, gpus: See :func:`mixae.suite.plan.load_suite`.
        work_dir (str | Path, optional): Defaults to None: work_dirs/<suite>.
        only (Sequence[str]): These runs, and what they need. Defaults to (): all.

    Raises:
        SuiteError: The suite or a config of its runs cannot be read; an unknown run.
    """
    if work_dir == '':
        raise SuiteError("--work-dir '': expected a folder.")
    suite = load_suite(path, seeds, gpus)
    if unknown := set(suite.checks) - CHECKS.keys():
        raise SuiteError(f'checks: unknown {sorted(unknown)}; known are {sorted(CHECKS)}.')
    folder = Folder(work_dir or Path('work_dirs') / suite.name, suite)
    if folder.path.exists() and not folder.path.is_dir():
        raise SuiteError(f'{folder.path} is a file: name a folder with --work-dir.')
    plan = suite.select(only) if only else list(suite.plan)
    for run in plan:
        run.check()  # a fault in the last run's config is said before the first run
    suite.check_rows()
    return folder, plan


def run_suite(
    folder: Folder,
    plan: Sequence[Run],
    machine: Machine,
    on_change: str | None = None,
    launcher: str = 'local',
) -> dict[str, str]:
    """Run what is missing, and show the table where the plan is the whole suite's.

    Args:
        folder, plan: Of :func:`open_suite`.
        machine (Machine): See :func:`mixae.suite.processes.this_machine`.
        on_change (str, optional): 'stop' or 'redo', in place of the suite's.
        launcher (str): 'local', or 'slurm' within an allocation.

    Returns:
        dict: What failed or was left out, and why.

    Raises:
        MixaeError: The suite cannot be run as asked; before anything has run.
    """
    started = time.monotonic()
    if launcher == 'slurm':
        need_slurm('srun')
    elif 0 < machine.gpus < (most := max(run.gpus for run in plan)):
        raise SuiteError(
            f'A run of this suite takes {most} GPUs, and this machine has {machine.gpus}: say '
            f'--gpus {machine.gpus}, and the learning rate follows the batch.'
        )
    check_changes(folder, plan, on_change)
    lock_folder(folder.path, patience=2.0).close()  # where nothing can be written, it is said now
    if busy := [str(folder[run]) for run in plan if folder.is_running(run)]:
        raise BusyError(
            f'Another process is at work on {", ".join(busy)}: wait for it, or name another folder '
            'with --work-dir.'
        )
    done = {run.name for run in plan if folder.is_done(run)}
    failed: dict[str, str] = {}
    if len(done) < len(plan):
        print(
            f'{len(plan) - len(done)} of {len(plan)} runs to do, {machine.jobs} at a time; '
            f'everything goes to {folder.path}'
        )
        with forking(plan, machine, launcher) or nullcontext() as forks:
            for part in folder.suite.prepare:  # once, before two runs wait for each other over it
                prepare(part)
            start = partial(start_process, forks=forks)
            with Display(plan, done, lambda: estimates(folder), machine.jobs) as display:
                failed = run_plan(plan, folder, machine, display, start, launcher)
    try:
        if len(plan) == len(folder.suite.plan):
            summarise(folder)
    finally:
        for reason in failed.values():
            print(f'\n{reason}')
    print(f'\nDone in {duration(time.monotonic() - started)}.')
    return failed


def check_changes(folder: Folder, plan: Sequence[Run], on_change: str | None = None) -> None:
    """Say which results came from other settings than the suite's now.

    Raises:
        SuiteError: There are some, and ``on_change``, or else the suite, says 'stop'.
    """
    changed = {run.name: lines for run in plan if (lines := folder.changes(run))}
    if not changed:
        return
    told = '\n'.join(
        f'  {name}: {"; ".join(lines[:4])}{"; ..." if len(lines) > 4 else ""}'
        for name, lines in changed.items()
    )
    if (on_change or folder.suite.on_change) == 'redo':
        print(f'Run again, as the settings have changed since:\n{told}')
        return
    raise SuiteError(
        f'{len(changed)} results in {folder.path} came from other settings:\n{told}\n'
        'Undo the change, name another --work-dir, or run them again with tools/run_suite.py and '
        f'--work-dir {folder.path} --on-change redo.'
    )


def dry_run(folder: Folder, plan: Sequence[Run], jobs: int) -> None:
    """Print the runs with state, time, command and overrides; and the time of what is left."""
    times, fractions = estimates(folder), {}
    here = f'{os.getcwd()}{os.sep}'
    for run in plan:
        status, guess = folder.status(run), times[run.name]
        fractions[run.name] = float(status == 'done')
        time_ = 'unknown' if guess.seconds is None else duration(guess.seconds)
        print(f'{run.name}: {status}; {time_} ({guess.basis})')
        print(f'    {shlex.join(word.removeprefix(here) for word in command(folder, run))}')
        for name, value in run.options.items():
            print(f'        {name} = {value!r}')
    seconds, unknown = time_left(times, fractions, jobs)
    told = [f'{len(plan)} runs']
    if seconds or not unknown:
        told.append(f'what is left takes about {duration(seconds)}, {jobs} at a time')
    if unknown:
        told.append(f'{unknown} of unknown length: none of their steps was measured here yet')
    print(f'\n{"; ".join(told)}.')


def summarise(folder: Folder) -> None:
    """Print and write table and page of what is done, and the suite's checks in words."""
    suite = folder.suite
    done = [run for run in suite.plan if folder.is_done(run)]
    files = [path for run in done if run.is_evaluation for path in folder.results(run)]
    if not files:
        print('No evaluation is done yet: no table.')
        return
    every = read_records(files)
    # Those along a pre-training are points of the curves.
    records = [record for record in every if not (record['pretraining'] or {}).get('part')]
    table = build_table(records, published_beside(records, suite.published), columns=suite.columns)
    table.notes += missing(folder)
    print(f'\n{to_text(table, width=Console().width)}')
    for check, options in suite.checks.items():
        for line in CHECKS[check](folder, table, **options):
            print(line)
    pictures = [
        plot_budget(every, column, folder.path / f'{column}_over_budget.png')
        for column in suite.curves
        if any(column == one.kind.key for one in table.columns)
    ]
    pictures += [folder.output(run) for run in done if run.tool == 'picture']
    page = to_html(table, records, images=load_images(pictures), title=suite.title)
    texts = {'table.txt': to_text(table, width=120), 'leaderboard.html': page}
    texts['table.md'] = to_markdown(table, base=folder.path)
    for name, text in texts.items():
        write_whole(folder.path / name, text)
    print('\nThe table, the page and the pictures:')
    for path in (*(folder.path / name for name in texts), *pictures):
        print(f'  {path}')


def missing(folder: Folder) -> list[str]:
    """A line on the evaluations that are not done, and so on holes in the table; none: no line."""
    evaluations = folder.suite.evaluations
    holes = defaultdict(list)
    for run in evaluations:
        if not folder.is_done(run):
            what, _, seed = run.title.partition(', seed ')
            holes[what].append(f'{f"seed {seed}: " if seed else ""}{folder.status(run)}')
    if not holes:
        return []
    told = '; '.join(f'{what} ({", ".join(why)})' for what, why in holes.items())
    return [
        f'{sum(map(len, holes.values()))} of {len(evaluations)} evaluations are not done, and '
        f'their seeds are in no mean: {told}.'
    ]


def main(args: argparse.Namespace) -> int:
    """What the arguments of ``tools/run_suite.py`` ask for.

    Returns:
        int: The exit status: 0, or 1 where a run failed.

    Raises:
        MixaeError: The suite cannot be run as asked.
        KeyboardInterrupt: Ctrl-C, or a signal to end.
    """
    own = os.getpid()

    def end(number, frame):
        if os.getpid() != own:  # a forked worker, before it has its own handlers
            os._exit(128 + number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, end)
    if args.slurm is not None and args.launcher == 'slurm':
        raise SuiteError(
            '--slurm submits jobs and --launcher slurm starts runs within one: give one of them.'
        )
    if args.sbatch_args and args.slurm is None:
        raise SuiteError('--sbatch-args are for --slurm, which is not given.')
    folder, plan = open_suite(args.suite, args.work_dir, args.seeds, args.gpus, args.only)
    machine = this_machine(max(run.gpus for run in plan), args.jobs)
    if args.dry_run:
        dry_run(folder, plan, machine.jobs)
    elif args.slurm is None:
        return int(bool(run_suite(folder, plan, machine, args.on_change, args.launcher)))
    else:
        check_changes(folder, plan, args.on_change)
        again = [
            sys.executable,
            str(ROOT / 'tools/run_suite.py'),
            str(args.suite),
            '--launcher',
            'slurm',
        ]
        again += ['--work-dir', str(folder.path), '--on-change', 'redo']
        again += ['--seeds', *map(str, args.seeds)] if args.seeds else []
        again += ['--gpus', str(args.gpus)] if args.gpus else []
        jobs = submit(plan, folder, again, args.slurm, args.sbatch_args)
        print(f'{len(jobs)} jobs; the same command without --slurm shows the table.')
    return 0
