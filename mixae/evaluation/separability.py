"""Linear separability of i-MAE's features (Sec. 3.2 and Table 4).

How far the features that the disentanglement makes of the subordinate image are from the features
that a vanilla MAE makes of that image alone: as they are ('Fore'), and after a linear regressor
with an l1 penalty that was fitted on the training split ('Aft').

Shape legend: 2B images are B mixtures, L patches, V visible patches, N = B*V patch tokens, D
encoder width, K outputs (the teacher's width).
"""

import copy
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from mmpretrain.models import MAE
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mixae.checkpoints.account import read_origin
from mixae.checkpoints.load import load_encoder
from mixae.checkpoints.read import read_checkpoint
from mixae.derive.resolve import resolve
from mixae.engine.hooks.provenance import describe_backbone, peak_memory_bytes
from mixae.errors import CheckpointError, ConfigError, NotFiniteError
from mixae.files import file_sha256
from mixae.models.selfsup.imae import IMAE, check_mix, mix_pairs
from mixae.registry import MODELS
from mixae.results.record import describe_config, metric, new_record, write_record

NORMALIZERS = ('rms', 'range', 'std', 'mean')
R2_AVERAGES = ('uniform_average', 'variance_weighted')
BASELINE = 'MAE (baseline)'
WITHOUT_DISTILLATION = 'i-MAE w/o distillation'
I_MAE = 'i-MAE'


class Moments:
    """Centred X'X and X'y of any number of batches, in float64 and constant memory.

    Batches are merged by their means (Chan et al. 1979), so that a mean far from zero costs no
    digits.
    """

    def __init__(self) -> None:
        self.count = 0

    def update(self, x_ND: Tensor, y_NK: Tensor) -> None:
        """Take in a batch of rows."""
        x_ND, y_NK = x_ND.double(), y_NK.double()
        rows = len(x_ND)
        mean_x_D, mean_y_K = x_ND.mean(dim=0), y_NK.mean(dim=0)
        x_ND, y_NK = x_ND - mean_x_D, y_NK - mean_y_K
        xx_DD, xy_DK = x_ND.T @ x_ND, x_ND.T @ y_NK
        if self.count == 0:
            self.mean_x_D, self.mean_y_K, self.xx_DD, self.xy_DK = mean_x_D, mean_y_K, xx_DD, xy_DK
        else:
            total = self.count + rows
            delta_x_D, delta_y_K = mean_x_D - self.mean_x_D, mean_y_K - self.mean_y_K
            between = self.count * rows / total
            self.xx_DD += xx_DD + between * torch.outer(delta_x_D, delta_x_D)
            self.xy_DK += xy_DK + between * torch.outer(delta_x_D, delta_y_K)
            self.mean_x_D += delta_x_D * rows / total
            self.mean_y_K += delta_y_K * rows / total
        self.count += rows


@dataclass
class LinearRegressor:
    """y = x W + b in float64.

    Attributes:
        weight_DK: W.
        bias_K: b.
        unconverged (int): Outputs whose coordinate descent stopped at its iteration limit.
    """

    weight_DK: Tensor
    bias_K: Tensor
    unconverged: int = 0

    def __call__(self, x_ND: Tensor) -> Tensor:
        return x_ND.double() @ self.weight_DK + self.bias_K


