"""DINOv2's linear segmentation head.

Shape legend: B images, D width, K classes, H x W the feature map.
"""

from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from mixae.registry import MODELS


@MODELS.register_module()
class BatchNormHead(BaseDecodeHead):
    """A batch norm and one 1x1 convolution, as DINOv2's linear probe (Oquab et al. 2024).

    Features of a frozen encoder differ in scale from method to method and from channel to channel;
    the norm spares the probe a learning rate of its own for each.

    Args:
        norm_cfg (dict): The norm. Defaults to ``dict(type='SyncBN')``.
        **kwargs: Of mmseg's ``BaseDecodeHead``; ``channels`` is the number of (concatenated) input
            channels.
    """

    def __init__(self, *, norm_cfg: dict | None = None, **kwargs) -> None:
        norm_cfg = norm_cfg or dict(type='SyncBN')
        super().__init__(norm_cfg=norm_cfg, **kwargs)
        if self.in_channels != self.channels:
            raise ValueError(
                f'channels={self.channels}: no layer lies between the {self.in_channels} input '
                'channels and the classifier; give their number, or None in a config of ours.'
            )
        self.norm = build_norm_layer(norm_cfg, self.channels)[1]

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits_BKHW of the feature maps (B, D, H, W) that ``in_index`` chooses."""
        return self.cls_seg(self.norm(self._transform_inputs(inputs)))
