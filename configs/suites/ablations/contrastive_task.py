# Alternatives to a contrastive task that can be read off the segment embedding (digit scenes): the
# loss and its floor, TopK accuracy per layer, and whether transfer follows. 160k views, linear
# probe and 6 epochs of fine-tuning (ours). To change recipe or budget, change `_config`, `_budget`
# and `_finetune`.
_base_ = ['../_base_/digit_scenes_evaluations.py']
title = 'The contrastive task of MixedAE and the segment embedding (digit scenes)'
seeds = [0, 1, 2]
prepare = ['classification']

_config = 'configs/mixedae/vitmini_digits_24e.py'
_budget = {'train_cfg.max_epochs': 20}
_finetune = {'train_cfg.max_epochs': 6}

_loss, _topk = 'model.contrast.subtract_segment', 'model.attention.subtract_segment'
_rows = dict(
    default=('MixedAE', {}),
    no_contrast=('no contrastive loss', {'model.contrast': None}),
    no_segment_embed=('no segment embedding', {'model.segment_embed': False}),
    decoder=('segment embedding in the decoder alone', {'model.segment_embed': 'decoder'}),
    subtract_loss=('loss on tokens less the segment embedding', {_loss: True}),
    subtract_topk=('TopK by tokens less the segment embedding', {_topk: True}),
    subtract_both=('both less the segment embedding', {_loss: True, _topk: True}),
    # The second of four layers, the first that TopK samples in.
    layer_1=('loss on layer 1 of 0..3', {'model.contrast.layer': 1}),
    weight_1=('weight 1', {'model.contrast.weight': 1.0}),
    temperature_01=('temperature 0.1', {'model.contrast.temperature': 0.1}),
)
pretrain = {
    _name: dict(title=_title, config=_config, options={**_budget, **_options}, seconds=380)
    for _name, (_title, _options) in _rows.items()
}
evaluate = dict(finetune=dict(options=_finetune, seconds=180))
columns = ['linear', 'finetune', 'topk_accuracy']
columns += [f'pretrain:topk_accuracy/layer {_layer}' for _layer in (1, 2, 3)]
columns += ['contrastive_loss', 'contrastive_floor', 'time']
checks = dict(pretraining_pays=dict(linear=dict(gain=15)), topk_isolates=dict())