def fit_lasso(
    moments: Moments, alpha: float, max_iter: int = 5000, tol: float = 1e-4
) -> LinearRegressor:
    """scikit-learn's ``Lasso(alpha)`` with an intercept, exactly, from the moments alone.

    With X'X = R'R and R'z = X'y, |y - Xw|^2 = |z - Rw|^2 + a constant, and scikit-learn divides
    the squares by the number of rows: so ``Lasso(alpha * n / d, fit_intercept=False)`` on the d
    rows of (R, z) has the solution of the n rows of (X, y). R comes from the eigenvectors of X'X,
    since features after a LayerNorm lie in a hyperplane and Cholesky's factor does not exist.

    Args:
        moments (Moments): Of the training features and targets.
        alpha (float): The l1 strength, as scikit-learn counts it, not negative.
        max_iter (int): Of the coordinate descent. Defaults to 5000.
        tol (float): Of the coordinate descent, scikit-learn's. Defaults to 1e-4.

    Raises:
        ValueError: No rows, or a negative alpha.
        NotFiniteError: Features that are not finite.
    """
    if moments.count == 0:
        raise ValueError('There is no training feature to fit the regressor on.')
    if not alpha >= 0:
        raise ValueError(f'alpha={alpha} of the lasso must not be negative.')
    if not (moments.xx_DD.isfinite().all() and moments.xy_DK.isfinite().all()):
        raise NotFiniteError('The training features are not finite: a checkpoint is broken.')
    d = len(moments.xx_DD)
    values_D, vectors_DD = torch.linalg.eigh(moments.xx_DD)
    kept_D = values_D > values_D[-1].clamp(min=0) * d * torch.finfo(torch.float64).eps
    scale_D = values_D.clamp(min=0).sqrt() * kept_D
    inverse_D = torch.where(kept_D, 1 / scale_D, 0.0)
    R_DD = scale_D[:, None] * vectors_DD.T
    z_DK = inverse_D[:, None] * (vectors_DD.T @ moments.xy_DK)
    lasso = Lasso(alpha * moments.count / d, fit_intercept=False, max_iter=max_iter, tol=tol)
    with warnings.catch_warnings():
        # Counted in `unconverged` instead of one warning for each of the K outputs.
        warnings.simplefilter('ignore', ConvergenceWarning)
        warnings.filterwarnings('ignore', message='.*alpha=0.*')
        lasso.fit(R_DD.cpu().numpy(), z_DK.cpu().numpy())
    weight_DK = torch.from_numpy(np.atleast_2d(lasso.coef_).T.copy()).to(moments.mean_x_D)
    bias_K = moments.mean_y_K - moments.mean_x_D @ weight_DK
    return LinearRegressor(weight_DK, bias_K, int((np.asarray(lasso.n_iter_) >= max_iter).sum()))


class RegressionScores:
    """NRMSE, R^2 and cosine of predictions against targets, batch by batch.

    Args:
        normalizer (str): What the root mean square error is divided by: the 'rms', 'range', 'std'
            or absolute 'mean' of all target values. The paper does not say; 'rms' is the one that
            fits its Table 4 **(ours)**. Defaults to 'rms'.
        r2_average (str): Over the K outputs, as scikit-learn names it: 'uniform_average' or
            'variance_weighted' **(ours: the paper does not say)**. Defaults to
            'uniform_average'.

    Raises:
        ValueError: An unknown option.
    """

    def __init__(self, normalizer: str = 'rms', r2_average: str = 'uniform_average') -> None:
        if normalizer not in NORMALIZERS:
            raise ValueError(f'normalizer={normalizer!r}: choose one of {", ".join(NORMALIZERS)}.')
        if r2_average not in R2_AVERAGES:
            raise ValueError(f'r2_average={r2_average!r}: choose one of {", ".join(R2_AVERAGES)}.')
        self.normalizer, self.r2_average = normalizer, r2_average
        self.count = 0

    def update(self, prediction_NK: Tensor, target_NK: Tensor) -> None:
        """Take in a batch of rows, each the features of one patch."""
        prediction_NK, target_NK = prediction_NK.double(), target_NK.double()
        rows = len(target_NK)
        error_K = (prediction_NK - target_NK).square().sum(dim=0)
        cosine = F.cosine_similarity(prediction_NK, target_NK, dim=1, eps=1e-300).sum()
        mean_K = target_NK.mean(dim=0)
        spread_K = (target_NK - mean_K).square().sum(dim=0)
        low, high = target_NK.min(), target_NK.max()
        if self.count == 0:
            self.error_K, self.cosine, self.mean_K, self.spread_K = (
                error_K,
                cosine,
                mean_K,
                spread_K,
            )
            self.low, self.high = low, high
        else:
            total = self.count + rows
            delta_K = mean_K - self.mean_K
            self.spread_K += spread_K + delta_K.square() * (self.count * rows / total)
            self.mean_K += delta_K * rows / total
            self.error_K += error_K
            self.cosine += cosine
            self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        self.count += rows

    def compute(self) -> dict[str, float]:
        """``nrmse``, ``r2`` and ``cosine`` (the mean over patches) of all rows so far."""
        rmse = (self.error_K.mean() / self.count).sqrt()
        mean = self.mean_K.mean()
        mean_square = (self.spread_K / self.count + self.mean_K.square()).mean()
        norm = dict(
            rms=mean_square.sqrt(),
            range=self.high - self.low,
            std=(mean_square - mean.square()).clamp(min=0).sqrt(),
            mean=mean.abs(),
        )[self.normalizer]
        # A constant output has no variance to explain: as scikit-learn, 1 if exact, else 0.
        constant_K = self.spread_K == 0
        r2_K = torch.where(
            constant_K, (self.error_K == 0).double(), 1 - self.error_K / self.spread_K
        )
        weight_K = self.spread_K if self.r2_average == 'variance_weighted' else None
        if weight_K is None or constant_K.all():
            weight_K = torch.ones_like(r2_K)
        r2 = (r2_K * weight_K).sum() / weight_K.sum()
        return dict(nrmse=float(rmse / norm), r2=float(r2), cosine=float(self.cosine / self.count))


