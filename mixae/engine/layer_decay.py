"""Layer-wise learning-rate decay for models that only contain the encoder."""

from mmengine.model import is_model_wrapper
from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from torch import nn

from mixae.registry import OPTIM_WRAPPER_CONSTRUCTORS

BACKBONE = 'backbone.'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(LearningRateDecayOptimWrapperConstructor):
    """mmpretrain's constructor for detectors and segmentors.

    mmpretrain's asks the *model* for a parameter's depth, which only its classifiers know; mmdet's
    and mmseg's know ConvNeXt's, BEiT's and their own MAE's parameter names. This one asks
    ``model.backbone``. The rate of layer ``i`` of N is scaled by decay^(N - i), that of the patch
    embedding, the class token and the position embedding by decay^(N + 1), and the rest (neck,
    heads, final norm) by 1: BEiT's formula, which MAE and ViTDet use, and timm but for the
    final norm.

    ``paramwise_cfg`` as mmpretrain's: layer_decay_rate, norm_decay_mult, bias_decay_mult,
    flat_decay_mult, custom_keys (decay_mult only).

    Raises:
        ValueError: The model has no ``backbone`` that knows the depth of its parameters, or the
            decay rate is not in (0, 1].
    """

    def add_params(self, params, module: nn.Module, prefix='', get_layer_depth=None, **kwargs):
        if get_layer_depth is None:
            model = module.module if is_model_wrapper(module) else module
            backbone = getattr(model, 'backbone', None)
            if not hasattr(backbone, 'get_layer_depth'):
                raise ValueError(
                    f'Layer-wise decay needs a backbone with get_layer_depth, such as '
                    f'mixae.MaskedViT; {type(model).__name__} has {type(backbone).__name__}.'
                )
            rate = self.paramwise_cfg.get('layer_decay_rate', 1.0)
            if not 0 < rate <= 1:
                raise ValueError(f'layer_decay_rate={rate} is not in (0, 1].')

            def get_layer_depth(name: str) -> tuple[int, int]:
                return backbone.get_layer_depth(name, prefix=BACKBONE)

        super().add_params(params, module, prefix, get_layer_depth, **kwargs)
