"""Which images are used where few labels are."""

import numpy as np
import pytest

from mixae.datasets import SeededDataset
from mixae.datasets.few_labels import draw_shots
from mixae.errors import DataError


def data(folder, **options):
    inner = dict(
        type='mixae.ImageFolder',
        data_root=str(folder),
        data_prefix='train',
        with_label=options.pop('with_label', True),
        pipeline=[],
    )
    return SeededDataset(inner, **options)


def images(dataset):
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def test_shots_are_of_each_class_and_follow_the_seed(image_folder):
    five = data(image_folder, shots=5)
    labels = [five.get_data_info(i)['gt_label'] for i in range(len(five))]
    assert np.bincount(labels).tolist() == [5] * 4
    assert images(five) == images(data(image_folder, shots=5))
    assert images(five) != images(data(image_folder, shots=5, shots_seed=1))
    assert set(images(data(image_folder, shots=1))) < set(images(five)), 'fewer are among more'
    assert len(set(images(five))) == 20
    assert images(data(image_folder, shots=12)) == images(data(image_folder)), 'all of them'


def test_shots_of_a_class_do_not_depend_on_other_classes():
    labels = np.repeat([0, 1, 2], 6)
    both = draw_shots(labels[6:], 2, 3)  # classes 1 and 2 alone
    assert (draw_shots(labels, 2, 3)[2:] - 6).tolist() == both.tolist()


def test_every_image_of_a_class_is_drawn_as_often():
    counts = np.zeros(6)
    for seed in range(300):
        counts[draw_shots(np.zeros(6, int), 2, seed)] += 1
    assert abs(counts - 100).max() < 40  # 5 standard deviations of a binomial are 41


@pytest.mark.parametrize('shots', [13, 100])
def test_more_shots_than_images_are_refused(image_folder, shots):
    with pytest.raises(DataError, match=f'shots={shots}: expected 1 to 12, the images of class 0'):
        data(image_folder, shots=shots)


def test_shots_need_labels(image_folder):
    with pytest.raises(DataError, match='image 0 has no label; shots and held-out parts are drawn'):
        data(image_folder, shots=1, with_label=False)


def test_one_choice_at_a_time(image_folder):
    with pytest.raises(ValueError, match='subset, shots: give one of them'):
        data(image_folder, subset=4, shots=1)


def test_a_list_names_the_images_by_file_or_by_path(image_folder, tmp_path):
    listed = tmp_path / 'list.txt'
    listed.write_text('zero/3.png\n\nflower/0.jpg\n')
    found = images(data(image_folder, files=str(listed)))
    assert [path.split('train/')[1] for path in found] == ['flower/0.jpg', 'zero/3.png']


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'names no image'),
        ('zero/3.png\nzero/3.png', 'names an image more than once'),
        ('zero/3.png\nzero/99.png', '1 of 2 images that the data set does not have, such as zero'),
        ('3.png', 'names 3.png, and the data set has several'),
        (b'\xff\xfe', 'cannot be read: it is no text'),
        (None, 'cannot be read: No such file'),
    ],
)
def test_lists_that_do_not_fit_are_named(image_folder, tmp_path, text, message):
    listed = tmp_path / 'list.txt'
    if text is not None:
        listed.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as error:
        data(image_folder, files=str(listed))
    assert '\n' not in str(error.value)