@dataclass(frozen=True)
class Protocol:
    """How Table 4 is measured; the paper leaves all of it open but the lasso **(ours)**.

    Attributes:
        alpha (float): The lasso's strength, as scikit-learn counts it.
        fit_part (float): Share of the training split that the regressor is fitted on, in (0, 1].
        subordinate (float): A constant share of the subordinate image, in [0, 0.5]: every image
            is the subordinate one once. The paper finds its separation best near 0.3.
        beta (float, optional): Draw the weights from Beta(b, b) instead.
        mask_ratio (float): Share of masked patches, in [0, 1); only visible ones are compared.
        same_class_ratio (float, optional): How pairs are drawn; None is uniform.
        normalizer (str): See :class:`RegressionScores`.
        r2_average (str): See :class:`RegressionScores`.
        seed (int): Of pairs, masks and drawn weights: every row sees the same.
    """

    alpha: float = 1e-3
    fit_part: float = 1.0
    subordinate: float = 0.3
    beta: float | None = None
    mask_ratio: float = 0.75
    same_class_ratio: float | None = None
    normalizer: str = 'rms'
    r2_average: str = 'uniform_average'
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fit_part <= 1:
            raise ConfigError(f'fit_part={self.fit_part} is outside (0, 1].')
        if not 0 <= self.mask_ratio < 1:
            raise ConfigError(f'mask_ratio={self.mask_ratio} is outside [0, 1).')
        if not self.alpha >= 0:
            raise ConfigError(f'alpha={self.alpha} of the lasso must not be negative.')
        try:
            RegressionScores(self.normalizer, self.r2_average)
            check_mix(self.mix)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    @property
    def mix(self) -> dict:
        """The factor, as the option ``mix`` of :class:`IMAE`."""
        if self.beta is None:
            return dict(subordinate=self.subordinate)
        return dict(beta=self.beta)

    def __str__(self) -> str:
        factor = (
            f"a constant subordinate's share {self.subordinate}"
            if self.beta is None
            else f'weights from Beta({self.beta}, {self.beta})'
        )
        pairs = (
            'pairs uniform over the other images of the split'
            if self.same_class_ratio is None
            else f'a share {self.same_class_ratio} of same-class pairs'
        )
        return (
            f'Visible patches of the subordinate image, mask ratio {self.mask_ratio}, {factor}, '
            f'{pairs}; lasso alpha {self.alpha} fitted on a share {self.fit_part} of the training '
            f'split; NRMSE over the {self.normalizer} of the targets, R^2 averaged over outputs '
            f'({self.r2_average}), cosine averaged over patches; seed {self.seed}'
        )


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
    for model in (*models.values(), teacher):
        model.eval()
    anchors = math.ceil(protocol.fit_part * len(fit_loader.dataset))
    moments = {name: Moments() for name in models}
    for features, target_NK in _features(
        models, teacher, preprocessor, fit_loader, protocol, 'training', anchors
    ):
        for name, x_ND in features.items():
            moments[name].update(x_ND, target_NK)
    regressors = {name: fit_lasso(m, protocol.alpha) for name, m in moments.items()}
    scores = {
        name: {
            when: RegressionScores(protocol.normalizer, protocol.r2_average)
            for when in ('fore', 'aft')
        }
        for name in models
    }
    for features, target_NK in _features(
        models, teacher, preprocessor, test_loader, protocol, 'held-out'
    ):
        for name, x_ND in features.items():
            scores[name]['fore'].update(x_ND, target_NK)
            scores[name]['aft'].update(regressors[name](x_ND), target_NK)
    return {
        name: {
            **{when: score.compute() for when, score in by_when.items()},
            'unconverged': regressors[name].unconverged,
        }
        for name, by_when in scores.items()
    }


