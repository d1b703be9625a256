"""Weight distributions and attention maps of encoders (Fig. 5 of the i-MAE paper).

Shape legend: B images, N = L + 1 tokens (class token first), D width.
"""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from mixae.models.layers.homologous_attention import class_attention
from mixae.visualization.pixels import for_matplotlib


def weights_and_attention(
    models: Mapping[str, nn.Module], pictures: Tensor, images: Tensor
) -> Figure:
    """The encoders' weight distributions, and where their class tokens look in the last layer.

    Args:
        models (Mapping[str, nn.Module]): Encoders (:class:`MaskedViT`) by label.
        pictures (Tensor): A few images, one row each, (B, 3, H, W) in [0, 1].
        images (Tensor): The same as the encoders take them, whole (nothing is masked).
    """
    rows, columns = len(images), 1 + len(models)
    size = (5.2 + 1.7 * columns, max(3.6, 1.55 * rows + 0.9))
    figure = Figure(figsize=size, layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=(5.0, 1.7 * columns))
    _draw_weights(left.subplots(), models)
    axes = right.subplots(rows, columns, squeeze=False)
    for axis, picture in zip(axes[:, 0], pictures, strict=True):
        axis.imshow(for_matplotlib(picture))
    for j, model in enumerate(models.values(), start=1):
        for axis, attention in zip(axes[:, j], attention_maps(model, images), strict=True):
            axis.imshow(attention, cmap='viridis', vmin=0)
    for axis, label in zip(axes[0], ('original', *models), strict=True):
        axis.set_title(label, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    right.suptitle(
        "Class token's attention to the patches\n(last layer, mean over heads, own scale each)",
        fontsize=10,
    )
    return figure


def _draw_weights(axis, models: Mapping[str, nn.Module]) -> None:
    weights = {label: matrix_weights(model) for label, model in models.items()}
    limit = max(np.quantile(np.abs(w), 0.9995) for w in weights.values())
    for label, w in weights.items():
        small = 100 * (np.abs(w) < 0.01).mean()
        axis.hist(
            w,
            bins=np.linspace(-limit, limit, 201),
            density=True,
            histtype='step',
            linewidth=1.4,
            label=f'{label}: std {w.std():.3f}, {small:.0f} % below 0.01',
        )
    axis.set(yscale='log', xlabel="weight (matrices of the encoder's layers)", ylabel='density')
    axis.set_title('Weight distribution', fontsize=10)
    axis.legend(fontsize=8, loc='lower center')  # below the curves


def matrix_weights(encoder: nn.Module) -> np.ndarray:
    """All weights of the linear layers inside an encoder's transformer layers, flat."""
    linears = (m for m in encoder.layers.modules() if isinstance(m, nn.Linear))
    return torch.cat([m.weight.detach().flatten() for m in linears]).float().cpu().numpy()


@torch.no_grad()
def attention_maps(encoder: nn.Module, images: Tensor) -> np.ndarray:
    """Attention of the class token to every patch in the last layer, (B, rows, columns).

    The mean over heads. The class token's attention to itself is left out, so a map sums to less
    than 1.
    """
    maps = {}

    def attend(attn: nn.Module, x_BND: Tensor, layer: int) -> Tensor:
        if layer == encoder.num_layers - 1:
            maps[layer] = class_attention(attn, x_BND).mean(dim=1)
        return attn(x_BND)

    everything = torch.arange(encoder.num_patches, device=images.device).expand(len(images), -1)
    encoder.encode(encoder.embed_visible(images, everything), attend)
    (last,) = maps.values()
    return last.unflatten(1, encoder.patch_resolution).float().cpu().numpy()
