"""The docs site builds as `make docs` builds it: without a warning."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_site_builds_without_a_warning():
    environment = {**os.environ, 'PYTHON': sys.executable}
    done = subprocess.run(
        ['make', 'docs'], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (ROOT / 'docs/_build/html/index.html').read_text(encoding='utf-8')
    assert 'mixae' in page
    assert (ROOT / 'docs/_build/html/api/mixae/index.html').exists()
