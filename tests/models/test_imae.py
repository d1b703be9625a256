"""i-MAE: what must hold between it, MAE and its teacher."""

import copy
import hashlib
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.runner.checkpoint import load_state_dict
from mmpretrain.models import MAE
from scipy.stats import beta, kstest
from torch import nn

from mixae.errors import CheckpointError
from mixae.models import IMAE
from mixae.models.layers import masks_from_visible, mix_pairs
from mixae.models.losses import PatchDistillationLoss
from mixae.models.necks import Disentanglement
from mixae.registry import MODELS
from tests.models.parts import mae_parts

L, D = 16, 24
ARCH = dict(embed_dims=D, num_layers=2, num_heads=2, feedforward_channels=48)
PARTS = mae_parts(ARCH, img_size=16, patch_size=4, mask_ratio=0.75)
DISTILL = dict(type='mixae.PatchDistillationLoss')
DISENTANGLE = dict(type='mixae.Disentanglement')
METHOD = dict(mix=dict(beta=1.0), disentangle=DISENTANGLE, distill=DISTILL)


def build(kind='mixae.IMAE', seed=0, **options):
    torch.manual_seed(seed)
    method = METHOD if kind == 'mixae.IMAE' else {}
    model = MODELS.build(dict(type=kind, **copy.deepcopy(PARTS), **{**method, **options}))
    model.init_weights()
    return model


@pytest.fixture(scope='module')
def teacher_path(tmp_path_factory):
    """A pre-training checkpoint of an MAE that is far from its initialisation."""
    mae = build('mmpretrain.MAE', seed=7)
    for p in mae.parameters():
        p.data += 0.1 * torch.randn_like(p)
    path = tmp_path_factory.mktemp('teacher') / 'mae.pth'
    torch.save(dict(meta=dict(epoch=1), state_dict=mae.state_dict()), path)
    return str(path)


@pytest.fixture
def images():
    return torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def to_identity(linear: nn.Linear):
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)


def total(losses):
    return sum(v for k, v in losses.items() if 'loss' in k)


def test_branch_1_with_weight_1_and_identity_is_mae_on_the_anchors(images):
    model = build(mix=dict(subordinate=0.0), distill=None)
    to_identity(model.disentangle.f_1)
    mae = build('mmpretrain.MAE')
    mae.load_state_dict(
        {k: v for k, v in model.state_dict().items() if not k.startswith('disentangle.')}
    )
    torch.manual_seed(5)
    ours = model.loss(images)['loss_recon_dominant']
    torch.manual_seed(5)
    theirs = MAE.loss(mae, images[0::2], [])['loss']
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    ours_grad = torch.autograd.grad(ours, model.backbone.cls_token)[0]
    theirs_grad = torch.autograd.grad(theirs, mae.backbone.cls_token)[0]
    torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-4, atol=1e-7)


def test_dominant_is_the_larger_weight_and_a_tie_goes_to_the_anchor(images):
    weights = torch.tensor([0.7, 0.3, 0.5, 0.0, 1.0, 0.49])
    mixture = mix_pairs(images, weights)
    anchor, partner = images[0::2], images[1::2]
    for i, a in enumerate(weights.tolist()):
        torch.testing.assert_close(mixture.images[i], a * anchor[i] + (1 - a) * partner[i])
        first = a >= 0.5
        assert torch.equal(mixture.sources['dominant'][i], (anchor if first else partner)[i])
        assert torch.equal(mixture.sources['subordinate'][i], (partner if first else anchor)[i])
    torch.testing.assert_close(mixture.share_B, torch.tensor([0.3, 0.3, 0.5, 0.0, 0.0, 0.49]))