@torch.no_grad()
def _features(
    models: Mapping[str, nn.Module],
    teacher: nn.Module,
    preprocessor: nn.Module,
    loader: DataLoader,
    protocol: Protocol,
    split: str,
    max_pairs: int | None = None,
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Features of the subordinate image from each model, and the teacher's, as (N, D) rows."""
    # On the CPU whatever the device, so that masks and weights are the same everywhere.
    generator = torch.Generator().manual_seed(protocol.seed)
    beta, weight = check_mix(protocol.mix)
    L = teacher.num_patches
    visible = int(L * (1 - protocol.mask_ratio))
    pairs = len(loader.sampler) // 2 if max_pairs is None else max_pairs
    print(f'{split} features', end=' ', flush=True)
    bar = ProgressBar(pairs)
    for batch in loader:
        inputs = preprocessor(batch, False)['inputs'][: 2 * pairs]
        # The partner is I_1: with a constant share the anchor, every image once, is subordinate.
        inputs = inputs.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        B = len(inputs) // 2
        weights_B = _draw_beta(beta, B, generator) if beta else torch.full((B,), weight)
        ids_BV = torch.rand(B, L, generator=generator).argsort(dim=1)[:, :visible]
        ids_BV = ids_BV.to(inputs.device)
        mixture = mix_pairs(inputs, weights_B.to(inputs.device))
        target_BVK = teacher(mixture.sources['subordinate'], ids_BV)[0][:, 1:]
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


def _draw_beta(beta: float, size: int, generator: torch.Generator) -> Tensor:
    # torch's Beta takes no generator; NumPy's is seeded from ours.
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(beta, beta, size)).float()


def _subordinate_tokens(model: nn.Module, images: Tensor, ids_visible_BV: Tensor) -> Tensor:
    if isinstance(model, IMAE):
        return model.encode(images, ids_visible_BV)['subordinate'][:, 1:]
    return model(images, ids_visible_BV)[0][:, 1:]


