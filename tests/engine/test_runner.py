"""The Runner on real, small runs: resuming, checkpoints, costs, curves and records."""

import copy
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from mixae.checkpoints.account import read_origin
from mixae.checkpoints.read import read_checkpoint
from mixae.engine import launch
from mixae.engine.hooks.topk_accuracy import CURVE_FILE, read_curve
from mixae.engine.optim import fuse
from mixae.engine.runner import MixaeRunner
from mixae.engine.work_dir import checkpoints, latest_checkpoint
from mixae.errors import CheckpointError, ConfigError, DataError, MixaeError
from mixae.evaluation.pseudo_labels import make_pseudo_labels
from mixae.models.losses.homologous_contrastive import supcon_floor
from mixae.registry import HOOKS, OPTIM_WRAPPERS
from mixae.results.names import settings_apart
from mixae.results.record import read_record
from mixae.visualization.curves import curve_rows
from tests.states import same, snapshot

MIXEDAE = 'mixedae/vitt_cifar10_2000e.py'
MAE = 'mae/vitt_cifar10_2000e.py'
IMAE = 'imae/vitt_cifar10_2000e.py'
STEPS = 6  # 48 images in batches of 8


@HOOKS.register_module()
class StopHook(Hook):
    """Ends a run before a step, as a power cut would, or spoils a loss or gradients from there."""

    def __init__(self, at: int, spoil: str | None = None, times: int = 10**6) -> None:
        self.at, self.spoil, self.times = at, spoil, times

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter != self.at:
            return
        if self.spoil is None:
            raise KeyboardInterrupt
        self.before = {k: v.clone() for k, v in runner.model.state_dict().items()}
        if self.spoil == 'loss':
            data_batch['inputs'] = data_batch['inputs'].float()
            data_batch['inputs'][0] = torch.nan
        else:
            runner.model.neck.mask_token.register_hook(self.overflow)

    def overflow(self, grad):
        self.times -= 1
        return grad * torch.inf if self.times >= 0 else grad


@OPTIM_WRAPPERS.register_module()
class ScalingOptimWrapper(OptimWrapper):
    """Loss scaling as mmengine's ``AmpOptimWrapper``, which asserts a GPU."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu')

    def backward(self, loss, **kwargs) -> None:
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs) -> None:
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()


def stopping(cfg, **options):
    cfg.custom_hooks = [dict(type='mixae.StopHook', **options)]
    return cfg


@pytest.fixture
def pretrained(runs, small_config):
    """The work directory of a MixedAE trained for 2 epochs without a break; made once."""
    folder = runs / 'pretrained'
    if not (folder / 'epoch_2.pth').exists():
        launch.train(small_config(MIXEDAE, folder))
    return folder


# Resuming.


def test_a_stop_and_a_resume_give_what_a_straight_run_gives(pretrained, small_config, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        launch.train(stopping(small_config(MIXEDAE, tmp_path / 'first'), at=0))
    assert not _get_current_dispatch_mode_stack(), 'operations are no longer counted'
    with pytest.raises(KeyboardInterrupt):
        launch.train(stopping(small_config(MIXEDAE), at=STEPS + 3))
    assert [p.name for p in checkpoints(tmp_path / 'run')] == ['epoch_1.pth']
    launch.train(small_config(MIXEDAE), resume=True)
    for mine, straight in zip(
        snapshot(tmp_path / 'run' / 'epoch_2.pth'),
        snapshot(pretrained / 'epoch_2.pth'),
        strict=True,
    ):
        assert same(mine, straight)

    # Costs add up, and the curve goes on where the checkpoint was.
    told, straight = (
        read_checkpoint(folder / 'epoch_2.pth')['mixae']
        for folder in (tmp_path / 'run', pretrained)
    )
    assert told['images_seen'] == straight['images_seen'] == 2 * 48
    assert told['flops'] == pytest.approx(straight['flops'])
    first = read_checkpoint(tmp_path / 'run' / 'epoch_1.pth')['mixae']
    assert first['images_seen'] == 48
    assert first['seconds'] < told['seconds']


@pytest.mark.parametrize('epochs', [0.5 / STEPS, 1 / STEPS])
def test_a_warm_up_of_one_step_is_none(small_config, tmp_path, epochs):
    """mmengine's LinearLR stays at its first factor then: a run at a thousandth of its rate."""
    cfg = small_config(MIXEDAE, epochs=1)
    cfg.warmup_epochs = epochs
    runner = launch.train(cfg)
    (cosine,) = runner.param_schedulers
    assert cosine.base_values == pytest.approx([1.5e-4 * 8 / 256] * len(cosine.base_values))