def test_each_branch_is_scored_against_its_own_image(images):
    """Swapping anchor and partner and a -> 1 - a is the same mixture: the losses stay."""

    def losses(inputs, weights):
        torch.manual_seed(1)
        model.draw_weights = lambda _: weights
        return model.loss(inputs)

    model = build(distill=None)
    weights = torch.tensor([0.7, 0.3, 0.6, 0.1, 0.9, 0.45])
    swapped = images.unflatten(0, (6, 2)).flip(1).flatten(0, 1)
    one, two = losses(images, weights), losses(swapped, 1 - weights)
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=1e-6)
    assert one['loss_recon_dominant'] != one['loss_recon_subordinate']


def test_losses_follow_the_equations_written_out(images, teacher_path):
    """Every term again from its definition, branch by branch, without the batched calls."""
    model = build(teacher=dict(checkpoint=teacher_path), distill=dict(DISTILL, weight=0.5))
    ids = model.draw_visible(images)
    weights = torch.tensor([0.7, 0.3, 0.6, 0.1, 0.9, 0.45])
    model.draw_visible, model.draw_weights = lambda _: ids, lambda _: weights
    losses = model.loss(images)
    mask, restore = masks_from_visible(ids, L)
    assert int(mask[0].sum()) == 12
    layers = dict(dominant=model.disentangle.f_1, subordinate=model.disentangle.f_2)
    for branch, layer in layers.items():
        recon, distill = [], []
        for i, a in enumerate(weights.tolist()):
            one, two = images[2 * i], images[2 * i + 1]
            own = one if (a >= 0.5) == (branch == 'dominant') else two
            mixed = (a * one + (1 - a) * two)[None]
            h = layer(model.backbone(mixed, ids_visible=ids[i : i + 1])[0])
            pred = model.neck(h, restore[i : i + 1])
            recon.append(model.head.loss(pred, own[None], mask[i : i + 1]))
            taught = model.teacher(own[None], ids_visible=ids[i : i + 1])[0]
            distill.append((h[:, 1:] - taught[:, 1:]).square().mean())
        torch.testing.assert_close(losses[f'loss_recon_{branch}'], torch.stack(recon).mean())
        distill = torch.stack(distill).mean()
        torch.testing.assert_close(losses[f'loss_distill_{branch}'], 0.5 * distill)


def test_branches_share_a_decoder_call_and_images_a_teacher_call(images, teacher_path, monkeypatch):
    model = build(teacher=dict(checkpoint=teacher_path))
    calls = []
    for part in ('neck', 'teacher'):
        forward = getattr(model, part).forward

        def counted(*args, part=part, forward=forward, **kwargs):
            calls.append((part, len(args[0]), torch.is_grad_enabled()))
            return forward(*args, **kwargs)

        monkeypatch.setattr(getattr(model, part), 'forward', counted)
    model.loss(images)
    assert sorted(calls) == [('neck', 12, True), ('teacher', 12, False)]


def test_loss_on_all_scores_the_visible_patches_too(images):
    model = build(distill=None, loss_on='all', mix=dict(subordinate=0.3))
    ids = model.draw_visible(images)
    model.draw_visible = lambda _: ids
    mixture = mix_pairs(images, model.draw_weights(images))
    pred = model.decode(model.encode(mixture.images, ids), masks_from_visible(ids, L)[1])
    target = model.head.construct_target(mixture.sources['subordinate'])
    torch.testing.assert_close(
        model.loss(images)['loss_recon_subordinate'], (pred['subordinate'] - target).square().mean()
    )


def test_teacher_sees_the_clean_images_under_the_students_mask(images, teacher_path):
    model = build(teacher=dict(checkpoint=teacher_path))
    seen = []

    def watch(name, forward):
        def watched(x, ids_visible):
            seen.append((name, x, ids_visible))
            return forward(x, ids_visible=ids_visible)

        return watched

    model.backbone.forward = watch('student', model.backbone.forward)
    model.teacher.forward = watch('teacher', model.teacher.forward)
    weights = torch.tensor([0.7, 0.3, 0.6, 0.1, 0.9, 0.45])
    model.draw_weights = lambda _: weights
    model.loss(images)
    (_, mixed, student_ids), (who, clean, teacher_ids) = seen  # one call each
    assert who == 'teacher'
    sources = mix_pairs(images, weights).sources
    assert torch.equal(clean, torch.cat([sources['dominant'], sources['subordinate']]))
    assert torch.equal(teacher_ids, torch.cat([student_ids, student_ids]))
    assert len(mixed) == 6


