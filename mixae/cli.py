"""The command ``mixae``: every tool of ``tools/`` under one name, with or without a checkout.

A tool reads its own arguments; this only finds the tool. It imports nothing heavy, so that help
and mistakes cost no time.
"""

import difflib
import os
import sys
from pathlib import Path

from mixae.files import ROOT
from mixae.version import __version__

# Command -> its tool, or a folder of tools, each a command of its own.
COMMANDS = {
    'train': ('train.py', 'Train a config: pre-training, fine-tuning, detection, segmentation.'),
    'test': ('test.py', 'Evaluate a checkpoint.'),
    'suite': ('run_suite.py', 'Pre-train, evaluate and show the table.'),
    'evaluate': ('evaluate.py', 'Evaluate any encoder, ours or released.'),
    'leaderboard': ('leaderboard.py', 'Turn run records into a table.'),
    'export': ('checkpoints/export.py', 'Write an encoder for timm, Hugging Face or mmpretrain.'),
    'draw': ('analysis', 'Draw reconstructions, predictions or curves.'),
    'data': ('datasets', 'Prepare a data set.'),
}
_USAGE = """usage: mixae COMMAND ...        (mixae COMMAND --help lists its arguments)

{commands}

Configs that mixae ships are named mixae::mae/vitb_800e.py, suites mixae::suites/demo.py.
"""


def find_tool(words: list[str]) -> tuple[Path, str, list[str]]:
    """The tool that a command line asks for.

    Args:
        words (list[str]): The command line without ``mixae``.

    Returns:
        tuple: The tool's file, its name for the help, and the arguments that are left for it.

    Raises:
        SystemExit: Help was asked for (status 0), or there is no such command (status 2).
    """
    if not words or words[0] in ('-h', '--help'):
        print(_usage(), end='')
        raise SystemExit(0 if words else 2)
    if words[0] == '--version':
        print(f'mixae {__version__}')
        raise SystemExit(0)
    if words[0] not in COMMANDS:
        _unknown('mixae', words[0], COMMANDS)
    command, rest = words[0], words[1:]
    path = ROOT / 'tools' / COMMANDS[command][0]
    if not path.is_dir():
        return path, f'mixae {command}', rest
    tools = sorted(tool.stem for tool in path.glob('*.py'))
    if not rest or rest[0] in ('-h', '--help'):
        print(f'usage: mixae {command} NAME ...\n\nNAME is one of {", ".join(tools)}.')
        raise SystemExit(0 if rest else 2)
    if rest[0] not in tools:
        _unknown(f'mixae {command}', rest[0], tools)
    return path / f'{rest[0]}.py', f'mixae {command} {rest[0]}', rest[1:]


def _usage() -> str:
    lines = (f'  {name:13}{about}' for name, (_, about) in COMMANDS.items())
    return _USAGE.format(commands='\n'.join(lines))


def _unknown(program: str, given: str, known) -> None:
    near = difflib.get_close_matches(given, known, 1)
    hint = f' Did you mean {near[0]}?' if near else ''
    print(
        f'error: {program} has no {given!r}: choose one of {", ".join(known)}.{hint}',
        file=sys.stderr,
    )
    raise SystemExit(2)


def main() -> None:
    """Run the tool that the command line names."""
    tool, name, arguments = find_tool(sys.argv[1:])
    here = Path.cwd()
    if here != ROOT and (here / 'mixae' / 'version.py').is_file():
        print(
            f'warning: the code at work is that of {Path(__file__).parent}, not that of the '
            'current folder. For the latter, run pip install -e . here.',
            file=sys.stderr,
        )
    if not tool.is_file():
        sys.exit(f'error: {tool} is missing: mixae is not installed whole. Install it again.')
    sys.argv = [name, *arguments]  # argparse shows the first word as the program; runpy resets it
    sys.path.insert(0, os.fspath(tool.parent))  # as Python does for a script
    names = sys.modules['__main__'].__dict__
    names |= dict(__file__=os.fspath(tool), __doc__=None, __name__='__main__')
    exec(compile(tool.read_bytes(), tool, 'exec'), names)


if __name__ == '__main__':
    main()
