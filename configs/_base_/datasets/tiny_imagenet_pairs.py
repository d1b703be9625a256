_base_ = ['tiny_imagenet_pretrain.py']

train_dataloader = dict(
    # Pairs of an anchor and its partner: 2 images a mixture.
    sampler=dict(_delete_=True, type='mixae.PairSampler', same_class_ratio=None),
)
