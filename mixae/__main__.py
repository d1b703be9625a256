"""``python -m mixae``: the same as the command ``mixae``."""

from mixae.cli import main

main()
