"""The recipes of detection and segmentation, stated a second time from their sources.

The numbers are those of the released configs that the configs' comments name, on 8 GPUs, and not
read off ours: iBOT's repository with the commands of its evaluation/README.md, detectron2's ViTDet,
mmseg's mae-base_upernet and DINOv2's linear head.
"""

from pathlib import Path

import pytest
from mmengine.config import Config

from mixae.derive import derive

ROOT = Path(__file__).parents[2] / 'configs/transfer'

# Where the numbers lie. A name in a list is the type of the entry meant.
OPTIMIZER = 'optim_wrapper.optimizer'
PARAMWISE = 'optim_wrapper.paramwise_cfg'
BACKBONE = 'model.backbone'
TRAIN = 'train_dataloader.dataset.pipeline'
TEST = 'test_dataloader.dataset.pipeline'
BOX_HEAD = 'model.roi_head.bbox_head'

# What is the same in all of them. BEiT's constructor, which iBOT and mmseg took over, has no decay
# on norms, biases, the class token and the position embedding.
ALL = {
    f'{OPTIMIZER}.type': 'AdamW',
    f'{OPTIMIZER}.betas': (0.9, 0.999),
    f'{PARAMWISE}.norm_decay_mult': 0.0,
    f'{PARAMWISE}.bias_decay_mult': 0.0,
    f'{PARAMWISE}.flat_decay_mult': 0.0,
    f'{PARAMWISE}.custom_keys': {
        '.cls_token': dict(decay_mult=0.0),
        '.pos_embed': dict(decay_mult=0.0),
    },
    f'{BACKBONE}.patch_size': 16,
}
FINE_TUNED = {
    f'{BACKBONE}.final_norm': False,
    f'{BACKBONE}.norm_outputs': None,
    f'{BACKBONE}.frozen': None,
    f'{BACKBONE}.train_pos_embed': True,
}
FOUR_LAYERS_B = {f'{BACKBONE}.out_indices': [3, 5, 7, 11], f'{BACKBONE}.arch': 'b'}

COCO = {
    **ALL,
    **FINE_TUNED,
    'optim_wrapper.type': 'AmpOptimWrapper',
    'param_scheduler.LinearLR.start_factor': 0.001,
    'param_scheduler.LinearLR.by_epoch': False,
    'param_scheduler.MultiStepLR.gamma': 0.1,
    'param_scheduler.MultiStepLR.by_epoch': True,
    f'{TRAIN}.RandomFlip.prob': 0.5,
}
SCALES = [(480 + 32 * i, 1333) for i in range(11)]
IBOT_COCO = {
    **COCO,
    **FOUR_LAYERS_B,
    f'{BACKBONE}.drop_path_rate': 0.2,
    f'{BACKBONE}.window_size': None,
    f'{OPTIMIZER}.lr': 1e-4,
    f'{OPTIMIZER}.weight_decay': 0.05,
    f'{PARAMWISE}.layer_decay_rate': 0.75,
    'train_dataloader.batch_size': 2,
    'train_cfg.max_epochs': 12,
    'param_scheduler.LinearLR.end': 500,
    'param_scheduler.MultiStepLR.milestones': [8, 11],
    f'{TRAIN}.RandomChoice.transforms.0.RandomChoiceResize.scales': SCALES,
    f'{TRAIN}.RandomChoice.transforms.1.0.scales': [(400, 1333), (500, 1333), (600, 1333)],
    f'{TRAIN}.RandomChoice.transforms.1.RandomCrop.crop_type': 'absolute_range',
    f'{TRAIN}.RandomChoice.transforms.1.RandomCrop.crop_size': (384, 600),
    f'{TRAIN}.RandomChoice.transforms.1.2.scales': SCALES,
    f'{TEST}.Resize.scale': (1333, 800),
}
VITDET = {
    **COCO,
    f'{BACKBONE}.window_size': 14,
    f'{OPTIMIZER}.lr': 1e-4,
    f'{OPTIMIZER}.weight_decay': 0.1,
    'train_dataloader.batch_size': 8,
    'train_cfg.max_epochs': 100,
    'param_scheduler.LinearLR.end': 250,
    # Iterations 163889 and 177546 of 184375.
    'param_scheduler.MultiStepLR.milestones': [89, 96],
    'model.data_preprocessor.pad_size_divisor': 1024,
    'model.rpn_head.num_convs': 2,
    f'{BOX_HEAD}.type': 'Shared4Conv1FCBBoxHead',
    f'{BOX_HEAD}.bbox_coder.target_stds': [0.1, 0.1, 0.2, 0.2],
    f'{BOX_HEAD}.loss_bbox.type': 'L1Loss',
    f'{BOX_HEAD}.loss_bbox.loss_weight': 1.0,
    f'{BOX_HEAD}.norm_cfg.eps': 1e-6,
    'model.roi_head.mask_head.norm_cfg.eps': 1e-6,
    f'{TRAIN}.RandomResize.scale': (1024, 1024),
    f'{TRAIN}.RandomResize.ratio_range': (0.1, 2.0),
    f'{TRAIN}.RandomCrop.crop_size': (1024, 1024),
    f'{TEST}.Resize.scale': (1024, 1024),
}
MASK_RCNN = {
    **IBOT_COCO,
    f'{BOX_HEAD}.type': 'Shared2FCBBoxHead',
    f'{BOX_HEAD}.bbox_coder.target_stds': [0.1, 0.1, 0.2, 0.2],
    f'{BOX_HEAD}.loss_bbox.type': 'L1Loss',
}
CASCADE = IBOT_COCO | {
    f'{BOX_HEAD}.{stage}.{name}': value
    for stage, centre, side in ((0, 0.1, 0.2), (1, 0.05, 0.1), (2, 0.033, 0.067))
    for name, value in {
        'type': 'ConvFCBBoxHead',
        'num_shared_convs': 4,
        'num_shared_fcs': 1,
        'fc_out_channels': 1024,
        'norm_cfg.type': 'SyncBN',
        'reg_class_agnostic': False,
        'reg_decoded_bbox': True,
        'bbox_coder.target_stds': [centre, centre, side, side],
        'loss_bbox.type': 'GIoULoss',
        'loss_bbox.loss_weight': 10.0,
    }.items()
}
VITDET_B = {
    **VITDET,
    f'{BACKBONE}.arch': 'b',
    f'{BACKBONE}.drop_path_rate': 0.1,
    f'{BACKBONE}.global_layers': [2, 5, 8, 11],
    f'{PARAMWISE}.layer_decay_rate': 0.7,
}
VITDET_L = {
    **VITDET,
    f'{BACKBONE}.arch': 'l',
    f'{BACKBONE}.drop_path_rate': 0.4,
    f'{BACKBONE}.global_layers': [5, 11, 17, 23],
    f'{PARAMWISE}.layer_decay_rate': 0.8,
}

