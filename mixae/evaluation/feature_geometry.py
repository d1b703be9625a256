"""The shape of feature spaces: effective rank, linear CKA, nearest images, points to embed.

Shape legend: N images, B images of a batch, D width, F features of all layers and encoders.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from mixae.derive.values import check_seed
from mixae.errors import ConfigError, DataError
from mixae.evaluation.analysis import (
    analysis_record,
    build_encoder,
    build_loader,
    check_different,
    check_tokens,
    describe_data,
    resolve,
)
from mixae.evaluation.features import check_pool, pool_tokens
from mixae.evaluation.separability.lasso import Moments
from mixae.files import check_folder
from mixae.models.layers.homologous_attention import class_attention
from mixae.results.record import metric, write_record

SMALL = 0.01  # of a weight (i-MAE, Fig. 5)
WIDEST = 16384  # features of all layers and encoders; their covariance has the square of it


def effective_rank(covariance_DD: Tensor) -> float:
    """exp of the entropy of the eigenvalues' shares (Roy and Vetterli 2007), from 1 to D."""
    values_D = torch.linalg.eigvalsh(covariance_DD).clamp(min=0)
    total = values_D.sum()
    if not total > 0:
        raise DataError('The features are the same for all images: they have no rank.')
    shares_D = values_D / total
    return float(torch.special.entr(shares_D).sum().exp())


def linear_cka(covariance_FF: Tensor, one: slice, other: slice) -> float:
    """Linear CKA (Kornblith et al. 2019) of two sets of features, from their joint covariance."""
    cross, first, second = (
        covariance_FF[rows, columns].norm()
        for rows, columns in ((one, other), (one, one), (other, other))
    )
    return float(cross.square() / (first * second))


class Nearest:
    """The k nearest of all images seen so far to some queries, by cosine, in constant memory."""

    def __init__(self, queries_QD: Tensor, k: int) -> None:
        self.queries_QD, self.k = F.normalize(queries_QD, dim=1), k
        self.similarity = queries_QD.new_empty(len(queries_QD), 0)
        self.index = torch.empty(len(queries_QD), 0, dtype=torch.long, device=queries_QD.device)
        self._seen = 0

    def update(self, features_BD: Tensor) -> None:
        """Take in the next images, in the order of the data set."""
        similarity = self.queries_QD @ F.normalize(features_BD, dim=1).T
        index = torch.arange(self._seen, self._seen + len(features_BD), device=similarity.device)
        self._seen += len(features_BD)
        similarity = torch.cat([self.similarity, similarity], dim=1)
        index = torch.cat([self.index, index.expand(len(self.queries_QD), -1)], dim=1)
        self.similarity, kept = similarity.topk(min(self.k, similarity.shape[1]), dim=1)
        self.index = index.gather(1, kept)


class Geometry(NamedTuple):
    """What was found of some encoders on one split.

    Attributes:
        names: 'LABEL, layer I' of each set of features.
        ranks: The effective rank of each.
        cka: (sets, sets).
        points: By label, the last layer's features of some images, (P, D).
        labels: Their classes, (P,).
        neighbours: By label, indices of each query and its neighbours, (Q, 1 + k).
        images: N.
        small_weights: By label, the share of weights below 0.01 in absolute value, of the linear
            layers.
        attention_entropy: By label, that of the class token's attention to the patches in the last
            layer, in nats, mean over heads and images; log L at most.
    """

    names: list[str]
    ranks: list[float]
    cka: np.ndarray
    points: dict[str, np.ndarray]
    labels: np.ndarray
    neighbours: dict[str, np.ndarray]
    images: int
    small_weights: dict[str, float]
    attention_entropy: dict[str, float]


def small_weights(encoder: nn.Module) -> float:
    """Share of the weights of the linear layers that are below :data:`SMALL`."""
    linears = [m for m in encoder.layers.modules() if isinstance(m, nn.Linear)]
    below = sum(int((m.weight.abs() < SMALL).sum()) for m in linears)
    return below / sum(m.weight.numel() for m in linears)


