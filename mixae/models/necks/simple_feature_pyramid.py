"""The pyramid of ViTDet: every level from the last feature map of a plain ViT.

Shape legend: B images, D the encoder's width, C the pyramid's channels, h x w the encoder's grid.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mixae.registry import MODELS


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """The simple feature pyramid of "Exploring Plain Vision Transformer Backbones for Object
    Detection" (Li et al. 2022, Sec. 3 and App. A.2); neither mmdet nor mmseg has one.

    The map at stride 16 becomes strides 4, 8, 16 and 32 by transposed convolutions, nothing and max
    pooling; each level then takes a 1x1 and a 3x3 convolution, both normalised, without top-down
    connections. Further levels subsample the last, as mmdet's FPN does.

    Args:
        in_channels (int): D.
        out_channels (int): C. Defaults to 256.
        scales (Sequence[float]): Of each level's side to the encoder's: 4, 2, 1 or 0.5. Defaults
            to (4, 2, 1, 0.5).
        num_outs (int): Levels in total. Defaults to 5.
        norm_cfg (dict): Of the convolutions. Defaults to layer norm over channels, as ViTDet.
        init_cfg (dict, optional): Of ``BaseModule``.

    Raises:
        ValueError: A scale of another size, a width that does not divide, or fewer outputs than
            scales.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        scales: Sequence[float] = (4, 2, 1, 0.5),
        num_outs: int = 5,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        norm_cfg = norm_cfg or dict(type='mmpretrain.LN2d', eps=1e-6)
        if num_outs < len(scales):
            raise ValueError(f'num_outs={num_outs} is less than the {len(scales)} scales.')
        if in_channels % 4:
            raise ValueError(f'in_channels={in_channels} is not a multiple of 4.')
        self.num_extra = num_outs - len(scales)
        self.levels = nn.ModuleList(
            nn.Sequential(
                *(rescale := _rescale(scale, in_channels, norm_cfg)),
                ConvModule(
                    _width(rescale, in_channels), out_channels, 1, norm_cfg=norm_cfg, act_cfg=None
                ),
                ConvModule(
                    out_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None
                ),
            )
            for scale in scales
        )

    @classmethod
    def derive(cls, options: dict, facts) -> None:
        """``in_channels`` is the encoder's width."""
        facts.fill(options, in_channels=facts.encoder.get('width'))

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Make the pyramid.

        Args:
            inputs (Sequence[Tensor]): Feature maps; the last is used, (B, D, h, w).

        Returns:
            tuple[Tensor, ...]: One map a level, (B, C, h * scale, w * scale), finest first.
        """
        x_BDhw = inputs[-1]
        outs = [level(x_BDhw) for level in self.levels]
        for _ in range(self.num_extra):
            outs.append(F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)


def _rescale(scale: float, width: int, norm_cfg: dict) -> list[nn.Module]:
    def double(a: int) -> nn.Module:
        return nn.ConvTranspose2d(a, a // 2, kernel_size=2, stride=2)

    match scale:
        case 4:
            norm = build_norm_layer(norm_cfg, width // 2)[1]
            return [double(width), norm, nn.GELU(), double(width // 2)]
        case 2:
            return [double(width)]
        case 1:
            return []
        case 0.5:
            return [nn.MaxPool2d(kernel_size=2, stride=2)]
    raise ValueError(f'scales are 4, 2, 1 and 0.5, got {scale}.')


def _width(rescale: list[nn.Module], width: int) -> int:
    """Channels after ``rescale``."""
    return next((m.out_channels for m in reversed(rescale) if hasattr(m, 'out_channels')), width)
