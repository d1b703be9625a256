# The segmentor of vitmini_segmentation.py on pictures of one digit at 64 pixels, the size of
# pre-training: 8,000 in the time that 2,000 scenes take.
_base_ = ['vitmini_segmentation.py']
_pictures = dict(
    folder='one_digit',
    options=dict(
        size=64,
        num_train=8000,
        num_test=1000,
        digits=(1, 1),
        backgrounds=(1, 1),
        height=(0.5, 0.95),
    ),
)
model = dict(data_preprocessor=dict(size=(64, 64)))
train_dataloader = dict(batch_size=16, dataset=dict(indices=8000, **_pictures))
val_dataloader = dict(dataset=dict(indices=1000, **_pictures))
test_dataloader = val_dataloader
base_lr = 2.5e-3
data_about = dict(description='digit scenes, one digit per picture, 64x64')
protocol = dict(name='segmentation-mini-single', version='1')
