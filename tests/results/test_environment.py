"""What a record says of the machine, and that no path of it gets into one."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixae.results import environment
from mixae.results.environment import portable


def test_commit_is_gits(tmp_path, monkeypatch):
    def git(*arguments):
        command = ['git', '-c', 'user.name=a', '-c', 'user.email=a@b', *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)

    monkeypatch.setattr(environment, 'ROOT', tmp_path.resolve())
    assert environment._commit() == dict(hash=None, dirty=None)
    git('init')
    (tmp_path / 'file').write_text('one')
    git('add', 'file')
    git('commit', '-m', 'one')
    head = git('rev-parse', 'HEAD').stdout.strip()
    assert environment._commit() == dict(hash=head, dirty=False)
    (tmp_path / 'file').write_text('two')
    assert environment._commit() == dict(hash=head, dirty=True)


@pytest.mark.parametrize(
    ('given_', 'expected'),
    [
        ('/home/a/project/work_dirs/x.pth', 'work_dirs/x.pth'),
        ('/data/imagenet', 'imagenet'),
        ('/', '/'),
        ('//', '.'),
        ('--work-dir=/home/a/project/work_dirs/run', '--work-dir=work_dirs/run'),
        ("data_root='/data/imagenet/train/', n=1", "data_root='train', n=1"),
        ('C:\\Users\\me\\x.pth', 'x.pth'),
        ('https://example.org/a/b.pth', 'https://example.org/a/b.pth'),
        ('configs/mae/x.py', 'configs/mae/x.py'),
        ('../shared/data/x', '../shared/data/x'),
        ('mmpretrain::_base_/a/b.py', 'mmpretrain::_base_/a/b.py'),
        ('coco/bbox_mAP and 1/255 and 3 / 4', 'coco/bbox_mAP and 1/255 and 3 / 4'),
        (Path('/home/a/project/configs/x.py'), 'configs/x.py'),
        ({'a': [('/data/x', 1)]}, {'a': [['x', 1]]}),
    ],
)
def test_paths_of_a_machine_become_relative(given_, expected):
    assert portable(given_, roots=['/home/a/project']) == expected


_PART = st.text('abcxyz019-_. @+é', min_size=1, max_size=6).filter(
    lambda part: part.strip('. ') == part
)


@given(st.lists(_PART, min_size=1, max_size=5))
def test_no_absolute_path_gets_through(parts):
    found = portable('/' + '/'.join(parts))
    assert not environment.is_machine_path(found)
    assert portable(found) == found
