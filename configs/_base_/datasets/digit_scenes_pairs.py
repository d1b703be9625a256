_base_ = ['digit_scenes_pretrain.py']

train_dataloader = dict(
    # Pairs of an anchor and its partner: 2 images a mixture, so an epoch sees each image twice.
    sampler=dict(_delete_=True, type='mixae.PairSampler', same_class_ratio=None),
)
