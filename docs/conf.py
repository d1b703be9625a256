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
extensions = ['myst_parser', 'sphinx.ext.napoleon', 'autoapi.extension']
root_doc = 'index'
source_suffix = ['.md', '.rst']
exclude_patterns = ['_build', 'README.md']
html_theme = 'furo'
myst_heading_anchors = 3
# The reference is read from the sources, not imported: it needs neither torch nor OpenMMLab.
autoapi_dirs = [os.fspath(ROOT / 'mixae')]
autoapi_root = 'api'
autoapi_options = ['members', 'show-module-summary']
autoapi_ignore = ['*/.mim/*', '*/__main__.py']
autoapi_add_toctree_entry = False
autoapi_python_class_content = 'both'
# Links from a page to a config or a tool point into the repository, not to a page of the site.
suppress_warnings = ['myst.xref_missing', 'autoapi.python_import_resolution']
