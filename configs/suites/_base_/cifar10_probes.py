# Beside the usual evaluations, the probes of docs/probes.md.
_base_ = ['cifar10_evaluations.py']
evaluate = dict(
    sweep=dict(
        title='linear probe, best of a sweep',
        tool='train',
        config='configs/transfer/cifar/cifar10_vitt_sweep.py',
        scratch_title='linear probe, best of a sweep, of a random encoder',
    ),
    attentive=dict(
        title='attentive probe',
        tool='train',
        config='configs/transfer/cifar/cifar10_vitt_attentive.py',
        scratch_title='attentive probe, of a random encoder',
    ),
    lbfgs=dict(
        title='logistic regression',
        tool='test',
        config='configs/transfer/cifar/cifar10_vitt_lbfgs.py',
        scratch_title='logistic regression, of a random encoder',
    ),
)
