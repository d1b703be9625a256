"""Linear separability of i-MAE's features (Sec. 3.2 and Table 4).

How far the features that the disentanglement makes of the subordinate image are from the features
that a vanilla MAE makes of that image alone: as they are ('Fore'), and after a linear regressor
with an l1 penalty that was fitted on the training split ('Aft').

Shape legend: 2B images are B mixtures, L patches, V visible patches, N = B*V patch tokens, D
encoder width, K outputs (the teacher's width).
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import torch
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mixae.errors import ConfigError
from mixae.evaluation.separability.lasso import Moments, RegressionScores, fit_lasso
from mixae.evaluation.separability.protocol import Protocol
from mixae.models.layers.masking import count_visible, draw_visible
from mixae.models.layers.mixture import mix_pairs
from mixae.models.selfsup.imae import IMAE


def linear_separability(
    models: Mapping[str, nn.Module],
    teacher: nn.Module,
    preprocessor: nn.Module,
    fit_loader: DataLoader,
    test_loader: DataLoader,
    protocol: Protocol,
) -> dict[str, dict]:
    """Table 4 for any number of models, each split read once.

    Args:
        models (Mapping[str, nn.Module]): Rows by name: an :class:`IMAE`, or a
            :class:`MaskedViT`, whose encoding of the mixture itself is compared (the baseline).
        teacher (nn.Module): The vanilla MAE's encoder (a :class:`MaskedViT`): its features of the
            clean subordinate image under the same mask are the targets.
        preprocessor (nn.Module): Turns a batch of the loaders into ``inputs``.
        fit_loader (DataLoader): Pairs of the training split, as :class:`PairSampler` yields them.
        test_loader (DataLoader): Pairs of the held-out split.
        protocol (Protocol): The options.

    Returns:
        dict: For each row ``fore`` and ``aft``, each with ``nrmse``, ``r2`` and ``cosine``, and
        ``unconverged``, the outputs whose lasso stopped early.
    """
    if not count_visible(teacher.num_patches, protocol.mask_ratio):
        raise ConfigError(
            f'mask_ratio={protocol.mask_ratio}: none of the {teacher.num_patches} patches of an '
            'image is visible, and visible ones are compared.'
        )
    for model in (*models.values(), teacher):
        model.eval()
    features = partial(_features, models, teacher, preprocessor, protocol)
    moments = {name: Moments() for name in models}
    fitted_pairs = math.ceil(protocol.fit_part * len(fit_loader.dataset))
    for of_models, target_NK in features(fit_loader, fitted_pairs, 'training'):
        for name, x_ND in of_models.items():
            moments[name].update(x_ND, target_NK)
    regressors = {name: fit_lasso(m, protocol.alpha) for name, m in moments.items()}
    fore, aft = ({name: RegressionScores(protocol.normalizer) for name in models} for _ in range(2))
    all_pairs = len(test_loader.sampler) // 2
    for of_models, target_NK in features(test_loader, all_pairs, 'held-out'):
        for name, x_ND in of_models.items():
            fore[name].update(x_ND, target_NK)
            aft[name].update(regressors[name](x_ND), target_NK)
    return {
        name: dict(
            fore=fore[name].compute(),
            aft=aft[name].compute(),
            unconverged=regressors[name].unconverged,
        )
        for name in models
    }


@torch.no_grad()
def _features(
    models: Mapping[str, nn.Module],
    teacher: nn.Module,
    preprocessor: nn.Module,
    protocol: Protocol,
    loader: DataLoader,
    pairs: int,
    split: str,
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Features of the subordinate image from each model, and the teacher's, as (N, D) rows."""
    # On the CPU whatever the device, so that masks and weights are the same everywhere.
    generator = torch.Generator().manual_seed(protocol.seed)
    print(f'{split} features', end=' ', flush=True)
    bar = ProgressBar(pairs)
    for batch in loader:
        inputs = preprocessor(batch, False)['inputs'][: 2 * pairs]
        # The partner is I_1: with a constant share the anchor, every image once, is subordinate.
        inputs = inputs.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        B = len(inputs) // 2
        weights_B = _draw_weights(protocol, B, generator)
        ids_BV = draw_visible(B, teacher.num_patches, protocol.mask_ratio, generator=generator)
        ids_BV = ids_BV.to(inputs.device)
        mixture = mix_pairs(inputs, weights_B.to(inputs.device))
        target_BVK = teacher(mixture.sources['subordinate'], ids_visible=ids_BV)[0][:, 1:]
        features = {
            name: _subordinate_tokens(model, mixture.images, ids_BV).flatten(0, 1)
            for name, model in models.items()
        }
        yield features, target_BVK.flatten(0, 1)
        bar.update(B)
        pairs -= B
        if pairs <= 0:
            break
    print()


def _draw_weights(protocol: Protocol, count: int, generator: torch.Generator) -> Tensor:
    weight = protocol.weight()
    if weight.beta is None:
        return weight.draw(count)
    # torch's Beta takes no generator; NumPy's is seeded from ours.
    seed = int(torch.randint(2**31, (1,), generator=generator))
    drawn = np.random.default_rng(seed).beta(weight.beta, weight.beta, count)
    return torch.from_numpy(drawn).float()


def _subordinate_tokens(model: nn.Module, images: Tensor, ids_visible_BV: Tensor) -> Tensor:
    if isinstance(model, IMAE):
        return model.encode(images, ids_visible_BV)['subordinate'][:, 1:]
    return model(images, ids_visible=ids_visible_BV)[0][:, 1:]
