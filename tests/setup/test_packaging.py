"""The package's metadata, and that the pins leave nothing open."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FILES = ('build', 'torch', 'mmcv', 'runtime', 'tests', 'constraints')


def read_pins():
    """Each requirements file's names and versions; every line must be ``name==version``."""
    pins = {}
    for file in FILES:
        lines = (ROOT / 'requirements' / f'{file}.txt').read_text().splitlines()
        texts = [line.split('#')[0].strip() for line in lines]
        matches = [re.fullmatch(r'([\w.-]+)==([\w.!+-]+)', text) for text in texts if text]
        pins[file] = {canonicalize_name(match[1]): match[2] for match in matches}
    return pins


def test_everything_that_is_pulled_in_is_pinned():
    pins = read_pins()
    pinned = set().union(*pins.values())
    todo, seen, open_ends = sorted(pinned - set(pins['constraints'])), set(), {}
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({'extra': ''}):
                continue
            needed = canonicalize_name(requirement.name)
            if needed not in pinned:
                open_ends[needed] = name
            else:
                todo.append(needed)
    assert open_ends == {}, 'not pinned in requirements/constraints.txt (needed: by whom)'


def test_no_package_is_pinned_in_two_versions():
    versions = {}
    for pins in read_pins().values():
        for name, version in pins.items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_the_environment_is_the_pinned_one():
    for name in ('build', 'torch', 'mmcv', 'runtime', 'tests'):
        for package, version in read_pins()[name].items():
            assert importlib.metadata.version(package).split('+')[0] == version, package


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The package built from its sources alone, beside stand-ins for data files."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    source.mkdir()
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'CITATION.cff'):
        shutil.copy(ROOT / name, source)
    for name in ('mixae', 'requirements'):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__', '*.so')
        )
    (source / 'mixae' / 'deep' / 'data').mkdir(parents=True)
    (source / 'mixae' / 'deep' / '__init__.py').touch()
    (source / 'mixae' / 'deep' / 'data' / 'schema.json').touch()
    (source / 'mixae' / 'deep' / 'page.html').touch()
    pip = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    subprocess.run([*pip, '-w', folder, source], check=True, capture_output=True)
    (built,) = folder.glob('*.whl')
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
        (path,) = (name for name in names if name.endswith('.dist-info/METADATA'))
        metadata = archive.read(path).decode()
    return names, metadata


def test_the_wheel_holds_the_package_and_its_data(wheel):
    names, _ = wheel
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / 'mixae').rglob('*.py')}
    assert modules <= set(names)
    assert {'mixae/deep/data/schema.json', 'mixae/deep/page.html'} <= set(names)
    tops = {name.split('/')[0] for name in names if '.dist-info' not in name}
    assert tops == {'mixae'}


def test_the_metadata(wheel):
    _, text = wheel
    from mixae.version import __version__

    assert f'\nVersion: {__version__}\n' in text
    assert re.search(r'^Requires-Python: .*>=3\.11', text, re.MULTILINE)
    assert re.search(r'^Requires-Python: .*<3\.13', text, re.MULTILINE)
    assert 'Apache-2.0' in text
    for name in ('torch', 'onedl-mmcv', 'onedl-mmpretrain', 'scikit-image'):
        assert re.search(rf'^Requires-Dist: {name}>=', text, re.MULTILINE), name


def test_set_up_takes_the_pythons_that_the_package_supports(wheel):
    _, text = wheel
    supported = SpecifierSet(re.search('^Requires-Python: (.*)$', text, re.MULTILINE)[1])
    script = (ROOT / 'tools/setup.sh').read_text()
    taken = re.search(r'case \$version in (.*)\) exec', script)[1].split(' | ')
    assert taken == [f'3.{minor}' for minor in range(30) if f'3.{minor}' in supported]


def test_marks_are_declared():
    settings = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['pytest']['ini_options']
    declared = {mark.split(':')[0] for mark in settings['markers']}
    assert declared >= {'slow', 'data', 'dense', 'browser'}


def test_citation_names_the_papers():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['license'] == 'Apache-2.0'
    found = {ref['identifiers'][0]['value'] for ref in citation['references']}
    assert found == {'arXiv:2303.17152', 'arXiv:2210.11470', 'arXiv:2111.06377'}


@pytest.mark.skipif(shutil.which('git') is None, reason='no git here')
def test_what_git_ignores(tmp_path):
    subprocess.run(['git', 'init', '-q', tmp_path], check=True)
    shutil.copy(ROOT / '.gitignore', tmp_path)

    def ignored(path):
        command = ['git', '-C', tmp_path, 'check-ignore', '-q', path]
        return subprocess.run(command).returncode == 0

    outputs = ('.venv/bin/python', 'work_dirs/demo/a.pth', 'mixae.egg-info/PKG-INFO', 'build/lib/a')
    outputs += ('mixae/__pycache__/a.pyc', '.hypothesis/a', '.ruff_cache/a', 'data/cifar10/a.png')
    sources = ('work_dirs/.gitkeep', 'mixae/datasets/a.py', 'tools/datasets/a.py', 'docs/results/a')
    sources += ('configs/_base_/datasets/a.py', 'mixae/data/a.json', 'docs/build/index.md')
    assert [path for path in outputs if not ignored(path)] == []
    assert [path for path in sources if ignored(path)] == []
