"""What components of mmpretrain, mmdet, mmseg and mmcv derive: one table.

Classes of ours, and of users, have a classmethod ``derive(options, facts)`` instead.
"""

from timm.layers import to_2tuple

from mixae.derive.facts import AUTO, Facts
from mixae.errors import ConfigError


def _square(facts: Facts) -> int | None:
    """The side of the encoder's input in pixels; None for an input that is not square."""
    size = facts.encoder.get('img_size')
    return size if isinstance(size, int) else None


def _crop(options: dict, facts: Facts) -> None:
    """A crop or resize of classification has the encoder's input size."""
    size = facts.encoder.get('img_size')
    facts.fill(options, scale=size, crop_size=size)
    channels = facts.encoder.get('in_chans', 3)
    if channels > 4 and options.get('backend') == 'pillow':
        raise ConfigError(
            f'{options["type"]}: Pillow resizes images of 1, 3 or 4 channels, not of {channels}: '
            "set backend='cv2'."
        )


def _mmcv_crop(options: dict, facts: Facts) -> None:
    """mmcv's crop is (width, height)."""
    size = facts.encoder.get('img_size')
    facts.fill(options, crop_size=size[::-1] if isinstance(size, tuple) else size)


def _edge(options: dict, facts: Facts) -> None:
    """A short edge as long as the input's longer side covers the input."""
    size = facts.encoder.get('img_size')
    facts.fill(options, scale=max(size) if isinstance(size, tuple) else size)


def _preprocessor(options: dict, facts: Facts) -> None:
    """One mean and standard deviation for each channel."""
    channels = facts.encoder.get('in_chans', 3)
    for key in ('mean', 'std'):
        values = options.get(key)
        if values is not None and len(values) not in (1, channels):
            raise ConfigError(
                f'model.data_preprocessor.{key} has {len(values)} values, but '
                f'model.backbone.in_chans={channels}: give one for each channel.'
            )
    if channels != 3 and str(options['type']).split('.')[-1] == 'SelfSupDataPreprocessor':
        options['type'] = 'mmpretrain.ClsDataPreprocessor'  # does the same, to any channels


def _seg_resize(options: dict, facts: Facts) -> None:
    """mmseg's scale is (long, short): no image of a usual shape is limited by its long side."""
    if size := _square(facts):
        facts.fill(options, scale=(4 * size, size))


def _seg_crop(options: dict, facts: Facts) -> None:
    if size := _square(facts):
        facts.fill(options, crop_size=(size, size))


def _seg_view(options: dict, facts: Facts) -> None:
    """A view of a multi-scale test: no smaller than the slide, as in BEiT and iBOT."""
    if size := _square(facts):
        ratio = options.pop('ratio', 1)
        facts.fill(options, scale=max(size, int(size * ratio)))


def _seg_preprocessor(options: dict, facts: Facts) -> None:
    if size := _square(facts):
        facts.fill(options, size=(size, size))


def _segmentor(options: dict, facts: Facts) -> None:
    """Slides have the encoder's input size and overlap by a third, as in BEiT: 341 of 512."""
    if size := _square(facts):
        stride = size * 2 // 3
        facts.fill(options.get('test_cfg'), crop_size=(size, size), stride=(stride, stride))


def _mae(options: dict, facts: Facts) -> None:
    if facts.encoder and (options.get('backbone') or {}).get('mask_ratio') is None:
        raise ConfigError('model.backbone.mask_ratio=None: MAE needs one in (0, 1).')


def _mae_decoder(options: dict, facts: Facts) -> None:
    names = dict(num_patches='num_patches', patch_size='patch_size', embed_dim='width')
    facts.fill(options, **{key: facts.encoder.get(name) for key, name in names.items()})
    _fit_channels(options, 'in_chans', 'model.neck', facts)
    _fit_grid(options, 'MAEPretrainDecoder', 'mixae.MAEDecoder', facts)
    width, heads = options.get('decoder_embed_dim', 512), options.get('decoder_num_heads', 16)
    if width % heads or width % 4:
        raise ConfigError(
            f'model.neck: decoder_embed_dim={width} with decoder_num_heads={heads}: expected a '
            'multiple of the heads, and of 4 for the position embedding.'
        )


def _mae_head(options: dict, facts: Facts) -> None:
    facts.fill(options, patch_size=facts.encoder.get('patch_size'))
    _fit_channels(options, 'in_channels', 'model.head', facts)
    _fit_grid(options, 'MAEPretrainHead', 'mixae.MAEHead', facts)


def _fit_channels(options: dict, key: str, path: str, facts: Facts) -> None:
    """What is predicted has the channels of the images; 3 is what the components default to."""
    channels = facts.encoder.get('in_chans')
    if channels is None:
        return
    if options.get(key, 3) not in (3, AUTO, channels):
        raise ConfigError(
            f'{path}.{key}={options[key]!r}, but model.backbone.in_chans={channels}: leave it out, '
            'it follows.'
        )
    options[key] = channels


