# i-MAE (Zhang and Shen 2022): MAE on mixtures, two linear layers, distillation from a frozen MAE.
_base_ = ['mae.py']

model = dict(
    type='mixae.IMAE',
    mix=dict(beta=1.0),  # constant: model.mix.beta=None model.mix.subordinate=0.3
    disentangle=dict(type='mixae.Disentanglement'),
    distill=dict(type='mixae.PatchDistillationLoss', weight=1.0),  # None: no teacher is needed
    teacher=dict(checkpoint='required'),
    loss_on='masked',
    branches='both',  # 'subordinate': Table 5's ablation
)
method = 'imae'
# What records and tables show of this model: name and place in the config.
variant = dict(
    distill='model.distill.weight',
    disentangle='model.disentangle.type',
    branches='model.branches',
    mix='model.mix',
    mask_ratio='model.backbone.mask_ratio',
    loss_on='model.loss_on',
    same_class_ratio='train_dataloader.sampler.same_class_ratio',
)
