# Does pre-training pay in detection and segmentation? Pre-trainings of 12 epochs over five seeds,
# fine-tuned for two epochs and tested on scenes that no setting was chosen on.
title = 'Digit scenes: detection and segmentation'
seeds = [0, 1, 2, 3, 4]
prepare = ['classification']

# `seconds`: what one core of a server's CPU took.
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vitmini_digits_12e.py', seconds=330),
    mixedae=dict(title='MixedAE', config='configs/mixedae/vitmini_digits_12e.py', seconds=370),
    imae=dict(
        title='i-MAE', config='configs/imae/vitmini_digits_6e.py', teacher='mae', seconds=340
    ),
)
evaluate = dict(
    detection=dict(
        title='boxes and masks',
        tool='train',
        config='configs/transfer/digit_scenes/vitmini_detection_long.py',
        seconds=160,
    ),
    segmentation=dict(
        title='semantic segmentation',
        tool='train',
        config='configs/transfer/digit_scenes/vitmini_segmentation_long.py',
        seconds=80,
    ),
)
columns = ['box_ap50', 'mask_ap50', 'box_ap', 'mask_ap', 'miou', 'time', 'images_seen', 'flops']
checks = dict(topk_isolates=dict())