@torch.no_grad()
def all_layers(encoder: nn.Module, images: Tensor, pool: str) -> tuple[list[Tensor], Tensor]:
    """Pooled tokens after every layer, (B, D) each, and the entropy of attention, (B,).

    The final norm is on the last layer's.
    """
    seen, attended = [], []
    handles = [
        layer.register_forward_hook(lambda module, args, out: seen.append(out))
        for layer in encoder.layers
    ]
    attn = encoder.layers[-1].attn
    handles.append(attn.register_forward_pre_hook(lambda module, args: attended.append(args[0])))
    try:
        tokens_BND = encoder.features(images)[-1]
    finally:
        for handle in handles:
            handle.remove()
    attention_BHL = class_attention(attn, attended[0])
    attention_BHL = attention_BHL / attention_BHL.sum(dim=-1, keepdim=True)
    entropy_B = torch.special.entr(attention_BHL).sum(dim=-1).mean(dim=1)
    return [pool_tokens(x, pool).float() for x in [*seen[:-1], tokens_BND]], entropy_B


def feature_geometry(
    data: Config,
    checkpoints: Mapping[str, str],
    *,
    points: int = 1000,
    queries: int = 6,
    neighbours: int = 7,
    seed: int = 0,
    folder: str | Path | None = None,
    budget: str | None = None,
) -> Geometry:
    """All of it, for any number of encoders, in two readings of the test split.

    Args:
        data (Config): A config of frozen features; ``test_dataloader`` is what is looked at, and
            ``test_cfg.pool`` how tokens are pooled (the mean without one).
        checkpoints (Mapping[str, str]): By label; 'scratch' is random weights.
        points (int): Evenly spaced images whose features are returned. Defaults to 1000.
        queries (int): Evenly spaced images whose neighbours are found. Defaults to 6.
        neighbours (int): Of each. Defaults to 7.
        seed (int): Of random weights. Defaults to 0.
        folder (str | Path, optional): Where a record of each encoder goes.
        budget (str, optional): In words, for the records.

    Raises:
        DataError: Fewer images than twice the width: CKA and the rank would be those of so many
            points, not of the features; or too few to show.
        ConfigError: A seed or a number of points that is none, an encoder that pools its tokens,
            layers so many and wide that their covariance has no place.
        CheckpointError: A checkpoint that does not fit.
    """
    check_seed(seed)
    if points < 1:
        raise ConfigError(f'points={points}: expected a whole number from 1.')
    if folder is not None:
        check_folder(folder)
    data = resolve(data, 'test_dataloader')
    check_tokens(data)
    pool = (data.get('test_cfg') or {}).get('pool', 'avg')
    check_pool(pool)
    encoders = {}
    for label, checkpoint in checkpoints.items():
        encoders[label], preprocessor = build_encoder(data, checkpoint, seed)
    width = next(iter(encoders.values())).embed_dims
    total = width * sum(encoder.num_layers for encoder in encoders.values())
    if total > WIDEST:
        raise ConfigError(
            f'{total} features of all layers of {len(encoders)} encoders: at most {WIDEST}; give '
            'fewer checkpoints.'
        )
    loader = build_loader(data.test_dataloader)
    N = len(loader.dataset)
    if 2 * width > N or queries + neighbours > N:
        raise DataError(
            f'{N} images are too few for features of width {width}: CKA and the effective rank '
            f'need {2 * width} or more, {queries} queries with {neighbours} neighbours '
            f'{queries + neighbours}.'
        )
    shown = np.linspace(0, N - 1, min(points, N)).round().astype(int)
    asked = np.linspace(0, N - 1, queries).round().astype(int)
    started = time.perf_counter()

    entropy = dict.fromkeys(encoders, 0.0)

    def read() -> Iterator[tuple[int, dict[str, list[Tensor]], list[int]]]:
        first = 0
        entropy.update(dict.fromkeys(encoders, 0.0))
        for batch in loader:
            batch = preprocessor(batch, False)
            found = {}
            for label, encoder in encoders.items():
                found[label], entropy_B = all_layers(encoder, batch['inputs'], pool)
                entropy[label] += float(entropy_B.sum()) / N
            classes = [int(sample.gt_label) for sample in batch['data_samples']]
            yield first, found, classes
            first += len(classes)

    moments, classes = Moments(), []
    kept = {label: [] for label in encoders}
    questions = {label: [] for label in encoders}
    for first, found, labels in read():
        features_BF = torch.cat([x for layers in found.values() for x in layers], dim=1)
        moments.update(features_BF, features_BF[:, :0])
        here, there = (
            torch.from_numpy(rows[(rows >= first) & (rows < first + len(labels))] - first)
            for rows in (shown, asked)
        )
        classes += [labels[i] for i in here]
        for label, layers in found.items():
            kept[label].append(layers[-1][here].cpu())
            questions[label].append(layers[-1][there])
    nearest = {
        label: Nearest(torch.cat(found), 1 + neighbours) for label, found in questions.items()
    }
    for _, found, _ in read():
        for label, layers in found.items():
            nearest[label].update(layers[-1])
    names = [
        f'{label}, layer {i}'
        for label, encoder in encoders.items()
        for i in range(encoder.num_layers)
    ]
    parts = [slice(i * width, (i + 1) * width) for i in range(len(names))]
    covariance_FF = moments.xx_DD / N
    geometry = Geometry(
        names,
        [effective_rank(covariance_FF[part, part]) for part in parts],
        np.array([[linear_cka(covariance_FF, a, b) for b in parts] for a in parts]),
        {label: torch.cat(found).numpy() for label, found in kept.items()},
        np.array(classes),
        {
            label: np.concatenate([asked[:, None], _without_self(asked, found)], axis=1)
            for label, found in nearest.items()
        },
        N,
        {label: small_weights(encoder) for label, encoder in encoders.items()},
        entropy,
    )
    if folder is not None:
        _write_records(geometry, data, checkpoints, pool, started, seed, folder, budget)
    return geometry


