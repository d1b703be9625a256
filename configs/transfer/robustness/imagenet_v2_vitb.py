# ImageNet-V2, matched frequency: tests what configs/transfer/imagenet/vitb_finetune.py trained.
_base_ = ['imagenet_a_vitb.py']
data_root = 'data/imagenetv2-matched-frequency-format-val'
# The protocol is ImageNet's: a prediction is chosen among all 1000 classes.
test_evaluator = dict(type='mixae.Accuracy')
data_about = dict(name='imagenet_v2', description='ImageNet-V2, matched frequency')
