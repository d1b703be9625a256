"""Stands in for the Python of a small .venv: it makes one, and does what its pip would do.

A distribution is one file and its metadata; mmcv's file holds the torch that it was built for.
"""

import os
import shutil
import sys
import time
from pathlib import Path


def install(name: str, version: str, site: Path) -> None:
    info = site / f'{name}-{version}.dist-info'
    found = list(site.glob(f'{name}-{version}*.dist-info'))  # also 1.0+cpu, as for pip
    if found and '--force-reinstall' not in sys.argv:
        return
    for old in site.glob(f'{name}-*.dist-info'):
        shutil.rmtree(old)
    hold = Path(os.environ.get('HOLD', '/nowhere'))
    while name == 'onedl_mmcv' and hold.exists():
        hold.with_suffix('.reached').touch()
        time.sleep(0.05)
    torch = [path.stem for path in site.glob('torch-*')]
    # A wheel was built elsewhere, for torch 1.0.
    wheel = 'WHEEL' in os.environ and '--no-binary=:all:' not in sys.argv
    info.mkdir()
    (site / name).write_text('torch-1.0' if wheel else torch[0] if torch else '')
    (info / 'RECORD').write_text(f'{name},,\n{name}.pyc,,\n')
    print(f'installed {name} {version}', flush=True)


def main(site: Path, *arguments: str) -> str | None:
    if arguments[:2] == ('-m', 'venv'):
        venv = Path(arguments[-1])
        shutil.rmtree(venv, ignore_errors=True)
        new = venv / site.relative_to(site.parents[2])
        new.mkdir(parents=True)
        (venv / 'bin').mkdir()
        shutil.copy(sys.argv[0], venv / 'bin/python')
        install('pip', '1.0', new)
    elif '--dry-run' not in arguments and 'pip' in arguments:
        # Kept out: foreign packages, and installations for the user. Given: a folder on that disk.
        assert 'PYTHONPATH' not in os.environ and os.environ['PIP_USER'] == '0'
        assert os.environ['TMPDIR'].startswith(str(site.parents[2])) and '-c' in arguments
    elif arguments[0] == '-P':
        if (site / 'onedl_mmcv').read_text() != next(site.glob('torch-*')).stem:
            return "mmcv's operators do not work"
    for option, value in zip(arguments, arguments[1:], strict=False):
        for line in Path(value).read_text().split() if option == '-r' else ():
            name, version = line.replace('-', '_').split('==')
            if name == 'nowhere':
                return f'no distribution for {line}'
            install(name, version, site)
        if option == '-e':
            install('mixae', '1.0', site)


if __name__ == '__main__':
    version = 'python{}.{}'.format(*sys.version_info[:2])
    sys.exit(main(Path(sys.argv[0]).parents[1] / 'lib' / version / 'site-packages', *sys.argv[1:]))
