# Does MixedAE keep its gain where images hold many objects? Pre-training on scenes of 3 to 5 digits
# against scenes of one, equal in everything else. Transfer to boxes, masks and segmentation of
# scenes of up to 5. 192,000 views per row. For COCO's images see ../../mixedae/vitb_coco_800e.py.
title = 'Pre-training on many objects per image (digit scenes)'
seeds = [0, 1, 2]

_transfer = 'configs/transfer/digit_scenes/'


def _scenes(name: str, digits: list) -> dict:
    """Scenes of 128x128, of which crops of 64x64 are seen; a digit is as large in both."""
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(
            type='RandomResizedCrop',
            scale='auto',
            crop_ratio_range=[0.5, 1.0],
            backend='cv2',
            interpolation='bicubic',
        ),
        dict(type='PackInputs'),
    ]
    dataset = dict(
        type='mixae.DigitScenesImages',
        folder=name,
        options=dict(num_train=8000, num_test=1, digits=digits, backgrounds=[1, 1]),
        pipeline=pipeline,
    )
    return {
        'train_dataloader.dataset.dataset': dataset,
        'data_about.name': f'digit_scenes_{name}',
        'data_about.description': f'digit scenes, {digits[0]} to {digits[1]} digits, 64x64',
    }


_data = dict(single=('one digit', [1, 1]), many=('3 to 5 digits', [3, 5]))
_methods = dict(mae='MAE', mixedae='MixedAE')
pretrain = {
    f'{_method}_{_name}': dict(
        title=f'{_title}, {_words}',
        config=f'configs/{_method}/vitmini_digits_24e.py',
        options=_scenes(_name, _digits),
        seconds=460,
    )
    for _name, (_words, _digits) in _data.items()
    for _method, _title in _methods.items()
}
evaluate = dict(
    detection=dict(
        title='boxes and masks',
        tool='train',
        config=f'{_transfer}vitmini_detection.py',
        options={'train_cfg.max_epochs': 4},
        seconds=330,
    ),
    segmentation=dict(
        title='semantic segmentation',
        tool='train',
        config=f'{_transfer}vitmini_segmentation.py',
        options={'train_cfg.max_epochs': 6},
        seconds=290,
    ),
    linear=dict(
        title='linear probe',
        tool='test',
        config=f'{_transfer}vitmini_linear.py',
        scratch_title='linear probe of a random encoder',
        seconds=27,
    ),
)
analyses = {
    f'objects_{_row}': dict(
        title='object completeness',
        tool='tools/analysis/object_completeness.py',
        of=_row,
        arguments=[
            'configs/analysis/objects_digit_scenes.py',
            '{pretrain}',
            '--seed',
            '{seed}',
            '--records',
            '{records}',
        ],
        seconds=20,
    )
    for _row in pretrain
}
columns = ['box_ap50', 'mask_ap50', 'box_ap', 'mask_ap', 'miou', 'linear']
columns += ['attention_iou', 'attention_iou_best', 'patch_retrieval', 'corloc', 'images_seen']
checks = dict(pretraining_pays=dict(box_ap50=dict(gain=5), miou=dict(gain=2)), topk_isolates=dict())
