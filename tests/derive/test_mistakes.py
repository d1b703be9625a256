"""Mistakes in overrides end in one line that names the setting, before anything is built."""

import argparse
import copy
import functools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from mixae.derive import derive
from mixae.derive.keys import KEYS
from mixae.engine import launch
from mixae.engine.launch import load_config, train
from mixae.engine.options import merge_options, merge_values, parse_value
from mixae.errors import ConfigError

ROOT = Path(__file__).parents[2]
PRETRAIN = 'configs/mixedae/vitmini_digits_12e.py'
FINETUNE = 'configs/transfer/digit_scenes/vitmini_finetune.py'
KNN = 'configs/transfer/digit_scenes/vitmini_knn.py'
LINEAR = 'configs/transfer/digit_scenes/vitmini_linear.py'
MAE = 'configs/mae/vitmini_digits_12e.py'
IMAE = 'configs/imae/vitmini_digits_6e.py'


def arguments(config, *options, **changes):
    given = dict(config=str(ROOT / config), cfg_options=list(options), launcher='none')
    given |= dict(work_dir='work', budget=None, local_rank=0, options_file=None)
    return argparse.Namespace(**(given | changes))


@functools.cache
def read(config: str) -> Config:
    return Config.fromfile(ROOT / config)


def load(config, *options) -> Config:
    cfg = copy.deepcopy(read(config))
    if 'pretrained' in cfg:
        cfg.pretrained = 'scratch'
    merge_options(cfg, options)
    return derive(cfg)[0]


