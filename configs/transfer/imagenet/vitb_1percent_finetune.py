# Fine-tuning on 1 % of ImageNet's labels, the images that SimCLR listed: 1percent.txt in
# https://github.com/google-research/simclr/tree/master/imagenet_subsets
_base_ = ['vitb_finetune.py']
train_dataloader = dict(dataset=dict(files='data/imagenet/meta/1percent.txt'))
protocol = dict(name='finetune-mae-1percent', version='1')
