# ImageNet-Sketch: tests a checkpoint that configs/transfer/imagenet/vitb_finetune.py has trained.
_base_ = ['imagenet_a_vitb.py']
data_root = 'data/sketch'
data_about = dict(name='imagenet_sketch', description='ImageNet-Sketch')
