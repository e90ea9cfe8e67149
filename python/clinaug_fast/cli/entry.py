"""Where the console script begins: signals are told in a sentence even while the command line is still being loaded."""

import os
import signal
from types import FrameType

from clinaug_fast.errors import ENDINGS


def nothing_begun(number: int, frame: FrameType | None) -> None:
    """Answers a signal until the command does. At once, since code that is being imported swallows what is raised; once
    a command has ended, `console` has its signals ignored: what it told stands."""
    word, exit_code = ENDINGS[number]
    os.write(2, f"error: {word}: nothing was begun\n".encode())
    os._exit(exit_code)


def run() -> None:
    signal.signal(signal.SIGTERM, nothing_begun)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a shell's background
        signal.signal(signal.SIGINT, nothing_begun)

    from clinaug_fast.cli.main import run as run_command

    run_command()