def table_4(
    config: Config,
    checkpoints: str | Sequence[str],
    teacher: str,
    data: Config,
    protocol: Protocol,
    *,
    without_distillation: str | None = None,
    baseline: str | None = None,
    folder: str | Path | None = None,
    budget: str | None = None,
    batch_size: int = 256,
    device: str | None = None,
) -> dict[str, dict]:
    """Table 4's rows for i-MAEs, their ablation and the baseline, and a run record of each.

    Args:
        config (Config): An i-MAE's pre-training config; the rows share its architecture.
        checkpoints (str | Sequence[str]): The i-MAE, or several; see :func:`name_rows`.
        teacher (str): The checkpoint of their teacher, whose features are the targets.
        data (Config): A config of a frozen-feature protocol (configs/transfer, kNN or linear):
            its ``train_features`` and ``test_dataloader`` are the two splits, its model's
            preprocessor normalises them.
        protocol (Protocol): The options.
        without_distillation (str, optional): Checkpoint of an i-MAE trained without distillation.
        baseline (str, optional): Checkpoint of a model without the disentanglement module; the
            teacher itself where None.
        folder (str | Path, optional): Where the records go; None writes none.
        budget (str, optional): What was spent on the rows, in words, for the records.
        batch_size (int): Images a step, 2 a mixture. Defaults to 256.
        device (str, optional): Defaults to the GPU where there is one.

    Returns:
        dict: As :func:`linear_separability`.

    Raises:
        CheckpointError: A checkpoint that does not fit, an i-MAE that was distilled from another
            teacher, or one that was distilled in the row without distillation.
        ConfigError: An odd batch size, or a data config without the two splits.
    """
    checkpoints = [checkpoints] if isinstance(checkpoints, str) else list(checkpoints)
    if batch_size < 2 or batch_size % 2:
        raise ConfigError(f'batch_size={batch_size} must be even: 2 images make a mixture.')
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    data = data.copy()
    data.pretrained = 'scratch'  # the encoder of the data config is not used
    config, data = resolve(config)[0], resolve(data)[0]
    for name in ('train_features', 'test_dataloader'):
        if not data.get(name):
            raise ConfigError(
                f'The data config {data.filename} has no {name}: give the config of a kNN or '
                'linear probe on frozen features.'
            )
    backbone = config.model.backbone
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        models = {BASELINE: load_mae_encoder(backbone, baseline or teacher)}
        sources = {BASELINE: baseline or teacher}
        if without_distillation is not None:
            sources[WITHOUT_DISTILLATION] = without_distillation
        sources |= name_rows(checkpoints)
        for name in list(sources)[1:]:
            _check_teacher(name, sources[name], teacher)
        for name in list(sources)[1:]:
            models[name] = load_imae(config.model, sources[name])
        preprocessor = MODELS.build(data.model.data_preprocessor)
        teacher_encoder = load_mae_encoder(backbone, teacher)
        fit_loader, test_loader = (
            _pair_loader(data[name], protocol, batch_size)
            for name in ('train_features', 'test_dataloader')
        )
    started = time.perf_counter()
    results = linear_separability(
        {name: model.to(device) for name, model in models.items()},
        teacher_encoder.to(device),
        preprocessor.to(device),
        fit_loader,
        test_loader,
        protocol,
    )
    if folder is not None:
        seconds = time.perf_counter() - started
        target = f'{Path(teacher).name}, SHA-256 {file_sha256(teacher)}'
        for name, row in results.items():
            what = _describe_row(name, sources[name], row, protocol, seconds)
            what['notes'] += f' Targets: the features of {target}.'
            record = new_record(
                **what,
                task='separability',
                backbone=describe_backbone(config.model.backbone),
                dataset=dict(
                    name=data.data_about.name,
                    description=data.data_about.get('description'),
                    split=data.data_about.get('split', 'test'),
                    n_train=math.ceil(protocol.fit_part * len(fit_loader.dataset)),
                    n_test=len(test_loader.dataset),
                ),
                config=describe_config(config),
                budget=budget,
            )
            write_record(record, folder)
    return results


def _check_teacher(name: str, checkpoint: str, teacher: str) -> None:
    """The targets are the features of the model that the row was distilled from, if any."""
    saved = read_checkpoint(checkpoint)['state_dict'].get('teacher_sha256')
    if saved is None:
        return
    if name == WITHOUT_DISTILLATION:
        raise CheckpointError(
            f'{checkpoint} was distilled from a teacher: it is no i-MAE without distillation.'
        )
    saved, given = bytes(saved.tolist()).hex(), file_sha256(teacher)
    if saved != given:
        raise CheckpointError(
            f'{checkpoint} was distilled from the teacher with SHA-256 {saved[:12]}..., but '
            f'{teacher} is {given[:12]}...: give its own teacher, whose features are the targets.'
        )


def name_rows(checkpoints: Sequence[str]) -> dict[str, str]:
    """A name for each i-MAE of a table: one is 'i-MAE', several say in which settings they differ.

    Args:
        checkpoints (Sequence[str]): What pre-training saved, with its variant.

    Raises:
        ConfigError: No checkpoint, or two that do not tell themselves apart.
    """
    if len(checkpoints) < 2:
        names = [I_MAE] * len(checkpoints)
    else:
        variants = [read_origin(checkpoint)['variant'] for checkpoint in checkpoints]
        differing = [
            key
            for key in dict.fromkeys(key for variant in variants for key in variant)
            if any(variant.get(key) != variants[0].get(key) for variant in variants)
        ]
        names = [
            ', '.join([I_MAE, *(f'{key}={variant.get(key)}' for key in differing)])
            for variant in variants
        ]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f'The i-MAE checkpoints {list(checkpoints)} are named {names}: give at least one, and '
            'of several only such as were trained with different settings (seeds are repeats: one '
            'call each).'
        )
    return dict(zip(names, checkpoints, strict=True))


