"""From a suite's config to its table: what ``tools/run_suite.py`` does, callable from Python."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mixae.errors import MixaeError, SuiteError
from mixae.files import write_whole
from mixae.results.compare import build_table
from mixae.results.record import read_records
from mixae.results.render.html import load_images, to_html
from mixae.results.render.markdown import to_markdown
from mixae.results.render.text import to_text
from mixae.results.write import published_beside
from mixae.suite.checks import CHECKS
from mixae.suite.execute import run_plan, submit, this_machine
from mixae.suite.folder import Folder
from mixae.suite.plan import Run, Suite, load_suite
from mixae.suite.progress import Display, duration, estimate


def run_suite(
    path: str | Path,
    work_dir: str | Path | None = None,
    *,
    seeds: Sequence[int] | None = None,
    gpus: int | None = None,
    jobs: int | None = None,
    only: Sequence[str] = (),
    on_change: str | None = None,
    launcher: str = 'local',
    console: Console | None = None,
) -> tuple[Folder, dict[str, str]]:
    """Run a suite, or what of it is missing, and show its table.

    Args:
        path (str | Path): Of the suite; see :func:`mixae.suite.plan.load_suite`.
        work_dir (str | Path, optional): Where everything goes. Defaults to None:
            work_dirs/<suite>.
        seeds (Sequence[int], optional): In place of the suite's.
        gpus (int, optional): Processes a run, in place of the suite's.
        jobs (int, optional): Runs at a time. Defaults to None: what the machine allows.
        only (Sequence[str]): These runs, and what they need. Defaults to (): all.
        on_change (str, optional): 'stop' or 'redo', in place of the suite's.
        launcher (str): 'local', or 'slurm' within an allocation.
        console (Console, optional): Where to print. Defaults to None: standard output.

    Returns:
        tuple[Folder, dict]: The work directory, and what failed or was left out, with the reason.

    Raises:
        SuiteError: The suite cannot be run as asked; before anything has run.
    """
    started = time.monotonic()
    console = console or Console(highlight=False)
    folder, plan = _open(path, work_dir, seeds, gpus, only)
    suite = folder.suite
    check_changes(folder, plan, on_change or suite.on_change, console)
    if busy := [str(folder[run]) for run in plan if folder.is_running(run)]:
        raise SuiteError(
            f'Another process is at work on {", ".join(busy)}: wait for it, or name another folder '
            'with --work-dir.'
        )
    done = {run.name for run in plan if folder.is_done(run)}
    failed: dict[str, str] = {}
    if len(done) < len(plan):
        machine = this_machine(max(run.gpus for run in plan), jobs)
        console.print(
            f'{len(plan) - len(done)} of {len(plan)} runs to do, {machine.jobs} at a time; '
            f'everything goes to {folder.path}',
            soft_wrap=True,
            markup=False,
        )
        _prepare(suite)
        weights = {run.name: estimate(folder, run).seconds for run in plan}
        with Display(plan, done, console, weights) as display:
            failed = run_plan(plan, folder, machine, display, launcher=launcher)
    if not only:
        summarise(folder, console)
    for reason in failed.values():
        console.print(f'\n{reason}', soft_wrap=True, markup=False)
    console.print(f'\nDone in {duration(time.monotonic() - started)}.')
    return folder, failed


def _open(
    path: str | Path,
    work_dir: str | Path | None,
    seeds: Sequence[int] | None,
    gpus: int | None,
    only: Sequence[str],
) -> tuple[Folder, list[Run]]:
    """The work directory of a suite, and the runs that are asked for."""
    suite = load_suite(path, seeds, gpus)
    folder = Folder(work_dir or Path('work_dirs') / suite.name, suite)
    return folder, suite.select(only) if only else list(suite.plan)


def _prepare(suite: Suite) -> None:
    """Make the data once, before two runs wait for each other over it."""
    if suite.prepare:
        from mixae.datasets.digit_scenes import prepare
        from mixae.datasets.digit_scenes.build import find_root

        for part in suite.prepare:
            prepare(part, find_root(''))


def check_changes(folder: Folder, plan: Sequence[Run], on_change: str, console: Console) -> None:
    """Say which results came from other settings than the suite's now.

    Raises:
        SuiteError: There are some, and ``on_change`` is 'stop'.
    """
    changed = {run.name: lines for run in plan if (lines := folder.changes(run))}
    if not changed:
        return
    told = '\n'.join(
        f'  {name}: {"; ".join(lines[:4])}{"; ..." if len(lines) > 4 else ""}'
        for name, lines in changed.items()
    )
    if on_change == 'redo':
        console.print(
            f'Run again, as the settings have changed since:\n{told}', soft_wrap=True, markup=False
        )
        return
    raise SuiteError(
        f'{len(changed)} results in {folder.path} came from other settings:\n{told}\n'
        'Undo the change, run them again with --on-change redo, or name another --work-dir.'
    )


# ---- before it runs ---------------------------------------------------------------------------


def dry_run(folder: Folder, plan: Sequence[Run], jobs: int, console: Console) -> None:
    """Print the runs: state, estimated time and command; and the time of what is left."""
    left, unknown = 0.0, 0
    here = f'{os.getcwd()}{os.sep}'
    for run in plan:
        status = folder.status(run)
        guess = estimate(folder, run)
        time_ = 'unknown' if guess.seconds is None else duration(guess.seconds)
        if status != 'done':
            left += guess.seconds or 0.0
            unknown += guess.seconds is None
        command = shlex.join(word.removeprefix(here) for word in folder.command(run))
        console.print(f'{run.name}: {status}; {time_} ({guess.basis})', soft_wrap=True)
        console.print(f'    {command}', soft_wrap=True, markup=False)
    told = [f'{len(plan)} runs']
    if left or not unknown:
        told.append(f'what is left takes about {duration(left / jobs)}, {jobs} at a time')
    if unknown:
        told.append(f'{unknown} of unknown length: none of their steps was measured here yet')
    console.print(f'\n{"; ".join(told)}.', soft_wrap=True)


# ---- the result -------------------------------------------------------------------------------


def summarise(folder: Folder, console: Console) -> None:
    """Print and write table and page of what is done, and the suite's checks in words."""
    suite = folder.suite
    done = [run for run in suite.plan if folder.is_done(run)]
    files = [path for run in done if run.is_evaluation for path in folder.results(run)]
    if not files:
        console.print('No evaluation is done yet: no table.')
        return
    records = read_records(files)
    papers = published_beside(records, suite.published)
    table = build_table(records, papers, columns=suite.columns)
    pictures = [folder.output(run) for run in done if run.tool == 'picture']
    console.print()
    console.out(to_text(table, width=console.width), highlight=False)
    for check in suite.checks:
        for line in CHECKS[check](folder):
            console.print(line, markup=False)
    page = folder.path / 'leaderboard.html'
    for path, text in (
        (folder.path / 'table.txt', to_text(table, width=120)),
        (folder.path / 'table.md', to_markdown(table, base=folder.path)),
        (page, to_html(table, records, images=load_images(pictures), title=suite.title)),
    ):
        write_whole(path, text)
    missing = sum(run not in done for run in suite.evaluations)
    if missing:
        console.print(f'\n{missing} of {len(suite.evaluations)} evaluations are not done.')
    console.print('\nThe table, the page and the pictures:')
    for path in (folder.path / 'table.txt', folder.path / 'table.md', page, *pictures):
        console.print(f'  {path}', soft_wrap=True, markup=False)


