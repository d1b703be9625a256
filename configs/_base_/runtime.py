# Settings of every run. 'auto' is computed from the rest of the config, 'required' must be given,
# None is off: see docs/configs.md.
default_scope = 'mmpretrain'
runner_type = 'mixae.MixaeRunner'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval='auto', max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    seed_iteration=dict(type='mixae.SeedIterationHook'),
    finite=dict(type='mixae.FiniteHook'),
    provenance=dict(type='mixae.ProvenanceHook'),
    record=dict(type='mixae.RunRecordHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # A process waits so many seconds for the others before it ends.
    dist_cfg=dict(backend='nccl', timeout=600),
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends)
randomness = dict(seed=0)
log_level = 'INFO'
load_from = None
resume = False
