"""Checkpoints whose pickles are damaged at random, or on purpose."""

import pytest

from tests.checkpoints.crafted import read_mutated


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_3000_mutated_pickles_are_read_or_refused(tmp_path):
    outcomes = read_mutated(tmp_path / 'epoch_1.pth', range(3000))
    print(dict(outcomes))
    assert outcomes['refused'] > 1000 and outcomes.total() == 3000