@pytest.mark.parametrize('account, labels', [({}, False), (dict(images=['0' * 64]), True)])
def test_a_student_of_a_fine_tuned_teacher_has_seen_labels(teacher_path, tmp_path, account, labels):
    tuned = torch.load(teacher_path) | dict(mixae=dict(account, labels_in_pretraining=False))
    torch.save(tuned, tmp_path / 'teacher.pth')
    model = build(teacher=dict(checkpoint=str(tmp_path / 'teacher.pth')))
    assert model.teacher_provenance['labels_in_pretraining'] is labels


def test_teacher_features_are_those_of_the_checkpoint_alone(images, teacher_path):
    model = build(teacher=dict(checkpoint=teacher_path))
    model.train()
    alone = MODELS.build(PARTS['backbone'])
    state = torch.load(teacher_path)['state_dict']
    alone.load_state_dict(
        {k.removeprefix('backbone.'): v for k, v in state.items() if k.startswith('backbone.')}
    )
    alone.eval()
    ids = model.draw_visible(images)
    sources = dict(dominant=images[0::2], subordinate=images[1::2])
    taught = model.teach(sources, ids)
    for branch, source in sources.items():
        expected = alone(source, ids_visible=ids)[0]
        torch.testing.assert_close(taught[branch], expected, rtol=1e-5, atol=1e-5)


def test_teacher_stays_out_of_everything(images, teacher_path):
    model = build(teacher=dict(checkpoint=teacher_path))
    plain = build(distill=None)
    before = copy.deepcopy(model.teacher.state_dict())
    model.train()
    assert not any(m.training for m in model.teacher.modules())
    assert {n for n, _ in model.named_parameters()} == {n for n, _ in plain.named_parameters()}
    assert set(model.state_dict()) - set(plain.state_dict()) == {'teacher_sha256'}
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=1.0)))
    optimized = {id(p) for g in wrapper.optimizer.param_groups for p in g['params']}
    teacher_params = list(model.teacher.parameters())
    assert not optimized & {id(p) for p in teacher_params}
    total(model.loss(images)).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    wrapper.step()
    assert all(p.grad is None and not p.requires_grad for p in teacher_params)
    after = model.teacher.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_teacher_does_not_change_the_students_initialisation(teacher_path):
    one = build(teacher=dict(checkpoint=teacher_path)).state_dict()
    two = build(distill=None).state_dict()
    assert all(torch.equal(one[k], two[k]) for k in two)


def test_teacher_follows_the_student_to_its_device(teacher_path):
    model = build(teacher=dict(checkpoint=teacher_path)).to(torch.float64)
    assert {p.dtype for p in model.teacher.parameters()} == {torch.float64}
    assert model.teacher_sha256.dtype == torch.uint8
    clone = copy.deepcopy(model)
    assert clone.teacher is not model.teacher


def test_the_teachers_cost_is_known(teacher_path, tmp_path):
    unknown = build(teacher=dict(checkpoint=teacher_path)).teacher_provenance
    assert unknown['checkpoint'] == 'mae.pth' and unknown['seconds'] is None
    assert unknown['sha256'] == hashlib.sha256(Path(teacher_path).read_bytes()).hexdigest()
    told = dict(epochs=3, images_seen=300, seconds=1.5, device='cpu', device_count=1, flops=1e9)
    path = str(tmp_path / 'told.pth')
    torch.save({**torch.load(teacher_path), 'mixae': told}, path)
    assert build(teacher=dict(checkpoint=path)).teacher_provenance.items() >= told.items()
    assert build(distill=None).teacher_provenance is None


