"""TopK sampling accuracy of MixedAE and its contrastive loss, during training."""

import json
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mixae.errors import ConfigError
from mixae.registry import HOOKS

CURVE_FILE = 'topk_accuracy.jsonl'
LOSS = ('contrast', 'contrast_floor')  # of the losses that MixedAE returns


@HOOKS.register_module()
class TopKAccuracyHook(Hook):
    """Logs the share of kept patch keys that are homologous to their query.

    The mean over layers goes into the log line; each layer's value, with the accuracy of chance,
    goes into ``topk_accuracy.jsonl`` in the work directory, a line a reading
    (:func:`mixae.visualization.curves.plot_topk_accuracy` draws it). About 70-80 % is the paper's
    picture; under 60 % homologous attention isolates nothing. Beside it stand the contrastive
    loss, unweighted, and its floor. The curves of both travel in the checkpoint.

    Args:
        interval (int): Iterations between readings. Defaults to 50.
    """

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise ConfigError(f'interval={interval}: at least 1 iteration.')
        self.interval = interval
        self._begins = True

    def before_run(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.attention = getattr(model, 'attention', None)
        if self.attention is None or not hasattr(self.attention, 'accuracy'):
            raise ConfigError(
                f'TopKAccuracyHook reads the homologous attention of MixedAE; '
                f'{type(model).__name__} has none. Remove the hook.'
            )
        self.num_patches = model.backbone.num_patches

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        self.attention.watch = runner.iter == 0 or (runner.iter + 1) % self.interval == 0

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        if not self.attention.watch:
            return
        accuracy = {layer: value.item() for layer, value in self.attention.accuracy.items()}
        if accuracy:
            runner.message_hub.update_scalar(
                'train/topk_accuracy', sum(accuracy.values()) / len(accuracy)
            )
        loss = {name: outputs[name].item() for name in LOSS if name in (outputs or {})}
        if not (accuracy or loss) or not is_main_process():
            return
        groups = self.attention.groups
        row = dict(
            iter=runner.iter + 1,
            epoch=runner.epoch + 1,
            chance=(self.num_patches // groups - 1) / (self.num_patches - 1),
            layers=accuracy,
            **loss,
        )
        path = Path(runner.work_dir) / CURVE_FILE
        if self._begins:
            # A resumed run continues the curve where its checkpoint was; a new one starts it.
            self._begins = False
            kept = [old for old in read_curve(path) if old['iter'] < row['iter']]
            path.write_text(''.join(json.dumps(old) + '\n' for old in kept))
        with open(path, 'a') as file:
            file.write(json.dumps(row) + '\n')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Carry the curves in the checkpoint, for the records of its evaluations."""
        path, iterations = Path(runner.work_dir) / CURVE_FILE, checkpoint['meta']['iter']
        rows = [row for row in read_curve(path) if row['iter'] <= iterations]
        rows = rows[:: max(1, len(rows) // 50)]
        curves = {}
        if rows and rows[0]['layers']:
            curves['topk_accuracy'] = dict(
                x_label='iteration',
                y_label='TopK sampling accuracy',
                x=[row['iter'] for row in rows],
                lines={f'layer {n}': [row['layers'][n] for row in rows] for n in rows[0]['layers']},
                reference=rows[0]['chance'],
                reference_label='chance',
            )
        if rows and 'contrast' in rows[0]:
            curves['contrastive_loss'] = dict(
                x_label='iteration',
                y_label='homologous contrastive loss',
                x=[row['iter'] for row in rows],
                lines=dict(loss=[row['contrast'] for row in rows]),
                reference=rows[0]['contrast_floor'],
                reference_label='floor',
            )
        if curves:
            checkpoint.setdefault('mixae', {})['curves'] = curves


def read_curve(path: str | Path) -> list[dict]:
    """The readings of a run; none if there are none yet."""
    rows = []
    if not Path(path).exists():
        return rows
    for line in Path(path).read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break  # a kill cut the last line short
    return rows
