# The pre-trainings of the demo. Suites with equal rows share checkpoints in one --work-dir.
# `seconds`, for the progress bar: the time on one core of a server's CPU.
pretrain = dict(
    mae=dict(title='MAE', config='configs/mae/vitmini_digits_24e.py', seconds=400),
    mixedae=dict(title='MixedAE', config='configs/mixedae/vitmini_digits_24e.py', seconds=440),
    imae=dict(
        title='i-MAE', config='configs/imae/vitmini_digits_6e.py', teacher='mae', seconds=210
    ),
)