def _fit_grid(options: dict, square: str, any_grid: str, facts: Facts) -> None:
    """Ours in place of a component of mmpretrain's that knows squares alone."""
    rows, columns = facts.encoder.get('grid', (1, 1))
    patch = facts.encoder.get('patch_size', 1)
    if not isinstance(patch, int):
        raise ConfigError(
            f'model.backbone.patch_size={patch}: MAE predicts square patches: give one number.'
        )
    if rows == columns:
        return
    if str(options['type']).split('.')[-1] == square:
        options['type'] = any_grid
    options['grid'] = (rows, columns)


def _sharded_optimizer(options: dict, facts: Facts) -> None:
    """Its state is spread over processes that a launcher has started."""
    if facts.cfg.get('launcher', 'none') == 'none':
        raise ConfigError(
            'ZeroRedundancyOptimizer spreads its state over processes: start them with '
            f"tools/dist_train.sh, or set type='{options.get('optimizer_type', 'AdamW')}' and no "
            'optimizer_type.'
        )


def _decode_head(options: dict, facts: Facts) -> None:
    widths = facts.encoder.get('out_channels') or [None]
    several = isinstance(options.get('in_index'), list | tuple)
    concatenated = options.get('input_transform') == 'resize_concat'
    facts.fill(
        options,
        in_channels=widths if several else widths[0],
        channels=sum(widths) if concatenated else widths[0],
        num_classes=facts.num_classes,
    )


def _detector(options: dict, facts: Facts) -> None:
    """Anchors and regions must lie on the neck's maps; mmdet's are of strides 4, 8, ... pixels."""
    necks = options.get('neck') or []
    necks = [necks] if isinstance(necks, dict) else necks
    if not facts.encoder or not necks or any('start_level' in neck for neck in necks):
        return
    scales = {
        'SimpleFeaturePyramid': necks[0].get('scales', (4, 2, 1, 0.5)),
        'Feature2Pyramid': necks[0].get('rescales', (4, 2, 1, 0.5)),
    }.get(str(necks[0].get('type')).split('.')[-1])
    if scales is None:
        return
    patch_size = facts.encoder['patch_size']
    strides = [to_2tuple(patch_size)[0] / scale for scale in scales]
    for node in walk([options.get('rpn_head'), options.get('roi_head')]):
        for key in {'strides', 'featmap_strides'} & set(node):
            # Further maps are pooled by 2.
            further = [strides[-1] * 2**k for k in range(1, len(node[key]))]
            if list(node[key]) != [*strides, *further][: len(node[key])]:
                raise ConfigError(
                    f'patch_size={patch_size} gives maps of strides {strides}, but '
                    f'{node.get("type", "a part")} of the detector has {key}={list(node[key])}. '
                    'Override the latter, in rpn_head.anchor_generator and every RoI extractor.'
                )


def walk(node):
    """Every dict in a nested part of a config."""
    if isinstance(node, dict):
        yield node
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for value in node:
        yield from walk(value)


# Library and class of the code (it holds for classes that inherit from it), and what is derived:
# options with their names in `Facts.encoder`, or a function of (options, facts).
TABLE = {
    'mmpretrain.MAE': _mae,
    'mmpretrain.MAEPretrainDecoder': _mae_decoder,
    'mmpretrain.MAEPretrainHead': _mae_head,
    'mmpretrain.SelfSupDataPreprocessor': _preprocessor,
    'mmpretrain.ClsDataPreprocessor': _preprocessor,
    'mmpretrain.LinearClsHead': dict(in_channels='width'),
    'mmpretrain.VisionTransformerClsHead': dict(in_channels='width'),
    'mmpretrain.ClsBatchNormNeck': dict(input_features='width'),
    'mmpretrain.RandomResizedCrop': _crop,
    'mmpretrain.CenterCrop': _crop,
    'mmcv.CenterCrop': _mmcv_crop,
    'mmpretrain.RandomCrop': _crop,
    'mmpretrain.ResizeEdge': _edge,
    'mmengine.ZeroRedundancyOptimizer': _sharded_optimizer,
    'mmdet.FPN': dict(in_channels='out_channels'),
    'mmdet.MaskRCNN': _detector,
    'mmdet.CascadeRCNN': _detector,
    'mmdet.FasterRCNN': _detector,
    'mmseg.Feature2Pyramid': dict(embed_dim='width'),
    'mmseg.BaseDecodeHead': _decode_head,
    'mmseg.EncoderDecoder': _segmentor,
    'mmseg.SegDataPreProcessor': _seg_preprocessor,
    'mmcv.Resize': _seg_resize,
    'mmseg.Resize': _seg_resize,
    'mmcv.RandomResize': _seg_resize,
    'mmseg.ResizeShortestEdge': _seg_view,
    'mmseg.RandomCrop': _seg_crop,
}
