# ImageNet-V2, matched frequency: tests what configs/transfer/imagenet/vitb_finetune.py trained.
_base_ = ['../imagenet/vitb_finetune.py']
data_root = 'data/imagenetv2-matched-frequency-format-val'
test_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='mixae.ImageNetVariant',
            data_root='auto',
            pipeline={{_base_.test_pipeline}},
        ),
    ),
)
test_evaluator = dict(_delete_=True, type='mixae.SubsetAccuracy', topk=(1, 5))
task = 'robustness'
protocol = dict(name='robustness-mae', version='1')
data_about = dict(
    _delete_=True, name='imagenet_v2', description='ImageNet-V2, matched frequency', split='test'
)
