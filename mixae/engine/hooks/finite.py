"""Stops a run at the first loss or gradient that is not finite."""

import math
from collections.abc import Callable
from typing import NoReturn

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from mixae.errors import NotFiniteError
from mixae.registry import HOOKS

# A loss scale of 65536, halved at each skipped step, is below 1 after 17; gradients that are still
# not finite then are so without it.
MOST_SKIPPED = 20


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stops before an optimiser step with a loss or gradient that is not finite.

    The step is not taken: parameters and the last checkpoint stay good. The message names the
    iteration and the tensors. All gradients and losses are checked in one synchronisation.

    A fused optimiser without a loss scaler, as AdamW is on a GPU, is not waited for: the device
    itself leaves out the step, and the run stops at the next one, or before a checkpoint is saved.

    With float16 the loss scaler skips steps whose gradients overflow, which is how it finds its
    scale, and would skip all of them without a word once a loss is NaN. There a loss that is not
    finite stops the run too, and so do 20 skipped steps in a row.

    Raises:
        NotFiniteError: From the optimiser's step, or after a step that was skipped.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.losses: dict[str, Tensor] = {}
        self.stepped = False
        self.skipped = 0
        self.pending: Callable[[], None] | None = None

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        names = {id(p): name for name, p in model.named_parameters()}

        def remember_losses(module, args, kwargs, output) -> None:
            if isinstance(output, dict):
                self.losses = {
                    k: v.detach()
                    for k, v in output.items()
                    if 'loss' in k and isinstance(v, Tensor)
                }

        def check(optimizer, args, kwargs) -> None:
            self.stepped = True
            params = [p for g in optimizer.param_groups for p in g['params'] if p.grad is not None]
            self.report()
            scales = getattr(runner.optim_wrapper, 'loss_scaler', None) is not None
            if params and not scales and all(g.get('fused') for g in optimizer.param_groups):
                called = [f'the gradient of {names.get(id(p), "a parameter")}' for p in params]
                tensors = [*(p.grad for p in params), *(v.float() for v in self.losses.values())]
                # The largest magnitude: unlike the sum of squares, it does not overflow.
                largest = torch._foreach_norm(tensors, torch.inf)
                values = torch.stack([v.float() for v in largest])
                optimizer.found_inf = (~values.isfinite().all()).float()
                self.pending = _later(runner, values, called, list(self.losses))
                return
            # A norm may overflow where its tensor is finite: only then look at each element.
            norms = torch._foreach_norm([p.grad for p in params]) if params else []
            losses = [loss.float().sum() for loss in self.losses.values()]
            if not norms and not losses:
                return
            values = torch.stack([v.float() for v in (*norms, *losses)])
            if bool(values.isfinite().all()):
                return
            bad = self._bad_losses()
            bad += [
                f'the gradient of {names.get(id(p), "a parameter")}'
                for p in params
                if not _finite(p.grad)
            ]
            if bad:
                _stop(runner.iter, runner.epoch, f'not finite: {_some(bad)}')

        self._handles = [
            model.register_forward_hook(remember_losses, with_kwargs=True),
            runner.optim_wrapper.optimizer.register_step_pre_hook(check),
        ]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        self.stepped = False

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        wrapper = runner.optim_wrapper
        scaler = getattr(wrapper, 'loss_scaler', None)
        if scaler is None or not wrapper.should_update():
            return
        self.skipped = 0 if self.stepped else self.skipped + 1
        if self.stepped:
            return
        bad = self._bad_losses()
        if bad:
            _stop(runner.iter, runner.epoch, f'not finite: {", ".join(bad)}')
        if self.skipped >= MOST_SKIPPED:
            _stop(
                runner.iter,
                runner.epoch,
                f'gradients that are not finite in {self.skipped} steps in a row, at a loss scale '
                f'that is now {scaler.get_scale():.3g}',
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self.report()

    def report(self) -> None:
        """Stop the run if the last step was left out on the device."""
        pending, self.pending = self.pending, None
        if pending is not None:
            pending()

    def _bad_losses(self) -> list[str]:
        return [f'{k} = {v.tolist()}' for k, v in self.losses.items() if not _finite(v)]

    def after_train(self, runner: Runner) -> None:
        self.report()
        for handle in self._handles:
            handle.remove()


def _later(
    runner: Runner, values: Tensor, gradients: list[str], losses: list[str]
) -> Callable[[], None]:
    """What stops the run if values, of gradients and then losses, prove not to be finite."""
    iteration, epoch = runner.iter, runner.epoch
    if values.is_cuda:
        found = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        found.copy_(values, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
    else:
        found, copied = values, None

    def check() -> None:
        if copied is not None:
            copied.synchronize()  # of the step before: it has been for long
        if bool(found.isfinite().all()):
            return
        of_gradients, of_losses = found.tolist()[: len(gradients)], found.tolist()[len(gradients) :]
        pairs = zip(losses, of_losses, strict=True)
        bad = [f'{name} = {value}' for name, value in pairs if not math.isfinite(value)]
        pairs = zip(gradients, of_gradients, strict=True)
        bad += [name for name, value in pairs if not math.isfinite(value)]
        _stop(iteration, epoch, f'not finite: {_some(bad)}')

    return check


def _some(names: list[str]) -> str:
    return ', '.join(names[:8]) + (f' and {len(names) - 8} more' if len(names) > 8 else '')


def _stop(iteration: int, epoch: int, what: str) -> NoReturn:
    raise NotFiniteError(
        f'Iteration {iteration + 1} (epoch {epoch + 1}): {what}. '
        'The optimiser step was not taken and no checkpoint was written after it; '
        '--resume continues from the last one.'
    )


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())