def test_the_rate_climbs_to_its_peak_and_falls_to_zero(pretrained, small_config, tmp_path):
    cfg = small_config(MIXEDAE, epochs=3)
    cfg.warmup_epochs = 1
    runner = launch.train(cfg)
    rates = [
        json.loads(line)['lr']
        for line in next((tmp_path / 'run').glob('*/vis_data/scalars.json')).read_text().split('\n')
        if line
    ]
    peak = 1.5e-4 * 8 / 256
    assert len(rates) == 3 * STEPS
    assert max(rates) == pytest.approx(peak, rel=1e-3)
    assert rates.index(max(rates)) in (STEPS - 1, STEPS)
    assert rates == sorted(rates[:STEPS]) + sorted(rates[STEPS:], reverse=True)
    assert rates[-1] < 0.02 * peak
    assert runner.iter == 3 * STEPS


def test_resume_with_nothing_names_the_folder(small_config, tmp_path):
    with pytest.raises(ConfigError, match=f'no checkpoint to resume in {tmp_path}'):
        launch.train(small_config(MIXEDAE), resume=True)


def test_resume_passes_over_a_broken_last_checkpoint(pretrained, tmp_path):
    content = (pretrained / 'epoch_1.pth').read_bytes()
    (tmp_path / 'epoch_9.pth').write_bytes(content)
    (tmp_path / 'epoch_10.pth').write_bytes(content[:-100])
    assert latest_checkpoint(tmp_path).name == 'epoch_9.pth'


def test_another_architecture_is_not_resumed(pretrained, small_config):
    cfg = small_config(MIXEDAE)
    cfg.model.backbone.arch.embed_dims = 32
    with pytest.raises(ConfigError, match='cannot be resumed.*embed_dims was 16, is 32'):
        launch.train(cfg, resume=str(pretrained / 'epoch_2.pth'))


def test_an_earlier_run_is_not_written_over(pretrained, small_config):
    before = {p: p.read_bytes() for p in checkpoints(pretrained)}
    with pytest.raises(ConfigError, match='--resume to continue it, .* --overwrite'):
        launch.train(small_config(MIXEDAE, pretrained))
    assert {p: p.read_bytes() for p in checkpoints(pretrained)} == before


@pytest.mark.parametrize('error', [ConfigError, CheckpointError, DataError])
def test_a_message_from_a_component_keeps_its_kind(monkeypatch, error):
    def refuse(self, model):
        raise error('refused')

    monkeypatch.setattr(Runner, 'build_model', refuse)
    with pytest.raises(error, match='refused'):
        MixaeRunner.__new__(MixaeRunner).build_model({})


def test_a_data_set_smaller_than_a_batch_is_named(small_config):
    cfg = small_config(MIXEDAE)
    cfg.train_dataloader.batch_size = 64
    with pytest.raises(ConfigError, match='no step: 48 training images, 64 a process'):
        launch.train(cfg)


# Checkpoints.


def test_what_the_runner_saves_is_read_safely_and_loads_into_a_classifier(pretrained):
    content = read_checkpoint(pretrained / 'epoch_2.pth')
    assert content['message_hub']['log_scalars']
    assert content['meta']['epoch'] == 2


def test_a_failure_while_writing_leaves_the_earlier_checkpoint(
    pretrained, small_config, tmp_path, monkeypatch
):
    """A full disk in the middle of the second checkpoint."""
    real = Runner.save_checkpoint

    def full_disk(self, out_dir, filename, *args, **kwargs):
        real(self, out_dir, filename, *args, **kwargs)
        if self.epoch == 1:
            with open(Path(out_dir) / filename, 'r+b') as file:
                file.truncate(1000)
            raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Runner, 'save_checkpoint', full_disk)
    with pytest.raises(OSError, match='No space left'):
        launch.train(small_config(MIXEDAE))
    assert not list((tmp_path / 'run').glob('.*.partial*'))
    assert latest_checkpoint(tmp_path / 'run').name == 'epoch_1.pth'
    for mine, straight in zip(
        snapshot(tmp_path / 'run' / 'epoch_1.pth'),
        snapshot(pretrained / 'epoch_1.pth'),
        strict=True,
    ):
        assert same(mine, straight)


# Losses and gradients that are not finite.


