import pytest


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """A folder of runs that the tests of a module share."""
    return tmp_path_factory.mktemp('runs')
