# Fine-tuning on 10 % of ImageNet's labels, the images that SimCLR listed: 10percent.txt in
# https://github.com/google-research/simclr/tree/master/imagenet_subsets
_base_ = ['vitb_finetune.py']
train_dataloader = dict(dataset=dict(files='data/imagenet/meta/10percent.txt'))
protocol = dict(name='finetune-mae-10percent', version='1')
