"""Where the console script begins: Ctrl-C is told in a sentence even while the command line is still being loaded."""

import sys

from clinaug_fast.errors import EXIT_INTERRUPTED


def run() -> None:
    try:
        from clinaug_fast.cli.main import run as run_command
    except KeyboardInterrupt:
        print("error: interrupted: nothing was begun", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    run_command()
