"""Stops a run at the first loss or gradient that is not finite."""

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from mixae.registry import HOOKS


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stops before an optimiser step with a loss or gradient that is not finite.

    The step is not taken: parameters and the last checkpoint stay good. The message names the
    iteration and the tensors. All gradients and losses are checked in one synchronisation.

    Raises:
        FloatingPointError: From the optimiser's step.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.losses: dict[str, Tensor] = {}

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
            params = [p for g in optimizer.param_groups for p in g['params'] if p.grad is not None]
            # A norm may overflow where its tensor is finite: only then look at each element.
            norms = torch._foreach_norm([p.grad for p in params]) if params else []
            losses = [loss.float().sum() for loss in self.losses.values()]
            if not norms and not losses:
                return
            values = torch.stack([v.float() for v in (*norms, *losses)])
            if bool(values.isfinite().all()):
                return
            bad = [f'{k} = {v.tolist()}' for k, v in self.losses.items() if not _finite(v)]
            bad += [
                f'the gradient of {names.get(id(p), "a parameter")}'
                for p in params
                if not _finite(p.grad)
            ]
            if bad:
                shown = ', '.join(bad[:8]) + (f' and {len(bad) - 8} more' if len(bad) > 8 else '')
                raise FloatingPointError(
                    f'Iteration {runner.iter + 1} (epoch {runner.epoch + 1}): not finite: {shown}. '
                    'The optimiser step was not taken and no checkpoint was written after it; '
                    '--resume continues from the last one.'
                )

        self._handles = [
            model.register_forward_hook(remember_losses, with_kwargs=True),
            runner.optim_wrapper.optimizer.register_step_pre_hook(check),
        ]

    def after_train(self, runner: Runner) -> None:
        for handle in self._handles:
            handle.remove()


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())
