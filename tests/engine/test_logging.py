"""Losses reach TensorBoard through mmengine's visualiser, as docs/logging.md says."""

import json
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mixae.engine import launch

PAGE = Path(__file__).parents[2] / 'docs' / 'logging.md'


def test_tensorboard_holds_the_losses_of_the_log(small_config, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg = small_config('mixedae/vitt_cifar10_2000e.py')
    text = re.search(r'```python\n(.*?)```', PAGE.read_text(encoding='utf-8'), re.S)[1]
    text = '\n'.join(line for line in text.splitlines() if not line.startswith('_base_'))
    cfg.merge_from_dict(Config.fromstring(text, '.py').to_dict())
    launch.train(cfg)

    scalars = [
        json.loads(line)
        for line in next((tmp_path / 'run').rglob('scalars.json')).read_text().splitlines()
    ]
    expected = [(row['step'], row['loss']) for row in scalars if 'loss' in row]
    assert len(expected) == 12  # 48 images in batches of 8, 2 epochs
    events = next((tmp_path / 'run').rglob('events.out.tfevents.*'))
    board = EventAccumulator(str(events)).Reload()
    assert {'loss', 'loss_recon', 'loss_contrast', 'lr'} <= set(board.Tags()['scalars'])
    found = [(event.step, event.value) for event in board.Scalars('loss')]
    assert [step for step, _ in found] == [step for step, _ in expected]
    assert [value for _, value in found] == pytest.approx([value for _, value in expected])
