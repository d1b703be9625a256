# Why does kNN stay at chance on digit scenes? Poolings of the tokens, with and without whitening.
title = 'kNN on digit scenes: which features'
seeds = [0, 1, 2]
prepare = ['classification']
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vitmini_digits_24e.py', seconds=400),
    mixedae=dict(title='MixedAE', config='configs/mixedae/vitmini_digits_24e.py', seconds=440),
)
evaluate = {
    f'{pool}_{"white" if whiten else "plain"}': dict(
        title=f'kNN, {pool}{", whitened" if whiten else ""}',
        tool='test',
        config='configs/transfer/digit_scenes/vitmini_knn.py',
        options={
            'test_cfg.pool': pool,
            'test_cfg.probe.whiten': whiten,
            'protocol.name': f'weighted-knn-{"white" if whiten else "plain"}-{pool}',
        },
        seconds=15,
    )
    for pool in ('avg', 'std', 'cls')
    for whiten in (False, True)
}
columns = ['knn', 'images_seen']
