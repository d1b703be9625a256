# What is made of every pre-trained ViT-Mini on single digits.
evaluate = dict(
    finetune=dict(
        title='fine-tuning',
        tool='train',
        config='configs/transfer/digit_scenes/vitmini_finetune.py',
        scratch='configs/transfer/digit_scenes/vitmini_scratch.py',
        scratch_title='training from scratch',
    ),
    linear=dict(
        title='linear probe',
        tool='test',
        config='configs/transfer/digit_scenes/vitmini_linear.py',
        scratch_title='linear probe of a random encoder',
        seconds=27,
    ),
)