def test_a_teacher_that_is_no_mae_is_refused(teacher_path, tmp_path):
    content = torch.load(teacher_path)

    def told(name, **account):
        torch.save({**content, 'mixae': account}, tmp_path / name)
        return dict(checkpoint=str(tmp_path / name))

    for account in (dict(method='mae'), dict(method=None), dict(seconds=1.0)):
        assert build(teacher=told('mae.pth', **account)).teacher is not None
    message = r'model\.teacher\.checkpoint=.*x\.pth was pre-trained as mixedae; '
    with pytest.raises(CheckpointError, match=message):
        build(teacher=told('x.pth', method='mixedae'))


def test_resume_needs_the_same_teacher(teacher_path, tmp_path):
    state = build(teacher=dict(checkpoint=teacher_path)).state_dict()
    build(teacher=dict(checkpoint=teacher_path)).load_state_dict(state)
    build(distill=None).load_state_dict(state, strict=False)
    other = build('mmpretrain.MAE', seed=8)
    path = str(tmp_path / 'other.pth')
    torch.save(dict(state_dict=other.state_dict()), path)
    with pytest.raises(ValueError, match='same teacher'):
        build(teacher=dict(checkpoint=path)).load_state_dict(state)
    with pytest.raises(ValueError, match='same teacher'):  # mmengine's own way of loading
        load_state_dict(build(teacher=dict(checkpoint=path)), state)


def test_subordinate_alone(images, teacher_path):
    model = build(teacher=dict(checkpoint=teacher_path), branches='subordinate')
    both = build(teacher=dict(checkpoint=teacher_path))
    assert model.disentangle.f_1 is None
    both.load_state_dict(model.state_dict(), strict=False)
    torch.manual_seed(2)
    losses = model.loss(images)
    torch.manual_seed(2)
    expected = both.loss(images)
    assert not [k for k in losses if 'dominant' in k]
    for key, value in losses.items():
        torch.testing.assert_close(value, expected[key])
    total(losses).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_without_disentanglement_both_branches_are_the_mixed_encoding(images):
    model = build(disentangle=None, distill=None, mix=dict(subordinate=0.3))
    ids = model.draw_visible(images)
    parts = model.encode(images[0::2], ids)
    mixed = model.backbone(images[0::2], ids_visible=ids)[0]
    assert torch.equal(parts['dominant'], mixed) and torch.equal(parts['subordinate'], mixed)


def test_options_of_the_parts(teacher_path):
    plain = build(disentangle=None, distill=None, mix=dict(beta=None, subordinate=0.2))
    assert plain.disentangle is None and plain.distill is None and plain.teacher is None
    assert plain.draw_weights(torch.empty(4, 1)).tolist() == pytest.approx([0.8, 0.8])
    assert build(teacher=dict(checkpoint=teacher_path)).distill.weight == 1.0


def test_disentanglement_layers_share_nothing_and_take_every_token():
    layers = Disentanglement(D)
    x = torch.randn(2, 5, D)
    parts = layers(x)
    expected = x @ layers.f_2.weight.T + layers.f_2.bias
    torch.testing.assert_close(parts['subordinate'], expected)
    assert not torch.allclose(parts['dominant'], parts['subordinate'])


def test_distillation_leaves_the_class_token_out_and_the_teacher_alone():
    student = torch.randn(2, 5, D, requires_grad=True)
    teacher = torch.randn(2, 5, D, requires_grad=True)
    loss = PatchDistillationLoss()(student, teacher)
    expected = nn.MSELoss()(student[:, 1:], teacher[:, 1:])
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert teacher.grad is None
    assert not student.grad[:, 0].any() and student.grad[:, 1:].all()


