# Fine-tuning on small images (i-MAE, Sec. 4.2): 100 epochs, AdamW, lr 1.5e-3, Mixup in every row.
# The paper gives no batch size (256, ours), layer decay (0.75, ours) or weight decay (MAE's).
_base_ = ['finetune.py']

base_lr = 1.5e-3
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
