"""What answers a signal before a command begins."""

import contextlib
import os
import signal
from types import FrameType

from clinaug_fast.errors import ENDINGS


def nothing_begun(number: int, frame: FrameType | None) -> None:
    """Answers a signal until the command does. At once, since code that is being imported swallows what is raised; once
    a command has ended, `console` has its signals ignored: what it told stands."""
    for another in ENDINGS:  # at its heels
        signal.signal(another, signal.SIG_IGN)
    word, exit_code = ENDINGS[number]
    with contextlib.suppress(OSError):  # nobody may read it
        os.write(2, f"error: {word}: nothing was begun\n".encode())
    os._exit(exit_code)