@pytest.mark.parametrize(
    'spoil, names',
    [
        ('loss', 'loss_recon = nan'),
        ('gradient', 'the gradient of neck.mask_token'),
    ],
)
def test_what_is_not_finite_stops_the_run_before_the_step(small_config, tmp_path, spoil, names):
    cfg = stopping(small_config(MIXEDAE), at=STEPS + 1, spoil=spoil)
    runner = launch.build_runner(cfg)
    with pytest.raises(MixaeError, match=rf'Iteration 8 \(epoch 2\).*{names}'):
        runner.train()
    hook = next(h for h in runner.hooks if isinstance(h, StopHook))
    assert same(dict(runner.model.state_dict()), hook.before)
    assert [p.name for p in checkpoints(tmp_path / 'run')] == ['epoch_1.pth']
    state, _, _ = snapshot(tmp_path / 'run' / 'epoch_1.pth')
    assert all(v.isfinite().all() for v in state.values())


@pytest.mark.parametrize(
    'spoil, names, at, saved',
    [
        ('loss', 'loss_recon = nan, .*the gradient of ', STEPS + 1, 'epoch_1.pth'),
        ('gradient', 'the gradient of neck.mask_token', 3 * STEPS - 1, 'epoch_2.pth'),
    ],
)
def test_a_fused_step_is_left_out_by_the_device(small_config, tmp_path, spoil, names, at, saved):
    """At the next step, or before a checkpoint; what is saved is from before."""
    cfg = stopping(small_config(MIXEDAE), at=at, spoil=spoil)
    cfg.optim_wrapper.optimizer.fused = True
    cfg.train_cfg.max_epochs = 3
    runner = launch.build_runner(cfg)
    with pytest.raises(MixaeError, match=rf'Iteration {at + 1} \(.*{names}'):
        runner.train()
    hook = next(h for h in runner.hooks if isinstance(h, StopHook))
    assert same(dict(runner.model.state_dict()), hook.before)
    assert checkpoints(tmp_path / 'run')[-1].name == saved


