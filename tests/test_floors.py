"""The folders of the package import only from those below them (pyproject.toml has the order)."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_go_one_way():
    command = Path(sys.executable).with_name('lint-imports')
    result = subprocess.run([command, '--no-cache'], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_package_imports_nothing_heavy():
    code = (
        'import sys, mixae, mixae.errors, mixae.files, mixae.registry; '
        'print([m for m in ("torch", "mmcv", "mmpretrain") if m in sys.modules])'
    )
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == '[]', result.stderr
