"""Installs the package ``mixae``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """The version in ``mixae/version.py``, read as text: importing it needs what it requires."""
    text = (ROOT / 'mixae' / 'version.py').read_text()
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE).group(1)


def read_requirements(*names: str) -> list[str]:
    """The pins of requirements files, as lower bounds: the exact versions are set-up's choice.

    A user's own environment may be newer, such as a CUDA machine with its own torch.
    """
    requirements = []
    for name in names:
        for line in (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines():
            line = line.split('#')[0].strip()
            if line:
                requirements.append(line.replace('==', '>='))
    return requirements


readme = ROOT / 'README.md'

setup(
    name='mixae',
    version=read_version(),
    description='MixedAE and i-MAE on OpenMMLab, beside MAE: from pre-training to dense transfer',
    long_description=readme.read_text() if readme.exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11,<3.13',
    packages=find_packages(include=['mixae', 'mixae.*']),
    package_data={
        'mixae': [
            *(f'**/*.{ext}' for ext in ('json', 'yml', 'yaml', 'html', 'css', 'js', 'tex')),
            'py.typed',
            # Links to the checkout's folders; setuptools follows them, and the wheel holds files.
            '.mim/model-index.yml',
            *(f'.mim/configs/**/*.{ext}' for ext in ('py', 'yml', 'md')),
            *(f'.mim/tools/**/*.{ext}' for ext in ('py', 'sh')),
        ]
    },
    exclude_package_data={'mixae': ['.mim/tools/setup*']},
    entry_points={'console_scripts': ['mixae = mixae.cli:main']},
    install_requires=read_requirements('torch', 'mmcv', 'runtime'),
    extras_require={'tests': read_requirements('tests'), 'docs': read_requirements('docs')},
    zip_safe=False,
)
