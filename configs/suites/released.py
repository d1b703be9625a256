# Released encoders, S and B, under one protocol on ImageNet-1K: kNN, linear probe, attentive probe,
# UperNet and Mask R-CNN. timm's weights are downloaded. iBOT's and MoCo v3's are files of
# their projects: put them where `checkpoint` says, or override it.
_base_ = ['_base_/imagenet_probes.py']
title = 'Released encoders on ImageNet-1K'
seeds = [0]
gpus = 8


def _row(title: str, data: str, labels: bool, epochs: int | None = None, **encoder) -> dict:
    card = dict(method=title, dataset=data, labels=labels)
    if epochs is not None:
        card['epochs'] = epochs
    return dict(title=title, card=card, **encoder)


_in1k, _in21k = 'ImageNet-1K', 'ImageNet-21K'
_s, _b = 'vit_small_patch16_224', 'vit_base_patch16_224'
_files = 'checkpoints'
encoders = dict(
    mae_b=_row('MAE', _in1k, False, 1600, model=f'{_b}.mae'),
    moco_v3_s=_row(
        'MoCo v3', _in1k, False, 300,
        model=_s, checkpoint=f'{_files}/vit-s-300ep.pth.tar', part='base_encoder',
    ),
    moco_v3_b=_row(
        'MoCo v3', _in1k, False, 300,
        model=_b, checkpoint=f'{_files}/vit-b-300ep.pth.tar', part='base_encoder',
    ),
    dino_s=_row('DINO', _in1k, False, 800, model=f'{_s}.dino'),
    dino_b=_row('DINO', _in1k, False, 400, model=f'{_b}.dino'),
    ibot_s=_row(
        'iBOT', _in1k, False, 800,
        model=_s, checkpoint=f'{_files}/ibot_vits_16_checkpoint.pth', part='teacher',
    ),
    ibot_b=_row(
        'iBOT', _in1k, False, 400,
        model=_b, checkpoint=f'{_files}/ibot_vitb_16_checkpoint.pth', part='teacher',
    ),
    # timm has only the fine-tuned weights: labels=True.
    beit_v2_b=_row('BEiT v2', _in1k, True, model='beitv2_base_patch16_224.in1k_ft_in1k'),
    clip_b=_row('CLIP', 'WIT-400M', False, model='vit_base_patch16_clip_224.openai'),
    dinov2_s=_row('DINOv2', 'LVD-142M', False, model='vit_small_patch14_dinov2.lvd142m'),
    dinov2_b=_row('DINOv2', 'LVD-142M', False, model='vit_base_patch14_dinov2.lvd142m'),
    augreg_s=_row('AugReg', _in21k, True, model=f'{_s}.augreg_in21k'),
    augreg_b=_row('AugReg', _in21k, True, model=f'{_b}.augreg_in21k'),
)  # fmt: skip
evaluate = dict(
    finetune=None,
    sweep=None,
    linear=dict(only=list(encoders)),
    knn=dict(only=list(encoders)),
    attentive=dict(only=list(encoders)),
    # BEiT's relative positions fit one image size, and detectors' anchors maps of stride 16.
    ade20k=dict(only=[_name for _name in encoders if _name != 'beit_v2_b']),
    coco=dict(only=['mae_b', 'moco_v3_b', 'dino_b', 'ibot_b', 'clip_b', 'augreg_b']),
)
columns = ['linear', 'attentive', 'knn', 'miou', 'box_ap', 'mask_ap']
published = 'matching'
