"""Features of a frozen encoder.

Shape legend: B images, L patches, D width.
"""

import numpy as np
import torch
from mmengine.dist import all_gather_object, collect_results, get_dist_info
from mmengine.model import is_model_wrapper
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mixae.errors import ConfigError, DataError

POOLS = ('avg', 'std', 'cls')


def pool_tokens(
    tokens_BND: Tensor, pool: str, prefix: int = 1, has_class_token: bool = True
) -> Tensor:
    """One feature for each image, (B, D): 'avg' or 'std' over the patch tokens, or the 'cls' token.

    Args:
        tokens_BND (Tensor): Prefix tokens (class token, registers), then one per patch.
        pool (str): As above.
        prefix (int): Number of prefix tokens. Defaults to 1.
        has_class_token (bool): Whether the first of them is one. Defaults to True.

    Raises:
        ConfigError: For another ``pool``, or 'cls' where there is no class token.
    """
    check_pool(pool)
    if pool == 'cls':
        if not (prefix and has_class_token):  # registers alone are none
            raise ConfigError("pool='cls': the encoder has no class token. Use pool='avg'.")
        return tokens_BND[:, 0]
    patches_BLD = tokens_BND[:, prefix:]
    return patches_BLD.mean(dim=1) if pool == 'avg' else patches_BLD.std(dim=1)


def check_pool(pool: str) -> None:
    """Raise ConfigError for a ``pool`` that :func:`pool_tokens` does not know."""
    if pool not in POOLS:
        raise ConfigError(f'pool={pool!r} is unknown: choose one of {", ".join(POOLS)}.')


def extract_features(
    model: nn.Module, dataloader: DataLoader, pool: str = 'avg', title: str = ''
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Features and labels of a data set, after the encoder's final norm.

    Args:
        model (nn.Module): A classifier of mmpretrain whose backbone is a :class:`MaskedViT` or
            :class:`TimmEncoder` with ``out_type='raw'``. Put into evaluation mode.
        dataloader (DataLoader): In distributed runs each process takes its share.
        pool (str): See :func:`pool_tokens`.
        title (str): Shown before the progress bar.

    Returns:
        tuple: Features (num_images, D) float32 and labels (num_images,) int64, in the order of
        the data set, on the main process; (None, None) on the others.

    Raises:
        DataError: An image without a label.
    """
    results = list(zip(*_extract(model, dataloader, pool, title), strict=True))
    results = collect_results(results, len(dataloader.dataset), device='cpu')
    if results is None:
        return None, None
    features, labels = zip(*results, strict=True)
    return np.stack(features), np.array(labels)


def extract_share(
    model: nn.Module, dataloader: DataLoader, pool: str = 'avg', title: str = ''
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`extract_features`, but on every process its own share, no image in two of them.

    Of several processes number r has the images r, r + processes, ... of the data set, as
    mmengine's ``DefaultSampler`` without shuffling deals them.
    """
    features, labels = _extract(model, dataloader, pool, title)
    rank, world_size = get_dist_info()
    # The sampler repeats images where they cannot be dealt evenly.
    own = len(range(rank, len(dataloader.dataset), world_size))
    return features[:own], labels[:own]


def gather_shares(share: np.ndarray) -> np.ndarray:
    """What :func:`extract_share` dealt, whole and in order, on every process."""
    shares = all_gather_object(share)
    whole = np.empty((sum(map(len, shares)), *share.shape[1:]), share.dtype)
    for rank, part in enumerate(shares):
        whole[rank :: len(shares)] = part
    return whole


@torch.no_grad()
def _extract(
    model: nn.Module, dataloader: DataLoader, pool: str, title: str
) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of the images that this process's loader gives, in its order."""
    model = model.module if is_model_wrapper(model) else model
    model.eval()
    features, labels = [], []
    bar = ProgressBar(len(dataloader), start=False)
    print(title, end=' ', flush=True) if title else None
    bar.start()
    for batch in dataloader:
        batch = model.data_preprocessor(batch, False)
        tokens_BND = model.backbone.features(batch['inputs'])[-1]
        encoder = model.backbone
        has_class_token = getattr(encoder, 'has_class_token', True)
        features_BD = pool_tokens(tokens_BND, pool, encoder.num_extra_tokens, has_class_token)
        if not all('gt_label' in sample for sample in batch['data_samples']):
            raise DataError(
                f'{title or "features"}: an image has no label. A probe needs one for each: set '
                'with_label=True of the data set, with one folder per class.'
            )
        labels += [int(sample.gt_label) for sample in batch['data_samples']]
        features.append(features_BD.float().cpu().numpy())
        bar.update()
    print()
    return np.concatenate(features), np.array(labels)
