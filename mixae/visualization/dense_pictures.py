"""Predictions of a detector or a segmentor beside the ground truth."""

import copy
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer

from mixae.checkpoints.whole_models import load_model
from mixae.derive import REQUIRED, derive
from mixae.errors import ConfigError
from mixae.files import check_folder
from mixae.registry import DATASETS, VISUALIZERS


def draw_predictions(
    cfg: Config,
    checkpoint: str | Path,
    out: str | Path,
    *,
    count: int = 8,
    split: str = 'test',
    threshold: float = 0.3,
    device: str | None = None,
) -> list[Path]:
    """Draw predictions on images of a data set: the truth on the left, the prediction on the right.

    A segmentor's pictures show the image itself left of both.

    Args:
        cfg (Config): Of a detector or a segmentor, as it was trained.
        checkpoint: What that config trained.
        out: The folder of the pictures; made if missing.
        count (int): Images, evenly spaced over the split. Defaults to 8.
        split (str): 'test', 'val' or 'train' (with the test pipeline, so whole images). Defaults
            to 'test'.
        threshold (float): The least score of a box that is drawn. Defaults to 0.3.
        device (str, optional): Where the model runs. Defaults to a GPU if there is one.

    Returns:
        list[Path]: A PNG an image, named by the image.

    Raises:
        ConfigError: The config is neither a detector's nor a segmentor's, an unknown split, or a
            number out of range.
        OutputError: Nothing can be written in ``out``.
        CheckpointError: An unreadable checkpoint, or one of another model.
    """
    if split not in ('train', 'val', 'test'):
        raise ConfigError(f'split={split!r}: choose train, val or test.')
    if count < 1 or not 0 <= threshold <= 1:
        raise ConfigError(f'count={count}, threshold={threshold}: expected 1 or more, 0 to 1.')
    check_folder(out)
    model_cfg = cfg.get('model', {})
    is_segmentor = 'decode_head' in model_cfg
    if not is_segmentor and not {'roi_head', 'bbox_head'} & set(model_cfg):
        raise ConfigError(
            f'{cfg.filename} has neither detection heads nor a decode head; its model is '
            f'{model_cfg.get("type")}. Give the config of a detector or a segmentor.'
        )
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    cfg = copy.deepcopy(cfg)
    if cfg.get('pretrained') == REQUIRED:
        cfg.pretrained = 'scratch'  # the checkpoint brings every weight
    cfg, _ = derive(cfg, cuda=device != 'cpu')
    init_default_scope(cfg.default_scope)
    model = load_model(cfg.model, checkpoint).to(device)

    dataset_cfg = cfg[f'{split}_dataloader'].dataset
    if split != 'test':
        # Whole images, and as many views of one as the model's test takes.
        dataset_cfg.pipeline = cfg.test_dataloader.dataset.pipeline
        dataset_cfg.test_mode = True
    dataset = DATASETS.build(dataset_cfg)
    visualizer: Visualizer = VISUALIZERS.build(
        dict(
            type='mmseg.SegLocalVisualizer' if is_segmentor else 'mmdet.DetLocalVisualizer',
            name=f'predictions of {checkpoint}',
        )
    )
    visualizer.dataset_meta = dataset.metainfo
    out = Path(out)
    paths = []
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int))
    for index in chosen:
        with torch.no_grad():
            (sample,) = model.test_step(pseudo_collate([dataset[int(index)]]))
        image = mmcv.imread(sample.img_path, channel_order='rgb')
        path = out / f'{Path(sample.img_path).stem}.png'
        options = dict(with_image=True) if is_segmentor else dict(pred_score_thr=threshold)
        visualizer.add_datasample(
            path.stem, image, sample.cpu(), draw_gt=True, out_file=str(path), **options
        )
        paths.append(path)
    return paths
