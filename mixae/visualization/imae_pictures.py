"""The pictures of the i-MAE paper: Figs. 1, 3, 4 and, by :mod:`mixae.visualization.attention`, 5.

Shape legend: P pairs of images, L patches, V visible patches, p values a patch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.models import MAE
from torch import Tensor, nn

from mixae.checkpoints.whole_models import as_mae, load_model
from mixae.derive import derive
from mixae.derive.components import is_model
from mixae.derive.values import check_seed
from mixae.errors import ConfigError
from mixae.files import check_output
from mixae.models.layers.masking import draw_visible, masks_from_visible
from mixae.models.layers.mixture import mix_pairs
from mixae.models.necks.disentanglement import BRANCHES
from mixae.models.selfsup.imae import IMAE
from mixae.visualization.attention import weights_and_attention
from mixae.visualization.grid import ENDINGS, Cell, draw_grid, save_figure
from mixae.visualization.loading import load_pairs
from mixae.visualization.pixels import (
    NORMALISED,
    for_matplotlib,
    hide_masked,
    masked_pixels,
    to_rgb,
    undo_normalisation,
)

FACTORS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
MASK_RATIOS = (0.5, 0.6, 0.75)
MOST = 32  # pairs of a picture


class Scene(NamedTuple):
    """P mixtures under a mask: ``mixed`` of the images in ``sources``, by branch."""

    mixed: Tensor
    sources: dict[str, Tensor]
    ids_PV: Tensor
    mask_PL: Tensor
    restore_PL: Tensor


@dataclass
class Subject:
    """What a figure is drawn of.

    Attributes:
        model (IMAE): The i-MAE.
        preprocessor (nn.Module): Of the images.
        inputs (Tensor): P pairs, (2P, 3, H, W), the subordinate image of each first.
        mae (MAE, optional): The vanilla MAE beside it.
        no_distill (IMAE, optional): An i-MAE without distillation beside it.
        factor (float): The subordinate image's share. Defaults to 0.3.
        mask_ratio (float): Share of masked patches. Defaults to 0.75.
        seed (int): Of the mask, the same in all rows. Defaults to 0.
    """

    model: IMAE
    preprocessor: nn.Module
    inputs: Tensor
    mae: MAE | None = None
    no_distill: IMAE | None = None
    factor: float = 0.3
    mask_ratio: float = 0.75
    seed: int = 0

    def scene(self, factor: float, mask_ratio: float) -> Scene:
        """The pairs mixed and masked; what a mask ratio leaves visible, a lower one does too.

        Raises:
            ConfigError: A share outside [0, 0.5), where the subordinate image is not subordinate,
                or a mask ratio outside [0, 1).
        """
        if not 0 <= factor < 0.5:
            raise ConfigError(f"The subordinate image's share {factor} is outside [0, 0.5).")
        P, L = len(self.inputs) // 2, self.model.backbone.num_patches
        mixture = mix_pairs(self.inputs, torch.full((P,), factor, device=self.inputs.device))
        generator = torch.Generator().manual_seed(self.seed)
        ids_PV = draw_visible(P, L, mask_ratio, generator=generator).to(self.inputs.device)
        return Scene(mixture.images, mixture.sources, ids_PV, *masks_from_visible(ids_PV, L))


class Painter:
    """Turns what a model sees and predicts into cells, one for each pair.

    Args:
        preprocessor (nn.Module): Whose ``mean`` and ``std`` were taken off the images.
        model (nn.Module): An MAE or i-MAE. One that was trained on all patches shows its
            prediction at visible positions too; otherwise they show the input, framed in white.
    """

    def __init__(self, preprocessor: nn.Module, model: nn.Module) -> None:
        self.preprocessor, self.head = preprocessor, model.head
        self.show_everywhere = getattr(model, 'loss_on', 'masked') == 'all'

    def images(self, images: Tensor) -> list[Cell]:
        """Images as a model takes them, (P, 3, H, W)."""
        return [Cell(for_matplotlib(rgb)) for rgb in to_rgb(images, self.preprocessor)]

    def visible(self, images: Tensor, mask_PL: Tensor) -> list[Cell]:
        """The images with their masked patches in grey."""
        shown = hide_masked(to_rgb(images, self.preprocessor), self.head, mask_PL)
        return [Cell(for_matplotlib(rgb)) for rgb in shown]

    def prediction(
        self, pred_PLp: Tensor, target: Tensor, seen: Tensor, mask_PL: Tensor
    ) -> list[Cell]:
        """A prediction of the decoder, with the visible patches to be framed.

        Args:
            pred_PLp (Tensor): For every patch.
            target (Tensor): The images whose patch statistics undo the target's normalisation.
            seen (Tensor): The images that the encoder saw.
            mask_PL (Tensor): 1 = masked.
        """
        pred = self.head.unpatchify(undo_normalisation(self.head, pred_PLp, target))
        if self.show_everywhere:
            return self.images(pred)
        pred, seen = (to_rgb(images, self.preprocessor) for images in (pred, seen))
        shown = torch.where(masked_pixels(self.head, mask_PL), pred, seen)
        side = self.head.patch_size
        columns = shown.shape[-1] // side
        return [
            Cell(for_matplotlib(rgb), side, [divmod(int(k), columns) for k in (m == 0).nonzero()])
            for rgb, m in zip(shown, mask_PL, strict=True)
        ]

    def caption(self) -> str:
        """What has to be said about the predictions."""
        shown = (
            'Predictions are shown at all positions.'
            if self.show_everywhere
            else 'White frames: visible positions, which show the input.'
        )
        return f'{shown} {NORMALISED}' if self.head.norm_pix else shown


def _by_pair(columns: Sequence[Sequence[Cell | None]]) -> list[Cell | None]:
    """Columns of P cells as one row, the cells of a pair side by side."""
    return [cell for of_pair in zip(*columns, strict=True) for cell in of_pair]


@torch.no_grad()
def imae_grid(s: Subject, rows: Mapping[str, tuple[float, float]], title: str) -> Figure:
    """Mixture, visible patches and both reconstructions in several settings.

    Args:
        s (Subject): The i-MAE and the pairs. A branch that is not trained stays empty.
        rows (Mapping[str, tuple]): The subordinate image's share and the mask ratio of each row,
            by its label.
        title (str): Stands above.
    """
    painter, model = Painter(s.preprocessor, s.model), s.model
    names = ['mixture', 'visible\npatches']
    names += [f'{b}:\n{what}' for b in BRANCHES for what in ('prediction', 'original')]
    cells = {}
    for label, setting in rows.items():
        scene = s.scene(*setting)
        preds = model.decode(model.encode(scene.mixed, scene.ids_PV), scene.restore_PL)
        columns = [painter.images(scene.mixed), painter.visible(scene.mixed, scene.mask_PL)]
        for branch, source in scene.sources.items():
            shown = [None] * len(source)
            if branch in preds:
                shown = painter.prediction(preds[branch], source, scene.mixed, scene.mask_PL)
            columns += [shown, painter.images(source)]
        cells[label] = _by_pair(columns)
    return draw_grid(cells, names, title, painter.caption(), repeat=len(s.inputs) // 2)


def factors(s: Subject) -> Figure:
    """Fig. 1: reconstructions over the subordinate image's share."""
    return imae_grid(
        s,
        {f'share {factor:g}': (factor, s.mask_ratio) for factor in FACTORS},
        f"i-MAE: reconstructions over the subordinate image's share, mask ratio {s.mask_ratio:g}",
    )


