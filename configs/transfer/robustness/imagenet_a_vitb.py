# ImageNet-A: tests a checkpoint that configs/transfer/imagenet/vitb_finetune.py has trained.
_base_ = ['../imagenet/vitb_finetune.py']
data_root = 'data/imagenet-a'
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
data_about = dict(_delete_=True, name='imagenet_a', description='ImageNet-A', split='test')
