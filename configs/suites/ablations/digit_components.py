# The parts of homologous recognition on digit scenes: attention alone, contrastive loss alone,
# both, neither (naive mixing) and the oracle, each with and without the segment embedding.
# Transfer, TopK accuracy, mutual information and object completeness; 192,000 views per row.
# MAE and MixedAE are those of ../demo.py (with --work-dir work_dirs/demo its checkpoints are used),
# and their objects are in ../digit_probes.py.
_base_ = ['../_base_/digit_scenes_evaluations.py']
title = 'What homologous recognition consists of (digit scenes)'
seeds = [0, 1, 2]
prepare = ['classification', 'scenes']

_mae, _mixedae = (f'configs/{_name}/vitmini_digits_24e.py' for _name in ('mae', 'mixedae'))
_global = {'model.attention.mode': 'global'}
_no_contrast = {'model.contrast': None}
_parts = dict(
    mixedae=('both (MixedAE)', {}),
    attention=('homologous attention alone', _no_contrast),
    contrast=('contrastive loss alone', _global),
    neither=('naive mixing', {**_global, **_no_contrast}),
    oracle=('oracle attention', {'model.attention.mode': 'masked', **_no_contrast}),
)
_rows = {
    **{_name: (_title, _options) for _name, (_title, _options) in _parts.items()},
    **{
        f'{_name}_no_segment': (
            f'{_title}, no segment embedding',
            {**_options, 'model.segment_embed': False},
        )
        for _name, (_title, _options) in _parts.items()
    },
}
pretrain = dict(
    mae=dict(title='MAE', config=_mae, seconds=400),
    **{
        _name: dict(title=_title, config=_mixedae, options=_options, seconds=440)
        for _name, (_title, _options) in _rows.items()
    },
)
evaluate = dict(finetune=dict(seconds=155))


def _information(row: str, config: str, options: dict) -> dict:
    """Mutual information of a row under its own way of encoding."""
    overrides = [f'{key}={value}' for key, value in options.items()]
    arguments = [config, '{pretrain}', '--seed', '{seed}', '--records', '{records}']
    arguments += ['--data', 'configs/transfer/digit_scenes/vitmini_linear.py']
    arguments += ['--cfg-options', *overrides] if overrides else []
    return dict(
        title='mutual information',
        tool='tools/analysis/mutual_information.py',
        of=row,
        arguments=arguments,
        seconds=120,
    )


def _objects(row: str) -> dict:
    arguments = 'configs/analysis/objects_digit_scenes.py {pretrain} --records {records}'
    return dict(
        title='object completeness',
        tool='tools/analysis/object_completeness.py',
        of=row,
        arguments=[*arguments.split(), '--seed', '{seed}'],
        seconds=20,
    )


analyses = {
    'information_mae': _information('mae', _mae, {}),
    **{
        f'information_{_name}': _information(_name, _mixedae, _options)
        for _name, (_, _options) in _rows.items()
    },
    **{f'objects_{_name}': _objects(_name) for _name in _rows if _name != 'mixedae'},
}
columns = ['linear', 'finetune', 'topk_accuracy']
columns += [f'pretrain:topk_accuracy/layer {_layer}' for _layer in (1, 2, 3)]
columns += ['contrastive_loss', 'contrastive_floor', 'mi_ba', 'mi_nce', 'mi_ceiling']
columns += ['attention_iou', 'attention_iou_best', 'patch_retrieval', 'corloc', 'time']
checks = dict(pretraining_pays=dict(linear=dict(gain=15)), topk_isolates=dict())