ADE20K = {
    **ALL,
    f'{BACKBONE}.img_size': 512,
    f'{BACKBONE}.window_size': None,
    'train_dataloader.batch_size': 2,
    'param_scheduler.LinearLR.start_factor': 1e-6,
    'param_scheduler.LinearLR.by_epoch': False,
    'param_scheduler.LinearLR.end': 1500,
    'param_scheduler.PolyLR.power': 1.0,
    'param_scheduler.PolyLR.eta_min': 0.0,
    'param_scheduler.PolyLR.by_epoch': False,
    f'{TRAIN}.RandomResize.scale': (2048, 512),
    f'{TRAIN}.RandomResize.ratio_range': (0.5, 2.0),
    f'{TRAIN}.RandomCrop.crop_size': (512, 512),
    f'{TRAIN}.RandomCrop.cat_max_ratio': 0.75,
    f'{TRAIN}.RandomFlip.prob': 0.5,
    'model.data_preprocessor.size': (512, 512),
    'model.test_cfg.mode': 'slide',
    'model.test_cfg.crop_size': (512, 512),
    'model.test_cfg.stride': (341, 341),
}
ONE_SCALE = {f'{TEST}.Resize.scale': (2048, 512)}
# Ratios below 1 are enlarged to the slide.
SIX_SCALES = {
    f'{TEST}.TestTimeAug.transforms.0.{i}.scale': scale
    for i, scale in enumerate((512, 512, 512, 640, 768, 896))
}
UPERNET = {
    **ADE20K,
    **FINE_TUNED,
    f'{OPTIMIZER}.weight_decay': 0.05,
    'train_cfg.max_iters': 160000,
    'model.decode_head.in_index': [0, 1, 2, 3],
    'model.decode_head.pool_scales': (1, 2, 3, 6),
    'model.decode_head.dropout_ratio': 0.1,
    'model.decode_head.loss_decode.loss_weight': 1.0,
    'model.auxiliary_head.in_index': 2,
    'model.auxiliary_head.channels': 256,
    'model.auxiliary_head.num_convs': 1,
    'model.auxiliary_head.dropout_ratio': 0.1,
    'model.auxiliary_head.loss_decode.loss_weight': 0.4,
}
UPERNET_B = {
    **UPERNET,
    **FOUR_LAYERS_B,
    f'{BACKBONE}.drop_path_rate': 0.1,
    f'{OPTIMIZER}.lr': 1e-4,
    f'{PARAMWISE}.layer_decay_rate': 0.65,
    'model.decode_head.channels': 768,
}
UPERNET_L = {
    **UPERNET,
    f'{BACKBONE}.arch': 'l',
    f'{BACKBONE}.out_indices': [7, 11, 15, 23],
    f'{BACKBONE}.drop_path_rate': 0.2,
    f'{OPTIMIZER}.lr': 2e-5,
    f'{PARAMWISE}.layer_decay_rate': 0.95,
    'model.decode_head.channels': 1024,
}
PROBE = {
    **ADE20K,
    **ONE_SCALE,
    f'{BACKBONE}.arch': 'b',
    f'{BACKBONE}.frozen': True,
    # The encoder's own final norm, which is there unless it is turned off.
    f'{BACKBONE}.norm_outputs': True,
    f'{BACKBONE}.final_norm': None,
    f'{BACKBONE}.drop_path_rate': None,
    f'{PARAMWISE}.layer_decay_rate': 1.0,
    'model.auxiliary_head': None,
    'model.decode_head.dropout_ratio': 0,
}
IBOT_PROBE = {
    **PROBE,
    **FOUR_LAYERS_B,
    f'{OPTIMIZER}.lr': 8e-4,
    f'{OPTIMIZER}.weight_decay': 0.05,
    'optim_wrapper.type': 'mixae.AmpOptimWrapper',
    'train_cfg.max_iters': 160000,
    'model.decode_head.type': 'FCNHead',
    'model.decode_head.in_index': [0, 1, 2, 3],
    'model.decode_head.input_transform': 'resize_concat',
    'model.decode_head.num_convs': 0,
    'model.decode_head.channels': 3072,
}
DINOV2_PROBE = {
    **PROBE,
    f'{BACKBONE}.out_indices': [-1],
    f'{OPTIMIZER}.lr': 1e-3,
    f'{OPTIMIZER}.weight_decay': 1e-4,
    'optim_wrapper.type': 'OptimWrapper',
    'train_cfg.max_iters': 40000,
    'model.decode_head.type': 'mixae.BatchNormHead',
    'model.decode_head.norm_cfg.type': 'SyncBN',
    'model.decode_head.channels': 768,
}