def mask_ratios(s: Subject) -> Figure:
    """Fig. 4: reconstructions over mask ratios."""
    trained = {s.model.backbone.mask_ratio: '\n(trained)'}
    return imae_grid(
        s,
        {f'mask {ratio:g}{trained.get(ratio, "")}': (s.factor, ratio) for ratio in MASK_RATIOS},
        f"i-MAE: reconstructions over mask ratios, subordinate's share {s.factor:g}",
    )


@torch.no_grad()
def comparison(s: Subject) -> Figure:
    """Fig. 3: MAE on the mixture, MAE on the unmixed image (b), and i-MAEs, one row each."""
    scene = s.scene(s.factor, s.mask_ratio)
    own = scene.sources['subordinate']

    def row(model: nn.Module, seen: Tensor, pred_PLp: Tensor) -> list[Cell]:
        painter = Painter(s.preprocessor, model)
        return _by_pair(
            [
                painter.images(seen),
                painter.visible(seen, scene.mask_PL),
                painter.prediction(pred_PLp, own, seen, scene.mask_PL),
                painter.images(own),
            ]
        )

    rows = {}
    for label, seen in (('MAE,\nmixture', scene.mixed), ('MAE,\nunmixed', own)):
        latent_PnD = s.mae.backbone(seen, ids_visible=scene.ids_PV)[0]
        rows[label] = row(s.mae, seen, s.mae.neck(latent_PnD, scene.restore_PL))
    imaes = {'i-MAE,\nno distill.': s.no_distill, 'i-MAE': s.model}
    imaes = {label: model for label, model in imaes.items() if model is not None}
    for label, model in imaes.items():
        preds = model.decode(model.encode(scene.mixed, scene.ids_PV), scene.restore_PL)
        rows[label] = row(model, scene.mixed, preds['subordinate'])
    caption = Painter(s.preprocessor, s.mae).caption()
    if any(model.loss_on == 'all' for model in imaes.values()):
        caption += ' Without frames: a model that was trained on all patches.'
    return draw_grid(
        rows,
        ('input', 'visible\npatches', 'prediction', 'subordinate:\noriginal'),
        f"The subordinate image's reconstruction, its share {s.factor:g}, mask ratio "
        f'{s.mask_ratio:g}',
        caption,
        repeat=len(own),
    )


