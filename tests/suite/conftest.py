import io

import pytest
from rich.console import Console

from mixae.suite.processes import Machine, run_plan
from mixae.suite.progress import Display
from mixae.suite.state import Folder
from tests.suite.stand_ins import FakeRuns, unmeasured


@pytest.fixture
def call(tmp_path):
    """Runs a suite with fake runs and returns the commands that were needed."""

    def call(suite, runs=FakeRuns, **fake):
        runs = runs(**fake)
        folder = Folder(call.path, suite)
        done = {run.name for run in suite.plan if folder.is_done(run)}
        console = Console(file=io.StringIO())
        with Display(suite.plan, done, unmeasured(suite), console=console) as display:
            try:
                call.failed = run_plan(
                    suite.plan, folder, Machine(2, 1), display, start=runs, pause=0
                )
            except KeyboardInterrupt:
                pass
        call.folder = folder
        return runs.commands

    call.path = tmp_path
    return call
