"""Files appear whole or not at all, on the disk, and where nobody else has put a link."""

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from mixae import files
from mixae.errors import OutputError
from mixae.files import file_sha256, replace_whole, write_whole


@pytest.fixture
def path(tmp_path):
    """A file that is there already."""
    path = tmp_path / 'folder' / 'table.md'
    path.parent.mkdir()
    path.write_text('old')
    return path


def names(path):
    return [entry.name for entry in path.parent.iterdir()]


@pytest.mark.parametrize('content', ['äöü\r\n', b'\x00\xff'])
def test_text_and_bytes_are_written_as_they_are(path, content):
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(path) == ['table.md']


def test_folders_are_made_and_others_may_read(tmp_path):
    path = tmp_path / 'a' / 'b' / 'c.txt'
    write_whole(path, 'x')
    (tmp_path / 'plain').touch()
    assert path.stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_a_writer_may_make_a_file_of_its_own(path):
    with replace_whole(path) as draft:
        draft.unlink()
        draft.write_text('new')
        draft.chmod(0o600)
    assert path.read_text() == 'new' and stat.S_IMODE(path.stat().st_mode) != 0o600


def test_a_draft_has_the_files_ending_and_a_name_of_its_own(path):
    with replace_whole(path) as one, replace_whole(path) as other:
        assert one != other and one.parent == path.parent
        assert one.name.startswith('.') and one.name.endswith('.partial.md')


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_old_file(path, error):
    with pytest.raises(error), replace_whole(path) as draft:
        draft.write_text('half')
        raise error
    assert path.read_text() == 'old' and names(path) == ['table.md']


def test_a_link_at_the_drafts_name_is_not_followed(path, tmp_path, monkeypatch):
    """Even if its name were known."""
    monkeypatch.setattr(files.secrets, 'token_hex', lambda _: 'known')
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    (path.parent / '.known.partial.md').symlink_to(victim)
    with pytest.raises(OutputError, match=f'{path} cannot be written'):
        write_whole(path, 'evil')
    assert victim.read_text() == 'mine' and path.read_text() == 'old'


def test_a_link_in_the_files_place_is_replaced_not_followed(path, tmp_path):
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    path.unlink()
    path.symlink_to(victim)
    write_whole(path, 'new')
    assert victim.read_text() == 'mine' and path.read_text() == 'new' and not path.is_symlink()


def test_an_existing_file_is_kept_where_it_is_not_to_be_replaced(path):
    with pytest.raises(FileExistsError):
        write_whole(path, 'new', overwrite=False)
    assert path.read_text() == 'old' and names(path) == ['table.md']
    write_whole(path.with_name('other'), 'new', overwrite=False)
    assert path.with_name('other').read_text() == 'new'


@pytest.mark.parametrize('hard_links', [True, False])
def test_so_is_one_that_appears_meanwhile(path, monkeypatch, hard_links):
    def no_link(*_):
        raise OSError(errno.EPERM, 'no hard links here')

    if not hard_links:
        monkeypatch.setattr(files.os, 'link', no_link)
    path.unlink()
    with pytest.raises(FileExistsError), replace_whole(path, overwrite=False) as draft:
        draft.write_text('mine')
        path.write_text('theirs')
    assert path.read_text() == 'theirs'
    path.unlink()
    write_whole(path, 'mine', overwrite=False)
    assert path.read_text() == 'mine' and names(path) == ['table.md']


def test_it_is_on_the_disk_before_it_is_renamed(path, monkeypatch):
    done = []

    def fsync(descriptor):
        done.append(('sync', Path(os.readlink(f'/proc/self/fd/{descriptor}'))))

    def replace(source, target):
        done.append(('rename', Path(target)))
        os.rename(source, target)

    monkeypatch.setattr(files.os, 'fsync', fsync)
    monkeypatch.setattr(files.os, 'replace', replace)
    with replace_whole(path) as draft:
        draft.write_text('new')
    assert done == [('sync', draft), ('rename', path), ('sync', path.parent)]


@pytest.mark.parametrize(
    'where, reason',
    [
        ('folder', 'Is a directory'),
        ('folder/table.md/below', 'File exists|Not a directory'),
        ('x' * 300, 'File name too long'),
    ],
)
def test_what_cannot_be_written_is_one_line(path, tmp_path, where, reason):
    with pytest.raises(OutputError, match=reason) as caught:
        write_whole(tmp_path / where, 'x')
    assert str(tmp_path / where) in str(caught.value) and '\n' not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ['folder']


def test_so_is_a_full_disk(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OutputError, match=f'{path} cannot be written .No space left on device'):
        write_whole(path, 'x')
    assert path.read_text() == 'old' and names(path) == ['table.md']


def test_file_sha256_is_that_of_sha256sum(path):
    told = subprocess.run(['sha256sum', path], capture_output=True, text=True, check=True).stdout
    assert file_sha256(path) == told.split()[0]
