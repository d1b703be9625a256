import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def root():
    return ROOT


@pytest.fixture
def setup_env():
    """A fresh copy of ``tools/setup_env.py`` as a module, free to be patched."""
    spec = importlib.util.spec_from_file_location('setup_env', ROOT / 'tools' / 'setup_env.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules['setup_env'] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules['setup_env']
