"""Checkpoints that go only when the next one is there."""

from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import Runner

from mixae.files import check_folder
from mixae.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's ``CheckpointHook`` that removes an old checkpoint after writing the new one.

    mmengine's removes first: with ``max_keep_ckpts=1`` a run that is killed while it writes has
    none left. Takes its place in every config.

    Raises:
        OutputError: Nothing can be written in ``out_dir``; before the first step.
    """

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if '://' not in self.out_dir:  # of another storage
            check_folder(self.out_dir)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        self._remove_afterwards(super()._save_checkpoint_with_step, runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        self._remove_afterwards(super()._save_best_checkpoint, runner, metrics)

    def _remove_afterwards(self, save, *args) -> None:
        backend = self.file_backend
        self.file_backend = late = _LateBackend(backend)
        try:
            save(*args)
        finally:
            self.file_backend = backend
        for remove, path in late.removals:
            remove(path)


class _LateBackend:
    """A file backend that notes what is to be removed."""

    def __init__(self, backend) -> None:
        self._backend = backend
        self.removals: list[tuple] = []

    def __getattr__(self, name: str):
        if name in ('remove', 'rmtree'):
            return lambda path: self.removals.append((getattr(self._backend, name), path))
        return getattr(self._backend, name)