def _without_self(asked: Sequence[int], nearest: Nearest) -> np.ndarray:
    rows = nearest.index.cpu().numpy()
    return np.stack(
        [row[row != own][: rows.shape[1] - 1] for own, row in zip(asked, rows, strict=True)]
    )


def _write_records(geometry, data, checkpoints, pool, started, seed, folder, budget) -> None:
    for label, checkpoint in checkpoints.items():
        own = [i for i, name in enumerate(geometry.names) if name.startswith(f'{label}, layer ')]
        ranks = {f'effective_rank/layer {n}': geometry.ranks[i] for n, i in enumerate(own)}
        ranks['effective_rank'] = geometry.ranks[own[-1]]
        cka = {f'cka_to_last/layer {n}': geometry.cka[i, own[-1]] for n, i in enumerate(own)}
        more = dict(
            small_weights=metric(geometry.small_weights[label], 'fraction'),
            attention_entropy=metric(geometry.attention_entropy[label], 'nats'),
        )
        record = analysis_record(
            'features',
            data,
            checkpoint,
            started,
            protocol=dict(name=f'feature-geometry-{pool}', version='1'),
            dataset=describe_data(data, None, geometry.images),
            metrics={name: metric(value, '') for name, value in {**ranks, **cka}.items()} | more,
            seed=seed,
            budget=budget,
            notes='Effective rank (Roy and Vetterli 2007) of the covariance of pooled features, '
            'and linear CKA of each layer to the last. The time is that of all encoders together.',
            extra=dict(
                cka={
                    name: float(geometry.cka[own[-1], i])
                    for i, name in enumerate(geometry.names)
                    if i not in own
                }
            ),
        )
        write_record(record, folder)


def format_table(geometry: Geometry) -> str:
    """Effective rank of every layer, and its CKA to the last layer of every encoder."""
    labels = list(geometry.points)
    last = [
        max(i for i, name in enumerate(geometry.names) if name.startswith(f'{label}, layer '))
        for label in labels
    ]
    lines = [f'| Features | Effective rank | {" | ".join(f"CKA to {x}" for x in labels)} |']
    lines += ['|---|---:|' + '---:|' * len(labels)]
    for i, name in enumerate(geometry.names):
        cka = ' | '.join(f'{geometry.cka[i, j]:.3f}' for j in last)
        lines.append(f'| {name} | {geometry.ranks[i]:.1f} | {cka} |')
    return '\n'.join(lines)


def check_labels(names: Sequence[str], checkpoints: Sequence[str]) -> dict[str, str]:
    """Checkpoints by their names for people.

    Raises:
        ConfigError: Not one name for each, or a name or a checkpoint twice.
    """
    check_different(checkpoints)
    names = list(names) or [Path(c).stem for c in checkpoints]
    if len(names) != len(checkpoints) or len(set(names)) < len(names):
        raise ConfigError(
            f'--names {" ".join(names)}: expected {len(checkpoints)} different ones, one for each '
            'checkpoint.'
        )
    return dict(zip(names, checkpoints, strict=True))
