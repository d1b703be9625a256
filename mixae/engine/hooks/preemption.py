"""SIGTERM: save after the step, and end with a status that says to try again."""

import signal
import threading

import torch
import torch.distributed
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mixae.errors import Preempted

PREEMPTED = 'preempted.pth'


class PreemptionHook(Hook):
    """Ends a run that SIGTERM tells to end, as schedulers do before they take its machine.

    The step at work is finished and ``preempted.pth`` saved; ``--resume`` continues from it, and
    the next checkpoint replaces it. Of several processes each may get the signal, at any time:
    they agree on the step, a step later. During a validation by several processes it is the last
    checkpoint that stands.

    Every run of :class:`mixae.engine.runner.MixaeRunner` has it.

    Raises:
        Preempted: After the checkpoint is saved; its exit status is 75.
    """

    priority = 'LOWEST'  # the step's schedules, logs and checkpoints come first

    def __init__(self) -> None:
        self._asked = False
        self._answer: torch.Tensor | None = None
        self._previous = None

    def before_train(self, runner: Runner) -> None:
        if threading.current_thread() is threading.main_thread():  # others cannot listen
            self._previous = signal.signal(signal.SIGTERM, self._ask)

    def release(self) -> None:
        """Let SIGTERM do again what it did before the training."""
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None

    def _ask(self, number, frame) -> None:
        self._asked = True

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        accumulation = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        # Between two steps of the optimiser there are gradients that no checkpoint holds.
        if self._all_asked(runner) and (runner.iter + 1) % accumulation == 0:
            self._stop(runner, runner.iter + 1)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        if self._asked and not runner.distributed:
            self._stop(runner, runner.iter)

    def _all_asked(self, runner: Runner) -> bool:
        """Whether any process was asked before its last step; the same in all of them."""
        if not runner.distributed:
            return self._asked
        # Read a step later, so that no GPU is waited for.
        answer, self._answer = self._answer, torch.tensor(float(self._asked), device=get_device())
        torch.distributed.all_reduce(self._answer, torch.distributed.ReduceOp.MAX)
        return answer is not None and bool(answer)

    def _stop(self, runner: Runner, iterations: int) -> None:
        meta = dict(epoch=runner.epoch, iter=iterations)
        runner.save_checkpoint(runner.work_dir, PREEMPTED, meta=meta)
        if runner.distributed:
            torch.distributed.barrier()  # the first process writes, the others wait
        raise Preempted(
            f'SIGTERM: the run ends after iteration {iterations}; {PREEMPTED} is saved in '
            f'{runner.work_dir}, and --resume continues from it.'
        )