def main(args) -> int:
    """:func:`run_suite` for a terminal: what can go wrong ends in a line and an exit status.

    Args:
        args (argparse.Namespace): Of ``tools/run_suite.py``.

    Returns:
        int: 0; 1 where a run failed or the suite cannot be run; 130 where it was interrupted.
    """

    own = os.getpid()

    def end(number, frame):
        if os.getpid() != own:  # a forked worker, before it has its own handlers
            os._exit(128 + number)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    console = Console(highlight=False)
    try:
        if not (args.dry_run or args.slurm):
            _, failed = run_suite(
                args.suite,
                args.work_dir,
                seeds=args.seeds,
                gpus=args.gpus,
                jobs=args.jobs,
                only=args.only,
                on_change=args.on_change,
                launcher=args.launcher,
                console=console,
            )
            return int(bool(failed))
        folder, plan = _open(args.suite, args.work_dir, args.seeds, args.gpus, args.only)
        suite = folder.suite
        if args.dry_run:
            gpus = max(run.gpus for run in plan)
            dry_run(folder, plan, args.jobs or this_machine(gpus).jobs, console)
            return 0
        check_changes(folder, plan, args.on_change or suite.on_change, console)
        _prepare(suite)
        command = [sys.executable, sys.argv[0], str(args.suite), '--launcher', 'slurm']
        command += ['--work-dir', str(folder.path), '--on-change', 'redo']
        command += ['--seeds', *map(str, args.seeds)] if args.seeds else []
        command += ['--gpus', str(args.gpus)] if args.gpus else []
        sent = submit(plan, folder, command, args.slurm, shlex.split(args.sbatch_args))
        console.print(f'{len(sent)} jobs; the same command without --slurm shows the table.')
    except MixaeError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted; the same command goes on where it was', file=sys.stderr)
        return 130
    return 0