def _pair_loader(dataloader: dict, protocol: Protocol, batch_size: int) -> DataLoader:
    """A dataloader of a config over pairs instead of single images."""
    dataloader = copy.deepcopy(dataloader)
    dataloader.pop('batch_sampler', None)
    dataloader.batch_size = batch_size
    dataloader.drop_last = False
    dataloader.sampler = dict(type='mixae.PairSampler', same_class_ratio=protocol.same_class_ratio)
    return Runner.build_dataloader(dataloader, seed=protocol.seed)


def _describe_row(
    name: str, checkpoint: str, row: dict, protocol: Protocol, seconds: float
) -> dict:
    """The fields of a run record that tell the rows of a table apart, and the protocol's."""
    origin = read_origin(checkpoint)
    defaults = asdict(Protocol())
    changed = {k: v for k, v in asdict(protocol).items() if v != defaults[k]}
    changed.pop('seed', None)
    method, variant = origin['method'], origin['variant']
    if method == 'unknown':  # saved elsewhere: the row's name says what it is
        method, variant = ('mae', {}) if name == BASELINE else ('imae', dict(row=name))
    return dict(
        protocol=dict(
            name='lasso-separability',
            version='; '.join(['1', *(f'{k}={v}' for k, v in changed.items())]),
        ),
        method=method,
        variant=variant,
        metrics={
            f'{when}/{key}': metric(value, '', key != 'nrmse')
            for when in ('fore', 'aft')
            for key, value in row[when].items()
        },
        seed=protocol.seed,
        pretraining=origin['pretraining'],
        cost=dict(seconds=seconds, peak_memory_bytes=peak_memory_bytes()),
        notes=f'{protocol}. The time is that of all rows together.',
    )


def load_imae(config: dict, checkpoint: str) -> IMAE:
    """A trained i-MAE for evaluation: its teacher is not loaded.

    Args:
        config (dict): The ``model`` part of its pre-training config, resolved.
        checkpoint (str): What pre-training saved.

    Raises:
        CheckpointError: A checkpoint that does not fit the config, or one without disentanglement
            layers where the config has them.
    """
    model = MODELS.build({**config, 'distill': None, 'teacher': None})
    return _load_parts(model, ('disentangle', 'neck'), checkpoint)


def load_mae(config: dict, checkpoint: str) -> MAE:
    """An MAE, encoder and decoder, of the architecture of an i-MAE's ``model``; as above."""
    parts = ('data_preprocessor', 'backbone', 'neck', 'head')
    model = MODELS.build(
        dict(type='mmpretrain.MAE', **{part: config[part] for part in parts if part in config})
    )
    return _load_parts(model, ('neck',), checkpoint)


def _load_parts(model: nn.Module, names: tuple[str, ...], checkpoint: str) -> nn.Module:
    """Load the encoder and the named modules, each strictly."""
    load_encoder(model.backbone, checkpoint, allow=())
    weights = {
        key.removeprefix('module.'): value
        for key, value in read_checkpoint(checkpoint)['state_dict'].items()
    }
    for name in names:
        module, prefix = getattr(model, name), f'{name}.'
        if module is None:
            continue
        state = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(
                f'{checkpoint} does not fit the {name} of its config; is it the checkpoint of '
                f'that {type(model).__name__}? {error}'
            ) from None
    return model.eval()


def load_mae_encoder(backbone: dict, checkpoint: str) -> nn.Module:
    """The encoder of any pre-training checkpoint, frozen; errors as :func:`load_encoder`."""
    encoder = MODELS.build({**backbone, 'init_cfg': None, 'frozen': True})
    load_encoder(encoder, checkpoint, allow=())
    return encoder


def format_table(results: Mapping[str, dict], protocol: Protocol) -> str:
    """The results as Table 4 lays them out, in Markdown, with the protocol below."""
    lines = ['| Score | Method | Fore | Aft |', '|---|---|---:|---:|']
    for key, title in (('nrmse', 'NRMSE ↓'), ('r2', 'R² ↑'), ('cosine', 'Cos ↑')):
        lines += [
            f'| {title} | {name} | {row["fore"][key]:.3f} | {row["aft"][key]:.3f} |'
            for name, row in results.items()
        ]
    lines += ['', f'{protocol}.']
    lines += [
        f'{name}: the lasso of {row["unconverged"]} outputs stopped at its iteration limit.'
        for name, row in results.items()
        if row['unconverged']
    ]
    return '\n'.join(lines)