RECIPES = {
    'coco/cascade_vitb_1x': CASCADE,
    'coco/maskrcnn_vitb_1x': MASK_RCNN,
    'coco/vitdet_vitb_100e': VITDET_B,
    'coco/vitdet_vitl_100e': VITDET_L,
    'ade20k/upernet_vitb_160k': UPERNET_B | ONE_SCALE,
    'ade20k/upernet_vitb_160k_ms': UPERNET_B | SIX_SCALES,
    'ade20k/upernet_vitl_160k': UPERNET_L | ONE_SCALE,
    'ade20k/upernet_vitl_160k_ms': UPERNET_L | SIX_SCALES,
    'ade20k/linear_vitb_160k': IBOT_PROBE,
    'ade20k/linear_vitb_40k': DINOV2_PROBE,
}


def derived(name, cuda=True, **options):
    cfg = Config.fromfile(ROOT / f'{name}.py')
    cfg.merge_from_dict({'pretrained': 'epoch_800.pth', **options})
    return derive(cfg, world_size=8, cuda=cuda)[0].to_dict()


def at(node, path):
    """The entry under a path; None where it is absent, as the encoder's defaults are."""
    for key in path.split('.'):
        if node is None:
            return None
        if isinstance(node, list | tuple):
            # A type must be there once: two would leave one of them unread.
            (node,) = [node[int(key)]] if key.isdigit() else [n for n in node if n['type'] == key]
        else:
            node = node.get(key)
    return node


def test_every_config_has_its_recipe():
    files = {
        path.relative_to(ROOT).with_suffix('').as_posix()
        for folder in ('coco', 'ade20k')
        for path in (ROOT / folder).glob('*.py')
    }
    assert files == set(RECIPES)


@pytest.mark.parametrize('name', RECIPES)
def test_a_config_is_the_published_recipe(name):
    cfg = derived(name)
    found = {path: at(cfg, path) for path in RECIPES[name]}
    # Rates are products: 1e-4 need not be exact.
    expected = {
        path: pytest.approx(value) if path == f'{OPTIMIZER}.lr' else value
        for path, value in RECIPES[name].items()
    }
    assert {p: v for p, v in found.items() if listed(v) != listed(expected[p])} == {}


def listed(value):
    """Sequences of a config are lists or tuples by chance."""
    if isinstance(value, list | tuple):
        return [listed(v) for v in value]
    return value


def test_without_a_gpu_nothing_of_float16_is_left():
    cfg = derived('coco/cascade_vitb_1x', cuda=False, **{'optim_wrapper.loss_scale': 'dynamic'})
    assert not {'loss_scale', 'dtype'} & set(cfg['optim_wrapper'])
    options = {'optim_wrapper.dtype': 'float16', 'optim_wrapper.use_fsdp': False}
    wrapper = derived('coco/vitdet_vitb_100e', cuda=False, **options)['optim_wrapper']
    assert wrapper['type'] == 'OptimWrapper' and not {'dtype', 'use_fsdp'} & set(wrapper)
