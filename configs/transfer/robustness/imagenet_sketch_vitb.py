# ImageNet-Sketch: tests a checkpoint that configs/transfer/imagenet/vitb_finetune.py has trained.
_base_ = ['imagenet_a_vitb.py']
data_root = 'data/sketch'
# The protocol is ImageNet's: a prediction is chosen among all 1000 classes.
test_evaluator = dict(type='mixae.Accuracy')
data_about = dict(name='imagenet_sketch', description='ImageNet-Sketch')
