"""Optimiser wrapper for mixed precision on any device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from mixae.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Autocast to bfloat16 on CPU and GPU.

    mmengine's ``AmpOptimWrapper`` asserts a GPU and defaults to fp16, whose range MAE-style losses
    are known to leave after many epochs. bfloat16 has fp32's range and needs no loss scaling.

    Args:
        dtype (str): 'bfloat16' ('float16' is mmengine's own wrapper's). Defaults to 'bfloat16'.
        **kwargs: Of ``OptimWrapper``: optimizer, clip_grad, accumulative_counts.
    """

    def __init__(self, dtype: str = 'bfloat16', **kwargs) -> None:
        if dtype != 'bfloat16':
            raise ValueError(
                f"mixae.AmpOptimWrapper computes in 'bfloat16', got dtype={dtype!r}. For float16 "
                "with loss scaling on a GPU choose mmengine's type='AmpOptimWrapper'."
            )
        super().__init__(**kwargs)
        self.device_type = get_device().split(':')[0]

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with (
            super().optim_context(model),
            torch.autocast(device_type=self.device_type, dtype=torch.bfloat16),
        ):
            yield
