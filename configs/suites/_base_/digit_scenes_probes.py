# Beside fine-tuning on all and on few labels, the probes of docs/probes.md.
_base_ = ['digit_scenes_few_labels.py']
evaluate = dict(
    knn=dict(
        title='kNN',
        tool='test',
        config='configs/transfer/digit_scenes/vitmini_knn.py',
        scratch_title='kNN of a random encoder',
    ),
    sweep=dict(
        title='linear probe, best of a sweep',
        tool='train',
        config='configs/transfer/digit_scenes/vitmini_sweep.py',
        scratch_title='linear probe, best of a sweep, of a random encoder',
    ),
    attentive=dict(
        title='attentive probe',
        tool='train',
        config='configs/transfer/digit_scenes/vitmini_attentive.py',
        scratch_title='attentive probe, of a random encoder',
    ),
    lbfgs=dict(
        title='logistic regression',
        tool='test',
        config='configs/transfer/digit_scenes/vitmini_lbfgs.py',
        scratch_title='logistic regression, of a random encoder',
    ),
)