def test_weights_follow_beta_per_mixture():
    torch.manual_seed(0)
    for b in (1.0, 0.4):
        model = build(distill=None, mix=dict(beta=b))
        drawn = model.draw_weights(torch.empty(4000, 1))
        assert drawn.shape == (2000,) and drawn.unique().numel() > 1900
        assert kstest(drawn.numpy(), beta(b, b).cdf).pvalue > 0.001
    model = build(distill=None, mix=dict(subordinate=0.3))
    torch.testing.assert_close(model.draw_weights(torch.empty(8, 1)), torch.full((4,), 0.7))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(), 'no teacher checkpoint'),
        (dict(teacher=dict(checkpoint=None)), 'no teacher checkpoint'),
        (
            dict(teacher=dict(checkpoint='nowhere/mae.pth')),
            'nowhere/mae.pth.*Pre-train that MAE',
        ),
        (dict(teacher=dict(checkpoint='x', path='y')), 'path'),
        (dict(distill=dict(DISTILL, weight=-1.0), teacher=dict(checkpoint='x')), 'weight=-1.0'),
        (dict(distill=None, mix=dict(subordinate=-0.1)), r'-0.1.*in \[0, 0.5\]'),
        (dict(distill=None, mix=dict(subordinate=0.6)), r'0.6.*in \[0, 0.5\]'),
        (dict(distill=None, mix=dict(beta=0)), "'beta': 0.*above 0"),
        (dict(distill=None, mix=dict(beta=1.0, subordinate=0.5)), 'exactly one'),
        (dict(distill=None, mix=dict(subordinate='abc')), "'abc'.*exactly one"),
        (dict(distill=None, mix=dict(weight=0.3)), "'weight'.*exactly one"),
        (dict(distill=None, mix=dict(beta=None)), 'exactly one'),
        (dict(distill=None, mix=['subordinate', 0.3]), "'subordinate', 0.3.*exactly one"),
        (dict(distill=False), 'distill=False.*None'),
        (dict(distill=None, disentangle=True), 'disentangle=True.*dict'),
        (dict(distill=None, loss_on='visible'), 'visible'),
        (dict(distill=None, branches='dominant'), 'dominant'),
        (dict(distill=None, disentangle=dict(DISENTANGLE, branches=())), 'at least one'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_bad_batch_and_bad_backbone(images):
    with pytest.raises(ValueError, match='11 images'):
        build(distill=None).loss(images[:11])
    parts = copy.deepcopy(PARTS)
    parts['backbone']['mask_ratio'] = None
    with pytest.raises(ValueError, match='mask_ratio=None'):
        IMAE(**parts, **{**METHOD, 'distill': None})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(arch={**ARCH, 'embed_dims': 32}), r'\(32, 3, 4, 4\), the student \(24, 3, 4, 4\)'),
        (dict(patch_size=2, img_size=8), r'\(24, 3, 2, 2\), the student \(24, 3, 4, 4\)'),
        (dict(img_size=32), r'pos_embed \(1, 65, 24\), the student \(1, 17, 24\)'),
        (dict(arch={**ARCH, 'num_layers': 3}), 'unexpected keys'),
    ],
)
def test_teacher_that_does_not_fit(change, message, tmp_path):
    encoder = MODELS.build({**PARTS['backbone'], **change})
    path = str(tmp_path / 'mae.pth')
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in encoder.state_dict().items()}), path)
    with pytest.raises(ValueError, match=message):
        build(teacher=dict(checkpoint=path))


def test_teacher_of_another_depth_with_its_own_config(tmp_path, images):
    config = {**PARTS['backbone'], 'arch': {**ARCH, 'num_layers': 3}}
    encoder = MODELS.build(config)
    path = str(tmp_path / 'mae.pth')
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in encoder.state_dict().items()}), path)
    model = build(teacher=dict(checkpoint=path, backbone=config))
    assert len(model.teacher.layers) == 3 and torch.isfinite(total(model.loss(images)))