DIGITS = 'train_dataloader.dataset.dataset'
STEP = f'{DIGITS}.pipeline.0'
MISTAKES = [
    # Names that nothing reads, with the nearest that are.
    (PRETRAIN, 'model.mixratio=0.5', r'model\.mixratio.*did you mean mix_ratio'),
    (PRETRAIN, 'model.backbone.maskratio=0.5', r'model\.backbone\.maskratio.*mask_ratio'),
    (PRETRAIN, 'model.attention.mod=global', r'model\.attention\.mod.*did you mean mode'),
    (PRETRAIN, 'model.contrast.wieght=1', r'model\.contrast\.wieght.*did you mean weight'),
    (PRETRAIN, 'train_cfg.max_epoch=3', r'train_cfg\.max_epoch.*max_epochs'),
    (PRETRAIN, 'train_dataloader.batchsize=3', r'train_dataloader\.batchsize.*batch_size'),
    (PRETRAIN, 'train_dataloder.batch_size=3', r"'train_dataloder'.*train_dataloader"),
    (PRETRAIN, 'optim_wrapper.optimizer.lrr=1', r'optim_wrapper\.optimizer\.lrr.*lr'),
    (PRETRAIN, 'base_Ir=1e-3', r"'base_Ir'.*base_lr"),
    (PRETRAIN, 'warmup_epoch=3', r"'warmup_epoch'.*warmup_epochs"),
    (PRETRAIN, 'batch_size=4', r"'batch_size'"),
    (PRETRAIN, 'lr=0.1', r"'lr'"),
    (PRETRAIN, 'max_epochs=3', r"'max_epochs'.*warmup_epochs"),
    (PRETRAIN, 'mask_ratio=0.5', r"'mask_ratio'"),
    (PRETRAIN, 'data_rot=/data', r"'data_rot'.*data_root"),
    (PRETRAIN, 'train_pipeline=[]', r'train_pipeline is a helper.*train_dataloader'),
    (PRETRAIN, 'randomness.sed=1', r'randomness\.sed.*did you mean seed'),
    (PRETRAIN, 'default_hooks.checkpoint.intervall=1', r'checkpoint\.intervall.*interval'),
    (PRETRAIN, 'optim_wrapper.clip_gradd=1', r'optim_wrapper\.clip_gradd.*clip_grad'),
    (FINETUNE, 'pretraned=x', r"'pretraned'.*pretrained"),
    (KNN, 'test_cfg.probe.kk=3', r'test_cfg\.probe\.kk.*k'),
    (PRETRAIN, 'train_dataloader.dataset.foo=1', r'train_dataloader\.dataset\.foo'),
    (PRETRAIN, 'model.type=MixedAe', r'model\.type=.MixedAe.*did you mean MixedAE'),
    (PRETRAIN, 'train_dataloader.sampler.type=mixae.EpochSample', r'did you mean EpochSampler'),
    (PRETRAIN, 'cfg=5', r"'cfg'"),
    (PRETRAIN, 'env_cfg.cudnn_benchmrk=1', r'env_cfg\.cudnn_benchmrk.*cudnn_benchmark'),
    (PRETRAIN, 'env_cfg.mp_cfg.start_method=fork', r'start_method.*mp_start_method'),
    (PRETRAIN, 'optim_wrapper.clip_grad.max_nrom=1', r'clip_grad\.max_nrom.*max_norm'),
    (PRETRAIN, 'optim_wrapper.paramwise_cfg.norm_decay_multt=0', r'norm_decay_multt.*norm_decay'),
    (PRETRAIN, 'optim_wrapper.type=AmpOptimWraper', r'did you mean AmpOptimWrapper'),
    (PRETRAIN, 'optim_wrapper.optimizer.type=AdamWW', r'did you mean AdamW'),
    (PRETRAIN, 'param_scheduler.1.type=CosinLR', r'param_scheduler\[1\]\.type'),
    (PRETRAIN, 'param_scheduler.1.milestones=[1]', r'milestones: CosineAnnealingLR has no option'),
    (PRETRAIN, 'train_cfg.type=EpochBasedTrainLop', r'did you mean EpochBasedTrainLoop'),
    (PRETRAIN, 'train_cfg.max_iters=5', r'EpochBasedTrainLoop has no option .max_iters'),
    (PRETRAIN, 'train_dataloader.dataset.dataset.type=DigitScene', r'did you mean DigitScenes'),
    (PRETRAIN, f'{STEP}.type=RandomResizeCrop', r'pipeline\[0\]\.type.*RandomResizedCrop'),
    (PRETRAIN, f'{STEP}.scle=3', r'pipeline\[0\]\.scle.*scale'),
    (PRETRAIN, 'train_dataloader.collate_fn.type=default_colate', r'did you mean default_collate'),
    (PRETRAIN, 'default_hooks.topk_accuracy.type=TopKHook', r'did you mean .*TopKAccuracyHook'),
    (PRETRAIN, "custom_hooks=[{'type': 'EMAHok'}]", r'custom_hooks\[0\]\.type.*EMAHook\?'),
    (PRETRAIN, 'visualizer.type=Visualiser', r'did you mean Visualizer'),
    (PRETRAIN, 'model.backbone.type=MaskedVit', r'model\.backbone\.type.*MaskedViT'),
    (PRETRAIN, 'model.neck.type=MAEPretrainDecodr', r'did you mean MAEPretrainDecoder'),
    (
        PRETRAIN,
        'model.head.loss.type=PixelReconstructionLos',
        r'did you mean PixelReconstructionLoss',
    ),
    (PRETRAIN, 'model.type=MaskRCNN', r"model\.type='MaskRCNN' .*did you mean mmdet\.MaskRCNN\?"),
    (PRETRAIN, 'default_scope=mmpretrian', r'default_scope.*did you mean mmpretrain'),
    (PRETRAIN, 'log_level=foo', r'log_level=.foo.*WARNING'),
    (IMAE, 'model.distill.wieght=1', r'model\.distill\.wieght.*weight'),
    (FINETUNE, 'model.train_cfg.augments.0.type=Mixupp', r'did you mean Mixup'),
    (FINETUNE, 'val_evaluator.type=Acuracy', r'did you mean Accuracy or SubsetAccuracy\?'),
    (FINETUNE, 'val_evaluator.topkk=[1]', r'val_evaluator\.topkk.*did you mean topk'),
    (FINETUNE, 'val_cfg.type=ValLop', r'did you mean ValLoop'),
    (KNN, 'test_cfg.type=FeatureLoop', r'did you mean FeatureProbeLoop'),
    (KNN, 'test_cfg.probe.type=WeightedKN', r'did you mean WeightedKNN'),
    # Settings that this config does not read.
    (PRETRAIN, 'pretrained=epoch_1.pth', r'no pretrained, so that nothing would read it'),
    (PRETRAIN, 'num_classes=10', r'no num_classes'),
    (PRETRAIN, 'lr_steps=[0.5]', r'no lr_steps'),
    (PRETRAIN, 'custom_imports.imports=[mine]', r'custom_imports are made while a config is read'),
    (PRETRAIN, 'model.backbone.mask_ratio=0.75', r'mask_ratio=0\.75: MixedAE masks 1 - mix_ratio'),
    # Values of a wrong type or range.
    (PRETRAIN, 'train_dataloader.batch_size=0', r'batch_size=0: expected a whole number from 1'),
    (PRETRAIN, 'train_dataloader.batch_size=abc', r"batch_size='abc': expected a whole number"),
    (PRETRAIN, 'train_dataloader.batch_size=8.5', r'batch_size=8.5: expected a whole number'),
    (PRETRAIN, 'train_cfg.max_epochs=0', r'max_epochs=0: expected a whole number from 1'),
    (PRETRAIN, 'train_cfg.max_epochs=-1', r'max_epochs=-1: expected a whole number from 1'),
    (PRETRAIN, 'train_cfg.max_epochs=1.5', r'max_epochs=1.5: expected a whole number from 1'),
    (PRETRAIN, 'train_dataloader.num_workers=-1', r'num_workers=-1: expected a whole number'),
    (PRETRAIN, 'model.mix_ratio=0', r'mix_ratio=0 is outside'),
    (PRETRAIN, 'model.mix_ratio=abc', r"mix_ratio='abc': expected a number"),
    (MAE, 'model.backbone.mask_ratio=1.5', r'mask_ratio=1.5: expected a number in'),
    (MAE, 'model.backbone.mask_ratio=abc', r"mask_ratio='abc'"),
    (PRETRAIN, 'base_lr=-1', r'base_lr=-1: expected a number in'),
    (PRETRAIN, 'base_lr=nan', r'base_lr=nan: expected a number in'),
    (PRETRAIN, 'model.backbone.arch=xxl', r"arch='xxl' is unknown"),
    (PRETRAIN, 'model.backbone.patch_size=0', r'patch_size=0: expected a whole number from 1'),
    (PRETRAIN, 'model.backbone.img_size=-64', r'img_size=-64: expected a whole number from 1'),
    (PRETRAIN, 'randomness.seed=abc', r"randomness\.seed='abc': expected a whole number"),
    (PRETRAIN, 'warmup_epochs=-2', r'warmup_epochs=-2: expected a number from 0'),
    (PRETRAIN, 'default_hooks.checkpoint.interval=0', r'checkpoint\.interval=0'),
    (PRETRAIN, 'optim_wrapper.accumulative_counts=0', r'accumulative_counts=0: expected a whole'),
    (PRETRAIN, 'model.attention.topk=9999', r'topk=9999.*68 tokens'),
    (PRETRAIN, 'model.attention.topk=None', r'topk=None'),
    (PRETRAIN, 'model.contrast.layer=4', r'contrast\.layer=4: there are layers 0\.\.3'),
    (PRETRAIN, 'model.contrast.layer=-1', r'contrast\.layer=-1: expected a whole number from 0'),
    (PRETRAIN, 'model.contrast.layer=last', r"contrast\.layer='last': expected a whole number"),
    (PRETRAIN, 'model.segment_embed=encoder', r"segment_embed='encoder' is unknown: True, 'decod"),
    (PRETRAIN, 'base_lr=1e9', r'base_lr=1000000000\.0: expected a number in \[0, 1e6\]'),
    (PRETRAIN, 'base_lr=abc', r"base_lr='abc': expected a number"),
    (PRETRAIN, 'base_lr=None', r'lr is .auto. and the config has no base_lr'),
    (PRETRAIN, 'base_lr_batch=0', r'base_lr_batch=0: expected a whole number from 1'),
    (PRETRAIN, 'warmup_epochs=abc', r"warmup_epochs='abc': expected a number from 0"),
    (PRETRAIN, 'model.mix_ratio=-0.25', r'mix_ratio=-0\.25: expected a number in \[0, 1\]'),
    (PRETRAIN, 'model.mix_ratio=0.3', r'mix_ratio=0\.3: 1/mix_ratio must be an integer'),
    (PRETRAIN, 'model.mix_ratio=0.2', r'batch of 32 images cannot be cut into groups of 5'),
    (MAE, 'model.backbone.mask_ratio=0', r'backbone\.mask_ratio=0: expected a number in \(0, 1\)'),
    (MAE, 'model.backbone.mask_ratio=0.999', r'mask_ratio=0\.999 leaves none of 64 patches'),
    (MAE, 'model.backbone.mask_ratio=None', r'mask_ratio=None: MAE needs one'),
    (PRETRAIN, 'model.backbone.img_size=60', r'img_size=60 is not a multiple of patch_size=8'),
    (PRETRAIN, 'model.backbone.img_size=[64, 30]', r'img_size=\[64, 30\] is not a multiple'),
    (PRETRAIN, 'model.backbone.in_chans=4', r'mean has 3 values, but .*in_chans=4: give one'),
    (PRETRAIN, 'model.neck.in_chans=5', r'model\.neck\.in_chans=5, but .*in_chans=3: leave it'),
    (PRETRAIN, 'model.backbone.patch_size=64', r'1 patches an image cannot be shared'),
    (PRETRAIN, 'model.backbone.drop_rate=2', r'drop_rate=2: expected a number in \[0, 1\]'),
    (PRETRAIN, 'model.backbone.type=ResNet', r"type='ResNet': MixedAE needs a mixae\.MaskedViT"),
    (PRETRAIN, 'model.attention.mode=foo', r"attention mode 'foo' is unknown"),
    (PRETRAIN, 'model.attention.fused=7', r'fused=7: HomologousAttention expects True or False'),
    (PRETRAIN, 'model.contrast.temperature=0', r'temperature=0: expected a number above 0'),
    (PRETRAIN, 'model.contrast.weight=-1', r'contrast\.weight=-1: expected a number from 0'),
    (PRETRAIN, 'model.contrast.proj_dim=0', r'proj_dim=0: expected a whole number from 1'),
    (PRETRAIN, 'model.neck.decoder_embed_dim=63', r'decoder_embed_dim=63 with decoder_num_heads=2'),
    (PRETRAIN, 'model.neck.decoder_num_heads=3', r'decoder_embed_dim=64 with decoder_num_heads=3'),
    (PRETRAIN, 'model.neck.decoder_num_heads=0', r'decoder_num_heads=0: expected a whole number'),
    (PRETRAIN, 'model.neck.decoder_depth=-1', r'decoder_depth=-1: expected a whole number from 0'),
    (PRETRAIN, 'model.neck.mlp_ratio=-4', r'mlp_ratio=-4: expected a number above 0'),
    (PRETRAIN, 'model.data_preprocessor.std=[0, 0, 0]', r'std\[0\]=0: expected a number above 0'),
    (PRETRAIN, 'model.data_preprocessor.mean=[a, b, c]', r"mean\[0\]='a': expected a number\."),
    (PRETRAIN, 'optim_wrapper.optimizer.weight_decay=abc', r"weight_decay='abc'"),
    (
        PRETRAIN,
        'optim_wrapper.clip_grad.max_norm=abc',
        r"max_norm='abc': expected a number above 0",
    ),
    (PRETRAIN, 'train_dataloader.num_workers=1.5', r'num_workers=1\.5: expected a whole number'),
    (PRETRAIN, 'train_dataloader.prefetch_factor=0', r'prefetch_factor=0: expected a whole number'),
    (PRETRAIN, 'train_dataloader.timeout=-1', r'timeout=-1: expected a whole number from 0'),
    (PRETRAIN, 'train_dataloader.drop_last=False', r'set train_dataloader\.drop_last=True'),
    (PRETRAIN, 'train_dataloader.dataset.subset=-5', r'subset=-5: expected a whole number from 1'),
    (PRETRAIN, 'train_dataloader.dataset.subset=1.5', r'subset=1\.5: expected a whole number'),
    (
        PRETRAIN,
        'train_cfg.max_epochs=None',
        r'max_epochs=None: expected a whole number',
    ),
    (PRETRAIN, 'default_hooks.checkpoint.interval=1.5', r'interval=1\.5: .* from 1, or -1'),
    (PRETRAIN, 'default_hooks.checkpoint.max_keep_ckpts=0', r'max_keep_ckpts=0: .* from 1, or -1'),
    (PRETRAIN, 'default_hooks.logger.interval=0', r'logger\.interval=0: expected a whole number'),
    (PRETRAIN, 'env_cfg.dist_cfg.timeout=x', r"timeout='x': expected a number in"),
    (PRETRAIN, 'env_cfg.mp_cfg.opencv_num_threads=abc', r"opencv_num_threads='abc'"),
    (PRETRAIN, 'randomness.seed=99999999999', r'expected a whole number from 0 to 4294967295'),
    (IMAE, 'model.mix.beta=-1', r"mix=\{'beta': -1\}: give exactly one of beta \(above 0"),
    (IMAE, 'model.distill.weight=-1', r'distill\.weight=-1: expected a number from 0'),
    (IMAE, 'train_dataloader.batch_size=1', r'even batch_size, got 1'),
    (FINETUNE, 'num_classes=0', r'num_classes=0: expected a whole number from 1'),
    (FINETUNE, 'train_cfg.val_interval=0', r'val_interval=0: expected a whole number from 1'),
    (FINETUNE, 'train_cfg.val_begin=-3', r'val_begin=-3: expected a whole number from 0'),
    (FINETUNE, 'val_evaluator.topk=0', r'topk=0: expected a whole number from 1'),
    (FINETUNE, 'val_evaluator.topk=[0]', r'topk\[0\]=0: expected a whole number from 1'),
    (FINETUNE, 'model.train_cfg.augments.0.alpha=-1', r'alpha=-1: expected a number above 0'),
    (FINETUNE, 'model.backbone.out_indices=[99]', r'out_indices=\[99\]: there are layers 0\.\.3'),
    (FINETUNE, 'model.backbone.out_indices=abc', r"out_indices='abc': expected a whole number"),
    (FINETUNE, 'optim_wrapper.paramwise_cfg.layer_decay_rate=2', r'layer_decay_rate=2: .*\(0, 1\]'),
    (KNN, 'test_cfg.probe.k=0', r'probe\.k=0: expected a whole number from 1'),
    (KNN, 'test_cfg.probe.k=1.5', r'probe\.k=1\.5: expected a whole number from 1'),
    (KNN, 'test_cfg.probe.temperature=0', r'temperature=0: expected a number above 0'),
    (LINEAR, 'test_cfg.probe.epochs=0', r'probe\.epochs=0: expected a whole number from 1'),
    (LINEAR, 'test_cfg.probe.batch_size=0', r'probe\.batch_size=0: expected a whole number'),
    (LINEAR, 'test_cfg.probe.base_lr=nan', r'probe\.base_lr=nan: expected a number in'),
    (LINEAR, 'test_cfg.probe.seed=abc', r"probe\.seed='abc': expected a whole number"),
    # Values of a wrong kind.
    (PRETRAIN, 'model=None', r'model=None: expected dict'),
    (PRETRAIN, 'model.backbone=None', r'model\.backbone=None: expected dict'),
    (PRETRAIN, 'model.neck=None', r'model\.neck=None: MixedAE expects dict'),
    (PRETRAIN, 'model.head.loss=None', r'model\.head\.loss=None: MAEPretrainHead expects dict'),
    (PRETRAIN, 'model.attention=topk', r"model\.attention='topk': expected dict"),
    (PRETRAIN, 'model.contrast=5', r'model\.contrast=5: MixedAE expects dict'),
    (PRETRAIN, 'model.head.norm_pix=maybe', r'norm_pix=.maybe.: MAEPretrainHead expects True'),
    (IMAE, 'model.disentangle=True', r'disentangle=True: IMAE expects dict\(\.\.\.\) or None'),
    (PRETRAIN, 'optim_wrapper=abc', r"optim_wrapper='abc': expected dict"),
    (PRETRAIN, 'optim_wrapper.optimizer=None', r'optimizer=None: expected dict'),
    (PRETRAIN, 'optim_wrapper.clip_grad=5', r'clip_grad=5: expected dict'),
    (PRETRAIN, 'train_cfg=5', r'train_cfg=5: expected dict'),
    (PRETRAIN, 'train_dataloader.dataset=None', r'train_dataloader\.dataset=None: expected dict'),
    (PRETRAIN, 'train_dataloader.sampler=None', r'train_dataloader\.sampler=None: expected dict'),
    (PRETRAIN, 'train_dataloader.sampler.shuffle=abc', r'EpochSampler expects True or False'),
    (PRETRAIN, 'train_dataloader.pin_memory=abc', r'pin_memory=.abc.: DataLoader expects True'),
    (
        PRETRAIN,
        'train_dataloader.persistent_workers=7',
        r'persistent_workers=7: DataLoader expects',
    ),
    (PRETRAIN, f'{DIGITS}.options=size', r"options='size': DigitScenes expects dict"),
    (PRETRAIN, 'param_scheduler=cosine', r"param_scheduler='cosine': expected a list"),
    (PRETRAIN, 'param_scheduler.0.by_epoch=maybe', r'by_epoch=.maybe.: LinearLR expects True'),
    (PRETRAIN, 'default_hooks=abc', r"default_hooks='abc': expected dict"),
    (PRETRAIN, 'default_hooks.logger=abc', r"default_hooks\.logger='abc': expected dict"),
    (PRETRAIN, 'custom_hooks=abc', r"custom_hooks='abc': expected a list"),
    (PRETRAIN, 'custom_hooks=[EMAHook]', r"custom_hooks\[0\]='EMAHook': expected dict"),
    (PRETRAIN, 'env_cfg=None', r'env_cfg=None: expected dict'),
    (PRETRAIN, 'randomness=3', r'randomness=3: expected dict'),
    (PRETRAIN, 'randomness.deterministic=maybe', r'deterministic=.maybe.: .* True or False'),
    (PRETRAIN, 'resume=maybe', r"resume='maybe': expected True or False"),
    (PRETRAIN, 'find_unused_parameters=maybe', r'find_unused_parameters=.maybe.: expected True'),
    (PRETRAIN, 'variant=5', r'variant=5: expected dict'),
    (PRETRAIN, 'data_about=abc', r"data_about='abc': expected dict"),
    (PRETRAIN, 'data_about.name=None', r'data_about\.name=None: expected a text'),
    (FINETUNE, 'protocol=abc', r"protocol='abc': expected dict"),
    (FINETUNE, 'protocol.name=None', r'protocol\.name=None: expected a text'),
    (FINETUNE, 'model.train_cfg=5', r'model\.train_cfg=5: ImageClassifier expects dict'),
    (FINETUNE, 'model.backbone.frozen=maybe', r'frozen=.maybe.: MaskedViT expects True or False'),
    (FINETUNE, 'val_evaluator=Accuracy', r"val_evaluator='Accuracy': expected dict"),
    (FINETUNE, 'val_evaluator=None', r'val_evaluator not set, but val_dataloader and val_cfg'),
    (FINETUNE, 'val_cfg=None', r'val_cfg not set, but val_dataloader and val_evaluator'),
    (KNN, 'test_evaluator=None', r'test_evaluator not set, but test_dataloader and test_cfg'),
    (PRETRAIN, 'warmup_iters=3', r'warmup_epochs=1 and warmup_iters=3: give one'),
    # What is no number, where one is expected.
    *(
        (PRETRAIN, f'{key}={value}', rf'^{re.escape(key)}(\[0\])?=.*: expected a (whole )?number')
        for key in (
            'base_lr',
            'warmup_epochs',
            'train_dataloader.batch_size',
            'train_cfg.max_epochs',
            'model.mix_ratio',
            'model.backbone.img_size',
            'model.contrast.weight',
            'optim_wrapper.accumulative_counts',
            'default_hooks.logger.interval',
        )
        for value in ('[abc]', "{'a': 1}", 'nan', '-inf', '-7', 'True', '½')
    ),
    *(
        (PRETRAIN, f'{key}=None', rf'^{re.escape(key)}=None: expected a (whole )?number')
        for key in (
            'base_lr_batch',
            'train_dataloader.batch_size',
            'train_dataloader.num_workers',
            'model.mix_ratio',
            'model.backbone.img_size',
            'model.backbone.patch_size',
            'model.backbone.in_chans',
            'optim_wrapper.optimizer.lr',
            'optim_wrapper.optimizer.weight_decay',
            'default_hooks.checkpoint.interval',
        )
    ),
    (PRETRAIN, 'base_lr=1,5', r'base_lr=\[1, 5\]: expected a number in'),
    (PRETRAIN, 'base_lr=1e400', r'base_lr=inf: expected a number in'),
    (PRETRAIN, 'base_lr=[2001-01-01]', r"base_lr=\['2001-01-01'\]: expected a number in"),
    (PRETRAIN, 'model.mix_ratio=1/4', r"mix_ratio='1/4': expected a number in"),
    (PRETRAIN, 'train_dataloader.batch_size=auto', r'^model cannot be derived: TypeError'),
    (PRETRAIN, 'train_dataloader.num_workers=1000000', r'num_workers=1000000: .* from 0 to 1024'),
    (PRETRAIN, f'train_cfg.max_epochs={10**24}', r'max_epochs=10*: .* from 1 to 1000000000'),
    (PRETRAIN, f'train_cfg.max_epochs={"9" * 5000}', r'max_epochs=inf: expected a whole number'),
    (PRETRAIN, 'model.backbone.img_size=100000', r'img_size=100000: .* from 1 to 16384'),
    (PRETRAIN, 'model.backbone.img_size=[64]', r'img_size=\[64\]: expected one number, or'),
    (PRETRAIN, 'model.backbone.img_size=[64,64,64]', r'img_size=\[64, 64, 64\]: expected one'),
    (PRETRAIN, 'model.backbone.patch_size=[8]', r'patch_size=\[8\]: expected one number, or'),
    (PRETRAIN, 'model.neck.decoder_depth=100000000', r'decoder_depth=100000000: .* from 0 to 1000'),
    (PRETRAIN, 'model.contrast.proj_dim=1000000000000', r'proj_dim=10*: .* from 1 to 65536'),
    (PRETRAIN, 'model.contrast.layer=[1]', r'contrast\.layer=\[1\]: expected a whole number'),
    (PRETRAIN, 'model.backbone.arch=None', r'arch=None is unknown: choose one of'),
    (PRETRAIN, 'model.type=""', r"model\.type='' is no registered class"),
    (PRETRAIN, 'model.data_preprocessor.mean=3', r'mean=3: expected a list'),
    (PRETRAIN, 'model.data_preprocessor.std=nan', r'std=nan: expected a list'),
    (PRETRAIN, 'model.data_preprocessor.std=[nan, 1, 1]', r'std\[0\]=nan: expected a number'),
    (PRETRAIN, 'optim_wrapper.optimizer.betas=0.9', r'betas=0\.9: expected a list'),
    (PRETRAIN, 'optim_wrapper.optimizer.betas=[2, 3]', r'betas\[0\]=2: expected a number in'),
    (PRETRAIN, 'optim_wrapper.optimizer.betas=[nan, 0.9]', r'betas\[0\]=nan: expected a number'),
    (PRETRAIN, 'optim_wrapper.optimizer.betas.0=0.8', r'give the whole list, .*betas=\[\.\.\.\]'),
    (PRETRAIN, 'optim_wrapper.optimizer.eps=-1', r'eps=-1: expected a number in'),
    (PRETRAIN, 'optim_wrapper.paramwise_cfg=[1]', r'paramwise_cfg=\[1\]: expected dict'),
    (PRETRAIN, 'optim_wrapper.paramwise_cfg.norm_decay_mult=nan', r'norm_decay_mult=nan: expected'),
    (PRETRAIN, 'optim_wrapper.paramwise_cfg.custom_keys=abc', r"custom_keys='abc': expected dict"),
    (
        PRETRAIN,
        "optim_wrapper.paramwise_cfg.custom_keys={'head': {'lr_mult': 'a'}}",
        r"custom_keys\.head\.lr_mult='a': expected a number",
    ),
    (PRETRAIN, 'param_scheduler=[{}]', r'param_scheduler\[0\] has no type: expected dict'),
    (PRETRAIN, 'param_scheduler={}', r'param_scheduler=\{\} changes nothing'),
    (PRETRAIN, 'param_scheduler.0=abc', r"param_scheduler\.0='abc': expected dict"),
    (PRETRAIN, 'param_scheduler.0.start_factor=2', r'start_factor=2: expected a number in \[0, 1'),
    (PRETRAIN, 'param_scheduler.0.end=-3', r'\[0\]\.end=-3: expected a whole number from 0'),
    (PRETRAIN, 'param_scheduler.1.T_max=0', r'T_max=0: expected a whole number from 1'),
    (PRETRAIN, 'param_scheduler.1.eta_min=nan', r'eta_min=nan: expected a number in'),
    (PRETRAIN, 'custom_hooks=[{}]', r'custom_hooks\[0\] has no type: expected dict'),
    (PRETRAIN, 'default_hooks.loger.interval=3', r'default_hooks\.loger has no type'),
    (PRETRAIN, 'model={}', r'model=\{\} changes nothing'),
    (PRETRAIN, 'train_dataloader.dataset={}', r'dataset=\{\} changes nothing'),
    (
        PRETRAIN,
        'train_dataloader.sampler.seed=-1',
        r'sampler\.seed=-1: expected a whole number from',
    ),
    (PRETRAIN, 'train_dataloader.batch_sampler=abc', r"batch_sampler='abc': expected dict"),
    (PRETRAIN, 'train_dataloader.collate_fn=default_collate', r'collate_fn=.*: expected dict'),
    (PRETRAIN, 'train_dataloader.dataset.dataset=None', r'dataset\.dataset=None: expected dict'),
    (PRETRAIN, f'{DIGITS}.foo=1', r'dataset\.dataset\.foo: DigitScenes has no option .foo.'),
    (PRETRAIN, f'{DIGITS}.pipeline=abc', r"pipeline='abc': expected a list"),
    (PRETRAIN, f'{DIGITS}.pipeline=[abc]', r"pipeline\[0\]='abc': expected dict"),
    (PRETRAIN, 'visualizer.vis_backends=abc', r"vis_backends='abc': expected a list"),
    (PRETRAIN, 'log_processor=abc', r"log_processor='abc': expected dict"),
    (PRETRAIN, 'log_processor.window_size=0', r'window_size=0: expected a whole number from 1'),
    (PRETRAIN, 'env_cfg.resource_limit=abc', r"resource_limit='abc': expected a whole number"),
    (PRETRAIN, 'env_cfg.dist_cfg.timeout=1e300', r'timeout=1e\+300: expected a number in'),
    (PRETRAIN, 'encoder_card.foo=1', r'encoder_card\.foo=1: expected method, dataset'),
    (PRETRAIN, 'encoder_card=abc', r"encoder_card='abc': expected dict"),
    (FINETUNE, 'num_classes=[10]', r'num_classes=\[10\]: expected a whole number'),
    (FINETUNE, 'val_evaluator.topk=[]', r'topk=\[\]: expected a whole number from 1'),
    (FINETUNE, 'train_cfg.val_begin=[1]', r'val_begin=\[1\]: expected a whole number from 0'),
    (FINETUNE, 'model.train_cfg.augments=Mixup', r"augments='Mixup': expected dict\(.* a list"),
    (FINETUNE, 'model.train_cfg.augments=[5]', r'augments\[0\]=5: expected dict'),
    (FINETUNE, 'model.backbone.out_indices=None', r'out_indices=None: expected a whole number'),
    (FINETUNE, 'model.backbone.out_indices=[]', r'out_indices=\[\]: expected a whole number'),
    (KNN, 'test_cfg.probe.k=[20, 0]', r'probe\.k\[1\]=0: expected a whole number'),
    (LINEAR, 'test_cfg.probe.base_lr=[0.1]', r'probe\.base_lr=\[0\.1\]: expected a number'),
    (LINEAR, 'test_cfg.probe.epochs=1000000000000', r'epochs=10*: .* from 1 to 1000000'),
    (MAE, 'model.backbone.mask_ratio=0,75', r'mask_ratio=\[0, 75\]: expected a number in'),
    (MAE, 'model.backbone.mask_ratio=75%', r"mask_ratio='75%': expected a number in"),
    (IMAE, 'model.mix.beta=inf', r"mix=\{'beta': inf\}: give exactly one of beta"),
    # Letters of other alphabets, controls, and what is very long.
    (PRETRAIN, 'bäse_lr=1', r"'bäse_lr'; did you mean base_lr"),
    (PRETRAIN, 'model.mix\xad_ratio=0.5', r'model\.mix\\xad_ratio: .*did you mean mix_ratio'),
    (PRETRAIN, 'base_lr=1\u202e', r"base_lr='1\\u202e': expected a number"),
    (PRETRAIN, f'{"x" * 10000}=1', r"^No run reads the setting 'xxx"),
    (PRETRAIN, f'base_lr={"x" * 100000}', r"^base_lr='x{79}\.\.\.: expected a number"),
    (PRETRAIN, f'{"model." * 2000}x=1', r'nested too deep'),
    (PRETRAIN, f'base_lr={"[" * 5000}{"]" * 5000}', r'nested too deep'),
    (PRETRAIN, f'base_lr={"[a," * 3000}{"]" * 3000}', r'nested too deep'),
    (PRETRAIN, 'base_lr=[&a [*a]]', r'brackets do not match'),
    # Syntax.
    (PRETRAIN, 'base_lr', r"'base_lr': expected KEY=VALUE"),
    (PRETRAIN, '=3', r"'=3': expected KEY=VALUE"),
    (PRETRAIN, 'base_lr=', r'base_lr= has no value'),
    (PRETRAIN, 'base_lr.x=1', r'base_lr\.x: base_lr is 0\.012 and has no .x.'),
    (PRETRAIN, 'param_scheduler.7.end=1', r'param_scheduler is a list of 2'),
    (PRETRAIN, 'param_scheduler.-1.end=1', r'param_scheduler is a list of 2'),
    (PRETRAIN, 'param_scheduler.x.end=1', r'expected an index from 0 to 1, got .x'),
    (PRETRAIN, 'a..b=3', r"'a\.\.b=3': expected KEY=VALUE"),
    (PRETRAIN, 'base_lr =3', r"'base_lr '; did you mean base_lr"),
    (PRETRAIN, 'base_lr==3', r"base_lr='=3': expected a number"),
    (PRETRAIN, 'model.backbone.img_size=[64,64', r'brackets do not match'),
    (PRETRAIN, 'model.backbone.img_size=(64,64', r'brackets do not match'),
]


