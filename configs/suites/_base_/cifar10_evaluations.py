# What is made of every pre-trained ViT-Ti on CIFAR-10.
evaluate = dict(
    finetune=dict(
        title='fine-tuning',
        tool='train',
        config='configs/transfer/cifar/cifar10_vitt_finetune.py',
        scratch='configs/transfer/cifar/cifar10_vitt_scratch.py',
        scratch_title='training from scratch',
    ),
    linear=dict(
        title='linear probe',
        tool='test',
        config='configs/transfer/cifar/cifar10_vitt_linear.py',
        scratch_title='linear probe of a random encoder',
    ),
    knn=dict(
        title='kNN',
        tool='test',
        config='configs/transfer/cifar/cifar10_vitt_knn.py',
        scratch_title='kNN of a random encoder',
    ),
)
columns = ['finetune', 'linear', 'knn', 'time', 'device_hours', 'images_seen', 'flops']
checks = dict(pretraining_pays=dict(linear=dict(gain=5)), topk_isolates=dict())