def test_adamw_is_fused_where_nothing_else_was_asked_for():
    model = torch.nn.Linear(4, 3)

    def steps(prepare, **options):
        torch.manual_seed(0)
        mine = copy.deepcopy(model)
        wrapper = OptimWrapper(torch.optim.AdamW(mine.parameters(), lr=1e-2, **options))
        prepare(wrapper)
        for _ in range(5):
            wrapper.update_params(mine(torch.randn(8, 4)).square().mean())
        return mine.weight.detach(), wrapper.optimizer

    plain, _ = steps(lambda wrapper: None)
    fused, optimizer = steps(fuse)
    assert optimizer.param_groups[0]['fused'] and not torch.equal(plain, model.weight)
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-7)
    # A resumed run goes on as it began.
    again = torch.optim.AdamW(model.parameters(), fused=True)
    again.load_state_dict(steps(lambda wrapper: None)[1].state_dict())
    assert again.param_groups[0]['fused'] is None
    assert steps(fuse, foreach=False)[1].param_groups[0]['fused'] is None
    fuse(wrapper := OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    assert not wrapper.optimizer.param_groups[0]['fused']


def scaling(cfg, **options):
    cfg = stopping(cfg, **options)
    cfg.optim_wrapper.type = 'mixae.ScalingOptimWrapper'
    cfg.optim_wrapper.pop('dtype', None)
    cfg.train_cfg.max_epochs = 6
    return launch.build_runner(cfg)


@pytest.mark.parametrize(
    'spoil, names',
    [
        ('loss', r'Iteration 8 \(epoch 2\).*loss_recon = nan'),
        # A loss scaler skips such steps, all of them without a word.
        ('gradient', r'Iteration 27 \(epoch 5\).*20 steps in a row.*loss scale.*0\.0625'),
    ],
)
def test_what_a_loss_scaler_would_skip_for_good_stops_the_run(small_config, spoil, names):
    with pytest.raises(MixaeError, match=names):
        scaling(small_config(MIXEDAE), at=STEPS + 1, spoil=spoil).train()


def test_a_loss_scaler_may_skip_what_overflows(small_config):
    runner = scaling(small_config(MIXEDAE), at=STEPS + 1, spoil='gradient', times=19)
    runner.train()
    assert runner.iter == 6 * STEPS


# Seeds of a step.


def test_a_steps_randomness_depends_on_seed_process_and_iteration(monkeypatch):
    from types import SimpleNamespace

    from mixae.engine import hooks

    def drawn(seed=0, rank=0, iteration=0):
        torch.rand(3)
        hooks.SeedIterationHook().before_train_iter(
            SimpleNamespace(seed=seed, rank=rank, iter=iteration), 0
        )
        return torch.rand(4).tolist()

    assert drawn() == drawn()
    different = [drawn(), drawn(seed=1), drawn(rank=1), drawn(iteration=1)]
    assert len({tuple(d) for d in different}) == 4


# The TopK accuracy curve.


def test_the_curve_has_a_line_a_reading_and_travels_in_the_checkpoint(small_config, tmp_path):
    cfg = small_config(MIXEDAE)
    cfg.default_hooks.topk_accuracy.interval = 2
    with pytest.raises(KeyboardInterrupt):
        launch.train(stopping(cfg, at=STEPS + 3))  # one reading after the checkpoint
    path = tmp_path / 'run' / CURVE_FILE
    assert [row['iter'] for row in read_curve(path)] == [1, 2, 4, 6, 8]
    with open(path, 'a') as file:
        file.write('{"iter": 9, "ep')  # cut short by the kill
    cfg = small_config(MIXEDAE)
    cfg.default_hooks.topk_accuracy.interval = 2
    launch.train(cfg, resume=True)
    rows = read_curve(path)
    assert [row['iter'] for row in rows] == [1, 2, 4, 6, 8, 10, 12]
    assert [row['epoch'] for row in rows] == [1, 1, 1, 1, 2, 2, 2]
    assert all(set(row['layers']) == {'1', '2'} for row in rows)  # the first layer is global
    assert rows[0]['chance'] == pytest.approx((16 / 4 - 1) / 15)
    curves = read_checkpoint(tmp_path / 'run' / 'epoch_2.pth')['mixae']['curves']
    topk, loss = curves['topk_accuracy'], curves['contrastive_loss']
    assert topk['x'] == loss['x'] == [row['iter'] for row in rows]
    assert topk['lines']['layer 2'] == [row['layers']['2'] for row in rows]
    assert loss['lines']['loss'] == [row['contrast'] for row in rows]
    assert loss['reference'] == pytest.approx(supcon_floor(16, 4, 0.25))
    assert all(row['contrast'] > loss['reference'] for row in rows)


@pytest.mark.parametrize(
    'off, left',
    [
        ({'model.attention.mode': 'global'}, {'contrastive_loss'}),
        ({'model.contrast': None}, {'topk_accuracy'}),
        ({'model.attention.mode': 'global', 'model.contrast': None}, None),
    ],
    ids=str,
)
def test_what_is_off_has_no_curve(small_config, tmp_path, off, left):
    cfg = small_config(MIXEDAE, epochs=1)
    cfg.merge_from_dict(off)
    launch.train(cfg)
    curves = read_checkpoint(tmp_path / 'run' / 'epoch_1.pth')['mixae'].get('curves')
    assert (set(curves) if curves else None) == left
    if 'topk_accuracy' not in (left or ()):
        with pytest.raises(MixaeError, match='no reading|There is no'):
            curve_rows(tmp_path / 'run')


def test_a_model_without_homologous_attention_is_refused(small_config):
    cfg = small_config(MAE)
    cfg.default_hooks.topk_accuracy = dict(type='mixae.TopKAccuracyHook')
    with pytest.raises(ConfigError, match='MAE has none'):
        launch.train(cfg)


# What training cost.


def test_validation_of_other_classes_is_refused(pretrained, small_config, tmp_path):
    """As Tiny-ImageNet's archive unpacks: all validation images in one folder."""
    cfg = small_config('transfer/cifar/cifar10_vitt_finetune.py', epochs=1)
    flat = tmp_path / 'flat' / 'test'
    (flat / 'images').mkdir(parents=True)
    source = Path(cfg.val_dataloader.dataset.dataset.data_root, 'test', 'zero')
    for image in source.iterdir():
        shutil.copy(image, flat / 'images')
    cfg.val_dataloader.dataset.dataset.data_root = str(flat.parent)
    with pytest.raises(ConfigError, match=r'4 \(flower, .*the test images 1 \(images\)'):
        launch.train(cfg, pretrained=str(pretrained / 'epoch_2.pth'))


# i-MAE.


@pytest.fixture
def mae_checkpoint(runs, small_config):
    """An MAE trained for an epoch, the teacher; made once."""
    folder = runs / 'teacher'
    if not (folder / 'epoch_1.pth').exists():
        launch.train(small_config(MAE, folder, epochs=1))
    return folder / 'epoch_1.pth'


def imae_config(small_config, teacher, work_dir, epochs=2, **overrides):
    cfg = small_config(IMAE, work_dir, epochs)
    cfg.model.teacher.checkpoint = str(teacher)
    cfg.merge_from_dict(overrides)
    return cfg


RATIO = 'train_dataloader.sampler.same_class_ratio'


def test_imae_stopped_and_resumed_is_a_straight_run(mae_checkpoint, small_config, tmp_path):
    """Pairs, factors and masks repeat; so do the cost and what the checkpoint says of labels."""

    def cfg(name):
        return imae_config(small_config, mae_checkpoint, tmp_path / name, **{RATIO: 0.5})

    launch.train(cfg('straight'))
    steps = 2 * STEPS  # every image twice an epoch
    with pytest.raises(KeyboardInterrupt):
        launch.train(stopping(cfg('run'), at=steps + 3))
    launch.train(cfg('run'), resume=True)
    straight, resumed = (tmp_path / name / 'epoch_2.pth' for name in ('straight', 'run'))
    assert same(snapshot(straight), snapshot(resumed))
    assert not same(snapshot(straight)[0], snapshot(tmp_path / 'straight' / 'epoch_1.pth')[0])
    for told in (read_checkpoint(path)['mixae'] for path in (straight, resumed)):
        assert told['images_seen'] == 2 * 2 * 48 and told['labels_in_pretraining'] is True
        assert told['teacher']['images_seen'] == 48
        assert told['teacher']['labels_in_pretraining'] is False
        variant = dict(distill=1.0, disentangle=True, mix='beta=1.0', same_class_ratio=0.5)
        assert told['variant'].items() >= variant.items()
    # The encoder goes into a classifier like any other; the record carries the teacher's cost.
    launch.test(small_config('transfer/cifar/cifar10_vitt_knn.py'), str(straight))
    (record,) = (tmp_path / 'run' / 'records').glob('*-knn-*')
    block = read_record(record)['pretraining']
    assert block['labels_in_pretraining'] is True and block['teacher']['images_seen'] == 48


def test_who_learns_from_labels_at_second_hand_says_so(mae_checkpoint, small_config, tmp_path):
    """A teacher, or pseudo-classes, of a model that saw labels."""
    saw = tmp_path / 'saw_labels.pth'
    content = torch.load(mae_checkpoint, weights_only=False)
    content['mixae']['labels_in_pretraining'] = True
    torch.save(content, saw)

    def told(name, **overrides):
        cfg = imae_config(small_config, mae_checkpoint, tmp_path / name, 1, **overrides)
        launch.train(cfg)
        return read_checkpoint(tmp_path / name / 'epoch_1.pth')['mixae']

    assert told('plain')['labels_in_pretraining'] is False
    student = told('student', **{'model.teacher.checkpoint': str(saw)})
    assert student['labels_in_pretraining'] is True
    for path, labels in ((mae_checkpoint, False), (saw, True)):
        data = small_config('transfer/cifar/cifar10_vitt_knn.py')
        make_pseudo_labels(data, str(path), tmp_path / f'{labels}.npz', k=3, device='cpu')
        pseudo = {
            RATIO: 0.5,
            'train_dataloader.sampler.pseudo_labels': str(tmp_path / f'{labels}.npz'),
        }
        found = told(f'pseudo_{labels}', **pseudo)
        assert found['labels_in_pretraining'] is labels
        assert found['variant']['pseudo_labels'].startswith('k=3, seed=0, of ')
        assert (found['pseudo_labels']['k'], found['pseudo_labels']['dataset']) == (3, 'cifar10')


def test_flops_are_those_an_analytic_count_gives(small_config, tmp_path):
    """MAE: encoder on 5 tokens, decoder on 17; a backward pass costs two forward passes."""
    cfg = small_config(MAE, epochs=1)
    launch.train(cfg)
    D, F, depth, d, patch, L = 16, 32, 3, 16, 8 * 8 * 3, 16

    def layer(n, width, hidden):
        linear = 4 * width * width + 2 * width * hidden
        return 2 * n * linear + 4 * n * n * width

    once = 2 * L * patch * D  # its input has no gradient
    twice = (
        depth * layer(5, D, F) + layer(L + 1, d, 4 * d) + 2 * 5 * D * d + 2 * (L + 1) * d * patch
    )
    expected = 2 * once + 3 * twice
    told = read_checkpoint(tmp_path / 'run' / 'epoch_1.pth')['mixae']
    assert told['flops_per_image'] == pytest.approx(expected, rel=0.05)
    assert told['flops'] == pytest.approx(48 * told['flops_per_image'])


def test_a_checkpoint_says_what_was_trained(pretrained):
    told = read_checkpoint(pretrained / 'epoch_2.pth')['mixae']
    assert told['method'] == 'mixedae'
    assert told['variant']['mode'] == 'topk'
    assert told['variant']['topk'] == 'auto'  # a row of a table shows no K that was derived
    assert settings_apart('mixedae', told['variant']) == {}
    assert told['backbone'] == dict(arch='ViT-16x3', patch_size=8, img_size=32)
    assert (told['dataset'], told['epochs'], told['seed']) == ('cifar10', 2, 0)
    assert told['labels_in_pretraining'] is False


# Records.


def records(folder):
    return [read_record(path) for path in sorted((folder / 'records').glob('*.json'))]


@pytest.mark.parametrize('protocol', ['linear', 'knn'])
@pytest.mark.parametrize('start', ['pretrained', 'scratch'])
def test_a_probe_writes_a_record(pretrained, small_config, tmp_path, protocol, start):
    cfg = small_config(f'transfer/cifar/cifar10_vitt_{protocol}.py')
    checkpoint = 'scratch' if start == 'scratch' else str(pretrained / 'epoch_2.pth')
    metrics = launch.test(cfg, checkpoint)
    (record,) = records(tmp_path / 'run')
    assert record['task'] == protocol
    assert record['method'] == ('mixedae' if start == 'pretrained' else 'random')
    assert record['metrics']['accuracy/top1']['value'] == pytest.approx(metrics['accuracy/top1'])
    assert (record['dataset']['n_train'], record['dataset']['n_test']) == (48, 24)
    if start == 'scratch':
        assert record['pretraining'] is None
    else:
        assert record['pretraining']['images_seen'] == 96
        assert record['pretraining']['checkpoint'] == 'epoch_2.pth'
        assert record['pretraining']['labels_in_pretraining'] is False
        assert record['variant']['mode'] == 'topk'
    assert not [text for text in _texts(record) if os.sep + 'tmp' in text]


def _texts(node):
    if isinstance(node, dict):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield node


@pytest.mark.parametrize('start', ['pretrained', 'scratch'])
def test_fine_tuning_and_its_test_write_records(pretrained, small_config, tmp_path, start):
    checkpoint = 'scratch' if start == 'scratch' else str(pretrained / 'epoch_2.pth')
    config = 'transfer/cifar/cifar10_vitt_finetune.py'
    launch.train(small_config(config), pretrained=checkpoint)
    (trained,) = records(tmp_path / 'run')
    cfg = small_config(config, tmp_path / 'test')
    metrics = launch.test(cfg, str(tmp_path / 'run' / 'epoch_2.pth'))
    (tested,) = records(tmp_path / 'test')
    for record in (trained, tested):
        task, method = ('finetune', 'mixedae') if start == 'pretrained' else ('scratch', 'scratch')
        assert (record['task'], record['method']) == (task, method)
        assert record['metrics']['accuracy/top1']['value'] == metrics['accuracy/top1']
        if start == 'pretrained':
            assert record['pretraining']['images_seen'] == 96
        else:
            assert record['pretraining'] is None
    assert trained['cost']['images_seen'] == 96


def test_fine_tuning_starts_from_the_pretrained_weights(pretrained, small_config):
    cfg = small_config('transfer/cifar/cifar10_vitt_finetune.py', epochs=1)
    cfg.optim_wrapper.optimizer.lr = 1e-12
    runner = launch.train(cfg, pretrained=str(pretrained / 'epoch_2.pth'))
    state, _, _ = snapshot(pretrained / 'epoch_2.pth')
    for key in ('layers.0.attn.qkv.weight', 'layers.2.ffn.layers.1.weight', 'cls_token'):
        torch.testing.assert_close(
            runner.model.state_dict()[f'backbone.{key}'], state[f'backbone.{key}']
        )


def test_seeds_share_a_recipe_and_another_rate_is_another(small_config, tmp_path):
    recipes = []
    for name, seed, rate in (('a', 0, 1.5e-4), ('b', 1, 1.5e-4), ('c', 2, 3e-4)):
        cfg = small_config(MIXEDAE, tmp_path / name, epochs=1)
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
        cfg.base_lr = rate
        launch.train(cfg)
        recipes.append(read_origin(tmp_path / name / 'epoch_1.pth')['pretraining']['recipe_sha256'])
    assert recipes[0] == recipes[1] != recipes[2]