@pytest.mark.parametrize('config, option, message', MISTAKES, ids=lambda x: str(x)[:40])
def test_a_mistake_is_named(config, option, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(config, option)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 2100


@pytest.mark.parametrize(
    'options, message',
    [
        (
            ['model.contrast.subtract_segment=True', 'model.segment_embed=False'],
            r'model: contrast\.subtract_segment=True with segment_embed=False: .* Set',
        ),
        (
            ['model.attention.subtract_segment=True', 'model.segment_embed=decoder'],
            r"attention\.subtract_segment=True with segment_embed='decoder'",
        ),
        (
            ['model.attention.subtract_segment=True', 'model.attention.mode=global'],
            r"attention\.subtract_segment=True goes with mode='topk': 'global' selects no keys",
        ),
        (
            ['model.backbone.layer_cfgs={"attn_drop_rate": 0.1}'],
            r"attn_drop_rate=0\.1: homologous attention has no dropout .*mode to 'global'",
        ),
        (
            ['model.mix_ratio=0.015625', 'train_dataloader.batch_size=64'],
            r'mix_ratio=0\.015625: 1 of 64 patches .* contrastive loss needs 2\. Raise',
        ),
    ],
)
def test_options_that_mean_nothing_together_are_named(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(PRETRAIN, *options)
    assert '\n' not in str(caught.value)


def test_an_override_of_what_another_turns_off_is_named():
    with pytest.raises(
        ConfigError, match=r'model\.distill=None leaves no place for model\.distill\.w'
    ):
        load(IMAE, 'model.distill=None', 'model.distill.weight=1')


@pytest.mark.parametrize('option', ['warmup_epochs=0.5', 'train_dataloader.prefetch_factor=2'])
def test_what_looks_like_a_mistake_and_is_none(option):
    """Half an epoch is a length; without workers nothing is fetched ahead."""
    cfg = load(PRETRAIN, option, 'train_dataloader.num_workers=0')
    assert cfg.train_dataloader.prefetch_factor is None
    assert cfg.param_scheduler[0].end == cfg.param_scheduler[1].begin == cfg.warmup_epochs


def test_a_dict_may_replace_a_name():
    cfg = Config.fromfile(ROOT / PRETRAIN)
    arch = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
    merge_values(cfg, {'model.backbone.arch': arch})
    assert cfg.model.backbone.arch == arch


def test_two_overrides_of_one_mistake_are_read_from_left_to_right():
    assert load(PRETRAIN, 'base_lr=1e-3', 'base_lr=2e-3').base_lr == 2e-3


# What is typed arrives.


@pytest.mark.parametrize(
    'text, current, value',
    [
        ('/a folder/b,c', 'data', '/a folder/b,c'),
        ('2017', 'data', '2017'),
        ('[x', 'data', '[x'),
        ('"a b"', 'data', 'a b'),
        ('None', 'data', None),
        ('1e-3', 1.0, 1e-3),
        ('3', 'auto', 3),
        ('true', None, True),
        ('[1, (2, 3)]', None, [1, (2, 3)]),
        ('[a, b c]', None, ['a', 'b c']),
        ('(a, b)', None, ('a', 'b')),
        ('8,11', (1, 2), [8, 11]),
        ('a,b', ['x'], ['a', 'b']),
        ('a,b', None, 'a,b'),
        ("{'embed_dims': 32}", 'auto', dict(embed_dims=32)),
        ('[no, 1:30, 2001-01-01, nan_]', None, ['no', '1:30', '2001-01-01', 'nan_']),
        ('{a: 1e-3, b: [true, x]}', None, dict(a=1e-3, b=[True, 'x'])),
        ('epoch_1.pth', None, 'epoch_1.pth'),
    ],
)
def test_values(text, current, value):
    assert parse_value(text, current) == value
    assert type(parse_value(text, current)) is type(value)


@given(st.text(min_size=1, max_size=30))
def test_a_string_over_a_string_is_what_was_typed(text):
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in '\'"'
    if text.lower() != 'none' and not quoted:
        assert parse_value(text, 'current') == text


@given(st.recursive(st.integers() | st.booleans() | st.text('abc, ', max_size=5), st.lists))
def test_what_python_prints_is_read_back(value):
    if not isinstance(value, str):
        assert parse_value(repr(value)) == value


@pytest.mark.parametrize('key', ['data_root', 'work_dir', 'budget', 'experiment_name', 'method'])
def test_a_name_of_digits_is_a_name(key):
    assert load(PRETRAIN, f'{key}=2017')[key] == '2017'


def test_data_root_reaches_every_data_set():
    for config in (PRETRAIN, FINETUNE, KNN, 'configs/mae/vitt_cifar10_2000e.py'):
        cfg = load(config, 'data_root=/a folder, of mine')
        loader = cfg.get('train_dataloader') or cfg.test_dataloader
        assert loader.dataset.dataset.data_root == '/a folder, of mine'


# Configs, launchers and folders.


@pytest.mark.parametrize(
    'config, changes, message',
    [
        ('configs/mixedae/vitmini_digits_12.py', {}, r'no config file.*vitmini_digits_12e\.py'),
        ('configs/suites/demo.py', {}, 'is a suite'),
        ('README.md', {}, 'expected a Python file'),
        ('configs/_base_/datasets/cifar_cls.py', {}, 'it has no model'),
        (PRETRAIN, dict(launcher='pytorch'), 'RANK, .* is not set'),
        (PRETRAIN, dict(launcher='slurm'), 'SLURM_PROCID, .* is not set'),
    ],
)
def test_what_cannot_be_run(config, changes, message, monkeypatch):
    for variable in ('RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match=message):
        load_config(arguments(config, **changes))


def test_a_config_with_a_syntax_error_is_named(tmp_path):
    (tmp_path / 'broken.py').write_text('model = dict(')
    with pytest.raises(ConfigError, match=r'broken\.py cannot be read: SyntaxError'):
        load_config(arguments(tmp_path / 'broken.py'))


@pytest.mark.parametrize('key', ['train_dataloader', 'optim_wrapper', 'train_cfg'])
def test_training_needs_all_of_its_parts(key):
    with pytest.raises(ConfigError, match=f'trains nothing: {key} not set'):
        train(load_config(arguments(PRETRAIN, f'{key}=None')))


def test_tools_that_do_not_fit_a_config_say_so():
    with pytest.raises(ConfigError, match='evaluates nothing'):
        launch.test(load_config(arguments(PRETRAIN)), 'epoch_1.pth')
    with pytest.raises(ConfigError, match='trains nothing'):
        train(load_config(arguments(KNN)))
    with pytest.raises(ConfigError, match='--pretrained scratch.*is no transfer config'):
        train(load_config(arguments(PRETRAIN)), pretrained='scratch')


# docs/configs.md.


def test_the_page_lists_the_keys_of_the_code():
    lines = (ROOT / 'docs/configs.md').read_text().splitlines()
    rows = dict(line.strip('| ').split(' | ', 1) for line in lines if line.startswith('| `'))
    listed = {name.strip('`'): text for name, text in rows.items()}
    assert {key: listed.get(key) for key in KEYS} == KEYS


def test_every_key_is_read_by_the_code():
    code = '\n'.join(p.read_text() for p in (ROOT / 'mixae').rglob('*.py') if p.name != 'keys.py')
    for key in KEYS:
        assert f"'{key}'" in code or f'.{key}' in code or 'warmup_{' in code, key