def weights(s: Subject) -> Figure:
    """Fig. 5: weight distributions and attention maps of MAE and i-MAE, on unmixed images."""
    encoders = {'MAE': s.mae.backbone, 'i-MAE': s.model.backbone}
    images = s.inputs[::2]
    return weights_and_attention(encoders, to_rgb(images, s.preprocessor), images)


FIGURES = {  # Figs. 1, 3, 4 and 5
    'factors': factors,
    'comparison': comparison,
    'mask-ratios': mask_ratios,
    'weights': weights,
}


def imae_picture(
    figure: str,
    config: Config,
    checkpoint: str,
    data: Config,
    path: str | Path,
    *,
    teacher: str | None = None,
    without_distillation: str | None = None,
    pairs: int = 2,
    seed: int = 0,
    factor: float | None = None,
    mask_ratio: float | None = None,
) -> Path:
    """Draw a figure of the paper from checkpoints.

    Args:
        figure (str): One of :data:`FIGURES`.
        config (Config): The pre-training config of the i-MAE in ``checkpoint``.
        checkpoint (str): The i-MAE.
        data (Config): See :func:`load_pairs`.
        path (str | Path): The PNG to write.
        teacher (str, optional): Checkpoint of the MAE, for 'comparison' and 'weights'.
        without_distillation (str, optional): Of one more i-MAE, for 'comparison'.
        pairs (int): Pairs of images. Defaults to 2.
        seed (int): Of pairs and masks. Defaults to 0.
        factor (float, optional): Of :class:`Subject`, but for 'factors'. Defaults to None: 0.3.
        mask_ratio (float, optional): Of :class:`Subject`, but for 'mask-ratios'. Defaults to
            None: the one that the i-MAE was trained with.

    Raises:
        ConfigError: A missing teacher, an option that the figure has no use for, a number out of
            range, or another model than an i-MAE.
        OutputError: The picture cannot be written.
        CheckpointError: A checkpoint that does not fit the config.
    """
    if figure in ('comparison', 'weights') and not teacher:
        raise ConfigError(f'{figure} compares with an MAE: name its checkpoint with --teacher.')
    for several, option, value in (
        ('factors', '--factor', factor),
        ('mask-ratios', '--mask-ratio', mask_ratio),
    ):
        if figure == several and value is not None:
            raise ConfigError(f'{figure} shows several: {option} has no use there.')
    for option, value, uses in (
        ('--teacher', teacher, ('comparison', 'weights')),
        ('--without-distillation', without_distillation, ('comparison',)),
    ):
        if value is not None and figure not in uses:
            raise ConfigError(f'{option} has no use for {figure}, only for {" and ".join(uses)}.')
    check_output(path, ENDINGS)
    check_seed(seed)
    if not 1 <= pairs <= MOST:
        raise ConfigError(f'pairs={pairs}: expected 1 to {MOST}.')
    config = derive(config)[0]
    if not is_model(config, IMAE):
        raise ConfigError(f"model.type={config.model.type!r}: expected an i-MAE's config.")
    model_cfg = config.model
    device = 'cuda' if torch.cuda.is_available() else 'cpu'

    def load(cfg: dict, path: str | None) -> nn.Module | None:
        return load_model(cfg, path).to(device) if path else None

    inputs, preprocessor = load_pairs(data, pairs, seed, device)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        subject = Subject(
            model=load(model_cfg, checkpoint),
            preprocessor=preprocessor,
            inputs=inputs,
            mae=load(as_mae(model_cfg), teacher),
            no_distill=load(model_cfg, without_distillation),
            factor=0.3 if factor is None else factor,
            mask_ratio=model_cfg.backbone.mask_ratio if mask_ratio is None else mask_ratio,
            seed=seed,
        )
    return save_figure(FIGURES[figure](subject), path, dpi=130)
