"""What checkpoints of a training hold, for tests that compare them bit for bit."""

import torch

from mixae.checkpoints.read import read_checkpoint


def snapshot(path):
    """Weights, optimiser and schedules."""
    content = read_checkpoint(path)
    return content['state_dict'], content['optimizer'], content['param_schedulers']


def same(a, b) -> bool:
    """Whether nested values are equal, tensors by their bits."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
