"""How whole the objects are that an encoder sees: attention, patches and boxes against masks.

Shape legend: B images, L patches an image on a grid of h x w, D width, H heads.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from scipy import ndimage
from torch import Tensor, nn

from mixae.derive.values import check_seed
from mixae.errors import DataError
from mixae.evaluation.analysis import (
    analysis_record,
    build_encoder,
    build_loader,
    check_tokens,
    describe_data,
    resolve,
)
from mixae.files import check_folder
from mixae.models.layers.homologous_attention import class_attention, project
from mixae.results.record import metric, write_record

METRICS = ('attention_iou', 'attention_iou_best', 'patch_retrieval', 'corloc')
# Protocols of others: DINO's threshold (Caron et al. 2021), LOST's box (Simeoni et al. 2021).
MASS = 0.6
CORRECT = 0.5


class View(NamedTuple):
    """What the last layer makes of whole images, at any size.

    Attributes:
        attention_BHL: Of the class token to the patches, by head.
        features_BLD: The encoder's patch features.
        keys_BLD: Keys of the last layer's attention.
        grid: (h, w).
    """

    attention_BHL: Tensor
    features_BLD: Tensor
    keys_BLD: Tensor
    grid: tuple[int, int]


@torch.no_grad()
def look(encoder: nn.Module, images: Tensor) -> View:
    """Encode whole images, (B, 3, height, width), with ``out_type='raw'``."""
    seen = []
    attn = encoder.layers[-1].attn
    handle = attn.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        tokens_BND = encoder.features(images)[-1]
    finally:
        handle.remove()
    attention_BHL = class_attention(attn, seen[0])
    keys_BLD = project(attn, seen[0])[1].transpose(1, 2).flatten(2)[:, 1:]
    patch = encoder.patch_embed.projection.kernel_size
    grid = tuple(-(-side // size) for side, size in zip(images.shape[2:], patch, strict=True))
    return View(attention_BHL, tokens_BND[:, 1:], keys_BLD, grid)


def keep_mass(attention: Tensor, mass: float = MASS) -> Tensor:
    """The fewest patches that hold a share of an attention map, (..., L) bool (DINO)."""
    values, order = attention.sort(dim=-1, descending=True)
    before = values.cumsum(dim=-1) - values
    kept = before < mass * values.sum(dim=-1, keepdim=True)
    return torch.zeros_like(kept).scatter_(-1, order, kept)


def mask_iou(selected: Tensor, coverage: Tensor) -> Tensor:
    """IoU in pixels of selected patches, (..., L) bool, and a mask covering shares of them."""
    selected = selected.to(coverage.dtype)
    inside = (selected * coverage).sum(dim=-1)
    return inside / (selected.sum(dim=-1) + coverage.sum(dim=-1) - inside)


def patch_retrieval(features_LD: Tensor, members_L: Tensor) -> float:
    """R-precision of an object's patches among all of the image, by cosine similarity.

    Each of the m patches asks for the m - 1 others; chance is (m - 1)/(L - 1).
    """
    unit_LD = F.normalize(features_LD.float(), dim=-1)
    similarity_mL = unit_LD[members_L] @ unit_LD.T
    wanted = int(members_L.sum()) - 1
    own = torch.arange(len(members_L), device=members_L.device)[members_L]
    similarity_mL.scatter_(1, own[:, None], -torch.inf)
    found_mk = similarity_mL.topk(wanted, dim=1).indices
    return float(members_L[found_mk].float().mean())


def lost_box(keys_LD: Tensor, grid: tuple[int, int], seeds: int | None = None) -> np.ndarray:
    """LOST's box of an object, in patches: (left, top, right, bottom), the latter two exclusive.

    The seed is the patch with the fewest positive correlations; of the patches with the fewest,
    those that correlate with it positively help to find the object's mask, whose connected part
    at the seed gives the box.

    Args:
        keys_LD (Tensor): Keys of the last layer.
        grid (tuple[int, int]): (h, w).
        seeds (int, optional): LOST's k. Defaults to None, a ninth of the patches **(ours)**: it
            takes 100 of the about 900 of its images.
    """
    seeds = seeds or max(1, round(len(keys_LD) / 9))
    similarity_LL = keys_LD.float() @ keys_LD.float().T
    degree_L = (similarity_LL >= 0).sum(dim=1)
    order = degree_L.argsort(stable=True)
    seed = int(order[0])
    candidates = order[:seeds]
    friends = candidates[similarity_LL[seed, candidates] >= 0]
    mask = (similarity_LL[:, friends].sum(dim=1) >= 0).reshape(grid).cpu().numpy()
    mask.flat[seed] = True
    parts, _ = ndimage.label(mask)
    rows, columns = ndimage.find_objects((parts == parts.flat[seed]).astype(int))[0]
    return np.array([columns.start, rows.start, columns.stop, rows.stop], dtype=float)


def box_iou(box: np.ndarray, others_K4: np.ndarray) -> np.ndarray:
    """IoU of a box with K others, all (left, top, right, bottom)."""
    low = np.maximum(box[:2], others_K4[:, :2])
    high = np.minimum(box[2:], others_K4[:, 2:])
    inside = (high - low).clip(min=0).prod(axis=1)
    areas = (others_K4[:, 2:] - others_K4[:, :2]).prod(axis=1)
    return inside / ((box[2:] - box[:2]).prod() + areas - inside)


class Scene(NamedTuple):
    """One image: (3, height, width) pixels; K object masks (K, height, width), boxes (K, 4)."""

    image: Tensor
    masks: Tensor
    boxes: np.ndarray


def scenes_of(batch: dict) -> Iterator[Scene]:
    """The scenes of a batch that ``mmdet.PackDetInputs`` has packed, crowds left out.

    Raises:
        DataError: No masks, or masks that are not of their image's size.
    """
    for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
        truth = sample.gt_instances
        if 'masks' not in truth:
            raise DataError(
                'The data set gives no masks: set with_mask=True of LoadAnnotations, and use '
                'annotations with a segmentation.'
            )
        masks = torch.from_numpy(truth.masks.to_ndarray()).bool()
        if masks.shape[1:] != image.shape[1:]:
            raise DataError(
                f'Masks of {tuple(masks.shape[1:])} pixels do not fit their image of '
                f'{tuple(image.shape[1:])} (height, width): load annotations before Resize.'
            )
        boxes = truth.bboxes
        yield Scene(image, masks, getattr(boxes, 'tensor', boxes).numpy())


@dataclass
class Completeness:
    """Sums over scenes, in constant memory.

    Args:
        patch (int): Its side in pixels.
        seed (int): Of the random maps that ``chance`` is measured with.
    """

    patch: int
    seed: int = 0

    def __post_init__(self) -> None:
        self.sums: dict[str, list[float]] = {}
        self.left_out = 0
        self._generator = torch.Generator().manual_seed(self.seed)

    def update(self, view: View, index: int, scene: Scene) -> None:
        """Take in one scene, the ``index``-th of a view."""
        if not len(scene.masks):
            self.left_out += 1
            return
        coverage_KL = F.avg_pool2d(scene.masks[:, None].float(), self.patch).flatten(1)
        h, w = view.grid
        if coverage_KL.shape[1] != h * w:
            raise DataError(
                f'Images of {tuple(scene.image.shape[1:])} pixels are no multiple of the patch, '
                f'{self.patch}: resize them to one.'
            )
        union = scene.masks.any(dim=0)[None, None].float()
        coverage_L = F.avg_pool2d(union, self.patch).flatten()
        attention_HL = view.attention_BHL[index].float().cpu()
        chance_HL = torch.rand(attention_HL.shape, generator=self._generator)
        for prefix, maps_HL in (('', attention_HL), ('chance/', chance_HL)):
            heads_H = mask_iou(keep_mass(maps_HL), coverage_L)
            mean = mask_iou(keep_mass(maps_HL.mean(dim=0)), coverage_L)
            self._add(f'{prefix}attention_iou', mean)
            self._add(f'{prefix}attention_iou_best', heads_H.max())
        features_LD = view.features_BLD[index].cpu()
        for members_L in coverage_KL > 0.5:
            m = int(members_L.sum())
            if 1 < m < len(members_L):
                self._add('patch_retrieval', patch_retrieval(features_LD, members_L))
                self._add('chance/patch_retrieval', (m - 1) / (len(members_L) - 1))
        box = lost_box(view.keys_BLD[index], view.grid) * self.patch
        self._add('corloc', box_iou(box, scene.boxes).max() >= CORRECT)
        everything = np.array([0, 0, w, h], dtype=float) * self.patch
        self._add('chance/corloc', box_iou(everything, scene.boxes).max() >= CORRECT)

    def _add(self, name: str, value) -> None:
        total = self.sums.setdefault(name, [0.0, 0])
        total[0] += float(value)
        total[1] += 1

    def compute(self) -> dict[str, float]:
        """Means of :data:`METRICS` as shares, and under ``chance/`` what no features give.

        Chance is of random attention, of random neighbours, and of the box of the whole image.

        Raises:
            DataError: No object was seen, or none that covers two patches.
        """
        if missing := [name for name in METRICS if name not in self.sums]:
            raise DataError(
                f'{", ".join(missing)}: no object in the images covers two patches of '
                f'{self.patch} pixels; {self.left_out} images have no object at all.'
            )
        return {name: total / count for name, (total, count) in self.sums.items()}


def object_completeness(
    data: Config,
    checkpoint: str,
    *,
    seed: int = 0,
    folder: str | Path | None = None,
    budget: str | None = None,
) -> tuple[dict[str, float], list[tuple[Scene, View, int]]]:
    """All metrics of one checkpoint on a config's scenes, a record, and some scenes to draw.

    Args:
        data (Config): As those of configs/analysis: a frozen encoder, and scenes with masks as
            ``test_dataloader``.
        checkpoint (str): Any that :func:`mixae.checkpoints.load.load_encoder` reads, or 'scratch'.
        seed (int): Of random weights, and of chance. Defaults to 0.
        folder (str | Path, optional): Where the record goes. Defaults to None, nowhere.
        budget (str, optional): In words, for the record.

    Returns:
        tuple: :meth:`Completeness.compute`, and (scene, view, index in the view) of the first
        batch.

    Raises:
        ConfigError: No such config, or an encoder of another kind.
        DataError: Masks that are missing or do not fit; no object.
        CheckpointError: A checkpoint that does not fit.
    """
    check_seed(seed)
    if folder is not None:
        check_folder(folder)
    data = resolve(data, 'test_dataloader')
    check_tokens(data)
    encoder, preprocessor = build_encoder(data, checkpoint, seed)
    loader = build_loader(data.test_dataloader)
    started = time.perf_counter()
    sums = Completeness(encoder.patch_embed.projection.kernel_size[0], seed)
    shown = []
    for number, batch in enumerate(loader):
        scenes = list(scenes_of(batch))
        if len({scene.image.shape for scene in scenes}) > 1:
            raise DataError(
                'The images of a batch have different sizes: set Resize, keep_ratio=False.'
            )
        view = look(encoder, preprocessor(batch, False)['inputs'])
        for index, scene in enumerate(scenes):
            sums.update(view, index, scene)
            if number == 0:
                shown.append((scene, view, index))
    found = sums.compute()
    if folder is not None:
        record = analysis_record(
            'object_completeness',
            data,
            checkpoint,
            started,
            protocol=dict(data.protocol),
            dataset=describe_data(data, None, len(loader.dataset)),
            metrics={name: metric(value, 'fraction') for name, value in found.items()},
            seed=seed,
            budget=budget,
            notes=describe(),
        )
        write_record(record, folder)
    return found, shown


def describe() -> str:
    """The protocol, in words."""
    return (
        'Attention of the class token in the last layer, the patches that hold '
        f'{100 * MASS:.0f} % of it, against the union of the objects: averaged over heads, and '
        'the best head of each image. Patch retrieval: R-precision of the patches of an object by '
        'cosine similarity. CorLoc: share of images in which LOST finds a box of IoU 0.5 or more'
    )


def format_table(rows: dict[str, dict]) -> str:
    """The metrics in per cent, by name, with the line of chance, in Markdown."""
    titles = ('Attention IoU', 'best head', 'Patch retrieval', 'CorLoc')
    lines = [f'| Encoder | {" | ".join(titles)} |', '|---|' + '---:|' * len(titles)]
    chance = next(iter(rows.values()))
    shown = {**rows, 'chance': {name: chance[f'chance/{name}'] for name in METRICS}}
    lines += [
        f'| {name} | ' + ' | '.join(f'{100 * row[key]:.1f}' for key in METRICS) + ' |'
        for name, row in shown.items()
    ]
    return '\n'.join(lines)
