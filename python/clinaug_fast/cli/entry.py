"""Where the console script begins: Ctrl-C is told in a sentence even while the command line is still being loaded."""

import sys

from clinaug_fast.errors import EXIT_INTERRUPTED


def run() -> None:
    try:
        from clinaug_fast.cli.main import run as run_command

        run_command()
    except KeyboardInterrupt:
        sys.exit(_interrupted())


def _interrupted() -> int:
    print("error: interrupted: nothing was begun", file=sys.stderr)
    return EXIT_INTERRUPTED
