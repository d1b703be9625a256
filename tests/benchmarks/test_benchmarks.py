"""The benchmarks run, and compute what they say: no timing is asserted."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixae.errors import MixaeError

BENCHMARKS = Path(__file__).resolve().parents[2] / 'benchmarks'

# ViT-mini: the real configs' models, small enough for a test.
TINY = {
    'model.backbone.arch': dict(
        _delete_=True, embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64
    ),
    'model.neck.decoder_embed_dim': 32,
    'model.neck.decoder_depth': 1,
    'model.neck.decoder_num_heads': 2,
}


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


pretrain_step = load('pretrain_step')
loader = load('loader')


@pytest.fixture(scope='module')
def bench():
    pretrain_step.quiet()
    return pretrain_step.Bench('vitt_32', 'bf16', 8, parts=True, options=TINY)


def test_every_step_trains_every_parameter_it_should(bench):
    for method, step in bench.steps.items():
        model = bench.models[pretrain_step.family(method)]
        before = {k: v.clone() for k, v in model.named_parameters() if v.requires_grad}
        step()
        same = [k for k, v in model.named_parameters() if k in before and torch.equal(v, before[k])]
        unused = method in pretrain_step.MIXEDAE and not pretrain_step.MIXEDAE[method]['contrast']
        # Only the contrastive head may rest, and only where its loss is off.
        assert not [k for k in same if not (unused and k.startswith('contrast.'))], method


def test_variants_are_the_modes_they_name_and_leave_the_model_as_configured(bench):
    model = bench.models['mixedae']
    seen = []
    attention, contrast = model.attention, model.contrast
    hook = attention.register_forward_pre_hook(
        lambda module, args: seen.append((module.mode, module.fused, model.contrast is not None))
    )
    for method, wanted in pretrain_step.MIXEDAE.items():
        seen.clear()
        bench.step(method)
        expected = (wanted['mode'], wanted.get('fused', True), wanted['contrast'])
        assert set(seen) == {expected}, method
    hook.remove()
    assert model.contrast is contrast and attention.mode == 'topk' and attention.fused


def test_steps_take_equal_images(bench):
    counts = {}
    hooks = [
        model.data_preprocessor.register_forward_hook(
            lambda _, args, out, name=name: counts.update({name: len(out['inputs'])})
        )
        for name, model in bench.models.items()
    ]
    for step in bench.steps.values():
        step()
    for hook in hooks:
        hook.remove()
    assert counts == dict(mae=8, mixedae=8, imae=8)


def test_flops_are_those_counted_by_hand(bench):
    flops = bench.flops()
    D, d, hidden, tokens, L, G, patch = 32, 32, 64, 17, 64, 4, 48

    def layer(width, hidden, n, span):  # an image's n tokens, attention over span of them
        return 2 * n * (4 * width**2 + 2 * width * hidden) + 4 * n * span * width

    embed = 2 * L * patch * D
    encoder = 2 * layer(D, hidden, tokens, tokens)
    head = 2 * tokens * D * d + 2 * (L + 1) * d * patch
    decoder = layer(d, 4 * d, L + 1, L + 1) + head
    # Backward is two products for each one forward, but the pixels need no gradient.
    assert flops['mae'] == pytest.approx(3 * (encoder + decoder) + 2 * embed)
    # Attention over the group: per layer 4 n (G n - n) D more forward, and twice that backward.
    wider = 3 * 2 * 4 * tokens * (G - 1) * tokens * D
    assert flops['mixedae-global'] == pytest.approx(flops['mae'] + wider)
    assert flops['mixedae-masked'] == pytest.approx(flops['mae'])
    assert flops['mixedae-topk'] == pytest.approx(flops['mixedae-global'])
    assert flops['mixedae'] > flops['mixedae-topk']


def test_parts_run_and_leave_no_gradient(bench):
    for part in bench.parts.values():
        part()
    for model in bench.models.values():
        assert all(p.grad is None for p in model.parameters())


def test_interleaving_gives_every_job_a_turn_in_every_round():
    calls = []
    jobs = {name: (lambda name=name: calls.append(name)) for name in 'abc'}
    times = pretrain_step.interleave(jobs, rounds=3, warmup=1)
    rounds = [calls[i : i + 3] for i in range(0, len(calls), 3)]
    assert len(rounds) == 4 and all(sorted(r) == ['a', 'b', 'c'] for r in rounds)
    assert len({tuple(r) for r in rounds}) > 1
    assert all(len(t['wall']) == len(t['cpu']) == 3 for t in times.values())
    with pytest.raises(ValueError, match='rounds=0'):
        pretrain_step.interleave(jobs, rounds=0)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=9), st.floats(0.1, 10))
def test_a_slow_round_does_not_change_a_ratio(noise, factor):
    noise = np.asarray(noise)  # what each round was slowed down by, all jobs alike
    times = dict(mae=dict(wall=noise), other=dict(wall=factor * noise))
    ratio = pretrain_step.ratios(times, 'other')
    assert all(math.isclose(value, factor, rel_tol=1e-9) for value in ratio.values())


def test_prediction_of_imae_is_the_arithmetic():
    seconds = {
        'mae': 10.0, 'encoder': 4.0, 'encoder-half': 2.0, 'decoder': 4.5, 'teacher': 1.3,
        'optimizer': 1.0,
    }  # fmt: skip
    times = {name: dict(wall=[value]) for name, value in seconds.items()}
    # Half the student's encoder, the decoder, the teacher, AdamW, and the 0.5 s of the rest.
    assert pretrain_step.predict_imae(times) == pytest.approx(2 + 4.5 + 1.3 + 1 + 0.5)


def test_measure_writes_a_whole_result():
    result = pretrain_step.measure(
        'vitt_32', 'fp32', 8, methods=('mae', 'mixedae'), rounds=1, warmup=0, options=TINY,
        peak_tflops=1.0,
    )  # fmt: skip
    result = json.loads(json.dumps(result))
    row = result['methods']['mixedae']
    assert set(result['methods']) == {'mae', 'mixedae'}
    assert row['mfu'] == pytest.approx(
        row['gflops_per_image'] * 1e9 * row['images_per_second'] / 1e12
    )
    assert result['methods']['mae']['ratio_wall'] == dict(median=1.0, q1=1.0, q3=1.0)
    text = pretrain_step.table(result, 'cpu')
    assert pretrain_step.LABELS['mixedae'] in text and 'MFU' in text


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(setting='vitx'), "setting 'vitx'"),
        (dict(precision='fp16'), "precision 'fp16'"),
        (dict(method='mixmae'), "method 'mixmae'"),
    ],
)
def test_wrong_names_are_named(wrong, message):
    arguments = dict(setting='vitt_32', method='mae', precision='bf16', batch=8) | wrong
    with pytest.raises(ValueError, match=message):
        pretrain_step.load_config(**arguments)


def test_loader_measures_any_folder_of_images(image_folder):
    dataset = loader.build_dataset('imagenet', str(image_folder), 'train')
    row = loader.measure(dataset, images=4, warmup=1)
    assert dataset[0]['inputs'].shape == (3, 224, 224)  # the config's own pipeline
    assert row['images'] == 4 and row['side'] == [32, 32]
    assert 0 < row['per_core_second'] and 0 < row['per_second']


def test_loaders_peers_read_the_same_files_by_the_same_crop(image_folder):
    dataset = loader.build_dataset('imagenet', str(image_folder), 'train')
    datasets = dict(imagenet=dataset, **loader.build_peers(dataset))
    assert {len(one) for one in datasets.values()} == {48}
    images = [datasets['imagenet'][0]['inputs'], datasets['mmpretrain'][0]['inputs']]
    images.append(torch.as_tensor(datasets['timm'][0][0]))
    assert all(x.shape == (3, 224, 224) and x.dtype == torch.uint8 for x in images)
    rows = loader.take_turns(datasets, images=2, rounds=1)
    assert rows['imagenet']['ratio'] == 1
    assert set(rows) == {'imagenet', 'decoding alone', 'mmpretrain', 'timm'}
    assert all(row['per_core_second'] > 0 for row in rows.values())


def test_loader_reads_a_flat_folder_too(image_folder):
    dataset = loader.build_dataset('cifar10', str(image_folder / 'train'), 'temple')
    assert len(dataset) == 12 and dataset[0]['inputs'].shape == (3, 32, 32)


def test_loader_measures_the_data_set_on_the_device(image_folder):
    row = loader.measure_on_device('cifar10', 'cpu', 8, str(image_folder), 'train', batch=4)
    assert row['images'] == 8 and row['per_second'] > 0 and row['core'] > 0


@pytest.mark.parametrize(
    'step, rate, workers', [(1000, 100, 12), (1000, 1200, 1), (100, 1000, 1), (1001, 100, 13)]
)
def test_workers_cover_the_step_with_a_fifth_to_spare(step, rate, workers):
    assert loader.workers_needed(step, rate) == workers
    assert (workers - 1) * rate < step * 1.2 <= workers * rate


def test_loader_names_what_is_missing(tmp_path):
    with pytest.raises(MixaeError, match='nowhere'):
        loader.build_dataset('imagenet', str(tmp_path / 'nowhere'))
    with pytest.raises(ValueError, match='positive'):
        loader.workers_needed(0, 10)


def test_the_step_is_a_number_or_what_pretrain_step_wrote(tmp_path):
    file = tmp_path / 'steps.json'
    results = [
        dict(setting=setting, methods=dict(mae=dict(images_per_second=rate)))
        for setting, rate in (('vitb_224', 3.0), ('vitb_224', 5.0), ('vitt_32', 100.0))
    ]
    file.write_text(json.dumps(dict(results=results)))
    assert loader.step_rate('2500', 'imagenet') == 2500
    assert loader.step_rate(str(file), 'imagenet') == 5
    assert loader.step_rate(str(file), 'cifar10') == 100
    assert loader.step_rate(str(file), 'digit_scenes') is None
    assert loader.step_rate(None, 'cifar10') is None
    with pytest.raises(ValueError, match='fast'):
        loader.step_rate('fast', 'cifar10')


@pytest.mark.slow
def test_memory_is_of_the_method_and_not_of_this_process():
    ballast = np.ones(100_000_000)  # 800 MB here, which the measuring process must not count
    peak = pretrain_step.peak_memory('vitt_32', 'fp32', 8, 'cpu', 'mixedae', TINY)['peak']
    assert 0 < peak < 400, ballast.shape
