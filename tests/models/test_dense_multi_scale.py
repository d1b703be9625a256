"""The multi-scale test against mmseg's own."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

CONFIG = ConfigDict(
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.0] * 3, std=[1.0] * 3),
    backbone=dict(
        type='mixae.MaskedViT',
        arch=dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48),
        img_size=32,
        patch_size=8,
        out_type='featmap',
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=24,
        in_index=0,
        channels=24,
        num_convs=0,
        concat_input=False,
        num_classes=5,
    ),
    test_cfg=dict(mode='whole'),
)
pytestmark = pytest.mark.dense


def models(**head):
    torch.manual_seed(0)
    config = {**CONFIG, 'decode_head': {**CONFIG.decode_head, **head}}
    with DefaultScope.overwrite_default_scope('mmseg'):
        ours = MODELS.build(dict(type='mixae.MultiScaleSegmentor', **config)).eval()
        plain = MODELS.build(dict(type='EncoderDecoder', **config)).eval()
    for p in ours.parameters():
        p.data += 0.3 * torch.randn_like(p)
    # What all patches share must not decide the class everywhere.
    ours.backbone.ln1.bias.data.zero_()
    ours.decode_head.conv_seg.bias.data.zero_()
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def views(batch=1):
    """Three sizes of an image and their mirror images, as ``TestTimeAug`` packs them."""
    torch.manual_seed(1)
    image = 20 * torch.randn(3, 5, 6).repeat_interleave(8, 1).repeat_interleave(8, 2)
    inputs, samples = [], []
    for size in ((32, 40), (40, 48), (56, 64)):
        for flip in (False, True):
            view = torch.nn.functional.interpolate(image[None], size, mode='bilinear')[0]
            inputs.append([view.flip(2) if flip else view] * batch)
            meta = dict(
                img_path='a.jpg',
                ori_shape=(40, 48),
                img_shape=size,
                flip=flip,
                flip_direction='horizontal' if flip else None,
            )
            truth = PixelData(data=torch.full((1, 40, 48), len(samples)))
            samples.append([SegDataSample(metainfo=meta, gt_sem_seg=truth)] * batch)
    return dict(inputs=inputs, data_samples=samples)


def test_predictions_are_mmsegs():
    ours, plain = models()
    with torch.no_grad():
        (mine,) = ours.test_step(views())
        (theirs,) = SegTTAModel(module=plain).test_step(views())
        (single,) = plain.test_step({k: v[2] for k, v in views().items()})
    prediction = mine.pred_sem_seg.data
    assert prediction.shape == (1, 40, 48) and len(prediction.unique()) > 1
    assert torch.equal(prediction[0], theirs.pred_sem_seg.data.squeeze())
    assert not torch.equal(prediction, single.pred_sem_seg.data)
    assert mine.gt_sem_seg.data.unique().tolist() == [0]


def test_one_channel_is_mmsegs_mean_probability_above_the_threshold():
    ours, plain = models(
        num_classes=2,
        out_channels=1,
        threshold=0.3,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True),
    )
    data = views()
    with torch.no_grad():
        (mine,) = ours.test_step(data)
        samples = [
            plain.test_step(dict(inputs=inputs, data_samples=data_samples))[0]
            for inputs, data_samples in zip(data['inputs'], data['data_samples'], strict=True)
        ]
    single = samples[0].pred_sem_seg.data
    # mmseg's test already gives probabilities, of which its merging takes the sigmoid once more:
    # here it gets the logits.
    for sample in samples:
        sample.seg_logits.data = sample.seg_logits.data.logit()
    (theirs,) = SegTTAModel(module=plain).merge_preds([samples])
    prediction = mine.pred_sem_seg.data
    assert prediction.shape == (1, 40, 48) and prediction.unique().tolist() == [0, 1]
    assert torch.equal(prediction, theirs.pred_sem_seg.data.long())
    assert not torch.equal(prediction, single.long())


def test_several_images_a_batch_are_refused():
    with pytest.raises(ValueError, match='test_dataloader.batch_size=1, got 2'):
        models()[0].test_step(views(batch=2))
