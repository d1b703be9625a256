"""That the code at work is the code that was meant: checked before anything heavy is imported."""

import base64
import hashlib
import importlib.util
import re
import sys
from pathlib import Path

from mixae.errors import InstallError
from mixae.files import ROOT

# Folders of packages -> the distribution that we need. The original ones fill the same folders.
_SHARED = {
    'mmengine': 'onedl-mmengine',
    'mmcv': 'onedl-mmcv',
    'mmpretrain': 'onedl-mmpretrain',
    'mmdet': 'onedl-mmdetection',
    'mmseg': 'onedl-mmsegmentation',
}


def check_installed() -> None:
    """Stop where Python would run other code than the user believes.

    Raises:
        InstallError: A tool of one checkout with the package of another; a package of OpenMMLab
            with another one's files over it.
        SystemExit: In place of it, with the same line, where a tool of ours is the program.
    """
    checkout = _checkout_of_the_program()
    try:
        if checkout not in (None, ROOT):
            raise InstallError(
                f'This tool is of {checkout}, but Python imports mixae from '
                f'{Path(__file__).parent}. Run pip install -e {checkout}, or set '
                f'PYTHONPATH={checkout}.'
            )
        mixed = [name for name, needed in _SHARED.items() if _is_overwritten(name, needed)]
        if mixed:
            both = ' '.join(f'{name} {_SHARED[name]}' for name in mixed)
            raise InstallError(
                f'Another package was installed over {", ".join(_SHARED[x] for x in mixed)}, such '
                f'as the original {", ".join(mixed)}. Run pip uninstall -y {both}, then install '
                f'{", ".join(_SHARED[x] for x in mixed)} again (docs/install.md).'
            )
    except InstallError as error:
        if checkout is None:
            raise
        sys.exit(f'error: {error}')


def _checkout_of_the_program() -> Path | None:
    """The checkout, or the package's folder, that the running tool belongs to; None for others."""
    program = getattr(sys.modules['__main__'], '__file__', None)
    for folder in Path(program or '/').resolve().parents:
        if folder.name == 'tools':
            root = folder.parent
            return root if root == ROOT or (root / 'mixae' / 'version.py').is_file() else None
    return None


def _is_overwritten(folder: str, distribution: str) -> bool:
    """Whether a package's ``version.py`` is not the file that its distribution installed."""
    spec = importlib.util.find_spec(folder)
    if spec is None or not spec.submodule_search_locations:
        return False
    site = Path(next(iter(spec.submodule_search_locations))).parent
    for record in site.glob(f'{distribution.replace("-", "_")}-*.dist-info/RECORD'):
        noted = re.search(rf'^{folder}/version\.py,sha256=([^,]+),', record.read_text(), re.M)
        if noted:
            path = site / folder / 'version.py'
            digest = hashlib.sha256(path.read_bytes() if path.is_file() else b'').digest()
            return base64.urlsafe_b64encode(digest).decode().rstrip('=') != noted[1]
    return False
