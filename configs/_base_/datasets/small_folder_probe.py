# A small set as folders, one per class, below train/ and test/.
_base_ = ['small_set_probe.py']
train_features = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='mixae.ImageFolder',
            data_root='auto',
            data_prefix='train',
            with_label=True,
            pipeline={{_base_.test_pipeline}},
        ),
    ),
)
test_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='mixae.ImageFolder',
            data_root='auto',
            data_prefix='test',
            with_label=True,
            pipeline={{_base_.test_pipeline}},
        ),
    ),
)
