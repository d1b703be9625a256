"""The docs site: the pages of this folder, and an API reference made from the docstrings."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, os.fspath(ROOT))
from mixae.version import __version__  # noqa: E402

project = 'mixae'
release = version = __version__
copyright = author = 'the authors of mixae'
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
root_doc = 'index'
source_suffix = ['.md', '.rst']
exclude_patterns = ['_build', 'README.md']
html_theme = 'furo'
myst_heading_anchors = 3
# The reference is made without torch and OpenMMLab, so that it builds in seconds on any machine.
autodoc_mock_imports = ['torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg']
autodoc_mock_imports += ['timm', 'numpy', 'PIL', 'sklearn', 'matplotlib', 'safetensors', 'rich']
autodoc_mock_imports += ['scipy', 'jsonschema', 'yaml', 'triton', 'cv2', 'pycocotools']
autodoc_member_order = 'bysource'
# Links from a page to a config or a tool point into the repository, not to a page of the site.
suppress_warnings = ['myst.xref_missing']
